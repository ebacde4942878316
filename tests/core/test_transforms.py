"""Steps on the way of a value: pure, closed, the same for the same value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncapp.core.transforms import KINDS, NAMES, PLAIN, Step, ValueMap, phone, transform

VALUES = st.one_of(
    st.none(),
    st.text(),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.integers()),
    st.binary(),
)
TABLE = ValueMap([("new", "open"), ("paid", "closed"), (1, 2), (True, False)])
STEPS = st.one_of(
    st.sampled_from([Step(name) for name in PLAIN]),
    st.sampled_from([Step("default", "none"), Step("default", 0), Step("map", TABLE)]),
)


@pytest.mark.parametrize(
    ("step", "value", "expected"),
    [
        (Step("strip"), "  a b \n", "a b"),
        (Step("strip"), None, None),
        (Step("strip"), 5, 5),
        (Step("upper"), "Straße ы", "STRASSE Ы"),
        (Step("lower"), "ÄB", "äb"),
        (Step("default", "n/a"), "", "n/a"),
        (Step("default", "n/a"), None, "n/a"),
        (Step("default", 7), 0, 0),
        (Step("default", True), False, False),
        (Step("map", TABLE), "new", "open"),
        (Step("map", TABLE), "other", "other"),
        (Step("map", TABLE), 1, 2),
        (Step("map", TABLE), True, False),
        (Step("map", TABLE), 1.0, 1.0),
        (Step("map", TABLE), ["new"], ["new"]),
        (Step("map", TABLE), None, None),
    ],
)
def test_a_step(step: Step, value: Any, expected: Any) -> None:
    found = step.take(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+7 (912) 345-67-89", "+79123456789"),
        ("8 912 345 67 89", "89123456789"),
        ("00 49 30 1234", "+49301234"),
        ("(+49) 30/12.34", "+49301234"),
        ("7+3", "73"),
        ("+7 912 доб. 12", "+7912x12"),
        ("tel. 12 34 ext 5", "1234x5"),
        ("٠١٢", "012"),
        ("  none ", "none"),
        ("", ""),
        ("+", "+"),
    ],
)
def test_phone_numbers(written: str, number: str) -> None:
    assert phone(written) == number


def test_steps_are_taken_in_their_order() -> None:
    steps = (Step("strip"), Step("lower"), Step("map", ValueMap([("yes", "1")])), Step("default", "0"))
    assert [transform(steps, value) for value in (" YES ", "  ", None, "no")] == ["1", "0", "0", "no"]


@given(st.lists(STEPS, max_size=4), VALUES)
def test_the_same_value_always_becomes_the_same(steps: list[Step], value: Any) -> None:
    once, again = transform(steps, value), transform(steps, value)
    assert (once, type(once)) == (again, type(again))


@given(st.sampled_from(PLAIN), st.text())
def test_plain_steps_need_be_taken_once_only(name: str, value: str) -> None:
    once = Step(name).take(value)
    assert Step(name).take(once) == once


@given(VALUES)
def test_what_a_step_is_not_made_for_passes_unchanged(value: Any) -> None:
    if not isinstance(value, str):
        assert [Step(name).take(value) for name in PLAIN] == [value] * len(PLAIN)


@given(st.text())
@example("00")
def test_a_phone_number_holds_digits_and_signs_only(value: str) -> None:
    found = phone(value)
    assert any(character.isdecimal() for character in value) == any(c.isdecimal() for c in found)
    if any(character.isdecimal() for character in value):
        assert set(found) <= set("0123456789+x")
        assert "+" not in found[1:]


@given(
    st.dictionaries(
        st.one_of(st.text(max_size=2), st.integers(0, 3)), st.one_of(st.text(max_size=2), st.integers(0, 3))
    )
)
def test_a_table_that_can_be_read_from_both_sides(table: dict[Any, Any]) -> None:
    there = ValueMap(table.items())
    back = there.back()
    targets = {(type(value), value) for value in table.values()}
    assert (back is None) == (len(targets) < len(table))
    if back is None:
        return
    for value in [*table, *table.values(), "zzz"]:
        if not there.one_way(value):
            assert back.get(there.get(value)) == value


def test_every_name_has_its_kinds() -> None:
    assert KINDS.keys() == set(NAMES)
