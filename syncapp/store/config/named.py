"""Fields that rules and series name as ``app.Model.field``."""

from __future__ import annotations

from collections.abc import Mapping

from syncapp.errors import SyncError, WrongSetting
from syncapp.store.catalogue import CatalogueField, CatalogueTable


def find_field(
    catalogue: Mapping[str, CatalogueTable], written: str, place: str, errors: list[SyncError]
) -> tuple[CatalogueTable, CatalogueField] | None:
    """The field called ``written``; reports one that is not there. ``catalogue``: tables by label in small letters."""
    label, _, name = written.rpartition(".")
    table = catalogue.get(label.lower())
    entry = table.fields.get(name) if table else None
    if table is None or entry is None:
        errors.append(wrong(place, "field", 'the name of a field here, such as "app.Model.field"', written))
        return None
    return table, entry


def wrong(place: str, key: str, expected: str, found: str) -> SyncError:
    """A setting of the rule or series at ``place`` that cannot be."""
    return WrongSetting(place=place, key=key, expected=expected, found=f'"{found}"')
