"""Two linked programs for tests of the store's logic, without a session between them.

`Program` speaks in names (``"client"``, ``name=…``); `exchange` carries batches as a session would. A program needs
of its database only what `MemoryDatabase` offers to users (create, write, remove, rows), so that another one can
take its place.
"""

from __future__ import annotations

import random
from typing import Any

from syncapp.core.changes import START, Batch, Cursor
from syncapp.core.effects import Acked
from syncapp.core.mapping import Agreement, agree
from syncapp.store.base import ConflictRow, ProblemRow
from syncapp.store.memory import MemoryBackend, MemoryDatabase
from syncapp.store.store import Applied, Store
from tests.simulation.schema import Numbers

LINK = 1
SECOND = 1_000_000
START_TIME = 1_700_000_000 * SECOND


class Clock:
    """Everybody's clock; it moves a little with each look, so that no two edits share a moment."""

    def __init__(self) -> None:
        self.now = START_TIME

    def __call__(self) -> int:
        self.now += 10
        return self.now


class Program:
    """One program with its store."""

    def __init__(self, index: int, clock: Clock, **options: Any) -> None:
        self.numbers = Numbers(index)
        self.offset = 0
        self.identity = bytes([index + 1]) * 16
        catalogue = self.numbers.catalogue(active=index == 1)
        self.database = MemoryDatabase(
            self.numbers.setup((LINK,)),
            self.identity,
            lambda: clock() + self.offset,
            self.numbers.unique(),
            {LINK: catalogue},
        )
        self.backend = MemoryBackend(self.database)
        self.store = Store(self.backend, random.Random(index).randbytes, **options)
        token = self.store.claim(LINK, "test", 10**12)
        assert token
        self.token = token
        self.agreement = Agreement()
        self.sent = START

    # -- people ---------------------------------------------------------------------------------------------

    def create(self, table: str, **values: Any) -> str:
        return self.database.create(self.numbers.table[table], self._numbers(table, values))

    def write(self, table: str, pk: str, **values: Any) -> None:
        self.database.write(self.numbers.table[table], pk, self._numbers(table, values))

    def remove(self, table: str, pk: str) -> None:
        self.database.remove(self.numbers.table[table], pk)

    def _numbers(self, table: str, values: dict[str, Any]) -> dict[int, Any]:
        return {self.numbers.field[table, name]: value for name, value in values.items()}

    # -- looking --------------------------------------------------------------------------------------------

    def rows(self, table: str, *names: str) -> list[Any]:
        """The values of ``names`` of every row, in order of the keys; one name: just the values."""
        rows = self.database.tables[self.numbers.table[table]]
        found = [
            tuple(row[self.numbers.field[table, name]] for name in names) for _, row in sorted(rows.items())
        ]
        return [values[0] for values in found] if len(names) == 1 else found

    def uid(self, table: str, pk: str) -> bytes:
        number = self.database.by_pk[self.numbers.table[table], pk]
        return self.database.records[number].uid

    @property
    def problems(self) -> list[ProblemRow]:
        return list(self.database.problems.values())

    @property
    def codes(self) -> list[str]:
        return sorted(problem.code for problem in self.problems)

    @property
    def conflicts(self) -> list[ConflictRow]:
        return self.database.conflicts

    # -- the store ------------------------------------------------------------------------------------------

    def seal(self) -> None:
        self.store.seal()

    def read(self, after: Cursor | None = None, records: int = 1000, **options: Any) -> Batch | None:
        after = self.sent if after is None else after
        peer = bytes([3 - self.identity[0]]) * 16
        return self.store.read(LINK, after, self.agreement, peer, records, **options).batch

    def apply(self, batch: Batch) -> Applied:
        return self.store.apply(LINK, batch, self.agreement, self.token)

    def acked(self, batch: Batch, done: Applied, confirmed: list[bytes] | None = None) -> None:
        parked = {fate.uid for fate in done.fates if fate.field == 0}
        whole = [row.uid for section in batch.sections for row in section.rows if row.kind == 1]
        confirmed = [uid for uid in whole if uid not in parked] if confirmed is None else confirmed
        ack = Acked(batch.start, done.have, done.totals, done.fates, done.want, confirmed, done.have.seq)
        self.store.acked(LINK, ack, self.token)
        self.sent = done.have

    def retry(self) -> None:
        self.store.retry(LINK, self.agreement, self.token, [problem.id for problem in self.problems])


def pair(**options: Any) -> tuple[Program, Program]:
    """Head office (passive) and branch (active), agreed on everything."""
    clock = Clock()
    office, branch = Program(0, clock, **options), Program(1, clock, **options)
    for here, there in ((office, branch), (branch, office)):
        here.agreement = agree(here.backend.catalogue(LINK), there.backend.catalogue(LINK))
    return office, branch


def send(source: Program, target: Program) -> Applied | None:
    """One batch from ``source`` to ``target``, acknowledged."""
    batch = source.read()
    if batch is None:
        return None
    done = target.apply(batch)
    source.acked(batch, done)
    return done


def exchange(one: Program, other: Program) -> None:
    """Send to and fro until nothing is left."""
    for _ in range(20):
        moved = [send(one, other), send(other, one)]
        if moved == [None, None]:
            return
    raise AssertionError("no end")
