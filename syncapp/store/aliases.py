"""The names that a record goes by: learning them from a peer, and letting others hear of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from syncapp.core.changes import Record
from syncapp.store.base import Backend
from syncapp.store.feed import feed_again
from syncapp.store.resolve import Resolver
from syncapp.store.sealing import Numbering
from syncapp.store.writing import Write


class Aliases:
    """The names of records that come over one link. ``arrived`` is told of names that others may have waited for."""

    def __init__(
        self,
        backend: Backend,
        link: int,
        numbering: Numbering,
        resolver: Resolver,
        arrived: Callable[[Iterable[bytes]], None],
    ) -> None:
        self._backend = backend
        self._link = link
        self._numbering = numbering
        self._resolver = resolver
        self._arrived = arrived

    def pair(self, records: list[Record]) -> set[int]:
        """Note that the peer has these records; returns the ids of those of which that is news."""
        ids = [record.id for record in records]
        missing = set(ids) - self._backend.paired(self._link, ids) if ids else set()
        if missing:
            self._backend.add_pairs(self._link, missing)
        return missing

    def learn(self, write: Write) -> bool:
        """The record goes by all of its names from now on; whoever waited for one of them can go on.

        Returns whether one of them is news.
        """
        names = write.change.names
        if write.create:
            self._arrived(names)
        if len(names) == 1 and (write.create or names[0] == write.record.uid):
            return False
        known = self._backend.records_by_uid(names)
        new = [name for name in names if name not in known]
        for name in new:
            self._backend.rename(write.record, name)
            self._resolver.created(name, write.record.pk)
        self._arrived(new)
        return bool(new)

    def tell(self, renamed: list[Write], met: list[Write]) -> None:
        """Let others hear of names that are new to them before anything refers to a record by one.

        ``renamed``: their records have a name that only the peer of this link knows so far. ``met``: they are met on
        this link for the first time; the peer may have told fewer names than we know.
        """
        writes = {write.record.id: write for write in met + renamed}
        if not writes:
            return
        news = {write.record.id for write in renamed}
        aliases = self._backend.aliases(writes)
        told = []
        for number, write in writes.items():
            unheard = not {write.record.uid, *aliases.get(number, ())} <= {*write.change.names}
            if unheard or number in news:
                feed_again(write.record, self._numbering, 0 if unheard else self._link)
                told.append(write.record)
        if told:
            self._backend.save_records(told)
