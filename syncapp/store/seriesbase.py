"""What the store's logic has to know of shared series, and what a `Backend` does for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from syncapp.core.mapping import FieldType, Kind
from syncapp.core.numberformat import WIDEST, NumberFormat, read_format
from syncapp.core.series import Book


class SeriesInfo(msgspec.Struct, frozen=True):
    """A field with a shared series, as configured. ``owned``: by this program; ``limit``: the greatest number."""

    table: int
    field: int
    label: str
    owner: str
    owned: bool
    contiguous: bool
    pattern: str
    type: FieldType
    limit: int

    @property
    def mode(self) -> str:
        return "contiguous" if self.contiguous else "ranges"

    @property
    def format(self) -> NumberFormat:
        return read_format(self.pattern) or NumberFormat()

    def value(self, number: int) -> Any:
        """The field's value for a number."""
        return self.format.text(number) if self.type.kind is Kind.TEXT else number

    def number(self, value: Any) -> int | None:
        """The number that a value shows; None for one that is not of the series."""
        if isinstance(value, str):
            return self.format.number(value)
        return value if isinstance(value, int) and value >= 0 else None

    def known(self, value: str) -> Any:
        """A provisional value as the field has it, from the text that is kept of it."""
        return value if self.type.kind is Kind.TEXT else int(value)


def limit_of(pattern: str, type: FieldType) -> int:
    """The greatest number that a field of this type takes; 0: none."""
    if type.kind is Kind.TEXT:
        return (read_format(pattern) or NumberFormat()).limit(type.length)
    greatest: int = int("9" * WIDEST)
    return min(greatest, type.high or greatest)


class SeriesBusy(Exception):
    """A transaction of the program's own has the book. The engine never waits for users: it comes again."""


class SeriesBackend(Protocol):
    """Part of `base.Backend`. All of it is called within a transaction."""

    def book(self, field: int) -> Book:
        """The book of a declared series, kept from others until the transaction ends. Raises `SeriesBusy`."""
        ...

    def peek(self, field: int) -> Book:
        """The same, only to look at."""
        ...

    def save_book(self, field: int, book: Book) -> None: ...

    def requests(self, field: int, now: int) -> int:
        """How many saves wait for a number."""
        ...

    def provisional(self, info: SeriesInfo) -> list[str]:
        """The provisional values that records have, oldest first."""
        ...

    def finish(self, info: SeriesInfo, provisional: str, number: int, now: int) -> bool:
        """Give the record with a provisional value its number, as a user would.

        False if there is no such record, or somebody has it at present.
        """
        ...

    def field_values(self, info: SeriesInfo) -> Iterable[Any]:
        """All values of the field, in any order."""
        ...

    def has_value(self, info: SeriesInfo, value: Any) -> bool:
        """Whether a record has this value."""
        ...
