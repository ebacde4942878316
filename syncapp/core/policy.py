"""Decisions that depend on time and chance only: backoff, read sizes. Randomness is handed in."""

from __future__ import annotations

from collections.abc import Callable

SECOND = 1_000_000


class Backoff:
    """Exponential delays with full jitter between half and the whole (after AWS, "Exponential Backoff and Jitter").

    Reset it only by authenticated progress: a server that accepts and hangs up must not cause a hot loop.
    ``rng`` gives a float in [0, 1). Delays are in µs.
    """

    def __init__(self, rng: Callable[[], float], first: int = SECOND // 2, most: int = 30 * SECOND) -> None:
        self._rng = rng
        self._first = first
        self._most = most
        self.attempt = 0

    def next(self, most: int | None = None) -> int:
        """The delay before the next attempt, which this call counts; ``most``: another longest delay for now."""
        whole = min(most or self._most, self._first << min(self.attempt, 20))
        self.attempt += 1
        return int(whole * (0.5 + 0.5 * self._rng()))

    def reset(self) -> None:
        self.attempt = 0


#: Bounds of one read: few records when idle (latency), many under load (throughput).
READ_MIN, READ_MAX = 64, 4096
BATCH_BYTES = 512 * 1024


class ReadSize:
    """How many records to read next: grows while reads come back full, shrinks when they do not."""

    def __init__(self) -> None:
        self.records = READ_MIN

    def seen(self, *, full: bool) -> None:
        """Tell whether the last read had more behind it."""
        if full:
            self.records = min(READ_MAX, self.records * 2)
        else:
            self.records = max(READ_MIN, self.records // 2)
