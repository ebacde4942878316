"""Links and mappings as a TOML file, and the identity of this program.

`apply` validates everything first and then writes in one transaction, or reports every error and changes
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from django.db import transaction

from syncapp.core.mapping import LATER, TIME_ADDED, Direction, Kind
from syncapp.errors import ConfigRefused
from syncapp.store import control
from syncapp.store.catalogue import bump, lock_instance, refresh
from syncapp.store.config.export import export
from syncapp.store.config.identity import fork, rebind
from syncapp.store.config.parse import parse
from syncapp.store.config.rules import write_rules
from syncapp.store.config.series import write_series
from syncapp.store.config.validate import LinkPlan, TablePlan, validate
from syncapp.store.config.write import write

__all__ = ["apply", "export", "fork", "rebind"]


def apply(text: str, *, env: Mapping[str, str] | None = None, using: str = "default") -> list[str]:
    """Make links and mappings as the file says; returns what that changed as sentences, none if nothing.

    A link that is not in the file stays as it is; a table or field that is not listed in a link becomes off, and a
    field without a rule has the default one.
    Raises `ConfigRefused` with all errors; then nothing was changed.
    """
    spec, errors = parse(text)
    with transaction.atomic(using=using):
        instance = lock_instance(using)
        # SYNCAPP_TABLES may have changed since the last migration.
        refresh(using)
        plans, rules, series, found = validate(spec, os.environ if env is None else env, using)
        if errors or found:
            raise ConfigRefused([*errors, *found])
        changes = write(plans, instance, using)
        if changes:
            # What could not be applied before may well be what this is about.
            control.retry_problems(None, using=using)
        changes += write_rules(rules, using)
        changes += write_series(series, using)
        if changes:
            bump(using)
            changes += _notes(plans, changes)
        _install_triggers(using)
    return changes


def _notes(plans: Iterable[LinkPlan], changes: Iterable[str]) -> list[str]:
    """Sentences about newly mapped fields that wait for a later version: nothing is silent."""
    told = "\n".join(changes)
    return [
        f'Link "{link.spec.name}": {table.table.label}.{field.entry.name} is noted, but values of its kind '
        f"({field.entry.type.kind.value}) are not exchanged in this version."
        for link in plans
        for table in link.tables
        for field in table.fields
        if field.entry.type.kind in LATER
        and field.spec.direction is not Direction.OFF
        and f'{link.spec.name}": {table.table.label}.{field.entry.name} is now' in told
    ] + [
        f'Link "{link.spec.name}": deletions of {table.table.label} are not exchanged yet: map {TIME_ADDED} too.'
        for link in plans
        for table in link.tables
        if _lacks_time_added(table) and f'{link.spec.name}": {table.table.label}.' in told
    ]


def _lacks_time_added(table: TablePlan) -> bool:
    """Whether the record status is mapped, which does not flow without the time added."""
    mapped = [field.entry for field in table.fields if field.spec.direction is not Direction.OFF]
    return any(entry.type.kind is Kind.STATUS for entry in mapped) and not any(
        entry.name == TIME_ADDED for entry in mapped
    )


def _install_triggers(using: str) -> None:
    # Even when nothing changed: this is how an administrator puts back triggers that somebody removed.
    from syncapp.store import triggers

    triggers.install_all(using)
