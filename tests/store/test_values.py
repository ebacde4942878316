"""Wire values: what is refused and why; and each kind's way through a real SQLite column and back."""

import datetime as dt
import json
import math
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncapp.core.mapping import FieldType, Kind
from syncapp.store.base import BadValue
from syncapp.store.introspect import field_type
from syncapp.store.sql.codecs import sqlite_codec
from syncapp.store.sql.sqlite import SqliteDialect
from syncapp.store.values import adapt, checker, normalise_key
from tests.testapp.models import Everything

SURROGATE = "\ud800"

# -- what is refused ----------------------------------------------------------------------------------------

GOOD: list[tuple[FieldType, list[Any]]] = [
    (FieldType(Kind.TEXT, length=3), ["", "abc", "ёжи", "𝒳𝒳𝒳", "\x01\n"]),
    (FieldType(Kind.FILE, length=20), ["a/b.txt"]),
    (FieldType(Kind.INTEGER), [0, -(2**63), 2**63 - 1]),
    (FieldType(Kind.INTEGER, low=-5, high=5), [-5, 5]),
    (FieldType(Kind.BOOLEAN), [True, False]),
    (FieldType(Kind.DECIMAL, digits=5, places=2), ["0.00", "-0.01", "999.99", "-999.99"]),
    (FieldType(Kind.DECIMAL, digits=3, places=0), ["0", "-7", "999"]),
    (FieldType(Kind.DECIMAL, digits=2, places=2), ["0.00", "0.99"]),
    (FieldType(Kind.FLOAT), [0.0, -1.5, 1e308, 7]),
    (FieldType(Kind.DATE), ["2026-02-28", "0001-01-01", "9999-12-31", "2024-02-29"]),
    (FieldType(Kind.TIME), ["00:00:00", "23:59:59", "09:30:00.000001"]),
    (FieldType(Kind.DATETIME), ["2026-11-24T09:30:00Z", "2026-11-24T09:30:00.250000Z"]),
    (FieldType(Kind.DURATION), [0, -1, 10**15]),
    (FieldType(Kind.UUID), ["00000000-0000-0000-0000-000000000000", str(uuid.uuid4())]),
    (FieldType(Kind.JSON), [1, 1.5, "x", True, [], {"a": [None, {"b": 2}]}, 2**63 - 1]),
    (FieldType(Kind.BINARY, length=2), [b"", b"\x00\xff"]),
    (FieldType(Kind.RELATION), ["1", "a-b"]),
    (FieldType(Kind.USER), ["1"]),
    (FieldType(Kind.KEY), ["1"]),
    (FieldType(Kind.RELATIONS), [[], ["1", "2"]]),
]

BAD: list[tuple[FieldType, Any, str]] = [
    (FieldType(Kind.TEXT, length=3), "abcd", "4 characters, at most 3"),
    (FieldType(Kind.TEXT), "a\0b", "NUL"),
    (FieldType(Kind.TEXT), f"a{SURROGATE}", "surrogate"),
    (FieldType(Kind.TEXT), 5, "5 is not a text"),
    (FieldType(Kind.TEXT), b"x", "not a text"),
    (FieldType(Kind.INTEGER), 2**63, "outside"),
    (FieldType(Kind.INTEGER), -(2**63) - 1, "outside"),
    (FieldType(Kind.INTEGER, low=0, high=2**70), 2**63, "outside"),
    (FieldType(Kind.INTEGER, low=0, high=9), -1, "-1 is outside 0…9"),
    (FieldType(Kind.INTEGER), True, "not an integer"),
    (FieldType(Kind.INTEGER), 1.0, "not an integer"),
    (FieldType(Kind.INTEGER), "1", "not an integer"),
    (FieldType(Kind.BOOLEAN), 1, "not a truth value"),
    (FieldType(Kind.DECIMAL, digits=5, places=2), "1000.00", "more than 3 digits"),
    (FieldType(Kind.DECIMAL, digits=5, places=2), "1.5", "exactly 2"),
    (FieldType(Kind.DECIMAL, digits=5, places=2), "1.500", "exactly 2"),
    (FieldType(Kind.DECIMAL, digits=5, places=2), "01.50", "plain notation"),
    (FieldType(Kind.DECIMAL, digits=5, places=2), "-0.00", "no sign"),
    (FieldType(Kind.DECIMAL, digits=5, places=2), "1e2", "plain notation"),
    (FieldType(Kind.DECIMAL, digits=5, places=2), "NaN", "plain notation"),
    (FieldType(Kind.DECIMAL, digits=5, places=2), "١.٥٠", "plain notation"),
    (FieldType(Kind.DECIMAL, digits=5, places=2), 1.5, "plain notation"),
    (FieldType(Kind.FLOAT), math.nan, "finite"),
    (FieldType(Kind.FLOAT), math.inf, "finite"),
    (FieldType(Kind.FLOAT), True, "not a number"),
    (FieldType(Kind.FLOAT), "1.0", "not a number"),
    (FieldType(Kind.DATE), "2026-02-29", "not a date"),
    (FieldType(Kind.DATE), "20260228", "not a date"),
    (FieldType(Kind.DATE), "2026-W48-2", "not a date"),
    (FieldType(Kind.TIME), "24:00:00", "not a time"),
    (FieldType(Kind.TIME), "09:30", "not a time"),
    (FieldType(Kind.TIME), "09:30:00.000000", "not a time"),
    (FieldType(Kind.TIME), "09:30:00Z", "not a time"),
    (FieldType(Kind.DATETIME), "2026-11-24T09:30:00", "not a date and time"),
    (FieldType(Kind.DATETIME), "2026-11-24T09:30:00+00:00", "not a date and time"),
    (FieldType(Kind.DATETIME), "2026-11-24 09:30:00Z", "not a date and time"),
    (FieldType(Kind.DATETIME), "2026-13-24T09:30:00Z", "not a date and time"),
    (FieldType(Kind.DATETIME), "2026-11-24T09:30:00.25Z", "not a date and time"),
    (FieldType(Kind.DURATION), 1.5, "not an integer"),
    (FieldType(Kind.UUID), "0" * 32, "not a UUID"),
    (FieldType(Kind.UUID), str(uuid.UUID(int=10)).upper(), "not a UUID"),
    (FieldType(Kind.JSON), {"a": math.inf}, "finite"),
    (FieldType(Kind.JSON), {1: 2}, "not a JSON value"),
    (FieldType(Kind.JSON), [2**64], "64 bits"),
    (FieldType(Kind.JSON), ["\0"], "NUL"),
    (FieldType(Kind.JSON), {f"{SURROGATE}": 1}, "surrogate"),
    (FieldType(Kind.JSON), [b"x"], "not a JSON value"),
    (FieldType(Kind.BINARY), "text", "not binary"),
    (FieldType(Kind.BINARY, length=2), b"abc", "3 bytes, at most 2"),
    (FieldType(Kind.RELATION), 1, "not a key"),
    (FieldType(Kind.RELATION), "", "not a key"),
    (FieldType(Kind.RELATIONS), "1", "not a list"),
    (FieldType(Kind.RELATIONS), [1], "not a key"),
]


@pytest.mark.parametrize(("type", "values"), GOOD, ids=lambda part: str(getattr(part, "kind", "")))
def test_good_values(type: FieldType, values: list[Any]) -> None:
    check = checker(type)
    assert [check(value) for value in values] == [""] * len(values)


@pytest.mark.parametrize(("type", "value", "reason"), BAD)
def test_bad_values(type: FieldType, value: Any, reason: str) -> None:
    assert reason in checker(type)(value)


def test_every_kind_has_a_checker() -> None:
    for kind in Kind:
        assert checker(FieldType(kind, null=True))(None) == ""
        assert kind is Kind.JSON or checker(FieldType(kind))(None) == "the field cannot be empty"


def test_deep_json_is_refused() -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    assert "deeper" in checker(FieldType(Kind.JSON))(value)


def test_reasons_stay_short() -> None:
    assert len(checker(FieldType(Kind.INTEGER))("x" * 10_000)) < 120


ADAPTED: list[tuple[Any, Kind, FieldType, Any]] = [
    (True, Kind.BOOLEAN, FieldType(Kind.INTEGER), 1),
    (12, Kind.INTEGER, FieldType(Kind.DECIMAL, digits=5, places=2), "12.00"),
    ("12.5", Kind.DECIMAL, FieldType(Kind.DECIMAL, digits=5, places=2), "12.50"),
    ("12.345", Kind.DECIMAL, FieldType(Kind.DECIMAL, digits=5, places=2), "12.34"),
    ("-0.001", Kind.DECIMAL, FieldType(Kind.DECIMAL, digits=5, places=2), "0.00"),
    ("0.5", Kind.DECIMAL, FieldType(Kind.INTEGER), 0),
    ("12.50", Kind.DECIMAL, FieldType(Kind.FLOAT), 12.5),
    (0.1, Kind.FLOAT, FieldType(Kind.DECIMAL, digits=5, places=2), "0.10"),
    (2.5, Kind.FLOAT, FieldType(Kind.INTEGER), 2),
    (7, Kind.INTEGER, FieldType(Kind.FLOAT), 7.0),
    ("2026-01-02", Kind.DATE, FieldType(Kind.DATETIME), "2026-01-02T00:00:00Z"),
    ("2026-01-02T03:04:05Z", Kind.DATETIME, FieldType(Kind.DATE), "2026-01-02"),
    (str(uuid.UUID(int=1)), Kind.UUID, FieldType(Kind.TEXT, length=36), str(uuid.UUID(int=1))),
    ("abcdef", Kind.TEXT, FieldType(Kind.TEXT, length=3), "abc"),
    ("abc", Kind.TEXT, FieldType(Kind.TEXT), "abc"),
    (None, Kind.INTEGER, FieldType(Kind.DECIMAL, places=2), None),
    ({"a": 1}, Kind.JSON, FieldType(Kind.JSON), {"a": 1}),
]


@pytest.mark.parametrize(("value", "source", "target", "wire"), ADAPTED)
def test_values_take_the_form_of_the_field(value: Any, source: Kind, target: FieldType, wire: Any) -> None:
    found = adapt(value, source, target)
    assert (found, type(found)) == (wire, type(wire))
    assert found is None or checker(target)(found) == ""


@pytest.mark.parametrize(
    ("value", "source"), [("x", Kind.DECIMAL), (math.inf, Kind.FLOAT), ([], Kind.INTEGER)]
)
def test_nonsense_stays_for_the_check_to_refuse(value: Any, source: Kind) -> None:
    target = FieldType(Kind.DECIMAL, digits=5, places=2)
    assert checker(target)(adapt(value, source, target)) != ""


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("  Ann   Lee ", "ann lee"),
        ("ЁЛКА", "ёлка"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("и\u0306од", "йод"),
        ("a\u00a0\tb", "a b"),
        ("", None),
        ("   ", None),
    ],
)
def test_match_keys_of_texts(value: str, normal: str | None) -> None:
    assert normalise_key(Kind.TEXT, value) == normal


def test_match_keys_of_other_kinds_stay() -> None:
    assert normalise_key(Kind.INTEGER, 5) == 5
    assert normalise_key(Kind.UUID, "A") == "A"
    assert normalise_key(Kind.TEXT, None) is None


# -- through a SQLite column and back -----------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
whole = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | whole | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)
cents = st.integers(-(10**12) + 1, 10**12 - 1).map(lambda n: format(Decimal(n).scaleb(-2), "f"))


def wire_datetime(moment: dt.datetime) -> str:
    return moment.isoformat() + "Z"


STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "char": text,
    "text": text,
    "small": st.integers(-32768, 32767),
    "big": st.none() | whole,
    "decimal": cents,
    "floating": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "maybe": st.none() | st.booleans(),
    "day": st.none() | st.dates().map(dt.date.isoformat),
    "hour": st.none() | st.times().map(dt.time.isoformat),
    "moment": st.none() | st.datetimes().map(wire_datetime),
    "span": st.none() | whole,
    "key": st.uuids().map(str),
    "json": json_values,
    "binary": st.none() | st.binary(max_size=100),
    "file": text,
}


def spec(name: str) -> "tuple[models.Field[Any, Any], FieldType]":
    field = Everything._meta.get_field(name)
    assert isinstance(field, models.Field)
    return field, field_type(field)


@pytest.fixture
def column(db: None) -> Callable[[str, Any], Any]:
    """Writes and reads one value of a field in a real table, as the backend does."""

    def through(name: str, value: Any) -> Any:
        _, type = spec(name)
        codec = sqlite_codec(type, dt.UTC)
        assert codec.check(value) == ""
        (raw,) = codec.write_column([value])
        return read_raw(name, raw)

    return through


def read_raw(name: str, raw: Any) -> Any:
    """Store ``raw`` in a column of the field's declared type and read it as the backend does."""
    field, type = spec(name)
    dialect = SqliteDialect()
    expression = dialect.select(f'"{field.column}"', type.kind, "")
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS probe")
        cursor.execute(f'CREATE TABLE probe ("{field.column}" {field.db_type(connection)})')
        cursor.execute("INSERT INTO probe VALUES (%s)", [raw])
        cursor.execute(f"SELECT {expression} FROM probe")
        row = cursor.fetchone()
    return dialect.codec(type, connection).read_column([row[0]])[0]


@pytest.mark.parametrize("name", STRATEGIES)
def test_round_trip(name: str, column: Callable[[str, Any], Any]) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STRATEGIES[name])
    def holds(value: Any) -> None:
        found = column(name, value)
        assert found == value
        assert type(found) is type(value)

    holds()


ORM: dict[str, tuple[Any, Any]] = {
    "char": ("Ё", "Ё"),
    "small": (-5, -5),
    "decimal": (Decimal("12.5"), "12.50"),
    "floating": (0.1, 0.1),
    "flag": (True, True),
    "day": (dt.date(2026, 11, 24), "2026-11-24"),
    "hour": (dt.time(9, 30, 0, 250000), "09:30:00.250000"),
    "moment": (dt.datetime(2026, 11, 24, 12, 30, tzinfo=ZoneInfo("Europe/Moscow")), "2026-11-24T09:30:00Z"),
    "span": (dt.timedelta(days=1, microseconds=5), 86_400_000_005),
    "key": (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    "json": ({"a": [1, None]}, {"a": [1, None]}),
    "binary": (b"\x00\x01", b"\x00\x01"),
    "file": ("everything/a.txt", "everything/a.txt"),
}


@pytest.mark.parametrize("name", ORM)
def test_the_orm_and_the_codecs_agree(name: str, db: None) -> None:
    """What Django writes we read, and what we write Django reads."""
    python, wire = ORM[name]
    field, type = spec(name)
    raw = field.get_db_prep_save(python, connection)
    assert read_raw(name, raw) == wire
    row = Everything.objects.create(char="c", integer=1)
    (written,) = sqlite_codec(type, dt.UTC).write_column([wire])
    with connection.cursor() as cursor:
        cursor.execute(f'UPDATE testapp_everything SET "{field.column}" = %s', [written])
    found = getattr(Everything.objects.get(pk=row.pk), name)
    assert (bytes(found) if name == "binary" else found) == python


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
    ("json", "null", None),
    ("json", ' {"a" : 1} ', {"a": 1}),
    ("floating", 5, 5.0),
]


@pytest.mark.parametrize(("name", "raw", "wire"), READ)
def test_other_programs_spellings_are_understood(name: str, raw: Any, wire: Any, db: None) -> None:
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
    ("json", "{"),
    ("json", "NaN"),
    ("json", '"\\ud800"'),
    ("json", "[" * 400 + "]" * 400),
    ("binary", "text"),
    ("binary", b"x" * 101),
]


@pytest.mark.parametrize(("name", "raw"), ODD)
def test_odd_stored_values_read_as_bad(name: str, raw: Any, db: None) -> None:
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


def test_every_kind_with_values_of_its_own_is_tried() -> None:
    keys = {Kind.RELATION, Kind.RELATIONS, Kind.USER, Kind.KEY, Kind.STATUS}
    assert {spec(name)[1].kind for name in STRATEGIES} == set(Kind) - keys
