"""Values that change on their way: by a transform, or into a narrower type. Pure.

One stamp must never name two values. So the program that takes the changed value gives it a stamp of its own, one that
has seen the original; from there it travels on as an edit like any other. The stamp of the original stands in what
was seen, by which a repeated delivery is known.
"""

from __future__ import annotations

from syncapp.core.clock import Version, join, sees
from syncapp.core.merge import Merged, Outcome


def derive(theirs: Version, ours: Version | None, origin: bytes) -> Version:
    """The version of a value made of the one that ``theirs`` names: ``origin``'s own, above all that it replaces."""
    time = theirs.time + 1
    if ours is not None and ours.stamp >= (time, origin):
        time = ours.time + 1
    version = join(Version(time, origin), theirs)
    return version if ours is None else join(version, ours)


def merge_derived(
    ours: Version | None, theirs: Version | None, *, equal: bool, from_there: bool, origin: bytes
) -> Merged:
    """Merge a changed value into ours, which never goes back to the peer.

    ``from_there``: ours came over the same road, so the new one follows it, whoever has edited it in between.
    ``equal``: the changed value is ours. Coming round a ring to where it has been, it must not start another round.
    A local edit loses to the source's next value.
    """
    if theirs is None:
        return Merged(Outcome.BASELINE, ours)
    if ours is None:
        return Merged(Outcome.APPLY, derive(theirs, None, origin))
    if ours.stamp != theirs.stamp and sees(ours, theirs):
        return Merged(Outcome.DUPLICATE if equal else Outcome.KEEP, join(ours, theirs))
    known = sees(theirs, ours)
    if equal and known:
        return Merged(Outcome.DUPLICATE, join(ours, theirs))
    lost = not (equal or known or from_there)
    return Merged(Outcome.CONFLICT_APPLY if lost else Outcome.APPLY, derive(theirs, ours, origin))
