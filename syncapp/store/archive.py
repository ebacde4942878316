"""Archived rows as they can come back: relations lead to the rows that their targets have by now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from syncapp.core.changes import Record
from syncapp.core.mapping import Kind
from syncapp.store.base import Backend, FieldInfo, TableInfo
from syncapp.store.deletionbase import ArchiveRow

Bring = Callable[[Record], Record]
"""Brings a dead record back that an archived row requires; may return it dead."""


class Kept(NamedTuple):
    """An archived row's values by field name; ``changed``: the fields that cannot be what they were."""

    values: dict[str, Any]
    changed: frozenset[int]


def kept_values(backend: Backend, table: TableInfo, row: ArchiveRow, bring: Bring | None = None) -> Kept:
    """What can be put back of an archived row; ``bring``: brings back what it requires."""
    values, changed = dict(row.values), set()
    for field in table.fields.values():
        uids = row.targets.get(field.name)
        if uids is None or field.name not in values:
            continue
        before = values[field.name]
        held = before if isinstance(before, list) else [before]
        keys = [_target(backend, field, str(key), uid, bring) for key, uid in zip(held, uids, strict=True)]
        alive = [key for key in keys if key is not None]
        if len(alive) < len(held):
            changed.add(field.number)
        single = alive[0] if alive else None
        values[field.name] = sorted(alive) if field.type.kind is Kind.RELATIONS else single
    return Kept(values, frozenset(changed))


def _target(backend: Backend, field: FieldInfo, key: str, uid: str, bring: Bring | None) -> str | None:
    """The key of a relation's target by now; None where it is gone."""
    if not uid:
        return key if backend.existing(field.target, [key]) else None
    name = bytes.fromhex(uid)
    record = backend.records_by_uid([name]).get(name)
    if record is None:
        return None
    if not record.alive and field.required and bring is not None:
        record = bring(record)
    return record.pk if record.alive else None
