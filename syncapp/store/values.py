"""Values in *wire form*: what each kind of field looks like between programs, in MessagePack and in JSON.

=============  =========================================================================================
text, file     ``str`` without NUL and lone surrogates, within the column's length; a file is its stored name
integer        ``int`` within the column's range
boolean        ``bool``
decimal        ``str`` in plain notation with exactly the field's places: ``"12.50"``, ``"-3"``, never ``"-0.00"``
float          ``float``, finite; a whole number may come as ``int``. Zero has no sign
date           ``"2026-11-24"``
time           ``"09:30:00"`` or ``"09:30:00.250000"``
datetime       UTC, ``"2026-11-24T09:30:00Z"`` or ``"2026-11-24T09:30:00.250000Z"``
duration       ``int``, µs
uuid           ``"8-4-4-4-12"`` hexadecimal digits in lower case
ip             an address, IPv6 in its short form: ``"10.0.0.1"``, ``"2001:db8::1"``
json           what JSON can say: ``None``, ``bool``, ``int`` (64 bit), finite ``float``, ``str``, ``list``, ``dict``
binary         ``bytes``
relation, user ``str``: the target's local key as text (the store sends its uid, or the user's names, instead)
relations      sorted ``list`` of such keys
=============  =========================================================================================

``None`` is NULL, which is never an empty text. One value has exactly one wire form, so that two programs can compare
values by comparing texts: `checker` refuses another spelling, and `adapting.adapt` brings a value of a wider or
narrower type into the form of the field that takes it. How a database stores a value is told in ``store.sql.codecs``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from ipaddress import IPv6Address, ip_address
from typing import Any

from syncapp import details
from syncapp.core.kinds import INT64_HIGH, INT64_LOW, FieldType, Kind
from syncapp.store.faults import Fault, fault, shown, text_fault
from syncapp.store.jsonvalues import json_fault as json_fault
from syncapp.store.jsonvalues import same_json

Check = Callable[[Any], str]
"""value → why it cannot be stored (see `faults.Fault`), or an empty text."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d:\d\d(?:\.\d{6})?", re.ASCII)
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)(?:\.(\d+))?", re.ASCII)
#: A fraction of zero is left out, so that a moment has one spelling.
_ZERO_FRACTION = ".000000"


def checker(type: FieldType) -> Check:
    """The function that says why a wire value cannot be stored in a field of ``type``."""
    check = _MAKERS[type.kind](type)
    # JSON has a null of its own, so that None is a value of a column that takes no NULL too.
    empty = "" if type.null or type.kind is Kind.JSON else fault(details.EMPTY)

    def check_value(value: Any) -> str:
        return empty if value is None else check(value)

    return check_value


def same(kind: Kind, one: Any, other: Any) -> bool:
    """Whether two wire values of one kind are the same."""
    return same_json(one, other) if kind is Kind.JSON else bool(one == other)


def identical(one: Any, other: Any) -> bool:
    """The same for values of one field whose kind nobody knows: at worst too strict, which costs a write."""
    if isinstance(one, list | dict):
        return same_json(one, other)
    return one.__class__ is other.__class__ and bool(one == other)


def ip_text(value: str) -> str:
    """The one spelling of an IP address. Raises ValueError where it is none."""
    address = ip_address(value)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    # As Django and PostgreSQL write it; Python itself changed its mind between versions.
    return f"::ffff:{mapped}" if mapped else str(address)


# -- one maker per kind -------------------------------------------------------------------------------------


def _not(text: str, value: Any) -> Fault:
    return fault(text, shown=shown(value))


def _text(type: FieldType) -> Check:
    length = type.length

    def check(value: Any) -> str:
        return text_fault(value, length) if value.__class__ is str else _not(details.NO_TEXT, value)

    return check


def _integer(type: FieldType) -> Check:
    low = INT64_LOW if type.low is None else max(type.low, INT64_LOW)
    high = INT64_HIGH if type.high is None else min(type.high, INT64_HIGH)

    def check(value: Any) -> str:
        if value.__class__ is not int:
            return _not(details.NO_INTEGER, value)
        return "" if low <= value <= high else fault(details.OUT_OF_RANGE, shown=value, low=low, high=high)

    return check


def _boolean(type: FieldType) -> Check:
    return lambda value: "" if value.__class__ is bool else _not(details.NO_TRUTH, value)


def _decimal(type: FieldType) -> Check:
    digits, places = type.digits, type.places

    def check(value: Any) -> str:
        match = _DECIMAL.fullmatch(value) if value.__class__ is str else None
        if match is None:
            return _not(details.NOT_PLAIN, value)
        fraction = match[1] or ""
        if places is not None and len(fraction) != places:
            return fault(details.WRONG_PLACES, shown=value, places=places)
        whole = len(value.lstrip("-")) - (len(fraction) + 1 if fraction else 0)
        if digits is not None and whole > max(digits - len(fraction), 1):
            return fault(details.TOO_MANY_DIGITS, shown=value, most=digits - len(fraction))
        if value[0] == "-" and not value.strip("-0."):
            return fault(details.SIGNED_ZERO)
        return ""

    return check


def _float(type: FieldType) -> Check:
    def check(value: Any) -> str:
        if value.__class__ is float:
            return "" if math.isfinite(value) else _not(details.NOT_FINITE, value)
        if value.__class__ is not int:
            return _not(details.NO_NUMBER, value)
        return "" if _is_float(value) else _not(details.TOO_BIG_FOR_FLOAT, value)

    return check


def _is_float(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _moment(
    pattern: re.Pattern[str], parse: Callable[[str], object], no: str
) -> Callable[[FieldType], Check]:
    def check(value: Any) -> str:
        if value.__class__ is not str or pattern.fullmatch(value) is None or _ZERO_FRACTION in value:
            return _not(no, value)
        try:
            parse(value)
        except ValueError:
            return _not(no, value)
        return ""

    return lambda type: check


def _uuid(type: FieldType) -> Check:
    def check(value: Any) -> str:
        return "" if value.__class__ is str and _UUID.fullmatch(value) else _not(details.NO_UUID, value)

    return check


def _ip(type: FieldType) -> Check:
    def check(value: Any) -> str:
        try:
            good = value.__class__ is str and ip_text(value) == value
        except ValueError:
            good = False
        return "" if good else _not(details.NO_ADDRESS, value)

    return check


def _json(type: FieldType) -> Check:
    return lambda value: json_fault(value)


def _binary(type: FieldType) -> Check:
    length = type.length

    def check(value: Any) -> str:
        if not isinstance(value, bytes | bytearray | memoryview):
            return _not(details.NO_BINARY, value)
        if length is not None and len(value) > length:
            return fault(details.TOO_MANY_BYTES, count=len(value), most=length)
        return ""

    return check


def _key(type: FieldType) -> Check:
    def check(value: Any) -> str:
        good = value.__class__ is str and value and "\0" not in value
        return "" if good else _not(details.NO_KEY, value)

    return check


def _keys(type: FieldType) -> Check:
    one = _key(type)

    def check(value: Any) -> str:
        if not isinstance(value, list | tuple):
            return _not(details.NO_KEYS, value)
        return next((found for key in value if (found := one(key))), "")

    return check


_MAKERS: dict[Kind, Callable[[FieldType], Check]] = {
    Kind.TEXT: _text,
    Kind.FILE: _text,
    Kind.INTEGER: _integer,
    Kind.DURATION: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.STATUS: _boolean,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.DATE: _moment(_DATE, date.fromisoformat, details.NO_DATE),
    Kind.TIME: _moment(_TIME, time.fromisoformat, details.NO_TIME),
    Kind.DATETIME: _moment(_DATETIME, datetime.fromisoformat, details.NO_MOMENT_UTC),
    Kind.UUID: _uuid,
    Kind.IP: _ip,
    Kind.JSON: _json,
    Kind.BINARY: _binary,
    Kind.RELATION: _key,
    Kind.USER: _key,
    Kind.KEY: _key,
    Kind.RELATIONS: _keys,
}
