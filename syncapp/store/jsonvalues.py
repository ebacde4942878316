"""JSON as values: reading and writing its text without a loss, and comparing without a false equality.

Numbers are what JSON is agreed to mean everywhere: whole numbers of 64 bits, and floating point. A whole number beyond
64 bits, and a fraction of more digits than floating point keeps, are refused rather than rounded. The order of keys is
kept where the database keeps it; it makes no difference between two values.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

import msgspec

from syncapp import details
from syncapp.core.kinds import INT64_HIGH, INT64_LOW
from syncapp.store.base import BadValue
from syncapp.store.faults import Fault, fault, shown, text_fault

DEPTH = 100

#: A number that may have more digits than floating point keeps.
_LONG = re.compile(r"\d[\d.]{15}")
#: A text, which is passed over, or a number with an exponent.
_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?[eE][+-]?\d+')

_decode = msgspec.json.Decoder().decode
_strict = msgspec.json.Encoder(order="sorted").encode


def json_fault(value: Any, depth: int = DEPTH) -> str | Fault:
    """Why ``value`` is not what JSON (and MessagePack, and PostgreSQL's jsonb) can hold."""
    if value is None or value.__class__ is bool:
        return ""
    if value.__class__ is str:
        return text_fault(value)
    if value.__class__ is int:
        return "" if INT64_LOW <= value <= INT64_HIGH else fault(details.TOO_BIG, shown=shown(value))
    if value.__class__ is float:
        return "" if math.isfinite(value) else fault(details.NOT_FINITE, shown=shown(value))
    if not isinstance(value, list | dict):
        return fault(details.NO_JSON_VALUE, shown=shown(value))
    if depth == 0:
        return fault(details.TOO_DEEP, most=DEPTH)
    for part in _parts(value):
        if found := json_fault(part, depth - 1):
            return found
    return ""


def _parts(value: list[Any] | dict[Any, Any]) -> list[Any]:
    if isinstance(value, list):
        return value
    # A key that is no text is as bad as a value that JSON lacks: an object() stands for it.
    return [key if isinstance(key, str) else object() for key in value] + list(value.values())


def read_json(text: str, *, canonical: bool = False) -> Any:
    """The value of a JSON text, or a `BadValue`.

    ``canonical``: the database has written numbers out (as PostgreSQL's jsonb does), so that a whole number beyond 64
    bits may have been a floating point number.
    """
    try:
        value = _exact(text) if _LONG.search(text) else _decode(text)
        if canonical:
            value = _floats_again(value)
        if "-0" in text:
            value = _unsigned_zeros(value)
    except _TooExact as error:
        return BadValue(fault(details.TOO_EXACT_FLOAT, shown=shown(str(error))))
    except (ValueError, RecursionError):
        return _unreadable(text)
    found = json_fault(value)
    if found:
        return BadValue(found)
    return value


class _TooExact(Exception):
    """A number that floating point would round."""


def _exact(text: str) -> Any:
    """``text`` decoded, in which there are long numbers."""

    def number(digits: str) -> float:
        value = float(digits)
        if math.isfinite(value) and Decimal(digits) != Decimal(repr(value)):
            raise _TooExact(digits)
        return value

    return json.loads(text, parse_float=number)


def _unreadable(text: str) -> BadValue:
    """Why a text is not JSON as all programs read it; surrogates and infinities have names of their own."""
    try:
        found = json_fault(json.loads(text))
    except (ValueError, RecursionError):
        found = ""
    return BadValue(found or fault(details.NO_JSON, shown=shown(text)))


def _floats_again(value: Any) -> Any:
    if value.__class__ is int and not INT64_LOW <= value <= INT64_HIGH:
        return _float_of(value)
    if isinstance(value, list):
        return [_floats_again(part) for part in value]
    if isinstance(value, dict):
        return {key: _floats_again(part) for key, part in value.items()}
    return value


def _unsigned_zeros(value: Any) -> Any:
    """Zero has no sign in jsonb, and so nowhere."""
    if value.__class__ is float:
        return value + 0.0
    if isinstance(value, list):
        return [_unsigned_zeros(part) for part in value]
    if isinstance(value, dict):
        return {key: _unsigned_zeros(part) for key, part in value.items()}
    return value


def _float_of(number: int) -> Any:
    """The float whose shortest text is exactly ``number``; ``number`` itself where there is none."""
    try:
        found = float(number)
    except OverflowError:
        return number
    return found if Decimal(repr(found)) == number else number


def write_json(value: Any, *, canonical: bool = False) -> str:
    """The JSON text of ``value``. ``canonical``: as `read_json` has it."""
    text = json.dumps(value)
    return plain_numbers(text) if canonical else text


def plain_numbers(text: str) -> str:
    """JSON text whose numbers come back as they are from a database that writes exponents out as whole numbers."""
    return _EXPONENT.sub(_plain, text) if "e" in text or "E" in text else text


def _plain(match: re.Match[str]) -> str:
    found = match[0]
    if found[0] == '"':
        return found
    plain = format(Decimal(found), "f")
    return plain if "." in plain else f"{plain}.0"


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same. Python alone holds 1, 1.0 and true for equal."""
    if one != other:
        return False
    return _strict(one) == _strict(other) or _strict(_unsigned_zeros(one)) == _strict(_unsigned_zeros(other))
