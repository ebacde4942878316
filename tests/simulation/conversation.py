"""One session over one end of a connection: does what the engine's link driver does.

It carries out effects and answers, each after a delay of its own, so that answers overtake each other and a crash can
fall between any two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from syncapp import errors
from syncapp.core import effects as fx
from syncapp.core.codec import Decoder, Encoder, Frame
from syncapp.core.mapping import Agreement
from syncapp.core.messages import CAPABILITIES, Limits
from syncapp.core.session import Now, Role, Session, State
from tests.simulation.network import End

if TYPE_CHECKING:
    from tests.simulation.instance import Process

NEVER = 2**62
FIRST_CARE = 5_000_000
RETRY_EVERY = 30_000_000


class Conversation:
    """One session over one end of a connection."""

    def __init__(self, process: Process, role: Role, end: End, link: int, token: int) -> None:
        self.process, self.end, self.link, self.token = process, end, link, token
        self.instance, self.world = process.instance, process.world
        self.store = process.store
        self.agreement = Agreement()
        plan = self.world.plan
        limits = Limits(window=plan.window)
        self.session = Session(
            role,
            self.instance.now(),
            software="simulated",
            limits=limits,
            encoder=Encoder(),
            decoder=Decoder(limits.max_message),
        )
        self.timer = NEVER
        process.talks.append(self)
        end.on_frame = self.receive
        end.on_lost = self.lost
        self.over = False
        self.born = self.world.now

    # -- in -------------------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> None:
        if self.running():
            self.session.receive(frame, self.instance.now())
            self.perform()

    def lost(self) -> None:
        if self.running():
            self.session.lost(errors.ConnectionClosed(detail="lost"))
            self.perform()

    def wake(self) -> None:
        self.session.wake(self.instance.now())
        self.perform()

    def tick(self, due: int) -> None:
        if self.running() and due == self.timer:
            self.timer = NEVER
            self.session.on_timer(self.instance.now())
            self.perform()

    def running(self) -> bool:
        return self.process.alive and not self.over

    # -- out ------------------------------------------------------------------------------------------------

    def perform(self) -> None:
        """Carry out what the session wants, then set its timer."""
        while self.session.effects and self.running():
            effect = self.session.effects.popleft()
            if isinstance(effect, fx.Send):
                self.end.send(effect.frame, bulk=effect.bulk)
            elif isinstance(effect, fx.Closed):
                self.finish(effect.error)
            else:
                self.world.check_ack(self, effect)
                delay = self.world.rng.randrange(self.world.plan.work) + 1
                self.process.later(delay, lambda effect=effect: self.carry_out(effect))
        due = self.session.next_timer()
        # A timer that fires too early does nothing and sets itself anew, as in the engine.
        if due is not None and due < self.timer and self.running():
            self.timer = due
            self.process.later(max(0, due - self.world.now) + 1, lambda: self.tick(due))

    def finish(self, error: errors.SyncError) -> None:
        self.over = True
        self.error = error
        self.process.talks.remove(self)
        self.end.close()
        self.world.note(f"{self.process.name} {self.session.role.value} over: {error}")
        if isinstance(error, errors.ProtocolError) and not self.world.lossy:
            raise AssertionError(f"a protocol error on an ordered road: {error}")
        wrong: tuple[type[errors.SyncError], ...] = (errors.OtherInstance, errors.SameInstance)
        if not self.world.clones:
            wrong = (*wrong, errors.Twin) if self.world.restores else (*wrong, errors.Twin, errors.Restored)
        if isinstance(error, wrong):
            raise AssertionError(f"wrongly refused: {error}")
        if self.session.role is Role.ACTIVE:
            self.process.again(self.link)

    def carry_out(self, effect: fx.Effect) -> None:
        if not self.running():
            return
        try:
            answer = self.process.call(lambda: self.answer(effect))
        except errors.SyncError as error:
            self.session.fail(error, self.instance.now())
            self.perform()
            return
        if answer is not None and self.running():
            delay = self.world.rng.randrange(self.world.plan.work) + 1
            self.process.later(delay, lambda: self.give(answer))

    def give(self, answer: Callable[[Now], None]) -> None:
        if self.running():
            answer(self.instance.now())
            self.perform()

    def answer(self, effect: fx.Effect) -> Callable[[Now], None]:
        """Do what ``effect`` asks; returns how the session is to be told."""
        session = self.session
        match effect:
            case fx.Read():
                records = min(effect.records, self.world.plan.records)
                peer = session.peer.instance if session.peer else b""
                r = self.store.read(
                    self.link, effect.after, self.agreement, peer, records, self.world.plan.bytes
                )
                if r.batch is not None:
                    self.world.read(self, r.batch)
                return lambda now: session.read_done(r.batch, r.position, r.more, now)
            case fx.Apply():
                a = self.store.apply(self.link, effect.batch, self.agreement, self.token)
                if not a.gap:
                    self.world.applied(self, effect.batch)
                self.instance.changed()
                return lambda now: session.applied(a.have, a.totals, a.fates, a.want, a.gap, now, a.passed)
            case fx.Acked():
                self.store.acked(self.link, effect, self.token)
                return session.acked_done
            case _:
                return self.handshake(effect)

    def handshake(self, effect: fx.Effect) -> Callable[[Now], None]:
        session = self.session
        match effect:
            case fx.FindLink():
                self.link = int(effect.client_first.split()[-1])
                return lambda now: session.challenge("challenge", now)
            case fx.MakeProof():
                return lambda now: session.proof("proof", now)
            case fx.VerifyProof():
                if self.world.rng.random() < self.world.plan.refuse:
                    raise errors.Locked(seconds=1)
                return lambda now: session.proved("proved", now)
            case fx.CheckProof():
                return session.peer_proved
            case fx.Greet():
                return self.greet()
            case fx.Agree():
                agreed = self.store.meet(self.link, effect.hello, session.clock_offset, self.token)
                self.agreement = agreed.agreement
                return lambda now: self.go(agreed, now)
        raise AssertionError(effect)

    def greet(self) -> Callable[[Now], None]:
        if not self.token:
            self.token = self.store.claim(self.link, self.process.name, self.world.lease, force=True) or 0
            for talk in list(self.process.talks):
                if talk.link == self.link and talk is not self and talk.session.state is not State.CLOSED:
                    talk.session.fail(errors.Superseded(), self.instance.now())
                    talk.perform()
        mine = self.store.greeting(self.link, self.token)
        hello = mine.hello(
            boot=self.process.boot,
            title=self.instance.label,
            software="simulated",
            url="",
            host=self.process.name,
            capabilities=CAPABILITIES,
            limits=self.session.limits,
            user_matching="login",
        )
        return lambda now: self.session.greet(hello, now)

    def go(self, agreed: Any, now: Now) -> None:
        if self.session.role is Role.ACTIVE:
            self.process.backoff[self.link].reset()
        self.session.go(
            agreed.position,
            now,
            totals=agreed.totals,
            want=agreed.want,
            peer_has=agreed.peer_has,
            have=agreed.have,
        )
        self.retry_at = self.world.now + RETRY_EVERY
        self.process.later(FIRST_CARE, self.care)

    def care(self) -> None:
        """Keep the lease; try parked changes again now and then."""
        if not self.running():
            return
        lease = self.world.lease
        try:
            if not self.process.call(lambda: self.store.renew(self.link, self.token, lease)):
                raise errors.LeaseLost(link=str(self.link))
            if self.world.now >= self.retry_at:
                self.retry_at = self.world.now + RETRY_EVERY
                if self.process.call(lambda: self.store.retry(self.link, self.agreement, self.token)):
                    self.instance.changed()
        except errors.SyncError as error:
            self.session.fail(error, self.instance.now())
            self.perform()
        self.process.later(lease // 3, self.care)

    # -- looking --------------------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        leases = self.instance.database.cursors
        return (
            self.running()
            and self.session.state is State.LIVE
            and leases[self.link].lease_token == self.token
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is under way in this session, nor in what it asked for."""
        session, sender = self.session, self.session._sender
        return not (
            session._queue
            or session._applying
            or sender.dirty
            or sender.storing
            or sender._reading
            or sender._flights
            or sender._pending is not None
            or sender._unheard
            or sender.sent.seq != sender.position.seq
        )
