import asyncio

import pytest

from syncapp.transports.memory import pair
from tests.transports.contract import ChannelContract, Pair


class TestMemory(ChannelContract):
    @pytest.fixture
    def ends(self) -> Pair:
        return pair()


async def test_the_queue_holds_as_many_frames_as_it_was_made_for() -> None:
    one, other = pair(queue=2)
    await one.send(b"1")
    await one.send(b"2")
    third = asyncio.create_task(one.send(b"3"))
    await asyncio.sleep(0)
    assert not third.done()
    assert await other.receive() == b"1"
    await third
    assert await other.receive() == b"2"
    assert await other.receive() == b"3"
