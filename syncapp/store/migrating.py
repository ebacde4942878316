"""What a migration does behind the back of the change triggers, which have to go while it runs.

Rows that were added meanwhile are found by their keys and noted in the journal, as the triggers would have done. What
else was changed can only be counted, where rows are missing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from django.db import DatabaseError, transaction
from django.db.models import Max, Model

from syncapp.core.changes import Op
from syncapp.models import Journal, Record, Table
from syncapp.store import catalogue

logger = logging.getLogger(__name__)


class Mark(NamedTuple):
    """A captured table before a migration: how many rows it had, and the greatest of their (whole) numbers."""

    rows: int
    last: int | None


#: database → table number → how it stood; kept within the process that migrates.
_marks: dict[str, dict[int, Mark]] = {}


def mark(using: str) -> None:
    """Before the triggers go: remember how the captured tables stand."""
    marks = _marks[using] = {}
    for number, model in _captured(using).items():
        try:
            with transaction.atomic(using):
                marks[number] = _mark(model, using)
        except DatabaseError as error:  # the program knows the table as it will be: renamed, for one
            logger.warning(
                "%s: rows that this migration adds will not be noticed (%s).", model._meta.label, error
            )


def find(using: str) -> dict[str, int]:
    """After the triggers are back: note the rows that were added meanwhile; table → how many."""
    found: dict[str, int] = {}
    now = time.time_ns() // 1000
    before = _marks.pop(using, {})
    for number, model in _captured(using).items():
        known = before.get(number)
        if known is None:
            continue
        label = model._meta.label
        added = _added(model, number, known, using)
        noted = (Journal(table_no=number, pk_text=pk, op=int(Op.INSERT), at=now) for pk in added)
        Journal.objects.using(using).bulk_create(noted, batch_size=500)
        if added:
            found[label] = len(added)
        missing = known.rows + len(added) - model._base_manager.using(using).count()
        if missing > 0:
            logger.warning("%s: %s rows were removed by a migration, which was not noticed.", label, missing)
    for label, count in found.items():
        logger.warning("%s: %s rows were added by a migration and are sent.", label, count)
    return found


def _captured(using: str) -> Mapping[int, type[Model]]:
    captured = catalogue.load_setup(using).captured
    tables = catalogue.bindings(using).values()
    return {table.number: table.model for table in tables if captured & table.fields.keys()}


def _mark(model: type[Model], using: str) -> Mark:
    rows = model._base_manager.using(using)
    last = rows.aggregate(last=Max("pk"))["last"]
    return Mark(rows.count(), last if isinstance(last, int) else None)


def _added(model: type[Model], number: int, known: Mark, using: str) -> list[str]:
    """Keys of rows above the greatest one that there was, but for those that a peer has brought."""
    if known.rows and known.last is None:
        return []
    rows: Any = model._base_manager.using(using).order_by("pk")
    if known.last is not None:
        rows = rows.filter(pk__gt=known.last)
    keys = [str(pk) for pk in rows.values_list("pk", flat=True)]
    records = Record.objects.using(using).filter(table_id=number, alive=True)
    brought: set[str] = set()
    for at in range(0, len(keys), 500):
        brought.update(records.filter(pk_text__in=keys[at : at + 500]).values_list("pk_text", flat=True))
    return [key for key in keys if key not in brought]


def forget_emptied(using: str, labels: Collection[str], models: Mapping[str, type[Model]]) -> list[str]:
    """Tables that are back and hold no rows were dropped in between: their records were those of other rows.

    Else the next row with an old key would be taken for the record that had it.
    """
    emptied = [label for label in labels if not models[label]._base_manager.using(using).exists()]
    for number in Table.objects.using(using).filter(label__in=emptied).values_list("number", flat=True):
        Record.objects.using(using).filter(table_id=number, alive=True).delete()
    return emptied
