"""The same worlds over real databases: triggers, set-based SQL, ORM and raw writers.

``SYNCAPP_SIM_SEED=12 pytest tests/simulation/test_sql.py -k seeds`` replays one seed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.postgres import missing
from tests.simulation.budget import Tally, chunks, within_budget
from tests.simulation.databases import Backing
from tests.simulation.pgdatabases import Postgres
from tests.simulation.sqldatabases import Sqlite
from tests.simulation.sqlmodels import OFFERED
from tests.simulation.world import Plan, World

SEEDS, CHUNK = 400, 25
CHUNKS = chunks(SEEDS, CHUNK)
#: The part of the in-memory form's time that the real databases may take in addition.
SHARE = 0.25
#: Made once in a process: each keeps a template of its databases.
KINDS: dict[str, Backing] = {"SQLite": Sqlite(), "PostgreSQL": Postgres()}
kinds = pytest.mark.parametrize(
    "kind",
    ["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.skipif(bool(missing()), reason=missing()))],
)


@pytest.fixture
def programs(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Databases of the programs' own may be used, and the programs' tables are on offer."""
    with override_settings(SYNCAPP_TABLES=OFFERED), django_db_blocker.unblock():
        yield


def live(kind: str, seed: int, plan: Plan | None = None) -> World:
    """Run the world of ``seed``; a failure says how to see it again."""
    world = World(seed, plan, backing=KINDS[kind])
    try:
        return world.run()
    except Exception as error:
        again = f"SYNCAPP_SIM_SEED={seed} pytest tests/simulation/test_sql.py -k seeds"
        raise AssertionError(
            f"seed {seed}; replay: {again}\n{world.plan}\n{type(error).__name__}: {error}"
        ) from error


def live_slowly(kind: str, seeds: int) -> None:
    """Rows are edited after they were sealed: until then the journal row of their insert covers all that follows."""
    for seed in range(seeds):
        live(kind, seed, Plan(deeds=30, pace=600_000))


@pytest.mark.usefixtures("programs")
@pytest.mark.timeout(600)
@kinds
@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_seeds(kind: str, seeds: range, record_property: object) -> None:
    if kind == "PostgreSQL" and len(CHUNKS) > 1:
        seeds = seeds[:: len(CHUNKS)]  # a world takes some seconds there
    tally = Tally(f"on {kind}")
    for seed in within_budget(seeds, SHARE / len(CHUNKS) / len(KINDS)):
        tally.add(live(kind, seed))
    record_property("simulation", tally.properties())  # type: ignore[operator]


@pytest.mark.usefixtures("programs")
@kinds
def test_the_databases_keep_the_worlds_time(kind: str) -> None:
    """Else no seed would do the same again."""
    one, other = live(kind, 7), live(kind, 7)
    assert one.notes == other.notes
    assert [batch for _, _, batch in one.batches] == [batch for _, _, batch in other.batches]


@pytest.mark.usefixtures("programs")
@kinds
def test_a_trigger_that_is_gone_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle has teeth here too: capture is part of what is tested."""
    backing = KINDS[kind]
    create = type(backing).create

    def without_update(self: Backing, instance: object) -> object:
        database = create(self, instance)  # type: ignore[arg-type]
        table = database.numbers.table["client"]
        on = ' ON "sim_client"' if kind == "PostgreSQL" else ""
        database.run(f'DROP TRIGGER "syncapp_{table}_update"{on}')
        return database

    monkeypatch.setattr(type(backing), "create", without_update)
    with pytest.raises(AssertionError, match="Violation: "):
        live_slowly(kind, 5)
