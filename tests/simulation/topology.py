"""Who is linked with whom, and which way each field flows over each link.

Every table flows over a link both ways, one way or not at all; its structural fields (natural keys, required
relations) go with it, the others may be narrower. A relation never goes where its target's table does not: that is
refused when a mapping is written.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from functools import cached_property

from syncapp.core.mapping import Direction
from tests.simulation.schema import PLAIN, SPECS, TABLES, Deaths, Key, Spec, Ways

Pairs = tuple[tuple[int, int], ...]

#: One program dials another.
PAIR: Pairs = ((1, 0),)
#: As the fields are declared: what a pair of programs agreed on from the first day.
DECLARED: Ways = {key: spec.way for key, spec in SPECS.items()}

_WAYS = (Direction.BOTH, Direction.UPLOAD, Direction.DOWNLOAD, Direction.OFF)


def narrow(one: Direction, other: Direction) -> Direction:
    """What flows where both let it."""
    up, down = one.sends and other.sends, one.receives and other.receives
    if up and down:
        return Direction.BOTH
    return Direction.UPLOAD if up else Direction.DOWNLOAD if down else Direction.OFF


def mirrored(way: Direction) -> Direction:
    """The direction as the other side sees it."""
    return {Direction.UPLOAD: Direction.DOWNLOAD, Direction.DOWNLOAD: Direction.UPLOAD}.get(way, way)


class LinkPlan:
    """A link as both programs know it: who dials whom, and the way of each field as seen from the active one.

    ``wide``: fields that one side's mapping lets through both ways although the other's does not. ``deaths``: the way
    of deletions, as seen from the active program; of each table no wider than that of what its records need, since a
    program that is told that a record lives must be told the record.
    """

    deaths = Direction.OFF

    def __init__(
        self,
        number: int,
        active: int,
        passive: int,
        ways: Ways = DECLARED,
        wide: Mapping[Key, bool] | None = None,
    ) -> None:
        self.number, self.active, self.passive = number, active, passive
        self.ways = ways
        self.wide = dict(wide or {})

    def peer_of(self, instance: int) -> int:
        return self.passive if instance == self.active else self.active

    def flows(self, key: Key, source: int) -> bool:
        """Whether the field flows from ``source`` to its peer."""
        way = self.ways[key]
        return way.sends if source == self.active else way.receives

    def offers(self, instance: int) -> Ways:
        """The directions of ``instance``'s mapping, as seen from the active program."""
        active = instance == self.active
        return {k: Direction.BOTH if self.wide.get(k) == active else way for k, way in self.ways.items()}

    def mapped(self, instance: int) -> Ways:
        """The directions of ``instance``'s mapping, as seen from there."""
        offers = self.offers(instance)
        return offers if instance == self.active else {key: mirrored(way) for key, way in offers.items()}

    def mortal(self, instance: int, table: str) -> Direction:
        """The way of the table's deletions as seen from ``instance``."""
        way = narrow(self.deaths, self.whole(table))
        return way if instance == self.active else mirrored(way)

    def dated(self, instance: int, table: str) -> Direction:
        """The way of *time added*, without which there is none for deletions, as seen from ``instance``."""
        if self.mortal(instance, table) is Direction.OFF:
            return Direction.OFF
        return self.whole(table) if instance == self.active else mirrored(self.whole(table))

    def whole(self, table: str) -> Direction:
        """The way of all that a record of the table needs, as seen from the active program."""
        way = Direction.BOTH
        for spec in TABLES[table]:
            if spec.structural:
                way = narrow(way, self.ways[table, spec.name])
        return way

    def table_flows(self, table: str, source: int) -> bool:
        """Whether records of the table travel from ``source`` to its peer."""
        return any(self.flows((table, spec.name), source) for spec in TABLES[table])

    @cached_property
    def directed(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self.active, self.passive), (self.passive, self.active)


def reach(links: Iterable[LinkPlan], key: Key, source: int) -> frozenset[int]:
    """The programs that a value of ``key`` written at ``source`` may stand in."""
    found, todo = {source}, [source]
    links = tuple(links)
    while todo:
        here = todo.pop()
        for link in links:
            if here in (link.active, link.passive) and link.flows(key, here):
                there = link.peer_of(here)
                if there not in found:
                    found.add(there)
                    todo.append(there)
    return frozenset(found)


def deaths_of(link: LinkPlan, instance: int) -> Deaths:
    """table → the ways of its fields of `schema.LIFE` as seen from ``instance``."""
    return {table: (link.mortal(instance, table), link.dated(instance, table)) for table in TABLES}


def shared_beside(links: Iterable[LinkPlan], link: LinkPlan, instance: int) -> set[Key]:
    """The fields that ``instance`` shares both ways over another link than ``link`` as well."""
    others = [other for other in links if other is not link and instance in (other.active, other.passive)]
    return {key for other in others for key, way in other.mapped(instance).items() if way is Direction.BOTH}


# -- drawing ------------------------------------------------------------------------------------------------


def draw_pairs(rng: random.Random) -> Pairs:
    """Who is linked with whom: (active, passive) pairs of 2–6 programs. Most worlds are a single pair."""
    shape = rng.choices(("pair", "star", "chain", "ring", "graph", "double"), (60, 10, 10, 8, 8, 4))[0]
    return shaped(shape, rng)


def shaped(shape: str, rng: random.Random) -> Pairs:
    """Links of ``shape`` between a random number of programs, each dialled from a random end."""
    size = rng.choices((3, 4, 5, 6), (70, 16, 8, 6))[0]
    match shape:
        case "pair":
            edges = [(0, 1)]
        case "star":
            edges = [(0, n) for n in range(1, size)]
        case "chain":
            edges = [(n, n + 1) for n in range(size - 1)]
        case "ring":
            edges = [(n, (n + 1) % size) for n in range(size)]
        case "double":
            edges = [(0, 1), (0, 1)] + ([(1, 2)] if rng.random() < 0.5 else [])
        case _:
            edges = [(n, rng.randrange(n)) for n in range(1, size)]
            spare = [(a, b) for a in range(size) for b in range(a) if (a, b) not in edges]
            edges += rng.sample(spare, min(len(spare), rng.randrange(size)))
    return tuple(edge if rng.random() < 0.5 else edge[::-1] for edge in edges)


def draw_ways(rng: random.Random) -> Ways:
    """The way of each field over one link."""
    if rng.random() < 0.5:
        return DECLARED
    tables = {table: rng.choices(_WAYS, (80, 8, 8, 4))[0] for table in PLAIN}
    for table in PLAIN:  # a record that needs another one goes only where that goes
        for spec in TABLES[table]:
            if spec.required and spec.target:
                tables[table] = narrow(tables[table], tables[spec.target])
    ways = {k: _draw_way(rng, spec, tables[k[0]], tables) for k, spec in SPECS.items() if k[0] in PLAIN}
    for key, spec in SPECS.items():
        if key not in ways:
            ways[key] = narrow(spec.way, tables.get(spec.target, spec.way))
    return ways


def _draw_way(rng: random.Random, spec: Spec, table: Direction, tables: Mapping[str, Direction]) -> Direction:
    way = table if spec.structural else narrow(table, rng.choices(_WAYS, (60, 15, 15, 10))[0])
    return narrow(way, tables[spec.target]) if spec.target else way


def draw_links(rng: random.Random, pairs: Pairs) -> list[LinkPlan]:
    """The links of ``pairs``, each with ways of its own; now and then a side's mapping is wider than the other's."""
    links = []
    for number, (active, passive) in enumerate(pairs, 1):
        ways = draw_ways(rng)
        wide = {key: rng.random() < 0.5 for key in SPECS if key[0] in PLAIN and rng.random() < 0.05}
        links.append(LinkPlan(number, active, passive, ways, wide))
    return links
