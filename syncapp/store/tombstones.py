"""Dead records: how long they are remembered, and telling of them again.

A dead record (a tombstone) answers whoever has not heard of the deletion yet. It may be forgotten once every peer that
knows the record has acknowledged the deletion, and not before it has a certain age: news of the record may still be on
its way by other roads. A link remembers up to which feed number tombstones were forgotten (its floor): a peer whose
cursor lies below it has returned to a time before deletions that nobody here can tell it of any more.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from syncapp.core.changes import Record
from syncapp.store.base import Backend, Setup
from syncapp.store.sealing import Numbering
from syncapp.store.softly import standing


class Purged(NamedTuple):
    """How many tombstones were forgotten, and up to which record id they were looked through (0: all)."""

    many: int
    position: int


def tell_again(record: Record, status: int, numbering: Numbering) -> None:
    """Let the peers hear of a deletion once more, also the one that told of it: it may have been restored since."""
    entry = record.entries.get(status)
    if entry is not None:
        record.seq = numbering.next()
        record.entries[status] = entry._replace(seq=record.seq, via=0)


def purge(backend: Backend, setup: Setup, before: int, after: int, limit: int) -> Purged:
    """Forget the tombstones from before the moment ``before`` that everybody concerned has acknowledged.

    Looks through at most ``limit`` of those with an id above ``after``.
    """
    found = backend.tombstones(after, limit)
    old = [record for record in found if _died(record, setup) < before]
    stand = standing(backend, setup, old)  # the row may come to life, under its old name
    old = [record for record in old if record.id not in stand]
    knowers = backend.knowers(old) if old else {}
    gone = [record for record in old if all(knower.told for knower in knowers.get(record.id, ()))]
    floors: dict[int, int] = defaultdict(int)
    for record in gone:
        for knower in knowers.get(record.id, ()):
            floors[knower.link] = max(floors[knower.link], record.seq)
    if gone:
        backend.forget(gone, floors)
    return Purged(len(gone), found[-1].id if len(found) == limit else 0)


def _died(record: Record, setup: Setup) -> int:
    """When the record was deleted, as its status says; one without a status has been dead for ever."""
    table = setup.tables.get(record.table)
    entry = record.entries.get(table.status) if table else None
    return entry.version.time if entry is not None else 0
