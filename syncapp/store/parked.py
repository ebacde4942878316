"""An incoming record change as the store works with it, and its packed form while it is parked as a problem."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any, NamedTuple, cast

import msgspec

from syncapp.core.changes import Batch, Row, RowKind, WireVersion
from syncapp.core.clock import Version, join
from syncapp.core.mapping import Flow, Kind
from syncapp.core.parts import Parts, join_parts
from syncapp.core.rules import Merge
from syncapp.store import partwire
from syncapp.store.adapting import adapt
from syncapp.store.base import FieldInfo, TableInfo

UID_BYTES = 16
_BINARY = frozenset({Kind.RELATION, Kind.RELATIONS, Kind.BINARY})


class Cell(NamedTuple):
    """An incoming field value: its version (None = baseline), the value in wire form, the sender's field number.

    ``parts``: what the value of a sum or a union is made of.
    """

    version: Version | None
    value: Any
    peer_field: int
    parts: Parts = ()


class Incoming(msgspec.Struct):
    """An incoming change of one record, in local terms. ``problem``: id of the parked change it was taken from.

    ``counted``: the fields whose fate is to be told; None = all. A field that was parked before has been counted then.
    ``keys``: values of match fields that do not flow, to recognise the record by.
    """

    uid: bytes
    table: int
    kind: int
    cells: dict[int, Cell]
    problem: int = 0
    problem_field: int = 0
    tries: int = 0
    created_at: int = 0
    aliases: tuple[bytes, ...] = ()
    counted: frozenset[int] | None = None
    keys: dict[int, Any] = {}

    @property
    def names(self) -> tuple[bytes, ...]:
        """All uids by which the sender knows the record."""
        return (self.uid, *self.aliases)

    def counts(self, field: int) -> bool:
        """Whether the fate of ``field`` is to be told."""
        return not self.problem and (self.counted is None or field in self.counted)


class Translated(NamedTuple):
    """A batch in local terms; ``refused``: (uid, sender's field) that our mapping does not let in."""

    changes: list[Incoming]
    refused: list[tuple[bytes, int]]


def translate(
    batch: Batch, by_peer: dict[int, Flow], tables: Mapping[int, TableInfo], zone: tzinfo = UTC
) -> Translated:
    """Turn a batch into local tables and fields; what the mapping does not let in is left out and named.

    ``zone``: see `adapting.adapt`.
    """
    changes: list[Incoming] = []
    refused: list[tuple[bytes, int]] = []
    for section in batch.sections:
        flow = by_peer.get(section.table)
        into = flow.into if flow is not None else {}
        places = [(i, into[column], column) for i, column in enumerate(section.columns) if column in into]
        shut = [column for column in section.columns if column not in into]
        fields = tables[flow.table].fields if flow is not None else {}
        binary = [i for i, local, _ in places if fields[local].type.kind in _BINARY]
        other = flow.adapt if flow is not None else {}
        foreign = [(i, other[local], fields[local].type) for i, local, _ in places if local in other]
        combined = [local for _, local, _ in places if fields[local].merge is not Merge.VALUE]
        known_by = flow.keys_into if flow is not None else {}
        for row in section.rows:
            _check_row(row, len(section.columns))
            for i in binary:
                row.values[i] = _as_bytes(row.values[i])
            for i, kind, type in foreign:
                row.values[i] = adapt(row.values[i], kind, type, zone)
            refused.extend((row.uid, column) for column in shut)
            if flow is not None and places:
                cells = _cells(row, places, batch.origins)
                for local in combined:
                    cells[local] = _combined(cells[local], fields[local], batch.origins)
                if row.kind == RowKind.DELETED and any(cell.value is not False for cell in cells.values()):
                    raise ValueError("a deletion that says something else")
                keys = {known_by[k]: v for k, v in zip(section.keys, row.keys, strict=False) if k in known_by}
                aliases = tuple(row.aliases)
                changes.append(Incoming(row.uid, flow.table, row.kind, cells, aliases=aliases, keys=keys))
    return Translated(changes, refused)


def _as_bytes(value: Any) -> Any:
    """A value of a kind that holds bytes. JSON has none: there they are base64 texts."""
    if isinstance(value, list):
        return [_as_bytes(part) for part in value]
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return value  # not bytes at all: refused where the value is checked


def _check_row(row: Row, columns: int) -> None:
    if len(row.values) != columns:
        raise ValueError("a row has another number of values than its section has columns")
    if len(row.versions) not in (1, columns):
        raise ValueError("a row has neither one version nor one for each column")
    if any(len(name) != UID_BYTES for name in (row.uid, *row.aliases)):
        raise ValueError("a uid has 16 bytes")
    if row.kind not in (RowKind.FIELDS, RowKind.WHOLE, RowKind.DELETED):
        raise ValueError(f"row kind {row.kind} was not agreed on")


def _cells(row: Row, places: list[tuple[int, int, int]], origins: list[bytes]) -> dict[int, Cell]:
    if len(row.versions) == 1:
        version = to_version(row.versions[0], origins)
        return {local: Cell(version, row.values[i], column) for i, local, column in places}
    return {
        local: Cell(to_version(row.versions[i], origins), row.values[i], column)
        for i, local, column in places
    }


def _combined(cell: Cell, field: FieldInfo, origins: list[bytes]) -> Cell:
    """A cell whose value came as parts; one that did not stays as it is, to be refused where it is checked."""
    if cell.version is None:
        return cell
    parts = partwire.unpack(field, cell.value, origins)
    return cell if parts is None else cell._replace(parts=parts, value=partwire.value_from(field, parts))


def to_version(wire: WireVersion | None, origins: list[bytes]) -> Version | None:
    """A wire version with its origins looked up."""
    if wire is None:
        return None
    if wire.origin < 0 or any(index < 0 for index, _ in wire.seen):
        raise IndexError("a negative index of an origin")
    if not wire.seen:
        return Version(wire.time, origins[wire.origin])
    return Version(wire.time, origins[wire.origin], tuple(sorted((origins[i], t) for i, t in wire.seen)))


class _Cell(msgspec.Struct, array_like=True):
    field: int
    version: Version | None
    value: Any
    peer_field: int
    parts: tuple[tuple[Any, ...], ...] = ()


class _Parked(msgspec.Struct, array_like=True):
    kind: int
    cells: list[_Cell]
    aliases: tuple[bytes, ...] = ()
    keys: dict[int, Any] = {}


_pack = msgspec.msgpack.Encoder()
_unpack = msgspec.msgpack.Decoder(_Parked)


def pack(change: Incoming, fields: set[int] | None = None) -> bytes:
    """The change, or only some of its fields, as bytes."""
    cells = [
        _Cell(field, cell.version, cell.value, cell.peer_field, cell.parts)
        for field, cell in change.cells.items()
        if fields is None or field in fields
    ]
    kind = change.kind if fields is None else int(RowKind.FIELDS)
    return _pack.encode(_Parked(kind, cells, change.aliases, change.keys))


def unpack(uid: bytes, table: int, payload: bytes) -> Incoming:
    """The inverse of `pack`."""
    parked = _unpack.decode(payload)
    cells = {cell.field: Cell(cell.version, cell.value, cell.peer_field, cell.parts) for cell in parked.cells}
    return Incoming(uid, table, parked.kind, cells, aliases=parked.aliases, keys=parked.keys)


def fold(older: Incoming, newer: Incoming, fields: Mapping[int, FieldInfo] | None = None) -> Incoming:
    """One change that has the newer version of each field of both; whole if one of them is.

    Parts of sums and unions are joined: either change may have some that the other lacks. ``fields``: of the table.
    """
    cells = dict(older.cells)
    for field, cell in newer.cells.items():
        known = cells.get(field)
        cells[field] = cell if known is None else _newer(known, cell, (fields or {}).get(field))
    kind = int(RowKind.WHOLE) if RowKind.WHOLE in (older.kind, newer.kind) else newer.kind
    aliases = tuple(sorted({*older.names, *newer.names} - {newer.uid}))
    counted = frozenset(newer.cells) if newer.counted is None else newer.counted
    keys = older.keys | newer.keys
    return Incoming(newer.uid, newer.table, kind, cells, aliases=aliases, counted=counted, keys=keys)


def _newer(known: Cell, cell: Cell, field: FieldInfo | None) -> Cell:
    if known.version is None:
        return cell
    if cell.version is None:
        return known
    later, earlier = (cell, known) if cell.version.stamp >= known.version.stamp else (known, cell)
    if field is None or field.merge is Merge.VALUE:
        return later
    both = [partwire.given(field, side.version, side.value, side.parts) for side in (known, cell)]
    if both[0] is None or both[1] is None:
        return later if both[0] is both[1] else (cell if both[0] is None else known)
    parts = join_parts(both[0], both[1])
    version = join(cast("Version", later.version), cast("Version", earlier.version))
    return Cell(version, partwire.value_from(field, parts), cell.peer_field, parts)
