"""What only some worlds have, beyond values of which the later one stays.

Traits have a source of chance of their own: a world without them lives as it would if they did not exist, so that the
seeds of old bugs keep showing them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from syncapp.core.mapping import Direction
from syncapp.core.rules import SIDED, Policy
from tests.simulation.schema import Key
from tests.simulation.topology import LinkPlan, shared_beside

#: Fields that may have another policy than the default.
RULED: tuple[Key, ...] = (
    ("client", "name"),
    ("client", "note"),
    ("client", "parent"),
    ("tag", "title"),
    ("order", "subject"),
)


class Traits(msgspec.Struct):
    """``joined``: stocks are counted (sum) and grouped (union). ``policies``: of fields, where not the default; people
    answer questions and put losers back. ``deaths``: deletions are exchanged, also of records that others refer to.
    ``restores``: databases are put back from backups. ``clones``: a copy of a program runs beside it for a while."""

    joined: bool = False
    policies: dict[Key, Policy] = {}
    deaths: bool = False
    restores: bool = False
    clones: bool = False

    @classmethod
    def draw(cls, seed: int, links: Sequence[LinkPlan]) -> Traits:
        """The traits of the world of ``seed``; most have none or one."""
        rng = random.Random(f"traits {seed}")
        traits = cls(
            joined=rng.random() < 0.3,
            policies=draw_policies(rng, links) if rng.random() < 0.25 else {},
            deaths=rng.random() < 0.3,
        )
        if not traits.policies:
            traits.restores = rng.random() < 0.2
        if not (traits.policies or traits.deaths or traits.joined):
            traits.clones = rng.random() < 0.05
        if traits.deaths:
            ways = (Direction.BOTH,) if rng.random() < 0.8 else tuple(Direction)
            for link in links:
                link.deaths = rng.choice(ways)
        return traits


def draw_policies(rng: random.Random, links: Sequence[LinkPlan]) -> dict[Key, Policy]:
    """A policy for each field of `RULED`: one that comes to rest in this network."""
    found = {}
    for key in RULED:
        policy = rng.choice(list(Policy))
        if policy not in SIDED or all(_bounded(links, link, key) for link in links):
            found[key] = policy
    return found


def _bounded(links: Sequence[LinkPlan], link: LinkPlan, key: Key) -> bool:
    """Whether an end of the link shares the field with nobody else: else it may be refused a policy with sides."""
    return any(key not in shared_beside(links, link, end) for end in (link.active, link.passive))
