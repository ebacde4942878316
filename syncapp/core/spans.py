"""Sets of whole numbers as spans: sorted, apart, both ends within."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """The numbers from ``low`` to ``high``, both of them too."""

    low: int
    high: int

    def text(self) -> str:
        """For people: ``7``, or ``7–12``."""
        return str(self.low) if self.low == self.high else f"{self.low}–{self.high}"


Spans = tuple[Span, ...]


def normal(spans: Iterable[Span]) -> Spans:
    """The same numbers, sorted, with neighbours joined; what holds no number is left out."""
    found: list[Span] = []
    for low, high in sorted(span for span in spans if span.low <= span.high):
        if found and low <= found[-1].high + 1:
            found[-1] = Span(found[-1].low, max(found[-1].high, high))
        else:
            found.append(Span(low, high))
    return tuple(found)


def of(numbers: Iterable[int]) -> Spans:
    """These numbers."""
    return normal(Span(number, number) for number in set(numbers))


def count(spans: Iterable[Span]) -> int:
    """How many numbers there are; of spans that are apart."""
    return sum(high - low + 1 for low, high in spans)


def top(spans: Iterable[Span]) -> int:
    """The greatest of the numbers, or 0."""
    return max((span.high for span in spans), default=0)


def without(spans: Iterable[Span], taken: Iterable[Span]) -> Spans:
    """The numbers of ``spans`` that are not in ``taken``."""
    rest: list[Span] = []
    gone = normal(taken)
    at = 0
    for low, high in normal(spans):
        while at < len(gone) and gone[at].high < low:
            at += 1
        next_low, look = low, at
        while look < len(gone) and gone[look].low <= high:
            if gone[look].low > next_low:
                rest.append(Span(next_low, gone[look].low - 1))
            next_low = gone[look].high + 1
            look += 1
        if next_low <= high:
            rest.append(Span(next_low, high))
    return tuple(rest)


def cut(spans: Spans, wanted: int) -> tuple[Spans, Spans]:
    """The ``wanted`` smallest numbers (or all, if there are fewer), and what is left."""
    taken: list[Span] = []
    for place, (low, high) in enumerate(spans):
        if wanted <= 0:
            return tuple(taken), spans[place:]
        end = min(high, low + wanted - 1)
        taken.append(Span(low, end))
        wanted -= end - low + 1
        if end < high:
            return tuple(taken), (Span(end + 1, high), *spans[place + 1 :])
    return tuple(taken), ()
