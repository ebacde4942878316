"""The part of the boundary to a database that deletions need: what refers to a row, the archive, tombstones.

Rows of any model can be in the way of a deletion, not only those on offer. So tables are named by their label here
(``app.Model``), and fields by name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from syncapp.core.changes import Record


class OnDelete(StrEnum):
    """What becomes of a row when one that it refers to is deleted, as its model says."""

    CASCADE = "cascade"  # it goes too
    SET = "set"  # its field takes another value: null, a default
    PROTECT = "protect"  # it forbids the deletion
    RESTRICT = "restrict"  # it forbids it unless it goes too, by another way
    NOTHING = "nothing"  # it would refer to nowhere, which the database refuses
    MEMBER = "member"  # a many-to-many loses one of its targets


class Reference(msgspec.Struct, frozen=True):
    """Rows of one table that refer to rows of another one by one field.

    ``rows``: (key of the row referred to, key of the row that refers). For a many-to-many the latter is its owner.
    """

    label: str
    field: str
    rule: OnDelete
    rows: tuple[tuple[str, str], ...]


class ArchiveRow(msgspec.Struct, frozen=True):
    """A row that a deletion took away here, whole; see `models.Archive`.

    ``values`` by field name, as JSON holds them; ``targets``: relation → the uids of what it referred to.
    """

    link: int
    table: int
    label: str
    uid: bytes
    pk: str
    values: dict[str, Any]
    targets: dict[str, list[str]]
    time: int
    origin: bytes
    created_at: int


class Knower(msgspec.Struct, frozen=True):
    """A link whose peer has, or may have, a record; ``told``: whether it has acknowledged our feed beyond it."""

    link: int
    told: bool


class DeletionBackend(Protocol):
    """Primitives of a database around deletions. Called within a transaction."""

    # -- rows --
    def references(self, label: str, pks: Collection[str]) -> list[Reference]:
        """What refers to these rows, without what does not care."""
        ...

    def hold(self, label: str, pks: Collection[str]) -> None:
        """Keep these rows from others until the transaction ends. Raises `RowRefused` if somebody does not let go."""
        ...

    def snapshot(self, label: str, pks: Collection[str]) -> dict[str, dict[str, Any]]:
        """These rows whole, by field name, in a form that JSON holds and `restore_row` understands."""
        ...

    def detach(self, label: str, field: str, pks: Collection[str]) -> None:
        """Let ``field`` of these rows take the value that it has when its target is deleted, echo suppressed."""
        ...

    def delete_rows(self, rows: Sequence[tuple[str, Collection[str]]]) -> None:
        """Delete rows of some tables, in this order, with their memberships in many-to-many; echo suppressed.

        Raises `RowRefused` (at the latest where the savepoint ends) if rows still refer to them.
        """
        ...

    def restore_row(self, label: str, kept: Mapping[str, Any], fresh: Mapping[int, Any] | None = None) -> str:
        """Create a row from a snapshot's values, echo suppressed; its new key. Raises `RowRefused`.

        ``fresh``: values in wire form, by field number, that take the place of kept ones.
        """
        ...

    # -- the archive --
    def add_archive(self, rows: Sequence[ArchiveRow]) -> None: ...

    def archived(self, uids: Collection[bytes]) -> dict[bytes, ArchiveRow]:
        """The newest archived row of each of these records."""
        ...

    def drop_archive(self, uids: Collection[bytes]) -> None: ...

    # -- problems --
    def hasten(self, uids: Collection[bytes]) -> None:
        """Parked changes that wait for one of these records are due now."""
        ...

    # -- tombstones --
    def offer(self, link: int, record: int) -> None:
        """Records up to this id may have been sent over the link."""
        ...

    def tombstones(self, after: int, limit: int) -> list[Record]:
        """Dead records with an id above ``after``, in that order."""
        ...

    def knowers(self, records: Sequence[Record]) -> dict[int, list[Knower]]:
        """Record id → the links whose peers know it, or may know it."""
        ...

    def forget(self, records: Sequence[Record], floors: Mapping[int, int]) -> None:
        """Remove dead records with all that is kept of them. ``floors``: link → the highest number removed for it."""
        ...
