"""Reads settings out of a TOML table, and collects all that is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from syncapp.errors import (
    MissingSetting,
    MisspeltSetting,
    NotAvailable,
    SyncError,
    UnknownSetting,
    WrongSetting,
)


class Reader:
    """One TOML table. Each method takes one key; `finish` reports the keys that nobody took.

    A missing key gives the default. A value of the wrong type is reported, and gives the default too.
    """

    def __init__(self, place: str, table: Mapping[str, Any], errors: list[SyncError]) -> None:
        self.place = place
        self.errors = errors
        self._table = table
        self._taken: list[str] = []

    def has(self, key: str) -> bool:
        return key in self._table

    def take(self, key: str) -> Any:
        """The value of ``key`` as it is, None where it is missing; it counts as known from now on."""
        self._taken.append(key)
        return self._table.get(key)

    def required(self, key: str) -> None:
        """Report ``key`` if it is missing."""
        if not self.has(key):
            self.errors.append(MissingSetting(place=self.place, key=key))

    def wrong(self, key: str, expected: str) -> None:
        """Report that the value of ``key`` is not what it must be."""
        found = describe(self._table.get(key))
        self.errors.append(WrongSetting(place=self.place, key=key, expected=expected, found=found))

    def unavailable(self, key: str, what: str) -> None:
        """Report ``key``, if present, as something that this version does not do."""
        if self.take(key) is not None:
            self.errors.append(NotAvailable(place=self.place, what=what))

    def text(self, key: str, default: str = "", most: int = 500) -> str:
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.wrong(key, "a text")
            return default
        value = value.strip()
        if len(value) > most or not value.isprintable():
            self.wrong(key, f"a text of at most {most} printable characters")
            return default
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong(key, "true or false")
            return default
        return value

    def number(self, key: str, low: float = 0, high: float = 2**53, *, whole: bool = False) -> float:
        """A number from ``low`` to ``high``; ``whole``: without a fraction. Missing: 0."""
        value = self.take(key)
        if value is None:
            return 0
        good = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or not low <= value <= high:
            self.wrong(key, f"a {'whole ' if whole else ''}number {_range(low, high)}")
            return 0
        number: float = value
        return number

    def choice(self, key: str, options: Collection[str], default: str = "") -> str:
        """One of ``options``. ``default`` where it is missing or wrong."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, str) or value not in options:
            self.wrong(key, " or ".join(options))
            return default
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of different texts."""
        value = self.take(key)
        if value is None:
            return ()
        good = isinstance(value, list) and all(isinstance(item, str) and item for item in value)
        if not good or len(set(value)) != len(value):
            self.wrong(key, "a list of different texts")
            return ()
        return tuple(value)

    def table(self, key: str) -> dict[str, Any]:
        value = self.take(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(key, "a table")
            return {}
        return value

    def tables(self, key: str) -> list[dict[str, Any]]:
        """A list of tables (``[[key]]``)."""
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.wrong(key, f"a list of tables, each starting with [[{key}]]")
            return []
        return value

    def finish(self) -> None:
        """Report the keys that are not known here."""
        for key in self._table:
            if key in self._taken:
                continue
            guess = get_close_matches(key.lower(), self._taken, n=1, cutoff=0.6)
            if guess:
                self.errors.append(MisspeltSetting(place=self.place, key=key, guess=guess[0]))
            else:
                self.errors.append(
                    UnknownSetting(place=self.place, key=key, offer=", ".join(dict.fromkeys(self._taken)))
                )


def describe(value: Any) -> str:
    """A value of a file, for an error: short, and without the content of tables."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 80 else text[:79] + "…"


def _range(low: float, high: float) -> str:
    return f"from {low:g} to {high:g}" if high < 2**53 else f"of {low:g} or more"
