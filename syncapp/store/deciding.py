"""Decisions: ordinary new edits of this program that have seen the versions they decide between.

One operation serves whoever decides: the answer to a question (policy ask), a loser that is put back, and later the
choices of initial sync, of verify's repair, and of revival. Since its version has seen all that it decides between, a
decision wins everywhere, and both sides' questions end with it. Two decisions that did not know of each other are two
edits like any others: they conflict anew, unless they say the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from syncapp import errors
from syncapp.core.changes import Entry, JournalRow, Op, Record
from syncapp.core.clock import Version, edit, join, sees
from syncapp.core.mapping import Kind
from syncapp.core.parts import Parts, change_sum, change_union, members, places_of
from syncapp.core.rules import Merge
from syncapp.store import partwire, questions
from syncapp.store.base import UNKNOWN, Backend, BadValue, FieldInfo, RowRefused, Setup
from syncapp.store.conflicts import Portable, is_relation
from syncapp.store.locking import RowLocks
from syncapp.store.sealing import Numbering, log_edits, seal_rows


class Decision(NamedTuple):
    """What a field of a record is to hold, and the versions that whoever decides has seen besides this program's own.

    ``value``: portable, as it travels (relations as uids), or ``local`` (as keys of this program); `KEEP`: what stands
    in the row.
    """

    uid: bytes
    field: int
    value: Any
    seen: tuple[Version, ...] = ()
    local: bool = False


#: Leave the value that stands in the row, and let that be the decision.
KEEP = UNKNOWN


class Decided(NamedTuple):
    """What became of a decision: its version (None: there was nothing to do), or the error.

    ``replaced``: the value that stood in the row, in local terms, and its version.
    """

    version: Version | None = None
    replaced: Any = UNKNOWN
    before: Version | None = None
    error: errors.SyncError | None = None


class _Item(NamedTuple):
    """A decision in local terms. ``old``: what stands in the row."""

    place: int
    decision: Decision
    record: Record
    info: FieldInfo
    old: Any
    value: Any


class Decider:
    """Carries out decisions within the caller's transaction."""

    def __init__(self, backend: Backend, setup: Setup, numbering: Numbering) -> None:
        self._backend = backend
        self._setup = setup
        self._numbering = numbering
        self._portable = Portable(backend, numbering)
        self._now = backend.now()

    def run(self, decisions: Sequence[Decision]) -> list[Decided]:
        """Carry out each decision that can be; what becomes of each, in their order. One that fails stops no other."""
        outcome = [Decided() for _ in decisions]
        items = self._resolve(decisions, outcome)
        written = self._write(items, outcome)
        self._stamp(written, outcome)
        return outcome

    # -- what they are about --------------------------------------------------------------------------------

    def _resolve(self, decisions: Sequence[Decision], outcome: list[Decided]) -> list[_Item]:
        records = self._backend.records_by_uid({decision.uid for decision in decisions})
        locks = RowLocks(self._backend)
        locks.take({(r.table, r.pk): self._strong(r, decisions) for r in records.values() if r.alive})
        if self._seal_rows(records.values()):
            records = self._backend.records_by_uid({decision.uid for decision in decisions})
        # One object for one record, by whatever name it is called.
        known: dict[int, Record] = {}
        found: dict[bytes, Record] = {uid: known.setdefault(r.id, r) for uid, r in records.items()}
        rows = self._rows(decisions, found)
        targets = self._targets(decisions, found)
        items = []
        for place, decision in enumerate(decisions):
            record = found.get(decision.uid)
            old = UNKNOWN if record is None else rows.get((record.id, decision.field), UNKNOWN)
            if record is None or not record.alive or old is UNKNOWN:
                outcome[place] = Decided(error=self._gone(record))
                continue
            info = self._setup.tables[record.table].fields[decision.field]
            if (record.table, record.pk) in locks.busy:
                label = self._setup.tables[record.table].label
                outcome[place] = Decided(error=errors.Busy(table=label, record=record.pk))
                continue
            try:
                value = old if decision.value is KEEP else self._local(record, info, decision, targets)
            except errors.SyncError as error:
                outcome[place] = Decided(error=error)
                continue
            items.append(_Item(place, decision, record, info, old, value))
        return items

    def _strong(self, record: Record, decisions: Sequence[Decision]) -> bool:
        fields = self._setup.tables[record.table].fields if record.table in self._setup.tables else {}
        return any(d.field in fields and fields[d.field].type.kind is Kind.RELATIONS for d in decisions)

    def _gone(self, record: Record | None) -> errors.SyncError:
        table = self._setup.tables.get(record.table) if record else None
        return errors.RecordGone(table=table.label if table else "?")

    def _seal_rows(self, records: Iterable[Record]) -> bool:
        """Seal pending local edits of the rows first: they are older than the decision."""
        places = ((record.table, record.pk) for record in records)
        return seal_rows(self._backend, self._setup, places, self._numbering)

    def _rows(
        self, decisions: Sequence[Decision], records: dict[bytes, Record]
    ) -> dict[tuple[int, int], Any]:
        """(record, field) → what stands in the row."""
        wanted: dict[int, set[int]] = defaultdict(set)
        here: dict[int, dict[str, Record]] = defaultdict(dict)
        for decision in decisions:
            record = records.get(decision.uid)
            if record is not None and record.alive and record.table in self._setup.tables:
                wanted[record.table].add(decision.field)
                here[record.table][record.pk] = record
        found: dict[tuple[int, int], Any] = {}
        for table, fields in wanted.items():
            columns = sorted(fields & self._setup.tables[table].fields.keys())
            for pk, values in self._backend.rows(table, here[table], columns).items():
                found |= {(here[table][pk].id, n): value for n, value in zip(columns, values, strict=True)}
        return found

    def _targets(self, decisions: Sequence[Decision], records: dict[bytes, Record]) -> dict[bytes, Record]:
        """The records that relation values refer to."""
        wanted: set[bytes] = set()
        for decision in decisions:
            value = decision.value if isinstance(decision.value, list) else [decision.value]
            if decision.uid in records:
                wanted |= {uid for uid in value if isinstance(uid, bytes) and len(uid) == len(decision.uid)}
        if not wanted:
            return {}
        found = self._backend.records_by_uid(wanted)
        return self._backend.records_by_uid(wanted) if self._seal_rows(found.values()) else found

    def _local(
        self, record: Record, info: FieldInfo, decision: Decision, targets: dict[bytes, Record]
    ) -> Any:
        """The decision's value as it is written here.

        Raises:
            TargetGone, ValueRefused: it cannot be.
        """
        table = self._setup.tables[record.table].label
        local = value = decision.value
        if is_relation(info) and value is not None and not decision.local:
            uids = value if info.type.kind is Kind.RELATIONS else [value]
            here = [targets.get(uid) if isinstance(uid, bytes) else None for uid in uids]
            keys = sorted(found.pk for found in here if found is not None and found.alive)
            if len(keys) < len(uids):
                raise errors.TargetGone(table=table, field=info.name)
            local = keys if info.type.kind is Kind.RELATIONS else keys[0]
        fault = self._backend.check(record.table, info.number, local)
        if fault:
            raise errors.ValueRefused(table=table, field=info.name, value=str(value)[:60], detail=fault)
        return local

    # -- doing it -------------------------------------------------------------------------------------------

    def _write(self, items: list[_Item], outcome: list[Decided]) -> list[_Item]:
        """Write the values that change something, together where the database takes them so; those that stand then."""
        groups: dict[tuple[int, int], list[_Item]] = defaultdict(list)
        for item in items:
            if item.value != item.old:
                groups[item.record.table, item.decision.field].append(item)
        failed: set[int] = set()
        for (table, field), group in groups.items():
            for part in [group] if self._try(table, field, group) is None else [[item] for item in group]:
                refused = None if part is group else self._try(table, field, part)
                if refused is not None:
                    failed.add(part[0].place)
                    outcome[part[0].place] = Decided(error=self._refused(part[0].record, refused))
        return [item for item in items if item.place not in failed]

    def _try(self, table: int, field: int, items: list[_Item]) -> RowRefused | None:
        try:
            with self._backend.savepoint():
                self._backend.update_rows(table, [field], [(item.record.pk, [item.value]) for item in items])
        except RowRefused as refused:
            return refused
        return None

    def _refused(self, record: Record, refused: RowRefused) -> errors.SyncError:
        params = {"table": self._setup.tables[record.table].label, "record": record.pk}
        return errors.from_code(refused.code, {**params, "detail": refused.detail, "field": refused.detail})

    def _stamp(self, items: list[_Item], outcome: list[Decided]) -> None:
        """Give versions and numbers; close the questions that end with them."""
        changed: dict[int, tuple[Record, dict[int, int], list[JournalRow]]] = {}
        for item in items:
            if item.value == item.old and not item.decision.seen:
                continue  # nothing to decide between, and nothing to write
            record, field = item.record, item.decision.field
            entry = record.entries.get(field)
            if (
                entry is not None
                and item.value == item.old
                and all(sees(entry.version, v) for v in item.decision.seen)
            ):
                continue  # decided already
            version = self._version(entry, item.decision.seen)
            if record.id not in changed:
                record.seq = self._numbering.next()
                changed[record.id] = (record, {}, [])
            record.entries[field] = Entry(version, record.seq, 0, self._parts(item, entry, version))
            _, fields, rows = changed[record.id]
            fields[field] = version.time
            rows.append(
                JournalRow(record.table, record.pk, Op.UPDATE, (field,), self._now, {field: item.old})
            )
            outcome[item.place] = Decided(version, item.old, entry.version if entry else None)
        self._backend.save_records([record for record, _, _ in changed.values()])
        questions.review(
            self._backend, self._setup, [(record, fields) for record, fields, _ in changed.values()]
        )
        by_table: dict[int, list[tuple[Record, dict[int, int], list[JournalRow]]]] = defaultdict(list)
        for done in changed.values():
            by_table[done[0].table].append(done)
        for table, group in by_table.items():
            log_edits(self._backend, self._setup, table, group)

    def _version(self, entry: Entry | None, seen: tuple[Version, ...]) -> Version:
        known = entry.version if entry else None
        for version in seen:
            if known is None:
                known = version
            else:
                later, earlier = (version, known) if version.stamp > known.stamp else (known, version)
                known = join(later, earlier)
        return edit(self._now, self._numbering.origin, known)

    def _parts(self, item: _Item, entry: Entry | None, version: Version) -> Parts:
        info = item.info
        if info.merge is Merge.VALUE or isinstance(item.old, BadValue):
            return ()
        self._portable.learn([(info, item.old), (info, item.value)])
        old, new = self._portable(info, item.old), self._portable(info, item.value)
        parts = partwire.parts_of(info, entry, old)
        if info.merge is Merge.SUM:
            return change_sum(parts, new, version.origin, version.time, places_of(info.type))
        there = members(parts)
        return change_union(parts, set(new) - there, set(old) - set(new), version.origin, version.time)
