"""What the trigger compilers of all databases share: the compiled form, names, hashes, change masks.

**Old values.** A journal row's ``before`` is a JSON object by field number, NULL where nothing is kept. It has

- ``"17":<old value>``, as stored, of each column that changed and whose old value is wanted: by a log (``logged``), or
  because the field is a sum (``joined``), log or no log: without it the first edit since linking could not be told
  from what was there before. It must then be exact: never cut, numbers with all their digits;
- ``"18":{"<key of the target>":true}`` of a many-to-many in ``joined``: this target was there before (a membership was
  removed), or ``false``: it was not (one was added). Of several rows about one target the oldest counts; a membership
  that was rewritten makes two rows.

Rows that a replacing insert may rewrite keep the old values of sums too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from syncapp.core.mapping import Kind
from syncapp.store.base import LOGGED_TEXT
from syncapp.store.bindings import FieldBinding, TableBinding

#: Bits in one word of a mask: a signed 64-bit integer, with room for the sign and to spare.
WORD = 60

#: What our triggers are called. Everything else in the database is left alone.
NAME = re.compile(r"syncapp_\d+_\w+")


@dataclass(frozen=True, slots=True)
class TriggerSql:
    """A compiled trigger: `sql` creates it on ``table``; `hash` tells one text from another."""

    name: str
    table: str
    sql: str
    hash: str


def digest(sql: str) -> str:
    """The hash of a trigger's text."""
    return hashlib.sha256(sql.encode()).hexdigest()[:16]


def by_slot(binding: TableBinding, captured: Collection[int]) -> list[FieldBinding]:
    """Those of the fields numbered ``captured`` that the table has, in the order of their slots."""
    return sorted((f for n, f in binding.fields.items() if n in captured), key=lambda field: field.slot)


def unique_sets(binding: TableBinding) -> list[tuple[str, ...]]:
    """The column sets of the table that are unique besides the primary key, without conditions or expressions."""
    meta = binding.model._meta
    columns = {field.name: str(field.column) for field in meta.local_concrete_fields}
    names: list[tuple[str, ...]] = [
        (f.name,) for f in meta.local_concrete_fields if f.unique and not f.primary_key
    ]
    names += [tuple(group) for group in meta.unique_together]
    names += [tuple(constraint.fields) for constraint in meta.total_unique_constraints]
    # A constraint over a parent model's column lives in no table that could be watched as one.
    found = [
        tuple(columns[name] for name in group) for group in names if all(name in columns for name in group)
    ]
    return sorted(set(found))


def unbounded(field: FieldBinding) -> bool:
    """Whether texts of any length may stand in the field."""
    longest = getattr(field.django_field, "max_length", None)
    return field.kind is Kind.TEXT and (longest is None or longest > LOGGED_TEXT)


def encode_mask(slots: Iterable[int]) -> str:
    """The mask in which the bits of ``slots`` are set."""
    words: list[int] = [0]
    for slot in slots:
        words += [0] * (slot // WORD + 1 - len(words))
        words[slot // WORD] |= 1 << slot % WORD
    return ":".join(map(str, words))


@lru_cache(maxsize=4096)
def decode_mask(mask: str | int | None) -> tuple[int, ...]:
    """The slots in a journal row's mask: words of `WORD` bits joined by ``:``, the lowest slots first."""
    if not mask:
        return ()
    slots: list[int] = []
    for place, word in enumerate(str(mask).split(":")):
        bits, base = int(word), place * WORD
        while bits:
            low = bits & -bits
            slots.append(base + low.bit_length() - 1)
            bits ^= low
    return tuple(slots)
