"""What only SQLite does to values: it stores anything anywhere, and other programs write to the file."""

import datetime as dt
import json
import math
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from syncapp.core.kinds import FieldType, Kind
from syncapp.store.base import BadValue
from syncapp.store.sql.codecs import sqlite_codec
from tests.store.test_value_columns import stored

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite]


def read_raw(name: str, raw: Any) -> Any:
    return stored(name, raw)


READ: list[tuple[str, Any, Any]] = [
    ("decimal", 12, "12.00"),
    ("decimal", 12.349999999999999999, "12.35"),
    ("decimal", -0.001, "0.00"),
    ("flag", 0, False),
    ("day", "2026-11-24 00:00:00", "2026-11-24"),
    ("hour", "09:30", "09:30:00"),
    ("hour", "09:30:00.5", "09:30:00.500000"),
    ("moment", "2026-11-24 09:30", "2026-11-24T09:30:00Z"),
    ("moment", "2026-11-24", "2026-11-24T00:00:00Z"),
    ("moment", "2026-11-24 09:30:00.123", "2026-11-24T09:30:00.123000Z"),
    ("moment", "2026-11-24 09:30:00.000000", "2026-11-24T09:30:00Z"),
    ("moment", "2026-11-24T09:30:00Z", "2026-11-24T09:30:00Z"),
    ("moment", "2026-11-24 12:30:00+03:00", "2026-11-24T09:30:00Z"),
    ("key", "00000000-0000-0000-0000-000000000005", "00000000-0000-0000-0000-000000000005"),
    ("address", "2001:DB8:0::1", "2001:db8::1"),
    ("json", "null", None),
    ("json", "1E2", 100.0),
    ("json", ' {"a" : 1} ', {"a": 1}),
    ("floating", 5, 5.0),
]


@pytest.mark.parametrize(("name", "raw", "wire"), READ)
def test_other_programs_spellings_are_understood(name: str, raw: Any, wire: Any) -> None:
    assert read_raw(name, raw) == wire


ODD: list[tuple[str, Any]] = [
    ("char", b"blob"),
    ("char", "x" * 51),
    ("char", "a\0b"),
    ("small", "five"),
    ("small", 2.5),
    ("small", 40_000),
    ("positive", -1),
    ("decimal", "twelve"),
    ("decimal", math.inf),
    ("decimal", b"1"),
    ("decimal", 10**13),
    ("floating", "x"),
    ("floating", math.inf),
    ("flag", 2),
    ("flag", "yes"),
    ("day", "24.11.2026"),
    ("day", "2026-11-31"),
    ("day", "2026-11-24 10:00:00"),
    ("day", 20261124),
    ("hour", "25:00:00"),
    ("hour", "soon"),
    ("moment", "yesterday"),
    ("moment", "2026-11-31 00:00:00"),
    ("moment", "2026-11-24 25:00:00"),
    ("moment", 1_795_000_000),
    ("span", "1 day"),
    ("key", "not-a-uuid"),
    ("address", "somewhere"),
    ("json", "1e400"),
    ("json", str(2**64)),
    ("json", "{"),
    ("json", "NaN"),
    ("json", '"\\ud800"'),
    ("json", "[" * 400 + "]" * 400),
    ("binary", "text"),
    ("binary", b"x" * 101),
]


@pytest.mark.parametrize(("name", "raw"), ODD)
def test_odd_stored_values_read_as_bad(name: str, raw: Any) -> None:
    found = read_raw(name, raw)
    assert isinstance(found, BadValue)
    assert str(found)


def test_one_bad_value_does_not_spoil_its_neighbours() -> None:
    codec = sqlite_codec(FieldType(Kind.INTEGER, null=True, low=0, high=9), dt.UTC)
    good, bad, null, high = codec.read_column([1, "x", None, 10])
    assert (good, null) == (1, None)
    assert isinstance(bad, BadValue)
    assert isinstance(high, BadValue)


def test_good_columns_are_handed_on_as_they_are() -> None:
    """The hot path: nothing is made per value."""
    for kind, column in (
        (Kind.TEXT, ["a", None]),
        (Kind.INTEGER, [1, None]),
        (Kind.FLOAT, [1.5]),
        (Kind.KEY, ["1"]),
    ):
        codec = sqlite_codec(FieldType(kind, null=True, length=9), dt.UTC)
        assert codec.read_column(column) is column


def test_decimals_that_sqlite_would_round_are_refused() -> None:
    codec = sqlite_codec(FieldType(Kind.DECIMAL, digits=30, places=2), dt.UTC)
    assert "significant digits" in codec.check("99999999999999.99")
    assert codec.check("9999999999999.99") == ""
    assert codec.check("123456789012345000.00") == ""


def test_sites_without_time_zones() -> None:
    moscow = sqlite_codec(FieldType(Kind.DATETIME), ZoneInfo("Europe/Moscow"))
    assert moscow.read_column(["2026-11-24 12:30:00"]) == ["2026-11-24T09:30:00Z"]
    assert moscow.write_column(["2026-11-24T09:30:00.500000Z"]) == ["2026-11-24 12:30:00.500000"]


def test_json_null_in_a_column_that_takes_no_null() -> None:
    strict = sqlite_codec(FieldType(Kind.JSON), dt.UTC)
    loose = sqlite_codec(FieldType(Kind.JSON, null=True), dt.UTC)
    assert strict.write_column([None, {"a": 1}]) == ["null", json.dumps({"a": 1})]
    assert loose.write_column([None]) == [None]


def test_decimals_of_any_length_are_read() -> None:
    codec = sqlite_codec(FieldType(Kind.DECIMAL, digits=40, places=10), dt.UTC)
    assert codec.read_column([1e20]) == ["100000000000000000000.0000000000"]


BERLIN = ZoneInfo("Europe/Berlin")


def test_without_time_zones_the_doubled_hour_is_refused() -> None:
    codec = sqlite_codec(FieldType(Kind.DATETIME), BERLIN)
    first, second = "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"
    assert codec.check(first) == ""
    assert codec.read_column(codec.write_column([first])) == [first]
    assert "cannot tell" in codec.check(second)


def test_without_time_zones_the_skipped_hour_is_no_moment() -> None:
    codec = sqlite_codec(FieldType(Kind.DATETIME), BERLIN)
    (found,) = codec.read_column(["2026-03-29 02:30:00"])
    assert isinstance(found, BadValue)
    assert "skip that hour" in str(found)


def test_without_time_zones_the_first_day_has_no_moment() -> None:
    codec = sqlite_codec(FieldType(Kind.DATETIME), ZoneInfo("America/New_York"))
    assert codec.check("0001-01-01T00:00:00Z") != ""
