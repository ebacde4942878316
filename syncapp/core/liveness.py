"""Whether a record lives: *record status* as one more last-writer-wins field, and its tie to the other fields. Pure.

The status of a record has a version like any field; its value is alive or deleted. What makes it special:

- A deletion has seen all that its author knew of the record (`bury`), and is dated above it.
- An edit that a deletion had not seen and that is dated above it says that somebody still works with the record: it
  *revives* the record. The revival is a status of its own, dated just above that edit: it is the edit's consequence
  and no new decision, so that a deletion which a person made after the edit still wins.
- Edits below the deletion's date are lost with the record; those that it had not seen are named, to be kept.

Two-way everywhere, a record therefore ends alive exactly if its newest edit or revival is dated above its newest
deletion, whatever the order in which programs hear of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from syncapp.core.clock import Version, edit, join, sees
from syncapp.core.merge import Merged, Outcome, merge_field


class Ruling(Enum):
    """What becomes of news about a record's life."""

    DELETE = "delete"  # the record goes; what it had in edits that nobody saw is lost
    REVIVE = "revive"  # the record is alive (again), with a status that has seen the deletion
    LOST = "lost"  # the news lost a real conflict: it is worth remembering
    SUPERSEDED = "superseded"  # the news is older than what is known, which had seen it
    DUPLICATE = "duplicate"


class Judgement(NamedTuple):
    """The ruling, the status version that the record has afterwards, and the fields whose edits were lost unseen."""

    ruling: Ruling
    version: Version
    lost: tuple[int, ...] = ()


def known_together(versions: Iterable[Version | None]) -> Version | None:
    """The newest of ``versions``, having seen all the others."""
    known: Version | None = None
    for version in versions:
        if version is None:
            continue
        if known is None:
            known = version
        else:
            known = join(known, version) if known.stamp >= version.stamp else join(version, known)
    return known


def bury(at: int, origin: bytes, versions: Iterable[Version | None]) -> Version:
    """The status version of a deletion made at wall time ``at`` by ``origin``, who knew all of ``versions``."""
    return edit(at, origin, known_together(versions))


def on_deletion(
    status: Version | None,
    edits: Mapping[int, Version],
    theirs: Version,
    origin: bytes,
    *,
    revives: bool,
    one_way: bool = False,
) -> Judgement:
    """A deletion comes for a living record.

    ``edits``: the versions of its fields; ``revives``: whether a newer edit keeps the record alive; ``one_way``: the
    status only comes in here, so that the source's word holds whatever its date.
    """
    merged = merge_field(status, theirs, equal=False)
    if one_way:
        merged = source_wins(merged, status, theirs, origin)
    assert merged.version is not None
    if not merged.outcome.writes:
        return Judgement(_NOT_TAKEN[merged.outcome], merged.version)
    unseen = {field: version for field, version in edits.items() if not sees(theirs, version)}
    newer = [version for version in unseen.values() if version.stamp > theirs.stamp]
    if newer and revives:
        return Judgement(Ruling.REVIVE, revival(merged.version, newer, origin))
    version = merged.version
    for lost in unseen.values():
        version = join(version, lost)
    if newer:  # else the edits would count as newer wherever the deletion goes from here
        version = edit(max(lost.time for lost in newer) + 1, origin, version)
    return Judgement(Ruling.DELETE, version, tuple(sorted(unseen)))


def on_edits(
    grave: Version | None, edits: Mapping[int, Version | None]
) -> tuple[list[Version], tuple[int, ...]]:
    """Edits come for a dead record: those that are news to its deletion and above it, and the fields of those below it.

    Without a ``grave`` (nobody dated the deletion) nothing is above it.
    """
    if grave is None:
        return [], ()
    unseen = {f: version for f, version in edits.items() if version is not None and not sees(grave, version)}
    newer = [version for version in unseen.values() if version.stamp > grave.stamp]
    return newer, tuple(sorted(f for f, version in unseen.items() if version.stamp < grave.stamp))


def on_alive(
    grave: Version | None, theirs: Version, origin: bytes, *, alive: bool, one_way: bool = False
) -> Judgement:
    """The word "alive" comes for a record whose status here is ``grave``; ``alive``: whether that says the same."""
    merged = merge_field(grave, theirs, equal=alive)
    if one_way:
        merged = source_wins(merged, grave, theirs, origin)
    assert merged.version is not None
    if merged.outcome.writes:
        return Judgement(Ruling.REVIVE, merged.version)
    return Judgement(_NOT_TAKEN[merged.outcome], merged.version)


def revival(status: Version, edits: Iterable[Version], origin: bytes) -> Version:
    """The status "alive" as the consequence of ``edits`` that a deletion had not seen."""
    known = known_together([status, *edits])
    assert known is not None
    return edit(known.time, origin, known)


def returned(known: Version | None, theirs: Version | None, origin: bytes) -> tuple[Version | None, bool]:
    """The version of a field of a record that comes back, and whether it had to be dated anew.

    The value is the one that came. If this program had a later version when the record died, that version names
    a value that is gone with the row; the value that came takes its place as an edit made in knowledge of both.
    """
    if known is None or (theirs is not None and theirs.stamp == known.stamp):
        return (theirs if known is None or theirs is None else join(theirs, known)), False
    if theirs is not None and (theirs.stamp > known.stamp or sees(theirs, known)):
        return join(theirs, known), False
    return edit(known.time, origin, known if theirs is None else join(known, theirs)), True


def source_wins(merged: Merged, ours: Version | None, theirs: Version, origin: bytes) -> Merged:
    """One-way: what was decided here loses to the source's next word, which then needs a stamp above it."""
    if merged.outcome is not Outcome.CONFLICT_KEEP or ours is None:
        return merged
    restamped = join(join(Version(max(ours.time, theirs.time) + 1, origin), theirs), ours)
    return Merged(Outcome.CONFLICT_APPLY, restamped)


_NOT_TAKEN = {
    Outcome.DUPLICATE: Ruling.DUPLICATE,
    Outcome.KEEP: Ruling.SUPERSEDED,
    Outcome.CONFLICT_KEEP: Ruling.LOST,
}
