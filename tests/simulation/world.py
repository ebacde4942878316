"""The simulated world: one fake clock, one source of chance, some programs, a network between them.

    World(seed).run()

does a random phase with faults, heals everything, waits (boundedly) until all is at rest, and judges. The same seed
does the same again.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from syncapp import errors
from syncapp.core import effects as fx
from syncapp.core.changes import Batch, Record
from syncapp.core.codec import Frame
from syncapp.core.mapping import Direction
from syncapp.core.session import State
from syncapp.store import parked
from syncapp.store.base import ProblemRow
from tests.simulation.conversation import Conversation
from tests.simulation.databases import Backing, Memory
from tests.simulation.instance import Instance
from tests.simulation.judge import Judge
from tests.simulation.network import FINE, Network, Weather
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.topology import LinkPlan, draw_links, draw_pairs
from tests.simulation.traits import Traits
from tests.simulation.users import Users

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
#: A process that died is replaced when its lease has run out; once all is well nobody needs to look that often.
LEASE, LONG_LEASE = 15 * SECOND, 900 * SECOND
#: Within which both sides of a live link have heard how far the other is.
HEARTBEAT = 20 * SECOND


class Plan(msgspec.Struct):
    """What a world is like. Probabilities are per occasion. ``writers``: the programs with users; empty = all."""

    writers: tuple[int, ...] = ()
    deeds: int = 40
    pace: int = 300_000
    work: int = 5_000
    seal_rows: int = 5000
    records: int = 4096
    bytes: int = 512 * 1024
    window: int = 4 * 1024 * 1024
    crash: float = 0.0
    kill: float = 0.0
    takeover: float = 0.0
    partition: float = 0.0
    jump: float = 0.0
    refuse: float = 0.0
    collisions: float = 0.3
    removals: int = 2
    ways: bool = False
    log: bool = True
    weather: Weather = FINE

    @classmethod
    def draw(cls, rng: random.Random) -> Plan:
        """A random plan: some worlds are calm, some are terrible."""
        lossy = rng.random() < 0.4
        bad = rng.choice((0.0, 0.3, 1.0))
        weather = Weather(
            lossy=lossy,
            delay=rng.choice((500, 5_000, 100_000, 800_000)),
            drop=bad * rng.choice((0.0, 0.05, 0.25)),
            double=bad * rng.choice((0.0, 0.05, 0.2)),
            reorder=bad * rng.choice((0.0, 0.1, 0.4)),
            cut=bad * rng.choice((0.0, 0.01, 0.05)),
            stall=bad * rng.choice((0.0, 0.02)),
        )
        return cls(
            deeds=rng.choice((5, 10, 15, 20, 30, 50)),
            pace=rng.choice((5_000, 100_000, 600_000)),
            work=rng.choice((200, 5_000, 300_000)),
            seal_rows=rng.choice((1, 3, 5000)),
            records=rng.choice((1, 2, 5, 4096)),
            bytes=rng.choice((60, 400, 512 * 1024)),
            window=rng.choice((200, 4 * 1024 * 1024)),
            crash=rng.choice((0.0, 0.0, 0.01, 0.04)),
            kill=rng.choice((0.0, 0.05)),
            takeover=rng.choice((0.0, 0.0, 0.04)),
            partition=rng.choice((0.0, 0.05)),
            jump=rng.choice((0.0, 0.1)),
            refuse=rng.choice((0.0, 0.1)),
            collisions=rng.choice((0.0, 0.2, 0.6)),
            removals=rng.choice((0, 2, 6)),
            ways=rng.random() < 0.5,
            log=rng.random() < 0.2,
            weather=weather,
        )


class World:
    """Programs, links and everything that happens to them."""

    def __init__(
        self,
        seed: int,
        plan: Plan | None = None,
        links: Sequence[tuple[int, int]] | Sequence[LinkPlan] | None = None,
        backing: Backing | None = None,
        traits: Traits | None = None,
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        drawn = plan is None and traits is None
        self.plan = plan or Plan.draw(self.rng)
        self.links = self._links(draw_pairs(self.rng) if links is None else links)
        self.traits = Traits.draw(seed, self.links) if drawn else (traits or Traits())
        if self.traits.deaths and all(link.deaths is Direction.OFF for link in self.links):
            for link in self.links:
                link.deaths = Direction.BOTH
        self.size = 1 + max(max(link.active, link.passive) for link in self.links)
        self.lossy = self.plan.weather.lossy
        self.now = START
        self.lease = LEASE
        self._events: list[tuple[int, float, int, Callable[[], Any]]] = []
        self._count = 0
        self.notes: list[str] = []
        self.restores = 0
        self.clones: list[Instance] = []
        self.network = Network(self)
        self.oracle = Oracle(self)
        self.delivered: dict[tuple[int, int], int] = defaultdict(int)
        self.batches: list[tuple[int, int, Batch]] = []
        backing = backing or Memory()
        self.instances = [
            Instance(self, i, [link for link in self.links if i in (link.active, link.passive)], backing)
            for i in range(self.size)
        ]
        self.users = Users(self)

    def _links(self, given: Sequence[tuple[int, int]] | Sequence[LinkPlan]) -> list[LinkPlan]:
        """Whole links as they are; pairs of programs with ways drawn for them, where the plan says so."""
        plans = [link for link in given if isinstance(link, LinkPlan)]
        pairs = tuple(pair for pair in given if not isinstance(pair, LinkPlan))
        if self.plan.ways:
            return plans or draw_links(self.rng, pairs)
        return plans or [LinkPlan(n, *pair) for n, pair in enumerate(pairs, 1)]

    # -- time -----------------------------------------------------------------------------------------------

    def at(self, delay: int, action: Callable[[], Any]) -> None:
        """Do ``action`` in ``delay`` µs; what falls on one moment happens in random order."""
        self._count += 1
        heapq.heappush(self._events, (self.now + max(delay, 0), self.rng.random(), self._count, action))

    def run_until(self, moment: int) -> None:
        """Let everything happen that is due before ``moment``."""
        events = self._events
        while events and events[0][0] <= moment:
            self.now, _, _, action = heapq.heappop(events)
            action()
        self.now = max(self.now, moment)

    def note(self, text: str) -> None:
        self.notes.append(f"{(self.now - START) / SECOND:10.6f} {text}")

    # -- the story ------------------------------------------------------------------------------------------

    def run(self) -> World:
        """The whole life of the world; raises `Violation` when an invariant does not hold."""
        self.begin()
        self.misfortune()
        self.heal()
        self.rest()
        while self.users.clear_up():
            self.rest()
        self.retry_all()
        Judge(self).judge()
        self.check_redelivery()
        self.check_idle()
        return self

    def begin(self) -> None:
        for instance in self.instances:
            instance.start()

    def misfortune(self) -> None:
        """People work while things go wrong."""
        self.network.weather = self.plan.weather
        rng, plan = self.rng, self.plan
        for _ in range(plan.deeds):
            self.run_until(self.now + int(rng.expovariate(1.0 / plan.pace)))
            self.users.act()
            if rng.random() < plan.kill:
                instance = rng.choice(self.instances)
                if instance.processes:
                    instance.crash(rng.choice(instance.processes))
            if rng.random() < plan.takeover:
                self.take_over()
            if rng.random() < plan.partition:
                link = rng.choice(self.links)
                source, target = rng.choice(((link.active, link.passive), (link.passive, link.active)))
                self.network.block(source, target, self.now + rng.randrange(30 * SECOND))
            if rng.random() < plan.jump:
                rng.choice(self.instances).offset = rng.randrange(-100 * SECOND, 100 * SECOND)
            if self.traits.restores or self.traits.clones:
                self.administrate()
        self.run_until(self.now + rng.randrange(5 * SECOND))

    def administrate(self) -> None:
        """Databases are copied now and then, and seldom put back or run elsewhere."""
        instance = self.rng.choice(self.instances)
        if self.traits.clones and self.rng.random() < 0.03:
            dials = any(link.active == instance.index for link in instance.links.values())
            if dials and instance.backing.many:
                self.clones.append(instance.copied())
        if not self.traits.restores:
            return
        if self.rng.random() < 0.15:
            instance.back_up()
        elif self.rng.random() < 0.08 and instance.backups:
            instance.put_back()

    def take_over(self) -> None:
        """Another process of a program takes its links, whether or not somebody else holds them."""
        instance = self.rng.choice(self.instances)
        process = instance.start()
        for number, link in instance.links.items():
            if link.active == instance.index:
                process.dial(number, force=True)

    def heal(self) -> None:
        self.note("healed")
        plan = self.plan
        self.network.heal()
        plan.crash = plan.refuse = 0.0
        self.lease = LONG_LEASE
        for copy in self.clones:
            copy.dead = True
            for process in list(copy.processes):
                copy.crash(process)
        for instance in self.instances:
            instance.ensure_running()

    def rest(self) -> None:
        """Wait until nothing moves any more; bounded."""
        deadline = self.now + 900 * SECOND
        while self.now < deadline:
            self.run_until(self.now + SECOND)
            if not self.settled():
                continue
            if not self.lossy:
                return
            # The last acknowledgement may have been lost: the next pong tells so.
            self.run_until(self.now + HEARTBEAT)
            if self.settled():
                return
        raise Violation("G6: no rest:\n" + self.dump())

    def settled(self) -> bool:
        """Every link is live on an unbroken road, every journal empty, every feed acknowledged, nothing under way."""
        if any(instance.database.journal for instance in self.reached):
            return False
        sound = {link.number for link in self.sound}
        talks = [t for instance in self.instances for t in self.talks(instance) if t.link in sound]
        if len(talks) != 2 * len(sound) or not all(talk.live and talk.idle for talk in talks):
            return False
        ends = {talk.end for talk in talks}
        return all(end.connection.ends[1 - end.side] in ends and not end.connection.broken for end in ends)

    @property
    def sound(self) -> list[LinkPlan]:
        """The links that are to work once everything is healed."""
        return self.links

    @property
    def reached(self) -> list[Instance]:
        """The programs that these links join."""
        ends = {place for link in self.sound for place in (link.active, link.passive)}
        return [instance for instance in self.instances if instance.index in ends]

    def talks(self, instance: Instance) -> list[Conversation]:
        return [talk for process in instance.processes for talk in process.talks]

    def retry_all(self) -> None:
        """Let all parked changes be tried again until that changes nothing more."""
        for _ in range(10):
            before = [self.state(instance) for instance in self.instances]
            for instance in self.instances:
                self.retry(instance)
            self.rest()
            if [self.state(instance) for instance in self.instances] == before:
                return
        raise Violation("retrying parked changes never ends:\n" + self.dump())

    def retry(self, instance: Instance) -> None:
        for talk in self.talks(instance):
            if talk.session.state is State.LIVE:
                ids = sorted(i for i, p in instance.database.problems.items() if p.link == talk.link)
                if ids:
                    talk.store.retry(talk.link, talk.agreement, talk.token, ids)
                    self.oracle.observe(instance, talk.store.backend.touched)
                    instance.changed()

    # -- watching -------------------------------------------------------------------------------------------

    def check_ack(self, talk: Conversation, effect: fx.Effect) -> None:
        """G2: what is acknowledged is durable at the peer."""
        if isinstance(effect, fx.Acked):
            link = talk.instance.links[talk.link]
            peer = self.instances[link.peer_of(talk.instance.index)]
            if self.clones:
                return  # it may have been the copy that acknowledged
            durable = peer.database.cursors[talk.link].applied
            if effect.have.seq > durable.seq and peer.restored_at < talk.born:
                raise Violation(f"{peer.label} acknowledged {effect.have}, but has {durable}")

    def applied(self, talk: Conversation, batch: Batch) -> None:
        """A batch was given to the store, which has not refused it as a gap."""
        if not talk.instance.watched:
            return
        self.oracle.applied(talk.instance.links[talk.link], talk.instance, batch)
        self.delivered[talk.instance.index, talk.link] += batch.field_count()
        self.batches.append((talk.instance.index, talk.link, batch))

    def read(self, talk: Conversation, batch: Batch) -> None:
        """A batch was made, and will be sent."""
        if not talk.instance.watched:
            return
        self.oracle.read(talk.instance.links[talk.link], talk.instance, batch)

    def parked(self, instance: Instance, link: LinkPlan, record: Record) -> list[ProblemRow]:
        """Incoming changes of a record that wait."""
        database = instance.database
        return [
            p
            for p in database.problems.values()
            if p.link == link.number and p.way == "in" and database.by_uid.get(p.uid) == record.id
        ]

    def kind_of(self, frame: Frame) -> str:
        """The name of the message in a frame: the first element of a MessagePack array, a short text."""
        assert isinstance(frame, bytes)
        if frame[0] & 1:
            return "part"
        name = 2 if frame[1] != 0xDC else 4  # an array of more than 15 elements has a longer head
        return frame[name + 1 : name + 1 + (frame[name] & 0x1F)].decode()

    def state(self, instance: Instance) -> Any:
        """All that redelivery must not change."""
        database = instance.database
        problems = sorted((p.link, p.way, p.uid, p.field, _held(p)) for p in database.problems.values())
        records = {
            r.id: (r.uid, r.alive, {f: e.version.stamp for f, e in r.entries.items()})
            for r in database.records.values()
        }
        rows = {table: {pk: dict(row) for pk, row in rows.items()} for table, rows in database.tables.items()}
        if self.oracle.deaths:
            # What comes again may bring a record that came back a field of which nobody else could tell it.
            records = {number: (*record[:2], {}) for number, record in records.items()}
            rows = {table: {pk: {} for pk in found} for table, found in rows.items()}
            # A value may lose once more, to the record's new life; it has been kept then.
            kept = {(row.uid, repr(value)) for row in database.conflicts for value in _lost(row.lost)}
            return rows, records, problems, kept
        return rows, records, problems, len(database.conflicts)

    def check_redelivery(self) -> None:
        """G3: batches that were applied once come again, in any order, and change nothing."""
        before = [self.state(instance) for instance in self.instances]
        batches = self.rng.sample(self.batches, min(8, len(self.batches)))
        for index, link, batch in batches:
            instance = self.instances[index]
            talk = next(t for t in self.talks(instance) if t.link == link and t.session.state is State.LIVE)
            try:
                talk.store.apply(link, batch, talk.agreement, talk.token)
                self.oracle.observe(instance, talk.store.backend.touched)
            except errors.Restored:
                raise Violation(f"an old batch looks like a restored database: {batch}") from None
        after = [self.state(instance) for instance in self.instances]
        for instance, old, new in zip(self.instances, before, after, strict=True):
            for what, a, b in zip(("rows", "records", "problems", "conflicts"), old, new, strict=True):
                if a != b:
                    raise Violation(f"redelivery changed {what} of {instance.label}:\n{a}\n{b}")

    def check_idle(self) -> None:
        """G5: at rest only heartbeats flow."""
        for instance in self.instances:
            instance.changed()
        self.run_until(
            self.now + 12 * SECOND
        )  # another process may still take a lease that a clock's jump has ended
        self.rest()
        before = dict(self.network.seen)
        self.run_until(self.now + (600 if self.seed % 20 == 0 else 30) * SECOND)
        moved = {k: n - before.get(k, 0) for k, n in self.network.seen.items() if n != before.get(k, 0)}
        if moved.keys() - {"ping", "pong"}:
            raise Violation(f"not idle: {moved}")

    def dump(self) -> str:
        """Everything about a world that does not come to rest."""
        lines = [f"now {(self.now - START) / SECOND} {self.plan}", *self.notes[-30:]]
        for instance in self.instances:
            database = instance.database
            lines.append(f"{instance.label}: head {database.state.head.seq}, journal {len(database.journal)}")
            lines += [f"  link {number}: {database.cursors[number]}" for number in instance.links]
            lines += [f"  {problem}" for problem in database.problems.values()]
            for talk in self.talks(instance):
                sender = talk.session._sender
                lines.append(f"  {talk.session.role} {talk.session.state} {vars(sender)}")
        return "\n".join(lines)


def _lost(lost: Any) -> Collection[Any]:
    """The values that a loser holds: those of all fields where an edit of a dead record lost."""
    return lost.values() if isinstance(lost, dict) else [lost]


def _held(problem: ProblemRow) -> list[tuple[int, int]]:
    """The fields that are kept in a problem, with the times of their versions."""
    cells = parked.unpack(problem.uid, problem.table, problem.payload).cells if problem.payload else {}
    return sorted((field, cell.version.time) for field, cell in cells.items() if cell.version is not None)
