"""What failures of a database mean, for each database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)

from syncapp.engine.trouble import Trouble, trouble_of, words_of


def caused(error: Error, cause: BaseException) -> Error:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("state", "trouble"),
    [
        ("40001", Trouble.BUSY),  # could not serialize access
        ("40P01", Trouble.BUSY),  # deadlock
        ("55P03", Trouble.BUSY),  # lock timeout
        ("57014", Trouble.BUSY),  # cancelled
        ("57P01", Trouble.AWAY),  # terminated by an administrator
        ("57P03", Trouble.AWAY),  # starting up
        ("08006", Trouble.AWAY),  # connection failure
        ("53100", Trouble.AWAY),  # disk full
        ("53300", Trouble.AWAY),  # too many connections
        ("58030", Trouble.AWAY),  # input/output error
        ("54000", Trouble.NONE),  # an index takes no such long value
        ("55000", Trouble.NONE),  # object not in prerequisite state
        ("0A000", Trouble.NONE),  # feature not supported
    ],
)
def test_postgresql(state: str, trouble: Trouble) -> None:
    cause = psycopg.errors.lookup(state)("no") if state != "55000" else psycopg.OperationalError("no")
    cause.sqlstate = state
    assert trouble_of(caused(OperationalError("no"), cause)) is trouble


def test_postgresql_without_a_connection() -> None:
    assert (
        trouble_of(caused(OperationalError("refused"), psycopg.OperationalError("refused"))) is Trouble.AWAY
    )
    assert trouble_of(InterfaceError("the connection is closed")) is Trouble.AWAY


@pytest.mark.parametrize(
    "error", [IntegrityError("x"), DataError("x"), ProgrammingError("x"), ValueError("x")]
)
def test_other_failures_are_about_the_statement(error: Exception) -> None:
    assert trouble_of(error) is Trouble.NONE


def _failure(connection: sqlite3.Connection, sql: str) -> Error:
    with pytest.raises(sqlite3.OperationalError) as found:
        connection.execute(sql)
    return caused(OperationalError(str(found.value)), found.value)


def test_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as one:
        one.execute("CREATE TABLE t (x)")
        one.execute("BEGIN EXCLUSIVE")
        with closing(sqlite3.connect(path, timeout=0)) as other:
            assert trouble_of(_failure(other, "SELECT * FROM t")) is Trouble.BUSY
            one.execute("COMMIT")
            assert trouble_of(_failure(other, "SELECT * FROM nothing")) is Trouble.NONE
            other.execute("PRAGMA max_page_count = 2")
            full = _failure(other, "INSERT INTO t VALUES (zeroblob(100000))")
            assert trouble_of(full) is Trouble.AWAY
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
            assert trouble_of(_failure(reader, "DELETE FROM t")) is Trouble.AWAY
    with pytest.raises(sqlite3.OperationalError) as missing:
        sqlite3.connect(tmp_path / "nowhere" / "db.sqlite3")
    assert trouble_of(caused(OperationalError("no"), missing.value)) is Trouble.AWAY


def test_words_are_one_line() -> None:
    assert words_of(OperationalError("connection failed\n\tIs the server running?")) == (
        "connection failed Is the server running?"
    )
    assert words_of(OperationalError()) == "OperationalError"
