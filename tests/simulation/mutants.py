"""Deliberate bugs, to see that the simulation catches them. Each is a function that puts one in with monkeypatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from syncapp.core import clock, merge
from syncapp.core.changes import Entry
from syncapp.core.clock import Version
from syncapp.core.session import Session
from syncapp.core.streaming import Sender
from syncapp.store import apply, feed, sealing, store
from syncapp.store.ledger import Ledger
from syncapp.store.memory import MemoryBackend
from tests.simulation.faults import FaultyBackend

Patch = pytest.MonkeyPatch


def ack_before_apply(patch: Patch) -> None:
    """A batch is acknowledged as soon as it arrives."""
    original = Session._on_changes

    def on_changes(self: Session, message: Any, now: Any) -> None:
        original(self, message, now)
        self._applied = self._received
        self._send(merge_ack(self), now)

    def merge_ack(self: Session) -> Any:
        from syncapp.core.changes import Totals
        from syncapp.core.messages import Ack

        return Ack(self._applied, Totals())

    patch.setattr(Session, "_on_changes", on_changes)


def no_rewind(patch: Patch) -> None:
    """After a loss the sender goes on where it is."""
    patch.setattr(Sender, "rewind", lambda self, have: None)


def gap_taken(patch: Patch) -> None:
    """A batch that starts above the cursor is applied all the same."""
    original = store.Store.apply

    def take(self: store.Store, link: int, batch: Any, agreement: Any, token: int) -> Any:
        at = self.backend.cursors(link).applied
        if batch.start.seq > at.seq:
            batch = msgspec.structs.replace(batch, start=at)
        return original(self, link, batch, agreement, token)

    def on_changes(self: Session, message: Any, now: Any) -> None:
        self._received = message.batch.end
        self._queue.append((message.batch, 0))
        self._next_apply()

    patch.setattr(store.Store, "apply", take)
    patch.setattr(Session, "_on_changes", on_changes)


def echo(patch: Patch) -> None:
    """What came by a link goes back over it."""
    patch.setattr(feed, "_from_peer", lambda entry, peer: False)


def sees_all(patch: Patch) -> None:
    """Every edit counts as made in knowledge of every other: the last to arrive wins, no conflict is noted."""
    for module in (clock, merge, apply):
        patch.setattr(module, "sees", lambda version, other: True)


def seal_without_plus_one(patch: Patch) -> None:
    """An edit takes the wall clock's time, even when it is behind what it replaces."""

    def edit(at: int, origin: bytes, known: Version | None) -> Version:
        return Version(at, origin) if known is None else clock.join(Version(at, origin), known)

    patch.setattr(sealing, "edit", edit)


def journal_not_sealed_before_merge(patch: Patch) -> None:
    """A local edit that commits just before an incoming one is applied is not looked at."""
    patch.setattr(apply.Applier, "_seal_rows", lambda self, rows: False)


def position_hides_changes(patch: Patch) -> None:
    """Only changes above the reader's position are sent: those of a record that moved on are left out."""
    original = store.Store.read

    def read(self: store.Store, link: int, after: Any, *args: Any, **options: Any) -> Any:
        cursors = MemoryBackend.cursors

        def ahead(backend: MemoryBackend, number: int) -> Any:
            return msgspec.structs.replace(cursors(backend, number), scanned=after.seq)

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(MemoryBackend, "cursors", ahead)
            return original(self, link, after, *args, **options)

    patch.setattr(store.Store, "read", read)


def parked_is_forgotten(patch: Patch) -> None:
    """What cannot be applied is counted and dropped."""
    patch.setattr(FaultyBackend, "save_problems", lambda self, problems: None)


def losers_are_dropped(patch: Patch) -> None:
    """The losing value of a conflict is not kept."""
    patch.setattr(Ledger, "keep_loser", lambda self, write, field, mine, theirs: None)


def no_aliases(patch: Patch) -> None:
    """Two programs that recognise one record do not tell each other its names."""
    patch.setattr(MemoryBackend, "aliases", lambda self, records: {})


def new_value_under_old_stamp(patch: Patch) -> None:
    """What a record refers to is sent as it is now, with the stamps of its last seal."""
    patch.setattr(feed.FeedReader, "_seal_rows_of", lambda self, records: False)
    original = sealing.seal

    def half(backend: Any, setup: Any, rows: Any, numbering: Any) -> None:
        original(backend, setup, list(rows)[::2], numbering)

    patch.setattr(store, "seal", half)


def via_forgotten(patch: Patch) -> None:
    """An applied value does not remember the link that it came by."""
    patch.setattr(apply, "Entry", lambda version, seq, via: Entry(version, seq, 0))


MUTANTS: tuple[Callable[[Patch], None], ...] = (
    ack_before_apply,
    no_rewind,
    gap_taken,
    echo,
    sees_all,
    seal_without_plus_one,
    journal_not_sealed_before_merge,
    position_hides_changes,
    parked_is_forgotten,
    losers_are_dropped,
    no_aliases,
    new_value_under_old_stamp,
    via_forgotten,
)
