"""Types of fields, whatever the database, and how values of one type fit another.

Pairs of types are told apart before any data flows:

* *exact*: every value of the source has its own value in the target;
* *lossy*: some values lose something or cannot be taken: needs the consent of whoever maps the fields. What is lost is
  always the same (texts are cut, fractions rounded half to even, times of day left out); a value out of the target's
  range is never bent into it but becomes a problem of its record;
* *impossible*: most values have no counterpart at all.

An empty value in a field that takes none is a problem of that record alone, so null does not decide about a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from syncapp import details


class Kind(StrEnum):
    """The type of a field's values, independent of any database."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    DURATION = "duration"
    UUID = "uuid"
    IP = "ip"
    JSON = "json"
    BINARY = "binary"
    FILE = "file"
    RELATION = "relation"
    RELATIONS = "relations"
    USER = "user"
    STATUS = "status"  # the record status system field: alive or deleted
    KEY = "key"  # the ID system field


class FieldType(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field's type. ``length``: text's limit in characters; ``low``/``high``: an integer's range;
    ``digits``/``places``: a decimal's; ``target``: label of the table a relation points to."""

    kind: Kind
    null: bool = False
    length: int | None = None
    low: int | None = None
    high: int | None = None
    digits: int | None = None
    places: int | None = None
    target: str = ""

    def text(self) -> str:
        """Short form for people: ``text(200)``, ``decimal(12,2)``, ``relation crm.Client``."""
        if self.kind is Kind.TEXT and self.length:
            return f"text({self.length})"
        if self.kind is Kind.DECIMAL:
            return f"decimal({self.digits},{self.places})"
        if self.target:
            return f"{self.kind.value} {self.target}"
        return self.kind.value


class Fit(StrEnum):
    """How values of one type fit another."""

    EXACT = "exact"
    LOSSY = "lossy"
    IMPOSSIBLE = "impossible"


class Loss(NamedTuple):
    """What a lossy pair loses: a text of `details`, and what it names."""

    text: str
    params: dict[str, Any]


INT64_LOW, INT64_HIGH = -(2**63), 2**63 - 1
#: Whole numbers up to here, and decimals of up to this many digits, are exact in floating point.
FLOAT_EXACT, FLOAT_DIGITS = 2**53, 15
_FLOAT_TEXT = len(repr(-2.2250738585072014e-308))

_SPECIAL = frozenset({Kind.RELATION, Kind.RELATIONS, Kind.USER, Kind.FILE, Kind.STATUS, Kind.KEY})


def fit(source: FieldType, target: FieldType) -> Fit:
    """Whether every value of ``source`` fits ``target`` unchanged, only with loss, or not at all."""
    if source.kind is not target.kind and (source.kind, target.kind) not in _PAIRS:
        return Fit.IMPOSSIBLE
    if (
        target.kind is Kind.TEXT
        and target.length is not None
        and target.length < _SHORTEST.get(source.kind, 0)
    ):
        return Fit.IMPOSSIBLE
    return Fit.EXACT if loss(source, target) is None else Fit.LOSSY


def loss(source: FieldType, target: FieldType) -> Loss | None:
    """What values of ``source`` lose in ``target``, a pair that is possible; None where nothing."""
    check = _SAME.get(source.kind) if source.kind is target.kind else _PAIRS[source.kind, target.kind]
    return check(source, target) if check else None


Check = Callable[[FieldType, FieldType], Loss | None]


# -- within one kind ----------------------------------------------------------------------------------------


def _length(source: FieldType, target: FieldType) -> Loss | None:
    return (
        Loss(details.LOSS_CUT, {"most": target.length}) if _narrower(source.length, target.length) else None
    )


def _bytes(source: FieldType, target: FieldType) -> Loss | None:
    if _narrower(source.length, target.length):
        return Loss(details.LOSS_LONGER, {"most": target.length})
    return None


def _narrower(source: int | None, target: int | None) -> bool:
    return target is not None and (source is None or source > target)


def _range(source: FieldType, target: FieldType) -> Loss | None:
    return _beyond(source, *_bounds(target))


def _beyond(source: FieldType, low: int, high: int) -> Loss | None:
    least, most = _bounds(source)
    return Loss(details.LOSS_RANGE, {"low": low, "high": high}) if least < low or most > high else None


def _bounds(type: FieldType) -> tuple[int, int]:
    low = INT64_LOW if type.low is None else max(type.low, INT64_LOW)
    high = INT64_HIGH if type.high is None else min(type.high, INT64_HIGH)
    return low, high


def _decimals(source: FieldType, target: FieldType) -> Loss | None:
    if (source.places or 0) > (target.places or 0):
        return Loss(details.LOSS_ROUNDED, {"places": target.places or 0})
    whole = None if source.digits is None else source.digits - (source.places or 0)
    return _whole_digits(whole, target)


def _whole_digits(whole: int | None, target: FieldType) -> Loss | None:
    """``whole``: how many digits the source has before the point; None: any number."""
    if target.digits is None:
        return None
    most = target.digits - (target.places or 0)
    return Loss(details.LOSS_DIGITS, {"most": most}) if whole is None or whole > most else None


# -- from one kind to another -------------------------------------------------------------------------------


def _always(text: str) -> Check:
    return lambda source, target: Loss(text, {})


def _integer_to_decimal(source: FieldType, target: FieldType) -> Loss | None:
    return _whole_digits(max(len(str(abs(bound))) for bound in _bounds(source)), target)


def _integer_to_float(source: FieldType, target: FieldType) -> Loss | None:
    least, most = _bounds(source)
    if least < -FLOAT_EXACT or most > FLOAT_EXACT:
        return Loss(details.LOSS_FLOAT, {"most": FLOAT_DIGITS})
    return None


def _boolean_to_integer(source: FieldType, target: FieldType) -> Loss | None:
    return _beyond(FieldType(Kind.INTEGER, low=0, high=1), *_bounds(target))


def _decimal_to_float(source: FieldType, target: FieldType) -> Loss | None:
    if source.digits is None or source.digits > FLOAT_DIGITS:
        return Loss(details.LOSS_FLOAT, {"most": FLOAT_DIGITS})
    return None


def _decimal_to_integer(source: FieldType, target: FieldType) -> Loss | None:
    if source.places != 0:
        return Loss(details.LOSS_ROUNDED, {"places": 0})
    low, high = _bounds(target)
    widest = None if source.digits is None else 10**source.digits - 1
    if widest is None or widest > high or -widest < low:
        return Loss(details.LOSS_RANGE, {"low": low, "high": high})
    return None


def _to_text(size: Callable[[FieldType], int | None]) -> Check:
    """``size``: the most characters that a value of the source takes; None: any number."""

    def check(source: FieldType, target: FieldType) -> Loss | None:
        if _narrower(size(source), target.length):
            return Loss(details.LOSS_LONGER, {"most": target.length})
        return None

    return check


def _integer_text(source: FieldType) -> int:
    return max(len(str(bound)) for bound in _bounds(source))


def _decimal_text(source: FieldType) -> int | None:
    # A sign, a point, and a zero in front of it where all digits stand behind.
    return None if source.digits is None else source.digits + 3


#: Kind → the length of its shortest text, where a column may be too short for every value.
_SHORTEST = {Kind.BOOLEAN: 4, Kind.DATE: 10, Kind.TIME: 8, Kind.DATETIME: 20, Kind.UUID: 36}
_SAME: dict[Kind, Check] = {
    Kind.TEXT: _length,
    Kind.FILE: _length,
    Kind.BINARY: _bytes,
    Kind.INTEGER: _range,
    Kind.DECIMAL: _decimals,
}
_PAIRS: dict[tuple[Kind, Kind], Check | None] = {
    (Kind.BOOLEAN, Kind.INTEGER): _boolean_to_integer,
    (Kind.INTEGER, Kind.BOOLEAN): _always(details.LOSS_TRUTH),
    (Kind.INTEGER, Kind.DECIMAL): _integer_to_decimal,
    (Kind.INTEGER, Kind.FLOAT): _integer_to_float,
    (Kind.DECIMAL, Kind.INTEGER): _decimal_to_integer,
    (Kind.DECIMAL, Kind.FLOAT): _decimal_to_float,
    (Kind.FLOAT, Kind.INTEGER): _always(details.LOSS_FRACTION),
    (Kind.FLOAT, Kind.DECIMAL): _always(details.LOSS_FRACTION),
    (Kind.DATE, Kind.DATETIME): _always(details.LOSS_MIDNIGHT),
    (Kind.DATETIME, Kind.DATE): _always(details.LOSS_CLOCK),
    (Kind.INTEGER, Kind.TEXT): _to_text(_integer_text),
    (Kind.DECIMAL, Kind.TEXT): _to_text(_decimal_text),
    (Kind.FLOAT, Kind.TEXT): _to_text(lambda source: _FLOAT_TEXT),
    (Kind.BOOLEAN, Kind.TEXT): _to_text(lambda source: len("false")),
    (Kind.DATE, Kind.TEXT): _to_text(lambda source: len("2026-11-24")),
    (Kind.TIME, Kind.TEXT): _to_text(lambda source: len("09:30:00.250000")),
    (Kind.DATETIME, Kind.TEXT): _to_text(lambda source: len("2026-11-24T09:30:00.250000Z")),
    (Kind.UUID, Kind.TEXT): _to_text(lambda source: 36),
    (Kind.IP, Kind.TEXT): _to_text(lambda source: 39),
}

# -- option values ------------------------------------------------------------------------------------------

#: Kinds whose values can be translated by a table in the mapping.
OPTION_KINDS = frozenset({Kind.TEXT, Kind.INTEGER, Kind.BOOLEAN})


def read_option(text: str, type: FieldType) -> Any:
    """The value of ``type`` that ``text`` (a key of a table in a configuration) stands for; None: for none."""
    if type.kind is Kind.TEXT:
        return text if type.length is None or len(text) <= type.length else None
    if type.kind is Kind.BOOLEAN:
        return {"true": True, "false": False}.get(text)
    if type.kind is Kind.INTEGER and text.isascii() and text.removeprefix("-").isdigit():
        value, (low, high) = int(text), _bounds(type)
        return value if str(value) == text and low <= value <= high else None
    return None


def read_options(texts: Sequence[str], type: FieldType) -> dict[str, Any] | None:
    """The values of ``type`` that ``texts`` stand for; None where one of them is none."""
    found = {text: read_option(text, type) for text in texts}
    return None if None in found.values() else found
