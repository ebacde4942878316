"""Signs of life in a session: when to ping, what an answer tells, when the peer counts as gone."""

from __future__ import annotations

from syncapp.core.changes import Cursor
from syncapp.core.states import Timing


class Life:
    """Bookkeeping for `Session`; moments are monotonic, µs. ``pings``: this side pings when the peer is silent."""

    def __init__(self, timing: Timing, now: int, *, pings: bool) -> None:
        self.last_in = self.last_out = now
        self._timing = timing
        self._pings = pings
        self._number = 0
        self._asked: int | None = None  # when the unanswered ping was sent
        self._behind: Cursor | None = None

    def pinged(self, now: int, behind: Cursor | None) -> int:
        """A ping is sent: its number. ``behind``: it travels behind the batches up to there; None: it may overtake."""
        self._number += 1
        self._asked, self._behind = now, behind
        return self._number

    def answered(self, number: int) -> Cursor | None:
        """A pong came. Returns up to where all batches must have arrived before it, if it tells."""
        if not number or number != self._number or self._asked is None:
            return None
        self._asked = None
        return self._behind

    def deadline(self) -> int:
        """When the peer counts as gone. A ping that waits behind long batches is given more time."""
        silent = self.last_in + self._timing.silence
        if self._asked is None or self._behind is not None:
            return silent
        return min(silent, max(self._asked, self.last_in) + self._timing.grace)

    def ping_due(self, oldest: int | None) -> int | None:
        """When to ask: for a sign of life, or whether what was sent at ``oldest`` arrived."""
        if self._asked is not None:  # other messages may come while the answer to this one was lost
            return self._asked + self._timing.silence
        due = [self.last_in + self._timing.heartbeat] if self._pings else []
        if oldest is not None:
            due.append(oldest + self._timing.heartbeat)
        return min(due, default=None)

    def quiet(self, now: int) -> bool:
        """Whether nothing was sent for so long that the peer may wonder, while a long message of its own comes in."""
        return now - self.last_out > self._timing.grace // 3
