"""Sums and unions: joining is commutative, associative and idempotent, and loses nothing."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp.core import parts
from syncapp.core.clock import make_origin
from syncapp.core.parts import (
    Parts,
    baseline,
    change_sum,
    change_union,
    collection,
    join_sums,
    join_unions,
    members,
    renamed,
    sum_fault,
    union_fault,
    value_of,
)

A, B, C = (make_origin(bytes([n]) * 16, 1) for n in (1, 2, 3))
U, V, W = (bytes([n]) * 16 for n in (11, 12, 13))


def test_three_more_and_one_less_are_two_more() -> None:
    start = baseline(10)
    more, less = change_sum(start, 13, A, 5, None), change_sum(start, 9, B, 6, None)
    both = join_sums(more, less)
    assert value_of(both, None) == 12
    assert both == ((b"", 0, 10), (A, 5, 3), (B, 6, -1))


def test_own_changes_add_up_in_one_part() -> None:
    state = baseline("1.00")
    for time, value in [(5, "3.50"), (5, "3.25"), (4, "3.00")]:
        state = change_sum(state, value, A, time, 2)
    assert state == ((b"", 0, "1.00"), (A, 7, "2.00")), "its time goes up whatever the clock says"
    assert value_of(state, 2) == "3.00"


@pytest.mark.parametrize(
    ("values", "places", "total"),
    [
        (["0.10", "0.20"], 2, "0.30"),
        (["-0.05", "0.04"], 2, "-0.01"),
        (["0.01", "-0.01"], 2, "0.00"),
        (["99999999999999999999999999999999999.99", "0.01"], 2, "100000000000000000000000000000000000.00"),
        (["7", "-9"], 0, "-2"),
        ([2**63 - 1, 1], None, str(2**63)),
        ([str(2**63), -1], None, 2**63 - 1),
    ],
)
def test_sums_are_exact(values: list[Any], places: int | None, total: Any) -> None:
    state = tuple((origin, 1, value) for origin, value in zip([A, B], values, strict=True))
    assert value_of(state, places) == total


@given(st.lists(st.decimals(-1000, 1000, places=2), min_size=1, max_size=8))
def test_sums_of_decimals_are_what_decimals_say(numbers: list[Decimal]) -> None:
    state: Parts = ()
    for time, number in enumerate(numbers):
        state = change_sum(state, format(number, "f"), A, time, 2)
    assert Decimal(value_of(state, 2)) == numbers[-1]


moments = st.integers(0, 5)
# What an origin says at one moment is one thing only.
sums = st.dictionaries(st.sampled_from([b"", A, B, C]), moments, max_size=4).map(
    lambda found: tuple(sorted((o, t, t * 7 + (o[:1] or b"?")[0]) for o, t in found.items()))
)
unions = st.dictionaries(
    st.sampled_from([U, V, W]), st.tuples(moments, st.sampled_from([A, B]), st.booleans())
).map(lambda found: tuple(sorted((uid, *part) for uid, part in found.items())))


def check_laws(join: Any, one: Parts, two: Parts, three: Parts) -> None:
    assert join(one, two) == join(two, one)
    assert join(join(one, two), three) == join(one, join(two, three))
    assert join(one, one) == one
    assert join(join(one, two), two) == join(one, two)


@given(sums, sums, sums)
def test_laws_of_sums(one: Parts, two: Parts, three: Parts) -> None:
    check_laws(join_sums, one, two, three)


@given(unions, unions, unions)
def test_laws_of_unions(one: Parts, two: Parts, three: Parts) -> None:
    check_laws(join_unions, one, two, three)


@given(st.integers(0, 2**32))
def test_replicas_of_a_sum_end_with_all_that_anybody_added(seed: int) -> None:
    rng = random.Random(seed)
    states = dict.fromkeys((A, B, C), baseline(100))
    added = 0
    old: list[Parts] = []
    for time in range(25):
        who = rng.choice([A, B, C])
        if rng.random() < 0.5:
            more = rng.randrange(-9, 10)
            added += more
            now = value_of(states[who], None)
            assert isinstance(now, int)
            states[who] = change_sum(states[who], now + more, who, time // 2, None)
            old.append(states[who])
        elif old:
            states[who] = join_sums(states[who], rng.choice(old))
    everything = join_sums(join_sums(states[A], states[B]), states[C])
    assert value_of(everything, None) == 100 + added


def test_what_was_removed_stays_removed_until_it_is_added_again() -> None:
    start = collection([U, V])
    removed = change_union(start, [], [U], A, 5)
    added = change_union(start, [W], [], B, 4)
    both = join_unions(removed, added)
    assert members(both) == {V, W}
    assert members(join_unions(both, start)) == {V, W}, "an old state brings nothing back"
    again = change_union(both, [U], [], B, 3)
    assert members(join_unions(again, removed)) == {U, V, W}, (
        "above what it has seen, whatever the clock says"
    )


def test_of_two_edits_of_one_element_the_later_stands() -> None:
    start = collection([U])
    gone, back = change_union(start, [], [U], A, 5), change_union(start, [U], [], B, 6)
    assert members(join_unions(gone, back)) == {U}
    later = change_union(start, [], [U], A, 7)
    assert members(join_unions(later, back)) == set()


def test_two_names_of_one_record_are_one_element() -> None:
    state = join_unions(change_union((), [U], [], A, 5), change_union((), [], [V], B, 6))
    assert renamed(state, lambda uid: U if uid == V else uid) == ((U, 6, B, False),)
    assert renamed(state, lambda uid: uid) is state


@pytest.mark.parametrize(
    ("state", "places"),
    [
        (5, None),
        ([], None),
        ([[0, 1]], None),
        ([[0, -1, 5]], None),
        ([[0, True, 5]], None),
        ([[0, 1, 1.5]], None),
        ([[0, 1, True]], None),
        ([[0, 1, "1.5"]], None),
        ([[0, 1, "1.5"]], 2),
        ([[0, 1, 5]], 2),
        ([[0, 1, "1e5"]], 0),
        ([[0, 1, "Infinity"]], 2),
    ],
)
def test_what_is_no_sum(state: Any, places: int | None) -> None:
    assert sum_fault(state, places)


def test_what_is_a_sum() -> None:
    assert sum_fault([[0, 1, -5], [1, 2, str(2**70)]], None) == ""
    assert sum_fault(((0, 1, "-5.00"),), 2) == ""
    assert sum_fault([[0, 1, "5"]], 0) == sum_fault([[0, 1, 5]], 0) == ""


@pytest.mark.parametrize(
    "state",
    [
        None,
        [[U, 1, 0]],
        [["u" * 16, 1, 0, True]],
        [[b"short", 1, 0, True]],
        [[U, -1, 0, True]],
        [[U, 1, 0, 1]],
    ],
)
def test_what_is_no_union(state: Any) -> None:
    assert union_fault(state)
    assert union_fault([[U, 1, 0, True]]) == union_fault([]) == ""


def test_of_two_baselines_of_one_moment_the_greater_is_taken() -> None:
    assert join_sums(baseline("9.50"), baseline("10.25")) == baseline("10.25")
    assert join_sums(baseline("9.50", 5), baseline("10.25", 4)) == baseline("9.50", 5)


def test_parts_of_either_kind_are_joined() -> None:
    one, other = change_sum(baseline(1), 2, A, 5, None), change_sum(baseline(1), 4, B, 5, None)
    assert parts.join_parts(one, other) == join_sums(one, other)
    assert parts.join_parts(collection([U]), ()) == collection([U])
    assert parts.join_parts((), ()) == ()


def test_units_and_totals_are_inverse() -> None:
    for text, places in [("0.00", 2), ("-0.01", 2), ("123.45", 2), ("5", 0)]:
        assert parts._total(parts.units(text, places), places) == text
