"""Seeded worlds: 2–6 programs, users, a hostile network, crashes between any two steps; then the invariants.

A failure names its seed, and how to replay it alone:
``SYNCAPP_SIM_SEED=1234 pytest tests/simulation/test_simulation.py -k seeds``.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.simulation.budget import Tally, chunks, within_budget
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.world import World

SEEDS, CHUNK = 20_000, 250
CHUNKS = chunks(SEEDS, CHUNK)


def live(seed: int) -> World:
    """Run the world of ``seed``; a failure says how to see it again."""
    world = World(seed)
    try:
        return world.run()
    except Exception as error:
        again = f"SYNCAPP_SIM_SEED={seed} pytest tests/simulation/test_simulation.py -k seeds"
        raise AssertionError(
            f"seed {seed}; replay: {again}\n{world.plan}\n{type(error).__name__}: {error}"
        ) from error


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_seeds(seeds: range, record_property: object) -> None:
    tally = Tally("in memory")
    for seed in within_budget(seeds, 1 / len(CHUNKS)):
        tally.add(live(seed))
    record_property("simulation", tally.properties())  # type: ignore[operator]
    tally.check()


def test_the_same_seed_does_the_same() -> None:
    one, other = live(7), live(7)
    assert one.notes == other.notes
    assert [batch for _, _, batch in one.batches] == [batch for _, _, batch in other.batches]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_caught(mutant: Mutant) -> None:
    """The invariants have teeth: each deliberate bug breaks one of them within a number of seeds fixed for it."""
    assert mutant.hunt() is not None, "no seed shows this bug"


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
