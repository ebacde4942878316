"""Values written in a configuration file, in the wire form of a field."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from syncapp.core.mapping import FieldType, Kind
from syncapp.store.catalogue import CatalogueField
from syncapp.store.config.reader import describe
from syncapp.store.values import checker

#: TOML has no null.
_NULL = {"null": True}


def is_single(written: Any) -> bool:
    """Whether what stands in a file is one value, or null."""
    return written == _NULL or not isinstance(written, list | dict)


def from_file(written: Any) -> Any:
    """One value as it stands in a file; None for null."""
    return None if written == _NULL else written


def to_file(value: Any) -> Any:
    """The inverse of `from_file`."""
    return dict(_NULL) if value is None else value


def shown(value: Any) -> str:
    """A value for people."""
    return "null" if value is None else describe(value)


def has_values(entry: CatalogueField) -> bool:
    """Whether the field is a column of the table itself whose values can be written in a file."""
    return entry.type.kind in _CONVERT and not entry.description.system and bool(entry.description.column)


def wire_value(
    value: Any, entry: CatalogueField, *, there: bool = False, spelt: bool = False
) -> tuple[Any, str]:
    """``value`` in wire form, or why it cannot be one of the field's (None: null).

    ``there``: it is a value of the other program's field, of which only the kind is known to be the same. ``spelt``: a
    number or a truth value may be written as text.
    """
    type = msgspec.structs.replace(entry.type, length=None, low=None, high=None) if there else entry.type
    try:
        wire = (
            None if value is None else _CONVERT[type.kind](_read(value, type.kind) if spelt else value, type)
        )
    except (ValueError, TypeError, InvalidOperation) as error:
        # A ValueError of ours says what is wrong; one of a parser's speaks of its own input.
        return None, str(error) if error.__class__ is _Reason else f"not of type {type.text()}"
    detail = checker(type)(wire)
    choices = [] if there else choices_of(entry)
    if not detail and wire is not None and choices and wire not in choices:
        detail = f"possible: {', '.join(map(str, choices))}"
    return wire, detail


def choices_of(entry: CatalogueField) -> list[Any]:
    """The values that the model's field allows, if it lists them."""
    field = entry.description.field
    if field is None or entry.type.kind not in (Kind.TEXT, Kind.INTEGER):
        return []
    return [value for value, _ in field.flatchoices]


class _Reason(ValueError):
    pass


def _read(value: Any, kind: Kind) -> Any:
    """A text as the number or truth value that it spells."""
    if not isinstance(value, str) or kind not in _SPELT:
        return value
    return _SPELT[kind](value)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


_SPELT: dict[Kind, Callable[[str], Any]] = {Kind.INTEGER: int, Kind.FLOAT: float, Kind.BOOLEAN: _truth}


def _only(type: type[Any]) -> Callable[[Any, FieldType], Any]:
    def convert(value: Any, field: FieldType) -> Any:
        if value.__class__ is not type:
            raise TypeError
        return value

    return convert


def _float(value: Any, field: FieldType) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _decimal(value: Any, field: FieldType) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number, places = Decimal(str(value)), field.places or 0
    rounded = number.quantize(Decimal(1).scaleb(-places))
    if rounded != number:
        raise _Reason(f"more than {places} decimal places")
    return format(rounded or abs(rounded), "f")


def _uuid(value: Any, field: FieldType) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(uuid.UUID(value))


def _date(value: Any, field: FieldType) -> Any:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value.isoformat()
    return _only(str)(value, field)


def _time(value: Any, field: FieldType) -> Any:
    return value.isoformat() if isinstance(value, dt.time) else _only(str)(value, field)


def _datetime(value: Any, field: FieldType) -> Any:
    if not isinstance(value, dt.datetime):
        return _only(str)(value, field)
    if value.tzinfo is None:
        raise _Reason("add its time zone, such as Z")
    return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat() + "Z"


_CONVERT: dict[Kind, Callable[[Any, FieldType], Any]] = {
    Kind.TEXT: _only(str),
    Kind.INTEGER: _only(int),
    Kind.BOOLEAN: _only(bool),
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.DATETIME: _datetime,
    Kind.UUID: _uuid,
}
