"""Sums and unions on the wire: origins as indexes into the batch's list, as in versions.

The baseline of a sum has the empty origin, which stands in that list like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncapp.core.changes import Entry
from syncapp.core.clock import Version
from syncapp.core.parts import (
    BASE,
    Parts,
    baseline,
    collection,
    members,
    places_of,
    sum_fault,
    union_fault,
    value_of,
)
from syncapp.core.rules import Merge
from syncapp.store.base import FieldInfo


def parts_of(field: FieldInfo, entry: Entry | None, value: Any) -> Parts:
    """What a field with the rule sum or union is made of; ``value``: what is in it (of a union, uids).

    A value that was written under another rule is one part, and so is one that was never edited.
    """
    if entry is not None and entry.parts:
        return entry.parts
    return single(field, entry.version if entry else None, value)


def given(field: FieldInfo, version: Version | None, value: Any, parts: Parts) -> Parts | None:
    """The parts of a value that came: its own, or what it makes as a whole; None if it is no value of the field."""
    if parts:
        return parts
    if field.merge is Merge.SUM:
        sound = is_number(value, places_of(field.type))
    else:
        sound = isinstance(value, list) and all(isinstance(uid, bytes) for uid in value)
    return single(field, version, value) if sound else None


def is_number(value: Any, places: int | None) -> bool:
    """Whether ``value`` is a number in the form that a sum's totals have."""
    return not sum_fault(((BASE, 0, value),), places)


def single(field: FieldInfo, version: Version | None, value: Any) -> Parts:
    """A value that was written as a whole, as parts."""
    if field.merge is Merge.SUM:
        return baseline(value, version.time if version else 0)
    if version is None:
        return collection(value or ())
    return collection(value or (), version.time, version.origin)


def value_from(field: FieldInfo, parts: Parts) -> Any:
    """The value that ``parts`` make: a number, or a sorted list of uids."""
    if field.merge is Merge.SUM:
        return value_of(parts, places_of(field.type))
    return sorted(members(parts))


def pack(field: FieldInfo, parts: Parts, origins: dict[bytes, int]) -> list[list[Any]]:
    """Parts as they travel; ``origins`` grows as needed."""
    if field.merge is Merge.SUM:
        return [[origins.setdefault(origin, len(origins)), time, total] for origin, time, total in parts]
    return [
        [uid, time, origins.setdefault(origin, len(origins)), present] for uid, time, origin, present in parts
    ]


def unpack(field: FieldInfo, value: Any, origins: list[bytes]) -> Parts | None:
    """Parts that came; None if they are none, which is to be refused where the value is checked.

    Raises:
        IndexError: an origin that the batch does not have.
    """
    if field.merge is Merge.SUM:
        if sum_fault(value, places_of(field.type)):
            return None
        return tuple(sorted((_origin(part[0], origins), part[1], part[2]) for part in value))
    if union_fault(value):
        return None
    return tuple(sorted((part[0], part[1], _origin(part[2], origins), part[3]) for part in value))


def _origin(index: Any, origins: list[bytes]) -> bytes:
    if index.__class__ is not int or index < 0:
        raise IndexError("an origin is named by its index")
    return origins[index]


def sendable(field: FieldInfo, entry: Entry, value: Any, names: Mapping[bytes, bytes]) -> Parts:
    """The parts of a field that can be told to a peer; ``value``: what is in it (of a union, uids).

    An element whose record is gone here cannot be sent to a peer that never had it, which would wait for it in vain:
    it is left out, since a state that says less can be joined as well. ``names``: other names of records → theirs.
    """
    parts = parts_of(field, entry, value)
    if field.merge is Merge.SUM:
        return parts
    present = set(value or ())
    return tuple(part for part in parts if not part[3] or names.get(part[0], part[0]) in present)
