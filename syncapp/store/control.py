"""The few things that people tell a running link: pause, resume, try again, skip."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from django.db import transaction
from django.db.models import QuerySet

from syncapp.models import Link, LogEntry, Problem
from syncapp.store import numbering
from syncapp.store.base import ASK
from syncapp.store.parked import unpack


def set_paused(link: int, paused: bool, using: str = "default") -> bool:
    """Pause or resume ``link``; False when there is no such link.

    The process that drives the link notices by itself.
    """
    with transaction.atomic(using=using):
        numbering.lock_instance(using)
        if not Link.objects.using(using).filter(pk=link).update(paused=paused):
            return False
        numbering.bump(using)
    return True


def retry_problems(ids: Collection[int] | None, link: int | None = None, using: str = "default") -> int:
    """Make problems due now (``ids`` None: all, of ``link`` if given); says how many."""
    return _chosen(ids, link, using).update(next_try=0)


def skip_problems(ids: Collection[int], now: int, using: str = "default") -> int:
    """Give up parked changes; says how many.

    Each leaves log rows ``skipped`` (whether or not the link's log is on) that keep what was parked, so that
    nothing is lost unseen.
    """
    with transaction.atomic(using=using):
        rows = list(_chosen(ids, None, using))
        LogEntry.objects.using(using).bulk_create(entry for row in rows for entry in _skipped(row, now))
        Problem.objects.using(using).filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)


def _chosen(ids: Collection[int] | None, link: int | None, using: str) -> QuerySet[Problem]:
    # A question is decided (`store.choices`): nothing comes of trying it again, and skipping it would leave the
    # programs apart for good.
    rows = Problem.objects.using(using).exclude(code=ASK).order_by("id")
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    return rows if link is None else rows.filter(link_id=link)


def _skipped(row: Problem, now: int) -> list[LogEntry]:
    """What was parked as log rows: one for each field value, or one for a change without any (a deletion)."""
    return [
        LogEntry(
            link_id=row.link_id,
            at=now,
            way=row.way,
            table_no=row.table_no,
            pk_text=row.pk_text,
            uid=row.uid,
            field_no=field,
            before=None,
            after=after,
            result="skipped",
            detail=row.code,
        )
        for field, after in _values(row).items()
    ]


def _values(row: Problem) -> dict[int, str | None]:
    """The parked values as JSON, by field number."""
    payload = bytes(row.payload)
    try:
        cells = unpack(bytes(row.uid), row.table_no, payload).cells
    except msgspec.MsgspecError:
        # Parked by another version of this program: kept as it is rather than lost.
        return {row.field_no: _json({"payload": payload})}
    return {field: _json(cell.value) for field, cell in cells.items()} or {row.field_no: None}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
