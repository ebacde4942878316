"""What every `Channel` keeps: run over each implementation by subclassing `ChannelContract`."""

from __future__ import annotations

import asyncio

import pytest

from syncapp.errors import ConnectionClosed, TooLarge
from syncapp.transports.base import MAX_FRAME, Channel, Frame

Pair = tuple[Channel, Channel]


async def receive(channel: Channel) -> Frame:
    async with asyncio.timeout(10):
        return await channel.receive()


async def closing_error(channel: Channel) -> ConnectionClosed:
    """Read on until the road has ended."""
    while True:
        try:
            await receive(channel)
        except ConnectionClosed as error:
            return error


class ChannelContract:
    """The fixture ``ends`` gives two connected channels; tests run in both directions."""

    @pytest.fixture(params=["there", "back"])
    def pair(self, request: pytest.FixtureRequest, ends: Pair) -> Pair:
        return ends if request.param == "there" else (ends[1], ends[0])

    @pytest.mark.parametrize("frame", [b"\x00\xff", "текст \u2028 👍", b"", "", "\x00"])
    async def test_text_stays_text_and_bytes_stay_bytes(self, pair: Pair, frame: Frame) -> None:
        await pair[0].send(frame)
        got = await receive(pair[1])
        assert got == frame
        assert type(got) is type(frame)

    async def test_order(self, pair: Pair) -> None:
        async def send() -> None:
            for number in range(500):
                await pair[0].send(b"%d" % number)

        sending = asyncio.create_task(send())
        assert [await receive(pair[1]) for _ in range(500)] == [b"%d" % n for n in range(500)]
        await sending

    async def test_both_ways_at_once(self, pair: Pair) -> None:
        async def talk(channel: Channel, word: str) -> None:
            for number in range(100):
                await channel.send(f"{word}{number}")

        async def listen(channel: Channel) -> list[Frame]:
            return [await receive(channel) for _ in range(100)]

        _, _, at_a, at_b = await asyncio.gather(
            talk(pair[0], "a"), talk(pair[1], "b"), listen(pair[0]), listen(pair[1])
        )
        assert at_a == [f"b{n}" for n in range(100)]
        assert at_b == [f"a{n}" for n in range(100)]

    async def test_the_largest_frame_passes(self, pair: Pair) -> None:
        frame = bytes(range(256)) * (MAX_FRAME // 256)
        await pair[0].send(frame)
        await pair[0].send("я" * (MAX_FRAME // 2))
        assert await receive(pair[1]) == frame
        assert await receive(pair[1]) == "я" * (MAX_FRAME // 2)

    @pytest.mark.parametrize("frame", [b"x" * (MAX_FRAME + 1), "я" * MAX_FRAME, b"x" * 1024 * 1024])
    async def test_a_larger_frame_is_refused_and_hurts_nothing(self, pair: Pair, frame: Frame) -> None:
        with pytest.raises(TooLarge):
            await pair[0].send(frame)
        await pair[0].send(b"next")
        assert await receive(pair[1]) == b"next"

    async def test_the_other_side_sees_the_reason(self, pair: Pair) -> None:
        await pair[0].close("Ссылка изменена")
        error = await closing_error(pair[1])
        assert error.params["reason"] == "Ссылка изменена"
        assert "Ссылка изменена" in str(error)

    async def test_a_long_reason_is_cut_between_characters(self, pair: Pair) -> None:
        await pair[0].close("я" * 200)
        reason = (await closing_error(pair[1])).params["reason"]
        assert set(reason) == {"я"}
        assert 50 <= len(reason) <= 60

    async def test_what_was_sent_before_the_end_arrives_before_it(self, pair: Pair) -> None:
        await pair[0].send(b"x" * MAX_FRAME)
        await pair[0].send("bye")
        await pair[0].close("done")
        assert await receive(pair[1]) == b"x" * MAX_FRAME
        assert await receive(pair[1]) == "bye"
        assert (await closing_error(pair[1])).params["reason"] == "done"

    async def test_after_closing_nothing_works_here(self, pair: Pair) -> None:
        await pair[1].send(b"unread")
        await pair[0].close("enough")
        with pytest.raises(ConnectionClosed):
            await pair[0].send(b"x")
        with pytest.raises(ConnectionClosed) as caught:
            await receive(pair[0])
        assert caught.value.params["reason"] == "enough"

    async def test_closing_wakes_who_receives_here(self, pair: Pair) -> None:
        waiting = asyncio.create_task(receive(pair[0]))
        await asyncio.sleep(0)
        await pair[0].close("enough")
        with pytest.raises(ConnectionClosed):
            await waiting

    async def test_closing_twice_or_on_both_sides_is_fine(self, pair: Pair) -> None:
        await asyncio.gather(pair[0].close("one"), pair[1].close("other"))
        await pair[0].close("again")
        await pair[1].close()

    async def test_sending_to_a_closed_side_ends_soon(self, pair: Pair) -> None:
        await pair[0].close("gone")
        await closing_error(pair[1])
        with pytest.raises(ConnectionClosed):
            await pair[1].send(b"x")

    async def test_a_sender_waits_for_a_slow_reader(self, pair: Pair) -> None:
        total, sent = 200, 0

        async def send() -> None:
            nonlocal sent
            for number in range(total):
                await pair[0].send(b"%06d" % number + b"x" * (256 * 1024))
                sent += 1

        sending = asyncio.create_task(send())
        before = -1
        while sent != before:  # until nothing moves any more
            before = sent
            await asyncio.wait({sending}, timeout=0.5)
        assert sent < total, "50 MB were taken although nobody reads"
        for number in range(total):
            frame = await receive(pair[1])
            assert isinstance(frame, bytes)
            assert frame[:6] == b"%06d" % number
        await sending

    async def test_closing_frees_a_waiting_sender(self, pair: Pair) -> None:
        async def send() -> None:
            while True:
                await pair[0].send(b"x" * MAX_FRAME)

        sending = asyncio.create_task(send())
        await asyncio.wait({sending}, timeout=0.5)
        async with asyncio.timeout(10):
            await pair[0].close("enough")
            with pytest.raises(ConnectionClosed):
                await sending
