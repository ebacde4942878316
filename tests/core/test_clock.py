"""Hybrid logical time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp.core.clock import Version, edit, epoch_of, instance_of, join, make_origin, sees

ORIGINS = [make_origin(bytes([n]) * 16, 1) for n in range(1, 4)]
times = st.integers(min_value=1, max_value=1000)


@st.composite
def versions(draw: st.DrawFn) -> Version:
    origin = draw(st.sampled_from(ORIGINS))
    others = [o for o in ORIGINS if o != origin]
    seen = draw(st.dictionaries(st.sampled_from(others), times))
    return Version(draw(times), origin, tuple(sorted(seen.items())))


def test_origin_holds_instance_and_epoch() -> None:
    origin = make_origin(b"i" * 16, 7)
    assert (instance_of(origin), epoch_of(origin)) == (b"i" * 16, 7)
    with pytest.raises(ValueError, match="16 bytes"):
        make_origin(b"short", 1)


def test_origins_sort_by_instance_then_epoch() -> None:
    assert make_origin(b"a" * 16, 300) < make_origin(b"b" * 16, 1)
    assert make_origin(b"a" * 16, 2) < make_origin(b"a" * 16, 300)


@given(versions())
def test_a_version_sees_itself(version: Version) -> None:
    assert sees(version, version)
    assert join(version, version) == version


@given(versions(), versions())
def test_join_sees_both_and_keeps_the_winner(a: Version, b: Version) -> None:
    joined = join(a, b)
    assert joined.stamp == a.stamp
    assert sees(joined, a)
    if b.origin != a.origin:
        assert sees(joined, b)
    assert a.origin not in dict(joined.seen)
    assert joined.seen == tuple(sorted(joined.seen))


@given(versions(), versions(), versions())
def test_join_is_idempotent_and_order_does_not_matter(a: Version, b: Version, c: Version) -> None:
    assert join(join(a, b), b) == join(a, b)
    assert join(join(a, b), c) == join(join(a, c), b)


@given(st.integers(min_value=0, max_value=2000), st.sampled_from(ORIGINS), versions())
def test_an_edit_beats_what_it_saw(at: int, origin: bytes, known: Version) -> None:
    version = edit(at, origin, known)
    assert version.stamp > known.stamp
    assert version.time >= at
    assert sees(version, known)
    for other, time in known.seen:
        assert sees(version, Version(time, other))


def test_a_first_edit_takes_the_wall_clock() -> None:
    assert edit(42, ORIGINS[0], None) == Version(42, ORIGINS[0])


def test_neither_sees_a_concurrent_edit() -> None:
    a, b = Version(10, ORIGINS[0]), Version(12, ORIGINS[1])
    assert not sees(a, b)
    assert not sees(b, a)
