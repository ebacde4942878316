"""Wire values: what is refused and why, and which values are the same."""

import math
import uuid
from typing import Any

import pytest

from syncapp.core.kinds import FieldType, Kind
from syncapp.store.values import checker, identical, ip_text, same

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
    (FieldType(Kind.IP), ["10.0.0.1", "::1", "2001:db8::1", "::ffff:10.0.0.1"]),
    (FieldType(Kind.JSON), [None, 1, 1.5, "x", True, [], {"a": [None, {"b": 2}]}, 2**63 - 1]),
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
    (FieldType(Kind.FLOAT), 2**53 + 1, "not exact"),
    (FieldType(Kind.FLOAT), 10**400, "not exact"),
    (FieldType(Kind.IP), "10.0.0.256", "not an IP address"),
    (FieldType(Kind.IP), "2001:DB8::1", "not an IP address"),
    (FieldType(Kind.IP), "10.0.0.0/8", "not an IP address"),
    (FieldType(Kind.IP), "", "not an IP address"),
    (FieldType(Kind.IP), 1, "not an IP address"),
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


@pytest.mark.parametrize(
    ("written", "one"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("::FFFF:A00:1", "::ffff:10.0.0.1"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
    ],
)
def test_an_address_has_one_spelling(written: str, one: str) -> None:
    assert ip_text(written) == one


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), ({"a": 0}, {"a": False}), ([1], [1.0]), ({"a": [None]}, {"a": []}), ("1", 1)],
)
def test_json_values_that_python_takes_for_equal(one: Any, other: Any) -> None:
    assert same(Kind.JSON, one, one)
    assert not same(Kind.JSON, one, other)
    assert not identical(one, other)


def test_sameness_of_other_values() -> None:
    assert same(Kind.JSON, {"a": 1, "b": 2}, {"b": 2, "a": 1}), "the order of keys is no difference"
    assert same(Kind.FLOAT, 5, 5.0)
    assert same(Kind.TEXT, None, None)
    assert not same(Kind.TEXT, None, "")
    assert identical(["1", "2"], ["1", "2"])
    assert not identical("1", 1)
