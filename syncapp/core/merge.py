"""Merging: what an incoming field value does to the local one. Pure; the store writes what it decides.

A field's state is a last-writer-wins register with a dotted version vector: the greater stamp wins, and the seen
maps are joined. The join is commutative, associative and idempotent, so any order and any repetition of the
same versions ends in the same state.

A policy is asked only about a true conflict: two edits, neither of which knew of the other. Where one side always
wins, its value stays whatever the stamps say, and having seen the loser it is above it wherever it goes. Where a
person is to decide, nothing is joined: both programs keep what they have until somebody's edit has seen both.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from syncapp.core.clock import Version, join, sees
from syncapp.core.rules import Stance


class Outcome(Enum):
    """What becomes of an incoming field value."""

    APPLY = "applied"  # write it: ours was known to its author, or we had none
    CONFLICT_APPLY = "applied, ours lost"  # write it and keep our value in the conflict list
    KEEP = "superseded"  # ours is later and knew it
    CONFLICT_KEEP = "superseded, theirs lost"  # keep ours and keep the incoming value in the conflict list
    DUPLICATE = "duplicate"  # we have it
    BASELINE = "baseline"  # an unversioned value: used only to create the record
    ASK = "ask"  # a person decides: ours stays as it is, theirs waits

    @property
    def writes(self) -> bool:
        return self in (Outcome.APPLY, Outcome.CONFLICT_APPLY)

    @property
    def conflict(self) -> bool:
        return self in (Outcome.CONFLICT_APPLY, Outcome.CONFLICT_KEEP)


class Merged(NamedTuple):
    """The outcome, and the version that the field has afterwards (None: still unversioned)."""

    outcome: Outcome
    version: Version | None


def merge_field(
    ours: Version | None, theirs: Version | None, *, equal: bool, stance: Stance = Stance.LATEST
) -> Merged:
    """Merge an incoming version into ours. ``equal``: whether both values are the same (then nothing is lost).

    ``stance``: what the field's policy says of a conflict on this link, seen from here.
    """
    if theirs is None:
        return Merged(Outcome.BASELINE, ours)
    if ours is None:
        return Merged(Outcome.APPLY, theirs)
    if ours.stamp == theirs.stamp:
        return Merged(Outcome.DUPLICATE, join(ours, theirs))
    if sees(theirs, ours):
        return Merged(Outcome.APPLY, join(theirs, ours))
    if sees(ours, theirs):
        return Merged(Outcome.KEEP, join(ours, theirs))
    if equal or stance is Stance.LATEST:
        taken = theirs.stamp > ours.stamp
    elif stance is Stance.ASK:
        return Merged(Outcome.ASK, ours)
    else:
        taken = stance is Stance.THEIRS
    if taken:
        return Merged(Outcome.APPLY if equal else Outcome.CONFLICT_APPLY, join(theirs, ours))
    return Merged(Outcome.KEEP if equal else Outcome.CONFLICT_KEEP, join(ours, theirs))
