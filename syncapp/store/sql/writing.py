# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""Writing rows of the user's tables: each call whole or not at all, without an echo in the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncapp.core.mapping import Kind
from syncapp.store.base import RowRefused, Values
from syncapp.store.bindings import ThroughBinding
from syncapp.store.sql.creation import OMITTED, Creation
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
            keys = self._insert_columns(layout, creation, creation.keys(rows), rows)
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
    ) -> list[Any]:
        """Insert; the keys, those that the database gave among them."""
        columns, database = creation.columns, self._database
        values = creation.values(rows)
        if layout.binding.pk_number:
            self._refers(layout.columns[layout.binding.pk_number].references, keys)
        for column, given in zip(columns, values, strict=True):
            if column.references:
                self._refers(column.references, [value for value in given if value is not OMITTED])
        places = [layout.key, *(column.place for column in columns)]
        for present, lines in _by_shape([keys, *values]):
            told = "" if present[0] else layout.binding.pk_quoted
            taken = [place for place, here in zip(places, present, strict=True) if here]
            made = database.dialect.insert(
                database.connection, layout.quoted, taken, [line for _, line in lines], told
            )
            for (number, _), key in zip(lines, made, strict=False):
                keys[number] = key
        sent = [row for row in rows if any(number in row for number in creation.key_numbers)]
        if sent and creation.automatic:
            binding = layout.binding
            database.dialect.keys_given(database.connection, binding.db_table, binding.pk_column, max(keys))
        return keys

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

        raw_keys = [layout.raw_key(key) for key in keys]
        rows = list(zip(*raw, raw_keys, strict=True))
        if len(rows) == 1:
            self._set(layout, columns, rows)
            return
        try:
            with self._database.savepoint(check=False):
                self._set(layout, columns, rows)
        except RowRefused as refused:
            if refused.code != "not_unique" or not self._vacate(layout, columns, raw_keys):
                raise
            self._set(layout, columns, rows)

    def _set(self, layout: TableLayout, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        database = self._database
        places = [column.place for column in columns]
        database.dialect.update(database.connection, layout.quoted, places, layout.key, rows)

    def _vacate(self, layout: TableLayout, columns: list[Column], keys: list[Any]) -> bool:
        """Move the unique values of these rows out of each other's way, so that rows can swap theirs."""
        unique = {name for group in unique_sets(layout.binding) for name in group}
        found = [(c, self._placeholders(layout, c, keys)) for c in columns if c.name in unique]
        places = [(column, values) for column, values in found if values]
        if not places:
            return False
        rows = zip(*(values for _, values in places), keys, strict=True)
        self._set(layout, [column for column, _ in places], list(rows))
        return True

    def _placeholders(self, layout: TableLayout, column: Column, keys: list[Any]) -> Sequence[Any]:
        """Values that no other row has in a unique column, one for each of ``keys``; empty where there are none."""
        field = column.binding.django_field
        if field is not None and field.null:
            return [None] * len(keys)
        if column.binding.kind is Kind.TEXT:
            return _odd_texts(keys, getattr(field, "max_length", None))
        if column.binding.kind is Kind.INTEGER:
            highest = self._database.query(f"SELECT max({column.quoted}) FROM {layout.quoted}")[0][0]
            return range(highest + 1, highest + 1 + len(keys))
        return []

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


def _odd_texts(keys: Sequence[Any], length: int | None) -> list[str]:
    """Texts that nobody uses, within ``length`` characters: private ones of Unicode where there is no room for more."""
    named = [f"~syncapp~{key}" for key in keys]
    if length is None or max(map(len, named)) <= length:
        return named
    if length == 1:
        return [chr(0xE000 + number % 0x1900) for number in range(len(keys))]
    return [chr(0xE000 + number // 0x1900) + chr(0xE000 + number % 0x1900) for number in range(len(keys))]


def _by_shape(
    values: list[Sequence[Any]],
) -> Iterator[tuple[tuple[bool, ...], list[tuple[int, tuple[Any, ...]]]]]:
    """Numbered rows by which of their columns have a value at all; nearly always one group."""
    left_out = [bool(column) and all(value is OMITTED for value in column) for column in values]
    kept = [column for column, absent in zip(values, left_out, strict=True) if not absent]
    if not any(OMITTED in column for column in kept):
        lines = list(zip(*kept, strict=True)) if kept else [()] * len(values[0])
        yield tuple(not absent for absent in left_out), list(enumerate(lines))
        return
    groups: dict[tuple[bool, ...], list[tuple[int, tuple[Any, ...]]]] = defaultdict(list)
    for number, row in enumerate(zip(*values, strict=True)):
        present = tuple(value is not OMITTED for value in row)
        groups[present].append((number, tuple(value for value in row if value is not OMITTED)))
    yield from groups.items()
