# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""Writing rows of the user's tables: each call whole or not at all, without an echo in the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncapp.core.mapping import Kind
from syncapp.store.base import RowRefused, Values
from syncapp.store.bindings import ThroughBinding
from syncapp.store.sql.creation import OMITTED, Creation, NewColumn
from syncapp.store.sql.database import Database
from syncapp.store.sql.layout import Column, TableLayout, references_of
from syncapp.store.sql.reading import Reader
from syncapp.store.triggers.base import unique_sets


class Writer:
    """Inserts and updates rows."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        self._creations: dict[int, tuple[TableLayout, Creation]] = {}

    # -- insert --

    def insert(self, layout: TableLayout, rows: Sequence[Values]) -> list[str]:
        """Create rows; their keys."""
        if not rows:
            return []
        creation = self._creation(layout)
        with self._database.savepoint(check=False):
            self._database.mute()
            keys = creation.keys(rows)
            self._insert_columns(layout, creation, keys, rows)
            texts = [str(key) for key in keys]
            for number, through in layout.relations.items():
                wanted = {key: row[number] for key, row in zip(texts, rows, strict=True) if row.get(number)}
                if wanted:
                    self._set_targets(layout, through, wanted, fresh=True)
        return texts

    def _creation(self, layout: TableLayout) -> Creation:
        known = self._creations.get(layout.binding.number)
        if known is None or known[0] is not layout:
            known = self._creations[layout.binding.number] = (layout, Creation(self._database, layout))
        return known[1]

    def _insert_columns(
        self, layout: TableLayout, creation: Creation, keys: list[Any], rows: Sequence[Values]
    ) -> None:
        columns = creation.columns
        values = creation.values(rows)
        if layout.binding.pk_number:
            self._refers(layout.columns[layout.binding.pk_number].references, keys)
        for column, given in zip(columns, values, strict=True):
            if column.references:
                self._refers(column.references, [value for value in given if value is not OMITTED])
        for present, lines in _by_shape(keys, values):
            self._database.many(self._insert_statement(layout, columns, present), lines)

    def _insert_statement(
        self, layout: TableLayout, columns: Sequence[NewColumn], present: tuple[bool, ...]
    ) -> str:
        def make() -> str:
            taken = [column.quoted for column, here in zip(columns, present, strict=True) if here]
            names = [layout.binding.pk_quoted, *taken]
            return (
                f"INSERT INTO {layout.quoted} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
            )

        return layout.statement(("insert", present), make)

    # -- update --

    def update(
        self, layout: TableLayout, fields: Sequence[int], rows: Sequence[tuple[str, Sequence[Any]]]
    ) -> None:
        """Set ``fields`` of rows. Fields that have no column here are left alone."""
        if not rows:
            return
        values = dict(zip(fields, zip(*(row for _, row in rows), strict=True), strict=True))
        keys = [pk for pk, _ in rows]
        with self._database.savepoint(check=False):
            self._database.mute()
            columns = {layout.columns[n].name: layout.columns[n] for n in fields if n in layout.columns}
            if columns:
                self._update_columns(layout, list(columns.values()), keys, values)
            for number in fields:
                if number in layout.relations:
                    wanted = dict(zip(keys, values[number], strict=True))
                    self._set_targets(layout, layout.relations[number], wanted)

    def _update_columns(
        self, layout: TableLayout, columns: list[Column], keys: list[str], values: Mapping[int, Sequence[Any]]
    ) -> None:
        raw = [column.codec.write_column(values[column.number]) for column in columns]
        for column, written in zip(columns, raw, strict=True):
            self._refers(column.references, written)

        def make() -> str:
            settings = ", ".join(f"{column.quoted} = %s" for column in columns)
            return f"UPDATE {layout.quoted} SET {settings} WHERE {layout.binding.pk_quoted} = %s"

        sql = layout.statement(("update", *(column.name for column in columns)), make)
        raw_keys = [layout.raw_key(key) for key in keys]
        if len(keys) == 1:
            self._database.run(sql, [*(values[0] for values in raw), raw_keys[0]])
            return
        try:
            with self._database.savepoint(check=False):
                self._database.many(sql, zip(*raw, raw_keys, strict=True))
        except RowRefused as refused:
            if refused.code != "not_unique" or not self._vacate(layout, columns, raw_keys):
                raise
            self._database.many(sql, zip(*raw, raw_keys, strict=True))

    def _vacate(self, layout: TableLayout, columns: list[Column], keys: list[Any]) -> bool:
        """Move the unique values of these rows out of each other's way, so that rows can swap theirs."""
        unique = {name for group in unique_sets(layout.binding) for name in group}
        places = [(column, _placeholder(layout, column)) for column in columns if column.name in unique]
        places = [(column, place) for column, place in places if place]
        if not places:
            return False
        settings = ", ".join(f"{column.quoted} = {place}" for column, place in places)
        sql = f"UPDATE {layout.quoted} SET {settings} WHERE {layout.binding.pk_quoted} = %s"
        self._database.many(sql, [(key,) for key in keys])
        return True

    def _refers(self, references: tuple[str, str] | None, keys: Sequence[Any]) -> None:
        if references is not None:
            self._database.references.written(*references, (None if k is None else str(k) for k in keys))

    # -- many-to-many --

    def _set_targets(
        self, layout: TableLayout, through: ThroughBinding, wanted: dict[str, Any], *, fresh: bool = False
    ) -> None:
        """Make a many-to-many hold exactly ``wanted`` for each row; what stays is not touched."""
        present = {} if fresh else self._reader.targets(layout, through, list(wanted))
        gone: list[tuple[Any, str]] = []
        new: list[tuple[Any, str]] = []
        for key, targets in wanted.items():
            before, after = present.get(key, set()), set(targets or ())
            owner = layout.raw_key(key)
            gone += [(owner, target) for target in before - after]
            new += [(owner, target) for target in sorted(after - before)]
        quote = self._database.quote
        table, source, target = (
            quote(through.table),
            quote(through.source_column),
            quote(through.target_column),
        )
        if gone:
            self._database.many(f"DELETE FROM {table} WHERE {source} = %s AND {target} = %s", gone)
        if new:
            field = next(
                f for f in through.model._meta.local_concrete_fields if f.column == through.target_column
            )
            self._refers(references_of(field), [held for _, held in new])
            self._database.many(f"INSERT INTO {table} ({source}, {target}) VALUES (%s, %s)", new)


def _placeholder(layout: TableLayout, column: Column) -> str:
    """An expression for a value that no other row has in a unique column; empty where there is none."""
    if column.binding.django_field is not None and column.binding.django_field.null:
        return "NULL"
    if column.binding.kind is Kind.TEXT:
        return f"'~syncapp~' || {layout.pk}"
    if column.binding.kind is Kind.INTEGER:
        return f"(SELECT max({column.quoted}) + 1 FROM {layout.quoted})"
    return ""


def _by_shape(
    keys: list[Any], values: list[Sequence[Any]]
) -> Iterator[tuple[tuple[bool, ...], list[tuple[Any, ...]]]]:
    """Rows by which of their columns have a value at all; nearly always one group with all of them."""
    if not any(OMITTED in column for column in values):
        yield (True,) * len(values), list(zip(keys, *values, strict=True))
        return
    groups: dict[tuple[bool, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for key, *row in zip(keys, *values, strict=True):
        present = tuple(value is not OMITTED for value in row)
        groups[present].append((key, *(value for value in row if value is not OMITTED)))
    yield from groups.items()
