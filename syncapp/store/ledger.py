"""What became of every incoming change: counted, logged, parked with its reason, or kept as the loser of a conflict.

Nothing is written before `save_problems` and `close`: the whole account goes with the transaction of the batch.
"""

from __future__ import annotations

from typing import Any

import msgspec

from syncapp.core.changes import Fate, Record, Totals
from syncapp.core.clock import Version
from syncapp.store import parked
from syncapp.store.base import (
    ASK,
    SUM_RANGE,
    UNKNOWN,
    Backend,
    ConflictRow,
    LinkInfo,
    LogRow,
    ProblemRow,
    Setup,
)
from syncapp.store.conflicts import portable_rows
from syncapp.store.locking import BUSY
from syncapp.store.parked import Cell, Incoming
from syncapp.store.sealing import Numbering
from syncapp.store.writing import Loser, Write

RETRY_FIRST = 60_000_000
RETRY_MOST = 3600_000_000
#: The same for a record that somebody was changing at that moment: most transactions are over soon.
RETRY_BUSY = 50_000
RETRY_BUSY_MOST = 5_000_000
#: When a change is tried again that waits for an edit here: the edit makes it due.
NEVER = 2**62


class Result(msgspec.Struct):
    """What became of the changes, for the acknowledgement. ``want``: records to be sent whole."""

    totals: Totals
    fates: list[Fate]
    want: list[bytes]
    lag: int = 0


class Ledger:
    """The account of one application of changes over one link."""

    def __init__(
        self, backend: Backend, setup: Setup, link: LinkInfo, now: int, numbering: Numbering
    ) -> None:
        self.result = Result(Totals(), [], [])
        self._backend = backend
        self._setup = setup
        self._link = link
        self._now = now
        self._numbering = numbering
        self._conflicts: list[ConflictRow] = []
        self._log: list[LogRow] = []
        self._problems: dict[tuple[bytes, int], ProblemRow] = {}
        self._solved: list[int] = []
        self._fresh: set[tuple[bytes, int]] = set()

    def label(self, change: Incoming) -> str:
        return self._setup.tables[change.table].label

    # -- counting -------------------------------------------------------------------------------------------

    def count(self, write: Write, field: int, cell: Cell, result: str) -> None:
        """One field's fate: applied, superseded or duplicate."""
        change = write.change
        if change.counts(field):
            _add(self.result.totals, result)
            if cell.version is not None:
                self.result.lag = max(self.result.lag, self._now - cell.version.time)
            if result == "superseded":
                self.result.fates.append(Fate(change.uid, cell.peer_field, result))
        if self._link.log and result != "duplicate":
            before = None if write.create else write.ours.get(field, UNKNOWN)
            self._log_row(change, write.record.pk, field, before, write.verdicts[field].value, result)

    def supersede(self, change: Incoming, code: str) -> None:
        """The whole change came to nothing, for the reason ``code``."""
        if change.problem:
            self.drop(change)
            return
        for field, cell in change.cells.items():
            if change.counts(field):
                _add(self.result.totals, "superseded")
                self.result.fates.append(Fate(change.uid, cell.peer_field, "superseded", code))
            if self._link.log:
                self._log_row(change, "", field, UNKNOWN, cell.value, "superseded", code)

    def keep_loser(self, write: Write, field: int, mine: Version, theirs: Version) -> None:
        """A real conflict: keep the losing value with both times and origins."""
        verdict = write.verdicts[field]
        ours, incoming = write.ours.get(field), verdict.value
        if verdict.merged.outcome.writes:
            self.keep(write.record, field, Loser(incoming, ours, theirs, mine))
        else:
            self.keep(write.record, field, Loser(ours, incoming, mine, theirs))

    def keep(self, record: Record, field: int, loser: Loser) -> None:
        """Keep a value that lost."""
        self._conflicts.append(
            ConflictRow(
                link=self._link.id,
                table=record.table,
                uid=record.uid,
                pk=record.pk,
                field=field,
                won=loser.won,
                lost=loser.lost,
                won_time=loser.won_version.time,
                won_origin=loser.won_version.origin,
                lost_time=loser.lost_version.time,
                lost_origin=loser.lost_version.origin,
                created_at=self._now,
            )
        )

    def _log_row(
        self, change: Incoming, pk: str, field: int, before: Any, after: Any, result: str, detail: str = ""
    ) -> None:
        uid, link = change.uid, self._link.id
        self._log.append(
            LogRow(link, self._now, "in", change.table, pk, uid, field, before, after, result, detail)
        )

    # -- problems -------------------------------------------------------------------------------------------

    def park(
        self, change: Incoming, field: int, code: str, params: dict[str, Any], waits_for: bytes | None = None
    ) -> None:
        """Park the record (``field`` 0) or one field of it, durably and visibly."""
        if field and self._waits_already(change, field):
            self._count_parked(change, field, code)
            return
        payload = parked.pack(change, {field}) if field else parked.pack(self._with_parked(change))
        again = bool(change.problem) and change.problem_field == field
        standing = code in (ASK, SUM_RANGE)
        first, most = (RETRY_BUSY, RETRY_BUSY_MOST) if code == BUSY else (RETRY_FIRST, RETRY_MOST)
        tries = change.tries + 1 if again and not standing else 0
        self._fresh.add((change.uid, field))
        self._problems[change.uid, field] = ProblemRow(
            id=0,
            link=self._link.id,
            way="in",
            table=change.table,
            uid=change.uid,
            pk="",
            field=field,
            code=code,
            params=params,
            waits_for=waits_for,
            payload=payload,
            created_at=change.created_at or self._now,
            tries=tries,
            next_try=NEVER if standing else self._now + min(most, first << min(tries, 10)),
        )
        if change.problem and not again:
            self.drop(change)
        self._count_parked(change, field, code)

    def _waits_already(self, change: Incoming, field: int) -> bool:
        """Whether a later value of the field is parked: what comes late or twice does not take its place."""
        version = change.cells[field].version
        if version is None:
            return False
        rows = self._backend.problems_of(self._link.id, {change.uid})
        rows += [self._problems[key] for key in [(change.uid, field)] if key in self._problems]
        waiting = [
            reopen(row).cells.get(field) for row in rows if row.field == field and row.id != change.problem
        ]
        return any(cell and cell.version and cell.version.stamp > version.stamp for cell in waiting)

    def _count_parked(self, change: Incoming, field: int, code: str) -> None:
        if change.problem:
            return  # counted when it was parked first
        cells = {field: change.cells[field]} if field else change.cells
        for local, cell in cells.items():
            if not change.counts(local):
                continue
            _add(self.result.totals, "parked")
            if self._link.log:
                self._log_row(change, "", local, UNKNOWN, cell.value, "parked", code)
            if field:
                self.result.fates.append(Fate(change.uid, cell.peer_field, "parked", code))
        if not field:
            self.result.fates.append(Fate(change.uid, 0, "parked", code))

    def _with_parked(self, change: Incoming) -> Incoming:
        """The change together with what is parked of the same record, so that parking never forgets a field."""
        rows = [row for row in self._backend.problems_of(self._link.id, {change.uid}) if row.field == 0]
        waiting = self._problems.get((change.uid, 0))
        for row in [*rows, *([waiting] if waiting else [])]:
            if row.id != change.problem or not row.id:
                change = parked.fold(reopen(row), change, self._setup.tables[change.table].fields)
        return change

    def drop(self, change: Incoming) -> None:
        """The parked change has been dealt with."""
        self._solved.append(change.problem)

    def save_problems(self) -> set[tuple[bytes, int]]:
        """Write parked changes down; returns those parked since the last call, as (uid, field)."""
        if self._solved:
            self._backend.drop_problems(self._solved)
            self._solved = []
        if self._problems:
            self._backend.save_problems(self._with_older(list(self._problems.values())))
            self._problems = {}
        fresh, self._fresh = self._fresh, set()
        return fresh

    def _with_older(self, rows: list[ProblemRow]) -> list[ProblemRow]:
        """``rows``, none of which says less than what is parked of its field already: batches may come late."""
        fields = {(row.uid, row.field) for row in rows if row.field}
        if not fields:
            return rows
        found = self._backend.problems_of(self._link.id, {uid for uid, _ in fields})
        older = {(row.uid, row.field): row for row in found if (row.uid, row.field) in fields}
        return [self._folded(older.get((row.uid, row.field)), row) for row in rows]

    def _folded(self, older: ProblemRow | None, row: ProblemRow) -> ProblemRow:
        if older is None or older.payload == row.payload:
            return row
        known, new = reopen(older), reopen(row)
        both = parked.fold(known, new, self._setup.tables[row.table].fields)
        if both.cells[row.field] == known.cells[row.field]:
            return older
        return msgspec.structs.replace(row, payload=parked.pack(both, {row.field}))

    def close(self) -> Result:
        """Write down what is left; returns the account for the acknowledgement."""
        self.save_problems()
        if self._conflicts:
            rows = portable_rows(self._backend, self._setup, self._numbering, self._conflicts)
            self._backend.add_conflicts(rows)
        if self._log:
            self._backend.add_log(self._log)
        return self.result


def reopen(row: ProblemRow) -> Incoming:
    """A parked change as an incoming one again."""
    change = parked.unpack(row.uid, row.table, row.payload)
    change.problem, change.problem_field = row.id, row.field
    change.tries, change.created_at = row.tries, row.created_at
    return change


def _add(totals: Totals, result: str) -> None:
    totals.received += 1
    setattr(totals, result, getattr(totals, result) + 1)
