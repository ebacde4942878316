"""Values that PostgreSQL holds and the wire, Django or Python have no word for; and what it would not take back."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import DataError, connection
from hypothesis import given
from hypothesis import strategies as st

from project.crm.models import Order
from syncapp.core.mapping import FieldType, Kind
from syncapp.store.base import BadValue, RowRefused
from syncapp.store.sql import SqlBackend, pgcodecs
from syncapp.store.sql.arrays import array
from syncapp.store.sql.pgcodecs import postgres_codec
from tests.store.linked import Linked, execute, link_fields
from tests.testapp.models import Everything

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


@pytest.fixture
def linked() -> Linked:
    return link_fields({"testapp.Everything": ["*"], "crm.Order": ["number", "client"]})


def read(linked: Linked, name: str, sql: str, *settings: str) -> Any:
    """What the backend reads where ``sql`` is stored."""
    row, backend = Everything.objects.create(char="c", integer=1), SqlBackend()
    field = Everything._meta.get_field(name)
    execute(f'UPDATE testapp_everything SET "{field.column}" = {sql}', None)
    for setting in settings:
        execute(f"SET LOCAL {setting}")
    number, table = linked.numbers[f"testapp.Everything.{name}"], linked.tables["testapp.Everything"]
    with backend.transaction():
        return backend.rows(table, [str(row.pk)], [number])[str(row.pk)][0]


@pytest.mark.parametrize(
    ("name", "sql", "wire"),
    [
        ("day", "'0001-01-01'", "0001-01-01"),
        ("day", "'9999-12-31'", "9999-12-31"),
        ("hour", "'23:59:59.5'", "23:59:59.500000"),
        ("hour", "'00:00'", "00:00:00"),
        ("moment", "'2026-01-02 03:04:05.000001+03'", "2026-01-02T00:04:05.000001Z"),
        ("moment", "'0001-01-01 00:00:00Z'", "0001-01-01T00:00:00Z"),
        ("moment", "'9999-12-31 23:59:59.999999Z'", "9999-12-31T23:59:59.999999Z"),
        ("span", "'1 mon 2 days 00:00:00.000003'", 32 * 86_400 * 10**6 + 3),
        ("span", "'-1 year'", -365 * 86_400 * 10**6),
        ("span", "'13 mons'", 395 * 86_400 * 10**6),
        ("address", "'2001:db8::1'", "2001:db8::1"),
        ("address", "'10.0.0.1/32'", "10.0.0.1"),
        ("address", "'10.0.0.0/8'", BadValue),  # a network is no address
        ("json", "'null'", None),
        ("json", """'{"b": 1.0, "a": [1e3, 12345678901234567890e-3]}'""", BadValue),
        ("json", """'{"b": 1.0, "a": [1e3, "12345678901234567890.5"]}'""", ...),
        ("json", "'1e400'", BadValue),
        ("json", "'0.10000000000000000001'", BadValue),
        ("json", "'9223372036854775808'", BadValue),
        ("json", "'1e16'", 10**16),
        ("json", "'0.1'", 0.1),
        ("decimal", "'NaN'", BadValue),
        ("floating", "'NaN'", BadValue),
        ("floating", "'-Infinity'", BadValue),
        ("day", "'infinity'", BadValue),
        ("day", "'-infinity'", BadValue),
        ("day", "'10000-01-01'", BadValue),
        ("day", "'0044-03-15 BC'", BadValue),
        ("hour", "'24:00'", BadValue),
        ("moment", "'infinity'", BadValue),
        ("moment", "'10000-01-01'", BadValue),
        ("moment", "'0044-03-15 BC'", BadValue),
        ("span", "'178000000 years'", BadValue),
    ],
)
def test_stored_values(linked: Linked, name: str, sql: str, wire: Any) -> None:
    found = read(linked, name, sql)
    if wire is BadValue:
        assert isinstance(found, BadValue)
        assert str(found)
    elif wire is ...:
        assert found == {"b": 1.0, "a": [1000, "12345678901234567890.5"]}
        assert isinstance(found["b"], float)
    else:
        assert (found, type(found)) == (wire, type(wire))


def test_one_bad_value_does_not_spoil_its_neighbours(linked: Linked) -> None:
    rows = [str(Everything.objects.create(char=c, integer=1, day="2026-01-01", decimal=5).pk) for c in "abc"]
    execute(f"UPDATE testapp_everything SET day = 'infinity', decimal = 'NaN' WHERE id = {rows[1]}")
    n, table, backend = linked.numbers, linked.tables["testapp.Everything"], SqlBackend()
    fields = [n[f"testapp.Everything.{name}"] for name in ("char", "day", "decimal")]
    with backend.transaction():
        found = backend.rows(table, rows, fields)
    assert [found[rows[0]], found[rows[2]]] == [["a", "2026-01-01", "5.00"], ["c", "2026-01-01", "5.00"]]
    assert [type(value) for value in found[rows[1]]] == [str, BadValue, BadValue]


@pytest.mark.parametrize(
    ("name", "sql", "wire"),
    [
        ("day", "'2026-11-24'", "2026-11-24"),
        ("moment", "'2026-11-24 12:00:00.5Z'", "2026-11-24T12:00:00.500000Z"),
        ("span", "'-1 day -00:00:01'", -86_401 * 10**6),
        ("binary", "'\\x00ff'", b"\x00\xff"),
        ("floating", "0.1::float8 + 0.2", 0.1 + 0.2),
    ],
)
def test_sessions_settings_do_not_matter(linked: Linked, name: str, sql: str, wire: Any) -> None:
    settings = ["datestyle = 'German'", "timezone = 'Asia/Tokyo'", "intervalstyle = 'iso_8601'"]
    assert read(linked, name, sql, *settings, "bytea_output = 'escape'") == wire


# -- what is refused before it reaches the server -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("char", "a\0b"),
        ("char", "x" * 51),
        ("char", "\ud800"),
        ("small", 40_000),
        ("positive", -1),
        ("big", 2**63),
        ("decimal", "10000000000.00"),
        ("decimal", "1.5"),
        ("floating", float("inf")),
        ("day", "0000-01-01"),
        ("day", "infinity"),
        ("moment", "10000-01-01T00:00:00Z"),
        ("span", 2**63),
        ("json", {"a": ["\0"]}),
        ("json", {"\0": 1}),
        ("json", 2**70),
        ("key", "x"),
        ("binary", b"x" * 101),
        ("address", "010.0.0.1"),
        ("address", "2001:DB8::1"),
        ("address", "soon"),
    ],
)
def test_refused_with_a_reason(linked: Linked, name: str, value: Any) -> None:
    backend = SqlBackend()
    with backend.transaction():
        field = linked.numbers[f"testapp.Everything.{name}"]
        assert backend.check(linked.tables["testapp.Everything"], field, value)


def test_keys_are_checked_as_their_column_is(linked: Linked) -> None:
    backend, n = SqlBackend(), linked.numbers
    with backend.transaction():
        check = [
            backend.check(linked.tables["crm.Order"], n["crm.Order.client"], v) for v in ("5", "x", "5.0")
        ]
        assert [bool(fault) for fault in check] == [False, True, True]
        assert backend.check(linked.tables["crm.Order"], n["crm.Order.client"], str(2**63))
        assert backend.existing(linked.tables["crm.Order"], ["x", str(2**70), "\0"]) == set()
        assert backend.match(linked.tables["crm.Order"], [n["crm.Order.client"]], [("x",), ("5",)]) == {}


def test_what_the_check_lets_through_and_the_database_does_not(linked: Linked) -> None:
    """The transaction lives on, whatever was said, and by whom."""
    backend, table, n = SqlBackend(), linked.tables["testapp.Everything"], linked.numbers
    row = {n["testapp.Everything.char"]: "a", n["testapp.Everything.integer"]: 1}
    execute("ALTER TABLE testapp_everything ADD CHECK (integer <> 7)")
    execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.char = 'gone' THEN RETURN NULL; END IF; RAISE EXCEPTION 'not on Sundays'; END $$",
        None,
    )
    with backend.transaction():
        for change in ({"integer": 7}, {"char": "a\0"}, {"char": "x" * 99}, {"integer": 2**40}):
            bad = {**row, **{n[f"testapp.Everything.{name}"]: value for name, value in change.items()}}
            for rows in ([bad], [row, bad]):
                with pytest.raises(RowRefused) as refused, backend.savepoint():
                    backend.insert_rows(table, rows)
                assert refused.value.code == "change"
        execute("CREATE TRIGGER no BEFORE INSERT ON testapp_everything FOR EACH ROW EXECUTE FUNCTION no()")
        with pytest.raises(RowRefused, match="not on Sundays"), backend.savepoint():
            backend.insert_rows(table, [row])
        with pytest.raises(RowRefused, match="1 rows were to be created"), backend.savepoint():
            backend.insert_rows(table, [{**row, n["testapp.Everything.char"]: "gone"}])
    assert not Everything.objects.exists()
    assert not Order.objects.exists()


# -- arrays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))),
        ("text", st.text(st.sampled_from('{}",\\\n NUL'))),
        ("bigint", st.none() | st.integers(-(2**63), 2**63 - 1)),
        ("boolean", st.none() | st.booleans()),
        ("bytea", st.none() | st.binary()),
        ("double precision", st.none() | st.floats(allow_nan=False)),
    ],
)
def test_arrays_come_back(kind: str, values: st.SearchStrategy[Any]) -> None:
    @given(st.lists(values, max_size=5))
    def holds(wanted: list[Any]) -> None:
        sql = f"SELECT v FROM unnest(%s::{kind}[]) WITH ORDINALITY AS u(v, n) ORDER BY n"
        assert [row[0] for row in execute(sql, [array(wanted)])] == wanted

    holds()


@pytest.mark.parametrize("values", [["a\0b"], ["a", "b\0"], [None, "\0"], ["\0", "\0"]])
def test_a_nul_never_shifts_a_column(values: list[Any]) -> None:
    with pytest.raises(DataError, match="NUL"):
        array(values)


# -- codecs by themselves -----------------------------------------------------------------------------------


def test_decimals_of_columns_with_other_scales() -> None:
    codec = postgres_codec(FieldType(Kind.DECIMAL, digits=6, places=2), "numeric")
    found = codec.read_column(["1", "1.5", "1.50", "-1.500", "1.505", "12345.00", "1E+3", "NaN", "1" * 2000])
    assert found[:4] == ["1.00", "1.50", "1.50", "-1.50"]
    assert found[6] == "1000.00"
    assert [isinstance(value, BadValue) for value in found] == [False] * 4 + [True, True, False, True, True]


def test_lengths_of_time_as_django_reads_them() -> None:
    for value in (0, 1, -1, 86_400_000_000, -86_400_000_001, 2**63 - 1, -(2**63)):
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::interval", [pgcodecs.interval(value)])
            assert cursor.fetchone() == (dt.timedelta(microseconds=value),)


def test_json_texts_that_look_like_numbers_stay() -> None:
    codec = postgres_codec(FieldType(Kind.JSON), "jsonb")
    assert codec.write_column([{"1e5": 'say "1e5" or 2e-7', "n": [1e22, 1e-7, -2.5e300]}]) == [
        '{"1e5": "say \\"1e5\\" or 2e-7", "n": [10000000000000000000000.0, 0.0000001, -25'
        + "0" * 299
        + ".0]}"
    ]
    assert codec.write_column([None]) == ["null"]
