"""A value as a person enters it, on a command line or in a form, as the store works with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from syncapp.core.mapping import FieldType, Kind
from syncapp.errors import ValueRefused
from syncapp.store.adapting import adapt
from syncapp.store.base import FieldInfo
from syncapp.store.values import ip_text

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def entered(table: str, field: FieldInfo, value: Any) -> Any:
    """``value``, a text or what JSON says, in wire form with relations as keys of this program; None: empty.

    Whether the field can take it is checked where it is written.

    Raises:
        ValueRefused: it is no value of the field's kind.
    """
    if value is None:
        return None
    try:
        read = _READERS.get(field.type.kind)
        return value if read is None else read(value, field.type)
    except (ValueError, KeyError, TypeError, AttributeError):
        detail = f"it is no {field.type.kind.value}"
        raise ValueRefused(table=table, field=field.name, value=str(value)[:60], detail=detail) from None


def _truth(value: Any, type: FieldType) -> Any:
    return value if isinstance(value, bool) else _TRUTH[value.strip().lower()]


def _decimal(value: Any, type: FieldType) -> Any:
    return adapt(str(value).strip(), Kind.DECIMAL, type)


def _keys(value: Any, type: FieldType) -> list[str]:
    keys = value.split(",") if isinstance(value, str) else value
    return sorted({str(key).strip() for key in keys} - {""})


def _never(value: Any, type: FieldType) -> Any:
    raise ValueError("binary data cannot be entered")


_READERS: dict[Kind, Callable[[Any, FieldType], Any]] = {
    Kind.INTEGER: lambda value, type: int(value),
    Kind.DURATION: lambda value, type: int(value),
    Kind.FLOAT: lambda value, type: float(value),
    Kind.BOOLEAN: _truth,
    Kind.DECIMAL: _decimal,
    Kind.JSON: lambda value, type: json.loads(value) if isinstance(value, str) else value,
    Kind.IP: lambda value, type: ip_text(str(value).strip()),
    Kind.RELATION: lambda value, type: str(value),
    Kind.USER: lambda value, type: str(value),
    Kind.RELATIONS: _keys,
    Kind.BINARY: _never,
}
