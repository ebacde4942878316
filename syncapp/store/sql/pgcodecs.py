"""How PostgreSQL stores each kind of value: raw database values ↔ wire form.

Its columns are typed, so less can be odd than on SQLite; but a column may hold what the wire, Django or Python have no
word for: NaN among decimals, infinite or five-digit dates, JSON numbers that no floating point number equals. Values
are read as texts wherever a driver would convert them, and fail over one odd value in a thousand good ones; the
triggers write old values by the same expressions (see `expression`).
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import msgspec

from syncapp.core.mapping import FieldType, Kind
from syncapp.store.base import BadValue
from syncapp.store.sql.codecs import Codec
from syncapp.store.values import checker, json_fault

_TEXTS = frozenset({"text", "character varying"})
_KEYS = frozenset({Kind.RELATION, Kind.USER, Kind.KEY})
_AS_TEXT = _KEYS | {Kind.DECIMAL, Kind.DATE, Kind.TIME, Kind.UUID, Kind.JSON}
_DAY = 86_400_000_000
_WIDE = Context(prec=1000)
_INTEGERS = {
    "smallint": (-(2**15), 2**15 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}


def expression(column: str, kind: Kind, stored: str) -> str:
    """The expression that reads ``column`` (quoted, perhaps of OLD) of type ``stored``.

    Dates and times depend on the session's ``datestyle``, which must be ISO.
    """
    if kind in (Kind.TEXT, Kind.FILE):
        if stored in ("inet", "cidr"):
            return f"abbrev({column})"
        return column if stored in _TEXTS else f"{column}::text"
    if kind in _AS_TEXT:
        return f"{column}::text"
    if kind is Kind.DATETIME:
        utc = f"{column} AT TIME ZONE 'UTC'" if stored == "timestamp with time zone" else column
        return f"({utc})::text"
    if kind is Kind.DURATION and stored == "interval":
        # Django reads a year as 365 days, PostgreSQL counts a quarter more.
        seconds = f"extract(epoch FROM {column}) - extract(year FROM {column}) * 21600"
        return f"trunc(({seconds}) * 1000000)::text"
    return column


def postgres_codec(type: FieldType, stored: str) -> Codec:
    """The codec of fields of ``type`` in a column of type ``stored``."""
    return _MAKERS[type.kind](type, stored)


def _text(type: FieldType, stored: str) -> Codec:
    length = type.length

    def sound(values: Sequence[str]) -> bool:
        return length is None or max(map(len, values)) <= length

    if stored not in ("inet", "cidr"):
        return Codec(frozenset({str}), checker(type), sound=sound)
    fits = checker(type)

    def check(value: Any) -> str:
        fault = fits(value)
        return fault or ("" if value is None else _address_fault(value))

    return Codec(frozenset({str}), check, sound=sound)


def _address_fault(value: str) -> str:
    """An address that the database would spell in another way would not come back as it was sent."""
    try:
        same = str(ipaddress.ip_interface(value) if "/" in value else ipaddress.ip_address(value)) == value
    except ValueError:
        same = False
    return "" if same else f"{value!r} is not an IP address in its usual spelling"


def _integer(type: FieldType, stored: str) -> Codec:
    low, high = type.low, type.high

    def sound(values: Sequence[int]) -> bool:
        return (low is None or min(values) >= low) and (high is None or max(values) <= high)

    return Codec(frozenset({int}), checker(type), sound=sound)


def _boolean(type: FieldType, stored: str) -> Codec:
    return Codec(frozenset({bool}), checker(type))


def _float(type: FieldType, stored: str) -> Codec:
    return Codec(frozenset({float, int}), checker(type), sound=lambda values: all(map(math.isfinite, values)))


def _binary(type: FieldType, stored: str) -> Codec:
    length = type.length
    sound = None if length is None else lambda values: max(map(len, values)) <= length
    return Codec(frozenset({bytes}), checker(type), sound=sound)


def _decimal(type: FieldType, stored: str) -> Codec:
    places, digits = type.places or 0, type.digits or 0
    unit, check = Decimal(1).scaleb(-places), checker(type)
    point = -places - 1

    def read(value: str) -> Any:
        # The usual case: the column has the field's number of places, and so the text is the wire form.
        usual = (value[point:-places] == ".") if places else ("." not in value)
        if usual and len(value) <= digits and value[-1].isdigit():
            return value
        number = Decimal(value)
        if not number.is_finite():
            return BadValue(f"{value} is not a finite number")
        try:
            exact = number.quantize(unit, context=_WIDE)
        except InvalidOperation:
            return BadValue(f"{_shown(value)} has too many digits")
        fault = check(format(exact, "f")) if exact == number else f"{value}: at most {places} decimal places"
        return BadValue(fault) if fault else format(exact, "f")

    return Codec(frozenset({str}), check, read)


def _uuid(type: FieldType, stored: str) -> Codec:
    return Codec(frozenset({str}), checker(type))


# -- JSON ---------------------------------------------------------------------------------------------------

_LONG = re.compile(r"\d[\d.]{15}")
#: A text, or a number with an exponent: texts are passed over.
_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?[eE][+-]?\d+')


def _json(type: FieldType, stored: str) -> Codec:
    decode = msgspec.json.Decoder().decode

    def read(value: str) -> Any:
        try:
            parsed = _exact(value) if _LONG.search(value) else decode(value)
        except (msgspec.DecodeError, RecursionError):
            return BadValue(f"{_shown(value)} is not JSON")
        except ValueError as error:
            return BadValue(str(error))
        fault = json_fault(parsed)
        return BadValue(fault) if fault else parsed

    codec = Codec(frozenset({str}), json_fault, read, dump)
    return codec if type.null else _JsonNull(codec.raw, json_fault, read, dump)


class _JsonNull(Codec):
    """JSON in a column that takes no NULL."""

    __slots__ = ()

    def write_column(self, values: Sequence[Any]) -> Sequence[Any]:
        return [dump(value) for value in values]


def _exact(text: str) -> Any:
    """``text`` decoded; ValueError where a number would be rounded: the database keeps any number of digits."""

    def number(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value) or Decimal(digits) != Decimal(repr(value)):
            raise ValueError(f"{_shown(digits)} has more digits than a floating point number")
        return value

    return json.loads(text, parse_float=number)


def dump(value: Any, dumps: Callable[[Any], str] | None = None) -> str:
    """JSON text whose numbers come back as they are: the database writes out exponents, as whole numbers if it can."""
    text = (dumps or json.dumps)(value)
    return _EXPONENT.sub(_plain, text) if "e" in text or "E" in text else text


def _plain(match: re.Match[str]) -> str:
    found = match[0]
    if found[0] == '"':
        return found
    plain = format(Decimal(found), "f")
    return plain if "." in plain else f"{plain}.0"


# -- time ---------------------------------------------------------------------------------------------------

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?", re.ASCII)


def _date(type: FieldType, stored: str) -> Codec:
    # Infinite ones, those before our era and those after the year 9999 are all of another length.
    return Codec(frozenset({str}), checker(type), sound=lambda values: set(map(len, values)) == {10})


def _time(type: FieldType, stored: str) -> Codec:
    check = checker(type)

    def read(value: str) -> Any:
        wire = value if len(value) == 8 else value.ljust(15, "0")
        return BadValue(check(wire)) if value[:2] == "24" or len(wire) not in (8, 15) else wire

    return Codec(frozenset({str}), check, read)


def _datetime(type: FieldType, stored: str) -> Codec:
    def read(value: str) -> Any:
        match = _MOMENT.fullmatch(value)
        if match is None:
            return BadValue(f"{value} is not a date and time between the years 1 and 9999")
        day, clock, fraction = match.groups()
        return f"{day}T{clock}.{fraction.ljust(6, '0')}Z" if fraction else f"{day}T{clock}Z"

    return Codec(frozenset({str}), checker(type), read)


def _duration(type: FieldType, stored: str) -> Codec:
    check = checker(type)
    if stored != "interval":
        return Codec(frozenset({int}), check)

    def read(value: Any) -> Any:
        try:
            number = int(value)
        except ValueError:
            return BadValue(f"{value} is not a finite length of time")
        fault = check(number)
        return BadValue(fault) if fault else number

    return Codec(frozenset({str}), check, read, interval)


def interval(microseconds: int) -> str:
    """A length of time as the database reads it, as exactly as Django writes one."""
    days, rest = divmod(microseconds, _DAY)
    seconds, fraction = divmod(rest, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{days} days {hour:02}:{minute:02}:{second:02}.{fraction:06}"


# -- keys ---------------------------------------------------------------------------------------------------


def _key(type: FieldType, stored: str) -> Codec:
    usual = checker(type)
    low, high = _INTEGERS.get(stored, (0, 0))
    one_uuid = checker(FieldType(Kind.UUID))

    def check(value: Any) -> str:
        fault = usual(value)
        if fault or value is None:
            return fault
        if high:
            return (
                "" if _is_integer(value, low, high) else f"{_shown(value)} is not a number of the key's range"
            )
        return one_uuid(value) if stored == "uuid" else ""

    return Codec(frozenset({str}), check)


def _is_integer(text: str, low: int, high: int) -> bool:
    return bool(_WHOLE.fullmatch(text)) and low <= int(text) <= high


_WHOLE = re.compile(r"-?\d{1,19}", re.ASCII)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


_MAKERS: dict[Kind, Callable[[FieldType, str], Codec]] = {
    Kind.TEXT: _text,
    Kind.FILE: _text,
    Kind.INTEGER: _integer,
    Kind.DURATION: _duration,
    Kind.BOOLEAN: _boolean,
    Kind.STATUS: _boolean,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.DATETIME: _datetime,
    Kind.UUID: _uuid,
    Kind.JSON: _json,
    Kind.BINARY: _binary,
    Kind.RELATION: _key,
    Kind.USER: _key,
    Kind.KEY: _key,
    Kind.RELATIONS: lambda type, stored: Codec(frozenset({str}), checker(type)),
}
