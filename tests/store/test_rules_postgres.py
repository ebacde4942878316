"""Rules in networks of PostgreSQL databases: the same tests as elsewhere, a choice of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from syncapp.store.choices import Answer
from tests.store import test_policies, test_sum, test_union
from tests.store.replicas import Maker, make_on_postgres, shelf

__all__ = ["make_on_postgres", "shelf"]

RING = ["ab", "bc", "ca"]
CHECKS: dict[str, Callable[[Maker], Any]] = {
    "sum, any order": partial(test_sum.test_everything_that_anybody_adds_counts_once, links=RING, seed=1),
    "sum, first edit": test_sum.test_the_first_edit_of_a_number_that_was_never_edited,
    "sum, out of range": test_sum.test_a_sum_out_of_range_waits_with_both_numbers_until_there_is_room,
    "union, any order": partial(
        test_union.test_any_order_ends_equal_with_all_that_was_added_for_good, links=RING, seed=1
    ),
    "union, first edits": test_union.test_the_first_edits_of_a_set_that_was_never_edited,
    "union, deleted target": test_union.test_deleting_a_target_takes_it_out_everywhere,
    "ask": partial(
        test_policies.test_a_decision_on_either_side_reaches_both_and_ends_the_question,
        who="a",
        said=Answer("theirs"),
        value="b",
    ),
    "ask, all links": partial(test_policies.test_decisions_end_the_questions_of_all_links, links=RING),
    "restore": test_policies.test_a_restored_loser_reaches_all_programs_and_so_does_a_change_of_mind,
    "relations": test_policies.test_asked_relations_are_decided_by_record,
}


@pytest.mark.postgres
@pytest.mark.parametrize("check", CHECKS)
def test_on_postgresql(make_on_postgres: Maker, check: str) -> None:
    CHECKS[check](make_on_postgres)
