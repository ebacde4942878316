"""Bringing a value of a peer's type into the form of the field here that takes it, as `core.kinds.fit` allows.

What is lost is always the same: decimals and floats are rounded half to even, texts cut at the end, times of day left
out in the time zone of this program. Nothing is bent into a range that it is out of: such a value, and one that is not
even of its own kind, stays as it is for `values.checker` to refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, tzinfo
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from syncapp.core.kinds import FieldType, Kind

Convert = Callable[[Any, FieldType, tzinfo], Any]

_WIDE = Context(prec=1000, rounding=ROUND_HALF_EVEN)


def adapt(value: Any, source: Kind, target: FieldType, zone: tzinfo = UTC) -> Any:
    """A wire value of ``source`` in the form of ``target``. ``zone``: in which this program's days begin and end."""
    convert = _WITHIN.get(source) if source is target.kind else _ACROSS.get((source, target.kind))
    if value is None or convert is None:
        return value
    try:
        return convert(value, target, zone)
    except (ArithmeticError, ValueError, TypeError, AttributeError):
        return value


def _number(value: Any) -> Decimal:
    # repr() of a float is the shortest text that means it: 0.1 and not 0.1000000000000000055….
    return Decimal(repr(value) if value.__class__ is float else value)


def _to_decimal(value: Any, target: FieldType, zone: tzinfo) -> str:
    unit = Decimal(1).scaleb(-(target.places or 0))
    text = format(_number(value).quantize(unit, context=_WIDE), "f")
    return text if text.strip("-0.") else text.lstrip("-")


def _to_integer(value: Any, target: FieldType, zone: tzinfo) -> int:
    return int(_number(value).to_integral_value(context=_WIDE))


def _to_float(value: Any, target: FieldType, zone: tzinfo) -> float:
    return float(value)


def _to_truth(value: Any, target: FieldType, zone: tzinfo) -> Any:
    return {0: False, 1: True}.get(value, value)


def _cut(value: Any, target: FieldType, zone: tzinfo) -> str:
    return str(value)[: target.length]


def _to_text(value: Any, target: FieldType, zone: tzinfo) -> str:
    return str(value)


def _truth_text(value: Any, target: FieldType, zone: tzinfo) -> Any:
    return {True: "true", False: "false"}.get(value, value)


def _to_moment(value: Any, target: FieldType, zone: tzinfo) -> str:
    midnight = datetime.combine(date.fromisoformat(value), time(), zone)
    return midnight.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _to_day(value: Any, target: FieldType, zone: tzinfo) -> str:
    return datetime.fromisoformat(value).astimezone(zone).date().isoformat()


_WITHIN: dict[Kind, Convert] = {Kind.DECIMAL: _to_decimal, Kind.TEXT: _cut}
_ACROSS: dict[tuple[Kind, Kind], Convert] = {
    (Kind.BOOLEAN, Kind.INTEGER): lambda value, target, zone: int(value),
    (Kind.INTEGER, Kind.BOOLEAN): _to_truth,
    (Kind.INTEGER, Kind.DECIMAL): _to_decimal,
    (Kind.INTEGER, Kind.FLOAT): _to_float,
    (Kind.DECIMAL, Kind.INTEGER): _to_integer,
    (Kind.DECIMAL, Kind.FLOAT): _to_float,
    (Kind.FLOAT, Kind.INTEGER): _to_integer,
    (Kind.FLOAT, Kind.DECIMAL): _to_decimal,
    (Kind.DATE, Kind.DATETIME): _to_moment,
    (Kind.DATETIME, Kind.DATE): _to_day,
    (Kind.INTEGER, Kind.TEXT): _to_text,
    (Kind.DECIMAL, Kind.TEXT): _to_text,
    (Kind.FLOAT, Kind.TEXT): _to_text,
    (Kind.BOOLEAN, Kind.TEXT): _truth_text,
    (Kind.DATE, Kind.TEXT): _to_text,
    (Kind.TIME, Kind.TEXT): _to_text,
    (Kind.DATETIME, Kind.TEXT): _to_text,
    (Kind.UUID, Kind.TEXT): _to_text,
    (Kind.IP, Kind.TEXT): _to_text,
}
