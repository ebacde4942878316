"""What a new row holds where no value was sent: the defaults of its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.fields import NOT_PROVIDED
from django.utils import timezone

from syncapp.store.base import RowRefused, Values
from syncapp.store.sql.database import Database
from syncapp.store.sql.layout import Column, TableLayout, references_of

AnyField: TypeAlias = "models.Field[Any, Any]"


class Omitted:
    """Stands where the database's own default applies: the column is left out of the statement."""


OMITTED = Omitted()


@dataclass(frozen=True, slots=True)
class NewColumn:
    """A column of the table: by which field numbers a value may come, and what stands there without one.

    ``missing`` gives the raw value; it raises `RowRefused` where there is none.
    """

    name: str
    quoted: str
    numbers: tuple[int, ...]
    missing: Callable[[], Any]
    column: Column | None
    references: tuple[str, str] | None

    def values(self, rows: Sequence[Values]) -> list[Any]:
        """Raw values for ``rows``."""
        found = [next((row[n] for n in self.numbers if n in row), OMITTED) for row in rows]
        if self.column is None or all(value is OMITTED for value in found):
            return [self.missing() for _ in found]
        given = iter(self.column.codec.write_column([value for value in found if value is not OMITTED]))
        return [self.missing() if value is OMITTED else next(given) for value in found]


class Creation:
    """How rows of one table are made."""

    def __init__(self, database: Database, layout: TableLayout) -> None:
        self._database = database
        self._layout = layout
        binding = layout.binding
        self.pk = binding.pk_field
        fields = [f for f in binding.model._meta.local_concrete_fields if not f.generated]
        self.columns = [self._new_column(field) for field in fields if field is not self.pk]
        #: The fields by which a key may come: a natural key's own, or the system field ID.
        numbers = [n for n, column in layout.columns.items() if column.name == binding.pk_column]
        self.key_numbers = sorted(numbers, key=lambda number: number != binding.pk_number)

    def _new_column(self, field: AnyField) -> NewColumn:
        numbers = tuple(n for n, column in self._layout.columns.items() if column.name == field.column)
        column = self._layout.columns[numbers[0]] if numbers else None
        return NewColumn(
            name=str(field.column),
            quoted=self._database.quote(str(field.column)),
            numbers=numbers,
            missing=missing_value(field, self._database.connection),
            column=column,
            references=references_of(field),
        )

    # -- keys --

    def keys(self, rows: Sequence[Values]) -> list[Any]:
        """The raw primary keys of ``rows``: sent, or made here."""
        found = [next((self._sent(n, row[n]) for n in self.key_numbers if n in row), None) for row in rows]
        absent = found.count(None)
        if absent:
            made = iter(self._make_keys(absent))
            found = [next(made) if key is None else key for key in found]
        return found

    def _sent(self, number: int, value: Any) -> Any:
        raw = self._layout.columns[number].codec.write_column([value])[0]
        return self._layout.raw_key(raw) if isinstance(raw, str) else raw

    def _make_keys(self, count: int) -> Sequence[Any]:
        binding = self._layout.binding
        if isinstance(self.pk, models.AutoField | models.BigAutoField | models.SmallAutoField):
            dialect, connection = self._database.dialect, self._database.connection
            first = dialect.allocate(connection, binding.db_table, binding.pk_column, count)
            return range(first, first + count)
        if not self.pk.has_default():
            raise RowRefused(self.pk.name, "cannot_create")
        return [_prepared(self.pk, self.pk.get_default(), self._database.connection) for _ in range(count)]


def missing_value(field: AnyField, connection: BaseDatabaseWrapper) -> Callable[[], Any]:
    """What gives the raw value of a new row's ``field`` when none was sent."""
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return lambda: _prepared(field, _now(field), connection)
    if field.has_default():
        if callable(field.default):
            return lambda: _prepared(field, field.get_default(), connection)
        value = _prepared(field, field.get_default(), connection)
        return lambda: value
    if field.db_default is not NOT_PROVIDED:
        return lambda: OMITTED
    if field.null:
        return lambda: None
    if field.empty_strings_allowed and field.blank and not field.is_relation:
        empty = _prepared(field, b"" if isinstance(field, models.BinaryField) else "", connection)
        return lambda: empty
    return lambda: _refuse(field.name)


def _refuse(name: str) -> Any:
    raise RowRefused(name, "cannot_create")


def _now(field: AnyField) -> Any:
    if isinstance(field, models.DateTimeField):
        return timezone.now()
    local = timezone.localtime() if timezone.is_aware(timezone.now()) else timezone.now()
    return local.date() if isinstance(field, models.DateField) else local.time()


def _prepared(field: AnyField, value: Any, connection: BaseDatabaseWrapper) -> Any:
    return field.get_db_prep_save(value, connection)
