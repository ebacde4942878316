# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""SQLite's dialect."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError
from django.utils.timezone import get_default_timezone

from syncapp.core.mapping import FieldType, Kind
from syncapp.store import statements
from syncapp.store.base import RowRefused
from syncapp.store.sql.codecs import Codec, sqlite_codec

#: Django gives columns of these types to converters that turn what they cannot read into None or True/False.
#: An expression has no declared type, so a plus sign keeps them away.
_CONVERTED = frozenset({Kind.DATE, Kind.TIME, Kind.DATETIME, Kind.BOOLEAN, Kind.STATUS})
_KEYS = frozenset({Kind.RELATION, Kind.USER, Kind.KEY})


class SqliteDialect:
    """SQLite: one writer at a time, untyped columns, foreign keys checked at COMMIT."""

    # The limit of builds older than 3.32 is 999.
    max_params = 900
    checks_keys_late = True

    def now(self, connection: BaseDatabaseWrapper) -> int:
        # The triggers' clock is this machine's: a database file has no other.
        return time.time_ns() // 1000

    def lock_writes(self, connection: BaseDatabaseWrapper) -> None:
        if getattr(connection, "transaction_mode", None) not in ("IMMEDIATE", "EXCLUSIVE"):
            # Reading first and writing later would fail for good if another wrote in between.
            _run(connection, 'UPDATE "syncapp_instance" SET "head_seq" = "head_seq" WHERE 0')

    def busy(self, error: Exception) -> bool:
        return isinstance(error, OperationalError) and "database is locked" in str(error)

    def set_applying(self, connection: BaseDatabaseWrapper, applying: bool) -> None:
        sql = (
            'INSERT INTO "syncapp_applying" ("id") VALUES (1)'
            if applying
            else 'DELETE FROM "syncapp_applying"'
        )
        _run(connection, sql)

    def select(self, column: str, kind: Kind) -> str:
        if kind in _KEYS:
            return f"CAST({column} AS TEXT)"
        return f"+{column}" if kind in _CONVERTED else column

    def as_bytes(self, column: str) -> str:
        return f"CAST({column} AS BLOB)"

    def codec(self, type: FieldType, connection: BaseDatabaseWrapper) -> Codec:
        # Without USE_TZ the stored moments are in the site's own zone.
        return sqlite_codec(type, connection.timezone or get_default_timezone())

    def raw_key(self, kind: Kind) -> Callable[[str], Any]:
        return _integer_key if kind is Kind.INTEGER else str

    def allocate(self, connection: BaseDatabaseWrapper, table: str, column: str, count: int) -> int:
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
            return int(cursor.fetchone()[0]) + 1

    def candidates(self, column: str, keys: Collection[str]) -> tuple[str, list[Any]]:
        # SQLite's lower() knows ASCII only: values with other characters, or with spaces, are all candidates. One
        # parameter whatever the number of keys, so that one pass over the table serves them all.
        sql = f"(lower({column}) IN (SELECT value FROM json_each(%s)) OR {column} GLOB '*[^!-~]*')"
        return sql, [json.dumps(list(keys))]

    def refused(self, error: Exception) -> RowRefused:
        text = str(error)
        code = "not_unique" if text.startswith(("UNIQUE", "PRIMARY KEY")) else "change"
        return RowRefused(text, code)


def _integer_key(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text  # SQLite holds anything in any column; it compares as what it is


def _run(connection: BaseDatabaseWrapper, sql: str) -> None:
    statements.run(connection, sql)
