"""Decisions on a record's life: bringing it back from the archive, deleting it after all.

Either is an ordinary new edit of its status, by a person who had seen all that is known of the record here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from syncapp import errors
from syncapp.core.changes import Entry, JournalRow, Record
from syncapp.core.clock import Version, edit
from syncapp.core.liveness import bury, known_together
from syncapp.store.archive import kept_values
from syncapp.store.base import Backend, RowRefused, Setup, TableInfo
from syncapp.store.rejoining import rejoin
from syncapp.store.removal import Place, Remover, Root
from syncapp.store.sealing import Numbering, seal_rows
from syncapp.store.softly import mark, standing


class Reviver:
    """Carries out such decisions within the caller's transaction."""

    def __init__(self, backend: Backend, setup: Setup, numbering: Numbering) -> None:
        self._backend = backend
        self._setup = setup
        self._numbering = numbering
        self._under_way: set[bytes] = set()

    def revive(self, uid: bytes) -> Record:
        """Create the record's row again from its archived values, under a new key; everybody hears of it.

        What it requires comes back first.

        Raises:
            NotDeleted, NotArchived, NotRestored: nothing was written.
        """
        record = self._backend.records_by_uid([uid]).get(uid)
        if record is not None and standing(self._backend, self._setup, [record]):
            return self._wake(record)
        row = self._backend.archived([record.uid]).get(record.uid) if record else None
        if record is None or record.alive or row is None or record.table not in self._setup.tables:
            code = errors.NotDeleted if record is not None and record.alive else errors.NotArchived
            raise code(record=uid.hex())
        table = self._setup.tables[record.table]
        self._under_way.add(record.uid)
        values, changed = kept_values(self._backend, table, row, self._bring)
        try:
            with self._backend.savepoint():
                record.pk = self._backend.restore_row(row.label, values)
        except RowRefused as refused:
            raise errors.NotRestored(table=table.label, record=row.pk, detail=refused.detail) from refused
        self._backend.drop_archive([record.uid])
        return self._back(record, table, changed)

    def _wake(self, record: Record) -> Record:
        """The same for a record whose row is there."""
        table = self._setup.tables[record.table]
        try:
            with self._backend.savepoint():
                mark(self._backend, table, [record.pk], alive=True)
        except RowRefused as refused:
            raise errors.NotRestored(table=table.label, record=record.pk, detail=refused.detail) from refused
        return self._back(record, table, frozenset())

    def _back(self, record: Record, table: TableInfo, changed: frozenset[int]) -> Record:
        """The row stands: the record lives from now on, and everybody who waits for it hears of it."""
        self._date(record, table, changed)
        self._backend.save_records([record])
        rejoin(self._backend, self._setup, record, self._numbering)
        self._backend.hasten({record.uid})
        return record

    def _date(self, record: Record, table: TableInfo, changed: frozenset[int]) -> None:
        """The status, and what could not come back as it was, is decided now, in knowledge of all that was."""
        record.alive, record.seq = True, self._numbering.next()
        known = known_together(record.versions())
        version = edit(self._backend.now(), self._numbering.origin, known)
        for field in {table.status, *(changed & record.entries.keys())}:
            record.entries[field] = Entry(version, record.seq, 0)

    def delete(self, uid: bytes, link: int) -> None:
        """Delete a record as a user would, with what its referrers' models say. ``link``: because of which.

        Raises:
            RecordGone, Protected, ChangeError: nothing was written.
        """
        record = self._backend.records_by_uid([uid]).get(uid)
        if record is None:
            raise errors.NotArchived(record=uid.hex())
        table, now = self._setup.tables[record.table], self._backend.now()
        if not record.alive:
            raise errors.RecordGone(table=table.label)
        self._seal([(record.table, record.pk)])
        record = self._backend.records_by_uid([uid])[uid]
        known = record.versions()
        version = bury(now, self._numbering.origin, known)
        if table.soft is not None:
            self._lay_down(record, table)
            self._finish(record, table, version)
            return
        place, remover = Place(table.label, record.pk), Remover(self._backend, self._setup, link, now)
        removed = remover.remove([Root(place, version)])
        if (obstacle := removed.protected.get(place)) is not None:
            params = {"by": obstacle.label, "field": obstacle.field, "count": obstacle.many}
            raise errors.Protected(table=table.label, record=record.pk, **params)
        if (refused := removed.refused.get(place)) is not None:
            raise errors.ChangeError(table=table.label, record=record.pk, detail=refused.detail)
        self._seal(((row.table, row.pk) for row in remover.consequences), remover.consequences)
        self._finish(record, table, version)

    def _lay_down(self, record: Record, table: TableInfo) -> None:
        try:
            with self._backend.savepoint():
                mark(self._backend, table, [record.pk], alive=False)
        except RowRefused as refused:
            raise errors.ChangeError(table=table.label, record=record.pk, detail=refused.detail) from refused

    def _finish(self, record: Record, table: TableInfo, version: Version) -> None:
        record.alive, record.seq = False, self._numbering.next()
        record.entries[table.status] = Entry(version, record.seq, 0)
        self._backend.save_records([record])
        self._backend.hasten({record.uid})

    def _seal(self, places: Iterable[tuple[int, str]], also: Sequence[JournalRow] = ()) -> None:
        seal_rows(self._backend, self._setup, places, self._numbering, also)

    def _bring(self, record: Record) -> Record:
        return record if record.uid in self._under_way else self.revive(record.uid)
