"""Row filters: which records of a table a link sends.

A filter names columns of the table itself and the values that let a record pass: all of the columns must hold one of
theirs. What is decided is the row as it stands now.

* A record that does not pass is not sent. Where the peer has it already (it *left* the filter), it stays there as it
  was; its pair remembers the newest change that was kept from the peer.
* A record that passes and has no such pair, or none at all, goes whole: it brings everything that the peer missed.
* What comes in is not filtered, and neither are deletions of records that the peer has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from syncapp.core.changes import Record
from syncapp.core.effects import Acked
from syncapp.core.mapping import SUSPENDED_FILTER, Agreement, Suspended
from syncapp.store.base import Backend, BadValue, LinkInfo, Setup

Filter = Mapping[int, tuple[Any, ...]]
"""Field number → the wire values that let a record pass."""


def matches(filter: Filter, values: Mapping[int, Any]) -> bool:
    """Whether a row with these values passes. A value that cannot be read passes nothing."""
    return all(any(_same(values.get(field), allowed) for allowed in filter[field]) for field in filter)


def _same(value: Any, allowed: Any) -> bool:
    # True is not 1 here: a truth value and a number are different values of different kinds of field.
    return value is allowed or (value == allowed and isinstance(value, bool) is isinstance(allowed, bool))


class Unreadable(NamedTuple):
    """A value that a filter asks about and that cannot be read, so that the record does not pass."""

    record: Record
    field: int
    value: BadValue


class Sieve(NamedTuple):
    """What `RowFilters.sift` found: ids of the records that do not pass, values that cannot be read, and (uid, field)
    of those that can.
    """

    stopped: set[int]
    unreadable: list[Unreadable]
    readable: list[tuple[bytes, int]]


class RowFilters:
    """The row filters of one link."""

    def __init__(self, backend: Backend, setup: Setup, link: int) -> None:
        self._backend = backend
        self._setup = setup
        self._filters = setup.links[link].filters if link in setup.links else {}

    def columns(self, table: int) -> Collection[int]:
        """The fields that the filter of ``table`` asks about; none where it has no filter."""
        return self._filters.get(table, ())

    def sift(self, records: Iterable[Record]) -> Sieve:
        """Ask the filters about the rows as they stand. Rows that are gone pass: their deletion is not filtered."""
        by_table: dict[int, list[Record]] = defaultdict(list)
        for record in records:
            if record.alive and record.table in self._filters:
                by_table[record.table].append(record)
        found = Sieve(set(), [], [])
        for table, group in by_table.items():
            self._sift_table(table, group, found)
        return found

    def _sift_table(self, table: int, records: list[Record], found: Sieve) -> None:
        filter = self._filters[table]
        columns = sorted(filter)
        rows = self._backend.rows(table, [record.pk for record in records], columns)
        for record in records:
            row = rows.get(record.pk)
            if row is None:
                continue  # deleted meanwhile: the journal knows
            values = dict(zip(columns, row, strict=True))
            if not matches(filter, values):
                found.stopped.add(record.id)
            for field, value in values.items():
                if isinstance(value, BadValue):
                    found.unreadable.append(Unreadable(record, field, value))
                else:
                    found.readable.append((record.uid, field))


def touches(setup: Setup, link: int, table: int, fields: Iterable[int]) -> bool:
    """Whether a change of ``fields`` may let a record of ``table`` into the link's filter, or out of it."""
    return not setup.links[link].filters.get(table, {}).keys().isdisjoint(fields)


def arrived(backend: Backend, link: int, records: Iterable[Record], ack: Acked) -> None:
    """Records that went whole are at the peer: pair them.

    A change that was kept from the peer before the batch was read is in it. One since then may have been kept while the
    record had no pair to note that on: of filtered tables, such records are taken as left, and go whole once more.
    """
    records = list(records)
    whole = ack.whole or ack.start.seq
    backend.add_pairs(link, {record.id for record in records}, whole)
    filters = backend.setup().links[link].filters
    later = {record.id: record.seq for record in records if record.seq > whole and record.table in filters}
    if later:
        backend.mark_left(link, later)


def withhold(link: LinkInfo, agreement: Agreement) -> None:
    """Let nothing out of tables whose filter cannot be told any more: better late than to whom it must not go."""
    for table, column in link.shut.items():
        flow = agreement.tables.get(table)
        if flow is None:
            continue
        held, flow.out = flow.out, {}
        agreement.suspended += [Suspended(field, SUSPENDED_FILTER, {"column": column}) for field in held]


def again(
    filters: RowFilters, backend: Backend, link: int, agreement: Agreement, records: list[Record]
) -> list[Record]:
    """Which of ``records`` the peer lacks, or has as they were when they left, though they pass now."""
    wanted = [record for record in records if _concerns(record, filters, agreement)]
    pairs = backend.pairs(link, [record.id for record in wanted]) if wanted else {}
    missed = [record for record in wanted if pairs.get(record.id, 1)]
    stopped = filters.sift(missed).stopped
    return [record for record in missed if record.id not in stopped]


def _concerns(record: Record, filters: RowFilters, agreement: Agreement) -> bool:
    fields = {*agreement.out_fields(record.table), *filters.columns(record.table)}
    return record.alive and not fields.isdisjoint(record.entries)
