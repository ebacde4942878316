"""Values that are joined rather than chosen: sums and unions. Pure.

Both are made of *parts*, each of which has one author and a time, so that joining two states is to take the newer of
each part. That is commutative, associative and idempotent: whatever the order in which programs hear of each other's
parts, and however often, they end with the same ones (state-based CRDTs; Shapiro et al., 2011).

A **sum** has a part ``(origin, time, total)`` for each program that has changed the number: all that it ever added and
took away. The part of the origin ``b""`` is the baseline, what was there before anybody changed it. ::

    stock 10          (–, 10)
    office sells 1    (–, 10) (office, -1)
    shop receives 3   (–, 10)              (shop, +3)
    joined            (–, 10) (office, -1) (shop, +3)      12

Totals are whole numbers, or texts in plain notation with as many decimal places as the field has (``places``; None: a
whole number, a text only beyond 64 bits). They are added as integers of the smallest unit, and so exactly.

A **union** has a part ``(uid, time, origin, present)`` for each record that was ever in it. A removal is a part too,
and the later of two edits of one element stands: what was removed stays so until somebody adds it again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from decimal import Context, Decimal
from typing import Any

from syncapp.core.changes import Part
from syncapp.core.mapping import FieldType, Kind

Parts = tuple[Part, ...]
Total = int | str

#: The origin of a sum's baseline, which no program has.
BASE = b""

_LIMIT = 2**63
_WHOLE = re.compile(r"-?\d{1,400}", re.ASCII)
_PLAIN = re.compile(r"-?\d{1,400}(?:\.(\d{1,400}))?", re.ASCII)
_EXACT = Context(prec=1000)


def join_parts(one: Parts, other: Parts) -> Parts:
    """All that is in either, whichever kind of value they make."""
    sums = any(len(part) == 3 for part in (*one, *other))
    return join_sums(one, other) if sums else join_unions(one, other)


def _join(one: Parts, other: Parts, order: Callable[[Part], Any]) -> Parts:
    """The newer of both for each first element, in the order of these."""
    newest: dict[bytes, Part] = {}
    for part in (*one, *other):
        known = newest.get(part[0])
        if known is None or order(known) < order(part):
            newest[part[0]] = part
    return tuple(newest[key] for key in sorted(newest))


# -- sums ---------------------------------------------------------------------------------------------------


def join_sums(one: Parts, other: Parts) -> Parts:
    """All that is in either of two sums."""
    # One author says one thing at one moment; only of two baselines of one moment the greater is taken.
    return _join(one, other, lambda part: (part[1], Decimal(part[2])))


def value_of(parts: Parts, places: int | None) -> Total:
    """The number that ``parts`` make, as the field has it: a text where it has decimal places."""
    return _total(sum(units(total, places) for _, _, total in parts), places)


def baseline(value: Total, time: int = 0) -> Parts:
    """A sum of one number whose author does not matter; the later one of two stays."""
    return ((BASE, time, value),)


def change_sum(parts: Parts, value: Total, origin: bytes, time: int, places: int | None) -> Parts:
    """``parts`` after ``origin`` has made the number ``value`` of it at ``time``."""
    added = units(value, places) - sum(units(total, places) for _, _, total in parts)
    mine = next((part for part in parts if part[0] == origin), (origin, -1, 0))
    part = (origin, max(time, mine[1] + 1), _total(units(mine[2], places) + added, places))
    return tuple(sorted((*(other for other in parts if other[0] != origin), part)))


def add_to_sum(parts: Parts, count: int, origin: bytes, places: int | None) -> Parts:
    """``parts`` after ``origin`` has added ``count`` of the smallest unit to its own."""
    mine = next((part for part in parts if part[0] == origin), (origin, -1, 0))
    part = (origin, mine[1] + 1, _total(units(mine[2], places) + count, places))
    return tuple(sorted((*(other for other in parts if other[0] != origin), part)))


def places_of(type: FieldType) -> int | None:
    """``places`` of sums in a field of this type."""
    return (type.places or 0) if type.kind is Kind.DECIMAL else None


def units(total: Total, places: int | None) -> int:
    """A number as an integer of its field's smallest unit."""
    if places is None or isinstance(total, int):
        return int(total) * int(10 ** (places or 0))
    return int(Decimal(total).scaleb(places, _EXACT))


def _total(count: int, places: int | None) -> Total:
    if places is None:
        return count if -_LIMIT <= count < _LIMIT else str(count)
    sign, digits = ("-" if count < 0 else ""), str(abs(count)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def sum_fault(parts: Any, places: int | None) -> str:
    """Why ``parts`` are not those of a sum, or an empty text. Origins are not looked at."""
    if not isinstance(parts, list | tuple) or not parts:
        return "a sum travels as its parts"
    for part in parts:
        if not isinstance(part, list | tuple) or len(part) != 3 or not _is_time(part[1]):
            return "a part of a sum is [origin, time, total]"
        if not _is_total(part[2], places):
            return f"{str(part[2])[:60]!r} is not a number of this field"
    return ""


def _is_total(total: Any, places: int | None) -> bool:
    if total.__class__ is int:
        return not places
    if total.__class__ is not str:
        return False
    if places is None:
        return _WHOLE.fullmatch(total) is not None
    match = _PLAIN.fullmatch(total)
    return match is not None and len(match[1] or "") == places


# -- unions -------------------------------------------------------------------------------------------------


def join_unions(one: Parts, other: Parts) -> Parts:
    """All that is in either of two unions; an element that one removed and one added is as the later of them says."""
    return _join(one, other, lambda part: part[1:])


def members(parts: Parts) -> set[bytes]:
    """The elements that are in the union."""
    return {part[0] for part in parts if part[3]}


def collection(uids: Iterable[bytes], time: int = 0, origin: bytes = b"") -> Parts:
    """A union of these elements; time 0: what was there before anybody changed it."""
    return tuple((uid, time, origin, True) for uid in sorted(set(uids)))


def change_union(
    parts: Parts, added: Collection[bytes], removed: Collection[bytes], origin: bytes, time: int
) -> Parts:
    """``parts`` after ``origin`` has added and removed these elements at ``time``."""
    known = {part[0]: part for part in parts}
    for uid, present in [*((uid, True) for uid in added), *((uid, False) for uid in removed)]:
        last = known[uid][1] if uid in known else -1
        known[uid] = (uid, max(time, last + 1), origin, present)
    return tuple(known[uid] for uid in sorted(known))


def renamed(parts: Parts, name: Callable[[bytes], bytes]) -> Parts:
    """``parts`` with each element under the name that ``name`` gives it: two names of one record become one."""
    if all(name(part[0]) == part[0] for part in parts):
        return parts
    return join_unions(tuple((name(part[0]), *part[1:]) for part in parts), ())


def union_fault(parts: Any) -> str:
    """Why ``parts`` are not those of a union, or an empty text. Origins are not looked at."""
    if not isinstance(parts, list | tuple):
        return "a union travels as its parts"
    for part in parts:
        shaped = isinstance(part, list | tuple) and len(part) == 4 and isinstance(part[0], bytes)
        if not shaped or len(part[0]) != 16 or not _is_time(part[1]) or part[3].__class__ is not bool:
            return "a part of a union is [uid, time, origin, present]"
    return ""


def _is_time(value: Any) -> bool:
    return value.__class__ is int and 0 <= value < _LIMIT
