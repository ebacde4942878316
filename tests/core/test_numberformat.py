"""Patterns of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp.core.numberformat import NumberFormat, read_format


@pytest.mark.parametrize(
    ("pattern", "number", "text"),
    [
        ("{}", 7, "7"),
        ("{:d}", 7, "7"),
        ("{:06}", 7, "000007"),
        ("{:06d}", 1234567, "1234567"),
        ("INV-{:06d}", 42, "INV-000042"),
        ("№ {} от филиала", 3, "№ 3 от филиала"),
    ],
)
def test_patterns(pattern: str, number: int, text: str) -> None:
    found = read_format(pattern)
    assert found is not None
    assert found.text(number) == text
    assert found.number(text) == number


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "INV", "{", "{}}", "{} {}", "{:6}", "{:00}", "{:019}", "{0}", "{x}", "{.__class__}", "{!r}"),
        *("{:>6}", "{:06x}", "2026{}", "{}7"),
    ],
)
def test_no_patterns(pattern: str) -> None:
    assert read_format(pattern) is None


@pytest.mark.parametrize(
    "text",
    ["", "INV-", "42", "INV-42", "INV-0000042", "INV-00004x", "inv-000042", "INV-+00042", "INV-٠٠٠٠٤٢"],
)
def test_other_texts_are_no_numbers(text: str) -> None:
    assert NumberFormat("INV-", 6).number(text) is None


@given(
    st.integers(0, 10**18 - 1), st.text("ab-/ ", max_size=3), st.integers(0, 18), st.text("ab-/ ", max_size=3)
)
def test_round_trip(number: int, prefix: str, width: int, suffix: str) -> None:
    made = NumberFormat(prefix, width, suffix)
    assert made.number(made.text(number)) == number


def test_limit() -> None:
    assert NumberFormat("INV-", 6).limit(10) == 999_999
    assert NumberFormat("INV-", 6).limit(9) == 0
    assert NumberFormat("", 0).limit(None) == 10**18 - 1
    assert len(NumberFormat("INV-", 6).text(NumberFormat("INV-", 6).limit(12))) == 12
