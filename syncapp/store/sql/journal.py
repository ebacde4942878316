"""The journal: what the triggers wrote, taken away in order."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from syncapp.core.changes import JournalRow, Op
from syncapp.store.sql.database import Database, Row
from syncapp.store.sql.layout import Layout, TableLayout, readable

_OLDEST = (
    'DELETE FROM "syncapp_journal" WHERE "id" IN '
    '(SELECT "id" FROM "syncapp_journal" ORDER BY "id" LIMIT %s) RETURNING '
)
_OF_ROWS = 'DELETE FROM "syncapp_journal" WHERE "table_no" = %s AND "pk_text" IN {} RETURNING '
_INSERTS = f'FROM "syncapp_journal" WHERE "table_no" = %s AND "op" = {int(Op.INSERT)} AND "pk_text" IN {{}}'
_SIZE = 'SELECT count(*) FROM "syncapp_journal"'

_UPDATE, _INSERT, _DELETE, _LOOK = int(Op.UPDATE), int(Op.INSERT), int(Op.DELETE), int(Op.LOOK)


class JournalTable:
    """The journal table of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Old values as bytes where they may be no UTF-8: they would keep the row from being read, and with it the rest.
        before = database.dialect.as_bytes('"before"')
        columns = f'"id", "table_no", "pk_text", "op", "mask", "at", {before}'
        self._oldest, self._of_rows = _OLDEST + columns, _OF_ROWS + columns
        self._inserts = f"SELECT {columns} {_INSERTS}"

    def drain(self, layout: Layout, limit: int) -> list[JournalRow]:
        """Take up to ``limit`` rows, oldest first; a few more rather than part a replaced row from its insert."""
        rows = self._take(limit)
        while rows and rows[-1][3] == _LOOK and (more := self._take(1)):
            rows += more
        return _understood(layout, rows)

    def drain_rows(self, layout: Layout, table: int, pks: Collection[str]) -> list[JournalRow]:
        """Take all rows about these rows of ``table``."""
        return _understood(layout, sorted(self._database.query_in(self._of_rows, pks, [table])))

    def inserts(self, layout: Layout, table: int, pks: Collection[str]) -> list[JournalRow]:
        """The inserts of these rows of ``table``; they stay."""
        return _understood(layout, sorted(self._database.query_in(self._inserts, pks, [table])))

    def size(self) -> int:
        return int(self._database.query(_SIZE)[0][0])

    def _take(self, limit: int) -> list[Row]:
        # RETURNING promises no order; `id` comes first and is unique, so that sorting compares nothing else.
        return sorted(self._database.query(self._oldest, [limit]))


def _understood(layout: Layout, rows: list[Row]) -> list[JournalRow]:
    """Rows as the store reads them; those of tables that are no longer on offer are dropped."""
    found: list[JournalRow] = []
    known: int | None = None
    table: TableLayout | None = None
    for id, number, pk, op, mask, at, before in _settled(rows):
        if number != known:
            known, table = number, layout.table(number) if layout.has(number) else None
        if table is not None:
            values = None if before is None else _old_values(table, before)
            found.append(JournalRow(number, pk, op, table.fields_of(mask), at, values, id))
    return found


def _settled(rows: list[Row]) -> list[Row]:
    """Without the doubt in looks: see what came of the rows that an insert might have replaced.

    A look with a mask whose next news is the insert of that key: the row was rewritten, which is an update of the
    differing fields. One that is followed by other news of the row's end or return says nothing beside them. The
    rest stay, without fields: the insert was ignored or became an update, or the row had to make way for another.
    """
    if not any(row[3] == _LOOK for row in rows):
        return rows
    settled: list[Row] = []
    following: dict[tuple[int, str], Row] = {}
    renewed: set[tuple[int, str]] = set()
    rewriting: set[int] = set()
    for row in reversed(rows):
        id, number, pk, op, mask, _at, before = row
        key = (number, pk)
        after, following[key] = following.get(key), row
        if op in (_INSERT, _DELETE):
            renewed.add(key)
            settled.append(row)
        elif op != _LOOK:
            settled.append(row)
        elif mask is not None and after is not None and after[3] == _INSERT:
            rewriting.add(after[0])
            settled.append((id, number, pk, _UPDATE, mask, after[5], before))
        elif key not in renewed:
            settled.append((*row[:4], None, *row[5:]))
    return [row for row in reversed(settled) if row[0] not in rewriting]


def _old_values(table: TableLayout, before: str | bytes) -> dict[int, Any] | None:
    try:
        return readable(table, json.loads(before))
    except ValueError:
        # An infinite number is not JSON, a damaged text no UTF-8. Old values are for the log only.
        return None
