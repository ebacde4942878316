"""Unions take a record in again that has come back: they remembered it, but no row could name it."""

from __future__ import annotations

from collections import defaultdict

from syncapp.core.changes import Record
from syncapp.core.parts import members
from syncapp.core.rules import Merge
from syncapp.store.aliases import names_of
from syncapp.store.base import Backend, Setup
from syncapp.store.sealing import Numbering

#: Records looked through at once.
SLICE = 1000


def rejoin(backend: Backend, setup: Setup, back: Record, numbering: Numbering) -> None:
    """Put ``back`` into the rows whose unions hold it, and tell the peers: while it was gone they were not told of it.

    Nothing points from a record to the unions that hold it, so all records are looked through: records seldom come
    back, and seldom such that unions are made of.
    """
    fields: dict[int, list[int]] = defaultdict(list)
    for table in setup.tables.values():
        for field in table.fields.values():
            if field.merge is Merge.UNION and field.target == back.table:
                fields[table.number].append(field.number)
    if not fields:
        return
    names, seq = set(names_of(backend, [back])[back.id]), 0
    again: dict[int, Record] = {}
    while found := backend.records_after(seq, SLICE):
        seq = found[-1].seq
        for record in found:
            for number in fields.get(record.table, ()) if record.alive else ():
                entry = record.entries.get(number)
                held = members(entry.parts) if entry is not None else set()
                if entry is None or names.isdisjoint(held):
                    continue
                targets = backend.records_by_uid(held).values()
                keys = sorted({target.pk for target in targets if target.alive})
                backend.update_rows(record.table, [number], [(record.pk, [keys])])
                record.entries[number] = entry._replace(seq=0)
                again[record.id] = record
    # Not before all were looked through: numbered anew, they stand at the end.
    for record in again.values():
        record.seq = numbering.next()
        for number, entry in record.entries.items():
            if number in fields[record.table] and entry.seq == 0:
                record.entries[number] = entry._replace(seq=record.seq)
    backend.save_records(again.values())
