"""The sending half of a live session: position in our feed, what is in flight, when to read again.

``sent`` is where the last batch ended (what the next one starts from), ``position`` how far we have looked: records
that came from the peer itself are skipped, so position may run ahead of sent. ``confirmed`` is the peer's ack.

A record stands in the feed once, at its latest number, so one that keeps changing moves away in front of the reader.
Only a read that reaches the end of the feed has met all records: such an end, once acknowledged, is *clear*.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from syncapp.core.changes import START, Batch, Cursor, Fate, RowKind, Totals
from syncapp.core.effects import Acked, Read
from syncapp.core.policy import ReadSize

MAX_IN_FLIGHT = 4
#: Acknowledgements are stored at most this often, µs.
STORE_EVERY = 150_000
#: A skipped stretch this long is told to the peer at once, so that a reconnect need not look through it again.
ADVANCE_AFTER = 20_000


class _Flight(NamedTuple):
    end: Cursor
    size: int
    at: int
    whole: list[bytes]


class Sender:
    """Decides what to read and when; pure bookkeeping for `Session`."""

    def __init__(self, interval: int, linger: int) -> None:
        self._interval = interval
        self._linger = linger
        self._window = 0
        self._reading = False
        self._stale = False  # the read under way was asked for before a rewind
        self._last_read = -(10**18)
        self._size = ReadSize()
        self._flights: deque[_Flight] = deque()
        self._skipped_at = 0
        self._pending: Acked | None = None
        self._last_stored = -(10**18)
        self.dirty = True
        self.storing = False
        self.sent = self.position = self.confirmed = START
        self._stored = START
        self._furthest = 0
        self._wanted = False
        self._ends: deque[int] = deque()  # where reads reached the end of the feed
        self._whole = -1  # the last of them: up to there all records have been met, wherever they stand now
        self._clear = 0
        self._unheard = False

    def expect(self, have: Cursor) -> None:
        """The peer says that it has our feed up to there; it may acknowledge as much before we begin."""
        self._furthest = have.seq

    def pace(self, interval: int) -> None:
        """Read at most once in ``interval`` µs from now on; 0 = at once."""
        self._interval = interval

    def begin(self, have: Cursor, position: Cursor, window: int) -> None:
        """The peer has our feed up to ``have``; there is nothing for it up to ``position``."""
        self.sent = self.confirmed = have
        self.position = self._stored = position if position.seq > have.seq else have
        self._furthest = have.seq
        self._window = window
        self.dirty = True

    # -- reading --

    def next_read(self, now: int) -> Read | None:
        """The next read, if one is due; counts as begun."""
        if not self.dirty or self._reading or self._full() or now < self._read_at():
            return None
        self._reading, self.dirty, self._last_read = True, False, now
        return Read(self.position, self._size.records)

    def _full(self) -> bool:
        return len(self._flights) >= MAX_IN_FLIGHT or sum(f.size for f in self._flights) >= self._window

    def _read_at(self) -> int:
        # While a batch is under way a short wait lets more changes share the next one; idle, there is none.
        if self._interval:
            return self._last_read + self._interval
        return self._last_read + self._linger if self._flights else 0

    def read_done(self, end: Cursor, more: bool) -> bool:
        """Note the end of a read; False when its result is of no use (rewound, or the peer has it by now)."""
        self._reading = False
        stale, self._stale = self._stale, False
        if stale:
            self.dirty = True
            return False
        self._size.seen(full=more)
        if more:
            self.dirty = True
        elif end.seq >= self.position.seq:
            self._reached(end.seq)
        return end.seq > self.position.seq

    def pass_over(self, before: Cursor, after: Cursor) -> None:
        """The feed grew from ``before`` to ``after`` by what this peer sent: if all before was read, so is that.

        A read that was cut short has not met what moved on to behind its place, though nothing else came since.
        """
        if not self._reading and after.seq > before.seq == self.position.seq == self._whole:
            self.position = after
            self._reached(after.seq)

    def _reached(self, end: int) -> None:
        self._whole = end
        self._ends.append(end)

    def skip(self, position: Cursor) -> None:
        """Nothing for the peer up to ``position``."""
        self.position = position

    def sends(self, have: Cursor) -> bool:
        """Whether ``have`` can be an acknowledgement: something that we sent in this session, or began after."""
        return have.seq <= self._furthest

    def sent_batch(self, batch: Batch, size: int, now: int) -> None:
        whole = [row.uid for s in batch.sections for row in s.rows if row.kind == RowKind.WHOLE]
        self._flights.append(_Flight(batch.end, size, now, whole))
        self.sent = batch.end
        self._furthest = max(self._furthest, batch.end.seq)
        if batch.end.seq > self.position.seq:
            self.position = batch.end

    def advance(self, now: int, after: int) -> Batch | None:
        """An empty batch that moves the peer's cursor over a skipped stretch, or asks for a lost acknowledgement."""
        gap = self.position.seq - self.sent.seq
        if self._unheard and not self._flights and not self._reading:
            self._unheard = False
            return Batch(self.sent, self.position, [], [])
        if gap <= 0 or self._flights or self._reading:
            self._skipped_at = 0
            return None
        if not self._skipped_at:
            self._skipped_at = now
        if gap < ADVANCE_AFTER and now < self._skipped_at + after:
            return None
        self._skipped_at = 0
        return Batch(self.sent, self.position, [], [])

    # -- acknowledgements --

    def acked(self, have: Cursor, parked: set[bytes] | None) -> list[bytes]:
        """The peer has everything up to ``have``; returns records that went whole and are now on both sides.

        ``parked``: those that it could not take, by its account of the batch that ends there; None where there is no
        account. A batch whose own account was lost confirms nothing: its records go whole once more, which is harmless.
        """
        confirmed: list[bytes] = []
        while self._flights and self._flights[0].end.seq <= have.seq:
            flight = self._flights.popleft()
            if parked is not None and flight.end.seq == have.seq:
                confirmed += [uid for uid in flight.whole if uid not in parked]
        while self._ends and self._ends[0] <= have.seq:
            self._clear = self._ends.popleft()
        if have.seq > self.confirmed.seq:
            self.confirmed = have
        if have.seq > self.sent.seq:
            self.sent = have
        if have.seq > self.position.seq:
            self.position = have
        return confirmed

    def unheard(self, have: Cursor) -> None:
        """A pong tells of progress whose acknowledgement was lost: an empty batch will bring the account anew."""
        self.acked(have, None)
        self.note(have, None, [], [], [])
        self._unheard = True

    def rewind(self, have: Cursor) -> None:
        """Something was lost on the way: send again from ``have``."""
        self._flights.clear()
        self._ends.clear()
        self._whole = -1
        self.sent = self.position = have
        self._stale = self._reading
        self.dirty = True

    def lost_check(self, have: Cursor, received: Cursor, pinged_at: Cursor) -> None:
        """A pong: batches sent before its ping that did not arrive are lost."""
        if self._flights and self._flights[0].end.seq <= pinged_at.seq and received.seq < pinged_at.seq:
            self.rewind(have)

    def note(
        self,
        have: Cursor,
        totals: Totals | None,
        fates: list[Fate],
        want: list[bytes],
        confirmed: list[bytes],
    ) -> None:
        """Remember an acknowledgement until it can be stored; several become one."""
        whole = have.seq if confirmed else 0
        if self._pending is None:
            self._pending = Acked(self._stored, have, totals, fates, want, confirmed, self._clear, whole)
            return
        p = self._pending
        end = have if have.seq > p.have.seq else p.have
        newest = max((t for t in (totals, p.totals) if t is not None), key=lambda t: t.received, default=None)
        fates, want, confirmed = p.fates + fates, p.want + want, p.confirmed + confirmed
        whole = min(filter(None, (whole, p.whole)), default=0)
        self._pending = Acked(p.start, end, newest, fates, want, confirmed, self._clear, whole)

    def take_ack(self, now: int) -> Acked | None:
        """The acknowledgement to store now, if one is due and none is being stored."""
        if self.storing or self._pending is None or now < self._store_at():
            return None
        ack, self._pending = self._pending, None
        self.storing = True
        self._last_stored = now
        self._wanted = bool(ack.want)
        if ack.have.seq > self._stored.seq:
            self._stored = ack.have
        return ack

    def _store_at(self) -> int:
        # Storing costs a commit. The peer's own cursor is what counts after a cut, so that a stream of
        # acknowledgements may share one; whole records are remembered at once, or they would go whole again.
        p = self._pending
        urgent = p is not None and (p.confirmed or p.want)
        return 0 if urgent else self._last_stored + STORE_EVERY

    def stored(self) -> None:
        """The acknowledgement taken last is stored; what it wanted stands in the feed anew."""
        self.storing = False
        self.dirty = self.dirty or self._wanted

    # -- time --

    def oldest_sent(self) -> int | None:
        """When the oldest batch in flight was sent."""
        return self._flights[0].at if self._flights else None

    def touch_oldest(self, now: int) -> None:
        """The oldest batch in flight is being asked about: do not ask again at once."""
        if self._flights:
            self._flights[0] = self._flights[0]._replace(at=now)

    def deadlines(self, advance: int) -> list[int]:
        """When something here becomes due by time alone."""
        found = []
        if self.dirty and not self._reading and not self._full():
            found.append(self._read_at())
        if self._skipped_at:
            found.append(self._skipped_at + advance)
        if self._pending is not None and not self.storing:
            found.append(self._store_at())
        return found
