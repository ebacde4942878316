"""Columns of values as PostgreSQL's array literals, so that one parameter carries a whole column.

The driver's own conversion of lists goes value by value in Python: for 5000 rows of nine columns it took 380 ms, texts
joined here 70 ms, `COPY` 50 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.utils import DataError

_NO_NUL = "a text contains a NUL character, which PostgreSQL cannot hold"


def array(values: Sequence[Any]) -> str:
    """``values`` (texts, numbers, truth values, bytes, None) as the text of a one-dimensional array."""
    kinds = set(map(type, values))
    if kinds == {str}:
        return _texts(values)
    if kinds == {int}:
        return "{" + ",".join(map(str, values)) + "}"
    return "{" + ",".join(map(_element, values)) + "}"


def _texts(values: Sequence[str]) -> str:
    joined = "\0".join(values)
    if joined.count("\0") != len(values) - 1:
        # It would make two elements of one, and shift all that follow.
        raise DataError(_NO_NUL)
    if '"' in joined or "\\" in joined:
        joined = _escaped(joined)
    return '{"' + joined.replace("\0", '","') + '"}'


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if value.__class__ is str:
        if "\0" in value:
            raise DataError(_NO_NUL)
        return f'"{_escaped(value)}"'
    if value.__class__ is bool:
        return "t" if value else "f"
    if isinstance(value, bytes | bytearray | memoryview):
        return f'"\\\\x{value.hex()}"'
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value))
    return f'"{_escaped(str(value))}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


#: Python type of values that are compared with a column → the type of their array.
_TYPES = {int: "bigint", str: "text", bytes: "bytea", bool: "boolean"}


def type_of(values: Sequence[Any]) -> str:
    """The type of ``values`` as elements of an array; those that are None fit any."""
    for value in values:
        if value is not None:
            kind: type = value.__class__
            return _TYPES.get(kind, kind.__name__.lower())
    return "text"
