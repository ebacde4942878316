"""What is set per table of a link, in the numbers of this program: what `base.LinkInfo` has of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from syncapp import models
from syncapp.core.transforms import Step, ValueMap
from syncapp.store.base import Soft
from syncapp.store.values import checker

if TYPE_CHECKING:
    from syncapp.store.catalogue import CatalogueTable


@dataclass(slots=True)
class TableOptions:
    """The options of one link's tables, by table number; see `base.LinkInfo`."""

    filters: dict[int, dict[int, tuple[Any, ...]]] = field(default_factory=dict)
    shut: dict[int, str] = field(default_factory=dict)
    saved: set[int] = field(default_factory=set)

    def captured(self) -> set[int]:
        """The fields whose changes have to be noticed for these options."""
        return {number for filter in self.filters.values() for number in filter}


def read(using: str, tables: Mapping[str, CatalogueTable]) -> dict[int, TableOptions]:
    """link → the options of its tables."""
    found: dict[int, TableOptions] = {}
    for row in models.LinkTable.objects.using(using).select_related("table"):
        options = found.setdefault(row.link_id, TableOptions())
        table = tables.get(row.table.label)
        if table is None:
            continue
        if row.options.get("filter"):
            _add_filter(options, table, row.options["filter"])
        if row.options.get("apply") == "save":
            options.saved.add(table.number)
    return found


def read_soft(using: str, tables: Mapping[str, CatalogueTable]) -> dict[int, Soft]:
    """table → how its rows say that they are deleted; without those whose columns are not what they were any more."""
    found: dict[int, Soft] = {}
    for row in models.Rule.objects.using(using).select_related("field__table"):
        table = tables.get(row.field.table.label)
        if table is None or not row.options.get("deleted"):
            continue
        sides = [_values(table, row.options.get(side, {})) for side in ("deleted", "alive")]
        if sides[0] is not None and sides[1] is not None:
            found[table.number] = Soft(sides[0], sides[1])
    return found


def _values(table: CatalogueTable, written: Mapping[str, Any]) -> dict[int, Any] | None:
    """Wire values by field number; None where a column is gone, or of another type."""
    found: dict[int, Any] = {}
    for name, value in written.items():
        entry = table.fields.get(name)
        if entry is None or not entry.description.column or checker(entry.type)(value):
            return None
        found[entry.number] = value
    return found


def steps(options: Mapping[str, Any]) -> tuple[Step, ...]:
    """The transform in the options of a mapping."""
    return tuple(map(_step, options.get("transform", ())))


def _step(kept: Any) -> Step:
    if isinstance(kept, str):
        return Step(kept)
    ((name, argument),) = kept.items()
    return Step(name, ValueMap((here, there) for here, there in argument) if name == "map" else argument)


def _add_filter(options: TableOptions, table: CatalogueTable, written: Mapping[str, list[Any]]) -> None:
    """A filter that cannot be told any more (its column is gone, or of another type) shuts the table."""
    filter: dict[int, tuple[Any, ...]] = {}
    for name, values in written.items():
        entry = table.fields.get(name)
        if entry is None or not entry.description.column or any(map(checker(entry.type), values)):
            options.shut[table.number] = name
            return
        filter[entry.number] = tuple(values)
    options.filters[table.number] = filter
