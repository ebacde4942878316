"""A simulated program: a database that survives crashes, and processes that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from syncapp.core.policy import Backoff
from syncapp.core.session import Now, Role
from syncapp.store.store import Store
from tests.simulation.conversation import Conversation
from tests.simulation.databases import Backing
from tests.simulation.faults import Killed
from tests.simulation.network import End
from tests.simulation.topology import LinkPlan

if TYPE_CHECKING:
    from tests.simulation.world import World


class Instance:
    """One program: its database, its clock, its running processes."""

    def __init__(self, world: World, index: int, links: list[LinkPlan], backing: Backing) -> None:
        self.world = world
        self.index = index
        self.links = {link.number: link for link in links}
        self.numbers = backing.numbers(index)
        self.offset = 0
        self.identity = bytes([index + 1]) * 16
        self.backing = backing
        self.database = backing.create(self)
        self.locked: set[tuple[int, str]] = set()
        self.refused: set[str] = set()
        self.processes: list[Process] = []
        self.dead = False
        self.backups: list[Any] = []
        self.restored_at = -1
        #: Whether the harness keeps account of it; of a copy it does not.
        self.watched = True
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

    def back_up(self) -> None:
        """The administrator copies the database."""
        self.backups.append(self.backing.back_up(self))

    def put_back(self) -> None:
        """The program is stopped, its database replaced by one of the backups; it starts a little later."""
        for process in list(self.processes):
            self.crash(process)
        self.world.note(f"{self.label} put back")
        self.world.restores += 1
        self.restored_at = self.world.now
        self.backing.put_back(self, self.world.rng.choice(self.backups))
        self.world.oracle.restored(self)

    def copied(self) -> Instance:
        """A second program with a copy of the database, its identity and its password. Nobody works in it."""
        copy = Instance(self.world, self.index, list(self.links.values()), self.backing)
        copy.backing.put_back(copy, self.backing.back_up(self))
        copy.watched = False
        copy._born = 1000 * (1 + len(self.world.clones))
        self.world.note(f"{self.label} copied")
        copy.start()
        return copy

    def ensure_running(self) -> None:
        if not self.processes and not self.dead:
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
        self.backend = instance.backing.connect(instance)
        self.backend.locked, self.backend.refused = instance.locked, instance.refused
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
        token = self.call(lambda: self.store.claim(number, self.name, self.world.lease, force=force))
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
        far_accept(far, connection.ends[1])
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
            if self.instance.watched:
                world.oracle.observe(self.instance, self.backend.touched)
        if 2 * crash <= fate < 3 * crash:
            self.instance.crash(self)
        return result


def far_accept(instance: Instance, end: End) -> None:
    if not instance.processes:
        end.close()
        return
    instance.world.rng.choice(instance.processes).accept(end)
