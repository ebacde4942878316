"""What travels and what is remembered: field versions of a record, batches, acknowledgements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from syncapp.core.clock import Version


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """A place in a feed: the number, and the tag of the seal that gave it. (0, b"") is the beginning."""

    seq: int = 0
    tag: bytes = b""


START = Cursor()


Part = tuple[Any, ...]
"""One part of a value that is made of several (see `core.parts`)."""


class Entry(NamedTuple):
    """What a record remembers of one field: its version, its feed number, the link it arrived by (0 = edited here).

    ``parts``: what a sum or a union is made of; none for a field whose value is one.
    """

    version: Version
    seq: int
    via: int = 0
    parts: tuple[Part, ...] = ()


Entries = dict[int, Entry]
"""field number → entry. A field without an entry has not been edited since linking: the baseline."""

#: No field has this number: its entry notes when the record as a whole was fed anew (see `store.feed.feed_again`).
WHOLE = 0


class JournalRow(NamedTuple):
    """ "Look at this record": what a trigger wrote. ``fields`` are numbers; ``op`` as in `Op`; ``at`` in µs.

    ``before`` holds the old values (wire form) of changed fields by field number, when the triggers keep them; of a
    many-to-many whether each target that was added or removed had been there: ``{local key: bool}``. ``id``: the row's
    own number, never given twice by one database.
    """

    table: int
    pk: str
    op: int
    fields: tuple[int, ...]
    at: int
    before: Mapping[int, Any] | None = None
    id: int = 0


class Op(IntEnum):
    """Operation of a journal row."""

    UPDATE = 0
    INSERT = 1
    DELETE = 2
    LOOK = 3  # a row that an insert may have replaced: gone or rewritten


class Record(msgspec.Struct):
    """One row's identity and history on this instance.

    ``id`` is the store's own key (0 = not stored yet); ``seq`` the feed number of its latest change;
    ``alive`` whether the local row exists.
    """

    id: int
    table: int
    pk: str
    uid: bytes
    alive: bool = True
    seq: int = 0
    entries: Entries = {}

    def versions(self) -> list[Version]:
        """Everything that is known of the record: the versions of all fields, its status included."""
        return [entry.version for field, entry in self.entries.items() if field != WHOLE]


def pack_entries(entries: Mapping[int, Entry]) -> bytes:
    """Entries as MessagePack: fields that share version, number, link and parts are one group.

    Group: ``[time, origin, seq, via, [field, …], [[origin, time], …]?, [part, …]?]``.
    """
    groups: dict[Entry, list[int]] = {}
    for field, entry in entries.items():
        groups.setdefault(entry, []).append(field)
    rows: list[list[Any]] = []
    for (version, seq, via, parts), fields in groups.items():
        row: list[Any] = [version.time, version.origin, seq, via, fields]
        if version.seen or parts:
            row.append(version.seen)
        if parts:
            row.append(parts)
        rows.append(row)
    return _encode(rows)


def unpack_entries(data: bytes | memoryview) -> Entries:
    """The inverse of `pack_entries`."""
    entries: Entries = {}
    if not data:
        return entries
    for group in _decode(data):
        entry = Entry(Version(group.time, group.origin, group.seen), group.seq, group.via, group.parts)
        for field in group.fields:
            entries[field] = entry
    return entries


class _Group(msgspec.Struct, array_like=True, gc=False):
    time: int
    origin: bytes
    seq: int
    via: int
    fields: list[int]
    seen: tuple[tuple[bytes, int], ...] = ()
    parts: tuple[tuple[Any, ...], ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Group]).decode


# -- the wire -----------------------------------------------------------------------------------------------


class RowKind(IntEnum):
    """What a row of a batch is: some fields of a known record, a whole record, a deletion."""

    FIELDS = 0
    WHOLE = 1
    DELETED = 2


class WireVersion(msgspec.Struct, frozen=True, array_like=True):
    """A version whose origins are indexes into the batch's list of origins."""

    time: int
    origin: int
    seen: tuple[tuple[int, int], ...] = ()


class Row(msgspec.Struct, array_like=True):
    """One record in a section. ``versions`` has one element for all columns, or one per column (None = baseline).

    ``values`` are in the order of the section's columns. Relations are uids (bytes), many-to-many lists of uids. Where
    the field's rule is sum or union and there is a version, the value is the list of its parts: of a sum
    ``[origin, time, total]``, of a union ``[uid, time, origin, present]``, with origins as in versions.
    ``aliases``: the record's other names, where both programs had given it one before they were recognised as one.
    ``keys``: values in the order of the section's keys.
    """

    uid: bytes
    kind: int
    versions: list[WireVersion | None]
    values: list[Any]
    aliases: list[bytes] = []
    keys: list[Any] = []


class Section(msgspec.Struct, array_like=True):
    """Rows of one table with the same columns; ``table`` and ``columns`` are the sender's numbers.

    ``keys``: fields that do not flow, by which the receiver recognises whole records; it writes none of them.
    """

    table: int
    columns: list[int]
    rows: list[Row]
    keys: list[int] = []


class Batch(msgspec.Struct, array_like=True):
    """The changes of the sender's feed in (start, end]: self-describing and idempotent."""

    start: Cursor
    end: Cursor
    origins: list[bytes]
    sections: list[Section]

    def field_count(self) -> int:
        """How many field values the batch carries."""
        return sum(len(section.columns) * len(section.rows) for section in self.sections)


class Totals(msgspec.Struct, array_like=True):
    """Field changes received over a link since it exists, by fate. received = the sum of the other four."""

    received: int = 0
    applied: int = 0
    superseded: int = 0
    duplicate: int = 0
    parked: int = 0


class Fate(msgspec.Struct, frozen=True, array_like=True):
    """What became of a field change that was not simply applied; ``field`` is the sender's number, 0 = the record."""

    uid: bytes
    field: int
    result: str  # superseded | duplicate | parked | refused
    code: str = ""


def split_uids(values: Iterable[Any]) -> set[bytes]:
    """The uids within relation values: single, many-to-many lists and None."""
    found: set[bytes] = set()
    for value in values:
        if isinstance(value, bytes):
            found.add(value)
        elif value is not None:
            found.update(value)
    return found
