"""Applying a peer's batch: seal the target rows' own journal, merge, write, remember; within one transaction.

The order of the work reads in `Applier.run`. Deciding is `core.merge`; writing is `store.writing`; what became of each
change is noted in a `store.ledger`. One bad record never holds up the rest: it is parked as a problem, with its reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from syncapp.core.changes import Entry, Record, RowKind
from syncapp.core.clock import Version, join, sees
from syncapp.core.derive import derive, merge_derived
from syncapp.core.mapping import Agreement
from syncapp.core.merge import Merged, Outcome, merge_field
from syncapp.core.rules import Merge, stance
from syncapp.store import parked
from syncapp.store.aliases import Aliases, note_pairs
from syncapp.store.base import AMBIGUOUS, Backend, Setup
from syncapp.store.changing import restamped
from syncapp.store.deletions import Deletions
from syncapp.store.drift import set_aside
from syncapp.store.duplicates import adopt, entomb, reborn
from syncapp.store.filters import touches
from syncapp.store.graves import Graves
from syncapp.store.heralds import Herald
from syncapp.store.joining import Found, Joiner
from syncapp.store.ledger import Ledger, Result, reopen
from syncapp.store.lives import Context
from syncapp.store.locking import BUSY, RowLocks, needs_strong, rows_of
from syncapp.store.parked import Cell, Incoming
from syncapp.store.questions import review
from syncapp.store.refeed import feed_again
from syncapp.store.resolve import Resolver
from syncapp.store.saving import Saver
from syncapp.store.sealing import Numbering, seal, seal_rows
from syncapp.store.systemvalues import is_kept, kept_fields, parts_of, value_of
from syncapp.store.turns import turns
from syncapp.store.values import same
from syncapp.store.writing import Write, Writer


class Source(msgspec.Struct, frozen=True):
    """Where a batch came from: the link, what flows, how far into the future a stamp may lie (µs).

    ``again_parked``: what was parked up to that moment goes back to where it came from, which has lost it since.
    ``initial``: the changes bring over old rows.
    """

    link: int
    agreement: Agreement
    future_bound: int = 300_000_000
    again_parked: int = 0
    initial: bool = False


class Applier:
    """Applies incoming changes of one link within the caller's transaction."""

    def __init__(self, backend: Backend, setup: Setup, source: Source, numbering: Numbering) -> None:
        self._backend = backend
        self._setup = setup
        self._source = source
        self._numbering = numbering
        self._link = setup.links[source.link]
        self._now = backend.now()
        self._resolver = Resolver(backend, setup, self._link, source.agreement)
        self._joiner = Joiner(backend, setup, numbering)
        self._ledger = Ledger(backend, setup, self._link, self._now, numbering)
        self._locks = RowLocks(backend)
        self._saver = Saver(backend, setup, self._link, self._now, initial=source.initial)
        self._herald = Herald(backend, self._link)
        self._arrived: set[bytes] = set()  # names of records that others may have waited for
        agreement = source.agreement
        context = Context(backend, setup, self._link, agreement, numbering, self._ledger, self._now)

        def arrived(names: Iterable[bytes]) -> None:
            self._arrived.update(names)  # not the set itself: it is another one after each look at who waits

        self._aliases = Aliases(backend, self._link.id, numbering, self._resolver, arrived)
        self._deletions = Deletions(context, self._resolver, arrived, self._herald)
        self._graves = Graves(
            context,
            complete=lambda change: self._complete([change])[0],
            want=self._want,
            matched=lambda change: change.uid in self._resolver.match([change]).found,
        )

    def run(self, changes: list[Incoming]) -> Result:
        """Apply ``changes`` and every parked change that this makes possible."""
        names = {name for change in changes for name in change.names}
        self._waves(changes)
        retried: set[int] = set()
        while True:
            while waiting := self._ready_problems(names, retried):
                retried |= {change.problem for change in waiting}
                names = set()
                self._waves(waiting)
            if not self._deletions.finish(self._graves):
                self._herald.announce()
                return self._ledger.close()

    def _ready_problems(self, names: set[bytes], retried: set[int]) -> list[Incoming]:
        """Parked changes of the records ``names``, and those that waited for what has just arrived."""
        fresh = self._ledger.save_problems()
        arrived, self._arrived = self._arrived, set()
        rows = self._backend.problems_waiting(self._link.id, arrived) if arrived else []
        if arrived and len(self._setup.links) > 1:  # what came over other links may wait for it too
            self._backend.hasten(arrived)
        if names:
            rows += self._backend.problems_of(self._link.id, names)
        return [
            reopen(row)
            for row in {row.id: row for row in rows}.values()
            if row.id not in retried and ((row.uid, row.field) not in fresh or row.waits_for in arrived)
        ]

    # -- one wave: each record at most once -----------------------------------------------------------------

    def _waves(self, changes: list[Incoming]) -> None:
        while changes:
            changes = self._wave(changes)

    def _wave(self, changes: list[Incoming]) -> list[Incoming]:
        """Apply at most one change of each record; returns the rest, in order."""
        changes = set_aside(changes, self._setup, self._ledger)
        self._quarantine(changes)
        changes, known, later = self._known(self._deletions.split(changes))
        returning = self._graves.returning(changes)
        back = {write.change.uid for write in returning}
        changes = self._deletions.begin([change for change in changes if change.uid not in back], known)
        familiar = [change for change in changes if change.uid in known]
        unknown = self._complete([change for change in changes if change.uid not in known])
        unknown, after = self._in_turn(unknown)
        later += after
        writes = self._unknown(unknown, known) + returning
        writes += self._merge(familiar + [change for change in unknown if change.uid in known], known)
        self._resolver.prepare(writes)
        Writer(self._backend, self._setup, self._resolver, self._saver).write(writes)
        self._graves.dated(returning)
        self._settle(writes)
        self._graves.finish()
        self._seal_echoes(writes)
        return later

    def _quarantine(self, changes: list[Incoming]) -> None:
        """Park what is dated too far in the future: it would win for ever, here and wherever it went from here."""
        horizon = self._now + self._source.future_bound
        for change in changes:
            fields = self._setup.tables[change.table].fields
            for field, newest in [(f, _newest(c)) for f, c in change.cells.items()]:
                if newest > horizon:
                    offset = f"{(newest - self._now) // 10**6} s"
                    label = self._ledger.label(change)
                    params = {"table": label, "field": fields[field].name, "offset": offset}
                    self._ledger.park(change, field, "future", params)
                    del change.cells[field]

    def _known(self, changes: list[Incoming]) -> tuple[list[Incoming], dict[bytes, Record], list[Incoming]]:
        """The changes to look at now, the records we have of them (their own pending edits sealed first), the rest."""
        names = {name for change in changes for name in change.names}
        records = self._backend.records_by_uid(names)
        self._locks.take(rows_of(changes, records, self._setup.tables))
        if self._seal_rows((record.table, record.pk) for record in records.values()):
            records = self._backend.records_by_uid(names)
        todo: list[Incoming] = []
        later: list[Incoming] = []
        known: dict[bytes, Record] = {}
        busy: set[bytes | int] = set()
        for change in changes:
            found = {records[name].id: records[name] for name in change.names if name in records}
            touched: set[bytes | int] = {*change.names, *found}
            met = touched & busy
            busy |= touched
            if met:
                later.append(change)
                continue
            alive = [record for record in found.values() if record.alive]
            if busy_rows := [r.pk for r in found.values() if (r.table, r.pk) in self._locks.busy]:
                self._busy(change, busy_rows[0])
            elif len(alive) > 1:  # one record there, two rows here
                self._ambiguous(change, change.uid.hex(), len(alive))
            elif found and not alive:
                grave = entomb(
                    self._backend, self._setup, list(found.values()), self._link.id, self._numbering
                )
                back = self._graves.meet(change, grave)
                todo += [back] if back is not None else []
            else:
                if len(found) > len(alive) > 0:  # a row that was one of two is gone
                    dead = [record for record in found.values() if not record.alive]
                    adopt(self._backend, self._setup, alive[0], dead, self._link.id, self._numbering)
                    self._arrived.update(change.names)
                todo.append(change)
                known.update((change.uid, record) for record in alive)
        return todo, known, later

    def _seal_rows(self, rows: Iterable[tuple[int, str]]) -> bool:
        return seal_rows(self._backend, self._setup, rows, self._numbering)

    # -- records that are not known by name -----------------------------------------------------------------

    def _complete(self, unknown: list[Incoming]) -> list[Incoming]:
        """Fields of a record that is itself parked are added to it, which may be what it needed."""
        partial = {c.uid: c for c in unknown if c.kind != RowKind.WHOLE and not c.problem}
        if not partial:
            return unknown
        names = {name for change in partial.values() for name in change.names}
        rows = {row.uid: row for row in self._backend.problems_of(self._link.id, names) if row.field == 0}
        completed = []
        for change in unknown:
            if change.uid in partial:
                for name in change.names:
                    if name in rows:
                        fields = self._setup.tables[change.table].fields
                        change = parked.fold(reopen(rows[name]), change, fields)
            completed.append(change)
        return set_aside(completed, self._setup, self._ledger)

    def _in_turn(self, changes: list[Incoming]) -> tuple[list[Incoming], list[Incoming]]:
        """The changes whose match fields can be read, and those that come after what theirs refer to."""
        whole = [
            c for c in changes if c.kind == RowKind.WHOLE and self._resolver.matches_by_relation(c.table)
        ]
        waiting = self._resolver.match(whole).waiting if whole else {}
        if not waiting:
            return changes, []
        whole = [change for change in changes if change.kind == RowKind.WHOLE]
        turn = turns(whole, {uid: local.missing for uid, (_, local) in waiting.items()})
        for change in changes:
            if change.uid in turn.never:
                field, local = waiting[change.uid]
                params = {"table": self._ledger.label(change), "field": field.name, **local.params}
                self._ledger.park(change, 0, local.code, params, local.missing)
        now = [c for c in changes if c.uid not in turn.never and c.uid not in turn.later]
        return now, [c for c in changes if c.uid in turn.later]

    def _unknown(self, changes: list[Incoming], known: dict[bytes, Record]) -> list[Write]:
        """Recognise rows that we have by their match fields (added to ``known``); the rest is to be created."""
        whole = [change for change in changes if change.kind == RowKind.WHOLE]
        matched = self._resolver.match(whole)
        tables = self._setup.tables
        strong = {c.uid: needs_strong(c, tables[c.table]) for c in whole if c.uid in matched.found}
        if self._locks.take({matched.found[uid]: how for uid, how in strong.items()}):
            matched = self._resolver.match(whole)  # once more: they may have changed before they were locked
        self._seal_rows(matched.found.values())
        held = {record.id for record in known.values()}
        writes: list[Write] = []
        for change in changes:
            if change.kind != RowKind.WHOLE:
                self._want(change)
            elif change.uid in matched.ambiguous:
                self._ambiguous(change, *matched.ambiguous[change.uid])
            elif change.uid in matched.found:
                table, pk, key = (*matched.found[change.uid], matched.keys[change.uid])
                if not self._locks.free((table, pk)):
                    self._busy(change, pk)
                    continue
                record = self._pair(change, table, pk, held)
                if record is None:
                    self._ambiguous(change, key, 2)
                else:
                    known[change.uid] = record
            else:
                if (dead := self._graves.left(change)) is not None:  # the row is another one by now
                    self._backend.forget([dead], {})
                writes.append(Write(change, Record(0, change.table, "", change.uid, entries={}), create=True))
        return writes

    def _ambiguous(self, change: Incoming, key: str, count: int) -> None:
        """Whether it is clear by then shows as soon as one of our rows goes by that name too."""
        params = {"table": self._ledger.label(change), "count": count, "key": key}
        self._ledger.park(change, 0, AMBIGUOUS, params, change.uid)

    def _busy(self, change: Incoming, pk: str) -> None:
        self._ledger.park(change, 0, BUSY, {"table": self._ledger.label(change), "record": pk})

    def _pair(self, change: Incoming, table: int, pk: str, held: set[int]) -> Record | None:
        """Our row and the peer's record are one; None if the peer knows our row as another record already."""
        record = self._backend.records_by_pk(table, [pk]).get(pk)
        self._arrived.update(change.names)
        if record is None:
            self._resolvable(change, pk)
            dead = self._graves.left(change)
            if dead is None:
                return Record(0, table, pk, change.uid, entries={})
            reborn(self._backend, self._setup, dead, pk, self._numbering)
            return dead
        if record.id in held or self._backend.paired(self._link.id, [record.id]):
            return None
        # Both names stay: ours may be on its way to the peer at this moment. Everybody hears of them, with the record
        # whole: the peer may have removed its own row meanwhile, and made a new one of ours.
        self._backend.add_pairs(self._link.id, [record.id])
        dead = self._graves.left(change)
        if dead is not None:
            adopt(self._backend, self._setup, record, [dead], self._link.id, self._numbering, date=False)
        else:
            self._backend.rename(record, change.uid)
            feed_again(record, self._numbering)
            self._backend.save_records([record])
        self._resolvable(change, pk)
        return record

    def _resolvable(self, change: Incoming, pk: str) -> None:
        """Relations to a record that was just recognised lead to its row from now on."""
        for name in change.names:
            self._resolver.created(name, pk)

    def _want(self, change: Incoming) -> None:
        """Some fields of a record that we do not know: keep them, ask for the whole record."""
        if not change.problem:
            self._ledger.result.want.append(change.uid)
        self._ledger.park(change, 0, "unknown_record", {"table": self._ledger.label(change)}, change.uid)

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
            found = []
            for change in group:
                record = known[change.uid]
                values = dict(zip(columns, rows.get(record.pk, ()), strict=False))
                values[self._setup.tables[table].status] = True
                kept = (f for f in kept_fields(self._setup.tables[table]) if f.number in change.cells)
                values |= {field.number: value_of(record, field.number) for field in kept}
                found.append(Found(change, record, values))
            self._joiner.learn(found)
            writes += [self._merge_record(*item) for item in found]
        return writes

    def _merge_record(self, change: Incoming, record: Record, ours: dict[int, Any]) -> Write:
        write = Write(change, record, create=False, ours=ours)
        info, derived = self._setup.tables[change.table], restamped(self._source.agreement, change.table)
        for field, cell in change.cells.items():
            spec, entry = info.fields[field], record.entries.get(field)
            if spec.merge is not Merge.VALUE and cell.version is not None:
                self._joiner.join(write, field, cell, cell.version)
                continue
            mine = entry.version if entry else None
            local = self._resolver.local(spec, cell.value)
            equal = local.ready and same(spec.type.kind, ours.get(field), local.value)
            if field in derived:
                merged = self._derive(entry, cell, equal=equal)
            elif self._one_way(change.table, field):
                merged = merge_field(mine, cell.version, equal=equal)
                if mine is not None and cell.version is not None:
                    merged = _source_wins(merged, mine, cell.version, self._numbering.origin)
            else:
                said = stance(spec.policy, active=self._link.active)
                merged = merge_field(mine, cell.version, equal=equal, stance=said)
            write.decide(field, cell, merged, local)
            write.verdicts[field].kept = is_kept(spec)
        return write

    def _derive(self, entry: Entry | None, cell: Cell, *, equal: bool) -> Merged:
        """Merge a value that changed on its way."""
        mine, here = (entry.version, entry.via == self._link.id) if entry else (None, False)
        origin = self._numbering.origin
        return merge_derived(mine, cell.version, equal=equal, from_there=here, origin=origin)

    def _one_way(self, table: int, field: int) -> bool:
        return field not in self._source.agreement.out_fields(table)

    # -- afterwards -----------------------------------------------------------------------------------------

    def _settle(self, writes: list[Write]) -> None:
        """Give numbers to what was written, park what was not, account for everything."""
        done = [write for write in writes if write.failed is None]
        renamed: list[Write] = []
        for write in writes:
            if write.failed is not None:
                failed = write.failed
                self._ledger.park(write.change, 0, failed.code, failed.params, failed.waits_for)
        self._backend.save_records([write.record for write in done if self._settle_record(write)])
        # Who a record is has nothing to do with what could not be written: the peer has it, by all of its names.
        known = [write for write in writes if not write.create and write.record.id]
        had = {write.record.id for write in (*done, *known)}
        paired = note_pairs(self._backend, self._link.id, had)
        review(self._backend, self._setup, [(write.record, write.written()) for write in done])
        for write in done:
            self._herald.note(write)
            if self._aliases.learn(write) and not write.create:
                renamed.append(write)
            if self._lets_go(write):  # of a record that may wait for that to be deleted
                self._arrived.add(write.record.uid)
            if write.change.problem and not _still_held(write):
                self._ledger.drop(write.change)
        renamed += [write for write in known if write.failed is not None and self._aliases.learn(write)]
        self._aliases.tell(renamed, [write for write in known if write.record.id in paired])

    def _lets_go(self, write: Write) -> bool:
        """Whether a row that was here before refers to other rows now."""
        fields = self._setup.tables[write.change.table].fields
        changed = (f for f, verdict in write.verdicts.items() if verdict.merged.outcome.writes)
        return not write.create and any(fields[field].target for field in changed)

    def _settle_record(self, write: Write) -> bool:
        """Account for each field; returns whether the record is to be saved."""
        record, number = write.record, 0
        lost = write.change.problem and write.change.created_at <= self._source.again_parked
        via = 0 if lost else self._link.id
        dirty = record.id == 0
        derived = restamped(self._source.agreement, record.table) if write.create else ()
        for field, verdict in write.verdicts.items():
            if verdict.held is not None:
                code, params, waits = verdict.held
                self._ledger.park(write.change, field, code, params, waits)
                continue
            result = write.result(field)
            version, known = verdict.merged.version, record.entries.get(field)
            if field in derived and version is not None:
                version = derive(version, None, self._numbering.origin)
            if result == "applied" and version is not None and verdict.emptied:
                # Whose version it is means another value: it is not passed on (see `feed.whole_fields`).
                record.entries[field] = Entry(version, 0, self._link.id)
                dirty = True
            elif result == "applied" and version is not None:
                number = number or self._numbering.next(incoming=bool(via) and not self._may_enter(write))
                self._numbering.local |= verdict.back
                parts = parts_of(verdict.value) if verdict.kept else verdict.parts
                record.entries[field] = Entry(version, number, 0 if verdict.back else via, parts)
                dirty = True
            elif known is not None and version is not None and known.version != version:
                record.entries[field] = known._replace(version=version)
                dirty = True
            self._ledger.count(write, field, verdict.cell, result)
            mine, theirs = write.versions.get(field), verdict.cell.version
            if verdict.kept:
                pass  # how a record began is nobody's decision
            elif verdict.merged.outcome.conflict and mine is not None and theirs is not None:
                self._ledger.keep_loser(write, field, mine, theirs)
            elif verdict.loser is not None:
                self._ledger.keep(record, field, verdict.loser)
        for field in self._graves.missed(write):
            record.entries[field] = record.entries[field]._replace(seq=number)
            self._numbering.local = True
        if number:
            record.seq = number
        return self._graves.settled(write) or dirty

    def _seal_echoes(self, writes: list[Write]) -> None:
        """What the program's own code has changed goes above what was applied."""
        rows = [write.echo for write in writes if write.echo is not None and write.failed is None]
        if rows:
            seal(self._backend, self._setup, rows, self._numbering)

    def _may_enter(self, write: Write) -> bool:
        """Whether the peer's own change may bring the record back into our row filter: then our feed is to be read."""
        return touches(self._setup, self._link.id, write.change.table, write.verdicts)


def _newest(cell: Cell) -> int:
    """The latest moment that a version, or a part of the value, speaks of."""
    version = cell.version
    if version is None:
        return 0
    newest = max(version.time, *(time for _, time in version.seen)) if version.seen else version.time
    return max(newest, *(part[1] for part in cell.parts)) if cell.parts else newest


def _still_held(write: Write) -> bool:
    verdict = write.verdicts.get(write.change.problem_field)
    return verdict is not None and verdict.held is not None


def _source_wins(merged: Merged, ours: Version, theirs: Version, origin: bytes) -> Merged:
    """One-way: a local edit loses to the source's next value, which then needs a stamp above it."""
    if merged.outcome is not Outcome.CONFLICT_KEEP or sees(ours, theirs):
        return merged
    restamped = join(join(Version(max(ours.time, theirs.time) + 1, origin), theirs), ours)
    return Merged(Outcome.CONFLICT_APPLY, restamped)
