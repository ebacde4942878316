"""Sets of numbers as spans, against sets of numbers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from syncapp.core.spans import Span, count, cut, normal, of, top, without

SPANS = st.lists(st.builds(lambda low, more: Span(low, low + more), st.integers(1, 40), st.integers(-1, 6)))


def numbers(spans: object) -> set[int]:
    return {number for low, high in spans for number in range(low, high + 1)}  # type: ignore[attr-defined]


@given(SPANS)
def test_normal_is_sorted_apart_and_the_same(spans: list[Span]) -> None:
    found = normal(spans)
    assert numbers(found) == numbers(spans)
    assert all(one.high + 1 < other.low for one, other in pairwise(found))
    assert of(numbers(spans)) == found
    assert count(found) == len(numbers(spans))
    assert top(found) == max(numbers(spans), default=0)


@given(SPANS, SPANS)
def test_without(spans: list[Span], taken: list[Span]) -> None:
    assert normal(without(spans, taken)) == without(spans, taken)
    assert numbers(without(spans, taken)) == numbers(spans) - numbers(taken)


@given(SPANS, st.integers(-1, 60))
def test_cut(spans: list[Span], wanted: int) -> None:
    taken, rest = cut(normal(spans), wanted)
    assert sorted(numbers(spans)) == sorted(numbers(taken)) + sorted(numbers(rest))
    assert count(taken) == min(max(wanted, 0), len(numbers(spans)))


def test_text() -> None:
    assert [Span(7, 7).text(), Span(7, 9).text()] == ["7", "7–9"]
