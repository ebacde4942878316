"""Puts the change triggers that the mappings ask for into the database, verifies and removes them.

Only triggers that differ from what is wanted are touched. Everything runs in one transaction, the caller's if there
is one, so that no write slips through between a trigger's removal and its return.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncapp import models
from syncapp.core.rules import Merge
from syncapp.store import catalogue
from syncapp.store.triggers import sqlite
from syncapp.store.triggers.base import TriggerSql


@dataclass(frozen=True, slots=True)
class Missing:
    """A trigger that should be there and is not: changes of table ``label`` are not noticed."""

    label: str
    name: str


@dataclass(frozen=True, slots=True)
class Outdated:
    """A trigger whose text is not the wanted one; ``label`` is empty where nothing asks for it any more."""

    label: str
    name: str


def install_all(using: str = "default") -> list[str]:
    """Install what the mappings ask for and remove what they do not; the names of the triggers touched."""
    with transaction.atomic(using=using):
        connection = connections[using]
        there, wanted = sqlite.installed(connection), _wanted(using)
        outdated = [
            name for name, hash in there.items() if name not in wanted or wanted[name][1].hash != hash
        ]
        new = [name for name in wanted if name not in there or name in outdated]
        for name in outdated:
            sqlite.drop(connection, name)
        for name in new:
            sqlite.create(connection, wanted[name][1])
    return sorted({*outdated, *new})


def verify(using: str = "default") -> list[Missing | Outdated]:
    """What differs from what the mappings ask for; an empty list means that capture is whole."""
    there, wanted = sqlite.installed(connections[using]), _wanted(using)
    faults: list[Missing | Outdated] = []
    for name, (label, trigger) in wanted.items():
        if name not in there:
            faults.append(Missing(label, name))
        elif there[name] != trigger.hash:
            faults.append(Outdated(label, name))
    return faults + [Outdated("", name) for name in there if name not in wanted]


def remove_all(using: str = "default") -> list[str]:
    """Remove every trigger of ours; their names."""
    connection = connections[using]
    with transaction.atomic(using=using):
        names = list(sqlite.installed(connection))
        for name in names:
            sqlite.drop(connection, name)
    return names


def before_migrate(using: str = "default") -> None:
    """Make way for a migration.

    SQLite rebuilds a table to alter it: that drops the table's own triggers without a word, and fails if another
    trigger names the table or a column that goes.
    """
    remove_all(using)


def after_migrate(using: str = "default") -> None:
    """Put the triggers back after a migration; does nothing while syncapp's own tables are not there (yet)."""
    if _ready(connections[using]):
        install_all(using)


def _ready(connection: BaseDatabaseWrapper) -> bool:
    needed = (
        models.Instance,
        models.Table,
        models.Field,
        models.Link,
        models.LinkTable,
        models.Mapping,
        models.Rule,
    )
    written = (models.Journal, models.Applying)
    present = set(connection.introspection.table_names())
    return {model._meta.db_table for model in (*needed, *written)} <= present


def _wanted(using: str) -> dict[str, tuple[str, TriggerSql]]:
    """name → (table label, trigger) of everything that the configuration asks for."""
    setup = catalogue.load_setup(using)
    logged = frozenset[int]().union(*setup.logged.values())
    fields = [field for table in setup.tables.values() for field in table.fields.values()]
    joined = frozenset(field.number for field in fields if field.merge is not Merge.VALUE)
    return {
        trigger.name: (binding.label, trigger)
        for binding in catalogue.bindings(using).values()
        for trigger in sqlite.compile_table(binding, setup.captured, logged, joined)
    }
