"""Tables whose rows say themselves whether they count as deleted: by a column such as *archived*, as a rule says.

The row of a deleted record of such a table stays where it is. Its record is dead all the same: it has a grave, its
edits go nowhere, and nobody matches it. What crosses from alive to dead, or back, is a deletion or a revival like any.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from syncapp.core.changes import Record
from syncapp.store.base import Backend, Key, Setup, TableInfo
from syncapp.store.values import same


def dead_rows(backend: Backend, table: TableInfo, pks: Collection[str]) -> set[str]:
    """Those of the rows ``pks`` that stand and say that they are deleted; none where the table has no such rule."""
    if table.soft is None or not pks:
        return set()
    wanted = table.soft.deleted
    columns = sorted(wanted)
    kinds = [table.fields[column].type.kind for column in columns]
    return {
        pk
        for pk, values in backend.rows(table.number, pks, columns).items()
        if all(
            same(kind, value, wanted[column])
            for kind, column, value in zip(kinds, columns, values, strict=True)
        )
    }


def standing(backend: Backend, setup: Setup, records: Iterable[Record]) -> set[int]:
    """The ids of those of ``records`` that are dead and whose rows are there all the same."""
    found: set[int] = set()
    by_table: dict[int, dict[str, Record]] = {}
    for record in records:
        table = setup.tables.get(record.table)
        if not record.alive and record.pk and table is not None and table.soft is not None:
            by_table.setdefault(record.table, {})[record.pk] = record
    for number, by_pk in by_table.items():
        present = backend.existing(number, by_pk) - backend.records_by_pk(number, by_pk).keys()
        newest = backend.buried(number, present)
        found |= {newest[pk].id for pk in present if pk in newest and newest[pk].id == by_pk[pk].id}
    return found


def without_dead(backend: Backend, table: TableInfo, found: dict[Key, list[str]]) -> dict[Key, list[str]]:
    """Rows by their match keys, without those that count as deleted: they are no record that could be meant."""
    dead = dead_rows(backend, table, {pk for pks in found.values() for pk in pks})
    if not dead:
        return found
    left = {key: [pk for pk in pks if pk not in dead] for key, pks in found.items()}
    return {key: pks for key, pks in left.items() if pks}


def mark(backend: Backend, table: TableInfo, pks: Sequence[str], *, alive: bool) -> None:
    """Let rows say that they are alive, or deleted, echo suppressed. Raises `RowRefused`."""
    assert table.soft is not None
    values: Mapping[int, Any] = table.soft.alive if alive else table.soft.deleted
    columns = sorted(values)
    row = [values[column] for column in columns]
    backend.update_rows(table.number, columns, [(pk, row) for pk in pks])
