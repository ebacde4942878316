"""A link with mapped fields in the test database, and the journal as the triggers wrote it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import connection

from syncapp import models
from syncapp.core.changes import JournalRow, Op
from syncapp.store import catalogue, triggers
from syncapp.store.sql import SqlBackend


@dataclass(frozen=True)
class Linked:
    """``numbers``: "app.Model.field" → field number; ``tables``: "app.Model" → table number."""

    link: int
    tables: dict[str, int]
    numbers: dict[str, int]

    def name(self, number: int) -> str:
        return next(name for name, known in self.numbers.items() if known == number)


def link_fields(
    mapped: Mapping[str, Sequence[str]], *, log: bool = False, match_by: Mapping[str, list[str]] | None = None
) -> Linked:
    """Map these fields (``"*"``: all) of these tables both ways on a new link, and install the triggers."""
    catalogue.refresh()
    # A test that commits is cleaned up by deleting, which triggers notice.
    models.Journal.objects.all().delete()
    link = models.Link.objects.create(name="Office", mode="active", code="code", log=log)
    fields = models.Field.objects.filter(retired=False).select_related("table")
    for field in fields:
        wanted = mapped.get(field.table.label, ())
        if field.name in wanted or "*" in wanted:
            models.Mapping.objects.create(link=link, field=field, direction="both")
    for table in models.Table.objects.filter(label__in=mapped):
        keys = (match_by or {}).get(table.label, [])
        models.LinkTable.objects.create(link=link, table=table, match_by=keys)
    catalogue.bump("default")
    triggers.install_all()
    return Linked(
        link.pk,
        {table.label: table.number for table in models.Table.objects.all()},
        {f"{field.table.label}.{field.name}": field.number for field in fields},
    )


def journal(linked: Linked) -> list[tuple[str, str, list[str]]]:
    """What the journal holds, emptied: operation, key, names of the fields."""
    return [(Op(row.op).name, row.pk, names(linked, row)) for row in drain()]


def drain() -> list[JournalRow]:
    backend = SqlBackend()
    with backend.transaction():
        return backend.drain(1000)


def names(linked: Linked, row: JournalRow) -> list[str]:
    return [linked.name(number).rpartition(".")[2] for number in row.fields]


def session(**parameters: object) -> psycopg.Connection[tuple[Any, ...]]:
    """A session of another program in the test's PostgreSQL database; each statement is a transaction."""
    known = {key: value for key, value in connection.get_connection_params().items() if key in _PARAMETERS}
    return psycopg.connect(**{**known, **parameters}, autocommit=True)


_PARAMETERS = ("dbname", "user", "password", "host", "port")


def execute(sql: str, params: Sequence[object] | None = ()) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []
