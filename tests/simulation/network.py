"""A hostile network between simulated programs.

*Ordered* connections are like TCP: frames arrive in order and late, or the connection breaks, with or without
either end noticing. *Lossy* ones drop, double and reorder single frames, which is more than any real road does.
Frames that a session marks as bulk may be overtaken by others, as in the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from syncapp.core.codec import Frame

if TYPE_CHECKING:
    from tests.simulation.world import World


class Weather(msgspec.Struct, frozen=True):
    """How bad the network is. Probabilities are per frame."""

    lossy: bool = False
    delay: int = 2_000
    drop: float = 0.0
    double: float = 0.0
    reorder: float = 0.0
    cut: float = 0.0
    stall: float = 0.0


FINE = Weather()
HANDSHAKE = frozenset({"open", "challenge", "proof", "proved", "hello"})


class End:
    """One end of a connection. ``on_frame`` and ``on_lost`` are set by whoever owns it."""

    def __init__(self, connection: Connection, side: int) -> None:
        self.connection = connection
        self.side = side
        self.on_frame: Callable[[Frame], None] = lambda frame: None
        self.on_lost: Callable[[], None] = lambda: None
        self.open = True

    def send(self, frame: Frame, *, bulk: bool) -> None:
        if self.open:
            self.connection.carry(self.side, frame, bulk=bulk)

    def close(self) -> None:
        """This end is gone; the other one hears of it unless the network swallows that."""
        if self.open:
            self.open = False
            self.connection.closed(self.side)

    def vanish(self) -> None:
        """This end is gone without a word (the machine lost power)."""
        self.open = False


class Connection:
    """Two ends. ``places`` are the programs' indexes."""

    def __init__(self, network: Network, places: tuple[int, int]) -> None:
        self.network = network
        self.places = places
        self.ends = (End(self, 0), End(self, 1))
        self.broken = False
        self.swallowed = False
        self._last = {(side, bulk): 0 for side in (0, 1) for bulk in (False, True)}

    def carry(self, side: int, frame: Frame, *, bulk: bool) -> None:
        world, weather = self.network.world, self.network.weather
        rng = world.rng
        if self.broken:
            return
        self.network.count(frame)
        if self.network.swallows(self.places, side, world.kind_of(frame)):
            self.swallowed = True
            return
        if rng.random() < weather.cut:
            self.cut()
            return
        copies = 1
        if weather.lossy:
            # A handshake that loses a message only starts over: most losses should happen later.
            handshake = world.kind_of(frame) in HANDSHAKE
            if rng.random() < weather.drop * (0.1 if handshake else 1.0) or self.network.blocked(
                self.places[side], self.places[1 - side]
            ):
                return
            copies += not handshake and rng.random() < weather.double
        for _ in range(copies):
            self._deliver(side, frame, self._arrival(side, bulk=bulk))

    def _arrival(self, side: int, *, bulk: bool) -> int:
        world, weather = self.network.world, self.network.weather
        rng = world.rng
        due = world.now + rng.randrange(weather.delay) + 1
        if rng.random() < weather.stall:
            due += rng.randrange(4_000_000)
        if weather.lossy and rng.random() < weather.reorder:
            return due + rng.randrange(20 * weather.delay)
        due = max(due, self._last[side, bulk] + 1, self._last[side, False] + 1 if bulk else 0)
        self._last[side, bulk] = due
        return due

    def _deliver(self, side: int, frame: Frame, due: int) -> None:
        network = self.network
        until = network.blocked(self.places[side], self.places[1 - side])
        if until:  # TCP tries again until the road is free
            due = self._last[side, True] = self._last[side, False] = max(due, until)
        network.world.at(due - network.world.now, lambda: self._arrive(side, frame))

    def _arrive(self, side: int, frame: Frame) -> None:
        other = self.ends[1 - side]
        if other.open:
            other.on_frame(frame)

    def closed(self, side: int) -> None:
        """The end at ``side`` has closed: tell the other one, after what was sent before."""
        due = max(self._last[side, True], self._last[side, False], self.network.world.now) + 1
        if self.network.world.rng.random() < self.network.weather.drop:
            return
        self.network.world.at(due - self.network.world.now, lambda: self._lost(1 - side))

    def cut(self) -> None:
        """The connection breaks; each end may notice or not."""
        world = self.network.world
        self.broken = True
        for side in (0, 1):
            if world.rng.random() < 0.7:
                world.at(world.rng.randrange(50_000) + 1, lambda side=side: self._lost(side))
            else:
                self.ends[side].on_frame = lambda frame: None

    def _lost(self, side: int) -> None:
        end = self.ends[side]
        if end.open:
            end.open = False
            end.on_lost()


class Network:
    """All connections, the weather, and what is blocked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.weather = FINE
        self._blocked: dict[tuple[int, int], int] = {}
        self.frames = 0
        #: Permanent faults, which no healing ends: roads that are shut one way, programs that never acknowledge.
        self.shut: set[tuple[int, int]] = set()
        self.mute: set[int] = set()
        self.between: dict[tuple[int, int], int] = {}
        self.seen: dict[str, int] = {}

    def connect(self, source: int, target: int) -> Connection | None:
        """A new connection, if both directions are free."""
        if self.blocked(source, target) or self.blocked(target, source):
            return None
        return Connection(self, (source, target))

    def block(self, source: int, target: int, until: int) -> None:
        """Nothing passes from ``source`` to ``target`` before ``until``: a one-way partition."""
        self._blocked[source, target] = until

    def blocked(self, source: int, target: int) -> int:
        """Until when the way is blocked; 0 when it is free."""
        until = self._blocked.get((source, target), 0)
        return until if until > self.world.now else 0

    def swallows(self, places: tuple[int, int], side: int, kind: str) -> bool:
        """Whether a permanent fault takes the frame; counts it in any case."""
        source, target = places[side], places[1 - side]
        self.between[source, target] = self.between.get((source, target), 0) + 1
        return (source, target) in self.shut or (source in self.mute and kind in ("ack", "pong"))

    def heal(self) -> None:
        """Fine weather from now on."""
        self.weather = FINE
        self._blocked.clear()

    def count(self, frame: Frame) -> None:
        """Note what kind of message passes."""
        self.frames += 1
        kind = self.world.kind_of(frame)
        self.seen[kind] = self.seen.get(kind, 0) + 1
