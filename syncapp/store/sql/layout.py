"""Bindings and types of the current configuration, made ready for SQL: one object per configuration version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from syncapp.core.mapping import FieldType, Kind
from syncapp.store import catalogue
from syncapp.store.base import BadValue, Setup
from syncapp.store.bindings import FieldBinding, TableBinding, ThroughBinding
from syncapp.store.sql.codec import Codec
from syncapp.store.sql.database import Database
from syncapp.store.sql.dialect import Place
from syncapp.store.triggers.base import decode_mask


@dataclass(slots=True)
class Column:
    """A field with a column: how to read and write it. ``references``: table and column that it points to."""

    number: int
    binding: FieldBinding
    name: str
    quoted: str
    expression: str
    codec: Codec
    references: tuple[str, str] | None = None
    stored: str = ""

    @property
    def place(self) -> Place:
        """The column in a statement."""
        return Place(self.quoted, self.stored)


@dataclass(slots=True)
class TableLayout:
    """A table, with statements cached by the fields they are about."""

    binding: TableBinding
    pk: str
    raw_key: Callable[[str], Any]
    columns: dict[int, Column]
    relations: dict[int, ThroughBinding]
    checks: dict[int, Callable[[Any], str]]
    slots: dict[int, int]
    #: Column → its type as the database calls it, where statements need it.
    stored: Mapping[str, str]
    statements: dict[Any, str] = field(default_factory=dict)
    masks: dict[str | None, tuple[int, ...]] = field(default_factory=dict)

    @property
    def quoted(self) -> str:
        return self.binding.quoted

    @property
    def key(self) -> Place:
        """The primary key in a statement."""
        return Place(self.binding.pk_quoted, self.stored.get(self.binding.pk_column, ""))

    def statement(self, key: Any, make: Callable[[], str]) -> str:
        """The cached text of a statement."""
        sql = self.statements.get(key)
        if sql is None:
            sql = self.statements[key] = make()
        return sql

    def fields_of(self, mask: str | None) -> tuple[int, ...]:
        """The numbers of the fields in a journal row's mask."""
        fields = self.masks.get(mask)
        if fields is None:
            numbers = (self.slots.get(slot, 0) for slot in decode_mask(mask))
            fields = self.masks[mask] = tuple(number for number in numbers if number)
        return fields


class Layout:
    """The tables of one configuration version."""

    def __init__(self, database: Database, setup: Setup) -> None:
        self._database = database
        self.setup = setup
        self._bindings = catalogue.bindings(database.using)
        self._tables: dict[int, TableLayout] = {}

    def has(self, table: int) -> bool:
        return table in self._bindings and table in self.setup.tables

    def table(self, number: int) -> TableLayout:
        """The layout of a table on offer; KeyError for others."""
        found = self._tables.get(number)
        if found is None:
            found = self._tables[number] = self._build(self._bindings[number])
        return found

    def _build(self, binding: TableBinding) -> TableLayout:
        dialect = self._database.dialect
        columns: dict[int, Column] = {}
        stored = dialect.stored_types(self._database.connection, binding.quoted)
        types = {n: info.type for n, info in self.setup.tables[binding.number].fields.items()}
        for number, bound in binding.fields.items():
            if bound.column:
                columns[number] = self._column(bound, types[number], stored.get(bound.column, ""))
        checks = {n: self._codec(type, "").check for n, type in types.items()}
        return TableLayout(
            binding=binding,
            pk=dialect.select(binding.pk_quoted, Kind.KEY, stored.get(binding.pk_column, "")),
            raw_key=dialect.raw_key(binding.pk_kind),
            columns=columns,
            relations={n: f.through for n, f in binding.fields.items() if f.through is not None},
            checks=checks | {n: column.codec.check for n, column in columns.items()},
            slots={f.slot: n for n, f in binding.fields.items()},
            stored=stored,
        )

    def _column(self, bound: FieldBinding, type: FieldType, stored: str) -> Column:
        quoted = self._database.quote(bound.column)
        return Column(
            number=bound.number,
            binding=bound,
            name=bound.column,
            quoted=quoted,
            expression=self._database.dialect.select(quoted, type.kind, stored),
            codec=self._codec(type, stored),
            references=references_of(bound.django_field),
            stored=stored,
        )

    def _codec(self, type: FieldType, stored: str) -> Codec:
        return self._database.dialect.codec(type, stored, self._database.connection)


def references_of(field: models.Field[Any, Any] | None) -> tuple[str, str] | None:
    """The table and column that a foreign key points to, if the database enforces it."""
    if not isinstance(field, models.ForeignKey) or not getattr(field, "db_constraint", True):
        return None
    target = field.target_field
    return target.model._meta.db_table, str(target.column)


def readable(layout: TableLayout, raw: dict[str, Any]) -> dict[int, Any]:
    """Old values by field number, in wire form; those that cannot be read are left out.

    Of a many-to-many: local key of the target → whether it was there.
    """
    values: dict[int, Any] = {}
    for text, value in raw.items():
        number = int(text)
        column = layout.columns.get(number)
        if number in layout.relations:
            values[number] = value
            continue
        wire = column.codec.read_value(value) if column else None
        if column and not isinstance(wire, BadValue):
            values[column.number] = wire
    return values
