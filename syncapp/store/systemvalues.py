"""Values of system fields that no column of their table holds: *time added* and *creator*, kept with the record.

They stand where the parts of sums and unions stand, in the entry of their field. They say how a record began: the
moment in which it was first noticed here, and the user who made it, if the program's own history (that of the admin)
names one. Whoever has the record from somebody else has these from him too. Between two programs that both had it, the
later one stands; that is no conflict worth keeping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from syncapp.core.changes import Entry, JournalRow, Op, Record
from syncapp.core.clock import edit
from syncapp.core.mapping import Kind
from syncapp.core.parts import Parts
from syncapp.store.base import Backend, FieldInfo, Setup, TableInfo

KINDS = frozenset({Kind.DATETIME, Kind.USER})


def is_kept(field: FieldInfo) -> bool:
    """Whether the value of ``field`` is kept with the record."""
    return field.system and not field.stored and field.type.kind in KINDS


def kept_fields(table: TableInfo) -> list[FieldInfo]:
    """Those of the table's fields."""
    return [field for field in table.fields.values() if is_kept(field)]


def parts_of(value: Any) -> Parts:
    """A value as an entry keeps it."""
    return () if value is None else ((value,),)


def value_of(record: Record, field: int) -> Any:
    """The value of a kept field; None where there is none."""
    entry = record.entries.get(field)
    return entry.parts[0][0] if entry is not None and entry.parts else None


def fill_in(
    table: TableInfo, records: Iterable[Record], columns: Sequence[int], rows: Mapping[str, list[Any]]
) -> None:
    """Put kept values into ``rows`` (by local key, in the order of ``columns``)."""
    places = [(place, column) for place, column in enumerate(columns) if is_kept(table.fields[column])]
    if not places:
        return
    for record in records:
        row = rows.get(record.pk)
        if row is not None and record.alive:
            for place, column in places:
                row[place] = value_of(record, column)


class Beginnings:
    """What a seal notes of records that it meets for the first time."""

    def __init__(
        self, backend: Backend, setup: Setup, table: int, by_pk: Mapping[str, list[JournalRow]]
    ) -> None:
        wanted = [f for f in kept_fields(setup.tables[table]) if f.number in setup.captured]
        self._added = next((f.number for f in wanted if f.type.kind is Kind.DATETIME), 0)
        self._creator = next((f.number for f in wanted if f.type.kind is Kind.USER), 0)
        new = [pk for pk, rows in by_pk.items() if self._creator and any(r.op == Op.INSERT for r in rows)]
        self._creators = backend.creators(table, new) if new else {}

    def note(self, record: Record, rows: Sequence[JournalRow], origin: bytes) -> list[int]:
        """Give ``record`` the values that it begins with; the fields that have one now. Their numbers follow."""
        begun = not record.id or any(row.op == Op.INSERT for row in rows)
        noted = []
        at = rows[0].at
        for field, value in ((self._added, _moment(at)), (self._creator, self._creators.get(record.pk))):
            if field and begun and value is not None and field not in record.entries:
                record.entries[field] = Entry(edit(at, origin, None), 0, 0, parts_of(value))
                noted.append(field)
        return noted


def _moment(at: int) -> str:
    """A time in wire form."""
    seconds, rest = divmod(at, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest, tzinfo=None)
    return moment.isoformat() + "Z"
