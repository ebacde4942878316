"""What a simulated program keeps its data in: a dictionary, or a real database.

A `Backing` makes the database of a program and connections to it. The database of a program offers what
`MemoryDatabase` does to users (create, write, remove) and to whoever looks from outside (tables, records, by_uid,
by_pk, problems, conflicts, cursors, journal, state).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Protocol

from syncapp.store.memory import MemoryDatabase
from tests.simulation.faults import FaultyBackend
from tests.simulation.schema import Numbers
from tests.simulation.topology import deaths_of, shared_beside

if TYPE_CHECKING:
    from tests.simulation.instance import Instance


#: What of a database in memory is no data.
_NO_DATA = frozenset({"setup", "clock", "unique", "catalogues", "on_delete", "undo"})
#: The harness takes a row's key for its name, so each life of a database has its own.
KEYS_APART = 1000


class Backing(Protocol):
    """Where programs keep their data. ``many``: whether a program may run twice, each time with its own database."""

    many: bool

    def numbers(self, index: int) -> Any:
        """The numbers that the program ``index`` has for tables and fields (as `schema.Numbers`)."""
        ...

    def create(self, instance: Instance) -> Any:
        """A new, empty database, configured for the program's links."""
        ...

    def back_up(self, instance: Instance) -> Any:
        """A copy of the program's database."""
        ...

    def put_back(self, instance: Instance, backup: Any) -> None:
        """Replace the program's database by a copy. Keys of rows that it has not heard of are not given again."""
        ...

    def connect(self, instance: Instance) -> Any:
        """A connection for one process: a `faults.faulty` backend."""
        ...


class Memory:
    """Programs that live in dictionaries."""

    many = True

    def numbers(self, index: int) -> Numbers:
        return Numbers(index)

    def create(self, instance: Instance) -> MemoryDatabase:
        numbers, links, index = instance.numbers, instance.links, instance.index
        policies, mortal = instance.world.traits.policies, instance.world.traits.deaths
        return MemoryDatabase(
            numbers.setup(
                tuple(links),
                {n: link.mapped(index) for n, link in links.items()},
                log=instance.world.plan.log,
                policies=policies,
                dials=[n for n, link in links.items() if link.active == index],
                deaths={n: deaths_of(link, index) for n, link in links.items()} if mortal else {},
            ),
            instance.identity,
            instance.wall,
            numbers.unique(),
            {
                n: numbers.catalogue(
                    active=link.active == index,
                    ways=link.offers(index),
                    policies=policies,
                    hubs=shared_beside(links.values(), link, index),
                    deaths=deaths_of(link, index) if mortal else None,
                )
                for n, link in links.items()
            },
        )

    def back_up(self, instance: Instance) -> Any:
        kept = {name: value for name, value in vars(instance.database).items() if name not in _NO_DATA}
        return copy.deepcopy(kept)

    def put_back(self, instance: Instance, backup: Any) -> None:
        for name, value in copy.deepcopy(backup).items():
            setattr(instance.database, name, value)
        for table in instance.database.next_pk:
            instance.database.next_pk[table] += instance.world.restores * KEYS_APART

    def connect(self, instance: Instance) -> Any:
        return FaultyBackend(instance.database)
