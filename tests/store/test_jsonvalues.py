"""JSON texts: what they mean, and what no program could hold."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp.store.base import BadValue
from syncapp.store.jsonvalues import json_fault, read_json, same_json, write_json

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False).map(
    lambda f: f + 0.0
)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(values, st.booleans())
def test_what_is_written_is_read(value: Any, canonical: bool) -> None:
    assert same_json(read_json(write_json(value, canonical=canonical), canonical=canonical), value)
    assert json.loads(write_json(value, canonical=canonical)) == value


@given(st.floats(allow_nan=False, allow_infinity=False).map(lambda f: f + 0.0))
def test_a_database_that_writes_numbers_out_keeps_floats(number: float) -> None:
    written = write_json([number], canonical=True)
    assert "e+" not in written
    assert same_json(read_json(written, canonical=True), [number])


def test_a_whole_number_that_was_a_float() -> None:
    assert same_json(read_json(str(10**300), canonical=True), 1e300)
    assert isinstance(read_json(str(2**70 + 1), canonical=True), BadValue)
    assert isinstance(read_json(str(10**400), canonical=True), BadValue)
    assert isinstance(read_json(str(10**300)), BadValue), "where numbers stay as written it was none"


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("NaN", "finite"),
        ("[-Infinity]", "finite"),
        ("1e400", "finite"),
        ('"\\ud800"', "surrogate"),
        ('"\\u0000"', "NUL"),
        (str(2**64), "64 bits"),
        ("[" * 101 + "1" + "]" * 101, "deeper"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_bad_texts_are_named(stored: str, reason: str) -> None:
    found = read_json(stored)
    assert isinstance(found, BadValue)
    assert reason in str(found)


@pytest.mark.parametrize(
    ("stored", "value"), [("-0.0", 0.0), ('[-0.0, -0.5, "-0"]', [0.0, -0.5, "-0"]), ("1E2", 100.0)]
)
def test_odd_spellings(stored: str, value: Any) -> None:
    found = read_json(stored)
    assert same_json(found, value)
    assert json.dumps(found) == json.dumps(value)


def test_deep_values_are_refused() -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    assert "deeper" in json_fault(value)
