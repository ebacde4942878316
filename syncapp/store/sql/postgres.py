# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""PostgreSQL's dialect."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DataError, Error
from django.utils.timezone import get_default_timezone, is_naive, make_aware

from syncapp.core.mapping import FieldType, Kind
from syncapp.store import statements
from syncapp.store.base import RowRefused
from syncapp.store.jsonvalues import plain_numbers
from syncapp.store.sql import hints, pgcodecs, pgrefused
from syncapp.store.sql.arrays import array, type_of
from syncapp.store.sql.codec import Codec
from syncapp.store.sql.dialect import Place

_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
#: How long a unit of work waits for the one before it; then it is tried again.
_TURN = "20s"
#: How long it waits for a lock that a user holds. Its own rows it has locked without waiting; what is left are rows
#: that refer to each other, and unique values that somebody has just taken and not committed.
_PATIENCE = "500ms"
#: The same, once it has waited in vain: a user who has ten such rows must not hold everything up for ten times as long.
_IMPATIENCE = "10ms"
#: Rows from which on COPY is worth the round trip for their keys: 500 rows of nine columns take 6 ms rather than 11.
COPY_FROM = 500


class PostgresDialect:
    """PostgreSQL: many writers at a time, typed columns.

    *The sealing lock* is a lock on a table that nobody writes, in a mode that excludes itself alone. It is held until
    the transaction's end and given up only after its commit has become visible. So whoever gets it next sees, in every
    statement that begins then, all that its predecessor wrote: feed numbers become visible in their order, and a reader
    that sees number n has seen everything below n.

    An advisory lock would serve as well, but for one thing: asking for it is a query, and with it the transaction's
    snapshot is taken, before the wait. ``LOCK TABLE`` takes none. So a transaction that only reads (but for what it
    seals) can be REPEATABLE READ: its snapshot begins when the lock is its own, and a value never travels under a stamp
    older than itself, whatever users commit between two statements. One that writes users' rows is READ COMMITTED,
    since it must see the rows as they are when it has locked them. The lock is one per schema, and passes poolers.
    """

    # There is no limit for arrays; this one bounds the size of a statement.
    max_params = 30_000
    checks_keys_late = False
    tells_keys = True
    own_keys_from = COPY_FROM
    alone = False
    flag_falls = True
    head_hint = f" RETURNING CASE WHEN {hints.POSSIBLE} THEN pg_notify('{hints.HEAD}', '') END"

    def __init__(self) -> None:
        self._types: dict[str, Mapping[str, str]] = {}
        self._sequences: dict[tuple[str, str], str | None] = {}

    # -- units of work --

    def begin(self, connection: BaseDatabaseWrapper, *, nested: bool, snapshot: bool) -> int:
        # Together in one round trip. Dates are read as texts, whatever the session's style is.
        level = "REPEATABLE READ" if snapshot else "READ COMMITTED"
        script = [
            *([] if nested else [f"SET TRANSACTION ISOLATION LEVEL {level}"]),
            f"SET LOCAL lock_timeout = '{_TURN}'",
            'LOCK TABLE "syncapp_applying" IN SHARE UPDATE EXCLUSIVE MODE',
            f"SET LOCAL lock_timeout = '{_PATIENCE}'",
            "SET LOCAL datestyle = 'ISO, YMD'",
            f"SELECT {_CLOCK}",
        ]
        return int(statements.script(connection, "; ".join(script))[0][0])

    def busy(self, error: Exception) -> bool:
        return pgrefused.state(error) == pgrefused.LOCK_TIMEOUT

    def now(self, connection: BaseDatabaseWrapper) -> int:
        return int(statements.query(connection, f"SELECT {_CLOCK}")[0][0])

    def set_applying(self, connection: BaseDatabaseWrapper, applying: bool) -> None:
        statements.run(connection, f"SET LOCAL syncapp.applying = '{'1' if applying else ''}'")

    def release(self, connection: BaseDatabaseWrapper, name: str, *, check: bool) -> None:
        # Deferred again for what comes: a child may be written before its parent.
        now = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED; " if check else ""
        statements.script(connection, f"{now}RELEASE SAVEPOINT {name}")

    def roll_back(self, connection: BaseDatabaseWrapper, name: str) -> None:
        driver: Any = connection.connection
        if driver is not None and not driver.closed and not driver.broken:
            statements.script(connection, f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")

    def refused(self, error: BaseException, *, deleting: bool) -> RowRefused | None:
        return pgrefused.refused(error, deleting=deleting) if isinstance(error, Error) else None

    def hurry(self, connection: BaseDatabaseWrapper) -> None:
        statements.run(connection, f"SET LOCAL lock_timeout = '{_IMPATIENCE}'")

    # -- values --

    def select(self, column: str, kind: Kind, stored: str) -> str:
        return pgcodecs.expression(column, kind, stored)

    def as_bytes(self, column: str) -> str:
        return column  # its texts are good

    def codec(self, type: FieldType, stored: str, connection: BaseDatabaseWrapper) -> Codec:
        return pgcodecs.postgres_codec(type, stored)

    def raw_key(self, kind: Kind) -> Callable[[str], Any]:
        return {Kind.INTEGER: _integer_key, Kind.UUID: _uuid_key}.get(kind, _text_key)

    def stored_types(self, connection: BaseDatabaseWrapper, table: str) -> Mapping[str, str]:
        found = self._types.get(table)
        if found is None:
            sql = (
                "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute "
                "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
            )
            found = self._types[table] = dict(statements.query(connection, sql, [table]))
        return found

    def prepared(self, value: Any) -> Any:
        if value is None or isinstance(value, str | int | float | bytes):
            return value
        if isinstance(value, datetime):
            return (make_aware(value, get_default_timezone()) if is_naive(value) else value).isoformat()
        if isinstance(value, date | time):
            return value.isoformat()
        if isinstance(value, timedelta):
            return pgcodecs.interval(value // timedelta(microseconds=1))
        if hasattr(value, "obj"):  # the driver's wrappers of JSON and of bytes
            return (
                value.obj
                if isinstance(value.obj, bytes)
                else plain_numbers((value.dumps or json.dumps)(value.obj))
            )
        return str(value)  # decimals, UUIDs, addresses

    # -- statements --

    def among(self, sql: str, values: Sequence[Any], stored: str = "") -> tuple[str, Sequence[Any]]:
        return _among(sql, stored or type_of(values)), [array(values)]

    def equal_rows(
        self, columns: Sequence[Place], rows: Sequence[Sequence[Any]]
    ) -> tuple[str, Sequence[Any]]:
        params = [array(values) for values in zip(*rows, strict=True)]
        lists = [f"%s::{column.stored}[]" for column in columns]
        if len(columns) == 1:
            return f"{columns[0].quoted} = ANY({lists[0]})", params
        group = ", ".join(column.quoted for column in columns)
        return f"({group}) IN (SELECT * FROM unnest({', '.join(lists)}))", params

    def locking(self, *, strong: bool) -> str:
        return f"FOR {'' if strong else 'NO KEY '}UPDATE SKIP LOCKED"

    def many(self, connection: BaseDatabaseWrapper, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        lines = list(rows)
        if len(lines) == 1:
            statements.run(connection, sql, lines[0])
        elif lines:
            parts = _insert_parts(sql)
            if parts is None or not parts.fits(lines):
                statements.many(connection, sql, lines)
            else:
                self._insert_parts(connection, parts, lines)

    def _insert_parts(
        self, connection: BaseDatabaseWrapper, parts: _Parts, rows: Sequence[Sequence[Any]]
    ) -> None:
        types, count = self.stored_types(connection, parts.table), len(parts.given)
        lists = ", ".join(f"%s::{types[name]}[]" for name in parts.given)
        names = ", ".join(f"c{i}" for i in range(count))
        sql = f"{parts.head} SELECT {parts.chosen} FROM unnest({lists}) AS u({names}){parts.tail}"
        columns = list(zip(*rows, strict=True))
        params = [*map(array, columns[:count]), *(column[0] for column in columns[count:])]
        statements.run(connection, sql, params)

    def insert(
        self,
        connection: BaseDatabaseWrapper,
        table: str,
        columns: Sequence[Place],
        rows: Sequence[Sequence[Any]],
        key: str,
    ) -> list[Any]:
        names = ", ".join(column.quoted for column in columns)
        told = f" RETURNING {key}" if key else ""
        if not columns:
            sql = f"INSERT INTO {table} DEFAULT VALUES{told}"
            return [statements.query(connection, sql)[0][0] for _ in rows]
        if len(rows) == 1:
            values = ", ".join(f"%s::{column.stored}" for column in columns)
            return _told(
                connection, f"INSERT INTO {table} ({names}) VALUES ({values}){told}", rows[0], key, 1
            )
        if len(rows) >= COPY_FROM and not key:
            statements.copy(connection, f"COPY {table} ({names}) FROM STDIN", rows)
            return []
        lists = ", ".join(f"%s::{column.stored}[]" for column in columns)
        # In order, so that the keys come back in the order of the rows.
        source = (
            f"SELECT {names} FROM unnest({lists}) WITH ORDINALITY AS u({names}, syncapp_n) ORDER BY syncapp_n"
        )
        params = [array(values) for values in zip(*rows, strict=True)]
        return _told(connection, f"INSERT INTO {table} ({names}) {source}{told}", params, key, len(rows))

    def update(
        self,
        connection: BaseDatabaseWrapper,
        table: str,
        columns: Sequence[Place],
        key: Place,
        rows: Sequence[Sequence[Any]],
    ) -> None:
        if len(rows) == 1:
            settings = ", ".join(f"{column.quoted} = %s::{column.stored}" for column in columns)
            sql = f"UPDATE {table} SET {settings} WHERE {key.quoted} = %s::{key.stored}"
            statements.run(connection, sql, rows[0])
            return
        given = [*columns, key]
        settings = ", ".join(f"{column.quoted} = u.c{i}" for i, column in enumerate(columns))
        lists = ", ".join(f"%s::{column.stored}[]" for column in given)
        names = ", ".join(f"c{i}" for i in range(len(given)))
        sql = (
            f"UPDATE {table} AS t SET {settings} FROM unnest({lists}) AS u({names}) "
            f"WHERE t.{key.quoted} = u.c{len(columns)}"
        )
        statements.run(connection, sql, [array(values) for values in zip(*rows, strict=True)])

    # -- automatic keys --

    def allocate(self, connection: BaseDatabaseWrapper, table: str, column: str, count: int) -> Sequence[int]:
        sequence = self._sequence(connection, table, column)
        if sequence is None:
            return []
        sql = "SELECT nextval(%s::regclass) FROM generate_series(1, %s)"
        return [row[0] for row in statements.query(connection, sql, [sequence, count])]

    def keys_given(self, connection: BaseDatabaseWrapper, table: str, column: str, highest: int) -> None:
        sequence = self._sequence(connection, table, column)
        if sequence is None:
            return
        sql = "SELECT coalesce(pg_sequence_last_value(%s::regclass), 0)"
        last = statements.query(connection, sql, [sequence])[0][0]
        if last >= highest:
            return
        if highest - last < 1000:
            # Taken one by one, since others take some at the same time: a sequence never goes back this way.
            self.allocate(connection, table, column, highest - last)
        else:
            statements.query(connection, "SELECT setval(%s::regclass, %s)", [sequence, highest])

    def _sequence(self, connection: BaseDatabaseWrapper, table: str, column: str) -> str | None:
        if (table, column) not in self._sequences:
            quoted = connection.ops.quote_name(table)
            rows = statements.query(connection, "SELECT pg_get_serial_sequence(%s, %s)", [quoted, column])
            self._sequences[table, column] = rows[0][0]
        return self._sequences[table, column]


def _told(
    connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any], key: str, count: int
) -> list[Any]:
    if not key:
        made = statements.run(connection, sql, params)
        keys = []
    else:
        keys = [row[0] for row in statements.query(connection, sql, params)]
        made = len(keys)
    if made != count:
        # A trigger of the program's own, or a rule, sent them elsewhere.
        raise DataError(f"{count} rows were to be created, {made} were")
    return keys


# -- own statements, for many rows at once ------------------------------------------------------------------

_INSERT = re.compile(
    r'(?P<head>INSERT INTO (?P<table>"[^"]+") \((?P<columns>[^()]+)\)) VALUES \((?P<values>[^()]+)\)'
    r"(?P<tail> ON CONFLICT(?: \((?P<key>[^()]+)\))?.*)?",
    re.DOTALL,
)


class _Parts(NamedTuple):
    """An ``INSERT … VALUES`` taken apart. ``given``: the columns whose values are parameters; ``key``: the places of
    those that must differ."""

    head: str
    table: str
    given: list[str]
    chosen: str
    tail: str
    key: list[int]

    def fits(self, rows: Sequence[Sequence[Any]]) -> bool:
        """Whether one statement does for all ``rows``: it must not meet one row twice, and has one tail."""
        count = len(self.given)
        if len(rows[0]) > count and len({tuple(row[count:]) for row in rows}) > 1:
            return False
        return not self.key or len({tuple(row[i] for i in self.key) for row in rows}) == len(rows)


@lru_cache(maxsize=256)
def _insert_parts(sql: str) -> _Parts | None:
    match = _INSERT.fullmatch(sql)
    if match is None:
        return None
    columns, values = _names(match["columns"]), [value.strip() for value in match["values"].split(",")]
    if len(columns) != len(values):
        return None
    given = [name for name, value in zip(columns, values, strict=True) if value == "%s"]
    key = _names(match["key"] or "") if "DO UPDATE" in (match["tail"] or "") else []
    if not set(key) <= set(given):
        return None
    counter = iter(range(len(given)))
    chosen = ", ".join(f"u.c{next(counter)}" if value == "%s" else value for value in values)
    places = [given.index(name) for name in key]
    return _Parts(match["head"], match["table"], given, chosen, match["tail"] or "", places)


def _names(text: str) -> list[str]:
    return [name.strip().strip('"') for name in text.split(",")] if text else []


@lru_cache(maxsize=1024)
def _among(sql: str, type: str) -> str:
    return sql.replace("IN {}", f"= ANY(%s::{type}[])")


# -- keys ---------------------------------------------------------------------------------------------------


def _integer_key(text: str) -> Any:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None


def _uuid_key(text: str) -> Any:
    try:
        return UUID(text)
    except ValueError:
        return None


def _text_key(text: str) -> Any:
    return None if "\0" in text else text
