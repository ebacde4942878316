"""Soft deletion in a configuration: a rule of *record status* that names the columns which tell that a row is deleted.

In the file: ``deleted = { archived = true }``, and ``alive = { … }`` where it does not follow from truth values. TOML
has no null: ``{ null = true }`` says that. In `models.Rule.options` both are dictionaries, column → wire value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.items import InlineTable

from syncapp import models
from syncapp.core.mapping import Direction, Kind
from syncapp.errors import (
    BadSoftColumn,
    BadSoftValue,
    SoftColumnMapped,
    SoftNeedsAlive,
    SoftOnlyForStatus,
    SyncError,
)
from syncapp.store.catalogue import CatalogueField, CatalogueTable
from syncapp.store.config.reader import Reader, describe
from syncapp.store.config.wirevalues import from_file, has_values, is_single, shown, to_file, wire_value

if TYPE_CHECKING:
    from syncapp.store.config.validate import LinkPlan

Written = Mapping[str, Any]
Options = dict[str, dict[str, Any]]


# -- from the file ------------------------------------------------------------------------------------------


def read(reader: Reader, key: str) -> Written:
    """``deleted`` or ``alive`` as written: column → its value, None for null."""
    inner = Reader(f"{reader.place}, {key}", reader.table(key), reader.errors)
    found: dict[str, Any] = {}
    for column, value in reader.table(key).items():
        if is_single(value):
            found[column] = from_file(value)
        else:
            inner.wrong(column, "a value, or { null = true } for an empty column")
    return found


# -- compared with the table --------------------------------------------------------------------------------


def check(
    full: str, table: CatalogueTable, entry: CatalogueField, deleted: Written, alive: Written
) -> tuple[Options, list[SyncError]]:
    """Both sides in wire values, and what is wrong with them. ``full``: the field of the rule."""
    if not (deleted or alive):
        return {}, []
    if entry.type.kind is not Kind.STATUS or not deleted:
        return {}, [SoftOnlyForStatus(field=full)]
    errors: list[SyncError] = []
    options: Options = {
        "deleted": dict(_wire(full, table, deleted, errors)),
        "alive": dict(_wire(full, table, alive, errors)),
    }
    if errors:
        return {}, errors
    for column, value in options["deleted"].items():
        if column not in options["alive"] and isinstance(value, bool):
            options["alive"][column] = not value
    unsaid = sorted(options["deleted"].keys() ^ options["alive"].keys())
    same = not unsaid and options["deleted"] == options["alive"]
    if unsaid or same:
        return {}, [SoftNeedsAlive(field=full, columns=", ".join(unsaid or sorted(deleted)))]
    return options, []


def _wire(
    full: str, table: CatalogueTable, written: Written, errors: list[SyncError]
) -> Iterator[tuple[str, Any]]:
    for column, value in written.items():
        entry = table.fields.get(column)
        if entry is None or not has_values(entry):
            errors.append(BadSoftColumn(field=full, table=table.label, column=column))
            continue
        wire, detail = wire_value(value, entry)
        if detail:
            errors.append(BadSoftValue(field=full, column=column, value=describe(value), detail=detail))
        yield column, wire


def mapped_elsewhere(using: str, named: Iterable[str]) -> list[tuple[str, str, str]]:
    """(table, field, link) of what the links exchange that a file does not name."""
    rows = models.Mapping.objects.using(using).exclude(direction=Direction.OFF)
    rows = rows.exclude(link__name__in=list(named))
    return list(rows.values_list("field__table__label", "field__name", "link__name"))


def columns_mapped(
    full: str,
    options: Options,
    label: str,
    links: Iterable[LinkPlan],
    elsewhere: Iterable[tuple[str, str, str]],
) -> Iterator[SyncError]:
    """Columns that a link exchanges too: two fields would say of one record whether it lives."""
    for table_label, name, link_name in elsewhere:
        if table_label == label and name in options["deleted"]:
            yield SoftColumnMapped(field=full, column=name, link=link_name)
    for link in links:
        for table in link.tables:
            for plan in table.fields if table.table.label == label else ():
                if plan.entry.name in options["deleted"] and plan.spec.direction is not Direction.OFF:
                    yield SoftColumnMapped(field=full, column=plan.entry.name, link=link.spec.name)


# -- for people, and back into a file -----------------------------------------------------------------------


def sentence(label: str, options: Options) -> str:
    """What the rule does. ``label``: the field's."""
    table = label.rpartition(".")[0]
    if not options:
        return f"Records of {table} are really deleted now."
    parts = {
        side: " and ".join(f"{column} = {shown(value)}" for column, value in options[side].items())
        for side in ("deleted", "alive")
    }
    return (
        f"Records of {table} count as deleted now where {parts['deleted']}; their rows stay, and those that come back "
        f"get {parts['alive']}."
    )


def exported(side: Mapping[str, Any]) -> InlineTable:
    """``deleted`` or ``alive`` as it stands in a file."""
    table = tomlkit.inline_table()
    for column, value in side.items():
        table.append(column, to_file(value))
    return table
