"""Turns Django models into tables and fields: a pure description, made from ``_meta`` alone.

What is on offer
    Concrete models with a table of their own and one integer, UUID or text primary key. Proxies share
    another model's table and are left out; unmanaged models may be views, so only a pattern that names one
    exactly offers it. Of a model's fields: those with a column of a known type, and automatic many-to-many
    relations.

What is not
    Generated columns, generic foreign keys (with the two columns behind them: a local key in there means
    nothing to a peer), many-to-many with a model of its own in between (offer that model instead),
    many-to-many with users, foreign keys that refer to something other than the target's primary key,
    columns of unknown types. `ModelDescription.skipped` says why.

Multi-table inheritance
    Every database table is a table here. A child has its own columns only, and among them the one-to-one to
    its parent, an ordinary required relation that is also its primary key; the inherited fields are the
    parent's.

System fields
    Every table has ``id``, ``time_added``, ``record_status`` and ``creator``. A model field that already
    has one of these names (other than an ``id`` that the database makes) takes the place of the system
    field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.validators import BaseValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import NOT_PROVIDED
from django.utils.translation import gettext as _

from syncapp.core.mapping import FieldType, Kind

AnyField: TypeAlias = "models.Field[Any, Any]"

#: What tells a type is Django's name of it (`get_internal_type`), so that subclasses are known too.
_KINDS: dict[str, Kind] = {
    "CharField": Kind.TEXT,
    "TextField": Kind.TEXT,
    "SlugField": Kind.TEXT,
    "FilePathField": Kind.TEXT,
    "GenericIPAddressField": Kind.IP,
    "IPAddressField": Kind.IP,
    "IntegerField": Kind.INTEGER,
    "BigIntegerField": Kind.INTEGER,
    "SmallIntegerField": Kind.INTEGER,
    "PositiveIntegerField": Kind.INTEGER,
    "PositiveBigIntegerField": Kind.INTEGER,
    "PositiveSmallIntegerField": Kind.INTEGER,
    "AutoField": Kind.INTEGER,
    "BigAutoField": Kind.INTEGER,
    "SmallAutoField": Kind.INTEGER,
    "DecimalField": Kind.DECIMAL,
    "FloatField": Kind.FLOAT,
    "BooleanField": Kind.BOOLEAN,
    "DateField": Kind.DATE,
    "TimeField": Kind.TIME,
    "DateTimeField": Kind.DATETIME,
    "DurationField": Kind.DURATION,
    "UUIDField": Kind.UUID,
    "JSONField": Kind.JSON,
    "BinaryField": Kind.BINARY,
    "FileField": Kind.FILE,
    "ImageField": Kind.FILE,
}

#: Apps that no pattern with a wildcard for the app reaches: accounts, sessions and the like are never
#: offered by accident.
_PRIVATE_APPS = "django.contrib."

ID, TIME_ADDED, RECORD_STATUS, CREATOR = "id", "time_added", "record_status", "creator"


@dataclass(frozen=True, slots=True)
class Through:
    """The table of an automatic many-to-many, with the columns of the owner's and the target's key."""

    model: type[models.Model]
    table: str
    source_column: str
    target_column: str


@dataclass(frozen=True, slots=True)
class FieldDescription:
    """A field as its model declares it.

    ``field`` is None and ``column`` empty where syncapp keeps the value itself.
    """

    name: str
    title: str
    type: FieldType
    column: str = ""
    field: AnyField | None = None
    required: bool = False
    system: bool = False
    through: Through | None = None

    @property
    def auto(self) -> bool:
        """Whether the model sets it to the current time by itself."""
        return bool(getattr(self.field, "auto_now", False) or getattr(self.field, "auto_now_add", False))


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A model that is on offer. ``pk_name``: the ordinary field that is the primary key too, or empty.

    ``skipped``: names of the fields that are not on offer, and why.
    """

    label: str
    title: str
    model: type[models.Model]
    db_table: str
    pk: AnyField
    pk_kind: Kind
    fields: tuple[FieldDescription, ...]
    pk_name: str = ""
    skipped: tuple[tuple[str, str], ...] = ()


def describe_models(patterns: Sequence[str] = ()) -> list[ModelDescription]:
    """The models that ``patterns`` put on offer, in the order of the installed apps.

    See `conf.Settings.tables`.
    """
    return [
        describe(model) for model in apps.get_models() if _describable(model) and offered(model, patterns)
    ]


def offered(model: type[models.Model], patterns: Sequence[str]) -> bool:
    """Whether ``patterns`` choose ``model``; the last that matches decides.

    None at all, or a first one that takes away, start from the default.
    """
    if _app_name(model) == "syncapp":
        return False
    from_default = not patterns or patterns[0].startswith("!")
    chosen = from_default and model._meta.managed and not _private(model)
    for pattern in patterns:
        if matches(pattern.removeprefix("!"), model):
            chosen = not pattern.startswith("!")
    return chosen


def matches(pattern: str, model: type[models.Model]) -> bool:
    """Whether ``pattern`` (without ``!``) means ``model``, whatever the case of letters."""
    wanted, label = pattern.lower(), model._meta.label_lower
    if wanted == label:
        return True
    if not fnmatchcase(label, wanted) or not model._meta.managed or _is_user(model):
        return False
    app = wanted.partition(".")[0]
    return app == model._meta.app_label.lower() or not _private(model)


def _private(model: type[models.Model]) -> bool:
    """Whether only a pattern that names the app, or for users the model, offers it."""
    return _app_name(model).startswith(_PRIVATE_APPS) or _is_user(model)


def _app_name(model: type[models.Model]) -> str:
    config: AppConfig | None = model._meta.app_config
    return model.__module__ if config is None else config.name


def _describable(model: type[models.Model]) -> bool:
    meta = model._meta
    return not meta.proxy and not meta.swapped and key_kind(meta.pk) is not None


def describe(model: type[models.Model]) -> ModelDescription:
    """Describe one concrete model with a plain primary key."""
    meta = model._meta
    pk_kind = key_kind(meta.pk)
    assert pk_kind is not None
    ordinary, skipped = _ordinary_fields(model)
    return ModelDescription(
        label=meta.label,
        title=str(meta.verbose_name),
        model=model,
        db_table=meta.db_table,
        pk=meta.pk,
        pk_kind=pk_kind,
        fields=(*ordinary, *_system_fields(model, {field.name for field in ordinary})),
        pk_name=next((field.name for field in ordinary if field.field is meta.pk), ""),
        skipped=tuple(skipped),
    )


def key_kind(pk: Any) -> Kind | None:
    """Kind of a primary key's values; None for keys that cannot be handled, such as composite ones."""
    field = pk
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    if not getattr(field, "concrete", False) or not isinstance(field, models.Field):
        return None
    kind = _KINDS.get(field.get_internal_type())
    return kind if kind in (Kind.INTEGER, Kind.UUID, Kind.TEXT) else None


# -- ordinary fields ----------------------------------------------------------------------------------------


def _ordinary_fields(model: type[models.Model]) -> tuple[list[FieldDescription], list[tuple[str, str]]]:
    described: list[FieldDescription] = []
    skipped: list[tuple[str, str]] = []
    generic = set(_generic_columns(model))
    for field in model._meta.local_concrete_fields:
        if field.primary_key and made_here(field):
            continue  # the system field ID
        reason = "part of a generic relation" if field.name in generic else _why_not(field)
        if reason:
            skipped.append((field.name, reason))
        else:
            described.append(_concrete(field))
    for many in model._meta.local_many_to_many:
        reason = _why_not_many(many)
        if reason:
            skipped.append((many.name, reason))
        else:
            described.append(_many_to_many(many))
    return described, skipped


def made_here(pk: AnyField) -> bool:
    """Whether new values of this primary key come from the database or a default, and so from no peer."""
    return isinstance(pk, models.AutoField | models.SmallAutoField | models.BigAutoField) or _has_default(pk)


def _generic_columns(model: type[models.Model]) -> Iterator[str]:
    for private in model._meta.private_fields:
        # By its shape: its class can only be imported where the contenttypes app is installed.
        if hasattr(private, "ct_field") and hasattr(private, "fk_field"):
            yield private.ct_field
            yield private.fk_field


def _why_not(field: AnyField) -> str:
    if field.generated:
        return "computed by the database"
    if isinstance(field, models.ForeignKey):
        return "" if field.target_field.primary_key else "refers to another column than the primary key"
    if field.get_internal_type() not in _KINDS:
        return f"type {field.get_internal_type()} is not known"
    return ""


def _why_not_many(field: models.ManyToManyField[Any, Any]) -> str:
    through: Any = field.remote_field.through
    if not through._meta.auto_created:
        return f"kept in {through._meta.label}: use that table"
    if _is_user(field.related_model):
        return "refers to users"
    return ""


def _concrete(field: AnyField) -> FieldDescription:
    return FieldDescription(
        name=field.name,
        title=str(field.verbose_name),
        type=field_type(field),
        column=field.column or "",
        field=field,
        required=_required(field),
    )


def _many_to_many(field: models.ManyToManyField[Any, Any]) -> FieldDescription:
    through: Any = field.remote_field.through
    return FieldDescription(
        name=field.name,
        title=str(field.verbose_name),
        type=FieldType(Kind.RELATIONS, target=_label(field.related_model)),
        field=field,
        through=Through(
            model=through,
            table=through._meta.db_table,
            source_column=field.m2m_column_name(),
            target_column=field.m2m_reverse_name(),
        ),
    )


def known_type(field: AnyField) -> bool:
    """Whether values of a field with a column are of a known kind."""
    return isinstance(field, models.ForeignKey) or field.get_internal_type() in _KINDS


def field_type(field: AnyField) -> FieldType:
    """The type of a field with a column, as its model declares it: the same whatever the database."""
    if isinstance(field, models.ForeignKey):
        if _is_user(field.related_model):
            return FieldType(Kind.USER, null=field.null)
        return FieldType(Kind.RELATION, null=field.null, target=_label(field.related_model))
    kind = _KINDS[field.get_internal_type()]
    if kind is Kind.INTEGER:
        low, high = _integer_range(field)
        return FieldType(kind, null=field.null, low=low, high=high)
    if isinstance(field, models.DecimalField):
        return FieldType(kind, null=field.null, digits=field.max_digits, places=field.decimal_places)
    length = field.max_length if kind in (Kind.TEXT, Kind.BINARY, Kind.FILE) else None
    return FieldType(kind, null=field.null, length=length)


def _integer_range(field: AnyField) -> tuple[int | None, int | None]:
    # The declared range, not `connection.ops.integer_field_range`: SQLite stores 64 bits in any integer
    # column, and the same model on SQLite and on PostgreSQL would count as two types, one of which loses
    # values.
    low: int | None
    high: int | None
    low, high = BaseDatabaseOperations.integer_field_ranges[field.get_internal_type()]
    for validator in field.validators:
        limit = validator.limit_value if isinstance(validator, BaseValidator) else None
        if not isinstance(limit, int):
            continue
        if isinstance(validator, MinValueValidator):
            low = max(low, limit)
        elif isinstance(validator, MaxValueValidator):
            high = min(high, limit)
    return low, high


def _required(field: AnyField) -> bool:
    """Whether a row cannot be created without a value: no null, no default, no text that may be empty."""
    if (
        field.null
        or _has_default(field)
        or getattr(field, "auto_now", False)
        or getattr(field, "auto_now_add", False)
    ):
        return False
    may_be_empty = field.empty_strings_allowed and field.blank and not field.is_relation
    return not may_be_empty


def _has_default(field: AnyField) -> bool:
    return field.has_default() or field.db_default is not NOT_PROVIDED


def _is_user(model: Any) -> bool:
    return isinstance(model, type) and _label(model).lower() == str(settings.AUTH_USER_MODEL).lower()


def _label(model: Any) -> str:
    """Label of the model behind ``model``, which may be a proxy: a relation refers to rows of a table."""
    return str(model._meta.concrete_model._meta.label)


# -- system fields ------------------------------------------------------------------------------------------


def _system_fields(model: type[models.Model], taken: set[str]) -> list[FieldDescription]:
    pk: AnyField = model._meta.pk
    added = _added(model)
    fields = [
        FieldDescription(ID, "ID", FieldType(Kind.KEY), column=pk.column or "", field=pk, system=True),
        FieldDescription(
            TIME_ADDED,
            _("time added"),
            field_type(added) if added else FieldType(Kind.DATETIME, null=True),
            column=(added.column or "") if added else "",
            field=added,
            system=True,
        ),
        FieldDescription(RECORD_STATUS, _("record status"), FieldType(Kind.STATUS), system=True),
        FieldDescription(CREATOR, _("creator"), FieldType(Kind.USER, null=True), system=True),
    ]
    return [field for field in fields if field.name not in taken]


def _added(model: type[models.Model]) -> AnyField | None:
    """The field that notes when a row was created."""
    for field in model._meta.local_concrete_fields:
        if isinstance(field, models.DateTimeField) and field.auto_now_add:
            return field
    return None
