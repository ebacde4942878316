"""*Match by*, whatever the database: which of some rows have given keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from syncapp.core.keys import key_of
from syncapp.core.kinds import Kind
from syncapp.store.base import BadValue, Key


def normal_key(kinds: Sequence[Kind], key: Sequence[Any]) -> Key | None:
    """``key`` as it is compared; None where a part of it is empty or no value at all, so that it matches nothing."""
    parts = []
    for kind, value in zip(kinds, key, strict=True):
        part = None if isinstance(value, BadValue) else key_of(kind, value)
        if part is None:
            return None
        parts.append(part)
    return tuple(parts)


def rows_of_keys(
    kinds: Sequence[Kind], keys: Collection[Key], rows: Iterable[tuple[str, Sequence[Any]]]
) -> dict[Key, list[str]]:
    """The local keys of those of ``rows`` (with their values) that have each of ``keys``; only keys that have some.

    A row that is equal to the letter goes before rows that are equal only without regard to case, spaces and the like.
    """
    wanted: dict[Key, list[Key]] = defaultdict(list)
    for key in keys:
        normal = normal_key(kinds, key)
        if normal is not None:
            wanted[normal].append(key)
    equal: dict[Key, list[str]] = defaultdict(list)
    alike: dict[Key, list[str]] = defaultdict(list)
    for pk, values in rows if wanted else ():
        normal = normal_key(kinds, values)
        for key in wanted.get(normal, ()) if normal is not None else ():
            (equal if tuple(values) == key else alike)[key].append(pk)
    return {key: equal[key] if key in equal else alike[key] for key in {*equal, *alike}}
