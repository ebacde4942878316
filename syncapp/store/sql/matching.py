# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""*Match by*: finding the rows whose fields equal given keys."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from syncapp.core.keys import key_of
from syncapp.core.mapping import Kind
from syncapp.store.base import BadValue, Key
from syncapp.store.sql.database import Database, Row
from syncapp.store.sql.layout import Column, TableLayout


class Matcher:
    """Looks keys up in two steps: to the letter, which an index serves; then, for the rest, normalised.

    A row that is equal to the letter wins over rows that are equal only without regard to case and spaces. The second
    step is one pass over the table for all keys together, and none if the fields have no text in them.
    """

    def __init__(self, database: Database, layout: TableLayout, fields: Sequence[int]) -> None:
        self._database = database
        self._layout = layout
        self._columns = [layout.columns[number] for number in fields]
        self._kinds = [column.binding.kind for column in self._columns]

    def match(self, keys: Collection[Key]) -> dict[Key, list[str]]:
        usable = {key: self._normal(key) for key in keys}
        usable = {key: normal for key, normal in usable.items() if None not in normal}
        found: dict[Key, list[str]] = {}
        exact = [key for key in usable if not self._faults(key)]
        if exact:
            self._collect(found, {key: [key] for key in exact}, self._exact(exact), normal=False)
        rest = {key: normal for key, normal in usable.items() if key not in found}
        if rest and Kind.TEXT in self._kinds:
            wanted: dict[Key, list[Key]] = {}
            for key, normal in rest.items():
                wanted.setdefault(normal, []).append(key)
            self._collect(found, wanted, self._candidates(wanted), normal=True)
        return found

    def _normal(self, key: Key) -> Key:
        return tuple(key_of(kind, value) for kind, value in zip(self._kinds, key, strict=True))

    def _faults(self, key: Key) -> bool:
        """Whether a part of the key is no value of its field, and so in no row."""
        return any(column.codec.check(value) for column, value in zip(self._columns, key, strict=True))

    def _collect(
        self, found: dict[Key, list[str]], wanted: dict[Key, list[Key]], rows: Iterable[Row], *, normal: bool
    ) -> None:
        for row in rows:
            key = tuple(column.codec.read_value(v) for column, v in zip(self._columns, row[1:], strict=True))
            if any(value is None or isinstance(value, BadValue) for value in key):
                continue
            for asked in wanted.get(self._normal(key) if normal else key, ()):
                found.setdefault(asked, []).append(row[0])

    def _exact(self, keys: list[Key]) -> Iterable[Row]:
        raw = zip(*(self._raw(i, column, keys) for i, column in enumerate(self._columns)), strict=True)
        places = [column.place for column in self._columns]
        for part in self._database.parts(list(raw), self._reserve()):
            where, params = self._database.dialect.equal_rows(places, part)
            yield from self._database.query(f"{self._select()} WHERE {where}", params)

    def _raw(self, place: int, column: Column, keys: list[Key]) -> Sequence[Any]:
        return column.codec.write_column([key[place] for key in keys])

    def _reserve(self) -> int:
        """Parameters to leave free, since each key takes one per column."""
        most = self._database.dialect.max_params
        return most - most // len(self._columns)

    def _candidates(self, wanted: dict[Key, list[Key]]) -> list[Row]:
        place = self._kinds.index(Kind.TEXT)
        texts = {normal[place] for normal in wanted}
        where, params = self._database.dialect.candidates(self._columns[place].expression, texts)
        return self._database.query(f"{self._select()} WHERE {where}", params)

    def _select(self) -> str:
        columns = ", ".join(column.expression for column in self._columns)
        return f"SELECT {self._layout.pk}, {columns} FROM {self._layout.quoted}"
