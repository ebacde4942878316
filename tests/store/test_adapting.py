"""Values on their way from one type to another: exact where the pair is, and else always with the same loss."""

import itertools
import math
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncapp.core.kinds import FieldType, Fit, Kind, fit
from syncapp.store.adapting import adapt
from syncapp.store.values import checker

UTC = ZoneInfo("UTC")
MOSCOW = ZoneInfo("Europe/Moscow")

ADAPTED: list[tuple[Any, Kind, FieldType, Any]] = [
    (True, Kind.BOOLEAN, FieldType(Kind.INTEGER), 1),
    (0, Kind.INTEGER, FieldType(Kind.BOOLEAN), False),
    (1, Kind.INTEGER, FieldType(Kind.BOOLEAN), True),
    (12, Kind.INTEGER, FieldType(Kind.DECIMAL, digits=5, places=2), "12.00"),
    ("12.5", Kind.DECIMAL, FieldType(Kind.DECIMAL, digits=5, places=2), "12.50"),
    ("12.345", Kind.DECIMAL, FieldType(Kind.DECIMAL, digits=5, places=2), "12.34"),
    ("12.355", Kind.DECIMAL, FieldType(Kind.DECIMAL, digits=5, places=2), "12.36"),
    ("-0.001", Kind.DECIMAL, FieldType(Kind.DECIMAL, digits=5, places=2), "0.00"),
    ("0.5", Kind.DECIMAL, FieldType(Kind.INTEGER), 0),
    ("1.5", Kind.DECIMAL, FieldType(Kind.INTEGER), 2),
    ("12.50", Kind.DECIMAL, FieldType(Kind.FLOAT), 12.5),
    (0.1, Kind.FLOAT, FieldType(Kind.DECIMAL, digits=5, places=2), "0.10"),
    (2.5, Kind.FLOAT, FieldType(Kind.INTEGER), 2),
    (7, Kind.INTEGER, FieldType(Kind.FLOAT), 7.0),
    (2**53 + 1, Kind.INTEGER, FieldType(Kind.FLOAT), 2.0**53),
    ("2026-01-02", Kind.DATE, FieldType(Kind.DATETIME), "2026-01-01T21:00:00Z"),
    ("2026-01-02T22:04:05Z", Kind.DATETIME, FieldType(Kind.DATE), "2026-01-03"),
    (str(uuid.UUID(int=1)), Kind.UUID, FieldType(Kind.TEXT, length=36), str(uuid.UUID(int=1))),
    (-5, Kind.INTEGER, FieldType(Kind.TEXT, length=20), "-5"),
    ("12.50", Kind.DECIMAL, FieldType(Kind.TEXT, length=20), "12.50"),
    (0.1, Kind.FLOAT, FieldType(Kind.TEXT), "0.1"),
    (True, Kind.BOOLEAN, FieldType(Kind.TEXT, length=5), "true"),
    ("09:30:00", Kind.TIME, FieldType(Kind.TEXT), "09:30:00"),
    ("::1", Kind.IP, FieldType(Kind.TEXT, length=39), "::1"),
    ("abcdef", Kind.TEXT, FieldType(Kind.TEXT, length=3), "abc"),
    ("ёжик", Kind.TEXT, FieldType(Kind.TEXT, length=2), "ёж"),
    ("abc", Kind.TEXT, FieldType(Kind.TEXT), "abc"),
    (None, Kind.INTEGER, FieldType(Kind.DECIMAL, null=True, places=2), None),
    ({"a": 1}, Kind.JSON, FieldType(Kind.JSON), {"a": 1}),
]


@pytest.mark.parametrize(("value", "source", "target", "wire"), ADAPTED)
def test_values_take_the_form_of_the_field(value: Any, source: Kind, target: FieldType, wire: Any) -> None:
    found = adapt(value, source, target, MOSCOW)
    assert (found, type(found)) == (wire, type(wire))
    assert checker(target)(found) == ""


@pytest.mark.parametrize(
    ("value", "source", "target"),
    [
        ("x", Kind.DECIMAL, FieldType(Kind.DECIMAL, digits=5, places=2)),
        (math.inf, Kind.FLOAT, FieldType(Kind.DECIMAL, digits=5, places=2)),
        ([], Kind.INTEGER, FieldType(Kind.DECIMAL, digits=5, places=2)),
        (1000, Kind.INTEGER, FieldType(Kind.DECIMAL, digits=5, places=2)),
        (10**6, Kind.INTEGER, FieldType(Kind.INTEGER, low=0, high=100)),
        (1e30, Kind.FLOAT, FieldType(Kind.INTEGER)),
        (2, Kind.INTEGER, FieldType(Kind.BOOLEAN)),
        (123456, Kind.INTEGER, FieldType(Kind.TEXT, length=4)),
        ("0001-01-01", Kind.DATE, FieldType(Kind.DATETIME)),
        ("9999-12-31T23:59:59Z", Kind.DATETIME, FieldType(Kind.DATE)),
    ],
)
def test_what_does_not_fit_is_refused_and_never_bent(value: Any, source: Kind, target: FieldType) -> None:
    assert checker(target)(adapt(value, source, target, MOSCOW)) != ""


# -- whatever the types -------------------------------------------------------------------------------------

TYPES = [
    FieldType(Kind.TEXT),
    FieldType(Kind.TEXT, length=5),
    FieldType(Kind.TEXT, length=40),
    FieldType(Kind.INTEGER),
    FieldType(Kind.INTEGER, low=0, high=99),
    FieldType(Kind.INTEGER, low=-(2**15), high=2**15 - 1),
    FieldType(Kind.DECIMAL, digits=5, places=2),
    FieldType(Kind.DECIMAL, digits=12, places=4),
    FieldType(Kind.DECIMAL, digits=25, places=0),
    FieldType(Kind.FLOAT),
    FieldType(Kind.BOOLEAN),
    FieldType(Kind.DATE),
    FieldType(Kind.TIME),
    FieldType(Kind.DATETIME),
    FieldType(Kind.UUID),
    FieldType(Kind.IP),
    FieldType(Kind.BINARY, length=5),
    FieldType(Kind.BINARY),
]


def values_of(type: FieldType) -> st.SearchStrategy[Any]:
    """Good values of ``type``."""
    text = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=type.length or 60
    )
    scale = 10 ** (type.digits or 1) - 1
    kinds: dict[Kind, st.SearchStrategy[Any]] = {
        Kind.TEXT: text,
        Kind.INTEGER: st.integers(
            -(2**63) if type.low is None else type.low, 2**63 - 1 if type.high is None else type.high
        ),
        Kind.DECIMAL: st.integers(-scale, scale).map(lambda n: _plain(n, type.places or 0)),
        Kind.FLOAT: st.floats(allow_nan=False, allow_infinity=False),
        Kind.BOOLEAN: st.booleans(),
        Kind.DATE: st.dates().map(lambda day: day.isoformat()),
        Kind.TIME: st.times().map(lambda moment: moment.isoformat()),
        Kind.DATETIME: st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
        Kind.UUID: st.uuids().map(str),
        Kind.IP: st.ip_addresses(v=4).map(str),
        Kind.BINARY: st.binary(max_size=type.length or 20),
    }
    return kinds[type.kind]


def _plain(number: int, places: int) -> str:
    digits = str(abs(number)).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if number < 0 else text


PAIRS = [pair for pair in itertools.product(TYPES, TYPES) if fit(*pair) is not Fit.IMPOSSIBLE]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda type: type.text())
def test_an_exact_pair_loses_nothing_and_a_lossy_one_always_the_same(
    source: FieldType, target: FieldType
) -> None:
    exact = fit(source, target) is Fit.EXACT
    seen: dict[Any, Any] = {}

    @settings(max_examples=20, deadline=None)
    @given(values_of(source))
    def holds(value: Any) -> None:
        assert checker(source)(value) == "", "the strategy gives good values only"
        found = adapt(value, source.kind, target, UTC)
        assert adapt(value, source.kind, target, UTC) == found
        fault = checker(target)(found)
        if exact:
            assert fault == ""
            assert seen.setdefault(found, value) == value, "two values have become one"
        elif not fault:
            assert adapt(found, target.kind, target, UTC) == found, "a narrower value stays as it is"

    holds()


def test_the_pairs_that_are_possible() -> None:
    kinds = {(source.kind, target.kind) for source, target in PAIRS}
    assert len(kinds) == len({type.kind for type in TYPES}) + 19
