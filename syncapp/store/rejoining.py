"""Unions take a record in again that has come back: they remembered it, but no row could name it."""

from __future__ import annotations

from collections import defaultdict

from syncapp.core.changes import Record
from syncapp.core.parts import members
from syncapp.core.rules import Merge
from syncapp.store.base import Backend, Setup

#: Records looked through at once.
SLICE = 1000


def rejoin(backend: Backend, setup: Setup, back: Record) -> None:
    """Put ``back`` into the rows whose unions hold it.

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
    names, seq = {back.uid, *backend.aliases([back.id]).get(back.id, ())}, 0
    while found := backend.records_after(seq, SLICE):
        seq = found[-1].seq
        for record in found:
            for number in fields.get(record.table, ()) if record.alive else ():
                entry = record.entries.get(number)
                held = members(entry.parts) if entry is not None else set()
                if not names.isdisjoint(held):
                    targets = backend.records_by_uid(held).values()
                    keys = sorted({target.pk for target in targets if target.alive})
                    backend.update_rows(record.table, [number], [(record.pk, [keys])])
