"""What a new row holds where no value was sent: the defaults of its model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.db import models
from django.db.models.fields import NOT_PROVIDED
from django.utils import timezone

from syncapp.store.base import RowRefused, Values
from syncapp.store.sql.database import Database
from syncapp.store.sql.dialect import Place
from syncapp.store.sql.layout import Column, TableLayout, references_of

AnyField: TypeAlias = "models.Field[Any, Any]"


class Omitted:
    """Stands where the database's own default applies: the column is left out of the statement."""


OMITTED = Omitted()


Missing = Callable[[int], list[Any]]
"""How many → that many raw values for a column to which none was sent; raises `RowRefused` where there is none."""


@dataclass(frozen=True, slots=True)
class NewColumn:
    """A column of the table: by which field numbers a value may come, and what stands there without one."""

    name: str
    place: Place
    numbers: tuple[int, ...]
    missing: Missing
    column: Column | None
    references: tuple[str, str] | None

    def values(self, rows: Sequence[Values], sent: Collection[int] | None) -> Sequence[Any]:
        """Raw values for ``rows``. ``sent``: the fields that all rows have, if they all have the same."""
        if self.column is None:
            return self.missing(len(rows))
        if sent is None:
            return self._mixed(self.column, rows)
        number = next((number for number in self.numbers if number in sent), None)
        if number is None:
            return self.missing(len(rows))
        return self.column.codec.write_column([row[number] for row in rows])

    def _mixed(self, column: Column, rows: Sequence[Values]) -> Sequence[Any]:
        found = [next((row[n] for n in self.numbers if n in row), OMITTED) for row in rows]
        given = iter(column.codec.write_column([value for value in found if value is not OMITTED]))
        absent = found.count(OMITTED)
        made = iter(self.missing(absent) if absent else ())
        return [next(made) if value is OMITTED else next(given) for value in found]


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
            place=Place(
                self._database.quote(str(field.column)), self._layout.stored.get(str(field.column), "")
            ),
            numbers=numbers,
            missing=missing_value(field, self._database),
            column=column,
            references=references_of(field),
        )

    def values(self, rows: Sequence[Values]) -> list[Sequence[Any]]:
        """Raw values for ``rows``, column by column."""
        first = rows[0].keys()
        sent = first if all(row.keys() == first for row in rows) else None
        return [column.values(rows, sent) for column in self.columns]

    # -- keys --

    @property
    def automatic(self) -> bool:
        """Whether the database makes the keys."""
        return isinstance(self.pk, models.AutoField | models.BigAutoField | models.SmallAutoField)

    def keys(self, rows: Sequence[Values]) -> list[Any]:
        """The raw primary keys of ``rows``: sent, made here, or `OMITTED` where the database gives and tells them."""
        if not any(number in row for row in rows for number in self.key_numbers):
            return list(self._make_keys(len(rows)))
        found = [next((self._sent(n, row[n]) for n in self.key_numbers if n in row), None) for row in rows]
        absent = found.count(None)
        if absent:
            made = iter(self._make_keys(absent))
            found = [next(made) if key is None else key for key in found]
        return found

    def _sent(self, number: int, value: Any) -> Any:
        raw = self._layout.columns[number].codec.write_column([value])[0]
        key = self._layout.raw_key(raw) if isinstance(raw, str) else raw
        if key is None and value is not None:
            raise RowRefused(f"{value!r} is no key of {self._layout.binding.label}", "change")
        return key

    def _make_keys(self, count: int) -> Sequence[Any]:
        binding = self._layout.binding
        database = self._database
        if self.automatic:
            if database.dialect.tells_keys and count < database.dialect.own_keys_from:
                return [OMITTED] * count
            keys = database.dialect.allocate(database.connection, binding.db_table, binding.pk_column, count)
            return keys or [OMITTED] * count
        if not self.pk.has_default():
            raise RowRefused(self.pk.name, "cannot_create")
        return [_prepared(self.pk, self.pk.get_default(), database) for _ in range(count)]


def missing_value(field: AnyField, database: Database) -> Missing:
    """What stands in a new row's ``field`` when no value was sent."""
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return lambda count: [_prepared(field, _now(field), database)] * count
    if field.has_default() and callable(field.default):
        return lambda count: [_prepared(field, field.get_default(), database) for _ in range(count)]
    if field.has_default():
        return _always(_prepared(field, field.get_default(), database))
    if field.db_default is not NOT_PROVIDED:
        return _always(OMITTED)
    if field.null:
        return _always(None)
    if field.empty_strings_allowed and field.blank and not field.is_relation:
        empty = b"" if isinstance(field, models.BinaryField) else ""
        return _always(_prepared(field, empty, database))
    return lambda count: _refuse(field.name)


def _always(value: Any) -> Missing:
    return lambda count: [value] * count


def _refuse(name: str) -> list[Any]:
    raise RowRefused(name, "cannot_create")


def _now(field: AnyField) -> Any:
    if isinstance(field, models.DateTimeField):
        return timezone.now()
    local = timezone.localtime() if timezone.is_aware(timezone.now()) else timezone.now()
    return local.date() if isinstance(field, models.DateField) else local.time()


def _prepared(field: AnyField, value: Any, database: Database) -> Any:
    return database.dialect.prepared(field.get_db_prep_save(value, database.connection))
