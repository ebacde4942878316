"""Rows that a unit of work has to itself: locked before their journal is sealed, so that nobody's edit is overwritten.

A local edit that commits between the merge and the writing would be lost. So the rows come first: whoever edits them
then waits for our commit, and whatever was committed before is in the journal, which is read after. Nobody is waited
for except for a moment: a row that a user holds for longer is *busy*, and what came for it is parked and tried again
soon, so that one forgotten transaction holds up one record and not the link.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping

from syncapp.core.changes import Record
from syncapp.core.mapping import Kind
from syncapp.store.base import Backend, TableInfo
from syncapp.store.parked import Incoming

BUSY = "busy"
#: How long a unit of work waits for its busy rows, all in all: most transactions are over sooner.
PAUSES = (0.002, 0.005, 0.01, 0.03)

Row = tuple[int, str]
"""A table's number and a local key."""


class RowLocks:
    """The locks of one unit of work. ``busy``: rows that others hold."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._pauses = list(reversed(PAUSES))
        self._held: dict[Row, bool] = {}
        self.busy: set[Row] = set()

    def take(self, rows: Mapping[Row, bool]) -> bool:
        """Lock ``rows``, each strongly or not (see `Backend.lock_rows`); whether any was locked that was not before."""
        if self._backend.alone:
            return False
        groups: dict[tuple[int, bool], set[str]] = defaultdict(set)
        for row, strong in rows.items():
            if row not in self.busy and ((strong and not self._held.get(row)) or row not in self._held):
                groups[row[0], strong].add(row[1])
        for (table, strong), pks in sorted(groups.items()):
            busy = self._lock(table, pks, strong)
            self.busy |= {(table, pk) for pk in busy}
            self._held |= {(table, pk): strong for pk in pks - busy}
        return bool(groups)

    def _lock(self, table: int, pks: set[str], strong: bool) -> set[str]:
        busy = self._backend.lock_rows(table, pks, strong=strong)
        while busy and self._pauses:
            time.sleep(self._pauses.pop())
            busy = self._backend.lock_rows(table, busy, strong=strong)
        return busy

    def free(self, row: Row) -> bool:
        """Whether the row is ours to write."""
        return self._backend.alone or row in self._held


def rows_of(
    changes: Iterable[Incoming], records: Mapping[bytes, Record], tables: Mapping[int, TableInfo]
) -> dict[Row, bool]:
    """The rows that ``changes`` are about, and whether to lock them strongly."""
    found: dict[Row, bool] = {}
    for change in changes:
        strong = needs_strong(change, tables[change.table])
        for name in change.names:
            record = records.get(name)
            # One that counts as deleted may have its row, and come back with it.
            if record is not None and (record.alive or tables[record.table].soft is not None):
                row = (record.table, record.pk)
                found[row] = strong or found.get(row, False)
    return found


def needs_strong(change: Incoming, table: TableInfo) -> bool:
    """Whether nobody may refer to the row either: members must not come or go, and a row that goes has none."""
    return any(
        table.fields[field].type.kind is Kind.RELATIONS
        or (table.fields[field].type.kind is Kind.STATUS and cell.value is False)
        for field, cell in change.cells.items()
    )
