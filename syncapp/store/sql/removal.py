# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""Rows of any model, on offer or not: what refers to them, taking them away, keeping and restoring them whole."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.utils import OperationalError

from syncapp.core.mapping import Kind
from syncapp.store.base import BadValue, RowRefused
from syncapp.store.deletionbase import Reference
from syncapp.store.introspect import field_type, key_kind, known_type, made_here
from syncapp.store.sql.codec import Codec
from syncapp.store.sql.creation import OMITTED, missing_value
from syncapp.store.sql.database import Database, Row
from syncapp.store.sql.layout import references_of
from syncapp.store.sql.referrers import AnyModel, Referrer, memberships, model_of, referrers, value_after

#: How values that JSON lacks, or that are of no known kind, stand in a snapshot.
RAW, RAW_BYTES, RAW_TEXT, JSON, BYTES = "$raw", "$raw_bytes", "$raw_text", "$json", "$bytes"


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a model: how to read and write it; without a codec where its kind is not known."""

    field: models.Field[Any, Any]
    quoted: str
    expression: str
    kind: Kind | None
    codec: Codec | None


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is known of one model."""

    model: AnyModel
    table: str
    pk: str
    raw_key: Callable[[str], Any]
    columns: tuple[_Column, ...]
    referrers: tuple[Referrer, ...]


class Removal:
    """Rows by the label of their model."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shapes: dict[str, _Shape] = {}

    def _shape(self, label: str) -> _Shape:
        found = self._shapes.get(label)
        if found is None:
            found = self._shapes[label] = self._look(model_of(label))
        return found

    def _look(self, model: AnyModel) -> _Shape:
        database, meta = self._database, model._meta
        kind = key_kind(meta.pk)
        assert kind is not None, f"{meta.label} has no plain key"
        stored = self._stored(meta.db_table)
        columns = [
            self._column(field, stored.get(str(field.column), ""))
            for field in meta.local_concrete_fields
            if not field.generated
        ]
        tables = frozenset(database.connection.introspection.table_names())
        return _Shape(
            model=model,
            table=database.quote(meta.db_table),
            pk=database.quote(str(meta.pk.column)),
            raw_key=database.dialect.raw_key(kind),
            columns=tuple(columns),
            referrers=tuple(referrers(model, database.using, tables)),
        )

    def _stored(self, table: str) -> Mapping[str, str]:
        database = self._database
        return database.dialect.stored_types(database.connection, database.quote(table))

    def _key(self, table: str, column: str, alias: str = "") -> str:
        """The expression that reads a column that holds keys."""
        quoted = f"{alias}{self._database.quote(column)}"
        return self._database.dialect.select(quoted, Kind.KEY, self._stored(table).get(column, ""))

    def _column(self, field: models.Field[Any, Any], stored: str) -> _Column:
        quoted = self._database.quote(str(field.column))
        if not known_type(field):
            return _Column(field, quoted, quoted, None, None)
        dialect, type = self._database.dialect, field_type(field)
        codec = dialect.codec(type, stored, self._database.connection)
        return _Column(field, quoted, dialect.select(quoted, type.kind, stored), type.kind, codec)

    # -- what refers to rows --------------------------------------------------------------------------------

    def references(self, label: str, pks: Collection[str]) -> list[Reference]:
        shape = self._shape(label)
        found = []
        for referrer in shape.referrers:
            rows = tuple(sorted((str(target), str(pk)) for target, pk in self._held(shape, referrer, pks)))
            if rows:
                found.append(Reference(referrer.label, referrer.name, referrer.rule, rows))
        return found

    def _held(self, shape: _Shape, referrer: Referrer, pks: Collection[str]) -> list[Row]:
        quote = self._database.quote
        column = f"r.{quote(referrer.column)}"
        key = self._key(referrer.table, referrer.owner_column, "r.") if referrer.owner_column else "''"
        target = referrer.field.target_field
        if target.primary_key:
            sql = (
                f"SELECT {self._key(referrer.table, referrer.column, 'r.')}, {key} FROM {quote(referrer.table)} AS r "
                f"WHERE {column} IN {{}}"
            )
        else:
            meta = shape.model._meta
            held = self._key(meta.db_table, str(meta.pk.column), "t.")
            sql = (
                f"SELECT {held}, {key} FROM {quote(referrer.table)} AS r "
                f"JOIN {shape.table} AS t ON t.{quote(str(target.column))} = {column} WHERE t.{shape.pk} IN {{}}"
            )
        return self._database.query_in(sql, [shape.raw_key(pk) for pk in pks])

    # -- taking away ----------------------------------------------------------------------------------------

    def detach(self, label: str, field: str, pks: Collection[str]) -> None:
        shape = self._shape(label)
        column: Any = shape.model._meta.get_field(field)
        value = value_after(column, self._database.using)
        raw = column.get_db_prep_save(value, self._database.connection)
        with self._database.savepoint(check=False):
            self._database.mute()
            if raw is not None and (references := references_of(column)) is not None:
                self._database.references.written(*references, [str(raw)])
            sql = f"UPDATE {shape.table} SET {self._database.quote(column.column)} = %s WHERE {shape.pk} IN {{}}"
            self._database.run_in(sql, [shape.raw_key(pk) for pk in pks], [raw])

    def hold(self, label: str, pks: Collection[str]) -> None:
        """Lock rows; who has them now is waited for, but not for long."""
        if not self._database.dialect.alone:
            shape = self._shape(label)
            sql = f"SELECT 1 FROM {shape.table} WHERE {shape.pk} IN {{}} ORDER BY {shape.pk} FOR UPDATE"
            self._database.query_in(sql, [shape.raw_key(pk) for pk in pks])

    def delete(self, rows: Sequence[tuple[str, Collection[str]]]) -> None:
        with self._database.savepoint(check=False):
            self._database.mute()
            for label, pks in rows:
                self._delete(self._shape(label), pks)

    def _delete(self, shape: _Shape, pks: Collection[str]) -> None:
        keys = [shape.raw_key(pk) for pk in pks]
        doubts = [(referrer, self._targets(shape, referrer, keys)) for referrer in shape.referrers]
        for table, column in memberships(shape.model):
            self._drop(self._database.quote(table), self._database.quote(column), keys)
        self._drop(shape.table, shape.pk, keys)
        for referrer, targets in doubts:
            if referrer.enforced and not referrer.field.model._meta.auto_created:
                self._database.references.deleted(referrer.table, referrer.column, targets)

    def _targets(self, shape: _Shape, referrer: Referrer, keys: Sequence[Any]) -> list[str]:
        """What ``referrer`` holds of these rows, as text."""
        target = referrer.field.target_field
        column = self._key(shape.model._meta.db_table, str(target.column))
        if target.primary_key:
            return [str(key) for key in keys]
        sql = f"SELECT {column} FROM {shape.table} WHERE {shape.pk} IN {{}}"
        return [str(row[0]) for row in self._database.query_in(sql, keys) if row[0] is not None]

    def _drop(self, table: str, column: str, keys: Sequence[Any]) -> None:
        self._database.run_in(f"DELETE FROM {table} WHERE {column} IN {{}}", keys)

    # -- keeping --------------------------------------------------------------------------------------------

    def snapshot(self, label: str, pks: Collection[str]) -> dict[str, dict[str, Any]]:
        shape = self._shape(label)
        keys = [shape.raw_key(pk) for pk in pks]
        found: dict[str, dict[str, Any]] = {}
        for pk, *raw in self._select(shape, keys):
            found[str(pk)] = {
                column.field.name: _kept(column, value)
                for column, value in zip(shape.columns, raw, strict=True)
            }
        for many in shape.model._meta.local_many_to_many:
            through: Any = many.remote_field.through
            if through._meta.auto_created:
                self._add_targets(many, through, keys, found)
        return found

    def _select(self, shape: _Shape, keys: Sequence[Any]) -> list[Row]:
        pk = self._key(shape.model._meta.db_table, str(shape.model._meta.pk.column))

        def statement(columns: Sequence[str]) -> str:
            return f"SELECT {', '.join([pk, *columns])} FROM {shape.table} WHERE {shape.pk} IN {{}}"

        try:
            return self._database.query_in(statement([column.expression for column in shape.columns]), keys)
        except OperationalError as error:
            if "decode" not in str(error):
                raise
        # Some text is no UTF-8: all as bytes then, which keeps it.
        as_bytes = self._database.dialect.as_bytes
        return self._database.query_in(statement([as_bytes(column.quoted) for column in shape.columns]), keys)

    def _add_targets(
        self,
        many: models.ManyToManyField[Any, Any],
        through: AnyModel,
        keys: Sequence[Any],
        found: dict[str, dict[str, Any]],
    ) -> None:
        quote, table = self._database.quote, through._meta.db_table
        source, target = many.m2m_column_name(), many.m2m_reverse_name()
        sql = (
            f"SELECT {self._key(table, source)}, {self._key(table, target)} "
            f"FROM {quote(table)} WHERE {quote(source)} IN {{}}"
        )
        for values in found.values():
            values[many.name] = []
        for owner, held in sorted(self._database.query_in(sql, keys)):
            if str(owner) in found:
                found[str(owner)][many.name].append(str(held))

    # -- restoring ------------------------------------------------------------------------------------------

    def restore(self, label: str, values: Mapping[str, Any]) -> str:
        shape, quote = self._shape(label), self._database.quote
        with self._database.savepoint(check=False):
            self._database.mute()
            names, raw = [], []
            for column in shape.columns:
                value = self._raw(shape, column, values)
                if value is not OMITTED:
                    names.append(column.quoted)
                    raw.append(value)
                    references = references_of(column.field)
                    if references is not None and value is not None:
                        self._database.references.written(*references, [str(value)])
            marks = ", ".join(["%s"] * len(names))
            self._database.run(f"INSERT INTO {shape.table} ({', '.join(names)}) VALUES ({marks})", raw)
            key = raw[names.index(quote(str(shape.model._meta.pk.column)))]
            self._restore_targets(shape, key, values)
        return self._key_text(shape, key)

    def _raw(self, shape: _Shape, column: _Column, values: Mapping[str, Any]) -> Any:
        field = column.field
        if field.primary_key and made_here(field):
            return self._new_key(shape)
        if field.name not in values:
            return missing_value(field, self._database)(1)[0]
        value = values[field.name]
        tag = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else ""
        if tag in (RAW, RAW_TEXT):
            return value[tag]
        if tag in (RAW_BYTES, BYTES):
            return base64.b64decode(value[tag])
        wire = value[JSON] if tag == JSON else value
        assert column.codec is not None
        return column.codec.write_column([wire])[0]

    def _new_key(self, shape: _Shape) -> Any:
        pk = shape.model._meta.pk
        if isinstance(pk, models.AutoField | models.BigAutoField | models.SmallAutoField):
            meta, connection = shape.model._meta, self._database.connection
            return self._database.dialect.allocate(connection, meta.db_table, str(pk.column), 1)[0]
        if not pk.has_default():
            raise RowRefused(pk.name, "cannot_create")
        return pk.get_db_prep_save(pk.get_default(), self._database.connection)

    def _key_text(self, shape: _Shape, key: Any) -> str:
        select = self._key(shape.model._meta.db_table, str(shape.model._meta.pk.column))
        sql = f"SELECT {select} FROM {shape.table} WHERE {shape.pk} = %s"
        return str(self._database.query(sql, [key])[0][0])

    def _restore_targets(self, shape: _Shape, key: Any, values: Mapping[str, Any]) -> None:
        for many in shape.model._meta.local_many_to_many:
            targets = values.get(many.name)
            through: Any = many.remote_field.through
            if not targets or not through._meta.auto_created:
                continue
            quote = self._database.quote
            source, target = quote(many.m2m_column_name()), quote(many.m2m_reverse_name())
            kind = key_kind(many.related_model._meta.pk)
            raw_key = self._database.dialect.raw_key(kind or Kind.TEXT)
            field = through._meta.get_field(many.m2m_reverse_field_name())
            if (references := references_of(field)) is not None:
                self._database.references.written(*references, targets)
            self._database.many(
                f"INSERT INTO {quote(through._meta.db_table)} ({source}, {target}) VALUES (%s, %s)",
                [(key, raw_key(held)) for held in targets],
            )


def _kept(column: _Column, raw: Any) -> Any:
    """A value as JSON holds it."""
    if raw is None:
        return None
    if column.codec is None:
        return _raw_form(raw)
    wire = column.codec.read_value(raw)
    if isinstance(wire, BadValue):
        return _raw_form(raw)
    return kept_form(column.kind, wire)


def kept_form(kind: Kind | None, wire: Any) -> Any:
    """A wire value as a snapshot has it: such that JSON holds it and nothing else looks like it."""
    if wire is not None and kind is Kind.BINARY:
        return {BYTES: base64.b64encode(bytes(wire)).decode()}
    return {JSON: wire} if kind is Kind.JSON else wire


def _raw_form(raw: Any) -> Any:
    if isinstance(raw, bytes | bytearray | memoryview):
        return {RAW_BYTES: base64.b64encode(bytes(raw)).decode()}
    return {RAW: raw} if isinstance(raw, str | int | float) else {RAW_TEXT: str(raw)}
