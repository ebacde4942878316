"""Hybrid logical time: stamps, and what an edit's author had seen.

Times are integers: microseconds since 1970 UTC. A *stamp* (time, origin) names one edit of one field of one
record. A *version* is a stamp together with a small map origin → highest stamp time that its author had
seen for that field, so that a real conflict can be told from an ordinary later edit.

The hybrid clock follows Kulkarni et al., "Logical Physical Clocks" (2014), reduced to one integer: an edit's
time is the wall clock's, or one more than the greatest time it has seen. The seen map is a dotted version
vector (Preguiça et al., 2010) whose own entry is implied by the stamp.
"""

from __future__ import annotations

from typing import NamedTuple


def make_origin(instance: bytes, epoch: int) -> bytes:
    """The 20-byte origin of ``instance`` (16 bytes) in ``epoch``; compares by instance, then epoch."""
    if len(instance) != 16:
        raise ValueError("an instance id has 16 bytes")
    return instance + epoch.to_bytes(4, "big")


def instance_of(origin: bytes) -> bytes:
    """The instance id (16 bytes) within ``origin``."""
    return origin[:16]


def epoch_of(origin: bytes) -> int:
    """The epoch within ``origin``."""
    return int.from_bytes(origin[16:], "big")


#: Epochs are numbers of 31 bits.
LAST_EPOCH = 2**31 - 1
_EPOCHS_BEGIN = 1_577_836_800  # 2020-01-01, in seconds since 1970


def next_epoch(now: int, known: int) -> int:
    """An epoch above ``known`` that no other copy of the database takes, at ``now`` (µs): the second it begins in.

    Counting alone would give a number twice: a database that is restored twice does not know of the first time.
    """
    return min(max(known + 1, now // 1_000_000 - _EPOCHS_BEGIN), LAST_EPOCH)


class Version(NamedTuple):
    """One edit of one field: its stamp and what its author had seen.

    ``seen`` is sorted by origin and never names ``origin`` itself: an origin's own earlier edits are implied.
    """

    time: int
    origin: bytes
    seen: tuple[tuple[bytes, int], ...] = ()

    @property
    def stamp(self) -> tuple[int, bytes]:
        """What orders two versions: time, then origin."""
        return (self.time, self.origin)


def sees(version: Version, other: Version) -> bool:
    """Whether the author of ``version`` knew ``other`` (a version sees itself)."""
    if version.origin == other.origin:
        return version.time >= other.time
    for origin, time in version.seen:
        if origin == other.origin:
            return time >= other.time
    return False


def join(winner: Version, loser: Version) -> Version:
    """``winner``, knowing in addition all that ``loser`` is and had seen."""
    if winner.origin == loser.origin:
        # By far the most frequent: one program goes on editing what it has edited before.
        if not loser.seen or loser.seen == winner.seen:
            return winner
        if not winner.seen:
            return Version(winner.time, winner.origin, loser.seen)
    seen = dict(winner.seen)
    for origin, time in (*loser.seen, (loser.origin, loser.time)):
        if origin != winner.origin and seen.get(origin, -1) < time:
            seen[origin] = time
    if len(seen) == len(winner.seen) and tuple(sorted(seen.items())) == winner.seen:
        return winner
    return Version(winner.time, winner.origin, tuple(sorted(seen.items())))


def edit(at: int, origin: bytes, known: Version | None) -> Version:
    """The version of an edit made at wall time ``at`` by ``origin`` over ``known``: it beats what it has seen."""
    if known is None:
        return Version(at, origin)
    newest = max(known.time, *(time for _, time in known.seen)) if known.seen else known.time
    return join(Version(at if at > newest else newest + 1, origin), known)
