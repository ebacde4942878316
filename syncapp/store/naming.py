"""What a row is called when it first travels or is first referred to.

The uid of a new row follows from its insert in the journal. A database that was put back from a backup, with the insert
in its journal still, so names the row again as it had named it before, and not as one more record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from syncapp.core.changes import JournalRow, Op
from syncapp.core.clock import epoch_of, instance_of
from syncapp.store.base import Backend

Rows = Mapping[int, Mapping[str, Sequence[JournalRow]]]
"""table → local key → its journal rows."""


def uid_at(at: int, random: bytes) -> bytes:
    """A uid that sorts by time, so that the index on it grows at its end (as UUID version 7, RFC 9562)."""
    tail = bytearray(random)
    tail[0] = 0x70 | tail[0] & 0x0F
    tail[2] = 0x80 | tail[2] & 0x3F
    return (at // 1000).to_bytes(6, "big") + bytes(tail)


class Names:
    """Names the rows that a seal meets for the first time. ``origin``: whose edits are sealed."""

    def __init__(
        self, backend: Backend, origin: bytes, random: Callable[[int], bytes], journal: Rows
    ) -> None:
        self._backend = backend
        self._origin = origin
        self._random = random
        self._journal = journal

    def of(self, table: int, pk: str) -> bytes:
        """The uid of a row that has none."""
        rows = self._journal.get(table, {}).get(pk, ())
        insert = next((row for row in rows if row.op == Op.INSERT), None)
        if insert is not None:
            uid = self._derived(insert)
            if uid not in self._taken:
                return uid
        return uid_at(rows[0].at if rows else self._backend.now(), self._random(10))

    def _derived(self, insert: JournalRow) -> bytes:
        facts = repr((insert.table, insert.pk, insert.at, insert.id)).encode()
        digest = hashlib.blake2b(facts, digest_size=10, key=instance_of(self._origin)).digest()
        return uid_at(insert.at, digest)

    @cached_property
    def _taken(self) -> frozenset[bytes]:
        """Derived names that a record has already: a peer brought the row before its own insert was sealed here."""
        if epoch_of(self._origin) == 1:
            return frozenset()  # never restored
        inserts = (
            row
            for by_pk in self._journal.values()
            for rows in by_pk.values()
            for row in rows
            if row.op == Op.INSERT
        )
        return frozenset(self._backend.records_by_uid({self._derived(row) for row in inserts}))
