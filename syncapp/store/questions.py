"""Parked changes that wait for an edit here: questions to a person (policy ask), sums that leave the field's range.

The timer does not try them again, since nothing comes of that by itself. They are looked at when their field changes:
by an edit here, by what arrives on any link, by a decision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from syncapp.core.changes import Record
from syncapp.core.clock import sees
from syncapp.core.rules import Merge, Policy
from syncapp.store import parked
from syncapp.store.aliases import names_of
from syncapp.store.base import ASK, UNKNOWN, Backend, LogRow, ProblemRow, Setup
from syncapp.store.parked import Cell

Changed = tuple[Record, Collection[int]]
"""A record, and the fields of it that have a new version."""


def waiting_fields(setup: Setup, table: int) -> set[int]:
    """The fields of a table whose changes may wait for an edit here."""
    fields = setup.tables[table].fields.values()
    return {field.number for field in fields if field.policy is Policy.ASK or field.merge is Merge.SUM}


def review(backend: Backend, setup: Setup, changed: Iterable[Changed]) -> None:
    """Close the questions that the new versions answer, whichever link they came by; let the others be tried once.

    Of a record that is gone, any field will do: nothing is left to decide, which the try finds out.

    An answer is a version that has seen the one that waits. Equal values leave no question either: that is found
    where they are compared, when the parked change is tried again.
    """
    fields = _by_name(backend, setup, changed)
    closed: list[ProblemRow] = []
    again: list[ProblemRow] = []
    for row in backend.standing({uid for uid, _ in fields}) if fields else ():
        record = fields.get((row.uid, row.field))
        if record is None:
            continue
        entry, cell = record.entries.get(row.field), cell_of(row)
        answered = entry is not None and cell.version is not None and sees(entry.version, cell.version)
        if row.code == ASK and answered:
            closed.append(msgspec.structs.replace(row, pk=record.pk))
        elif row.next_try:
            again.append(msgspec.structs.replace(row, next_try=0))
    if closed:
        close(backend, setup, closed)
    if again:
        backend.save_problems(again)


def _by_name(backend: Backend, setup: Setup, changed: Iterable[Changed]) -> dict[tuple[bytes, int], Record]:
    """(uid, field) → the record, for those fields that may have questions, under all names of the record."""
    waiting: dict[int, tuple[Record, set[int]]] = {}
    able: dict[int, set[int]] = {}
    for record, numbers in changed:
        if record.table not in able:
            able[record.table] = waiting_fields(setup, record.table)
        if record.id and (fields := able[record.table].intersection(numbers)):
            waiting[record.id] = (record, fields)
    names = names_of(backend, [record for record, _ in waiting.values()])
    return {
        (name, field): record
        for record, fields in waiting.values()
        for name in names[record.id]
        for field in fields
    }


def cell_of(row: ProblemRow) -> Cell:
    """The parked value of a problem of one field."""
    return parked.unpack(row.uid, row.table, row.payload).cells[row.field]


def close(backend: Backend, setup: Setup, rows: Collection[ProblemRow]) -> None:
    """The questions are answered; logs tell what became of the values that waited."""
    now = backend.now()
    backend.drop_problems([row.id for row in rows])
    log = [
        LogRow(
            row.link, now, "in", row.table, row.pk, row.uid, row.field, UNKNOWN, cell_of(row).value, *_ENDED
        )
        for row in rows
        if row.link in setup.links and setup.links[row.link].log
    ]
    if log:
        backend.add_log(log)


#: Result and detail of the log row of a question that was answered.
_ENDED = ("superseded", "decided")
