# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""Writing rows through their models: the program's own ``clean()``, ``save()`` and signal handlers run."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import NON_FIELD_ERRORS, ObjectDoesNotExist, ValidationError
from django.db import DatabaseError, models, transaction
from django.utils import timezone

from syncapp.core.mapping import Kind
from syncapp.signals import record_applied
from syncapp.store.base import RowRefused
from syncapp.store.bindings import FieldBinding
from syncapp.store.hostbase import Alternation, Event, Saved
from syncapp.store.sql.database import Database
from syncapp.store.sql.layout import Layout, TableLayout, references_of
from syncapp.store.sql.referrers import memberships

logger = logging.getLogger(__name__)

_KEYS = frozenset({Kind.RELATION, Kind.USER})
_READ = 'SELECT "record_id", "field_no", "count", "at", "value" FROM "syncapp_alternation" WHERE "record_id" IN {}'
_SAVE = (
    'INSERT INTO "syncapp_alternation" ("record_id", "field_no", "count", "at", "value") VALUES (%s, %s, %s, %s, %s) '
    'ON CONFLICT ("record_id", "field_no") DO UPDATE SET "count" = excluded."count", "at" = excluded."at", '
    '"value" = excluded."value"'
)
_DROP = 'DELETE FROM "syncapp_alternation" WHERE "record_id" = %s AND "field_no" = %s'


class RowSaver:
    """Saves instances of models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, layout: TableLayout, pk: str, values: Mapping[int, Any]) -> Saved:
        """Build or load the instance, set ``values``, let the model check and save it."""
        self._database.listen()
        bindings = layout.binding.fields
        single = {n: value for n, value in values.items() if n not in layout.relations}
        many = {n: value for n, value in values.items() if n in layout.relations}
        if not pk:
            self._require(layout, single)
        try:
            # Django's own savepoint: what the program's code registers for after the commit is forgotten with it.
            with transaction.atomic(using=self._database.using):
                instance = self._load(layout, pk) if pk else self._build(layout, single)
                for number, value in single.items():
                    self._set(instance, bindings[number], value)
                instance.full_clean(exclude=self._unasked(layout, instance, single))
                initial = {} if pk else self._values(layout, instance, single)
                instance.save()
                for number, keys in many.items():
                    self._set_many(instance, bindings[number], keys)
                touched = self._touched(layout, instance, initial)
        except ValidationError as error:
            raise self._invalid(layout, error) from error
        except (DatabaseError, RowRefused):
            raise
        except Exception as error:
            logger.exception("Saving %s %s failed", layout.binding.label, pk or "(new)")
            raise RowRefused(f"{type(error).__name__}: {error}", "host_code") from error
        self._refers(layout, instance)
        return Saved(self._key(layout, instance), touched)

    def remove(self, layout: TableLayout, pk: str) -> None:
        """Let the model delete the row."""
        model, database = layout.binding.model, self._database
        # What holds the row through a many-to-many has been accounted for by whoever removes it.
        database.mute()
        for table, column in memberships(model):
            sql = f"DELETE FROM {database.quote(table)} WHERE {database.quote(column)} = %s"
            database.run(sql, [layout.raw_key(pk)])
        database.listen()
        # A child's parent is a record of its own.
        options = {"keep_parents": True} if model._meta.parents else {}
        try:
            with transaction.atomic(using=database.using):
                self._load(layout, pk).delete(**options)
        except (DatabaseError, RowRefused):
            raise
        except Exception as error:
            logger.exception("Deleting %s %s failed", layout.binding.label, pk)
            raise RowRefused(f"{type(error).__name__}: {error}", "host_code") from error
        rows = model._base_manager.using(database.using)
        if rows.filter(pk=_key_value(layout.binding.pk_field, pk)).exists():
            raise RowRefused("its delete() does not remove the row", "host_code")

    # -- instances --

    def _load(self, layout: TableLayout, pk: str) -> Any:
        key = layout.binding.pk_field
        rows = layout.binding.model._base_manager.using(self._database.using).select_for_update()
        try:
            return rows.get(pk=_key_value(key, pk))
        except ObjectDoesNotExist as error:
            raise RowRefused("the record is gone", "change") from error

    def _build(self, layout: TableLayout, values: Mapping[int, Any]) -> Any:
        """A new instance with its model's defaults; a child's inherited fields are those of the row it belongs to."""
        model: type[models.Model] = layout.binding.model
        instance: Any = model()
        instance._state.db = self._database.using
        for parent, link in model._meta.parents.items():
            number = next((n for n in values if layout.binding.fields[n].django_field is link), None)
            if link is None or number is None or values[number] is None:
                continue
            key = _key_value(parent._meta.pk, values[number])
            row = parent._base_manager.using(self._database.using).filter(pk=key).first()
            if row is None:
                continue
            for field in parent._meta.concrete_fields:
                setattr(instance, field.attname, getattr(row, field.attname))
            if parent._meta.pk.has_default():
                # Django would take the parent of a new child for new too, since its key could be made here.
                instance._state.adding = False
        return instance

    def _set(self, instance: Any, bound: FieldBinding, value: Any) -> None:
        field = bound.django_field
        if field is not None:
            setattr(instance, field.attname, _python(field, bound.kind, value))

    def _set_many(self, instance: Any, bound: FieldBinding, keys: Sequence[str]) -> None:
        field: Any = bound.django_field
        target = field.related_model._meta.pk
        getattr(instance, bound.name).set([_key_value(target, key) for key in keys])

    def _unasked(self, layout: TableLayout, instance: Any, given: Collection[int]) -> set[str]:
        """The fields that are not validated: those that nobody touches here, as in a form that does not show them."""
        bound = (layout.binding.fields[number].django_field for number in given)
        asked = {field.name for field in bound if field is not None}
        return {field.name for field in instance._meta.fields if field.name not in asked}

    def _require(self, layout: TableLayout, given: Collection[int]) -> None:
        """A new row needs a value where its model has none to offer: an empty text would hide that it is missing."""
        for number, bound in layout.binding.fields.items():
            if bound.required and not bound.system and number not in given:
                raise RowRefused(bound.name, "cannot_create")

    def _values(self, layout: TableLayout, instance: Any, given: Collection[int]) -> dict[int, Any]:
        """The values of the fields that were not given, as the instance has them before it is saved."""
        found: dict[int, Any] = {}
        for number, bound in layout.binding.fields.items():
            field = bound.django_field
            if number in given or number in layout.relations or field is None or field.primary_key:
                continue
            found[number] = getattr(instance, field.attname)
        return found

    def _touched(self, layout: TableLayout, instance: Any, initial: Mapping[int, Any]) -> frozenset[int]:
        """What a new row holds otherwise than its instance did before it was saved."""
        if not initial:
            return frozenset()
        manager = layout.binding.model._base_manager.using(self._database.using)
        row = manager.filter(pk=instance.pk).first()
        if row is None:
            return frozenset()
        there = self._values(layout, row, ())
        return frozenset(n for n, value in initial.items() if n in there and not _same(value, there[n]))

    def _key(self, layout: TableLayout, instance: Any) -> str:
        return str(layout.binding.pk_field.get_db_prep_save(instance.pk, self._database.connection))

    def _refers(self, layout: TableLayout, instance: Any) -> None:
        """What the row refers to now has to be there, where the database would find out at COMMIT only."""
        for column in layout.columns.values():
            references, field = references_of(column.binding.django_field), column.binding.django_field
            if references is not None and field is not None:
                value = field.get_db_prep_save(getattr(instance, field.attname), self._database.connection)
                self._database.references.written(*references, [None if value is None else str(value)])

    def _invalid(self, layout: TableLayout, error: ValidationError) -> RowRefused:
        """The model's own messages, by field."""
        by_name = (
            error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: list(error.messages)}
        )
        texts = {name: " ".join(map(str, messages)) for name, messages in by_name.items()}
        numbers = {bound.name: n for n, bound in layout.binding.fields.items()}
        detail = "; ".join(
            text if name == NON_FIELD_ERRORS else f"{name}: {text}" for name, text in texts.items()
        )
        known = all(name in numbers for name in texts)
        fields = {numbers[name]: text for name, text in texts.items()} if known else {}
        return RowRefused(detail, "validation", fields)

    # -- alternations --

    def alternations(self, records: Collection[int]) -> dict[tuple[int, int], Alternation]:
        rows = self._database.query_in(_READ, records)
        return {(record, field): Alternation(n, at, bytes(value)) for record, field, n, at, value in rows}

    def save_alternations(self, found: Mapping[tuple[int, int], Alternation | None]) -> None:
        kept = [(*key, a.count, a.at, a.value) for key, a in found.items() if a is not None]
        over = [key for key, alternation in found.items() if alternation is None]
        if kept:
            self._database.many(_SAVE, kept)
        if over:
            self._database.many(_DROP, over)

    # -- telling --

    def announce(self, layout: Layout, link: str, events: Sequence[Event]) -> None:
        """Send the signal for each event after the commit; a receiver that fails is logged and harms nothing."""
        told = [(layout.table(event.table), event) for event in events if layout.has(event.table)]

        def send() -> None:
            for table, event in told:
                binding = table.binding
                record_applied.send_robust(
                    sender=binding.model,
                    link=link,
                    table=binding.label,
                    pk=_key_value(binding.pk_field, event.pk),
                    created=event.created,
                    deleted=event.deleted,
                    fields=tuple(binding.fields[n].name for n in event.fields if n in binding.fields),
                )

        transaction.on_commit(send, using=self._database.using, robust=True)


def _key_value(field: Any, text: Any) -> Any:
    """A local key as Python has it; a key that is a relation is the key of its target."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return field.to_python(text)


def _python(field: models.Field[Any, Any], kind: Kind, value: Any) -> Any:
    """A wire value as the model's attribute has it."""
    if value is None:
        return None
    if kind in _KEYS or kind is Kind.KEY:
        return _key_value(field, value)
    if kind is Kind.DURATION:
        return dt.timedelta(microseconds=value)
    if kind in (Kind.JSON, Kind.BINARY):
        return value
    found = field.to_python(value)
    if isinstance(found, dt.datetime) and timezone.is_aware(found) and not settings.USE_TZ:
        return timezone.make_naive(found, timezone.get_default_timezone())
    return found


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, memoryview | bytearray) or isinstance(other, memoryview | bytearray):
        return bytes(one or b"") == bytes(other or b"")
    return bool(one == other)
