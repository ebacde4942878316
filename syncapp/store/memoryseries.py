"""Shared series in memory: the part of `store.memory` for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from syncapp.core.series import Book
from syncapp.store.memorydata import MemoryDatabase
from syncapp.store.seriesbase import SeriesInfo


class MemorySeries:
    """Implements `seriesbase.SeriesBackend`."""

    database: MemoryDatabase

    def book(self, field: int) -> Book:
        known = self.database.books.get(field)
        # A copy, as out of a database.
        return Book() if known is None else msgspec.msgpack.decode(msgspec.msgpack.encode(known), type=Book)

    peek = book

    def save_book(self, field: int, book: Book) -> None:
        self.database.put(self.database.books, field, book)

    def requests(self, field: int, now: int) -> int:
        return sum(until > now for until in self.database.number_requests[field])

    def provisional(self, info: SeriesInfo) -> list[str]:
        open_ones = [value for value, final in self.database.provisional[info.field].items() if not final]
        there = set(self.field_values(info))
        return [value for value in open_ones if info.known(value) in there]

    def finish(self, info: SeriesInfo, provisional: str, number: int, now: int) -> bool:
        final, rows = info.value(number), self.database.tables[info.table]
        having = [pk for pk, row in rows.items() if row.get(info.field) == info.known(provisional)]
        for pk in having:
            self.database.write(info.table, pk, {info.field: final})
        if having:
            self.database.put(self.database.provisional[info.field], provisional, str(final))
        return bool(having)

    def field_values(self, info: SeriesInfo) -> Iterable[Any]:
        return [row.get(info.field) for row in self.database.tables[info.table].values()]

    def has_value(self, info: SeriesInfo, value: Any) -> bool:
        return value in self.field_values(info)
