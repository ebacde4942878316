"""How numbers of a series are written: a pattern with one place for the number, and nothing else in it."""

from __future__ import annotations

import re
from typing import NamedTuple

_PATTERN = re.compile(r"([^{}]*)\{(?::(0[1-9][0-9]?)?d?)?\}([^{}]*)")
#: The widest number.
WIDEST = 18


class NumberFormat(NamedTuple):
    """``prefix`` + number, filled with zeros to ``width`` + ``suffix``."""

    prefix: str = ""
    width: int = 0
    suffix: str = ""

    def text(self, number: int) -> str:
        return f"{self.prefix}{number:0{self.width}d}{self.suffix}"

    def number(self, text: str) -> int | None:
        """The number that ``text`` shows; None where it is no number of this series."""
        inner = text.removeprefix(self.prefix).removesuffix(self.suffix)
        if len(inner) != len(text) - len(self.prefix) - len(self.suffix) or not 0 < len(inner) <= WIDEST:
            return None
        if not (inner.isascii() and inner.isdigit()):
            return None
        number = int(inner)
        return number if self.text(number) == text else None

    def limit(self, length: int | None) -> int:
        """The greatest number that a text of ``length`` characters can show; 0: none."""
        room = WIDEST if length is None else length - len(self.prefix) - len(self.suffix)
        return 0 if room < max(1, self.width) else int("9" * min(room, WIDEST))


def read_format(pattern: str) -> NumberFormat | None:
    """The format that ``pattern`` describes, such as ``INV-{:06}``; None where it describes none.

    Deliberately not Python's own: a pattern of theirs could reach into objects.
    """
    found = _PATTERN.fullmatch(pattern)
    if found is None:
        return None
    prefix, width, suffix = found.groups()
    if len(width or "") and int(width) > WIDEST:
        return None
    if prefix[-1:].isdigit() or suffix[:1].isdigit():
        return None  # where does the number begin?
    return NumberFormat(prefix, int(width or 0), suffix)
