"""The row filter of a link table: from the file to wire values, and back.

In the file it is a table, column = value or list of values (*one of*). TOML has no null: ``{ null = true }`` says that.
In `models.LinkTable.options` it is a dictionary, column → list of wire values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tomlkit
from tomlkit.items import InlineTable

from syncapp.errors import BadFilterField, BadFilterValue, SyncError
from syncapp.store.catalogue import CatalogueField, CatalogueTable
from syncapp.store.config.reader import Reader, describe
from syncapp.store.config.wirevalues import from_file, has_values, is_single, shown, to_file, wire_value

Written = Mapping[str, tuple[Any, ...]]
Wire = dict[str, list[Any]]

_EXPECTED = "a value, a list of values, or { null = true } for an empty column"


# -- from the file ------------------------------------------------------------------------------------------


def read(reader: Reader) -> Written:
    """The filter as written: column → its values, None for null."""
    inner = Reader(f"{reader.place}, filter", reader.table("filter"), reader.errors)
    found: dict[str, tuple[Any, ...]] = {}
    for column, written in reader.table("filter").items():
        values = written if isinstance(written, list) else [written]
        if not values or not all(map(is_single, values)):
            inner.wrong(column, _EXPECTED)
            continue
        found[column] = tuple(map(from_file, values))
    return found


# -- compared with the table --------------------------------------------------------------------------------


def check(
    link: str, table: CatalogueTable, written: Written, find: Callable[[str], CatalogueField | None]
) -> tuple[Wire, list[SyncError]]:
    """The filter in wire values, and what is wrong with it. ``find`` reports an unknown column itself."""
    wire: Wire = {}
    errors: list[SyncError] = []
    for column, values in written.items():
        entry = find(column)
        if entry is None:
            continue
        if not has_values(entry):
            params = {"link": link, "table": table.label, "field": column, "kind": entry.type.kind.value}
            errors.append(BadFilterField(**params))
            continue
        wire[column] = []
        for value in values:
            found, detail = wire_value(value, entry)
            if not detail and found not in wire[column]:
                wire[column].append(found)
            elif detail:
                params = {"link": link, "table": table.label, "field": column, "value": describe(value)}
                errors.append(BadFilterValue(**params, detail=detail))
    return wire, errors


# -- for people, and back into a file -----------------------------------------------------------------------


def sentence(place: str, label: str, filter: Wire) -> str:
    """What the filter does."""
    if not filter:
        return f"{place}: all records of {label} are sent now, without a filter."
    parts = [f"{column} = {' or '.join(map(shown, values))}" for column, values in filter.items()]
    return f"{place}: of {label} only records with {' and '.join(parts)} are sent now."


def notes(place: str, filtered: Iterable[str], relations: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What people should know of relations (field, target table) to tables that have a filter."""
    known = {label.lower() for label in filtered}
    for field, target in relations:
        if target.lower() in known:
            yield (
                f"{place}: note that {target} has a filter: where {field} refers to a record that does not pass, it "
                "waits in the other program until that record passes."
            )


def exported(filter: Wire) -> InlineTable:
    """The filter as it stands in a file."""
    table = tomlkit.inline_table()
    for column, values in filter.items():
        written = list(map(to_file, values))
        table.append(column, written[0] if len(written) == 1 else written)
    return table
