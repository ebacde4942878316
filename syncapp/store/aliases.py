"""The names that a record goes by, and who has it: learning names from a peer, and letting others hear of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from syncapp.core.changes import Record
from syncapp.store.base import Backend
from syncapp.store.refeed import feed_again

if TYPE_CHECKING:
    from syncapp.store.resolve import Resolver
    from syncapp.store.sealing import Numbering
    from syncapp.store.writing import Write


def names_of(backend: Backend, records: Iterable[Record]) -> dict[int, tuple[bytes, ...]]:
    """All names of each record, by its id: its uid, and what else it is called."""
    uids = {record.id: record.uid for record in records}
    others = backend.aliases(uids) if uids else {}
    return {number: (uid, *others.get(number, ())) for number, uid in uids.items()}


def add_names(backend: Backend, record: Record, names: Sequence[bytes]) -> list[bytes]:
    """Let ``record`` go by those of ``names`` that nothing goes by so far; these."""
    known = backend.records_by_uid(names)
    new = [name for name in names if name not in known]
    for name in new:
        backend.rename(record, name)
    return new


def note_pairs(backend: Backend, link: int, records: Collection[int]) -> set[int]:
    """Note that the peer of ``link`` has these records; the ids of those of which that is news."""
    missing = set(records) - backend.paired(link, records) if records else set()
    if missing:
        backend.add_pairs(link, missing)
    return missing


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

    def learn(self, write: Write) -> bool:
        """The record goes by all of its names from now on; whoever waited for one of them can go on.

        Returns whether one of them is news.
        """
        names = write.change.names
        if write.create:
            self._arrived(names)
        if len(names) == 1 and (write.create or names[0] == write.record.uid):
            return False
        new = add_names(self._backend, write.record, names)
        for name in new:
            self._resolver.created(name, write.record.pk)
        self._arrived(new)
        return bool(new)

    def tell(self, renamed: list[Write], met: list[Write]) -> None:
        """Let others hear of names that are new to them before anything refers to a record by one.

        ``renamed``: their records have a name that only the peer of this link knows so far. ``met``: they are met on
        this link for the first time; the peer may have told fewer names than we know.
        """
        writes = {write.record.id: write for write in met + renamed}
        news = {write.record.id for write in renamed}
        names = names_of(self._backend, [write.record for write in writes.values()])
        told = []
        for number, write in writes.items():
            unheard = not set(names[number]) <= {*write.change.names}
            if unheard or number in news:
                feed_again(write.record, self._numbering, 0 if unheard else self._link)
                told.append(write.record)
        if told:
            self._backend.save_records(told)
