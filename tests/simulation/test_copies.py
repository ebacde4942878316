"""A copy of a program that runs beside it: both are refused and named, and all is well when it is gone."""

from __future__ import annotations

import pytest

from tests.simulation.judge import Judge
from tests.simulation.topology import PAIR
from tests.simulation.world import SECOND, Plan, World


@pytest.mark.parametrize("seed", range(10))
def test_a_copy_is_refused_and_named(seed: int) -> None:
    world = World(seed, Plan(deeds=20, pace=100_000), PAIR)
    world.begin()
    world.misfortune()
    copy = world.instances[1].copied()
    world.clones.append(copy)
    for _ in range(20):
        world.users.act()
        world.run_until(world.now + 5 * SECOND)
    named = [note for note in world.notes if "B" in note and "have one identity" in note]
    assert named, "nobody noticed"
    assert any(note.split()[1].startswith("1-100") for note in world.notes if "identity" in note), (
        "the copy was not told"
    )
    world.heal()
    world.rest()
    world.retry_all()
    Judge(world).judge()
