"""Faults that stay. Healing hides a livelock from a permanent fault, so here one remains, and the rest must go on.

G6 and G12: what is not behind the fault is delivered within a bounded time, no other link suffers, and neither the
messages towards the fault nor the memory that waits for it grow without bound. When the fault ends after all, so does
everything that it held up.
"""

from __future__ import annotations

from enum import StrEnum

from syncapp.core.session import WINDOWS_WAITING
from syncapp.core.streaming import MAX_IN_FLIGHT
from tests.simulation.judge import Judge
from tests.simulation.oracle import Violation
from tests.simulation.topology import LinkPlan, Pairs
from tests.simulation.world import SECOND, Plan, World

#: How long an edit may take to stand everywhere, once it was made while the fault holds; and so many units of work for
#: each program that it passes, since some worlds take one row at a time.
DELIVERED_IN, UNITS = 60 * SECOND, 200
#: How often a conversation over a faulty road may be tried, and how many frames it may cost, a minute.
FRAMES_A_MINUTE = 120


class Fault(StrEnum):
    """What stays broken."""

    SHUT = "a road that is shut one way"
    DEAD = "a program that is gone"
    MUTE = "a program that never acknowledges"
    LOCKED = "a record that a user never lets go"
    REFUSED = "a value that a database never takes"


class Siege(World):
    """A world in which ``fault`` stays after everything else has healed."""

    def __init__(self, seed: int, fault: Fault, plan: Plan | None = None, links: Pairs | None = None) -> None:
        super().__init__(seed, plan, links)
        self.fault = fault
        self._unsound: set[int] = set()

    @property
    def sound(self) -> list[LinkPlan]:
        return [link for link in self.links if link.number not in self._unsound]

    def run(self) -> World:
        self.begin()
        self.misfortune()
        self.heal()
        self.break_something()
        self.go_on()
        self.end()
        self.rest()
        self.retry_all()
        Judge(self).judge()
        return self

    # -- the fault ------------------------------------------------------------------------------------------

    def break_something(self) -> None:
        self.note(f"broken for good: {self.fault}")
        rng = self.rng
        link = rng.choice(self.links)
        place = rng.choice(self.instances)
        match self.fault:
            case Fault.SHUT:
                self.network.shut.add(rng.choice(link.directed))
                ends = {link.active, link.passive}
                self._unsound = {x.number for x in self.links if {x.active, x.passive} == ends}
            case Fault.DEAD:
                place.dead = True
                for process in list(place.processes):
                    place.crash(process)
                self._unsound = set(place.links)
            case Fault.MUTE:
                self.network.mute.add(place.index)
                self._unsound = set(place.links)
            case Fault.LOCKED:
                for table, rows in place.database.tables.items():
                    place.locked.update((table, pk) for pk in rows if rng.random() < 0.3)
            case Fault.REFUSED:
                place.refused.update(
                    f"{other.label}{n}" for other in self.instances for n in range(0, 999, 7)
                )

    def end(self) -> None:
        """The fault is over after all."""
        self.note("mended")
        self.network.shut.clear()
        self.network.mute.clear()
        for instance in self.instances:  # no road that lost something on the way can go on as if it had not
            for talk in self.talks(instance):
                if talk.end.connection.swallowed:
                    talk.end.connection.cut()
        self._unsound = set()
        for instance in self.instances:
            instance.locked.clear()
            instance.refused.clear()
            instance.dead = False
            instance.ensure_running()

    # -- what must go on ------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """People work on; what is not behind the fault is everywhere soon, again and again."""
        for _ in range(3):
            for _ in range(4):
                self.run_until(self.now + self.rng.randrange(2 * SECOND))
                self.users.act()
            due = self.now + DELIVERED_IN + UNITS * self.plan.work * self.size
            while not self.settled():
                if self.now > due:
                    raise Violation(f"G6: {self.fault}: the rest stands still\n{self.dump()}")
                self.run_until(self.now + SECOND)
                self.check_memory()
            self.retry_all()
            Judge(self).judge()
        self.check_messages()

    def check_memory(self) -> None:
        """G12: what waits for the fault is bounded."""
        for instance in self.instances:
            for talk in self.talks(instance):
                sender, session = talk.session._sender, talk.session
                most = WINDOWS_WAITING * max(session.limits.window, session._message_size)
                if len(sender._flights) > MAX_IN_FLIGHT or session._waiting > most:
                    raise Violation(f"G12: {instance.label} keeps {sender._flights} {session._waiting}")

    def check_messages(self) -> None:
        """G5, G12: what keeps failing is tried at a bounded pace, and the rest is quiet."""
        before = dict(self.network.between)
        minutes = 5
        self.run_until(self.now + minutes * 60 * SECOND)
        for way, count in self.network.between.items():
            links = sum(way in link.directed for link in self.links)
            if count - before.get(way, 0) > FRAMES_A_MINUTE * minutes * links:
                raise Violation(f"G12: {count - before.get(way, 0)} frames from {way} in {minutes} minutes")
