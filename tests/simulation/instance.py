"""A simulated program: a database that survives crashes, and processes that do not.

`Conversation` does for one session what the engine's link driver does: it carries out effects and answers, each
after a delay of its own, so that answers overtake each other and a crash can fall between any two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from syncapp import errors
from syncapp.core import effects as fx
from syncapp.core.codec import Decoder, Encoder, Frame
from syncapp.core.mapping import Agreement
from syncapp.core.messages import CAPABILITIES, Hello, Limits
from syncapp.core.policy import Backoff
from syncapp.core.session import Now, Role, Session, State
from syncapp.store.memory import MemoryDatabase
from syncapp.store.store import Store
from tests.simulation.faults import FaultyBackend, Killed
from tests.simulation.network import End
from tests.simulation.schema import Numbers

if TYPE_CHECKING:
    from tests.simulation.world import World

LEASE = 15_000_000
RENEW_EVERY = 5_000_000
RETRY_EVERY = 30_000_000


class LinkPlan:
    """A link as both programs know it: who dials whom."""

    def __init__(self, number: int, active: int, passive: int) -> None:
        self.number, self.active, self.passive = number, active, passive

    def peer_of(self, instance: int) -> int:
        return self.passive if instance == self.active else self.active


class Instance:
    """One program: its database, its clock, its running processes."""

    def __init__(self, world: World, index: int, links: list[LinkPlan]) -> None:
        self.world = world
        self.index = index
        self.links = {link.number: link for link in links}
        self.numbers = Numbers(index)
        self.offset = 0
        self.identity = bytes([index + 1]) * 16
        self.database = MemoryDatabase(
            self.numbers.setup(tuple(self.links)),
            self.identity,
            self.wall,
            self.numbers.unique(),
            {n: self.numbers.catalogue(active=link.active == index) for n, link in self.links.items()},
        )
        self.processes: list[Process] = []
        self._born = 0

    def wall(self) -> int:
        return self.world.now + self.offset

    def now(self) -> Now:
        return Now(self.world.now, self.wall())

    def start(self) -> Process:
        """Start a process (there may be several)."""
        self._born += 1
        process = Process(self, f"{self.index}-{self._born}")
        self.processes.append(process)
        process.run()
        return process

    def crash(self, process: Process) -> None:
        """Kill a process; another one starts a little later."""
        if not process.alive:
            return
        process.kill()
        self.processes.remove(process)
        self.world.note(f"{process.name} killed")
        if not self.processes:
            self.world.at(self.world.rng.randrange(3_000_000) + 1, self.ensure_running)

    def ensure_running(self) -> None:
        if not self.processes:
            self.start()

    def changed(self) -> None:
        """Someone wrote into the database: the processes notice within some milliseconds."""
        for process in self.processes:
            self.world.at(self.world.rng.randrange(20_000) + 1, process.wake)

    @property
    def label(self) -> str:
        return "ABCDEFGH"[self.index]


class Process:
    """One running process of a program: it dials its active links and answers on the passive ones."""

    def __init__(self, instance: Instance, name: str) -> None:
        self.instance = instance
        self.world = instance.world
        self.name = name
        self.alive = True
        self.boot = self.world.rng.randbytes(8)
        self.backend = FaultyBackend(instance.database)
        plan = self.world.plan
        self.store = Store(self.backend, self.world.rng.randbytes, seal_rows=plan.seal_rows)
        self.talks: list[Conversation] = []
        self.backoff = {
            n: Backoff(self.world.rng.random, first=200_000, most=4_000_000) for n in instance.links
        }

    def run(self) -> None:
        for number, link in self.instance.links.items():
            if link.active == self.instance.index:
                self.later(self.world.rng.randrange(100_000) + 1, lambda n=number: self.dial(n, force=False))

    def kill(self) -> None:
        self.alive = False
        for talk in self.talks:
            if self.world.rng.random() < 0.6:
                talk.end.close()
            else:
                talk.end.vanish()
        self.talks.clear()

    def later(self, delay: int, action: Callable[[], None]) -> None:
        """Do ``action`` after ``delay``, if this process still runs."""
        self.world.at(delay, lambda: action() if self.alive else None)

    def wake(self) -> None:
        if self.alive:
            for talk in list(self.talks):
                talk.wake()

    # -- conversations --------------------------------------------------------------------------------------

    def dial(self, number: int, *, force: bool) -> None:
        """Active: take the lease, connect, converse; again after a while when that does not work."""
        if not self.alive or any(talk.link == number for talk in self.talks):
            return
        token = self.call(lambda: self.store.claim(number, self.name, LEASE, force=force))
        if not self.alive:
            return
        connection = None
        if token:
            plan = self.instance.links[number]
            connection = self.world.network.connect(plan.active, plan.passive)
        if connection is None:
            self.again(number)
            return
        talk = Conversation(self, Role.ACTIVE, connection.ends[0], number, token)
        far = self.world.instances[self.instance.links[number].passive]
        self.world.at(self.world.rng.randrange(5_000) + 1, lambda: far_accept(far, connection.ends[1]))
        talk.session.start(f"link {number}", self.instance.now())
        talk.perform()

    def again(self, number: int) -> None:
        self.later(self.backoff[number].next(), lambda: self.dial(number, force=False))

    def accept(self, end: End) -> None:
        Conversation(self, Role.PASSIVE, end, 0, 0).perform()

    def call(self, work: Callable[[], Any]) -> Any:
        """One unit of work of the store. The program may be killed in it: rolled back, or committed and unanswered."""
        world = self.world
        fate = world.rng.random()
        crash = world.plan.crash
        self.backend.fuse = world.rng.randrange(12) if fate < crash else None
        self.backend.before_commit = crash <= fate < 2 * crash
        try:
            result = work()
        except Killed:
            self.instance.crash(self)
            return None
        finally:
            self.backend.fuse, self.backend.before_commit = None, False
            world.oracle.observe(self.instance)
        if 2 * crash <= fate < 3 * crash:
            self.instance.crash(self)
        return result


def far_accept(instance: Instance, end: End) -> None:
    if not instance.processes:
        end.close()
        return
    instance.world.rng.choice(instance.processes).accept(end)


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
        self.timer = 0
        process.talks.append(self)
        end.on_frame = self.receive
        end.on_lost = self.lost
        self.over = False

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

    def tick(self, number: int) -> None:
        if self.running() and number == self.timer:
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
        if due is not None and self.running():
            self.timer += 1
            number = self.timer
            self.process.later(max(0, due - self.world.now) + 1, lambda: self.tick(number))

    def finish(self, error: errors.SyncError) -> None:
        self.over = True
        self.error = error
        self.process.talks.remove(self)
        self.end.close()
        self.world.note(f"{self.process.name} {self.session.role.value} over: {error}")
        if isinstance(error, errors.ProtocolError) and not self.world.lossy:
            raise AssertionError(f"a protocol error on an ordered road: {error}")
        if isinstance(error, errors.Restored | errors.OtherInstance | errors.SameInstance):
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
            self.token = self.store.claim(self.link, self.process.name, LEASE, force=True) or 0
            for talk in list(self.process.talks):
                if talk.link == self.link and talk is not self and talk.session.state is not State.CLOSED:
                    talk.session.fail(errors.Superseded(), self.instance.now())
                    talk.perform()
        mine = self.store.greeting(self.link)
        hello = Hello(
            instance=mine.instance,
            epoch=mine.epoch,
            boot=self.process.boot,
            title=self.instance.label,
            software="simulated",
            url="",
            capabilities=CAPABILITIES,
            limits=self.session.limits,
            user_matching="login",
            catalogue=mine.catalogue,
            head=mine.head,
            have=mine.have,
        )
        return lambda now: self.session.greet(hello, now)

    def go(self, agreed: Any, now: Now) -> None:
        if self.session.role is Role.ACTIVE:
            self.process.backoff[self.link].reset()
        self.session.go(agreed.position, now, totals=agreed.totals, want=agreed.want)
        self.process.later(RENEW_EVERY, self.care)

    def care(self, rounds: int = 1) -> None:
        """Keep the lease; try parked changes again now and then."""
        if not self.running():
            return
        try:
            if not self.process.call(lambda: self.store.renew(self.link, self.token, LEASE)):
                raise errors.LeaseLost(link=str(self.link))
            if rounds % (RETRY_EVERY // RENEW_EVERY) == 0 and self.process.call(
                lambda: self.store.retry(self.link, self.agreement, self.token)
            ):
                self.instance.changed()
        except errors.SyncError as error:
            self.session.fail(error, self.instance.now())
            self.perform()
        self.process.later(RENEW_EVERY, lambda: self.care(rounds + 1))
