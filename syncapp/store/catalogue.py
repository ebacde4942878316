"""The catalogue and the configuration as immutable values: what the store, the triggers and the engine read.

`load_setup`, `bindings` and `tables` are kept per database until the configuration version changes, so that
asking again costs one small query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db import connections
from django.utils.timezone import get_default_timezone_name

from syncapp import conf, models
from syncapp.core.mapping import Catalogue, Direction, FieldOffer, FieldType, Kind, TableOffer
from syncapp.core.relations import HOLD
from syncapp.core.rules import DEFAULT, Merge, Policy, Rule
from syncapp.core.transforms import Step
from syncapp.store import linktables, statements
from syncapp.store.base import FieldInfo, LinkInfo, Setup, TableInfo
from syncapp.store.bindings import FieldBinding, TableBinding, ThroughBinding
from syncapp.store.introspect import FieldDescription, ModelDescription
from syncapp.store.linktables import read_soft
from syncapp.store.numbering import (
    INSTANCE_PK,
    CatalogueChanges,
    bump,
    descriptions,
    lock_instance,
    refresh,
    usable,
)
from syncapp.store.seriesbase import SeriesInfo, limit_of

__all__ = [
    "CatalogueChanges",
    "CatalogueField",
    "CatalogueTable",
    "bindings",
    "bump",
    "link_catalogue",
    "load_setup",
    "lock_instance",
    "refresh",
    "rules",
    "tables",
    "usable",
]


@dataclass(frozen=True, slots=True)
class CatalogueField:
    """A field on offer: its numbers, the related table's (0 for none), and what its model says of it."""

    number: int
    slot: int
    target: int
    description: FieldDescription

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def type(self) -> FieldType:
        return self.description.type


@dataclass(frozen=True, slots=True)
class CatalogueTable:
    """A table on offer, with its fields by name."""

    number: int
    description: ModelDescription
    fields: Mapping[str, CatalogueField]

    @property
    def label(self) -> str:
        return self.description.label


@dataclass(slots=True)
class _Kept:
    """What was computed for one configuration version; filled when asked for."""

    key: tuple[bytes, int]
    tables: dict[str, CatalogueTable]
    rules: dict[int, Rule]
    setup: Setup | None = None
    bindings: dict[int, TableBinding] = field(default_factory=dict)


_kept: dict[str, _Kept] = {}


def _current(using: str) -> _Kept:
    key = _key(using)
    kept = _kept.get(using)
    if kept is None or kept.key != key:
        kept = _kept[using] = _Kept(key, _read_tables(using), rules(using))
    return kept


def _key(using: str) -> tuple[bytes, int]:
    """What the kept values are valid for. The identity tells a database that was emptied or exchanged."""
    connection = connections[using]
    # Plain SQL: this is asked in every unit of work, and building a queryset takes ten times as long.
    table = connection.ops.quote_name(models.Instance._meta.db_table)
    sql = f"SELECT instance, config_version FROM {table} WHERE id = %s"  # noqa: S608
    rows = statements.query(connection, sql, [INSTANCE_PK])
    return (bytes(rows[0][0]), rows[0][1]) if rows else (b"", 0)


def tables(using: str = "default") -> dict[str, CatalogueTable]:
    """The tables on offer by label, in the order of the installed apps."""
    return _current(using).tables


def rules(using: str = "default") -> dict[int, Rule]:
    """The rules of the fields that have one, by field number."""
    rows = models.Rule.objects.using(using).values_list("field_id", "policy", "merge")
    return {field: Rule(Policy(policy), Merge(merge)) for field, policy, merge in rows}


def _read_tables(using: str) -> dict[str, CatalogueTable]:
    numbers = dict(models.Table.objects.using(using).filter(retired=False).values_list("label", "number"))
    fields: dict[str, dict[str, tuple[int, int]]] = {}
    rows = models.Field.objects.using(using).filter(retired=False, table__retired=False)
    for label, name, field_number, slot in rows.values_list("table__label", "name", "number", "slot"):
        fields.setdefault(label, {})[name] = (field_number, slot)
    found: dict[str, CatalogueTable] = {}
    for description in descriptions(using):
        # What has no number yet waits for `refresh`, which runs after the migration that brings its column.
        number = numbers.get(description.label)
        if number is not None:
            known = fields.get(description.label, {})
            found[description.label] = CatalogueTable(
                number, description, _fields(description, known, numbers)
            )
    return found


def _fields(
    description: ModelDescription, known: Mapping[str, tuple[int, int]], tables: Mapping[str, int]
) -> dict[str, CatalogueField]:
    found = {}
    for described in description.fields:
        if described.name in known:
            number, slot = known[described.name]
            found[described.name] = CatalogueField(
                number, slot, tables.get(described.type.target, 0), described
            )
    return found


# -- for the SQL backend and the triggers -------------------------------------------------------------------


def bindings(using: str = "default") -> dict[int, TableBinding]:
    """Where each table on offer and its fields live in the database, by table number."""
    kept = _current(using)
    if not kept.bindings:
        kept.bindings = {table.number: _bind(table, using) for table in kept.tables.values()}
    return kept.bindings


def _bind(table: CatalogueTable, using: str) -> TableBinding:
    quote = connections[using].ops.quote_name
    description = table.description
    key = table.fields.get(description.pk_name)
    pk_column = description.pk.column or ""
    return TableBinding(
        number=table.number,
        label=description.label,
        model=description.model,
        db_table=description.db_table,
        quoted=quote(description.db_table),
        pk_column=pk_column,
        pk_quoted=quote(pk_column),
        pk_kind=description.pk_kind,
        pk_field=description.pk,
        fields={entry.number: _bind_field(entry) for entry in table.fields.values()},
        pk_number=key.number if key else 0,
    )


def _bind_field(entry: CatalogueField) -> FieldBinding:
    described, through = entry.description, None
    if described.through:
        source = described.through
        through = ThroughBinding(
            table=source.table,
            source_column=source.source_column,
            target_column=source.target_column,
            target=entry.target,
            model=source.model,
        )
    return FieldBinding(
        number=entry.number,
        name=entry.name,
        slot=entry.slot,
        kind=entry.type.kind,
        column=described.column,
        django_field=described.field,
        target=entry.target,
        through=through,
        system=described.system,
        required=described.required,
    )


# -- for the store's logic ----------------------------------------------------------------------------------


def load_setup(using: str = "default") -> Setup:
    """Everything configured, as one value."""
    kept = _current(using)
    if kept.setup is None:
        kept.setup = _read_setup(using, kept)
    return kept.setup


def _read_setup(using: str, kept: _Kept) -> Setup:
    on_offer = {entry.number: entry for table in kept.tables.values() for entry in table.fields.values()}
    links = {link.pk: link for link in models.Link.objects.using(using).all()}
    match_by = _match_by(using, kept.tables)
    options = linktables.read(using, kept.tables)
    soft = read_soft(using, kept.tables)
    captured = {number for of_link in match_by.values() for numbers in of_link.values() for number in numbers}
    captured |= {number for of_link in options.values() for number in of_link.captured()}
    missing: dict[int, dict[int, str]] = {}
    transforms: dict[int, dict[int, tuple[Step, ...]]] = {}
    maps: dict[int, dict[int, dict[str, Any]]] = {}
    logged: dict[int, set[int]] = {pk: set() for pk, link in links.items() if link.log}
    for mapping in models.Mapping.objects.using(using).exclude(direction=Direction.OFF):
        number = mapping.field_id
        if number not in on_offer:
            continue
        captured.add(number)
        if on_offer[number].type.kind in (Kind.RELATION, Kind.RELATIONS):
            missing.setdefault(mapping.link_id, {})[number] = mapping.options.get("missing", "hold")
        if mapping.options.get("transform"):
            transforms.setdefault(mapping.link_id, {})[number] = linktables.steps(mapping.options)
        if map := mapping.options.get("map"):
            maps.setdefault(mapping.link_id, {})[number] = map
        if mapping.link_id in logged and Direction(mapping.direction).sends:
            logged[mapping.link_id].add(number)
    tables = {table.number: _table_info(table, kept.rules) for table in kept.tables.values()}
    for number, found in soft.items():
        if tables[number].status in captured:
            tables[number] = msgspec.structs.replace(tables[number], soft=found)
            captured |= found.deleted.keys()
    return Setup(
        version=kept.key[1],
        tables=tables,
        links={
            pk: LinkInfo(
                *(pk, link.name, link.log, match_by.get(pk, {}), missing.get(pk, {})),
                user_matching=link.user_matching,
                active=link.mode == models.Link.Mode.ACTIVE,
                transforms=transforms.get(pk, {}),
                saved=frozenset(options[pk].saved) if pk in options else frozenset(),
                filters=options[pk].filters if pk in options else {},
                shut=options[pk].shut if pk in options else {},
                maps=maps.get(pk, {}),
            )
            for pk, link in links.items()
        },
        captured=frozenset(captured),
        logged={pk: frozenset(numbers) for pk, numbers in logged.items()},
        zone=get_default_timezone_name(),
        series=_read_series(using, kept.tables),
    )


def program_name(using: str) -> str:
    """The short name of this program, by which configurations call it."""
    return conf.current().instance


def _read_series(using: str, tables: Mapping[str, CatalogueTable]) -> dict[int, SeriesInfo]:
    found = {}
    rows = models.Series.objects.using(using).filter(declared=True).select_related("field__table")
    for row in rows:
        table = tables.get(row.field.table.label)
        entry = table.fields.get(row.field.name) if table else None
        if table is not None and entry is not None:
            found[entry.number] = SeriesInfo(
                table=table.number,
                field=entry.number,
                label=f"{table.label}.{entry.name}",
                owner=row.owner,
                owned=row.owner == program_name(using),
                contiguous=row.mode == "contiguous",
                pattern=row.format,
                type=entry.type,
                limit=limit_of(row.format, entry.type),
            )
    return found


def _match_by(using: str, tables: Mapping[str, CatalogueTable]) -> dict[int, dict[int, tuple[int, ...]]]:
    """link → table number → numbers of the match fields.

    Where one of them is gone, all are left out: half a key matches too much.
    """
    found: dict[int, dict[int, tuple[int, ...]]] = {}
    for row in models.LinkTable.objects.using(using).select_related("table"):
        table = tables.get(row.table.label)
        if table and row.match_by and all(name in table.fields for name in row.match_by):
            found.setdefault(row.link_id, {})[table.number] = tuple(
                table.fields[n].number for n in row.match_by
            )
    return found


def _table_info(table: CatalogueTable, rules: Mapping[int, Rule]) -> TableInfo:
    fields = {
        entry.number: FieldInfo(
            number=entry.number,
            name=entry.name,
            type=entry.type,
            target=entry.target,
            required=entry.description.required,
            system=entry.description.system,
            policy=rules.get(entry.number, DEFAULT).policy,
            merge=rules.get(entry.number, DEFAULT).merge,
            stored=bool(entry.description.column or entry.description.through),
            auto=entry.description.auto,
        )
        for entry in table.fields.values()
    }
    status = next((number for number, field in fields.items() if field.type.kind is Kind.STATUS), 0)
    return TableInfo(table.number, table.label, table.description.title, fields, status)


# -- for the peer -------------------------------------------------------------------------------------------


def link_catalogue(link_id: int, using: str = "default") -> Catalogue:
    """What this program announces on the link: all that is on offer, and the flow that its mappings allow."""
    kept = _current(using)
    mappings = {row.field_id: row for row in models.Mapping.objects.using(using).filter(link_id=link_id)}
    elsewhere = models.Mapping.objects.using(using).filter(direction=Direction.BOTH).exclude(link_id=link_id)
    shared = frozenset(elsewhere.values_list("field_id", flat=True))

    def offer(entry: CatalogueField) -> FieldOffer:
        mapping, rule = mappings.get(entry.number), kept.rules.get(entry.number, DEFAULT)
        direction = Direction(mapping.direction) if mapping else Direction.OFF
        return FieldOffer(
            number=entry.number,
            name=entry.name,
            title=entry.description.title,
            type=entry.type,
            sends=direction.sends,
            receives=direction.receives,
            peer=(mapping.peer_number or mapping.peer_name or None) if mapping else None,
            lossy=mapping.lossy if mapping else False,
            system=entry.description.system,
            policy=rule.policy.value,
            merge=rule.merge.value,
            hub=entry.number in shared,
            transformed=direction is not Direction.OFF and bool(mapping and mapping.options.get("transform")),
            options=tuple(sorted(mapping.options.get("map", ()))) if mapping else (),
            missing=mapping.options.get("missing", HOLD) if mapping else HOLD,
        )

    match_by = _match_by(using, kept.tables).get(link_id, {})
    return tuple(
        TableOffer(
            table.number,
            table.label,
            table.description.title,
            tuple(map(offer, table.fields.values())),
            match_by.get(table.number, ()),
        )
        for table in kept.tables.values()
    )
