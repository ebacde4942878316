"""Merging a field: any order and any repetition of the same edits ends in the same state."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncapp.core.clock import Version, edit, make_origin
from syncapp.core.merge import Merged, Outcome, merge_field

A, B, C = (make_origin(bytes([n]) * 16, 1) for n in (1, 2, 3))


class Node:
    """One program's state of one field."""

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self.version: Version | None = None
        self.value: Any = None
        self.lost: list[Any] = []

    def edit(self, at: int, value: Any) -> None:
        self.version, self.value = edit(at, self.origin, self.version), value

    def take(self, version: Version | None, value: Any) -> Merged:
        merged = merge_field(self.version, version, equal=self.value == value)
        if merged.outcome.conflict:
            self.lost.append(self.value if merged.outcome.writes else value)
        if merged.outcome.writes:
            self.value = value
        self.version = merged.version
        return merged


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        (None, None, Outcome.BASELINE),
        (Version(5, A), None, Outcome.BASELINE),
        (None, Version(5, A), Outcome.APPLY),
        (Version(5, A), Version(5, A), Outcome.DUPLICATE),
        (Version(5, A), Version(6, A), Outcome.APPLY),
        (Version(6, A), Version(5, A), Outcome.KEEP),
        (Version(5, A), Version(7, B, ((A, 5),)), Outcome.APPLY),
        (Version(7, B, ((A, 5),)), Version(5, A), Outcome.KEEP),
        (Version(5, A), Version(7, B), Outcome.CONFLICT_APPLY),
        (Version(7, B), Version(5, A), Outcome.CONFLICT_KEEP),
        (Version(5, A), Version(5, B), Outcome.CONFLICT_APPLY),
        (Version(6, A), Version(7, B, ((A, 5),)), Outcome.CONFLICT_APPLY),
    ],
)
def test_outcomes(ours: Version | None, theirs: Version | None, outcome: Outcome) -> None:
    assert merge_field(ours, theirs, equal=False).outcome is outcome


def test_equal_values_are_no_conflict() -> None:
    assert merge_field(Version(5, A), Version(7, B), equal=True).outcome is Outcome.APPLY
    assert merge_field(Version(7, B), Version(5, A), equal=True).outcome is Outcome.KEEP


def test_a_loser_that_was_seen_is_no_conflict_later() -> None:
    """B merged A's edit and edits again: A must not call that a conflict, although it skipped B's first edit."""
    a, b = Node(A), Node(B)
    a.edit(10, "a")
    b.edit(12, "b")
    b.take(a.version, a.value)
    b.edit(13, "b2")
    assert a.take(b.version, b.value).outcome is Outcome.APPLY
    assert (b.lost, a.lost) == (["a"], [])


edits = st.lists(
    st.tuples(
        st.sampled_from("ABC"),
        st.integers(1, 30),
        st.sampled_from(["edit", "AB", "AC", "BA", "BC", "CA", "CB"]),
    ),
    max_size=14,
)


@settings(max_examples=300)
@given(edits, st.randoms(use_true_random=False))
def test_three_nodes_converge_in_any_order(steps: list[tuple[str, int, str]], rng: Any) -> None:
    nodes = {"A": Node(A), "B": Node(B), "C": Node(C)}
    states: dict[tuple[int, bytes], tuple[Version, Any]] = {}
    for number, (name, at, what) in enumerate(steps):
        if what == "edit":
            nodes[name].edit(at, f"{name}{number}")
        else:
            source, target = nodes[what[0]], nodes[what[1]]
            target.take(source.version, source.value)
        for node in nodes.values():
            if node.version is not None:
                states[node.version.stamp] = (node.version, node.value)
    results = set()
    for _ in range(4):
        order = list(states.values()) * 2
        rng.shuffle(order)
        for node in (Node(A), Node(B), Node(C)):
            for version, value in order:
                node.take(version, value)
            results.add((node.version.stamp if node.version else None, node.value))
    assert len(results) == 1
    newest = max(states, default=None)
    assert results == {(newest, states[newest][1] if newest else None)}


def test_all_orders_of_a_few_versions() -> None:
    versions = [
        (Version(5, A), "a"),
        (Version(7, B, ((A, 5),)), "b"),
        (Version(6, C), "c"),
        (Version(7, A), "d"),
    ]
    finals = set()
    for order in itertools.permutations(versions):
        node = Node(A)
        for version, value in order:
            node.take(version, value)
        assert node.version is not None
        finals.add((node.version, node.value))
    assert len(finals) == 1
    assert finals.pop()[1] == "b"
