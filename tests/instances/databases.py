"""The databases that programs run on, past the program: as an outsider reads, writes, copies and breaks them.

Statements have ``?`` for their parameters, and rows come as SQLite gives them (numbers as int and float, moments as
text), so that one test serves both kinds and the rows of one kind compare with those of the other.
"""

from __future__ import annotations

import datetime
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tests.postgres import USER, Cluster

if TYPE_CHECKING:
    import psycopg

Row = tuple[Any, ...]
SQLITE, POSTGRESQL = "sqlite", "postgresql"
KINDS = (SQLITE, POSTGRESQL)


class Result(Protocol):
    """What a statement gave."""

    @property
    def lastrowid(self) -> int | None: ...

    @property
    def rowcount(self) -> int: ...

    def fetchall(self) -> list[Row]: ...

    def fetchone(self) -> Row | None: ...


class Outsider(Protocol):
    """A connection of somebody else than the program, within a transaction."""

    def execute(self, sql: str, parameters: Sequence[Any] = ...) -> Result: ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> object: ...

    def rollback(self) -> None: ...


class Database(Protocol):
    """A program's database."""

    kind: str

    @property
    def url(self) -> str:
        """As ``DATABASE_URL``."""
        ...

    def connection(self, timeout: float = 30) -> Any:
        """A context manager: an `Outsider`, committed at the end of the block."""
        ...

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]: ...

    def records(self, sql: str) -> list[dict[str, Any]]:
        """Rows by the names of their columns."""
        ...

    def copy_to(self, other: Any) -> None:
        """Make ``other``, of the same kind, what this one is now; no program runs on either."""
        ...

    def remove(self) -> None: ...


class SqliteFile:
    """A file in ``folder``."""

    kind = SQLITE

    def __init__(self, folder: Path) -> None:
        self.path = folder / "db.sqlite3"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    @contextmanager
    def connection(self, timeout: float = 30) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=timeout, isolation_level="IMMEDIATE")) as made:
            # As the program itself: a test's write must not be lost when its process is killed either.
            made.execute("PRAGMA foreign_keys = ON")
            with made:
                yield made

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with closing(sqlite3.connect(self.path, timeout=30)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def records(self, sql: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.path, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]

    def copy_to(self, other: SqliteFile) -> None:
        for file in self.path.parent.glob(f"{self.path.name}*"):
            shutil.copy(file, other.path.parent)

    def remove(self) -> None:
        pass  # goes with its folder


class PostgresDatabase:
    """A database of a cluster. ``address``: how the program reaches it, if not directly."""

    kind = POSTGRESQL

    def __init__(self, cluster: Cluster, name: str, address: Callable[[str], str] | None = None) -> None:
        self.cluster = cluster
        self.name = name
        self.address = address or cluster.url

    @property
    def url(self) -> str:
        return self.address(self.name)

    def connect(self, timeout: float = 30) -> psycopg.Connection[Any]:
        """A plain connection; locks are waited for that long."""
        import psycopg

        return psycopg.connect(
            host=str(self.cluster.folder),
            port=self.cluster.port,
            user=USER,
            dbname=self.name,
            connect_timeout=int(timeout),
            options=f"-c lock_timeout={int(timeout * 1000)}",
        )

    @contextmanager
    def connection(self, timeout: float = 30) -> Iterator[PostgresOutsider]:
        with self.connect(timeout) as made:
            yield PostgresOutsider(made)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with self.connect() as made:
            return PostgresOutsider(made).execute(sql, parameters).fetchall()

    def records(self, sql: str) -> list[dict[str, Any]]:
        with self.connect() as made:
            found = PostgresOutsider(made).execute(sql)
            return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

    def copy_to(self, other: PostgresDatabase) -> None:
        if other.cluster != self.cluster:
            self.restore_to(other, self.dump())
            return
        self.terminate("")
        self.cluster.create(other.name, template=self.name)

    def dump(self) -> bytes:
        """A backup, as ``pg_dump`` makes it."""
        file = self.cluster.folder / f"{self.name}.dump"
        self.cluster.program("pg_dump", "-Fc", "-Z0", "-f", str(file), self.name)
        try:
            return file.read_bytes()
        finally:
            file.unlink()

    @staticmethod
    def restore_to(other: PostgresDatabase, backup: bytes) -> None:
        """Make ``other`` what was backed up, in whatever cluster it is."""
        file = other.cluster.folder / f"{other.name}.dump"
        file.write_bytes(backup)
        file.chmod(0o644)
        other.cluster.create(other.name)
        other.cluster.program("pg_restore", "--exit-on-error", "--no-owner", "-d", other.name, str(file))
        file.unlink()

    def terminate(self, application: str = "syncapp-") -> int:
        """End the connections of programs, or of all whose name begins with ``application``; how many there were."""
        sql = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = %s AND application_name LIKE %s"
        )
        return int(self.cluster.execute(sql, (self.name, f"{application}%"))[0][0])

    def remove(self) -> None:
        with suppress(Exception):  # its server may be gone already
            self.cluster.drop(self.name)


class PostgresOutsider:
    """A connection to PostgreSQL with SQLite's manners."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.plain = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> PostgresResult:
        if re.match(r"\s*INSERT\b", sql, re.IGNORECASE) and "RETURNING" not in sql.upper():
            sql += " RETURNING id"
        if not parameters:
            return PostgresResult(self.plain.execute(sql))
        return PostgresResult(self.plain.execute(_placeholders(sql), parameters))

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        self.plain.cursor().executemany(_placeholders(sql), parameters)

    def rollback(self) -> None:
        self.plain.rollback()


class PostgresResult:
    """Rows as SQLite would give them."""

    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self.rowcount = cursor.rowcount
        self.columns = [column.name for column in cursor.description or ()]
        self._rows = [tuple(map(_plain, row)) for row in cursor.fetchall()] if cursor.description else []

    @property
    def lastrowid(self) -> int | None:
        return self._rows[-1][0] if self._rows else None

    def fetchall(self) -> list[Row]:
        return self._rows

    def fetchone(self) -> Row | None:
        return self._rows[0] if self._rows else None


def _placeholders(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value
