"""Telling the program what was applied; see `syncapp.signals.record_applied`."""

from __future__ import annotations

from syncapp.store.base import Backend, LinkInfo
from syncapp.store.hostbase import Event
from syncapp.store.writing import Write


class Herald:
    """Collects what one application of changes did, and announces it after the commit. Free where nobody listens."""

    def __init__(self, backend: Backend, link: LinkInfo) -> None:
        self._backend = backend
        self._link = link.name
        self._events: dict[tuple[int, str], Event] = {}
        self._listened = backend.listened()

    def note(self, write: Write) -> None:
        """A record was written."""
        if not self._listened:
            return
        fields = {
            field
            for field, verdict in write.verdicts.items()
            if verdict.held is None and (write.create or verdict.merged.outcome.writes)
        }
        if fields:
            self._add(write.change.table, write.record.pk, fields, created=write.create)

    def deleted(self, table: int, pk: str) -> None:
        """A record was deleted."""
        if self._listened:
            self._add(table, pk, set(), deleted=True)

    def _add(
        self, table: int, pk: str, fields: set[int], *, created: bool = False, deleted: bool = False
    ) -> None:
        """Once a record, whatever happened to it."""
        before = self._events.get((table, pk))
        if before is not None:
            fields, created, deleted = fields | {*before.fields}, before.created, deleted or before.deleted
        self._events[table, pk] = Event(table, pk, created, deleted, tuple(sorted(fields)))

    def announce(self) -> None:
        """Send what was collected, once the transaction is committed."""
        if self._events:
            self._backend.announce(self._link, list(self._events.values()))
            self._events = {}
