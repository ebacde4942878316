"""Types that fit: every pair of kinds, and what their limits decide."""

import itertools
from typing import Any

import pytest

from syncapp import details
from syncapp.core.kinds import FieldType, Fit, Kind, fit, loss, read_option, read_options

#: Target kinds of each kind, without any limits; its own kind is exact and all others are impossible.
EXACT = {
    Kind.BOOLEAN: {Kind.INTEGER, Kind.TEXT},
    Kind.INTEGER: {Kind.DECIMAL, Kind.TEXT},
    Kind.DECIMAL: {Kind.TEXT},
    Kind.FLOAT: {Kind.TEXT},
    Kind.DATE: {Kind.TEXT},
    Kind.TIME: {Kind.TEXT},
    Kind.DATETIME: {Kind.TEXT},
    Kind.UUID: {Kind.TEXT},
    Kind.IP: {Kind.TEXT},
}
LOSSY = {
    Kind.INTEGER: {Kind.FLOAT, Kind.BOOLEAN},
    Kind.DECIMAL: {Kind.FLOAT, Kind.INTEGER},
    Kind.FLOAT: {Kind.DECIMAL, Kind.INTEGER},
    Kind.DATE: {Kind.DATETIME},
    Kind.DATETIME: {Kind.DATE},
}


@pytest.mark.parametrize(("source", "target"), list(itertools.product(Kind, Kind)))
def test_fit_of_every_pair_of_kinds(source: Kind, target: Kind) -> None:
    expected = Fit.IMPOSSIBLE
    if source is target or target in EXACT.get(source, ()):
        expected = Fit.EXACT
    elif target in LOSSY.get(source, ()):
        expected = Fit.LOSSY
    assert fit(FieldType(source), FieldType(target)) is expected


def text(length: int | None = None) -> FieldType:
    return FieldType(Kind.TEXT, length=length)


def integer(low: int | None = None, high: int | None = None) -> FieldType:
    return FieldType(Kind.INTEGER, low=low, high=high)


def decimal(digits: int, places: int) -> FieldType:
    return FieldType(Kind.DECIMAL, digits=digits, places=places)


def binary(length: int | None = None) -> FieldType:
    return FieldType(Kind.BINARY, length=length)


SMALL = integer(-(2**15), 2**15 - 1)
LIMITS: list[tuple[FieldType, FieldType, str]] = [
    (text(100), text(200), ""),
    (text(200), text(100), details.LOSS_CUT),
    (text(), text(100), details.LOSS_CUT),
    (text(100), text(), ""),
    (binary(100), binary(100), ""),
    (binary(), binary(100), details.LOSS_LONGER),
    (integer(0, 10), integer(-5, 10), ""),
    (integer(-6, 10), integer(-5, 10), details.LOSS_RANGE),
    (integer(0, 11), integer(0, 10), details.LOSS_RANGE),
    (integer(), integer(0), details.LOSS_RANGE),
    (integer(), integer(-(2**70), 2**70), ""),
    (decimal(12, 2), decimal(14, 4), ""),
    (decimal(12, 2), decimal(12, 4), details.LOSS_DIGITS),
    (decimal(12, 4), decimal(20, 2), details.LOSS_ROUNDED),
    (SMALL, decimal(7, 2), ""),
    (SMALL, decimal(6, 2), details.LOSS_DIGITS),
    (SMALL, FieldType(Kind.FLOAT), ""),
    (integer(0, 2**53), FieldType(Kind.FLOAT), ""),
    (integer(0, 2**53 + 1), FieldType(Kind.FLOAT), details.LOSS_FLOAT),
    (SMALL, text(6), ""),
    (SMALL, text(5), details.LOSS_LONGER),
    (decimal(4, 0), SMALL, ""),
    (decimal(5, 0), SMALL, details.LOSS_RANGE),
    (decimal(5, 0), integer(0), details.LOSS_RANGE),
    (decimal(4, 1), SMALL, details.LOSS_ROUNDED),
    (decimal(15, 2), FieldType(Kind.FLOAT), ""),
    (decimal(16, 2), FieldType(Kind.FLOAT), details.LOSS_FLOAT),
    (decimal(2, 2), text(5), ""),
    (decimal(2, 2), text(4), details.LOSS_LONGER),
    (FieldType(Kind.FLOAT), text(24), ""),
    (FieldType(Kind.FLOAT), text(23), details.LOSS_LONGER),
    (FieldType(Kind.BOOLEAN), integer(0, 1), ""),
    (FieldType(Kind.BOOLEAN), integer(1, 5), details.LOSS_RANGE),
    (FieldType(Kind.BOOLEAN), text(5), ""),
    (FieldType(Kind.BOOLEAN), text(4), details.LOSS_LONGER),
    (FieldType(Kind.DATETIME), text(27), ""),
    (FieldType(Kind.DATETIME), text(20), details.LOSS_LONGER),
    (FieldType(Kind.UUID), text(36), ""),
    (FieldType(Kind.IP), text(39), ""),
    (FieldType(Kind.IP), text(15), details.LOSS_LONGER),
    (FieldType(Kind.TEXT, null=True), text(), ""),
]


@pytest.mark.parametrize(("source", "target", "lost"), LIMITS, ids=lambda part: getattr(part, "kind", part))
def test_limits(source: FieldType, target: FieldType, lost: str) -> None:
    assert fit(source, target) is (Fit.LOSSY if lost else Fit.EXACT)
    found = loss(source, target)
    assert (found.text if found else "") == lost
    if found:
        assert found.text.format_map(found.params), "the sentence has all that it names"


@pytest.mark.parametrize(
    ("source", "length"),
    [(Kind.BOOLEAN, 3), (Kind.DATE, 9), (Kind.TIME, 7), (Kind.DATETIME, 19), (Kind.UUID, 35)],
)
def test_a_column_too_short_for_any_value(source: Kind, length: int) -> None:
    assert fit(FieldType(source), text(length)) is Fit.IMPOSSIBLE
    assert fit(FieldType(source), text(length + 1)) is not Fit.IMPOSSIBLE


@pytest.mark.parametrize(
    ("written", "type", "value"),
    [
        ("paid", text(), "paid"),
        ("paid", text(3), None),
        ("", text(), ""),
        ("7", integer(), 7),
        ("-7", integer(), -7),
        ("07", integer(), None),
        ("7.0", integer(), None),
        ("--7", integer(), None),
        ("٧", integer(), None),
        ("11", integer(0, 10), None),
        ("true", FieldType(Kind.BOOLEAN), True),
        ("false", FieldType(Kind.BOOLEAN), False),
        ("1", FieldType(Kind.BOOLEAN), None),
        ("2026-01-01", FieldType(Kind.DATE), None),
    ],
)
def test_option_values_in_a_configuration(written: str, type: FieldType, value: Any) -> None:
    assert read_option(written, type) == value


def test_all_options_or_none() -> None:
    assert read_options(["1", "2"], integer()) == {"1": 1, "2": 2}
    assert read_options(["1", "x"], integer()) is None
    assert read_options(["false"], FieldType(Kind.BOOLEAN)) == {"false": False}
