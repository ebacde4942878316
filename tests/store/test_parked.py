"""Incoming changes in local terms, packed while they are parked, and folded together."""

from syncapp.core.changes import Batch, Cursor, Row, RowKind, Section, WireVersion
from syncapp.core.clock import Version, make_origin
from syncapp.core.mapping import FieldType, Flow, Kind
from syncapp.store import parked
from syncapp.store.base import FieldInfo, TableInfo
from syncapp.store.parked import Cell, Incoming

A, B = make_origin(b"a" * 16, 1), make_origin(b"b" * 16, 1)
UID = b"u" * 16


def test_translate_takes_what_is_let_in_and_names_the_rest() -> None:
    rows = [
        Row(UID, int(RowKind.FIELDS), [WireVersion(5, 0, ((1, 3),)), None], ["x", "y"], [b"v" * 16]),
        Row(b"w" * 16, int(RowKind.WHOLE), [None], ["p", "q"]),
    ]
    batch = Batch(Cursor(), Cursor(1, b"t"), [A, B], [Section(7, [71, 72], rows), Section(8, [81], rows[1:])])
    batch.sections[1].rows = [Row(b"w" * 16, int(RowKind.WHOLE), [None], ["p"])]
    tables = {1: TableInfo(1, "a.A", "a", {11: FieldInfo(11, "x", FieldType(Kind.TEXT))})}
    found = parked.translate(batch, {7: Flow(1, 7, {}, {71: 11})}, tables)
    assert found.refused == [(UID, 72), (b"w" * 16, 72), (b"w" * 16, 81)]
    first, second = found.changes
    assert first.cells == {11: Cell(Version(5, A, ((B, 3),)), "x", 71)}
    assert first.names == (UID, b"v" * 16)
    assert (second.kind, second.cells[11].version) == (RowKind.WHOLE, None)


def test_translate_turns_values_of_another_type_into_ours() -> None:
    ours = FieldType(Kind.DECIMAL, digits=12, places=2)
    tables = {1: TableInfo(1, "a.A", "a", {11: FieldInfo(11, "x", ours), 12: FieldInfo(12, "y", ours)})}
    row = Row(UID, int(RowKind.FIELDS), [WireVersion(5, 0)], [7, "1.5"])
    batch = Batch(Cursor(), Cursor(1, b"t"), [A], [Section(7, [71, 72], [row])])
    flow = Flow(1, 7, {}, {71: 11, 72: 12}, {11: Kind.INTEGER, 12: Kind.DECIMAL})
    (change,) = parked.translate(batch, {7: flow}, tables).changes
    assert [cell.value for cell in change.cells.values()] == ["7.00", "1.50"]


def test_pack_round_trip() -> None:
    cells = {1: Cell(Version(5, A, ((B, 3),)), ["deep", {"a": [b"x", None]}], 11), 2: Cell(None, 1.5, 12)}
    change = Incoming(UID, 3, int(RowKind.WHOLE), cells, aliases=(b"v" * 16,))
    assert parked.unpack(UID, 3, parked.pack(change)) == change
    only = parked.unpack(UID, 3, parked.pack(change, {2}))
    assert (list(only.cells), only.kind) == ([2], RowKind.FIELDS)


def test_fold_keeps_the_newer_version_of_each_field() -> None:
    older = Incoming(
        UID,
        3,
        int(RowKind.WHOLE),
        {1: Cell(Version(5, A), "old", 11), 2: Cell(Version(9, A), "new", 12), 3: Cell(None, "base", 13)},
    )
    newer = Incoming(
        UID,
        3,
        int(RowKind.FIELDS),
        {
            1: Cell(Version(6, B), "new", 11),
            2: Cell(Version(8, B), "old", 12),
            3: Cell(Version(1, B), "new", 13),
        },
    )
    folded = parked.fold(older, newer)
    assert [cell.value for cell in folded.cells.values()] == ["new", "new", "new"]
    assert folded.kind == RowKind.WHOLE
    assert folded.counted == frozenset({1, 2, 3})


def test_fields_that_were_counted_when_they_were_parked_are_not_counted_again() -> None:
    older = Incoming(UID, 3, int(RowKind.WHOLE), {1: Cell(Version(5, A), "a", 11)}, aliases=(b"v" * 16,))
    folded = parked.fold(older, Incoming(UID, 3, int(RowKind.FIELDS), {2: Cell(Version(6, A), "b", 12)}))
    assert [folded.counts(field) for field in (1, 2)] == [False, True]
    assert folded.names == (UID, b"v" * 16)
    assert not Incoming(UID, 3, 0, {}, problem=4).counts(1)
