"""What is stored and what travels."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from syncapp.core.changes import (
    START,
    Batch,
    Cursor,
    Entry,
    Row,
    RowKind,
    Section,
    WireVersion,
    pack_entries,
    split_uids,
    unpack_entries,
)
from syncapp.core.clock import Version, make_origin

ORIGINS = [make_origin(bytes([n]) * 16, n) for n in range(1, 4)]
moments = st.integers(min_value=0, max_value=2**53)
seens = st.dictionaries(st.sampled_from(ORIGINS), moments).map(lambda seen: tuple(sorted(seen.items())))
totals = st.one_of(st.integers(-(2**62), 2**62), st.sampled_from(["12.50", "-0.01"]))
sums = st.tuples(st.sampled_from([b"", *ORIGINS]), moments, totals)
elements = st.tuples(
    st.sampled_from([b"u" * 16, b"v" * 16]), moments, st.sampled_from(ORIGINS), st.booleans()
)
parts = st.one_of(st.lists(sums, max_size=3), st.lists(elements, max_size=3)).map(tuple)
entries = st.builds(
    Entry, st.builds(Version, moments, st.sampled_from(ORIGINS), seens), moments, st.integers(0, 3), parts
)


@given(st.dictionaries(st.integers(1, 10_000), entries))
def test_entries_round_trip(given_entries: dict[int, Entry]) -> None:
    assert unpack_entries(pack_entries(given_entries)) == given_entries


def test_no_entries_take_no_room() -> None:
    assert unpack_entries(b"") == {}
    assert unpack_entries(memoryview(pack_entries({}))) == {}


def test_fields_of_one_edit_share_a_group() -> None:
    entry = Entry(Version(10**15, ORIGINS[0]), 7, 1)
    one, many = pack_entries({1: entry}), pack_entries(dict.fromkeys(range(1, 21), entry))
    assert len(many) < len(one) + 25


def test_a_row_with_and_without_aliases() -> None:
    row = Row(b"u" * 16, int(RowKind.FIELDS), [WireVersion(1, 0)], ["x"])
    encoded = msgspec.msgpack.encode(row)
    assert msgspec.msgpack.decode(encoded, type=Row) == row
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([b"u" * 16, 0, [[1, 0]], ["x"]]), type=Row) == row
    row.aliases = [b"v" * 16]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=Row) == row


def test_field_count() -> None:
    rows = [Row(b"u" * 16, 0, [None], [1, 2]), Row(b"v" * 16, 0, [None], [1, 2])]
    assert Batch(START, Cursor(1, b"t"), [], [Section(1, [1, 2], rows)]).field_count() == 4


def test_uids_within_relation_values() -> None:
    assert split_uids([None, b"a", [b"b", b"c"], []]) == {b"a", b"b", b"c"}
