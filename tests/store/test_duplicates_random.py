"""Programs that make the same clients again and again, rename and delete them; then people delete duplicates.

They do so where two rows are one record elsewhere, and where several rows have one key. At the end all are equal, and
nothing waits.
"""

from __future__ import annotations

import random

import pytest

from syncapp.store.parked import unpack
from tests.store.deletion_contract import CLIENT
from tests.store.mortals import Party, send, settle, world

NETWORKS = [((0, 1),), ((0, 1), (1, 2)), ((0, 1), (1, 2), (0, 2))]


def live(rng: random.Random, parties: list[Party], steps: int) -> None:
    """A while of work, with batches of any size in between."""
    for step in range(steps):
        party = rng.choice(parties)
        keys, action = party.keys(CLIENT), rng.random()
        party.clock.wait(2 * rng.random())
        tax_id = f"770000000{rng.randint(1, 3)}"
        if action < 0.25:
            party.create(CLIENT, name=f"new {step}", tax_id=tax_id)
        elif action < 0.35 and keys:
            party.write(CLIENT, rng.choice(keys), tax_id=tax_id)
        elif action < 0.5 and keys:
            party.write(CLIENT, rng.choice(keys), name=f"edit {step}")
        elif action < 0.6 and keys:
            party.remove(CLIENT, rng.choice(keys))
        elif action < 0.9:
            send(party, rng.choice(list(party.links)), rng.choice([1, 1000]))
        else:
            party.due()


def one_record(party: Party) -> list[str]:
    """Rows of ``party`` that are one record elsewhere."""
    for problem in party.problems:
        if problem.code == "ambiguous":
            names = unpack(problem.uid, problem.table, problem.payload).names
            with party.backend.transaction():
                records = {r.id: r for r in party.backend.records_by_uid(names).values() if r.alive}
            if len(records) > 1:
                return sorted(record.pk for record in records.values())
    return []


def one_key(party: Party) -> list[str]:
    """Rows of ``party`` that have one tax id."""
    by_key: dict[str, list[str]] = {}
    for pk in party.keys(CLIENT):
        by_key.setdefault((party.row(CLIENT, pk) or {})["tax_id"], []).append(pk)
    return next((pks for pks in by_key.values() if len(pks) > 1), [])


def solve(rng: random.Random, parties: list[Party]) -> None:
    """Delete duplicates by hand until nothing is ambiguous."""
    for _ in range(60):
        for party in parties:
            party.retry()
        settle(parties)
        if not any("ambiguous" in party.codes for party in parties):
            return
        doubled = [(p, pks) for p in parties if (pks := one_record(p))]
        doubled = doubled or [(p, pks) for p in parties if (pks := one_key(p))]
        # Where one program has two records of a key and the other one, neither has a duplicate to see: any will do.
        party, pks = rng.choice(doubled or [(p, p.keys(CLIENT)) for p in parties if p.keys(CLIENT)])
        party.remove(CLIENT, rng.choice(pks))
        party.clock.wait(10)
    raise AssertionError("no end")


@pytest.mark.parametrize("seed", range(60))
def test_all_are_equal_when_people_have_solved_it(seed: int) -> None:
    rng = random.Random(seed)
    parties = world(rng.choice(NETWORKS), match_by={CLIENT: ["tax_id"]})
    live(rng, parties, 40)
    for party in parties:
        party.clock.wait(10)
    settle(parties)
    solve(rng, parties)
    rows = [party.rows(CLIENT, "name", "tax_id") for party in parties]
    assert all(found == rows[0] for found in rows), rows
    assert [party.codes for party in parties] == [[] for _ in parties]
