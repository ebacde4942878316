"""Deliberate bugs, to see that the simulation catches them: each breaks an invariant within a number of seeds.

A mutant is a function that puts its bug in with monkeypatch. Only a `Violation` counts as caught: an error of the
mutant itself, whose patch no longer fits, does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from syncapp.core import clock, liveness, merge, parts, rules
from syncapp.core.changes import Entry
from syncapp.core.clock import Version
from syncapp.core.rules import Policy
from syncapp.core.session import Session
from syncapp.core.streaming import Sender
from syncapp.store import apply, choices, combining, feed, graves, joining, runs, sealing, store, waited
from syncapp.store.ledger import Ledger
from syncapp.store.memory import MemoryBackend
from tests.simulation.faults import FaultyBackend
from tests.simulation.network import Weather
from tests.simulation.oracle import Violation
from tests.simulation.topology import PAIR, Pairs
from tests.simulation.traits import Traits
from tests.simulation.world import Plan, World

LOSSY = Weather(lossy=True, delay=50_000, drop=0.15, double=0.1, reorder=0.3)

Patch = pytest.MonkeyPatch


class Mutant(NamedTuple):
    """A bug, and within how many seeds it must be caught; ``plan``, ``links`` and ``traits`` where ordinary worlds are
    too mild."""

    put: Callable[[Patch], None]
    seeds: int
    plan: Plan | None
    links: Pairs | None
    traits: Traits | None

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
                    World(seed, plan, self.links, traits=self.traits).run()
                except Violation:
                    return seed
        return None


MUTANTS: list[Mutant] = []


def mutant(
    seeds: int = 100,
    plan: Plan | None = None,
    links: Pairs | None = None,
    traits: Traits | None = None,
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Add the bug to those that must be caught."""

    def add(put: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTANTS.append(Mutant(put, seeds, plan, links, traits))
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


@mutant(traits=Traits(joined=True))
def sums_are_chosen_between(patch: Patch) -> None:
    """Of two sums the later one stays, with what it knew of the other."""

    def later(one: parts.Parts, other: parts.Parts) -> parts.Parts:
        return max(one, other, key=lambda found: max((part[1] for part in found), default=0))

    patch.setattr(joining, "join_parts", later)


@mutant(traits=Traits(joined=True))
def removals_are_no_parts(patch: Patch) -> None:
    """What is taken out of a union is forgotten, so that whoever has it still brings it back."""
    original = parts.change_union

    def change(known: parts.Parts, added: Any, removed: Any, origin: bytes, time: int) -> parts.Parts:
        left = tuple(part for part in known if part[0] not in removed)
        return original(left, added, (), origin, time)

    patch.setattr(combining, "change_union", change)


#: Everybody edits the same records and decides about them.
RULED = Traits(policies={("client", "name"): Policy.ASK, ("client", "note"): Policy.PASSIVE})
QUARRELS = Plan(deeds=60, pace=100_000, weather=Weather(delay=300_000))


@mutant(plan=QUARRELS, links=PAIR, traits=RULED)
def everybody_is_the_side_that_wins(patch: Patch) -> None:
    """Under a policy with sides each program takes itself for the one whose value stays."""
    patch.setattr(
        apply, "stance", lambda policy, *, active: rules.stance(policy, active=policy is Policy.ACTIVE)
    )


@mutant(plan=QUARRELS, links=PAIR, traits=RULED)
def answers_see_nothing(patch: Patch) -> None:
    """An answer to a question is an edit that knows nothing of the other program's value."""
    original = choices.Decision

    def decision(uid: bytes, field: int, value: Any, seen: Any = (), **options: Any) -> Any:
        return original(uid, field, value, (), **options)

    patch.setattr(choices, "Decision", decision)


@mutant(plan=QUARRELS, links=PAIR, traits=RULED)
def answers_keep_no_loser(patch: Patch) -> None:
    """What an answer did not take is not kept."""
    original = choices.portable_rows

    def rows(backend: Any, setup: Any, numbering: Any, rows: Any) -> Any:
        return [row for row in original(backend, setup, numbering, rows) if row.resolved != "decided"]

    patch.setattr(choices, "portable_rows", rows)


MORTAL = Traits(deaths=True)
DEATHS = Plan(deeds=50, pace=100_000, weather=Weather(delay=300_000))


@mutant(600, plan=DEATHS, links=((1, 0), (1, 2)), traits=MORTAL)
def late_edits_revive(patch: Patch) -> None:
    """Any edit that a deletion had not seen brings the record back, however old it is."""

    def on_edits(grave: Version | None, edits: Any) -> Any:
        newer, lost = liveness.on_edits(grave, edits)
        return newer + [edits[field] for field in lost], ()

    patch.setattr(graves, "on_edits", on_edits)


@mutant(300, plan=DEATHS, links=((1, 0), (1, 2), (3, 1)), traits=MORTAL)
def what_met_a_grave_is_not_told_again(patch: Patch) -> None:
    """A program whose edit came too late for one that brings the record back by another way says nothing of it."""
    patch.setattr(graves.Graves, "missed", lambda self, write: [])


PUT_BACK = Traits(joined=True, restores=True)
SLOW = Plan(deeds=60, pace=400_000, work=300_000, weather=Weather(delay=800_000))


@mutant(plan=SLOW, links=PAIR, traits=PUT_BACK)
def edits_after_a_restore_are_stamped_as_before(patch: Patch) -> None:
    """A program that may have been put back from a backup goes on in its epoch before anybody has told it."""
    patch.setattr(runs.Run, "origin", lambda self, backend, origin: origin)


@mutant(300, plan=SLOW, links=PAIR, traits=PUT_BACK)
def what_waited_is_counted_twice(patch: Patch) -> None:
    """What was added to a sum before the backup was made, and sealed after it, is added once more."""
    patch.setattr(waited.Waited, "take_out", lambda self, place, parts, came, places: parts)
