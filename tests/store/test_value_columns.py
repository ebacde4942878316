"""Each kind of value through a real column and back, in every database, as the backend writes and reads it."""

import datetime as dt
import math
import uuid
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncapp.core.kinds import FieldType, Kind
from syncapp.store.introspect import field_type
from syncapp.store.sql.codec import Codec
from syncapp.store.sql.dialect import dialect_of
from syncapp.store.values import ip_text, same
from tests.testapp.models import Everything

pytestmark = pytest.mark.django_db

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
whole = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | whole
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda f: f + 0.0)
    | text,
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
    "address": st.none() | st.ip_addresses().map(str).map(ip_text),
    "json": json_values,
    "binary": st.none() | st.binary(max_size=100),
    "file": text,
}


def spec(name: str) -> "tuple[models.Field[Any, Any], FieldType]":
    field = Everything._meta.get_field(name)
    assert isinstance(field, models.Field)
    return field, field_type(field)


def type_of_column(name: str) -> str:
    """What the database calls the type of the field's column, where that matters."""
    table = connection.ops.quote_name(Everything._meta.db_table)
    return dialect_of(connection).stored_types(connection, table).get(spec(name)[0].column, "")


def codec_of(name: str) -> Codec:
    return dialect_of(connection).codec(spec(name)[1], type_of_column(name), connection)


def through(name: str, value: Any) -> Any:
    """Write one wire value of a field and read it."""
    codec = codec_of(name)
    assert codec.check(value) == ""
    (raw,) = codec.write_column([value])
    return stored(name, raw)


def stored(name: str, raw: Any) -> Any:
    """Store ``raw`` in a column of the field's declared type; the wire value that is read there."""
    field, type = spec(name)
    column = connection.ops.quote_name(field.column)
    expression = dialect_of(connection).select(column, type.kind, type_of_column(name))
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS probe")
        cursor.execute(f"CREATE TABLE probe ({column} {field.db_type(connection)})")
        cursor.execute("INSERT INTO probe VALUES (%s)", [raw])
        cursor.execute(f"SELECT {expression} FROM probe")
        row = cursor.fetchone()
    return codec_of(name).read_column([row[0]])[0]


@pytest.mark.parametrize("name", STRATEGIES)
def test_round_trip(name: str) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STRATEGIES[name])
    def holds(value: Any) -> None:
        found = through(name, value)
        assert same(spec(name)[1].kind, found, value)
        assert type(found) is type(value)

    holds()


#: Values at the edges, each of which some database or driver is known to bend.
EDGES: list[tuple[str, Any]] = [
    ("char", ""),
    ("null_char", None),
    ("null_char", ""),
    ("char", "\x01\t\r\n\u2028\u200b"),
    ("char", "𝒳" * 50),
    ("char", " trailing  "),
    ("char", "%s %% \\ ' \" --"),
    ("text", "x" * 4_000_000),
    ("big", 2**53 + 1),
    ("big", 2**63 - 1),
    ("big", -(2**63)),
    ("positive_big", 2**63 - 1),
    ("decimal", "0.00"),
    ("decimal", "9999999999.99"),
    ("decimal", "-9999999999.99"),
    ("decimal", "0.10"),
    ("floating", 5e-324),
    ("floating", 1.7976931348623157e308),
    ("floating", 0.1 + 0.2),
    ("floating", 1e16),
    ("day", "0001-01-01"),
    ("day", "9999-12-31"),
    ("day", "1582-10-10"),
    ("hour", "00:00:00"),
    ("hour", "23:59:59.999999"),
    ("moment", "0001-01-01T00:00:00Z"),
    ("moment", "9999-12-31T23:59:59.999999Z"),
    ("moment", "1969-12-31T23:59:59.999999Z"),
    ("span", -1),
    ("span", 86_400_000_000 * 36_500),
    ("key", "00000000-0000-0000-0000-000000000000"),
    ("address", "::ffff:10.0.0.1"),
    ("address", "255.255.255.255"),
    ("json", None),
    ("json", ""),
    ("json", {}),
    ("json", [[], {}, "", None, False, 0]),
    ("json", 2**63 - 1),
    ("json", 1e16),
    ("json", 1e300),
    ("json", 1.0),
    ("json", [5e-324, 0.1 + 0.2, -1e16]),
    ("json", {"ключ": {"b": 1, "a": [True, 1, 1.0]}}),
    ("binary", b""),
    ("binary", bytes(range(100))),
]


@pytest.mark.parametrize(("name", "value"), EDGES, ids=lambda part: repr(part)[:24])
def test_edges(name: str, value: Any) -> None:
    found = through(name, value)
    assert same(spec(name)[1].kind, found, value)
    assert type(found) is type(value)


#: What no column takes: refused before it is written, whichever side it comes from.
REFUSED: list[tuple[str, Any]] = [
    ("char", "a\0b"),
    ("char", "a\ud800"),
    ("char", "x" * 51),
    ("char", None),
    ("small", 2**15),
    ("positive", -1),
    ("big", 2**63),
    ("decimal", "NaN"),
    ("decimal", "1E+2"),
    ("decimal", "10000000000.00"),
    ("floating", math.nan),
    ("floating", math.inf),
    ("day", "10000-01-01"),
    ("moment", "2026-01-01T00:00:00+03:00"),
    ("hour", "24:00:00"),
    ("json", math.nan),
    ("json", {"a": "\0"}),
    ("json", 2**64),
    ("address", "10.0.0.0/8"),
    ("binary", b"x" * 101),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=lambda part: repr(part)[:24])
def test_what_no_column_takes(name: str, value: Any) -> None:
    assert codec_of(name).check(value) != ""


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
    "address": ("2001:db8::1", "2001:db8::1"),
    "key": (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    "json": ({"a": [1, None]}, {"a": [1, None]}),
    "binary": (b"\x00\x01", b"\x00\x01"),
    "file": ("everything/a.txt", "everything/a.txt"),
}


@pytest.mark.parametrize("name", ORM)
def test_the_orm_and_the_codecs_agree(name: str) -> None:
    """What Django writes we read, and what we write Django reads."""
    python, wire = ORM[name]
    field, _ = spec(name)
    assert stored(name, field.get_db_prep_save(python, connection)) == wire
    row = Everything.objects.create(char="c", integer=1)
    (written,) = codec_of(name).write_column([wire])
    with connection.cursor() as cursor:
        cursor.execute(f'UPDATE testapp_everything SET "{field.column}" = %s', [written])
    found = getattr(Everything.objects.get(pk=row.pk), name)
    assert (bytes(found) if name == "binary" else found) == python


def test_zero_has_no_sign() -> None:
    assert math.copysign(1, through("floating", -0.0)) == 1
    assert str(through("json", [-0.0])) == "[0.0]"


def test_every_kind_with_values_of_its_own_is_tried() -> None:
    keys = {Kind.RELATION, Kind.RELATIONS, Kind.USER, Kind.KEY, Kind.STATUS}
    assert {spec(name)[1].kind for name in STRATEGIES} == set(Kind) - keys
