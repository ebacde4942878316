"""Seeded worlds: two programs, users, a hostile network, crashes between any two steps; then the invariants.

A failure names its seed. ``SYNCAPP_SIM_SEED=1234 pytest tests/simulation/test_simulation.py`` replays it alone.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.simulation.mutants import MUTANTS, Patch
from tests.simulation.world import World

SEEDS, CHUNK = 2_000, 100
REPLAY = os.environ.get("SYNCAPP_SIM_SEED", "")
CHUNKS = (
    [range(int(REPLAY), int(REPLAY) + 1)] if REPLAY else [range(n, n + CHUNK) for n in range(0, SEEDS, CHUNK)]
)


def live(seed: int) -> World:
    """Run the world of ``seed``; a failure says how to see it again."""
    world = World(seed)
    try:
        return world.run()
    except Exception as error:
        hint = f"seed {seed}; replay: SYNCAPP_SIM_SEED={seed} pytest tests/simulation/test_simulation.py -k seeds"
        raise AssertionError(f"{hint}\n{world.plan}\n{type(error).__name__}: {error}") from error


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_seeds(seeds: range) -> None:
    exchanged = conflicts = problems = 0
    for seed in seeds:
        world = live(seed)
        exchanged += len(world.batches)
        conflicts += sum(len(instance.database.conflicts) for instance in world.instances)
        problems += sum(len(instance.database.problems) for instance in world.instances)
    if len(seeds) == CHUNK:  # the worlds are worth something
        assert exchanged > 500
        assert conflicts > 20
        assert problems > 5


def test_the_same_seed_does_the_same() -> None:
    one, other = live(7), live(7)
    assert one.notes == other.notes
    assert [batch for _, _, batch in one.batches] == [batch for _, _, batch in other.batches]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_mutant_is_caught(mutant: object, monkeypatch: Patch) -> None:
    """The invariants have teeth: each deliberate bug breaks one of them within some seeds."""
    mutant(monkeypatch)  # type: ignore[operator]
    for seed in range(200):
        try:
            World(seed).run()
        except Exception:
            return
    pytest.fail("no seed shows this bug")


@pytest.mark.soak
def test_soak() -> None:
    """Fresh seeds for as long as SYNCAPP_SOAK_SECONDS says."""
    end = time.monotonic() + float(os.environ["SYNCAPP_SOAK_SECONDS"])
    first = random.SystemRandom().randrange(10**6, 10**12)
    print(f"\nsimulation: seeds from {first} on")
    seed = first
    while time.monotonic() < end:
        live(seed)
        seed += 1
    print(f"simulation: {seed - first} seeds")
