# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""Foreign keys, checked before COMMIT where the database would check them only then.

A batch may write a child before its parent, so a written key is first a doubt; the end of the savepoint resolves all
doubts in one statement per table, and an unresolved one refuses that savepoint alone rather than the whole transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from syncapp.store.base import RowRefused

if TYPE_CHECKING:
    from syncapp.store.sql.database import Database


class _Doubt(NamedTuple):
    """``must``: these keys must exist in the column; else none of them may."""

    must: bool
    table: str
    column: str
    keys: frozenset[Any]


class References:
    """The doubts of the running transaction, oldest first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._doubts: list[_Doubt] = []

    def written(self, table: str, column: str, keys: Iterable[Any]) -> None:
        """Rows that were written refer to ``keys`` of ``column``."""
        self._add(True, table, column, keys)

    def deleted(self, table: str, column: str, keys: Iterable[Any]) -> None:
        """``keys`` are gone; ``column`` of ``table`` referred to them."""
        self._add(False, table, column, keys)

    def _add(self, must: bool, table: str, column: str, keys: Iterable[Any]) -> None:
        if must and not self._database.dialect.checks_keys_late:
            return
        present = frozenset(key for key in keys if key is not None)
        if present:
            self._doubts.append(_Doubt(must, table, column, present))

    def deleting(self, mark: int = 0) -> bool:
        """Whether rows that others may refer to were deleted since ``mark``."""
        return any(not doubt.must for doubt in self._doubts[mark:])

    def mark(self) -> int:
        """A place to `forget` back to."""
        return len(self._doubts)

    def forget(self, mark: int = 0) -> None:
        """Drop the doubts since ``mark``: what raised them was undone."""
        del self._doubts[mark:]

    def check(self, mark: int = 0) -> None:
        """Resolve the doubts since ``mark``; raises `RowRefused` for the first that is justified."""
        grouped: dict[tuple[bool, str, str], set[Any]] = defaultdict(set)
        if not self._database.dialect.checks_keys_late:
            return  # the database checks them itself
        for doubt in self._doubts[mark:]:
            grouped[doubt[:3]] |= doubt.keys
        for (must, table, column), keys in grouped.items():
            found = self._present(table, column, keys)
            if must and len(found) < len(keys):
                missing = next(key for key in keys if key not in found)
                raise RowRefused(f"{table} has no row {missing}", "missing_target")
            if not must and found:
                raise RowRefused(f"rows of {table} still refer to {next(iter(found))}", "change")
        self.forget(mark)

    def _present(self, table: str, column: str, keys: set[Any]) -> set[Any]:
        quoted = self._database.quote(column)
        # As text on both sides: what was written is a key's text, whatever the column holds.
        sql = f"SELECT CAST({quoted} AS TEXT) FROM {self._database.quote(table)} WHERE {quoted} IN {{}}"
        return {row[0] for row in self._database.query_in(sql, keys)}
