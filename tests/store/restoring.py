"""Linked programs whose databases are put back from backups, for tests of the store's logic without sessions.

A `Node` is a program in any number of links; `Node.restart` ends its process, `Node.back_up` and `Node.put_back` are
the administrator's. `contact` lets two programs greet each other as a session would; what comes of it is a `Talk`,
which carries batches until it is dropped.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from syncapp import errors
from syncapp.core.changes import Batch, Cursor
from syncapp.core.effects import Acked
from syncapp.core.mapping import Agreement
from syncapp.core.messages import CAPABILITIES, Hello, Limits
from syncapp.store.memory import MemoryBackend, MemoryDatabase
from syncapp.store.store import Agreed, Store
from tests.simulation.schema import Numbers
from tests.store.programs import SECOND, Clock

#: (active, passive) programs of each link, numbered from one on.
Edges = tuple[tuple[int, int], ...]
PAIR: Edges = ((1, 0),)
STAR: Edges = ((1, 0), (2, 0), (3, 0))
CHAIN: Edges = ((0, 1), (1, 2), (2, 3))
RING: Edges = ((0, 1), (1, 2), (2, 0))

#: What of a database in memory is no data.
_NO_DATA = frozenset({"setup", "clock", "unique", "catalogues", "undo"})


class Node:
    """One program."""

    def __init__(self, index: int, links: Mapping[int, tuple[int, int]], clock: Clock) -> None:
        self.index = index
        self.numbers = Numbers(index)
        self.clock = clock
        self.offset = 0
        self.links = {n: edge for n, edge in links.items() if index in edge}
        self.database = MemoryDatabase(
            self.numbers.setup(tuple(self.links)),
            bytes([index + 1]) * 16,
            lambda: clock() + self.offset,
            self.numbers.unique(),
            {n: self.numbers.catalogue(active=active == index) for n, (active, _) in self.links.items()},
        )
        self._random = random.Random(index)
        self.boot = b""
        self.restart()

    def restart(self) -> None:
        """The process ends and another one begins. It takes a moment."""
        self.clock.now += SECOND
        self.boot = self._random.randbytes(8)
        self.backend = MemoryBackend(self.database)
        self.store = Store(self.backend, self._random.randbytes)

    def back_up(self) -> dict[str, Any]:
        """A copy of the database."""
        return {n: copy.deepcopy(v) for n, v in vars(self.database).items() if n not in _NO_DATA}

    def put_back(self, backup: Mapping[str, Any]) -> None:
        """The program is stopped, its database replaced, the program started."""
        for name, value in backup.items():
            setattr(self.database, name, copy.deepcopy(value))
        self.restart()

    @property
    def label(self) -> str:
        return "ABCDEFGH"[self.index]

    @property
    def epoch(self) -> int:
        return int.from_bytes(self.database.state.origin[16:], "big")

    # -- people --

    def create(self, table: str, **values: Any) -> str:
        return self.database.create(self.numbers.table[table], self._numbers(table, values))

    def write(self, table: str, pk: str, **values: Any) -> None:
        self.database.write(self.numbers.table[table], pk, self._numbers(table, values))

    def _numbers(self, table: str, values: dict[str, Any]) -> dict[int, Any]:
        return {self.numbers.field[table, name]: value for name, value in values.items()}

    def seal(self) -> None:
        """The engine looks at the journal while nobody is connected."""
        self.store.seal()

    def rows(self, table: str, *names: str) -> list[Any]:
        """The values of ``names`` of every row, in order of the keys; one name: just the values."""
        rows = self.database.tables[self.numbers.table[table]]
        found = [tuple(row[self.numbers.field[table, name]] for name in names) for row in rows.values()]
        return sorted((values[0] for values in found) if len(names) == 1 else found, key=repr)

    def key(self, table: str, name: str, value: Any) -> str:
        """The key of the row whose ``name`` is ``value``."""
        rows, field = self.database.tables[self.numbers.table[table]], self.numbers.field[table, name]
        return next(pk for pk, row in rows.items() if row[field] == value)

    @property
    def codes(self) -> list[str]:
        return sorted(problem.code for problem in self.database.problems.values())

    @property
    def lost(self) -> list[Any]:
        """The values that lost a conflict."""
        return [conflict.lost for conflict in self.database.conflicts]

    # -- contacts --

    def claim(self, link: int) -> int:
        token = self.store.claim(link, self.boot.hex(), 15 * SECOND, force=True)
        assert token
        return token

    def hello(self, link: int, token: int) -> Hello:
        return self.store.greeting(link, token).hello(
            boot=self.boot,
            title=self.label,
            software="test",
            url="",
            host=f"host-{self.label}",
            capabilities=CAPABILITIES,
            limits=Limits(),
            user_matching="login",
        )

    def retry(self, side: Side) -> int:
        ids = [p.id for p in self.database.problems.values() if p.link == side.link]
        return self.store.retry(side.link, side.agreement, side.token, ids) if ids else 0


class World:
    """Programs and their links."""

    def __init__(self, edges: Edges = PAIR) -> None:
        self.clock = Clock()
        self.links = dict(enumerate(edges, 1))
        size = 1 + max(map(max, edges))
        self.nodes = [Node(index, self.links, self.clock) for index in range(size)]

    def ends(self, link: int) -> tuple[Node, Node]:
        active, passive = self.links[link]
        return self.nodes[active], self.nodes[passive]

    def contact(self, link: int) -> Talk | list[errors.SyncError]:
        """The active side dials; a talk, or why there is none."""
        return contact(*self.ends(link), link)

    def connect(self, link: int) -> Talk:
        """Dial until there is a talk."""
        for _ in range(6):
            found = self.contact(link)
            if isinstance(found, Talk):
                return found
            self.clock.now += SECOND
        raise AssertionError(f"no talk: {found}")

    def settle(self) -> None:
        """Everybody talks to everybody until nothing moves any more."""
        for _ in range(30):
            talks = [self.connect(link) for link in self.links]
            moved = [talk.run() for talk in talks]
            retried = [side.node.retry(side) for talk in talks for side in talk.sides]
            if not any(moved) and not any(retried):
                return
            if not any(moved) and self.still(talks):
                return
        raise AssertionError("no rest")

    def still(self, talks: Iterable[Talk]) -> bool:
        """Whether trying parked changes again has brought nothing to send."""
        moved = [talk.run() for talk in talks]
        return not any(moved)


class Side:
    """One end of a talk."""

    def __init__(self, node: Node, link: int, token: int, peer: bytes, agreed: Agreed) -> None:
        self.node, self.link, self.token, self.peer = node, link, token, peer
        self.agreement: Agreement = agreed.agreement
        self.have = agreed.have
        self.sent: Cursor = agreed.peer_has
        self.position: Cursor = max(agreed.position, agreed.peer_has, key=lambda cursor: cursor.seq)

    def read(self, records: int = 1000) -> tuple[Batch | None, bool]:
        found = self.node.store.read(self.link, self.position, self.agreement, self.peer, records)
        self.position = found.position
        if found.batch is None:
            return None, found.more
        return msgspec.structs.replace(found.batch, start=self.sent), found.more


class Talk:
    """Two programs that agreed. ``sides``: the active one, the passive one."""

    def __init__(self, one: Side, other: Side) -> None:
        self.sides = (one, other)

    def run(self, records: int = 1000, *, lose: random.Random | None = None) -> int:
        """Send to and fro until nothing is left; how many batches. ``lose``: some acknowledgements are lost, and the
        talk may end early."""
        moved = 0
        for _ in range(200):
            steps = [self.step(s, t, records, lose) for s, t in (self.sides, self.sides[::-1])]
            moved += steps.count(True)
            if lose is not None and lose.random() < 0.15:
                return moved
            if not any(steps):
                return moved
        raise AssertionError("no end")

    def step(self, source: Side, target: Side, records: int, lose: random.Random | None) -> bool:
        """One batch; whether there was one, or may be more."""
        batch, more = source.read(records)
        if batch is None:
            return more
        assert batch.start.seq <= target.have.seq, "a gap"
        done = target.node.store.apply(target.link, batch, target.agreement, target.token)
        assert not done.gap
        target.have = done.have
        source.sent = batch.end
        if lose is not None and lose.random() < 0.2:
            return True
        parked = {fate.uid for fate in done.fates if fate.field == 0}
        whole = [row.uid for section in batch.sections for row in section.rows if row.kind == 1]
        confirmed = [uid for uid in whole if uid not in parked]
        clear = 0 if more or done.want else done.have.seq
        ack = Acked(batch.start, done.have, done.totals, done.fates, done.want, confirmed, clear)
        source.node.store.acked(source.link, ack, source.token)
        return True


class Met(NamedTuple):
    """What came of a hello at one side."""

    agreed: Agreed | None
    error: errors.SyncError | None


def meet(node: Node, link: int, token: int, hello: Hello) -> Met:
    try:
        return Met(node.store.meet(link, hello, 0, token, "10.0.0.1"), None)
    except errors.SyncError as error:
        return Met(None, error)


def contact(active: Node, passive: Node, link: int) -> Talk | list[errors.SyncError]:
    """``active`` dials ``passive``; a talk, or the errors of those who refused."""
    tokens = (active.claim(link), passive.claim(link))
    answer = passive.hello(link, tokens[1])
    call = active.hello(link, tokens[0])
    met = (meet(active, link, tokens[0], answer), meet(passive, link, tokens[1], call))
    refused = [outcome.error for outcome in met if outcome.error is not None]
    if refused:
        return refused
    assert met[0].agreed
    assert met[1].agreed
    one = Side(active, link, tokens[0], answer.instance, met[0].agreed)
    other = Side(passive, link, tokens[1], call.instance, met[1].agreed)
    for side, peer in ((one, met[1].agreed), (other, met[0].agreed)):  # the first words of a session
        ack = Acked(side.sent, side.sent, peer.totals, [], peer.want, [])
        side.node.store.acked(link, ack, side.token)
    return Talk(one, other)
