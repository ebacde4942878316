"""Merging fields whose edits are joined rather than chosen between (rules sum and union) with what a peer sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from syncapp.core.changes import Entry, Record
from syncapp.core.clock import Version, join, sees
from syncapp.core.merge import Merged, Outcome
from syncapp.core.parts import BASE, Parts, join_parts, members, places_of, renamed, value_of
from syncapp.core.rules import Merge
from syncapp.store import partwire
from syncapp.store.base import SUM_RANGE, Backend, FieldInfo, Setup
from syncapp.store.identity import Uids
from syncapp.store.parked import Cell, Incoming
from syncapp.store.resolve import Local
from syncapp.store.sealing import Numbering
from syncapp.store.writing import Held, Loser, Write


class Found(NamedTuple):
    """An incoming change, the record it is about, and the values that stand in the row."""

    change: Incoming
    record: Record
    ours: dict[int, Any]


class Joiner:
    """Joins incoming sums and unions to ours."""

    def __init__(self, backend: Backend, setup: Setup, numbering: Numbering) -> None:
        self._backend = backend
        self._setup = setup
        self._uids = Uids(backend, numbering)
        self._waited = numbering.waited
        self._targets: dict[bytes, Record] = {}

    def learn(self, found: Iterable[Found]) -> None:
        """Look up the records that unions hold, by the names that are used for them."""
        names: set[bytes] = set()
        keys: dict[int, set[str]] = defaultdict(set)
        for change, record, ours in found:
            fields = self._setup.tables[change.table].fields
            for field, cell in change.cells.items():
                if fields[field].merge is not Merge.UNION or cell.version is None:
                    continue
                entry = record.entries.get(field)
                names.update(part[0] for part in cell.parts)
                if entry is not None and entry.parts:
                    names.update(part[0] for part in entry.parts)
                else:
                    keys[fields[field].target].update(ours.get(field) or ())
        self._uids.learn(keys)
        if names:
            self._targets |= self._backend.records_by_uid(names)

    def join(self, write: Write, field: int, cell: Cell, version: Version) -> None:
        """Decide one field of ``write``."""
        info = self._setup.tables[write.change.table].fields[field]
        theirs = partwire.given(info, version, cell.value, cell.parts)
        if theirs is None:
            fault = f"a {info.merge.value} travels as its parts"
            write.decide(field, cell, Merged(Outcome.APPLY, version), Local(None, fault=fault))
            return
        entry = write.record.entries.get(field)
        ours = self._ours(info, entry, write.ours.get(field))
        if info.merge is Merge.UNION:
            ours, theirs = renamed(ours, self._name), renamed(theirs, self._name)
        joined = join_parts(ours, theirs)
        if info.merge is Merge.SUM:
            came = [part for part in joined if part not in ours]
            joined = self._waited.take_out((field, write.record.pk), joined, came, places_of(info.type))
        if entry is not None and joined == ours:
            outcome = Outcome.DUPLICATE if theirs == ours else Outcome.KEEP
        else:
            outcome = Outcome.APPLY
        merged = Merged(outcome, version if entry is None else _joined(entry.version, version))
        if info.merge is Merge.UNION:
            write.decide(field, cell, merged, self._local_union(info, joined))
        else:
            value = value_of(joined, places_of(info.type))
            write.decide(field, cell, merged, Local(value))
            write.verdicts[field].held = self._out_of_range(write, info, value, theirs)
            write.verdicts[field].loser = _lost_baseline(info, entry, ours, theirs, joined, version)
        write.verdicts[field].parts = joined
        write.verdicts[field].back = joined != theirs

    def _ours(self, info: FieldInfo, entry: Entry | None, value: Any) -> Parts:
        if info.merge is Merge.UNION:
            return partwire.parts_of(info, entry, self._uids.translate(info.target, value or []))
        if entry is None or not (entry.parts or partwire.is_number(value, places_of(info.type))):
            return ()  # any version goes before none, and what cannot be read is nothing to add to
        return partwire.parts_of(info, entry, value)

    def _name(self, uid: bytes) -> bytes:
        record = self._targets.get(uid)
        return record.uid if record else uid

    def _local_union(self, info: FieldInfo, parts: Parts) -> Local:
        """The elements as local keys. One that was deleted here is remembered, but is in no row any more."""
        keys = []
        for uid in sorted(members(parts)):
            record = self._targets.get(uid) or next(iter(self._uids.records([uid])), None)
            if record is None:
                return Local.waits("missing_target", uid, target=info.type.target)
            if record.alive:
                keys.append(record.pk)
        return Local(sorted(keys))

    def _out_of_range(self, write: Write, info: FieldInfo, value: Any, theirs: Parts) -> Held | None:
        if not write.verdicts[info.number].merged.outcome.writes:
            return None
        fault = self._backend.check(write.change.table, info.number, value)
        if not fault:
            return None
        there = value_of(theirs, places_of(info.type))
        here = str(write.ours.get(info.number))
        return (SUM_RANGE, {"here": here, "there": str(there), "value": str(value), "detail": fault}, None)


def _joined(ours: Version, theirs: Version) -> Version:
    later, earlier = (theirs, ours) if theirs.stamp > ours.stamp else (ours, theirs)
    return join(later, earlier)


def _lost_baseline(
    info: FieldInfo, entry: Entry | None, ours: Parts, theirs: Parts, joined: Parts, version: Version
) -> Loser | None:
    """Two programs began to count from different numbers without knowing of each other: one of them is lost."""
    if entry is None or sees(version, entry.version) or sees(entry.version, version):
        return None
    begun = [next((part for part in parts if part[0] == BASE), None) for parts in (ours, theirs, joined)]
    if begun[0] is None or begun[1] is None or begun[0][2] == begun[1][2]:
        return None
    places = places_of(info.type)
    won, lost = (entry.version, version) if begun[2] == begun[0] else (version, entry.version)
    value = value_of(theirs if lost is version else ours, places)
    return Loser(value_of(joined, places), value, won, lost)
