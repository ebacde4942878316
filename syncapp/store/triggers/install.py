"""Puts the change triggers that the mappings ask for into the database, verifies and removes them.

Only triggers that differ from what is wanted are touched. Everything runs in one transaction, the caller's if there
is one, so that no write slips through between a trigger's removal and its return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncapp import models
from syncapp.core.rules import Merge
from syncapp.store import catalogue
from syncapp.store.bindings import TableBinding
from syncapp.store.triggers import pginstall, postgres, sqlite
from syncapp.store.triggers.base import NAME, TriggerSql


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


class Wanted(NamedTuple):
    """The fields to capture; those whose old values are wanted: by a log, or because they are sums or unions."""

    captured: frozenset[int]
    logged: frozenset[int]
    joined: frozenset[int]


class Keeper(Protocol):
    """Triggers in one kind of database."""

    def lock(self) -> None:
        """Within a transaction: keep others from installing at the same time."""
        ...

    def compile(self, binding: TableBinding, wanted: Wanted) -> list[TriggerSql]:
        """The triggers of a table."""
        ...

    def installed(self) -> dict[str, str]:
        """name → hash of the triggers of ours; an empty hash: it is not what was put there."""
        ...

    def put(self, trigger: TriggerSql) -> None:
        """Put a trigger in, in place of one of that name."""
        ...

    def drop(self, name: str) -> None:
        """Remove a trigger; it may be gone already."""
        ...


class SqliteKeeper:
    """The triggers of a SQLite database."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection

    def lock(self) -> None:
        pass  # the first write locks everybody out

    def compile(self, binding: TableBinding, wanted: Wanted) -> list[TriggerSql]:
        return sqlite.compile_table(binding, wanted.captured, wanted.logged, wanted.joined)

    def installed(self) -> dict[str, str]:
        return sqlite.installed(self._connection)

    def put(self, trigger: TriggerSql) -> None:
        sqlite.drop(self._connection, trigger.name)
        sqlite.create(self._connection, trigger)

    def drop(self, name: str) -> None:
        sqlite.drop(self._connection, name)


class PostgresKeeper:
    """The triggers of a PostgreSQL database."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection

    def lock(self) -> None:
        pginstall.lock(self._connection)

    def compile(self, binding: TableBinding, wanted: Wanted) -> list[TriggerSql]:
        if not wanted.captured & binding.fields.keys():
            return []
        place = pginstall.place(self._connection, binding)
        return postgres.compile_table(binding, place, wanted.captured, wanted.logged, wanted.joined)

    def installed(self) -> dict[str, str]:
        found = pginstall.installed(self._connection)
        return {name: hash for name, hash in found.items() if NAME.fullmatch(name)}

    def put(self, trigger: TriggerSql) -> None:
        pginstall.put(self._connection, trigger)

    def drop(self, name: str) -> None:
        pginstall.drop(self._connection, name)


def _keeper(using: str) -> Keeper:
    connection = connections[using]
    return PostgresKeeper(connection) if connection.vendor == "postgresql" else SqliteKeeper(connection)


def install_all(using: str = "default") -> list[str]:
    """Install what the mappings ask for and remove what they do not; the names of the triggers touched."""
    keeper = _keeper(using)
    with transaction.atomic(using=using):
        keeper.lock()
        there, wanted = keeper.installed(), _wanted(using, keeper)
        outdated = [
            name for name, hash in there.items() if name not in wanted or wanted[name][1].hash != hash
        ]
        new = [name for name in wanted if name not in there or name in outdated]
        for name in outdated:
            if name not in wanted:
                keeper.drop(name)
        for name in new:
            keeper.put(wanted[name][1])
        if outdated or new:  # rows may have changed unseen: see `store.sql.matchkeys`
            models.MatchKey.objects.using(using).all().delete()
            models.MatchSet.objects.using(using).all().delete()
    return sorted({*outdated, *new})


def verify(using: str = "default") -> list[Missing | Outdated]:
    """What differs from what the mappings ask for; an empty list means that capture is whole."""
    keeper = _keeper(using)
    there, wanted = keeper.installed(), _wanted(using, keeper)
    faults: list[Missing | Outdated] = []
    for name, (label, trigger) in wanted.items():
        if name not in there:
            faults.append(Missing(label, name))
        elif there[name] != trigger.hash:
            faults.append(Outdated(label, name))
    return faults + [Outdated("", name) for name in there if name not in wanted]


def remove_all(using: str = "default") -> list[str]:
    """Remove every trigger of ours; their names."""
    keeper = _keeper(using)
    with transaction.atomic(using=using):
        names = list(keeper.installed())
        for name in names:
            keeper.drop(name)
    return names


def before_migrate(using: str = "default") -> None:
    """Make way for a migration.

    SQLite rebuilds a table to alter it: that drops the table's own triggers without a word, and fails if another
    trigger names the table or a column that goes. On PostgreSQL the functions would fail for such a column.
    """
    remove_all(using)


def after_migrate(using: str = "default") -> bool:
    """Put the triggers back after a migration. Whether it could: syncapp's own tables may not be there (yet)."""
    there = ready(using)
    if there:
        install_all(using)
    return there


def ready(using: str = "default") -> bool:
    """Whether syncapp's own tables are there."""
    needed = (
        models.Instance,
        models.Table,
        models.Field,
        models.Link,
        models.LinkTable,
        models.Mapping,
        models.Rule,
        models.MatchSet,
        models.MatchKey,
    )
    written = (models.Journal, models.Applying)
    present = set(connections[using].introspection.table_names())
    return {model._meta.db_table for model in (*needed, *written)} <= present


def _wanted(using: str, keeper: Keeper) -> dict[str, tuple[str, TriggerSql]]:
    """name → (table label, trigger) of everything that the configuration asks for."""
    setup = catalogue.load_setup(using)
    logged = frozenset[int]().union(*setup.logged.values())
    fields = [field for table in setup.tables.values() for field in table.fields.values()]
    joined = frozenset(field.number for field in fields if field.merge is not Merge.VALUE)
    return {
        trigger.name: (binding.label, trigger)
        for binding in catalogue.bindings(using).values()
        for trigger in keeper.compile(binding, Wanted(setup.captured, logged, joined))
    }
