# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""Reading rows of the user's tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from django.db.utils import OperationalError

from syncapp import details
from syncapp.core.mapping import Kind
from syncapp.store.base import BadValue
from syncapp.store.bindings import ThroughBinding
from syncapp.store.faults import fault
from syncapp.store.sql.database import Database, Row
from syncapp.store.sql.layout import TableLayout

#: Kinds that are stored as text, which may turn out not to be UTF-8.
_NO_TEXT = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.DURATION, Kind.BINARY})


class Reader:
    """Reads rows as wire values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def existing(self, layout: TableLayout, pks: Collection[str]) -> set[str]:
        sql = layout.statement(
            "existing", lambda: f"SELECT {layout.pk} FROM {layout.quoted} WHERE {_pk(layout)} IN {{}}"
        )
        return {row[0] for row in self._by_key(layout, sql, pks)}

    def _by_key(self, layout: TableLayout, sql: str, pks: Collection[str]) -> list[Row]:
        keys = [layout.raw_key(pk) for pk in pks]
        return self._database.query_in(sql, keys, (), layout.key.stored)

    def lock(self, layout: TableLayout, pks: Collection[str], *, strong: bool) -> set[str]:
        """Lock rows in the order of their keys; those that are busy."""
        locking = self._database.dialect.locking(strong=strong)
        if not locking:
            return set()
        sql = layout.statement(
            ("lock", strong),
            lambda: (
                f"SELECT {layout.pk} FROM {layout.quoted} WHERE {_pk(layout)} IN {{}} ORDER BY {_pk(layout)} {locking}"
            ),
        )
        taken = {row[0] for row in self._by_key(layout, sql, pks)}
        rest = set(pks) - taken
        return self.existing(layout, rest) if rest else set()

    def rows(self, layout: TableLayout, pks: Collection[str], fields: Sequence[int]) -> dict[str, list[Any]]:
        """Values of ``fields`` by key. A field that has no column here (see `FieldBinding`) reads as None."""
        found: dict[str, list[Any]] = {}
        columns = [number for number in fields if number in layout.columns]
        for part in self._database.parts([layout.raw_key(pk) for pk in pks]):
            rows = self._select(layout, columns, part)
            if rows:
                found |= self._align(layout, fields, columns, rows)
        return found

    def _align(
        self, layout: TableLayout, fields: Sequence[int], columns: list[int], rows: list[Row]
    ) -> dict[str, list[Any]]:
        keys, *raw = zip(*rows, strict=True)
        wire = {n: layout.columns[n].codec.read_column(v) for n, v in zip(columns, raw, strict=True)}
        for number in fields:
            if number in layout.relations:
                targets = self.targets(layout, layout.relations[number], keys)
                wire[number] = [sorted(targets.get(key, ())) for key in keys]
            elif number not in wire:
                wire[number] = [None] * len(keys)
        values = zip(*(wire[number] for number in fields), strict=True) if fields else [()] * len(keys)
        return {key: list(row) for key, row in zip(keys, values, strict=True)}

    def _select(self, layout: TableLayout, columns: list[int], keys: list[Any]) -> list[Row]:
        try:
            return self._database.query_in(
                self._statement(layout, tuple(columns)), keys, (), layout.key.stored
            )
        except OperationalError as error:
            if "decode" not in str(error):
                raise
        # Some text is no UTF-8. As bytes it can be read, and named.
        rows = self._database.query_in(self._statement(layout, tuple(columns), as_bytes=True), keys)
        texts = [layout.columns[number].binding.kind not in _NO_TEXT for number in columns]
        return [(row[0], *map(_decode, texts, row[1:])) for row in rows]

    def _statement(self, layout: TableLayout, columns: tuple[int, ...], as_bytes: bool = False) -> str:
        def make() -> str:
            names = [layout.pk]
            for number in columns:
                column = layout.columns[number]
                text = as_bytes and column.binding.kind not in _NO_TEXT
                names.append(self._database.dialect.as_bytes(column.quoted) if text else column.expression)
            return f"SELECT {', '.join(names)} FROM {layout.quoted} WHERE {_pk(layout)} IN {{}}"

        return layout.statement(("rows", columns, as_bytes), make)

    def targets(
        self, layout: TableLayout, through: ThroughBinding, keys: Collection[str]
    ) -> dict[str, set[str]]:
        """What a many-to-many holds for each of the rows ``keys``, as keys of both sides."""
        source, target = (
            self._database.quote(through.source_column),
            self._database.quote(through.target_column),
        )
        sql = (
            f"SELECT CAST({source} AS TEXT), CAST({target} AS TEXT) FROM {self._database.quote(through.table)} "
            f"WHERE {source} IN {{}}"
        )
        found: dict[str, set[str]] = defaultdict(set)
        for owner, held in self._by_key(layout, sql, keys):
            found[owner].add(held)
        return found


def _pk(layout: TableLayout) -> str:
    return layout.binding.pk_quoted


def _decode(text: bool, value: Any) -> Any:
    if not text or not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return BadValue(fault(details.NOT_UTF8))
