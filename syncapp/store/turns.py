"""The order in which new records are recognised whose match fields refer to other new records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from syncapp.store.parked import Incoming


class Turns(NamedTuple):
    """uids of records that come after others of the same wave, and of those that wait for what is not in it."""

    later: set[bytes]
    never: set[bytes]


def turns(wave: Iterable[Incoming], waiting: Mapping[bytes, bytes | None]) -> Turns:
    """``waiting``: record → what the match field refers to that nobody here knows yet.

    Records that wait for each other, round a ring, have no turn: none of them can be a row that is here. So they are
    in neither set.
    """
    owner = {name: change.uid for change in wave for name in change.names}
    result = Turns(set(), set())
    for uid in waiting:
        end = _follow(uid, owner, waiting)
        if end in waiting:
            continue
        (result.later if end is not None else result.never).add(uid)
    return result


def _follow(uid: bytes, owner: Mapping[bytes, bytes], waiting: Mapping[bytes, bytes | None]) -> bytes | None:
    """The record that ``uid`` waits for in the end; None where that is not in the wave, itself for one in a ring."""
    seen = {uid}
    while uid in waiting:
        missing = waiting[uid]
        following = owner.get(missing) if missing is not None else None
        if following is None or following in seen:
            return following
        seen.add(following)
        uid = following
    return uid
