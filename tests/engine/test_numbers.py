"""When a conversation looks at its shared series, and what it says of them."""

import asyncio

from syncapp.core.series import Grant, Report
from syncapp.engine.numbers import NumbersTalk
from syncapp.store.series import Words

REPORT, GRANT = Report(1, 1, 1, 0, 5), Grant(2, 1, 1, 1)


class Peer:
    """What is found at each look, and what was said."""

    def __init__(self, *found: Words) -> None:
        self.found = list(found)
        self.said: list[tuple[list[Report], list[Grant]]] = []
        self.looked = asyncio.Event()
        self.talk = NumbersTalk(self.look, lambda reports, grants: self.said.append((reports, grants)))

    async def look(self) -> Words:
        found = self.found.pop(0)
        if not self.found:
            self.looked.set()
        return found


async def test_looks_when_wanted_until_it_is_over() -> None:
    peer, over = Peer(Words((REPORT,))), asyncio.Event()
    running = asyncio.ensure_future(peer.talk.run(over))
    peer.talk.want()
    async with asyncio.timeout(5):
        await peer.looked.wait()
        over.set()
        peer.talk.want()
        await running
    assert peer.said == [([REPORT], [])]


def test_nothing_is_said_twice_unless_the_peer_asked() -> None:
    peer = Peer()
    for answer in (False, False, True):
        peer.talk.tell(Words((REPORT,), (GRANT,)), answer=answer)
    peer.talk.tell(Words())
    assert peer.said == [([REPORT], [GRANT]), ([], [GRANT])]
