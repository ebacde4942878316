"""The values in the conflict list: in portable form, so that they mean the same however the rows are numbered later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from syncapp.core.mapping import Kind
from syncapp.store.base import UNKNOWN, Backend, ConflictRow, FieldInfo, Setup
from syncapp.store.identity import Uids
from syncapp.store.sealing import Numbering

RELATIONS = frozenset({Kind.RELATION, Kind.RELATIONS})


def is_relation(field: FieldInfo) -> bool:
    """Whether the field's values are keys of records that have uids."""
    return bool(field.target) and field.type.kind in RELATIONS


def portable_rows(
    backend: Backend, setup: Setup, numbering: Numbering, rows: Sequence[ConflictRow]
) -> list[ConflictRow]:
    """``rows`` with relations as uids. A key whose row is gone, which has no uid, reads as empty."""
    found = []
    portable = Portable(backend, numbering)
    fields = [setup.tables[row.table].fields.get(row.field) for row in rows]
    both = [(field, row) for field, row in zip(fields, rows, strict=True) if field is not None]
    portable.learn((field, value) for field, row in both for value in (row.won, row.lost))
    for row, field in zip(rows, fields, strict=True):
        if field is not None and is_relation(field):
            row = msgspec.structs.replace(row, won=portable(field, row.won), lost=portable(field, row.lost))
        found.append(row)
    return found


class Portable:
    """Values as they mean the same in every program: relations as uids."""

    def __init__(self, backend: Backend, numbering: Numbering) -> None:
        self._uids = Uids(backend, numbering)

    def learn(self, values: Any) -> None:
        """Look up the records that these (field, value) refer to."""
        keys: dict[int, set[str]] = defaultdict(set)
        for field, value in values:
            if is_relation(field):
                keys[field.target].update(key for key in _listed(value) if isinstance(key, str))
        self._uids.learn(keys)

    def __call__(self, field: FieldInfo, value: Any) -> Any:
        """One value that was learnt; uids stay what they are."""
        if not is_relation(field) or value is UNKNOWN:
            return value
        if isinstance(value, list):
            keys = [key for key in value if isinstance(key, str)]
            uids = {uid for uid in value if isinstance(uid, bytes)}
            return sorted(uids | set(self._uids.translate(field.target, keys)))
        return self._uids.translate(field.target, value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
