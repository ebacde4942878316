"""How SQLite stores each kind of value: raw database values ↔ wire form.

SQLite holds any value in any column, whatever its type says, and other programs write to the file too. So reading
never trusts: what is not of the field's type becomes a `BadValue` in its place. To keep that cheap a whole column
is looked at at once, and only one that holds something odd is gone through value by value.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from syncapp import details
from syncapp.core.kinds import FieldType, Kind
from syncapp.store.base import BadValue
from syncapp.store.faults import fault, shown
from syncapp.store.jsonvalues import json_fault, read_json, write_json
from syncapp.store.sql.codec import WIDE, Codec, JsonNull, address, bad, binary, floating, integer
from syncapp.store.values import checker

#: Numbers of more digits than this come back changed from SQLite's 8-byte floating point.
EXACT_DIGITS = 15


def sqlite_codec(type: FieldType, zone: tzinfo | None) -> Codec:
    """The codec of fields of ``type``. ``zone``: of the stored datetimes (None: they are the server's own)."""
    return _MAKERS[type.kind](type, zone)


# -- kinds that are stored as they travel -------------------------------------------------------------------


def _text(type: FieldType, zone: tzinfo | None) -> Codec:
    length = type.length

    def sound(values: Sequence[str]) -> bool:
        # Lone surrogates cannot come out of a database: they have no UTF-8.
        return (length is None or max(map(len, values)) <= length) and "\0" not in "".join(values)

    return Codec(frozenset({str}), checker(type), sound=sound)


def _key(type: FieldType, zone: tzinfo | None) -> Codec:
    # Read as text by the statement itself; written as text, which the column's affinity turns into a number.
    return Codec(frozenset({str}), checker(type))


# -- kinds that differ --------------------------------------------------------------------------------------


def _boolean(type: FieldType, zone: tzinfo | None) -> Codec:
    def read(value: int) -> Any:
        return bool(value) if value in (0, 1) else bad(details.NO_TRUTH, value)

    return Codec(frozenset({int}), checker(type), read, int)


def _decimal(type: FieldType, zone: tzinfo | None) -> Codec:
    places, digits = type.places or 0, type.digits or 0
    unit = Decimal(1).scaleb(-places)
    check = checker(type)

    def read(value: Any) -> Any:
        try:
            # repr() is the shortest text that means this float, so 12.35 is not 12.3499999….
            number = Decimal(repr(value) if value.__class__ is float else value)
            number = number.quantize(unit, context=WIDE)
        except InvalidOperation:
            return bad(details.NO_DECIMAL, value)
        if not number.is_finite():
            return bad(details.NOT_FINITE, value)
        text = format(number, "f")
        text = text if number or text[0] != "-" else text[1:]
        found = check(text) if len(text) > digits else ""
        return BadValue(found) if found else text

    def check_exact(value: Any) -> str:
        # A DECIMAL column has numeric affinity: SQLite turns whatever is written into it into a number of its own, with
        # 15 digits that can be relied on, and Django reads no more than these.
        found = check(value)
        if found or value is None or len(value) <= EXACT_DIGITS:
            return found
        digits = value.replace(".", "").lstrip("-0")
        if len(digits.rstrip("0") if places else digits) > EXACT_DIGITS:
            return fault(details.TOO_EXACT, shown=value, most=EXACT_DIGITS)
        return ""

    return Codec(frozenset({int, float, str}), check_exact, read)


def _uuid(type: FieldType, zone: tzinfo | None) -> Codec:
    plain = re.compile(r"[0-9a-f]{32}").fullmatch

    def read(value: str) -> Any:
        if plain(value):
            return f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"
        try:
            return str(uuid.UUID(value))
        except ValueError:
            return bad(details.NO_UUID, value)

    return Codec(frozenset({str}), checker(type), read, lambda value: value.replace("-", ""))


def _json(type: FieldType, zone: tzinfo | None) -> Codec:
    codec = Codec(frozenset({str}), json_fault, read_json, write_json)
    return codec if type.null else JsonNull(codec.raw, codec.check, codec.read, codec.write)


# -- time ---------------------------------------------------------------------------------------------------

_CLOCK = r"(\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,6}))?"
_TIME = re.compile(_CLOCK, re.ASCII)
_DATETIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T]" + _CLOCK + r")?(Z|[+-]\d\d:?\d\d)?", re.ASCII)


def _date(type: FieldType, zone: tzinfo | None) -> Codec:
    def read(value: str) -> Any:
        # A full moment at midnight is a date too: that is how some programs write it.
        day = value[:10]
        if len(value) != 10 and value[10:] not in (" 00:00:00", "T00:00:00"):
            return bad(details.NO_DATE, value)
        good = day[4:8:3] == "--" and _parses(date.fromisoformat, day)
        return day if good else bad(details.NO_DATE, value)

    return Codec(frozenset({str}), checker(type), read)


def _time(type: FieldType, zone: tzinfo | None) -> Codec:
    def read(value: str) -> Any:
        match = _TIME.fullmatch(value)
        if match is None or not _parses(time.fromisoformat, match[1]):
            return bad(details.NO_TIME, value)
        return _clock(match[1]) + _fraction(match[2])

    return Codec(frozenset({str}), checker(type), read)


def _datetime(type: FieldType, zone: tzinfo | None) -> Codec:
    here = None if zone is UTC or str(zone) == "UTC" else zone

    def read(value: str) -> Any:
        match = _DATETIME.fullmatch(value)
        if match is None:
            return bad(details.NO_MOMENT, value)
        day, clock, fraction, offset = match.groups()
        text = f"{day}T{_clock(clock or '00:00')}"
        if offset not in (None, "Z", "+00:00") or here is not None:
            return _shifted(text, fraction, offset, here)
        if not _parses(datetime.fromisoformat, text):
            return bad(details.NO_MOMENT, value)
        return f"{text}{_fraction(fraction)}Z"

    def write(value: str) -> str:
        if here is None:
            return f"{value[:10]} {value[11:-1]}"
        return str(datetime.fromisoformat(value).astimezone(here).replace(tzinfo=None))

    check = checker(type)
    return Codec(frozenset({str}), check if here is None else _local_check(check, here), read, write)


def _local_check(check: Callable[[Any], str], zone: tzinfo) -> Callable[[Any], str]:
    """A check that refuses moments which local time cannot name, too."""

    def check_local(value: Any) -> str:
        found = check(value)
        if found or value is None:
            return found
        try:
            local = datetime.fromisoformat(value).astimezone(zone)
        except OverflowError:
            return fault(details.NO_MOMENT, shown=shown(value))
        return fault(details.DOUBLED_HOUR, shown=shown(value), zone=str(zone)) if local.fold else ""

    return check_local


def _shifted(text: str, fraction: str | None, offset: str | None, zone: tzinfo | None) -> Any:
    """A moment with an offset of its own, or in the database's zone, in UTC."""
    try:
        moment = datetime.fromisoformat(f"{text}{_fraction(fraction)}{offset or ''}")
        local = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        utc = local.astimezone(UTC)
        if local is not moment and utc.astimezone(zone).replace(tzinfo=None) != moment:
            return BadValue(fault(details.NO_SUCH_HOUR, shown=shown(text), zone=str(zone)))
        return utc.isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return bad(details.NO_MOMENT, text)


def _clock(text: str) -> str:
    return text if len(text) == 8 else f"{text}:00"


def _fraction(digits: str | None) -> str:
    padded = (digits or "").ljust(6, "0")
    return "" if padded == "000000" else f".{padded}"


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


_MAKERS: dict[Kind, Callable[[FieldType, tzinfo | None], Codec]] = {
    Kind.TEXT: _text,
    Kind.FILE: _text,
    Kind.INTEGER: integer,
    Kind.DURATION: integer,
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
    Kind.RELATIONS: _key,
}
