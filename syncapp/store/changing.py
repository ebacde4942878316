"""Values that a one-way mapping changes on their way (see `core.transforms`, `core.derive`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from syncapp.core.mapping import Agreement
from syncapp.core.transforms import Step, transform
from syncapp.store.parked import Incoming

Transforms = Mapping[int, tuple[Step, ...]]
"""Field number → what is done to its values on this side of the link."""


def change_out(transforms: Transforms, fields: Sequence[int], cells: list[Any]) -> None:
    """Our values as they leave; ``cells`` in the order of ``fields``."""
    for place, field in enumerate(fields):
        if field in transforms:
            cells[place] = transform(transforms[field], cells[place])


def change_in(transforms: Transforms, changes: Iterable[Incoming]) -> None:
    """The peer's values as they come in. Done once: what is parked is kept as changed."""
    if not transforms:
        return
    for change in changes:
        for field in change.cells.keys() & transforms.keys():
            cell = change.cells[field]
            change.cells[field] = cell._replace(value=transform(transforms[field], cell.value))


def restamped(agreement: Agreement, table: int) -> Collection[int]:
    """The fields of ``table`` whose values are not what their author wrote, and so take a stamp of ours."""
    flow = agreement.tables.get(table)
    return flow.restamp if flow is not None else ()
