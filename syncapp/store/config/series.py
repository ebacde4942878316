"""Shared series of numbers in a configuration: read, validated against the tables, written, exported.

Like rules they hold for the whole program, so a file says them all: a series that it leaves out is one no longer. Its
book is kept, since other programs may still hold numbers of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import tomlkit
from tomlkit.items import AoT

from syncapp import models
from syncapp.core.mapping import Kind
from syncapp.core.numberformat import read_format
from syncapp.core.series import Book
from syncapp.core.spans import top
from syncapp.errors import SyncError
from syncapp.store.catalogue import CatalogueField, CatalogueTable, program_name
from syncapp.store.config.named import find_field, wrong
from syncapp.store.config.reader import Reader
from syncapp.store.config.spec import SeriesSpec
from syncapp.store.seriesbase import limit_of

SERIES_MODES = ("ranges", "contiguous")
#: Provisional numbers need so many characters.
PROVISIONAL_LENGTH = 10


class SeriesPlan(NamedTuple):
    """A series of a field that was found in the catalogue."""

    label: str
    entry: CatalogueField
    spec: SeriesSpec


def read_series(reader: Reader) -> SeriesSpec | None:
    """One ``[[series]]``."""
    reader.required("field")
    field = reader.text("field")
    if field:
        reader.place = f'Series of "{field}"'
    reader.required("owner")
    owner = reader.text("owner", most=100)
    mode = reader.choice("mode", SERIES_MODES, "ranges")
    written = reader.has("format")
    format = reader.text("format", "{}", most=100)
    if read_format(format) is None:
        reader.wrong("format", 'a text with one place for the number, such as "INV-{:06}"')
        format = "{}"
    reader.finish()
    return SeriesSpec(field, owner, mode, format if written else "") if field and owner else None


def plan_series(
    specs: Iterable[SeriesSpec], catalogue: Mapping[str, CatalogueTable]
) -> tuple[list[SeriesPlan], list[SyncError]]:
    """Resolve the fields of all series; report what does not fit."""
    plans: list[SeriesPlan] = []
    errors: list[SyncError] = []
    for spec in specs:
        named = find_field(catalogue, spec.field, _place(spec), errors)
        if named is None:
            continue
        table, entry = named
        if any(plan.entry.number == entry.number for plan in plans):
            errors.append(wrong(_place(spec), "field", "a field without another series", spec.field))
        elif fault := _fault(spec, entry):
            errors.append(fault)
        else:
            plans.append(SeriesPlan(f"{table.label}.{entry.name}", entry, spec))
    return plans, errors


def _fault(spec: SeriesSpec, entry: CatalogueField) -> SyncError | None:
    type = entry.type
    described = entry.description
    if type.kind not in (Kind.TEXT, Kind.INTEGER) or described.system or not described.column:
        return wrong(_place(spec), "field", "a field of texts or whole numbers", type.text())
    if type.kind is Kind.INTEGER and spec.format:
        return wrong(_place(spec), "format", "left out (it is for fields of texts)", spec.format)
    if limit_of(spec.format or "{}", type) < 1:
        return wrong(_place(spec), "format", f"a format whose numbers fit into {type.text()}", spec.format)
    if spec.mode == "contiguous":
        if type.kind is Kind.INTEGER and type.low is not None and type.low >= 0:
            expected = "ranges (provisional numbers are below zero, which this field does not take)"
            return wrong(_place(spec), "mode", expected, spec.mode)
        if type.kind is Kind.TEXT and type.length is not None and type.length < PROVISIONAL_LENGTH:
            expected = f"ranges (provisional numbers have {PROVISIONAL_LENGTH} characters)"
            return wrong(_place(spec), "mode", expected, spec.mode)
    return None


def _place(spec: SeriesSpec) -> str:
    return f'Series of "{spec.field}"'


# -- writing ------------------------------------------------------------------------------------------------


def write_series(plans: Iterable[SeriesPlan], using: str) -> list[str]:
    """Make the series those of ``plans``; a sentence for each that differs from before."""
    rows = {row.field_id: row for row in models.Series.objects.using(using).select_related("field__table")}
    changes = []
    here = program_name(using)
    for plan in plans:
        row = rows.pop(plan.entry.number, None)
        wanted = (plan.spec.owner, plan.spec.mode, plan.spec.format or "{}")
        if row is None:
            row = models.Series(field_id=plan.entry.number)
        elif row.declared and (row.owner, row.mode, row.format) == wanted:
            continue
        elif row.owner != plan.spec.owner:
            row.book = _another_owner(bytes(row.book))
        row.owner, row.mode, row.format = wanted
        row.declared = True
        row.save(using=using)
        changes.append(_told(plan, here))
    for row in rows.values():
        if row.declared:
            row.declared = False
            row.save(using=using)
            changes.append(
                f"{row.field} is no shared series any more. What other programs hold of it stays known."
            )
    return changes


def _another_owner(packed: bytes) -> bytes:
    """The book for a series that has a new owner: who that is, and the way to it, is learnt anew.

    Should it be this program, it gives nothing before everybody has told what they have.
    """
    if not packed:
        return packed
    book = msgspec.msgpack.decode(packed, type=Book)
    book.owner, book.sure = b"", False
    book.next = max(book.next, book.top + 1, top(book.pool) + 1)
    for known in book.neighbours.values():
        known.hops, known.reported = None, False
    return msgspec.msgpack.encode(book)


def _told(plan: SeriesPlan, here: str) -> str:
    spec = plan.spec
    owner = "this program" if spec.owner == here else f'"{spec.owner}"'
    form = f", written {spec.format}" if spec.format else ""
    return (
        f"{plan.label} is a shared series now: {spec.mode}, owned by {owner}{form}. "
        "Declare it so in every program that shares the field."
    )


# -- exporting ----------------------------------------------------------------------------------------------


def export_series(using: str) -> AoT:
    """All declared series."""
    tables = tomlkit.aot()
    rows = models.Series.objects.using(using).filter(declared=True, field__retired=False)
    for row in rows.select_related("field__table").order_by("field__table__label", "field__slot"):
        table = tomlkit.table()
        table.add("field", str(row.field))
        table.add("owner", row.owner)
        table.add("mode", row.mode)
        if row.format != "{}":
            table.add("format", row.format)
        tables.append(table)
    return tables
