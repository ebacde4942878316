# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""Shared series in SQL. Works within whatever transaction is open: the program's own saves use it too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from syncapp.core.series import Book
from syncapp.core.spans import count
from syncapp.store.bindings import FieldBinding, TableBinding
from syncapp.store.seriesbase import SeriesBusy, SeriesInfo
from syncapp.store.sql.database import Database

_BOOK = 'SELECT "book" FROM "syncapp_series" WHERE "field_id" = %s'
#: Takes the lock that a reader would have to wait for later: SQLite gives none to whoever has read before.
_LOCK = 'UPDATE "syncapp_series" SET "declared" = "declared" WHERE "field_id" = %s'
_SAVE = 'UPDATE "syncapp_series" SET "book" = %s WHERE "field_id" = %s'
_WAITING = 'SELECT count(*) FROM "syncapp_seriesrequest" WHERE "series_id" = %s AND "until" > %s'
_PROVISIONAL = (
    'SELECT "value" FROM "syncapp_seriesprovisional" WHERE "series_id" = %s AND "final" = \'\' ORDER BY "id"'
)
_FINISH = (
    'UPDATE "syncapp_seriesprovisional" SET "final" = %s, "replaced_at" = %s '
    'WHERE "series_id" = %s AND "value" = %s'
)
_ASK = 'INSERT INTO "syncapp_seriesrequest" ("series_id", "until") VALUES (%s, %s) RETURNING "id"'
_BEFORE = 'SELECT count(*) FROM "syncapp_seriesrequest" WHERE "series_id" = %s AND "id" <= %s'
_UNASK = 'DELETE FROM "syncapp_seriesrequest" WHERE "id" IN {}'
_OVER = 'DELETE FROM "syncapp_seriesrequest" WHERE "until" < %s'
_GIVE = (
    'INSERT INTO "syncapp_seriesprovisional" ("series_id", "value", "final", "created_at", "replaced_at") '
    "VALUES (%s, %s, '', %s, 0)"
)


class SeriesTables:
    """The books, who waits, and what was given provisionally."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lock(self, field: int) -> None:
        """Keep the book from others until the transaction ends."""
        self._database.run(_LOCK, [field])

    def locked(self, field: int) -> Book:
        """The book, locked without waiting."""
        if self._database.dialect.alone:
            return self.book(field)
        found = self._database.query(f"{_BOOK} FOR NO KEY UPDATE SKIP LOCKED", [field])
        if not found:
            raise SeriesBusy
        return _unpacked(found[0][0])

    def book(self, field: int) -> Book:
        rows = self._database.query(_BOOK, [field])
        return _unpacked(rows[0][0]) if rows else Book()

    def save_book(self, field: int, book: Book) -> None:
        self._database.run(_SAVE, [msgspec.msgpack.encode(book), field])

    def requests(self, field: int, now: int) -> int:
        return int(self._database.query(_WAITING, [field, now])[0][0])

    def ask(self, field: int, until: int) -> int:
        """Note that a save waits; what it is known by."""
        return int(self._database.query(_ASK, [field, until])[0][0])

    def unask(self, requests: Sequence[int], now: int) -> None:
        """They wait no longer, nor does anybody whose time is over."""
        self._database.run_in(_UNASK, requests)
        self._database.run(_OVER, [now])

    def left(self, field: int) -> int:
        """How many numbers are in the pool. Locks nothing."""
        return count(self.book(field).pool)

    def before(self, field: int, request: int) -> int:
        """How many wait that came no later than this one, itself among them."""
        return int(self._database.query(_BEFORE, [field, request])[0][0])

    def give_provisional(self, field: int, value: str, now: int) -> None:
        self._database.run(_GIVE, [field, value, now])

    # -- the user's rows --

    def provisional(self, info: SeriesInfo, where: tuple[TableBinding, FieldBinding]) -> list[str]:
        values = [row[0] for row in self._database.query(_PROVISIONAL, [info.field])]
        table, column = where[0].quoted, self._database.quote(where[1].column)
        sql = f"SELECT {column} FROM {table} WHERE {column} IN {{}}"
        there = {str(row[0]) for row in self._database.query_in(sql, [info.known(value) for value in values])}
        return [value for value in values if value in there]

    def finish(
        self,
        info: SeriesInfo,
        where: tuple[TableBinding, FieldBinding],
        provisional: str,
        number: int,
        now: int,
    ) -> bool:
        table, column = where[0].quoted, self._database.quote(where[1].column)
        final = info.value(number)
        sql = f"UPDATE {table} SET {column} = %s WHERE {column} = %s"
        if not self._database.dialect.alone:
            # Nobody is waited for: whoever has the record may be waiting for a number.
            pk = where[0].pk_quoted
            free = f"SELECT {pk} FROM {table} WHERE {column} = %s FOR NO KEY UPDATE SKIP LOCKED"
            sql = f"UPDATE {table} SET {column} = %s WHERE {pk} IN ({free})"
        if not self._database.run(sql, [final, info.known(provisional)]):
            return False
        self._database.run(_FINISH, [str(final), now, info.field, provisional])
        return True

    def values(self, where: tuple[TableBinding, FieldBinding]) -> Iterator[Any]:
        column = self._database.quote(where[1].column)
        for (value,) in self._database.query(f"SELECT {column} FROM {where[0].quoted}"):
            yield value

    def has_value(self, where: tuple[TableBinding, FieldBinding], value: Any) -> bool:
        column = self._database.quote(where[1].column)
        return bool(
            self._database.query(f"SELECT 1 FROM {where[0].quoted} WHERE {column} = %s LIMIT 1", [value])
        )


def _unpacked(packed: Any) -> Book:
    data = bytes(packed)
    return msgspec.msgpack.decode(data, type=Book) if data else Book()
