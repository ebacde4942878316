"""How PostgreSQL stores each kind of value: raw database values ↔ wire form.

Its columns are typed, so less can be odd than on SQLite; but a column may hold what the wire, Django or Python have no
word for: NaN among decimals, infinite or five-digit dates, JSON numbers that no floating point number equals. Values
are read as texts wherever a driver would convert them, and fail over one odd value in a thousand good ones; the
triggers write old values by the same expressions (see `expression`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from syncapp import details
from syncapp.core.mapping import FieldType, Kind
from syncapp.store.base import BadValue
from syncapp.store.faults import fault, shown
from syncapp.store.jsonvalues import json_fault, read_json, write_json
from syncapp.store.sql.codec import WIDE, Codec, JsonNull, address, bad, binary, floating, integer
from syncapp.store.values import checker

_TEXTS = frozenset({"text", "character varying"})
_KEYS = frozenset({Kind.RELATION, Kind.USER, Kind.KEY})
_AS_TEXT = _KEYS | {Kind.DECIMAL, Kind.DATE, Kind.TIME, Kind.UUID, Kind.JSON}
_DAY = 86_400_000_000
_INTEGERS = {
    "smallint": (-(2**15), 2**15 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}


def expression(column: str, kind: Kind, stored: str) -> str:
    """The expression that reads ``column`` (quoted, perhaps of OLD) of type ``stored``.

    Dates and times depend on the session's ``datestyle``, which must be ISO.
    """
    if kind is Kind.IP and stored == "inet":
        return f"abbrev({column})"  # with the mask of what is a network and no address
    if kind in (Kind.TEXT, Kind.FILE, Kind.IP):
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

    return Codec(frozenset({str}), checker(type), sound=sound)


def _boolean(type: FieldType, stored: str) -> Codec:
    return Codec(frozenset({bool}), checker(type))


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
            return bad(details.NOT_FINITE, value)
        try:
            exact = number.quantize(unit, context=WIDE)
        except InvalidOperation:
            return bad(details.NO_DECIMAL, value)
        found = (
            check(format(exact, "f"))
            if exact == number
            else fault(details.TOO_MANY_PLACES, shown=value, places=places)
        )
        return BadValue(found) if found else format(exact, "f")

    return Codec(frozenset({str}), check, read)


def _uuid(type: FieldType, stored: str) -> Codec:
    return Codec(frozenset({str}), checker(type))


# -- JSON ---------------------------------------------------------------------------------------------------


def _json(type: FieldType, stored: str) -> Codec:
    codec = Codec(frozenset({str}), json_fault, _read_json, _write_json)
    return codec if type.null else JsonNull(codec.raw, json_fault, _read_json, _write_json)


def _read_json(value: str) -> Any:
    return read_json(value, canonical=True)


def _write_json(value: Any) -> str:
    return write_json(value, canonical=True)


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
            return bad(details.NO_MOMENT_OURS, value)
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
            return bad(details.NO_DURATION, value)
        found = check(number)
        return BadValue(found) if found else number

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
        found = usual(value)
        if found or value is None:
            return found
        if high:
            good = _is_integer(value, low, high)
            return "" if good else fault(details.NO_KEY_NUMBER, shown=shown(value))
        return one_uuid(value) if stored == "uuid" else ""

    return Codec(frozenset({str}), check)


def _is_integer(text: str, low: int, high: int) -> bool:
    return bool(_WHOLE.fullmatch(text)) and low <= int(text) <= high


_WHOLE = re.compile(r"-?\d{1,19}", re.ASCII)


_MAKERS: dict[Kind, Callable[[FieldType, str], Codec]] = {
    Kind.TEXT: _text,
    Kind.FILE: _text,
    Kind.INTEGER: integer,
    Kind.DURATION: _duration,
    Kind.BOOLEAN: _boolean,
    Kind.STATUS: _boolean,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: floating,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.DATETIME: _datetime,
    Kind.UUID: _uuid,
    Kind.IP: address,
    Kind.JSON: _json,
    Kind.BINARY: binary,
    Kind.RELATION: _key,
    Kind.USER: _key,
    Kind.KEY: _key,
    Kind.RELATIONS: lambda type, stored: Codec(frozenset({str}), checker(type)),
}
