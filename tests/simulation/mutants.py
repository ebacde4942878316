"""Deliberate bugs, to see that the simulation catches them: each breaks an invariant within a number of seeds.

A mutant is a function that puts its bug in with monkeypatch. Only a `Violation` counts as caught: an error of the
mutant itself, whose patch no longer fits, does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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
from tests.simulation.network import Weather
from tests.simulation.oracle import Violation
from tests.simulation.topology import PAIR, Pairs
from tests.simulation.world import Plan, World

LOSSY = Weather(lossy=True, delay=50_000, drop=0.15, double=0.1, reorder=0.3)

Patch = pytest.MonkeyPatch


class Mutant(NamedTuple):
    """A bug, and within how many seeds it must be caught; ``plan`` and ``links`` where ordinary worlds are too mild."""

    put: Callable[[Patch], None]
    seeds: int
    plan: Plan | None
    links: Pairs | None

    @property
    def name(self) -> str:
        return self.put.__name__

    def hunt(self) -> int | None:
        """The first seed that shows the bug."""
        with pytest.MonkeyPatch.context() as patch:
            self.put(patch)
            for seed in range(self.seeds):
                plan = msgspec.structs.replace(self.plan) if self.plan else None
                try:
                    World(seed, plan, self.links).run()
                except Violation:
                    return seed
        return None


MUTANTS: list[Mutant] = []


def mutant(
    seeds: int = 100, plan: Plan | None = None, links: Pairs | None = None
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Add the bug to those that must be caught."""

    def add(put: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTANTS.append(Mutant(put, seeds, plan, links))
        return put

    return add


@mutant()
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


@mutant()
def no_rewind(patch: Patch) -> None:
    """After a loss the sender goes on where it is."""
    patch.setattr(Sender, "rewind", lambda self, have: None)


@mutant(50, Plan(deeds=20, weather=LOSSY), PAIR)
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


@mutant()
def echo(patch: Patch) -> None:
    """What came by a link goes back over it."""
    patch.setattr(feed, "_from_peer", lambda entry, peer: False)


@mutant()
def sees_all(patch: Patch) -> None:
    """Every edit counts as made in knowledge of every other: the last to arrive wins, no conflict is noted."""
    for module in (clock, merge, apply):
        patch.setattr(module, "sees", lambda version, other: True)


@mutant()
def seal_without_plus_one(patch: Patch) -> None:
    """An edit takes the wall clock's time, even when it is behind what it replaces."""

    def edit(at: int, origin: bytes, known: Version | None) -> Version:
        return Version(at, origin) if known is None else clock.join(Version(at, origin), known)

    patch.setattr(sealing, "edit", edit)


@mutant()
def journal_not_sealed_before_merge(patch: Patch) -> None:
    """A local edit that commits just before an incoming one is applied is not looked at."""
    patch.setattr(apply.Applier, "_seal_rows", lambda self, rows: False)


@mutant()
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


@mutant()
def parked_is_forgotten(patch: Patch) -> None:
    """What cannot be applied is counted and dropped."""
    patch.setattr(FaultyBackend, "save_problems", lambda self, problems: None)


@mutant()
def losers_are_dropped(patch: Patch) -> None:
    """The losing value of a conflict is not kept."""
    patch.setattr(Ledger, "keep_loser", lambda self, write, field, mine, theirs: None)


@mutant(100, Plan(collisions=1.0), ((1, 0), (2, 1)))
def no_aliases(patch: Patch) -> None:
    """Two programs that recognise one record do not tell each other its names."""
    patch.setattr(MemoryBackend, "aliases", lambda self, records: {})


@mutant()
def new_value_under_old_stamp(patch: Patch) -> None:
    """What a record refers to is sent as it is now, with the stamps of its last seal."""
    patch.setattr(feed.FeedReader, "_seal_rows_of", lambda self, records: False)
    original = sealing.seal

    def half(backend: Any, setup: Any, rows: Any, numbering: Any) -> None:
        original(backend, setup, list(rows)[::2], numbering)

    patch.setattr(store, "seal", half)


@mutant()
def via_forgotten(patch: Patch) -> None:
    """An applied value does not remember the link that it came by."""
    patch.setattr(apply, "Entry", lambda version, seq, via, parts=(): Entry(version, seq, 0, parts))
