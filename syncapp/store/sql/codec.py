"""What the codecs of all databases share: how columns of raw values are read, and the kinds that are stored alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context
from typing import Any

from syncapp import details
from syncapp.core.kinds import FieldType
from syncapp.store.base import BadValue
from syncapp.store.faults import fault, shown
from syncapp.store.values import checker, ip_text

Convert = Callable[[Any], Any]

_NULL = type(None)
#: Django's decimals may have any number of digits; Python's own default keeps 28.
WIDE = Context(prec=1000)


@dataclass(frozen=True, slots=True)
class Codec:
    """One field's values: ``read`` raw → wire (None: the same), ``write`` wire → raw (None: the same).

    ``raw`` are the Python types that ``read`` expects. ``sound`` looks at all non-null values of a column and says
    whether they are good as they are; ``check`` says why a wire value cannot be stored.
    """

    raw: frozenset[type]
    check: Callable[[Any], str]
    read: Convert | None = None
    write: Convert | None = None
    sound: Callable[[Sequence[Any]], bool] | None = None

    def read_column(self, values: Sequence[Any]) -> Sequence[Any]:
        """Wire values of a column of raw ones."""
        types = set(map(type, values))
        if types <= self.raw | {_NULL}:
            if self.read is None:
                present = values if _NULL not in types else [value for value in values if value is not None]
                if self.sound is None or not present or self.sound(present):
                    return values
            else:
                read = self.read
                return [None if value is None else read(value) for value in values]
        return [self.read_value(value) for value in values]

    def read_value(self, value: Any) -> Any:
        """The wire value of one raw value, or a `BadValue`."""
        if value is None or isinstance(value, BadValue):
            return value
        if type(value) not in self.raw:
            return bad(details.OTHER_TYPE, value)
        wire = value if self.read is None else self.read(value)
        if isinstance(wire, BadValue):
            return wire
        found = self.check(wire)
        return BadValue(found) if found else wire

    def write_column(self, values: Sequence[Any]) -> Sequence[Any]:
        """Raw values of a column of wire ones, which have passed `check`."""
        write = self.write
        return values if write is None else [None if value is None else write(value) for value in values]


class JsonNull(Codec):
    """JSON in a column that takes no NULL: there, None is JSON's own null."""

    __slots__ = ()

    def write_column(self, values: Sequence[Any]) -> Sequence[Any]:
        return values if self.write is None else list(map(self.write, values))


def bad(text: str, value: Any) -> BadValue:
    """A value that cannot be read, because of ``text``."""
    return BadValue(fault(text, shown=shown(value)))


# -- kinds: makers of codecs, whose second argument differs between databases ---------------------------------


def integer(type: FieldType, _: object) -> Codec:
    low, high = type.low, type.high

    def sound(values: Sequence[int]) -> bool:
        return (low is None or min(values) >= low) and (high is None or max(values) <= high)

    return Codec(frozenset({int}), checker(type), sound=sound)


def floating(type: FieldType, _: object) -> Codec:
    return Codec(frozenset({float, int}), checker(type), sound=lambda values: all(map(math.isfinite, values)))


def binary(type: FieldType, _: object) -> Codec:
    length = type.length
    sound = None if length is None else lambda values: max(map(len, values)) <= length
    return Codec(frozenset({bytes}), checker(type), sound=sound)


def address(type: FieldType, _: object) -> Codec:
    def read(value: str) -> Any:
        try:
            return ip_text(value)
        except ValueError:
            return bad(details.NO_ADDRESS, value)

    return Codec(frozenset({str}), checker(type), read)
