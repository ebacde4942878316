"""What a simulated program keeps its data in: a dictionary, or a real database.

A `Backing` makes the database of a program and connections to it. The database of a program offers what
`MemoryDatabase` does to users (create, write, remove) and to whoever looks from outside (tables, records, by_uid,
by_pk, problems, conflicts, cursors, journal, state).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from syncapp.store.memory import MemoryDatabase
from tests.simulation.faults import FaultyBackend
from tests.simulation.schema import Numbers

if TYPE_CHECKING:
    from tests.simulation.instance import Instance


class Backing(Protocol):
    """Where programs keep their data."""

    def numbers(self, index: int) -> Any:
        """The numbers that the program ``index`` has for tables and fields (as `schema.Numbers`)."""
        ...

    def create(self, instance: Instance) -> Any:
        """A new, empty database, configured for the program's links."""
        ...

    def connect(self, instance: Instance) -> Any:
        """A connection for one process: a `faults.faulty` backend."""
        ...


class Memory:
    """Programs that live in dictionaries."""

    def numbers(self, index: int) -> Numbers:
        return Numbers(index)

    def create(self, instance: Instance) -> MemoryDatabase:
        numbers, links = instance.numbers, instance.links
        mapped = {n: link.mapped(instance.index) for n, link in links.items()}
        return MemoryDatabase(
            numbers.setup(tuple(links), mapped, log=instance.world.plan.log),
            instance.identity,
            instance.wall,
            numbers.unique(),
            {
                n: numbers.catalogue(active=link.active == instance.index, ways=link.offers(instance.index))
                for n, link in links.items()
            },
        )

    def connect(self, instance: Instance) -> Any:
        return FaultyBackend(instance.database)
