"""Values of rows as they leave this program: option values and users in the terms that the peer understands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncapp import details
from syncapp.core.kinds import Kind
from syncapp.core.relations import MatchKey
from syncapp.store.base import Backend, BadValue, TableInfo
from syncapp.store.faults import fault
from syncapp.store.options import OptionMap, translate_row
from syncapp.store.people import Names
from syncapp.store.targets import keys_of_targets


def outgoing(
    backend: Backend,
    table: TableInfo,
    maps: Mapping[int, OptionMap],
    by_key: Mapping[int, MatchKey],
    columns: Sequence[int],
    rows: Mapping[str, Sequence[Any]],
) -> dict[str, dict[int, Any]]:
    """Local key → the row's values by field number; what cannot be said is a `BadValue`.

    Of relations, only those that travel ``by_key`` are put into the peer's terms.
    """
    people = [column for column in columns if table.fields[column].type.kind is Kind.USER]
    places = [columns.index(column) for column in people]
    keys = {row[place] for row in rows.values() for place in places if isinstance(row[place], str)}
    names = backend.users(keys) if keys else {}
    found = {}
    for pk, row in rows.items():
        values = found[pk] = dict(zip(columns, row, strict=True))
        translate_row(maps, values)
        for column in people:
            values[column] = _user(values[column], names)
    keys_of_targets(backend, table, by_key, found.values())
    return found


def _user(key: Any, names: Mapping[str, Names]) -> Any:
    if not isinstance(key, str):
        return key
    return list(names[key]) if key in names else BadValue(fault(details.USER_GONE, shown=key))
