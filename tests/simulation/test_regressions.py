"""Bugs that the simulation found, each as the seed that showed it or as the smallest world that does.

Smaller cases of the same bugs, without a world around them, stand beside their modules: the names say which.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.network import Weather
from tests.simulation.traits import Traits
from tests.simulation.world import Plan, World

LOSSY = Weather(lossy=True, delay=50_000, drop=0.15, double=0.1, reorder=0.3)


@pytest.mark.parametrize("seed", [4, 30, 32])
def test_a_change_of_a_record_that_moved_on_was_passed_over(seed: int) -> None:
    """Bounded reads passed a field's number while its record already stood further on (tests/store/test_feed.py)."""
    World(seed, traits=Traits()).run()


@pytest.mark.parametrize("seed", range(10))
def test_bounded_reads_of_records_that_keep_changing(seed: int) -> None:
    World(seed, Plan(records=1, pace=1_000, deeds=80, collisions=0.0)).run()


@pytest.mark.parametrize("seed", range(10))
def test_a_hello_that_overtook_the_check_of_the_proof(seed: int) -> None:
    """The passive side greets while the active one still checks its proof: closed as unexpected, for ever."""
    World(seed, Plan(deeds=5, work=300_000)).run()


@pytest.mark.parametrize("seed", [5, *range(20, 30)])
def test_one_natural_key_on_both_sides_at_once(seed: int) -> None:
    """Each took the other name and forgot its own: later edits were parked (tests/store/test_identity.py)."""
    World(seed, Plan(collisions=1.0, pace=5_000, weather=Weather(delay=100_000))).run()


@pytest.mark.parametrize("seed", [1282, 2513, *range(10)])
def test_the_account_after_a_lost_acknowledgement(seed: int) -> None:
    """A pong told of progress, but nobody asked for the totals of the acknowledgement that was lost."""
    World(seed, Plan(weather=LOSSY)).run()


@pytest.mark.parametrize("seed", [533])
def test_the_account_of_a_batch_that_came_twice(seed: int) -> None:
    """Its acknowledgement confirmed nothing new and was lost: no pong told of it (tests/core/test_session.py)."""
    World(seed, traits=Traits()).run()


@pytest.mark.parametrize("seed", [353])
def test_a_dead_record_is_known_by_names_that_come_too_late(seed: int) -> None:
    """A superseded change brought another name; the next under it made a new row (tests/store/test_deletions.py)."""
    World(seed, traits=Traits()).run()


@pytest.mark.parametrize("seed", range(10))
def test_crashes_in_every_other_step(seed: int) -> None:
    World(seed, Plan(crash=0.06, takeover=0.05, kill=0.1, deeds=60)).run()


@pytest.mark.parametrize("seed", range(5))
def test_clocks_that_jump_all_the_time(seed: int) -> None:
    World(seed, Plan(jump=1.0, deeds=60)).run()


# -- traits: each as the world that showed it -------------------------------------------------------------------


def live(seed: int, **traits: Any) -> None:
    World(seed, traits=Traits(**traits)).run()


@pytest.mark.parametrize("seed", [1034, 2643])
def test_edits_that_met_a_grave_were_lost_when_the_record_came_back(seed: int) -> None:
    """Nobody told them again to the program that had deleted the record (tests/store/test_deletions.py)."""
    live(seed, deaths=True)


@pytest.mark.parametrize("seed", [1900, 2013])
def test_graves(seed: int) -> None:
    """A peer that was never told of a death, and edits that were known before it (tests/store/test_deletions.py)."""
    live(seed, deaths=True)


@pytest.mark.parametrize("seed", [11465])
def test_names_of_records_that_come_back(seed: int) -> None:
    """They were to be told when the record died; nothing was sent of it afterwards that they could go with."""
    live(seed, deaths=True)


@pytest.mark.parametrize("seed", [1776, 3494])
def test_unions_of_records_that_come_back(seed: int) -> None:
    """Their elements were not told further, or fell out of the row (tests/store/test_deletions.py)."""
    live(seed, deaths=True, joined=True)


@pytest.mark.parametrize("seed", [221, 762, 1283])
def test_what_waited_in_a_backup_was_counted_twice(seed: int) -> None:
    """Sealed by both lives of the database, under two origins (tests/store/test_restore.py)."""
    live(seed, joined=True, restores=True)


@pytest.mark.parametrize("seed", [306])
def test_a_restored_programs_own_edits_that_came_by_another_way(seed: int) -> None:
    """They counted as known to it (tests/store/test_restore.py)."""
    live(seed, restores=True)


@pytest.mark.parametrize("seed", [66, 1335])
def test_a_restored_program_was_taken_for_a_copy(seed: int) -> None:
    """Its peer's refusal came before its own look at the peer's hello (tests/store/test_twins.py)."""
    live(seed, joined=seed == 1335, restores=True)


@pytest.mark.parametrize("seed", [8642, 9613, 18714])
def test_alive_beyond_the_source_of_a_deletion(seed: int) -> None:
    """Deletions one way to a program that shares them both ways with another one (tests/store/test_deletions.py).

    The judge took the return of the record, of which the source cannot hear, for a deletion that was never told.
    """
    World(seed).run()


@pytest.mark.parametrize("seed", [13120])
def test_a_record_that_came_round_by_a_road_without_deletions(seed: int) -> None:
    """Its author had told the other neighbour alone, and died unheard (tests/store/deletion_contract.py)."""
    World(seed).run()


@pytest.mark.parametrize("seed", [9774])
def test_a_revival_that_the_source_of_deletions_is_not_told(seed: int) -> None:
    """It had seen the deletion, as a later value in a field that is only received: the judge took it for a fault."""
    World(seed).run()


@pytest.mark.parametrize("seed", [30578])
def test_an_edit_went_with_the_archive_when_the_record_came_back(seed: int) -> None:
    """The peer that told of the return had no value for the field (tests/store/test_deletions.py)."""
    World(seed).run()


@pytest.mark.parametrize("seed", [48388])
def test_a_record_lost_its_name_with_a_change_that_could_not_be_written(seed: int) -> None:
    """It took the other name that came with the change, and nobody had confirmed it (tests/store/test_deletions.py)."""
    World(seed).run()
