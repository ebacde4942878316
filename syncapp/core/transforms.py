"""What a one-way mapping may do to values on their way: a closed list, since no code comes from a file or the panel.

=========  =============================================================================================
strip      a text without spaces around it
upper      a text in capital letters
lower      a text in small letters
phone      a phone number without spaces, brackets and dashes: ``+7 (912) 345-67-89`` → ``+79123456789``
default    a value where there is none: null, or an empty text
map        another value for each of those that are listed; the others stay
=========  =============================================================================================

Steps are taken in their order. Each gives the same result whenever it meets the same value, so that a repeated
delivery is recognised as one. Values are in wire form, and what a step is not made for passes unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from syncapp.core.mapping import Kind

#: Steps that take no argument, and the kinds of fields that they are for.
PLAIN = ("strip", "upper", "lower", "phone")
NAMES = (*PLAIN, "default", "map")
_TEXT = frozenset({Kind.TEXT})
KINDS: Mapping[str, frozenset[Kind]] = {
    **dict.fromkeys(PLAIN, _TEXT),
    "default": frozenset(
        {
            *(Kind.TEXT, Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT, Kind.BOOLEAN),
            *(Kind.DATE, Kind.TIME, Kind.DATETIME, Kind.UUID),
        }
    ),
    "map": frozenset({Kind.TEXT, Kind.INTEGER, Kind.BOOLEAN}),
}


class ValueMap:
    """A table of values: what stands for what on the other side. Unlisted values stand for themselves."""

    __slots__ = ("_there",)

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        self._there: dict[tuple[type, Any], Any] = {(here.__class__, here): there for here, there in pairs}

    def get(self, value: Any) -> Any:
        """What stands for ``value``."""
        try:
            return self._there.get((value.__class__, value), value)
        except TypeError:  # a list or a dictionary is never listed
            return value

    def lists(self, value: Any) -> bool:
        """Whether the table says anything of ``value``."""
        try:
            return (value.__class__, value) in self._there
        except TypeError:
            return False

    def pairs(self) -> list[tuple[Any, Any]]:
        return [(here, there) for (_, here), there in self._there.items()]

    def back(self) -> ValueMap | None:
        """The table read from the other side; None where two values stand for one, so that there is no way back."""
        pairs = self.pairs()
        there = {(value.__class__, value) for _, value in pairs}
        return ValueMap((value, here) for here, value in pairs) if len(there) == len(pairs) else None

    def one_way(self, value: Any) -> bool:
        """Whether ``value``, unlisted, would come back as another: it stands for a listed one on the other side."""
        return self.get(value) == value and any(
            there == value and there.__class__ is value.__class__ and here != value
            for here, there in self.pairs()
        )


class Step(NamedTuple):
    """One step: its name, and for default the value, for map the table."""

    name: str
    argument: Any = None

    def take(self, value: Any) -> Any:
        """``value`` after this step."""
        if self.name == "map":
            return self.argument.get(value)
        if self.name == "default":
            return self.argument if value is None or value == "" else value
        return _TEXTS[self.name](value) if isinstance(value, str) else value


def transform(steps: Iterable[Step], value: Any) -> Any:
    """``value`` after all ``steps``."""
    for step in steps:
        value = step.take(value)
    return value


_LETTERS = re.compile(r"[^\W\d_]+")


def phone(text: str) -> str:
    """A phone number in its shortest form; an extension stays, behind an ``x``. A text without digits is only stripped.

    ``00`` in front is a plus. Nothing is guessed about the country: 8 912… and +7 912… stay different numbers.
    """
    parts = [(_digits(part), part) for part in _LETTERS.split(text)]
    numbers = [(digits, part) for digits, part in parts if digits]
    if not numbers:
        return text.strip()
    (number, written), *extension = numbers
    if written.lstrip(" (\u00a0\t").startswith("+"):
        number = f"+{number}"
    elif number.startswith("00") and len(number) > 2:
        number = f"+{number[2:]}"
    return "x".join([number, *(digits for digits, _ in extension)])


def _digits(text: str) -> str:
    return "".join(str(int(character)) for character in text if character.isdecimal())


_TEXTS: Mapping[str, Callable[[str], str]] = {
    "strip": str.strip,
    "upper": str.upper,
    "lower": str.lower,
    "phone": phone,
}
