"""Sealing fields whose edits are joined rather than chosen between (rules sum and union).

What such a field is made of is kept in its entry (`Entry.parts`); what stands in the row is what the parts make, as
long as nobody edits it. So a local edit is the difference between the two. Before the first edit there are no parts:
then the journal says what was there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from syncapp.core.changes import JournalRow, Op, Record
from syncapp.core.clock import Version
from syncapp.core.parts import (
    Parts,
    baseline,
    change_sum,
    change_union,
    collection,
    members,
    places_of,
    renamed,
    value_of,
)
from syncapp.core.rules import Merge
from syncapp.store.base import UNKNOWN, Backend, FieldInfo, Setup
from syncapp.store.partwire import is_number
from syncapp.store.waited import Waited

Rows = Mapping[str, list[JournalRow]]
"""Journal rows of one table by local key."""


class Edits:
    """What local edits made of the sums and unions that journal rows name.

    Made before anything is sealed: a record that was taken out of a union may itself be gone in the same seal.
    ``born``: makes the record of a local row that has none yet. ``waited``: is told of what is added to sums.
    """

    def __init__(
        self,
        backend: Backend,
        setup: Setup,
        journal: Mapping[int, Rows],
        born: Callable[[int, str], Record],
        waited: Waited,
    ) -> None:
        self._backend = backend
        self._waited = waited
        self._born = born
        self._fields: dict[int, FieldInfo] = {}
        self._unions: set[int] = set()
        self._values: dict[tuple[str, int], Any] = {}
        self._uids: dict[tuple[int, str], bytes] = {}
        self._targets: dict[bytes, Record] = {}
        for table, rows in journal.items():
            if table in setup.tables:
                fields = setup.tables[table].fields
                found = {
                    n: f for n, f in fields.items() if f.merge is not Merge.VALUE and n in setup.captured
                }
                if found:
                    self._fields |= found
                    self._unions |= {n for n, f in found.items() if f.merge is Merge.UNION}
                    self._look(table, list(found), rows)

    def _look(self, table: int, fields: list[int], rows: Rows) -> None:
        """Read what the fields hold now, and name the records that unions hold or held."""
        wanted = [
            pk
            for pk, found in rows.items()
            if any(row.op != Op.UPDATE or not self._fields.keys().isdisjoint(row.fields) for row in found)
        ]
        present: dict[int, set[str]] = defaultdict(set)
        past: dict[int, set[str]] = defaultdict(set)
        for pk, values in self._backend.rows(table, wanted, fields).items():
            for field, value in zip(fields, values, strict=True):
                self._values[pk, field] = value
                if field in self._unions:
                    target = self._fields[field].target
                    present[target].update(value or ())
                    past[target].update(_before_union(field, rows[pk]) or ())
        for target, keys in present.items():
            self._name(target, keys, past[target] - keys)

    def _name(self, table: int, present: set[str], past: set[str]) -> None:
        known = self._backend.records_by_pk(table, present | past)
        missing = present - known.keys()
        born = (
            [self._born(table, key) for key in sorted(self._backend.existing(table, missing))]
            if missing
            else []
        )
        self._backend.save_records(born)
        for record in (*known.values(), *born):
            self._uids[table, record.pk] = record.uid

    def learn(self, records: Iterable[Record]) -> None:
        """Look up the records that the unions of ``records`` hold: some may be gone, or have got another name."""
        if not self._unions:
            return
        entries = [r.entries[field] for r in records for field in self._unions & r.entries.keys()]
        wanted = {part[0] for entry in entries for part in entry.parts} - self._targets.keys()
        if wanted:
            self._targets |= self._backend.records_by_uid(wanted)

    def settle(self, record: Record, fields: dict[int, int], rows: list[JournalRow]) -> dict[int, int]:
        """``fields`` (field → time) without those sums and unions that are what they were before."""
        if not self._fields:
            return fields
        return {f: at for f, at in fields.items() if f not in self._fields or self._differs(record, f, rows)}

    def _differs(self, record: Record, field: int, rows: list[JournalRow]) -> bool:
        if field in self._unions:
            known, added, removed = self._union(record, field, rows)
            return known is None or bool(added or removed)
        known, value = self._sum(record, field, rows), self._number(record, field)
        return known is None or value is None or value_of(known, self._places(field)) != value

    def parts(self, record: Record, field: int, version: Version, rows: list[JournalRow]) -> Parts:
        """What the field is made of after the local edit ``version``; nothing where the rule is another."""
        if field not in self._fields:
            return ()
        if field in self._unions:
            base, added, removed = self._union(record, field, rows)
            if base is None:
                base, added = collection(added), set()
            return change_union(base, added, removed, version.origin, version.time)
        value, known = self._number(record, field), self._sum(record, field, rows)
        if value is None:
            return known or ()  # what cannot be read is not sent either
        if known is None:
            return baseline(value, version.time)
        self._waited.note((field, record.pk), rows, value, version.origin, self._places(field))
        return change_sum(known, value, version.origin, version.time, self._places(field))

    # -- sums --

    def _places(self, field: int) -> int | None:
        return places_of(self._fields[field].type)

    def _number(self, record: Record, field: int) -> Any:
        value = self._values.get((record.pk, field))
        return value if is_number(value, self._places(field)) else None

    def _sum(self, record: Record, field: int, rows: list[JournalRow]) -> Parts | None:
        """The parts before the edit; None where nothing says what there was."""
        entry = record.entries.get(field)
        if entry is not None and entry.parts:
            return entry.parts
        before: Any = next((row.before[field] for row in rows if row.before and field in row.before), UNKNOWN)
        if not is_number(before, self._places(field)):
            return None
        return baseline(before, entry.version.time if entry else 0)

    # -- unions --

    def _union(
        self, record: Record, field: int, rows: list[JournalRow]
    ) -> tuple[Parts | None, set[bytes], set[bytes]]:
        """The parts before the edit, and what it added and removed.

        None where nothing says what there was before; what is there now then counts as added.
        """
        target, entry = self._fields[field].target, record.entries.get(field)
        keys = self._values.get((record.pk, field)) or ()
        now = {self._uids[target, key] for key in keys if (target, key) in self._uids}
        if entry is not None and entry.parts:
            base = renamed(entry.parts, self._name_of)
        else:
            changes = _before_union(field, rows)
            if changes is None:
                return None, now, set()
            named = {
                self._uids[target, key]: was for key, was in changes.items() if (target, key) in self._uids
            }
            before = (now - {uid for uid, was in named.items() if not was}) | {
                uid for uid, was in named.items() if was
            }
            if entry is None:
                base = collection(before)
            else:
                base = collection(before, entry.version.time, entry.version.origin)
        there = members(base)
        return base, now - there, {uid for uid in there - now if self._is_here(uid)}

    def _name_of(self, uid: bytes) -> bytes:
        record = self._targets.get(uid)
        return record.uid if record else uid

    def _is_here(self, uid: bytes) -> bool:
        """Whether the element could be in the field: one whose record is gone was not taken out of it."""
        record = self._targets.get(uid)
        return record is None or record.alive


def _before_union(field: int, rows: list[JournalRow]) -> dict[str, bool] | None:
    """local key → whether it was in the union before; None where the journal does not say."""
    found: dict[str, bool] = {}
    told = False
    for row in rows:
        if row.before and isinstance(row.before.get(field), dict):
            told = True
            for key, was in row.before[field].items():
                found.setdefault(key, bool(was))
    return found if told else None
