"""Where the catalogue's numbers live in the database: what `store.sql` and `store.triggers` compile SQL from.

Built by `store.catalogue.bindings`; immutable, and valid for one configuration version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from syncapp.core.mapping import Kind


@dataclass(frozen=True, slots=True)
class ThroughBinding:
    """The table behind an automatic many-to-many. Names are as in the database, not quoted.

    ``source_column`` holds the key of the row that owns the field, ``target_column`` that of the row it
    points to; ``target`` is the number of the target's table, 0 where that is not on offer.
    """

    table: str
    source_column: str
    target_column: str
    target: int
    model: type[models.Model]


@dataclass(frozen=True, slots=True)
class FieldBinding:
    """A field of the catalogue in the database.

    ``column`` is empty where the table has none: a many-to-many (see ``through``), and the system fields
    that syncapp keeps itself (``record_status``, ``creator``, ``time_added`` without an ``auto_now_add``
    field); for these ``django_field`` is None too. The system field ``id`` is bound to the primary key,
    ``time_added`` to the model's ``auto_now_add`` field, which is also offered under its own name: two
    numbers may share a column.

    ``target``: number of the table that a relation refers to; 0 for none, for one that is not on offer, and
    for users.
    """

    number: int
    name: str
    slot: int
    kind: Kind
    column: str
    django_field: models.Field[Any, Any] | None
    target: int = 0
    through: ThroughBinding | None = None
    system: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class TableBinding:
    """A table of the catalogue in the database.

    ``quoted`` and ``pk_quoted`` are ready for SQL, others bare names.

    ``pk_kind`` is INTEGER, UUID or TEXT: the kind of value in ``pk_column`` (of a one-to-one key: its
    target's). ``pk_number``: the ordinary (not system) field that is the primary key at the same time – a
    natural key, or a one-to-one with another table's row, as multi-table inheritance makes it. A new row
    takes its key from that field; where it is 0 the key is made here, by the database or by the field's
    default.
    """

    number: int
    label: str
    model: type[models.Model]
    db_table: str
    quoted: str
    pk_column: str
    pk_quoted: str
    pk_kind: Kind
    pk_field: models.Field[Any, Any]
    fields: Mapping[int, FieldBinding]
    pk_number: int = 0

    def by_slot(self) -> dict[int, FieldBinding]:
        """The fields by their place in change masks."""
        return {field.slot: field for field in self.fields.values()}

    def by_name(self) -> dict[str, FieldBinding]:
        """The fields by name."""
        return {field.name: field for field in self.fields.values()}
