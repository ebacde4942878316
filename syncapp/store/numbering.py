"""Gives tables and fields their numbers, and keeps those in step with the models.

`refresh` runs after every migration. Numbers are given once and for all: rows are never deleted but
``retired`` when their model or field is gone, and keep their number when a model or field of that name
comes back. (Django's AutoField is AUTOINCREMENT on SQLite, so not even a deleted number would return.)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Max

from syncapp import conf
from syncapp.models import Field, Instance, Table
from syncapp.store import introspect
from syncapp.store.introspect import ModelDescription

#: The one row of `Instance`.
INSTANCE_PK = 1


@dataclass(slots=True)
class CatalogueChanges:
    """What `refresh` found different, as labels (``crm.Client``, ``crm.Client.phone``)."""

    added: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    #: An ordinary field that took the place of a system field, or the other way round.
    changed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.retired or self.returned or self.changed)


def usable(using: str) -> bool:
    """Whether the database has syncapp's tables: not before their migration."""
    with connections[using].cursor() as cursor:
        names = set(connections[using].introspection.table_names(cursor))
    return {model._meta.db_table for model in (Instance, Table, Field)} <= names


def descriptions(using: str = "default") -> list[ModelDescription]:
    """The models on offer whose tables are in this database."""
    return [
        description
        for description in introspect.describe_models(conf.current().tables)
        if router.allow_migrate_model(using, description.model)
    ]


def refresh(using: str = "default") -> CatalogueChanges:
    """Give numbers to what is new, retire what is gone, and make sure that the instance has an identity.

    Tables and columns count only where the database has them: after ``migrate APP NUMBER`` a model may be
    ahead, and a trigger on a column that is not there would break every write to its table.
    """
    changes = CatalogueChanges()
    with transaction.atomic(using=using):
        lock_instance(using)
        found = list(_present(using, descriptions(using)))
        tables = _refresh_tables(using, [description.label for description in found], changes)
        for description in found:
            _refresh_fields(using, tables[description.label], description, changes)
        if changes:
            bump(using)
    return changes


def _present(using: str, found: Iterable[ModelDescription]) -> Iterator[ModelDescription]:
    """What of the descriptions is in the database."""
    introspection = connections[using].introspection
    with connections[using].cursor() as cursor:
        names = set(introspection.table_names(cursor))
        for description in found:
            if description.db_table not in names:
                continue
            columns = {
                column.name for column in introspection.get_table_description(cursor, description.db_table)
            }
            fields = tuple(
                field
                for field in description.fields
                if (
                    field.through.table in names
                    if field.through
                    else not field.column or field.column in columns
                )
            )
            yield replace(description, fields=fields)


def lock_instance(using: str) -> Instance:
    """The instance's row, made when missing, locked until the transaction ends: one configures at a time."""
    defaults = {"instance": secrets.token_bytes(16), "scram_salt": secrets.token_bytes(16)}
    instances = Instance.objects.using(using)
    instances.get_or_create(pk=INSTANCE_PK, defaults=defaults)
    return instances.select_for_update().get(pk=INSTANCE_PK)


def bump(using: str) -> int:
    """Give the configuration a new version, within a transaction.

    It is the time in µs rather than a counter: a version that was rolled back must not return with another
    content, since processes keep what they read under its number.
    """
    instance = Instance.objects.using(using).only("config_version").get(pk=INSTANCE_PK)
    version = max(instance.config_version + 1, time.time_ns() // 1000)
    Instance.objects.using(using).filter(pk=INSTANCE_PK).update(config_version=version)
    return version


def _refresh_tables(using: str, labels: Sequence[str], changes: CatalogueChanges) -> dict[str, Table]:
    known = {table.label: table for table in Table.objects.using(using).all()}
    for label in labels:
        if label not in known:
            known[label] = Table.objects.using(using).create(label=label)
            changes.added.append(label)
    _retire(using, ((table, table.label) for table in known.values()), set(labels), changes)
    return known


def _refresh_fields(
    using: str, table: Table, description: ModelDescription, changes: CatalogueChanges
) -> None:
    fields = Field.objects.using(using).filter(table=table)
    known = {field.name: field for field in fields}
    last = fields.aggregate(last=Max("slot"))["last"]
    slot = 0 if last is None else last + 1
    for described in description.fields:
        if described.name not in known:
            known[described.name] = Field.objects.using(using).create(
                table=table, name=described.name, slot=slot, system=described.system
            )
            changes.added.append(f"{table.label}.{described.name}")
            slot += 1
        elif known[described.name].system != described.system:
            fields.filter(name=described.name).update(system=described.system)
            changes.changed.append(f"{table.label}.{described.name}")
    names = {described.name for described in description.fields}
    _retire(using, ((f, f"{table.label}.{f.name}") for f in known.values()), names, changes)


def _retire(
    using: str, rows: Iterable[tuple[Any, str]], present: set[str], changes: CatalogueChanges
) -> None:
    """Mark what is gone, and unmark what is back. ``present``: labels of tables, or names of fields."""
    for row, label in rows:
        gone = (row.label if isinstance(row, Table) else row.name) not in present
        if row.retired != gone:
            type(row).objects.using(using).filter(pk=row.pk).update(retired=gone)
            (changes.retired if gone else changes.returned).append(label)
