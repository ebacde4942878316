"""Sending records again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncapp.core.changes import WHOLE, Entry, Record
from syncapp.core.clock import Version

if TYPE_CHECKING:
    from syncapp.store.sealing import Numbering


def feed_again(record: Record, numbering: Numbering, via: int = 0) -> None:
    """Let the record stand in the feed anew, to go whole to everybody but the link ``via``.

    To that one too where the record was to go whole for another reason: it may not have gone yet.
    """
    note = record.entries.get(WHOLE)
    if note is not None and note.via != via:
        via = 0
    record.seq = numbering.next()
    record.entries[WHOLE] = Entry(Version(0, b""), record.seq, via)
