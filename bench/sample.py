"""The rows of the benchmark's table and the changes made to them, for raw SQL and for Django alike."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLE = "bench_sample"
LABEL = "bench.Sample"
FIELDS = (
    *("number", "name", "tax_id", "address", "phone", "email"),
    *("note", "amount", "paid", "due", "changed", "marker"),
)
INSERT = f"INSERT INTO {TABLE} ({', '.join(FIELDS)}) VALUES ({', '.join('?' * len(FIELDS))})"
#: A change: three of twelve columns.
UPDATE = f"UPDATE {TABLE} SET marker = ?, phone = ?, amount = ? WHERE number = ?"
#: How long a writer waits for the other writers of its database.
BUSY = 30.0


def row(number: int) -> tuple[Any, ...]:
    """The row ``number`` as it is in the beginning."""
    return (
        number,
        f"Client number {number} Ltd",
        f"{7700000000 + number}",
        f"{number} Long Street, Some Town, 10{number % 1000:03}",
        "+7 900 000-00-00",
        f"client{number}@example.com",
        "Calls on Mondays; wants the invoice by post and a copy by mail.",
        1000 + number % 900 + 0.5,
        number % 2,
        "2026-01-31",
        "2026-01-31 12:00:00",
        0,
    )


def change(marker: int, rows: int) -> tuple[int, str, float, int]:
    """The parameters of the change ``marker`` (1, 2, …): each goes to the next row."""
    return marker, f"+7 900 {marker:09}", 1000 + marker % 10_000 + 0.25, (marker - 1) % rows


def connect(path: Path, synchronous: str = "FULL") -> sqlite3.Connection:
    """A connection of a program that knows nothing of syncapp."""
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    return connection


def fill(path: Path, rows: int) -> None:
    """Insert the rows in one transaction."""
    connection = connect(path)
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, map(row, range(rows)))
    connection.execute("COMMIT")
    connection.close()


def contents(path: Path) -> list[tuple[Any, ...]]:
    """What the table holds, in order."""
    connection = connect(path)
    try:
        return connection.execute(f"SELECT {', '.join(FIELDS)} FROM {TABLE} ORDER BY number").fetchall()
    finally:
        connection.close()


def count(path: Path) -> int:
    connection = connect(path)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0])
    finally:
        connection.close()


def differing(one: Path, other: Path) -> Iterator[int]:
    """Numbers of rows that are not equal in both databases."""
    a, b = contents(one), contents(other)
    if len(a) != len(b):
        raise AssertionError(f"{len(a)} and {len(b)} rows")
    return (x[0] for x, y in zip(a, b, strict=True) if x != y)
