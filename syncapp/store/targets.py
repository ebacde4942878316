"""Targets of relations that travel by the match fields of their table, instead of a uid (``missing = "match"``).

On the wire such a relation is ``["match", value, …]``, in the order of the receiver's match fields; a many-to-many is a
list of these. The receiver finds the one row that matches, and never creates any.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from syncapp.core.kinds import Kind
from syncapp.core.mapping import Agreement
from syncapp.core.relations import MatchKey
from syncapp.store.adapting import adapt
from syncapp.store.base import Backend, BadValue, FieldInfo, Key, LinkInfo, Setup, TableInfo
from syncapp.store.values import checker

MARK = "match"


class ByKey(list[Any]):
    """A relation's value as it travels by match fields; a class of its own, to tell it from lists of keys and uids."""


# -- sending ------------------------------------------------------------------------------------------------


def keys_of_targets(
    backend: Backend, table: TableInfo, sent: Mapping[int, MatchKey], rows: Iterable[dict[int, Any]]
) -> None:
    """Put the match fields of their targets in place of the local keys in ``rows``."""
    rows = list(rows)
    for field, key in sent.items():
        target = table.fields[field].target
        present = [row for row in rows if field in row]
        local = {one for row in present for one in _listed(row[field]) if isinstance(one, str)}
        found = backend.rows(target, local, key.fields) if local else {}
        for row in present:
            row[field] = _by_key(row[field], found)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _by_key(value: Any, found: Mapping[str, list[Any]]) -> Any:
    if isinstance(value, list):
        parts = [_by_key(one, found) for one in value if one in found]
        return next((part for part in parts if isinstance(part, BadValue)), ByKey(parts))
    if not isinstance(value, str):
        return value
    if value not in found:
        return None  # gone, and the journal knows
    bad = next((part for part in found[value] if isinstance(part, BadValue)), None)
    return bad or ByKey([MARK, *found[value]])


# -- receiving ----------------------------------------------------------------------------------------------


class Match(NamedTuple):
    """Local keys of the rows that match; the key as people read it, and what waits for it."""

    rows: Sequence[str]
    shown: str
    digest: bytes


def is_key(value: Any) -> bool:
    """Whether ``value`` is one target by match fields."""
    return isinstance(value, list) and len(value) > 1 and value[0] == MARK


class TargetFinder:
    """Finds, once per batch, the rows that incoming relations mean by match fields."""

    def __init__(self, backend: Backend, setup: Setup, link: LinkInfo, agreement: Agreement | None) -> None:
        self._backend = backend
        self._setup = setup
        self._link = link
        self._zone = ZoneInfo(setup.zone)
        self._agreed = {
            n: k
            for flow in (agreement.tables.values() if agreement else ())
            for n, k in flow.match_into.items()
        }
        self._found: dict[tuple[int, Key], list[str]] = {}

    def learn(self, values: Iterable[tuple[FieldInfo, Any]]) -> None:
        """Look up the targets in ``values`` of relations."""
        wanted: dict[int, set[Key]] = defaultdict(set)
        for field, value in values:
            for one in [value] if is_key(value) else value if isinstance(value, list) else ():
                key = self._key(field, one)
                if key is not None and (field.target, key) not in self._found:
                    wanted[field.target].add(key)
        for table, keys in wanted.items():
            found = self._backend.match(table, self._link.match_by[table], keys)
            self._found |= {(table, key): found.get(key, []) for key in keys}

    def match(self, field: FieldInfo, value: Any) -> Match | None:
        """The rows that ``value`` means, after `learn`; None where it is no key of the field's target."""
        key = self._key(field, value)
        if key is None:
            return None
        shown = ", ".join(str(part) for part in key)
        packed = msgspec.msgpack.encode([MARK, field.target, *key])
        return Match(
            self._found.get((field.target, key), []), shown, hashlib.blake2b(packed, digest_size=16).digest()
        )

    def _key(self, field: FieldInfo, value: Any) -> Key | None:
        """The match fields' values in the form that they have here."""
        fields = self._link.match_by.get(field.target, ())
        if not is_key(value) or not fields or len(value) != len(fields) + 1:
            return None
        infos = self._setup.tables[field.target].fields
        agreed = self._agreed.get(field.number)
        there = agreed.there if agreed is not None and agreed.fields == fields else ()
        parts = []
        for place, number in enumerate(fields):
            type, part = infos[number].type, value[place + 1]
            if there and msgspec.structs.replace(there[place], null=type.null) != type:
                part = adapt(part, there[place].kind, type, self._zone)
            if part is not None and checker(msgspec.structs.replace(type, length=None))(part):
                return None
            parts.append(part)
        return tuple(parts)


def targets_of(kind: Kind, value: Any) -> bool:
    """Whether the value of a relation of ``kind`` travels by match fields, wholly or in part."""
    if kind is Kind.RELATION:
        return is_key(value)
    return isinstance(value, list) and any(is_key(one) for one in value)
