"""Values that could not be sent: parked as outgoing problems, and sent anew when there is hope.

A bad value is usually corrected by an edit, which feeds it again by itself. What an edit does not touch (a map that
was extended, a user who was renamed) is fed again when the link meets its peer anew, or when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from syncapp.core.changes import Record
from syncapp.core.mapping import Agreement
from syncapp.store.base import NEVER, Backend, BadValue, ProblemRow, Setup
from syncapp.store.faults import told
from syncapp.store.sealing import Numbering


def outgoing_problem(
    setup: Setup, link: int, record: Record, field: int, value: BadValue, now: int
) -> ProblemRow:
    """A value that cannot be sent, as a problem."""
    table = setup.tables[record.table]
    said = told(value)
    params = {
        "table": table.label,
        "field": table.fields[field].name,
        "value": said.get("shown", "…"),
        **said,
    }
    return ProblemRow(
        *(0, link, "out", record.table, record.uid, record.pk, field, value.code, params, None, b"", now),
        next_try=NEVER,
    )


def feed_anew(
    backend: Backend, agreement: Agreement, rows: Iterable[ProblemRow], numbering: Numbering
) -> int:
    """Give the fields of outgoing problems a new feed number; drops problems of what is not sent any more."""
    rows = [row for row in rows if row.way == "out"]
    if not rows:
        return 0
    records = backend.records_by_uid({row.uid for row in rows})
    touched: dict[int, Record] = {}
    over: list[int] = []
    for row in rows:
        record = records.get(row.uid)
        entry = record.entries.get(row.field) if record else None
        if (
            record is None
            or entry is None
            or not record.alive
            or row.field not in agreement.out_fields(row.table)
        ):
            over.append(row.id)
            continue
        # Two names of one record: one object, or the second would undo what the first was given.
        record = touched.setdefault(record.id, record)
        record.seq = numbering.next()
        record.entries[row.field] = entry._replace(seq=record.seq)
    backend.save_records(touched.values())
    backend.drop_problems(over)
    return len(rows)
