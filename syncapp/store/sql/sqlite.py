# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""SQLite's dialect."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DataError, IntegrityError, OperationalError
from django.utils.timezone import get_default_timezone

from syncapp.core.mapping import FieldType, Kind
from syncapp.store import statements
from syncapp.store.base import RowRefused
from syncapp.store.sql.codec import Codec
from syncapp.store.sql.codecs import sqlite_codec
from syncapp.store.sql.dialect import Place

#: Django gives columns of these types to converters that turn what they cannot read into None or True/False.
#: An expression has no declared type, so a plus sign keeps them away.
_CONVERTED = frozenset({Kind.DATE, Kind.TIME, Kind.DATETIME, Kind.BOOLEAN, Kind.STATUS})
_KEYS = frozenset({Kind.RELATION, Kind.USER, Kind.KEY})


class SqliteDialect:
    """SQLite: one writer at a time, untyped columns, foreign keys checked at COMMIT."""

    # The limit of builds older than 3.32 is 999.
    max_params = 900
    checks_keys_late = True
    tells_keys = False
    own_keys_from = 0
    alone = True
    flag_falls = False
    head_hint = ""

    # -- units of work --

    def begin(self, connection: BaseDatabaseWrapper, *, nested: bool, snapshot: bool) -> int:
        # There is one writer at a time, and every transaction is a snapshot.
        if getattr(connection, "transaction_mode", None) not in ("IMMEDIATE", "EXCLUSIVE"):
            # Reading first and writing later would fail for good if another wrote in between.
            _run(connection, 'UPDATE "syncapp_instance" SET "head_seq" = "head_seq" WHERE 0')
        return 0

    def busy(self, error: Exception) -> bool:
        return isinstance(error, OperationalError) and "database is locked" in str(error)

    def now(self, connection: BaseDatabaseWrapper) -> int:
        # The triggers' clock is this machine's: a database file has no other.
        return time.time_ns() // 1000

    def set_applying(self, connection: BaseDatabaseWrapper, applying: bool) -> None:
        sql = (
            'INSERT INTO "syncapp_applying" ("id") VALUES (1)'
            if applying
            else 'DELETE FROM "syncapp_applying"'
        )
        _run(connection, sql)

    def release(self, connection: BaseDatabaseWrapper, name: str, *, check: bool) -> None:
        _run(connection, f"RELEASE {name}")

    def roll_back(self, connection: BaseDatabaseWrapper, name: str) -> None:
        driver: Any = connection.connection
        if driver is not None and driver.in_transaction:
            _run(connection, f"ROLLBACK TO {name}")
            _run(connection, f"RELEASE {name}")

    def hurry(self, connection: BaseDatabaseWrapper) -> None:
        pass  # nobody else holds anything

    def refused(self, error: BaseException, *, deleting: bool) -> RowRefused | None:
        if not isinstance(error, IntegrityError | DataError):
            return None
        text = str(error)
        code = "not_unique" if text.startswith(("UNIQUE", "PRIMARY KEY")) else "change"
        return RowRefused(text, code)

    # -- values --

    def select(self, column: str, kind: Kind, stored: str) -> str:
        if kind in _KEYS:
            return f"CAST({column} AS TEXT)"
        return f"+{column}" if kind in _CONVERTED else column

    def as_bytes(self, column: str) -> str:
        return f"CAST({column} AS BLOB)"

    def codec(self, type: FieldType, stored: str, connection: BaseDatabaseWrapper) -> Codec:
        # Without USE_TZ the stored moments are in the site's own zone.
        return sqlite_codec(type, connection.timezone or get_default_timezone())

    def raw_key(self, kind: Kind) -> Callable[[str], Any]:
        return _integer_key if kind is Kind.INTEGER else str

    def stored_types(self, connection: BaseDatabaseWrapper, table: str) -> Mapping[str, str]:
        return {}  # any column holds any value

    def prepared(self, value: Any) -> Any:
        return value

    # -- statements --

    def among(self, sql: str, values: Sequence[Any], stored: str = "") -> tuple[str, Sequence[Any]]:
        return sql.format(_marks(len(values))), values

    def equal_rows(
        self, columns: Sequence[Place], rows: Sequence[Sequence[Any]]
    ) -> tuple[str, Sequence[Any]]:
        group = "(" + ", ".join(column.quoted for column in columns) + ")"
        params = [value for row in rows for value in row]
        if len(columns) == 1:
            return f"{group} IN {_marks(len(rows))}", params
        return f"{group} IN (VALUES {', '.join([_marks(len(columns))] * len(rows))})", params

    def locking(self, *, strong: bool) -> str:
        return ""  # the transaction has locked everything

    def many(self, connection: BaseDatabaseWrapper, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        statements.many(connection, sql, rows)

    def insert(
        self,
        connection: BaseDatabaseWrapper,
        table: str,
        columns: Sequence[Place],
        rows: Sequence[Sequence[Any]],
        key: str,
    ) -> list[Any]:
        names = ", ".join(column.quoted for column in columns)
        statements.many(connection, f"INSERT INTO {table} ({names}) VALUES {_marks(len(columns))}", rows)
        return []

    def update(
        self,
        connection: BaseDatabaseWrapper,
        table: str,
        columns: Sequence[Place],
        key: Place,
        rows: Sequence[Sequence[Any]],
    ) -> None:
        settings = ", ".join(f"{column.quoted} = %s" for column in columns)
        statements.many(connection, f"UPDATE {table} SET {settings} WHERE {key.quoted} = %s", rows)

    def allocate(self, connection: BaseDatabaseWrapper, table: str, column: str, count: int) -> Sequence[int]:
        quote = connection.ops.quote_name
        highest = f"SELECT coalesce(max({quote(column)}), 0) FROM {quote(table)}"
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'")
            if cursor.fetchone():
                # AUTOINCREMENT never gives a number twice, not even that of a deleted row.
                given = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = %s"
                cursor.execute(f"SELECT max(({highest}), ({given}))", [table])
            else:
                cursor.execute(highest)
            first = int(cursor.fetchone()[0]) + 1
        return range(first, first + count)

    def keys_given(self, connection: BaseDatabaseWrapper, table: str, column: str, highest: int) -> None:
        pass  # the highest key is looked for whenever a new one is made


def _integer_key(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text  # SQLite holds anything in any column; it compares as what it is


def _marks(count: int) -> str:
    """Placeholders for ``count`` values, in parentheses."""
    return "(" + ", ".join(["%s"] * count) + ")"


def _run(connection: BaseDatabaseWrapper, sql: str) -> None:
    statements.run(connection, sql)
