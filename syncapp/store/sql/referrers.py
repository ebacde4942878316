"""What refers to the rows of a model, as the models say: found once for each, from ``_meta`` alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.apps import apps
from django.db import models, router
from django.db.models.deletion import CASCADE, DO_NOTHING, PROTECT, RESTRICT, SET_DEFAULT, SET_NULL

from syncapp.core.mapping import Kind
from syncapp.store.deletionbase import OnDelete
from syncapp.store.introspect import key_kind

AnyModel: TypeAlias = "type[models.Model]"
ForeignKey: TypeAlias = "models.ForeignKey[Any, Any]"

_RULES = {
    CASCADE: OnDelete.CASCADE,
    SET_NULL: OnDelete.SET,
    SET_DEFAULT: OnDelete.SET,
    PROTECT: OnDelete.PROTECT,
    RESTRICT: OnDelete.RESTRICT,
    DO_NOTHING: OnDelete.NOTHING,
}
#: What `models.SET` makes has this name and tells its value to whoever collects.
_SET = "set_on_delete"


@dataclass(frozen=True, slots=True)
class Referrer:
    """A foreign key that refers to a model. ``label`` and ``name``: whose field it is in people's eyes.

    ``owner_column``, of ``owner_kind``: the key of the row that refers; of a many-to-many the column of the row that
    owns it. None: a row that cannot be named by one key.
    """

    field: ForeignKey
    label: str
    name: str
    rule: OnDelete
    owner_column: str
    owner_kind: Kind | None

    @property
    def table(self) -> str:
        return str(self.field.model._meta.db_table)

    @property
    def column(self) -> str:
        return str(self.field.column)

    @property
    def enforced(self) -> bool:
        """Whether the database itself refuses a reference to nowhere."""
        return bool(getattr(self.field, "db_constraint", True))


def model_of(label: str) -> AnyModel:
    """The model with this label."""
    return apps.get_model(label)


def foreign_keys(model: AnyModel) -> Iterator[ForeignKey]:
    """The foreign keys that refer to ``model`` itself, those without a name on its side too."""
    for relation in model._meta.get_fields(include_parents=False, include_hidden=True):
        field = getattr(relation, "field", None)
        if relation.auto_created and not relation.concrete and isinstance(field, models.ForeignKey):
            yield field


def memberships(model: AnyModel) -> Iterator[tuple[str, str]]:
    """Tables behind automatic many-to-many relations, and their columns that refer to ``model``."""
    for field in foreign_keys(model):
        if field.model._meta.auto_created:
            yield field.model._meta.db_table, str(field.column)


def referrers(model: AnyModel, using: str, tables: frozenset[str]) -> list[Referrer]:
    """What refers to rows of ``model`` and cares when they go. ``tables``: those that the database has."""
    found = []
    for field in foreign_keys(model):
        if field.model._meta.db_table not in tables or not router.allow_migrate_model(using, field.model):
            continue
        referrer = _membership(field) if field.model._meta.auto_created else _plain(field)
        if referrer is not None:
            found.append(referrer)
    return found


def _membership(field: ForeignKey) -> Referrer | None:
    """The far side of a many-to-many: its owner loses a target. The near side goes with its owner, unnoticed."""
    owner: Any = field.model._meta.auto_created
    many = next(m for m in owner._meta.local_many_to_many if m.remote_field.through is field.model)
    if field.column != many.m2m_reverse_name():
        return None
    kind = key_kind(owner._meta.pk)
    return Referrer(field, owner._meta.label, many.name, OnDelete.MEMBER, many.m2m_column_name(), kind)


def _plain(field: ForeignKey) -> Referrer | None:
    meta = field.model._meta
    rule = _rule(field)
    if rule is OnDelete.NOTHING and not getattr(field, "db_constraint", True):
        return None  # a reference to nowhere is allowed, and meant
    kind = key_kind(meta.pk)
    if kind is None and rule is not OnDelete.PROTECT:
        rule = OnDelete.RESTRICT  # nobody could say which rows went or changed
    return Referrer(field, meta.label, field.name, rule, str(meta.pk.column) if kind else "", kind)


def _rule(field: ForeignKey) -> OnDelete:
    on_delete: Any = field.remote_field.on_delete
    if getattr(on_delete, "__name__", "") == _SET:
        return OnDelete.SET
    # What a program made up itself may do anything: better ask a person.
    return _RULES.get(on_delete, OnDelete.PROTECT)


class _Listener:
    """Hears the value that `models.SET` gives to a collector."""

    value: Any = None

    def add_field_update(self, field: Any, value: Any, objects: Any) -> None:
        self.value = value


def value_after(field: ForeignKey, using: str) -> Any:
    """What stands in ``field`` after its target was deleted, as Python knows it."""
    on_delete: Any = field.remote_field.on_delete
    if on_delete is SET_NULL:
        return None
    if on_delete is SET_DEFAULT:
        return field.get_default()
    listener = _Listener()
    on_delete(listener, field, (), using)
    value = listener.value
    return getattr(value, field.target_field.attname) if isinstance(value, models.Model) else value
