# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""*Match by*: finding the rows whose fields equal given keys."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from syncapp.core.keys import key_of
from syncapp.core.mapping import Kind
from syncapp.store.base import BadValue, Key
from syncapp.store.sql.database import Database
from syncapp.store.sql.layout import Column, Layout
from syncapp.store.sql.matchkeys import MatchKeys
from syncapp.store.sql.reading import Reader

#: The key of a row, and its values.
Found = tuple[str, Sequence[Any]]


class Matcher:
    """Looks keys up: those with text in them among the rows whose normalised key is the same, others as they are.

    A row that is equal to the letter wins over rows that are equal only without regard to case, spaces and signs.
    """

    def __init__(
        self,
        database: Database,
        layout: Layout,
        table: int,
        fields: Sequence[int],
        reader: Reader,
        index: MatchKeys,
    ) -> None:
        self._database = database
        self._layout = layout.table(table)
        self._fields = list(fields)
        self._columns = [self._layout.columns[number] for number in fields]
        self._kinds = [column.binding.kind for column in self._columns]
        self._reader = reader
        self._index = index
        #: Changes of a field that nobody captures would go past the index.
        self._captured = layout.setup.captured.issuperset(fields)

    def match(self, keys: Collection[Key]) -> dict[Key, list[str]]:
        usable = {key: self._normal(key) for key in keys}
        usable = {key: normal for key, normal in usable.items() if None not in normal}
        exact = [key for key in usable if not self._faults(key)]
        found: dict[Key, list[str]] = {}
        if Kind.TEXT not in self._kinds:
            self._collect(found, {key: [key] for key in exact}, self._exact(exact), normal=False)
        elif usable:
            rows = self._spelt_somehow(set(usable.values()))
            self._collect(found, {key: [key] for key in exact}, rows, normal=False)
            wanted: dict[Key, list[Key]] = {}
            for key, normal in usable.items():
                if key not in found:
                    wanted.setdefault(normal, []).append(key)
            self._collect(found, wanted, rows, normal=True)
        return found

    def _normal(self, key: Key) -> Key:
        return tuple(key_of(kind, value) for kind, value in zip(self._kinds, key, strict=True))

    def _faults(self, key: Key) -> bool:
        """Whether a part of the key is no value of its field, and so in no row."""
        return any(column.codec.check(value) for column, value in zip(self._columns, key, strict=True))

    def _collect(
        self,
        found: dict[Key, list[str]],
        wanted: dict[Key, list[Key]],
        rows: Iterable[Found],
        *,
        normal: bool,
    ) -> None:
        for pk, values in rows:
            if any(value is None or isinstance(value, BadValue) for value in values):
                continue
            key = tuple(values)
            for asked in wanted.get(self._normal(key) if normal else key, ()):
                found.setdefault(asked, []).append(pk)

    def _exact(self, keys: list[Key]) -> Iterable[Found]:
        raw = zip(*(self._raw(i, column, keys) for i, column in enumerate(self._columns)), strict=True)
        places = [column.place for column in self._columns]
        columns = ", ".join(column.expression for column in self._columns)
        select = f"SELECT {self._layout.pk}, {columns} FROM {self._layout.quoted}"
        for part in self._database.parts(list(raw), self._reserve()):
            where, params = self._database.dialect.equal_rows(places, part)
            for pk, *stored in self._database.query(f"{select} WHERE {where}", params):
                yield pk, [c.codec.read_value(v) for c, v in zip(self._columns, stored, strict=True)]

    def _raw(self, place: int, column: Column, keys: list[Key]) -> Sequence[Any]:
        return column.codec.write_column([key[place] for key in keys])

    def _reserve(self) -> int:
        """Parameters to leave free, since each key takes one per column."""
        most = self._database.dialect.max_params
        return most - most // len(self._columns)

    def _spelt_somehow(self, wanted: Collection[Key]) -> Collection[Found]:
        """The rows that may have one of these normalised keys."""
        if self._captured:
            pks = self._index.candidates(self._layout, self._fields, wanted)
        else:
            everything = f"SELECT {self._layout.pk} FROM {self._layout.quoted}"
            pks = {row[0] for row in self._database.query(everything)}
        return self._reader.rows(self._layout, sorted(pks), self._fields).items()
