"""Values that changed on their way take a stamp of the program that takes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncapp.core.clock import Version, edit, join, make_origin, sees
from syncapp.core.derive import derive, merge_derived
from syncapp.core.merge import Merged, Outcome

A, B, C = (make_origin(bytes([n]) * 16, 1) for n in (1, 2, 3))
times = st.integers(1, 50)


@st.composite
def versions(draw: st.DrawFn) -> Version:
    version = Version(draw(times), draw(st.sampled_from([A, B, C])))
    for _ in range(draw(st.integers(0, 2))):
        version = edit(draw(times), draw(st.sampled_from([A, B, C])), version)
    return version


def take(
    ours: Version | None, theirs: Version | None, *, equal: bool = False, from_there: bool = True
) -> Merged:
    return merge_derived(ours, theirs, equal=equal, from_there=from_there, origin=B)


@given(versions(), st.none() | versions())
def test_a_derived_version_is_ours_and_above_what_it_was_made_of_and_replaces(
    theirs: Version, ours: Version | None
) -> None:
    made = derive(theirs, ours, B)
    assert made.origin == B
    assert made.stamp > theirs.stamp
    assert sees(made, theirs)
    if ours is not None:
        assert made.stamp > ours.stamp
        assert sees(made, ours)


@given(versions(), st.none() | versions(), st.booleans())
def test_a_repeated_delivery_changes_nothing(theirs: Version, ours: Version | None, from_there: bool) -> None:
    first = take(ours, theirs, from_there=from_there)
    assert first.version is not None
    again = take(first.version, theirs, equal=True)
    assert again == Merged(Outcome.DUPLICATE, first.version)


def test_the_sources_later_edit_follows_the_earlier_one() -> None:
    first = Version(10, A)
    ours = derive(first, None, B)
    later = edit(11, A, first)
    merged = take(ours, later)
    assert merged.outcome is Outcome.APPLY, "no conflict: A never sees B's stamp, but B has edited nothing"
    assert merged.version == join(Version(12, B), join(later, ours))


def test_a_local_edit_loses_to_the_sources_next_value_and_is_kept() -> None:
    ours = edit(99, B, derive(Version(10, A), None, B))
    merged = take(ours, edit(20, A, Version(10, A)), from_there=False)
    assert merged.outcome is Outcome.CONFLICT_APPLY
    assert merged.version is not None
    assert merged.version.stamp > ours.stamp
    assert take(ours, edit(20, A, Version(10, A)), from_there=False, equal=True).outcome is Outcome.APPLY


def test_a_local_edit_stays_until_then() -> None:
    ours = edit(99, B, derive(Version(10, A), None, B))
    merged = take(ours, Version(10, A), from_there=False)
    assert merged == Merged(Outcome.KEEP, ours)


def test_the_same_stamp_by_another_road_is_another_value() -> None:
    """The original came to us unchanged too: the changed value goes above it, in whatever order they come."""
    original = Version(10, A)
    assert take(original, original, from_there=False).outcome is Outcome.APPLY
    assert take(original, original, from_there=False, equal=True).outcome is Outcome.DUPLICATE
    assert sees(derive(original, None, B), original)


def test_what_comes_round_a_ring_unchanged_ends_there() -> None:
    """A → B (changed) → C → A → B: the second time B has the value already, made of its own."""
    at_a = Version(10, A)
    at_b = derive(at_a, None, B)
    at_c = derive(at_b, None, C)
    merged = take(at_b, at_c, equal=True)
    assert merged.outcome is Outcome.DUPLICATE
    assert merged.version is not None
    assert merged.version.stamp == at_b.stamp


def test_a_baseline_stays_one() -> None:
    assert take(None, None) == Merged(Outcome.BASELINE, None)
    assert take(Version(5, B), None) == Merged(Outcome.BASELINE, Version(5, B))
