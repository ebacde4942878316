"""``syncfields``: the tables and fields on offer, with their numbers and types."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import msgspec
from django.core.management.base import CommandParser

from syncapp.management.base import SyncCommand
from syncapp.store.catalogue import CatalogueField, CatalogueTable, refresh, tables


class Command(SyncCommand):
    help = "Lists the tables and fields that can be synchronised, with their numbers and types."
    example = "python manage.py syncfields crm.Client"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "table", nargs="?", metavar="TABLE", help="one table only: crm.Client, or just Client"
        )

    def run(self, **options: Any) -> None:
        self.require_migrated()
        # SYNCAPP_TABLES may have changed since the last migration.
        refresh()
        chosen = self._choose(options["table"])
        for table in chosen:
            self._show(table)
        self.answer([_table(table) for table in chosen])

    def _choose(self, name: str | None) -> list[CatalogueTable]:
        everything = list(tables().values())
        if name is None:
            return everything
        wanted = name.lower()
        found = [
            table
            for table in everything
            if wanted in (table.label.lower(), table.label.lower().partition(".")[2])
        ]
        if len(found) > 1:
            raise self.fail(f'Several tables are called "{name}": {_labels(found)}. Name the app too.')
        if not found:
            by_label = {table.label.lower(): table for table in everything}
            similar = get_close_matches(wanted, by_label, n=3)
            offer = [by_label[label] for label in similar] or everything
            raise self.fail(f'There is no table "{name}" on offer. Tables: {_labels(offer) or "none"}.')
        return found

    def _show(self, table: CatalogueTable) -> None:
        rows: list[tuple[Any, ...]] = [
            (entry.number, entry.name, entry.type.text(), entry.description.title, ", ".join(_notes(entry)))
            for entry in table.fields.values()
        ]
        rows += [("–", name, "", "", f"not on offer: {reason}") for name, reason in table.description.skipped]
        title = f"{table.label} · {table.description.title} · table {table.number}"
        self.table(("No.", "Field", "Type", "Title", "Notes"), rows, title=title)


def _labels(found: list[CatalogueTable]) -> str:
    return ", ".join(table.label for table in found)


def _notes(entry: CatalogueField) -> list[str]:
    notes = {
        "system field": entry.description.system,
        "may be empty": entry.type.null,
        "must be filled in": entry.description.required,
    }
    return [note for note, applies in notes.items() if applies]


def _table(table: CatalogueTable) -> dict[str, Any]:
    return {
        "number": table.number,
        "table": table.label,
        "title": table.description.title,
        "fields": [_field(entry) for entry in table.fields.values()],
        "skipped": dict(table.description.skipped),
    }


def _field(entry: CatalogueField) -> dict[str, Any]:
    return {
        "number": entry.number,
        "field": entry.name,
        "title": entry.description.title,
        "type": entry.type.text(),
        "system": entry.description.system,
        "required": entry.description.required,
        # All that is known of the type, as it is announced to peers.
        "details": msgspec.to_builtins(entry.type),
    }
