"""G4: the same changes in any order, repeated or not, end in the same values."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from syncapp.core.changes import START, Batch
from syncapp.core.mapping import Agreement, Kind
from syncapp.store.memory import MemoryBackend
from syncapp.store.store import Store
from tests.simulation.databases import Memory
from tests.simulation.instance import Instance
from tests.simulation.schema import SPECS
from tests.simulation.topology import PAIR
from tests.simulation.world import Plan, World


def fresh(world: World) -> tuple[Instance, Store, int]:
    """Program A once more, with nothing in it."""
    instance = Instance(world, 0, [world.links[0]], Memory())
    store = Store(MemoryBackend(instance.database), world.rng.randbytes)
    token = store.claim(1, "order", 10**12)
    assert token
    return instance, store, token


def apply_all(world: World, batches: list[Batch], agreement: Agreement) -> dict[bytes, dict[str, Any]]:
    """The values that ``batches``, applied in their order to an empty program, end in: uid → field → value."""
    instance, store, token = fresh(world)
    for batch in batches:
        store.apply(1, msgspec.structs.replace(batch, start=START), agreement, token)
    if ids := list(
        instance.database.problems
    ):  # a unique value that was passed on may have come in the wrong order
        store.retry(1, agreement, token, ids)
    assert not instance.database.problems
    found = {}
    for record in instance.database.records.values():
        row = instance.database.tables[record.table][record.pk]
        found[record.uid] = {instance.numbers.key[f][1]: uids(instance, f, value) for f, value in row.items()}
    return found


def uids(instance: Instance, field: int, value: Any) -> Any:
    spec = SPECS[instance.numbers.key[field]]
    if not spec.target or value is None:
        return value
    table = instance.numbers.table[spec.target]
    records, by_pk = instance.database.records, instance.database.by_pk
    if spec.kind is Kind.RELATIONS:
        return sorted(records[by_pk[table, pk]].uid for pk in value)
    return records[by_pk[table, value]].uid


@pytest.mark.parametrize("seed", range(60))
def test_any_order_and_repetition(seed: int) -> None:
    world = World(seed, Plan(writers=(1,), collisions=0.0, removals=0, records=3, deeds=50), PAIR)
    world.begin()
    world.misfortune()
    world.heal()
    world.rest()
    batches = [batch for index, _, batch in world.batches if index == 0 and batch.sections]
    agreement = next(talk.agreement for talk in world.talks(world.instances[0]))
    expected = apply_all(world, batches, agreement)
    assert expected
    rng = random.Random(seed)
    for _ in range(3):
        shuffled = batches + rng.sample(batches, len(batches) // 2)
        rng.shuffle(shuffled)
        assert apply_all(world, shuffled, agreement) == expected
