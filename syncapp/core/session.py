"""The live conversation with a peer as a state machine without input or output.

Feed it frames, answers and the time; drain `Session.effects` for what is to be done: frames to send, questions to
the store or to the password, the end. `TRANSITIONS` says which message is allowed in which state; anything else
is a protocol error. Nothing but the handshake is read or sent before both sides are authenticated.

The shape follows h2 and aioquic: feed → effects, ``now`` in, next deadline out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from syncapp import errors
from syncapp.core import effects as fx
from syncapp.core.changes import START, Batch, Cursor, Fate, Totals
from syncapp.core.codec import Decoder, Encoder, Form, Frame
from syncapp.core.life import Life
from syncapp.core.messages import (
    PROTOCOL,
    Ack,
    Bye,
    Challenge,
    Changes,
    Hello,
    Lease,
    Leased,
    Limits,
    Message,
    Open,
    Ping,
    Pong,
    Proof,
    Proved,
)
from syncapp.core.policy import SECOND
from syncapp.core.refusals import clock_error, said, version_error
from syncapp.core.series import Grant, Report
from syncapp.core.states import ANSWERS, LEADS_TO, TRANSITIONS, Now, Role, State, Timing
from syncapp.core.streaming import Sender

__all__ = ["ANSWERS", "LEADS_TO", "TRANSITIONS", "Now", "Role", "Session", "State", "Timing"]

#: The largest message that is read from a side that has not proved who it is.
HANDSHAKE_MESSAGE = 64 * 1024
#: How many windows of batches may wait to be applied: after a loss the peer sends again what is still under way.
WINDOWS_WAITING = 4
#: Messages about numbers that a peer may send before we have agreed.
EARLY_MOST = 16


class Session:
    """One conversation. Not thread-safe; every method that takes ``now`` may add to ``effects``."""

    def __init__(
        self,
        role: Role,
        now: Now,
        *,
        software: str,
        code: str = "",
        limits: Limits | None = None,
        timing: Timing | None = None,
        clock_bound: int = 300 * SECOND,
        encoder: Encoder | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        self.role = role
        self.state = State.AWAIT_OPEN if role is Role.PASSIVE else State.START
        self.effects: deque[fx.Effect] = deque()
        self.limits = limits or Limits()
        self.timing = timing or Timing()
        self.peer: Hello | None = None
        self.peer_software = ""
        self.clock_offset = 0
        self.version = PROTOCOL[1]
        self._software = software
        self._code = code
        self._clock_bound = clock_bound
        self._encoder = encoder or Encoder()
        self._decoder = decoder or Decoder(self.limits.max_message)
        self._max_message = self._decoder.max_message
        self._decoder.max_message = min(HANDSHAKE_MESSAGE, self._max_message)
        self._opened = now
        self._life = Life(self.timing, now.mono, pings=role is Role.ACTIVE)
        self._greeted = False
        self._proof: Proved | None = None
        self._sender = Sender(self.timing.interval, self.timing.linger)
        self._applied = START
        self._received = START
        # How many changes our newest account tells of, and the peer's newest that we have heard.
        self._account = self._heard = 0
        self._queue: deque[tuple[Batch, int]] = deque()
        self._waiting = 0  # bytes of the batches received and not applied
        self._message_size = 0
        self._applying = False
        self._gap_told = False
        self._early: list[Lease | Leased] = []

    # -- the handshake ------------------------------------------------------------------------

    def start(self, client_first: str, now: Now) -> None:
        """Active side: open the conversation with SCRAM's client-first message."""
        self._answer("start")
        self._opened = now
        self._send(Open(PROTOCOL, self._software, self._code, client_first, now.wall), now)

    def _on_challenge(self, message: Challenge, now: Now) -> None:
        self.peer_software = message.software
        if not PROTOCOL[0] <= message.version <= PROTOCOL[1]:
            self.fail(
                version_error(self._software, message.software, (message.version, message.version)), now
            )
            return
        self.version = message.version
        self.clock_offset = message.clock - (self._opened.wall + now.wall) // 2
        if abs(self.clock_offset) > self._clock_bound:
            self.fail(clock_error(self.clock_offset, self._clock_bound), now)
            return
        self.effects.append(fx.MakeProof(message.scram))

    def proof(self, client_final: str, now: Now) -> None:
        """Active side: the answer to `effects.MakeProof`."""
        if self._answer("proof"):
            self._send(Proof(client_final, self.clock_offset), now)

    def _on_proved(self, message: Proved, now: Now) -> None:
        self._decoder.max_message = self._max_message  # a hello may follow while the proof is being checked
        self.effects.append(fx.CheckProof(message.scram))

    def peer_proved(self, now: Now) -> None:
        """Active side: the passive side knows the password too (the answer to `effects.CheckProof`)."""
        if self._answer("peer proved"):
            self.effects.append(fx.Greet())

    def _on_open(self, message: Open, now: Now) -> None:
        self.peer_software = message.software
        self._opened = now
        low, high = max(PROTOCOL[0], message.versions[0]), min(PROTOCOL[1], message.versions[1])
        if low > high:
            self.fail(version_error(self._software, message.software, message.versions), now)
            return
        self.version = high
        self.effects.append(fx.FindLink(message.code, message.scram))

    def challenge(self, server_first: str, now: Now) -> None:
        """Passive side: the answer to `effects.FindLink`."""
        if self._answer("challenge"):
            self._send(Challenge(self.version, self._software, server_first, now.wall), now)

    def _on_proof(self, message: Proof, now: Now) -> None:
        self.clock_offset = -message.offset
        self.effects.append(fx.VerifyProof(message.scram))

    def proved(self, server_final: str, now: Now) -> None:
        """Passive side: the proof was right (the answer to `effects.VerifyProof`).

        Our own proof goes out with our hello: by then the link is ours (see `store.meeting` for why that matters).
        """
        if self._answer("proved"):
            self._decoder.max_message = self._max_message
            if abs(self.clock_offset) > self._clock_bound:
                self._send(Proved(server_final), now)
                self.fail(clock_error(self.clock_offset, self._clock_bound), now)
                return
            self._proof = Proved(server_final)
            self.effects.append(fx.Greet())

    def greet(self, hello: Hello, now: Now) -> None:
        """Send our hello (the answer to `effects.Greet`)."""
        if self.state is not State.GREETING or self._greeted:
            return
        self._greeted = True
        self._applied = self._received = hello.have
        if self._proof is not None:
            self._send(self._proof, now)
        self._send(hello, now)
        self._maybe_agree()

    def _on_hello(self, message: Hello, now: Now) -> None:
        if self.peer is not None:
            self.fail(errors.UnexpectedMessage(message="hello", state=self.state.value), now)
            return
        self.peer = message
        self._sender.expect(message.have)
        self._maybe_agree()

    def _maybe_agree(self) -> None:
        if self._greeted and self.peer is not None and self.state is State.GREETING:
            self.state = State.AGREEING
            self.effects.append(fx.Agree(self.peer))

    def go(
        self,
        position: Cursor,
        now: Now,
        *,
        totals: Totals | None = None,
        want: Sequence[bytes] = (),
        peer_has: Cursor | None = None,
        have: Cursor | None = None,
    ) -> None:
        """Both agreed; our feed goes on after ``position`` (the answer to `effects.Agree`).

        ``totals`` and ``want`` repeat what the peer may not have heard: an acknowledgement dies with its connection.
        ``peer_has`` and ``have``: how far each has the other's feed, where that is not what the hellos said: a feed
        that has begun anew is met at its beginning.
        """
        if not self._answer("go"):
            return
        assert self.peer is not None
        if have is not None:
            self._applied = have
            self._received = self._queue[-1][0].end if self._queue else have
        self._sender.begin(
            self.peer.have if peer_has is None else peer_has, position, self.peer.limits.window
        )
        if totals is not None:
            self._account = totals.received
            self._send(Ack(self._applied, totals, [], list(want)), now)
        self._next_apply()
        for message in self._early:  # the peer was live before us
            self._on_numbers(message, now)
        self._early.clear()
        self._pump(now)

    # -- live: shared series of numbers -----------------------------------------------------------------------

    def numbers(self, reports: Sequence[Report], grants: Sequence[Grant], now: Now) -> None:
        """Say this of shared series; a side that has declared none in its hello is not spoken to."""
        if self.state is not State.LIVE or self.peer is None or not self.peer.series:
            return
        if reports:
            self._send(Lease(tuple(reports)), now)
        if grants:
            self._send(Leased(tuple(grants)), now)

    def _on_numbers(self, message: Lease | Leased, now: Now) -> None:
        if self.state is not State.LIVE:
            if len(self._early) >= EARLY_MOST:
                raise errors.ProtocolError(detail="too much said of numbers before the agreement")
            self._early.append(message)
        elif isinstance(message, Lease):
            self.effects.append(fx.Numbers(reports=message.reports))
        else:
            self.effects.append(fx.Numbers(grants=message.grants))

    # -- live: both feeds -------------------------------------------------------------------------------------

    @property
    def position(self) -> Cursor:
        """How far our feed was looked through for the peer."""
        return self._sender.position

    def pace(self, interval: int) -> None:
        """Send what is new at most once in ``interval`` µs; 0 = at once. (The passive side knows it late.)"""
        self._sender.pace(interval)

    def wake(self, now: Now) -> None:
        """There may be something new in our feed."""
        self._sender.dirty = True
        self._pump(now)

    def read_done(self, batch: Batch | None, position: Cursor, more: bool, now: Now) -> None:
        """The answer to `effects.Read`: what was found after the position asked for, and up to where we looked."""
        useful = self._sender.read_done(position if batch is None else batch.end, more)
        if self.state is not State.LIVE:
            return
        if useful and batch is not None:
            self._stream(batch, now)
        elif useful:
            self._sender.skip(position)
        self._pump(now)

    def _stream(self, batch: Batch, now: Now) -> None:
        batch = msgspec.structs.replace(batch, start=self._sender.sent)
        size = self._send(Changes(batch), now, bulk=True)
        self._sender.sent_batch(batch, size, now.mono)

    def _on_ack(self, message: Ack, now: Now) -> None:
        if not self._sender.sends(message.have):
            raise errors.ProtocolError(detail="an acknowledgement of what was never sent")
        parked = {fate.uid for fate in message.fates if fate.field == 0}
        confirmed = self._sender.acked(message.have, None if message.gap else parked)
        if message.gap:
            self._sender.rewind(message.have)
        self._sender.note(message.have, message.totals, message.fates, message.want, confirmed)
        self._heard = max(self._heard, message.totals.received)
        self._pump(now)

    def acked_done(self, now: Now) -> None:
        """The answer to `effects.Acked`: it is stored."""
        self._sender.stored()
        self._pump(now)

    def _pump(self, now: Now) -> None:
        if self.state is not State.LIVE:
            return
        ack = self._sender.take_ack(now.mono)
        if ack is not None:
            self.effects.append(ack)
        advance = self._sender.advance(now.mono, self.timing.advance)
        if advance is not None:
            self._stream(advance, now)
        read = self._sender.next_read(now.mono)
        if read is not None:
            self.effects.append(read)

    def _on_changes(self, message: Changes, now: Now) -> None:
        batch = message.batch
        if batch.start.seq > self._received.seq:
            if not self._gap_told:  # once: each further batch of the broken row would ask for the same again
                self._gap_told = True
                self._send(Ack(self._applied, Totals(), gap=True), now)
            return
        self._waiting += self._message_size
        if self._waiting > WINDOWS_WAITING * max(self.limits.window, self._message_size):
            raise errors.ProtocolError(detail="far more than the window allows")
        self._gap_told = False
        if batch.end.seq > self._received.seq:
            self._received = batch.end
        self._queue.append((batch, self._message_size))
        self._next_apply()

    def _next_apply(self) -> None:
        if self._queue and not self._applying and self.state is State.LIVE:
            self._applying = True
            batch, size = self._queue.popleft()
            self._waiting -= size
            self.effects.append(fx.Apply(batch))

    def applied(
        self,
        have: Cursor,
        totals: Totals,
        fates: list[Fate],
        want: list[bytes],
        gap: bool,
        now: Now,
        passed: tuple[Cursor, Cursor] | None = None,
    ) -> None:
        """The answer to `effects.Apply`: it is durable.

        ``passed``: from where to where our feed grew by nothing but this batch, if that can be said.
        """
        self._applying = False
        if self.state is not State.LIVE:
            return
        self._applied = have
        if gap:
            self._received = have
            self._queue.clear()
            self._waiting = 0
        if passed is not None:
            self._sender.pass_over(*passed)
        self._account = totals.received
        self._send(Ack(have, totals, fates, want, gap), now)
        self._next_apply()
        self._pump(now)

    # -- life signs -----------------------------------------------------------------------------------------

    def _on_ping(self, message: Ping, now: Now) -> None:
        if self.state is not State.LIVE:  # where the feeds go on is being decided: no word about that
            self._send(Pong(0, now.wall), now)
            return
        self._send(Pong(message.number, now.wall, self._applied, self._received, self._account), now)
        if message.account > self._heard:
            self._sender.unheard(self._sender.confirmed)
            self._pump(now)

    def _on_pong(self, message: Pong, now: Now) -> None:
        if not self._sender.sends(message.have):
            raise errors.ProtocolError(detail="an acknowledgement of what was never sent")
        answered = self._life.answered(message.number)
        if answered is not None:
            self._sender.lost_check(message.have, message.received, answered)
        if message.have.seq > self._sender.confirmed.seq or message.account > self._heard:
            self._sender.unheard(message.have)
        self._pump(now)

    def next_timer(self) -> int | None:
        """When `on_timer` wants to be called (mono µs); None when closed."""
        if self.state is State.CLOSED:
            return None
        if self.state is not State.LIVE:
            return self._opened.mono + self.timing.handshake
        due = self._life.ping_due(self._sender.oldest_sent())
        deadlines = [self._life.deadline(), *self._sender.deadlines(self.timing.advance)]
        return min(deadlines if due is None else [*deadlines, due])

    def on_timer(self, now: Now) -> None:
        """Do what is due; harmless when nothing is."""
        if self.state is State.CLOSED:
            return
        if self.state is not State.LIVE:
            if now.mono >= self._opened.mono + self.timing.handshake:
                self.fail(errors.TimedOut(seconds=self.timing.handshake // SECOND), now)
            return
        if now.mono >= self._life.deadline():
            self.fail(errors.TimedOut(seconds=(now.mono - self._life.last_in) // SECOND), now)
            return
        oldest = self._sender.oldest_sent()
        due = self._life.ping_due(oldest)
        if due is not None and now.mono >= due:
            self._sender.touch_oldest(now.mono)
            behind = None if oldest is None else self._sender.sent
            number = self._life.pinged(now.mono, behind)
            self._send(Ping(number, now.wall, self._account), now, bulk=behind is not None)
        self._pump(now)

    def receive(self, frame: Frame, now: Now) -> None:
        """Take a frame from the peer."""
        if self.state is State.CLOSED:
            return
        self._life.last_in = now.mono
        self._message_size += len(frame)
        try:
            if self.state is State.AWAIT_OPEN and isinstance(frame, str):
                self._encoder.form = Form.JSON
            message = self._decoder.feed(frame)
            if message is None:
                self._show_life(now)
                return
            self._dispatch(message, now)
            self._message_size = 0
        except errors.ProtocolError as error:
            self.fail(error, now)

    def _dispatch(self, message: Message, now: Now) -> None:
        key = (self.state, type(message))
        method = TRANSITIONS.get(key)
        if method is None:
            name = type(message).__name__.lower()
            raise errors.UnexpectedMessage(message=name, state=self.state.value)
        leads = LEADS_TO.get(key)
        if leads is not None and leads is not State.AGREEING:
            self.state = leads
        getattr(self, method)(message, now)

    def _show_life(self, now: Now) -> None:
        # A long message on a slow line must not look like silence to its sender, whose pings queue behind it.
        if self.state is State.LIVE and self._life.quiet(now.mono):
            self._send(Pong(0, now.wall, self._applied, self._received, self._account), now)

    def _send(self, message: Message, now: Now, *, bulk: bool = False) -> int:
        frames = self._encoder.frames(message)
        self._life.last_out = now.mono
        for frame in frames:
            self.effects.append(fx.Send(frame, bulk))
        return sum(map(len, frames))

    def _answer(self, name: str) -> bool:
        leads = ANSWERS.get((self.state, name))
        if leads is None:
            return False  # the session ended (or failed) while the answer was under way
        self.state = leads
        return True

    def _on_bye(self, message: Bye, now: Now) -> None:
        self._end(said(message), by_peer=True)

    def fail(self, error: errors.SyncError, now: Now) -> None:
        """End the session for ``error`` (also the answer to any question that cannot be answered)."""
        if self.state is State.CLOSED:
            return
        if self.state is not State.START:
            self._send(Bye(error.code, dict(error.params)), now)
        self._end(error, by_peer=False)

    def lost(self, error: errors.SyncError) -> None:
        """The road is gone."""
        self._end(error, by_peer=True)

    def _end(self, error: errors.SyncError, *, by_peer: bool) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._queue.clear()
        self.effects.append(fx.Closed(error, by_peer))
