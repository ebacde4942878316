"""Values in *wire form*: what each kind of field looks like between programs, in MessagePack and in JSON.

=============  =========================================================================================
text, file     ``str`` without NUL and lone surrogates, within the column's length; a file is its stored name
integer        ``int`` within the column's range
boolean        ``bool``
decimal        ``str`` in plain notation with exactly the field's places: ``"12.50"``, ``"-3"``, never ``"-0.00"``
float          ``float``, finite
date           ``"2026-11-24"``
time           ``"09:30:00"`` or ``"09:30:00.250000"``
datetime       UTC, ``"2026-11-24T09:30:00Z"`` or ``"2026-11-24T09:30:00.250000Z"``
duration       ``int``, µs
uuid           ``"8-4-4-4-12"`` hexadecimal digits in lower case
json           what JSON can say: ``None``, ``bool``, ``int`` (64 bit), finite ``float``, ``str``, ``list``, ``dict``
binary         ``bytes``
relation, user ``str``: the target's local key as text (the store sends its uid instead)
relations      sorted ``list`` of such keys
=============  =========================================================================================

``None`` is NULL. One value has exactly one wire form, so that two programs can compare values by comparing texts:
`checker` refuses another spelling, and `adapt` brings a value of a wider or narrower type into the form of the
field that takes it. How a database stores a value is told in ``store.sql.codecs``.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from syncapp.core.mapping import FieldType, Kind

Check = Callable[[Any], str]
"""value → why it cannot be stored, or an empty text."""

INT64_LOW, INT64_HIGH = -(2**63), 2**63 - 1
JSON_DEPTH = 100

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
    empty = "" if type.null else "the field cannot be empty"

    def check_value(value: Any) -> str:
        return empty if value is None else check(value)

    return check_value


def text_fault(value: str, length: int | None = None) -> str:
    """Why ``value`` is not a text that every database and codec can hold within ``length`` characters."""
    if length is not None and len(value) > length:
        return f"{len(value)} characters, at most {length} are allowed"
    if "\0" in value:
        return "the text contains a NUL character"
    if not value.isascii() and _has_surrogate(value):
        return "the text contains a lone surrogate"
    return ""


def _has_surrogate(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


# -- one maker per kind -------------------------------------------------------------------------------------


def _text(type: FieldType) -> Check:
    length = type.length

    def check(value: Any) -> str:
        return text_fault(value, length) if value.__class__ is str else _not("a text", value)

    return check


def _integer(type: FieldType) -> Check:
    low = INT64_LOW if type.low is None else max(type.low, INT64_LOW)
    high = INT64_HIGH if type.high is None else min(type.high, INT64_HIGH)

    def check(value: Any) -> str:
        if value.__class__ is not int:
            return _not("an integer", value)
        return "" if low <= value <= high else f"{value} is outside {low}…{high}"

    return check


def _boolean(type: FieldType) -> Check:
    return lambda value: "" if value.__class__ is bool else _not("a truth value", value)


def _decimal(type: FieldType) -> Check:
    digits, places = type.digits, type.places

    def check(value: Any) -> str:
        match = _DECIMAL.fullmatch(value) if value.__class__ is str else None
        if match is None:
            return _not("a decimal number in plain notation", value)
        fraction = match[1] or ""
        if places is not None and len(fraction) != places:
            return f"{value}: exactly {places} decimal places are expected"
        whole = len(value.lstrip("-")) - (len(fraction) + 1 if fraction else 0)
        if digits is not None and whole > max(digits - len(fraction), 1):
            return f"{value} has more than {digits - len(fraction)} digits before the point"
        if value[0] == "-" and not value.strip("-0."):
            return "zero has no sign"
        return ""

    return check


def _float(type: FieldType) -> Check:
    def check(value: Any) -> str:
        if value.__class__ is not float and value.__class__ is not int:
            return _not("a number", value)
        return "" if math.isfinite(value) else f"{value} is not a finite number"

    return check


def _moment(
    pattern: re.Pattern[str], parse: Callable[[str], object], what: str
) -> Callable[[FieldType], Check]:
    def check(value: Any) -> str:
        if value.__class__ is not str or pattern.fullmatch(value) is None or _ZERO_FRACTION in value:
            return _not(what, value)
        try:
            parse(value)
        except ValueError:
            return _not(what, value)
        return ""

    return lambda type: check


def _uuid(type: FieldType) -> Check:
    def check(value: Any) -> str:
        return "" if value.__class__ is str and _UUID.fullmatch(value) else _not("a UUID", value)

    return check


def _json(type: FieldType) -> Check:
    return lambda value: json_fault(value)


def json_fault(value: Any, depth: int = JSON_DEPTH) -> str:
    """Why ``value`` is not what JSON (and MessagePack, and PostgreSQL's jsonb) can hold."""
    if value is None or value.__class__ is bool:
        return ""
    if value.__class__ is str:
        return text_fault(value)
    if value.__class__ is int:
        return "" if INT64_LOW <= value <= INT64_HIGH else f"{value} is outside 64 bits"
    if value.__class__ is float:
        return "" if math.isfinite(value) else f"{value} is not a finite number"
    if not isinstance(value, list | dict):
        return _not("a JSON value", value)
    if depth == 0:
        return f"nested deeper than {JSON_DEPTH} levels"
    for part in _json_parts(value):
        if fault := json_fault(part, depth - 1):
            return fault
    return ""


def _json_parts(value: list[Any] | dict[Any, Any]) -> list[Any]:
    if isinstance(value, list):
        return value
    # A key that is no text is as bad as a value that JSON lacks: an object() stands for it.
    return [key if isinstance(key, str) else object() for key in value] + list(value.values())


def _binary(type: FieldType) -> Check:
    length = type.length

    def check(value: Any) -> str:
        if not isinstance(value, bytes | bytearray | memoryview):
            return _not("binary data", value)
        if length is not None and len(value) > length:
            return f"{len(value)} bytes, at most {length} are allowed"
        return ""

    return check


def _key(type: FieldType) -> Check:
    return lambda value: (
        "" if value.__class__ is str and value and "\0" not in value else _not("a key", value)
    )


def _keys(type: FieldType) -> Check:
    one = _key(type)

    def check(value: Any) -> str:
        if not isinstance(value, list | tuple):
            return _not("a list of keys", value)
        return next((fault for key in value if (fault := one(key))), "")

    return check


def _not(what: str, value: Any) -> str:
    shown = repr(value)
    return f"{shown if len(shown) <= 60 else shown[:59] + '…'} is not {what}"


_MAKERS: dict[Kind, Callable[[FieldType], Check]] = {
    Kind.TEXT: _text,
    Kind.FILE: _text,
    Kind.INTEGER: _integer,
    Kind.DURATION: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.STATUS: _boolean,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.DATE: _moment(_DATE, date.fromisoformat, "a date"),
    Kind.TIME: _moment(_TIME, time.fromisoformat, "a time of day"),
    Kind.DATETIME: _moment(_DATETIME, datetime.fromisoformat, "a date and time in UTC"),
    Kind.UUID: _uuid,
    Kind.JSON: _json,
    Kind.BINARY: _binary,
    Kind.RELATION: _key,
    Kind.USER: _key,
    Kind.KEY: _key,
    Kind.RELATIONS: _keys,
}


# -- from one type to another -------------------------------------------------------------------------------


def adapt(value: Any, source: Kind, target: FieldType) -> Any:
    """A wire value of ``source`` in the form of ``target``, as `mapping.fit` allows; what does not fit stays as it is.

    Numbers are rounded half to even and texts cut where the target is narrower (a pair that was agreed as lossy).
    A value that is not of its own kind, or has no form in the target, is for `checker` to refuse.
    """
    if source is not target.kind:
        convert = _CONVERT.get((source, target.kind))
    else:
        convert = {Kind.DECIMAL: _to_decimal, Kind.TEXT: _to_text}.get(source)
    if value is None or convert is None:
        return value
    try:
        return convert(value, target)
    except (ArithmeticError, ValueError, TypeError, AttributeError):
        return value


def _to_decimal(value: Any, target: FieldType) -> str:
    # repr() of a float is the shortest text that means it: 0.1 and not 0.1000000000000000055….
    number = Decimal(repr(value) if value.__class__ is float else value)
    text = format(number.quantize(Decimal(1).scaleb(-(target.places or 0)), context=_WIDE), "f")
    return text if text.strip("-0.") else text.lstrip("-")


def _to_integer(value: Any, target: FieldType) -> int:
    return int(Decimal(repr(value) if value.__class__ is float else value).to_integral_value(context=_WIDE))


def _to_text(value: Any, target: FieldType) -> str:
    return str(value)[: target.length]


_WIDE = Context(prec=1000, rounding=ROUND_HALF_EVEN)
_CONVERT: dict[tuple[Kind, Kind], Callable[[Any, FieldType], Any]] = {
    (Kind.BOOLEAN, Kind.INTEGER): lambda value, target: int(value),
    (Kind.INTEGER, Kind.DECIMAL): _to_decimal,
    (Kind.UUID, Kind.TEXT): _to_text,
    (Kind.DATE, Kind.DATETIME): lambda value, target: f"{value}T00:00:00Z",
    (Kind.FLOAT, Kind.DECIMAL): _to_decimal,
    (Kind.FLOAT, Kind.INTEGER): _to_integer,
    (Kind.DECIMAL, Kind.FLOAT): lambda value, target: float(value),
    (Kind.DECIMAL, Kind.INTEGER): _to_integer,
    (Kind.INTEGER, Kind.FLOAT): lambda value, target: float(value),
    (Kind.DATETIME, Kind.DATE): lambda value, target: value[:10],
}


# -- matching -----------------------------------------------------------------------------------------------


def normalise_key(kind: Kind, value: Any) -> Any:
    """``value`` as it is compared by *match by*; None, which matches nothing, where there is nothing to compare.

    Texts are compared without regard to case, surrounding and repeated spaces, and Unicode composition.
    """
    if kind is not Kind.TEXT or not isinstance(value, str):
        return value
    if not value.isascii():
        value = unicodedata.normalize("NFC", value)
    return " ".join(value.casefold().split()) or None
