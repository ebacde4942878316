"""Applying a peer's batch: seal the target rows' own journal, merge, write, remember; within one transaction.

The order of the work reads in `Applier.run`. Deciding is `core.merge`; writing is `store.writing`; this module
joins them record by record. One bad record never holds up the rest: it is parked as a problem, with its reason.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec

from syncapp.core.changes import Entry, Fate, Record, RowKind, Totals
from syncapp.core.clock import Version, join, sees
from syncapp.core.mapping import Agreement
from syncapp.core.merge import Merged, Outcome, merge_field
from syncapp.store import parked
from syncapp.store.base import UNKNOWN, Backend, ConflictRow, LogRow, ProblemRow, Setup, TableInfo
from syncapp.store.parked import Cell, Incoming
from syncapp.store.resolve import Resolver
from syncapp.store.sealing import Numbering, seal
from syncapp.store.writing import Write, Writer

RETRY_FIRST = 60_000_000
RETRY_MOST = 3600_000_000


class Source(msgspec.Struct, frozen=True):
    """Where a batch came from: the link, what flows, how far into the future a stamp may lie (µs)."""

    link: int
    agreement: Agreement
    future_bound: int = 300_000_000


class Result(msgspec.Struct):
    """What became of the changes, for the acknowledgement. ``uids``: records created here."""

    totals: Totals
    fates: list[Fate]
    want: list[bytes]
    uids: set[bytes]
    lag: int = 0


class Applier:
    """Applies incoming changes of one link within the caller's transaction."""

    def __init__(self, backend: Backend, setup: Setup, source: Source, numbering: Numbering) -> None:
        self._backend = backend
        self._setup = setup
        self._source = source
        self._numbering = numbering
        self._link = setup.links[source.link]
        self._now = backend.now()
        self._resolver = Resolver(backend, setup, self._link)
        self._result = Result(Totals(), [], [], set())
        self._conflicts: list[ConflictRow] = []
        self._log: list[LogRow] = []
        self._problems: list[ProblemRow] = []
        self._solved: list[int] = []
        self._just_parked: set[tuple[bytes, int]] = set()

    def run(self, changes: list[Incoming]) -> Result:
        """Apply ``changes`` and every parked change that this makes possible."""
        for wave in _waves(changes):
            self._wave(wave)
        retried: set[int] = set()
        while waiting := self._ready_problems(changes, retried):
            retried |= {change.problem for change in waiting}
            for wave in _waves(waiting):
                self._wave(wave)
            changes = []
        self._remember()
        return self._result

    def _ready_problems(self, changes: list[Incoming], retried: set[int]) -> list[Incoming]:
        self._save_problems()
        uids, self._result.uids = self._result.uids, set()
        rows = self._backend.problems_waiting(self._link.id, uids) if uids else []
        if changes:
            rows += self._backend.problems_of(self._link.id, {change.uid for change in changes})
        fresh, self._just_parked = self._just_parked, set()
        return [
            reopen(row)
            for row in {row.id: row for row in rows}.values()
            if row.id not in retried and ((row.uid, row.field) not in fresh or row.waits_for in uids)
        ]

    # -- one wave: each record at most once -----------------------------------------------------------------

    def _wave(self, changes: list[Incoming]) -> None:
        self._quarantine(changes)
        known = self._known(changes)
        writes: list[Write] = []
        unknown = self._complete([change for change in changes if change.uid not in known])
        matched = self._resolver.match([c for c in unknown if c.kind == RowKind.WHOLE])
        self._seal_matched(matched.found)
        for change in unknown:
            if change.kind != RowKind.WHOLE:
                self._want(change)
            elif change.uid in matched.ambiguous:
                key, count = matched.ambiguous[change.uid]
                self._park(change, "", "ambiguous", {"table": self._label(change), "count": count, "key": key})
            elif change.uid in matched.found:
                record = self._pair(change, matched.found[change.uid])
                if record is None:
                    params = {"table": self._label(change), "count": 2, "key": matched.found[change.uid][1]}
                    self._park(change, "", "ambiguous", params)
                    continue
                known[change.uid] = record
            else:
                writes.append(Write(change, Record(0, change.table, "", change.uid, entries={}), create=True))
        writes += self._merge([c for c in changes if c.uid in known], known)
        self._resolver.prepare(writes)
        Writer(self._backend, self._setup, self._resolver).write(writes)
        self._settle(writes)

    def _quarantine(self, changes: list[Incoming]) -> None:
        """Park what is dated too far in the future: it would win for ever, here and wherever it went from here."""
        horizon = self._now + self._source.future_bound
        for change in changes:
            late = [f for f, c in change.cells.items() if c.version is not None and c.version.time > horizon]
            fields = self._setup.tables[change.table].fields
            for field in late:
                ahead = (change.cells[field].version or Version(0, b"")).time - self._now
                params = {"table": self._label(change), "field": fields[field].name, "offset": f"{ahead // 10**6} s"}
                self._park(change, field, "future", params)
                del change.cells[field]

    def _complete(self, unknown: list[Incoming]) -> list[Incoming]:
        """Fields of a record that is itself parked are added to it, which may be what it needed."""
        partial = {change.uid for change in unknown if change.kind != RowKind.WHOLE and not change.problem}
        if not partial:
            return unknown
        rows = self._backend.problems_of(self._link.id, partial)
        whole = {row.uid: reopen(row) for row in rows if row.field == 0}
        return [
            parked.fold(whole[change.uid], change) if change.uid in whole and change.uid in partial else change
            for change in unknown
        ]

    def _known(self, changes: list[Incoming]) -> dict[bytes, Record]:
        """The records we have of the changes, their own pending edits sealed first."""
        uids = {change.uid for change in changes}
        known = self._backend.records_by_uid(uids)
        if self._seal_rows(known.values()):
            known = self._backend.records_by_uid(uids)
        # A record whose row is gone here stays gone: deletions are decided elsewhere, never by an edit's arrival.
        dead = {uid for uid, record in known.items() if not record.alive}
        for change in changes:
            if change.uid in dead:
                self._count_all(change, "superseded", "deleted")
        changes[:] = [change for change in changes if change.uid not in dead]
        return {uid: record for uid, record in known.items() if uid not in dead}

    def _seal_rows(self, records: Any) -> bool:
        by_table: dict[int, list[str]] = defaultdict(list)
        for record in records:
            by_table[record.table].append(record.pk)
        rows = [row for table, pks in by_table.items() for row in self._backend.drain_rows(table, pks)]
        seal(self._backend, self._setup, rows, self._numbering)
        return bool(rows)

    def _seal_matched(self, found: dict[bytes, tuple[int, str]]) -> None:
        by_table: dict[int, list[str]] = defaultdict(list)
        for table, pk in found.values():
            by_table[table].append(pk)
        rows = [row for table, pks in by_table.items() for row in self._backend.drain_rows(table, pks)]
        seal(self._backend, self._setup, rows, self._numbering)

    def _pair(self, change: Incoming, where: tuple[int, str]) -> Record | None:
        """Our row and the peer's record are one; None if the peer knows our row as another record already."""
        table, pk = where
        record = self._backend.records_by_pk(table, [pk]).get(pk)
        if record is None:
            return Record(0, table, pk, change.uid, entries={})
        if self._backend.paired(self._link.id, [record.id]):
            return None
        self._backend.rename(record, change.uid)
        return record

    def _want(self, change: Incoming) -> None:
        """Some fields of a record that we do not know: ask for the whole record."""
        if change.problem:
            self._drop(change)
            return
        self._result.want.append(change.uid)
        self._count_all(change, "superseded", "unknown_record", quiet=True)

    # -- merging --------------------------------------------------------------------------------------------

    def _merge(self, changes: list[Incoming], known: dict[bytes, Record]) -> list[Write]:
        by_table: dict[int, list[Incoming]] = defaultdict(list)
        for change in changes:
            by_table[change.table].append(change)
        writes: list[Write] = []
        for table, group in by_table.items():
            columns = sorted({field for change in group for field in change.cells})
            pks = [known[change.uid].pk for change in group]
            rows = self._backend.rows(table, pks, columns)
            self._resolver.learn(group)
            for change in group:
                record = known[change.uid]
                values = dict(zip(columns, rows.get(record.pk, ()), strict=False))
                writes.append(self._merge_record(change, record, values))
        return writes

    def _merge_record(self, change: Incoming, record: Record, ours: dict[int, Any]) -> Write:
        write = Write(change, record, create=False, ours=ours)
        info = self._setup.tables[change.table]
        for field, cell in change.cells.items():
            entry = record.entries.get(field)
            mine = entry.version if entry else None
            local = self._resolver.local(info.fields[field], cell.value)
            merged = merge_field(mine, cell.version, equal=local.ready and ours.get(field) == local.value)
            if self._one_way(change.table, field) and mine is not None and cell.version is not None:
                merged = _source_wins(merged, mine, cell.version, self._numbering.origin)
            write.decide(field, cell, merged, local)
        return write

    def _one_way(self, table: int, field: int) -> bool:
        return field not in self._source.agreement.out_fields(table)

    # -- afterwards -----------------------------------------------------------------------------------------

    def _settle(self, writes: list[Write]) -> None:
        """Give numbers to what was written, park what was not, count everything."""
        changed: list[Record] = []
        for write in writes:
            if write.failed is not None:
                self._park(write.change, "", write.failed.code, write.failed.params, write.failed.waits_for)
                continue
            if self._settle_record(write):
                changed.append(write.record)
            if write.change.problem:
                self._solve(write)
        self._backend.save_records(changed)
        self._add_pairs([write.record for write in writes if write.failed is None])

    def _settle_record(self, write: Write) -> bool:
        """Count and log each field; returns whether the record is to be saved."""
        dirty = write.record.id == 0
        number = 0
        info = self._setup.tables[write.change.table]
        if write.create:
            self._result.uids.add(write.change.uid)
        for field, verdict in write.verdicts.items():
            if verdict.held is not None:
                code, params, waits = verdict.held
                self._park(write.change, field, code, params, waits)
                continue
            result = "applied" if verdict.merged.outcome.writes or write.create else "superseded"
            if verdict.merged.outcome in (Outcome.DUPLICATE, Outcome.BASELINE) and not write.create:
                result = "duplicate"
            version = verdict.merged.version
            known = write.record.entries.get(field)
            if result == "applied" and version is not None:
                number = number or self._numbering.next()
                write.record.entries[field] = Entry(version, number, self._link.id)
                dirty = True
            elif known is not None and version is not None and known.version != version:
                write.record.entries[field] = known._replace(version=version)
                dirty = True
            self._count(write, field, verdict.cell, result)
            if verdict.merged.outcome.conflict:
                self._keep_loser(write, field, verdict.merged, verdict.cell, info)
        if number:
            write.record.seq = number
        return dirty

    def _keep_loser(
        self, write: Write, field: int, merged: Merged, cell: Cell, info: TableInfo
    ) -> None:
        mine = write.versions.get(field)
        if mine is None or cell.version is None:
            return
        won, lost = (cell.version, mine) if merged.outcome.writes else (mine, cell.version)
        ours, theirs = write.ours.get(field), write.verdicts[field].value
        a, b = (theirs, ours) if merged.outcome.writes else (ours, theirs)
        self._conflicts.append(
            ConflictRow(
                self._link.id,
                info.number,
                write.change.uid,
                write.record.pk,
                field,
                a,
                b,
                won.time,
                won.origin,
                lost.time,
                lost.origin,
                self._now,
            )
        )

    def _count(self, write: Write, field: int, cell: Cell, result: str) -> None:
        if not write.change.problem:
            _add(self._result.totals, result)
            if cell.version is not None:
                self._result.lag = max(self._result.lag, self._now - cell.version.time)
            if result == "superseded":
                self._result.fates.append(Fate(write.change.uid, cell.peer_field, result))
        if self._link.log and result != "duplicate":
            verdict = write.verdicts[field]
            before = None if write.create else write.ours.get(field, UNKNOWN)
            self._log_row(write.change, write.record.pk, field, before, verdict.value, result)

    def _count_all(self, change: Incoming, result: str, code: str, *, quiet: bool = False) -> None:
        if change.problem:
            self._drop(change)
            return
        for field, cell in change.cells.items():
            _add(self._result.totals, result)
            self._result.fates.append(Fate(change.uid, cell.peer_field, result, code))
            if self._link.log and not quiet:
                self._log_row(change, "", field, UNKNOWN, cell.value, result, code)

    def _log_row(
        self, change: Incoming, pk: str, field: int, before: Any, after: Any, result: str, detail: str = ""
    ) -> None:
        self._log.append(
            LogRow(self._link.id, self._now, "in", change.table, pk, change.uid, field, before, after, result, detail)
        )

    def _label(self, change: Incoming) -> str:
        return self._setup.tables[change.table].label

    # -- problems -------------------------------------------------------------------------------------------

    def _park(
        self,
        change: Incoming,
        field: int | str,
        code: str,
        params: dict[str, Any],
        waits_for: bytes | None = None,
    ) -> None:
        """Park the record (``field`` empty) or one field of it, durably and visibly."""
        number = field if isinstance(field, int) else 0
        fields = {number} if number else None
        payload = parked.pack(self._with_parked(change) if not number else change, fields)
        self._just_parked.add((change.uid, number))
        tries = change.tries + 1 if change.problem and change.problem_field == number else 0
        self._problems.append(
            ProblemRow(
                id=0,
                link=self._link.id,
                way="in",
                table=change.table,
                uid=change.uid,
                pk="",
                field=number,
                code=code,
                params=params,
                waits_for=waits_for,
                payload=payload,
                created_at=change.created_at or self._now,
                tries=tries,
                next_try=self._now + min(RETRY_MOST, RETRY_FIRST << min(tries, 10)),
            )
        )
        if change.problem:
            if change.problem_field != number:
                self._drop(change)
            return
        cells = change.cells if not number else {number: change.cells[number]}
        for local, cell in cells.items():
            _add(self._result.totals, "parked")
            if self._link.log:
                self._log_row(change, "", local, UNKNOWN, cell.value, "parked", code)
            if number:
                self._result.fates.append(Fate(change.uid, cell.peer_field, "parked", code))
        if not number:
            self._result.fates.append(Fate(change.uid, 0, "parked", code))

    def _with_parked(self, change: Incoming) -> Incoming:
        """The change together with what is parked of the same record, so that parking never forgets a field."""
        if change.problem:
            return change
        rows = [row for row in self._backend.problems_of(self._link.id, {change.uid}) if row.field == 0]
        rows += [row for row in self._problems if row.uid == change.uid and row.field == 0]
        for row in rows:
            change = parked.fold(reopen(row), change)
        return change

    def _solve(self, write: Write) -> None:
        change = write.change
        still = any(v.held is not None and field == change.problem_field for field, v in write.verdicts.items())
        if not still:
            self._drop(change)

    def _drop(self, change: Incoming) -> None:
        self._solved.append(change.problem)

    def _save_problems(self) -> None:
        if self._solved:
            self._backend.drop_problems(self._solved)
            self._solved = []
        if self._problems:
            self._backend.save_problems(self._problems)
            self._problems = []

    def _add_pairs(self, records: list[Record]) -> None:
        ids = [record.id for record in records if record.id]
        missing = set(ids) - self._backend.paired(self._link.id, ids) if ids else set()
        if missing:
            self._backend.add_pairs(self._link.id, missing)

    def _remember(self) -> None:
        self._save_problems()
        if self._conflicts:
            self._backend.add_conflicts(self._conflicts)
        if self._log:
            self._backend.add_log(self._log)


def reopen(row: ProblemRow) -> Incoming:
    """A parked change as an incoming one again."""
    change = parked.unpack(row.uid, row.table, row.payload)
    change.problem, change.problem_field = row.id, row.field
    change.tries, change.created_at = row.tries, row.created_at
    return change


def _waves(changes: list[Incoming]) -> list[list[Incoming]]:
    """Split so that a record stands at most once in each part, in order."""
    waves: list[dict[bytes, Incoming]] = []
    seen: dict[bytes, int] = {}
    for change in changes:
        number = seen.get(change.uid, 0)
        seen[change.uid] = number + 1
        if number == len(waves):
            waves.append({})
        waves[number][change.uid] = change
    return [list(wave.values()) for wave in waves]


def _source_wins(merged: Merged, ours: Version, theirs: Version, origin: bytes) -> Merged:
    """One-way: a local edit loses to the source's next value, which then needs a stamp above it."""
    if merged.outcome is not Outcome.CONFLICT_KEEP or sees(ours, theirs):
        return merged
    restamped = join(join(Version(max(ours.time, theirs.time) + 1, origin), theirs), ours)
    return Merged(Outcome.CONFLICT_APPLY, restamped)


def _add(totals: Totals, result: str) -> None:
    totals.received += 1
    setattr(totals, result, getattr(totals, result) + 1)
