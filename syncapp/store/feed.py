"""Reading the feed: what a link's peer has not seen, as a batch. Runs within the caller's transaction.

The journal is sealed first, in the same transaction, so that a value never travels under an older version.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from syncapp.core.changes import (
    WHOLE,
    Batch,
    Cursor,
    Entry,
    Record,
    Row,
    RowKind,
    Section,
    WireVersion,
    split_uids,
)
from syncapp.core.clock import Version, instance_of
from syncapp.core.mapping import Agreement, Kind
from syncapp.core.relations import MatchKey
from syncapp.core.rules import Merge
from syncapp.store import partwire
from syncapp.store.base import Backend, BadValue, ProblemRow, Setup
from syncapp.store.changing import change_out
from syncapp.store.filters import RowFilters
from syncapp.store.identity import Uids
from syncapp.store.options import option_maps
from syncapp.store.outgoing import outgoing
from syncapp.store.sealing import Numbering, seal_rows
from syncapp.store.systemvalues import fill_in, is_kept, value_of
from syncapp.store.unsendable import outgoing_problem


class ReadResult(NamedTuple):
    """A batch (None: nothing for this peer), how far the feed was looked through, whether there is more."""

    batch: Batch | None
    position: Cursor
    more: bool


class Peer(msgspec.Struct, frozen=True):
    """To whom a read goes: the link, what flows, the peer's instance id; up to where it has every single change.

    ``again``: up to there everything goes to it, also what came from it: its database was restored from a backup.
    ``restored``: ours was once, or its own; then what it edited itself may come to us by another way only, and not to
    it.
    ``offered``: records up to this id may have been sent to it.
    """

    link: int
    agreement: Agreement
    instance: bytes
    clear: int = 0
    again: int = 0
    restored: bool = False
    offered: int = 0


class Picked(NamedTuple):
    """A record to send: its kind and the local numbers of the fields that go."""

    record: Record
    kind: RowKind
    fields: tuple[int, ...]


def pick(
    record: Record, peer: Peer, clear: int, *, paired: bool, filtered: Collection[int] = (), status: int = 0
) -> Picked | None:
    """What of ``record`` goes to ``peer``: changes numbered above ``clear`` that it has not told us itself.

    Not only those above the reader's position: a record that changed again moved on in the feed, and the position may
    have passed the number of its earlier change meanwhile. Up to ``clear`` there is no such change left.
    The same holds for a record that was fed whole (see `feed_again`), whatever changed in it since.
    One that the peer lacks or that comes back into the row filter, whose fields are ``filtered``, goes whole too.
    So does one whose ``status`` changed: the peer may have deleted it.
    """
    out = peer.agreement.out_fields(record.table)
    if not out:
        return None
    fields = [
        field
        for field, entry in record.entries.items()
        if entry.seq > clear and field in out and not _from_peer(entry, peer)
    ]
    note = record.entries.get(WHOLE)
    whole = note is not None and note.seq > clear and (note.via != peer.link or note.seq <= peer.again)
    if not record.alive:
        # Names that were to be told are told with its end: the peer may have a row by one of them.
        names = whole and status in out and status in record.entries
        return Picked(record, RowKind.DELETED, (status,)) if status in fields or names else None
    entering = not paired and any(
        field in record.entries and record.entries[field].seq > clear for field in filtered
    )
    if not (fields or whole or entering):
        return None
    if whole or not paired or status in fields:
        return Picked(record, RowKind.WHOLE, whole_fields(record, out))
    return Picked(record, RowKind.FIELDS, tuple(sorted(fields)))


def whole_fields(record: Record, out: Iterable[int]) -> tuple[int, ...]:
    """Those of the fields ``out`` that a whole record has for others: not what was emptied for want of a target."""
    entries = record.entries
    return tuple(sorted(field for field in out if field not in entries or entries[field].seq))


def _from_peer(entry: Entry, peer: Peer) -> bool:
    if entry.seq <= peer.again:
        return False
    if entry.via == peer.link:
        return True
    # What is joined of parts may hold some that the author of the newest of them does not know.
    known = entry.via != 0 and not entry.parts and not peer.restored
    return known and instance_of(entry.version.origin) == peer.instance


class Gathered(NamedTuple):
    """What a read found, with everything that is needed to build the batch of it: no database any more."""

    items: list[Picked]
    aliases: Mapping[int, list[bytes]]
    position: Cursor
    more: bool


class FeedReader:
    """One read of the feed for one peer: `gather` within the transaction, `build` after it.

    Building takes as long as gathering; whoever writes to the database need not wait for it.
    """

    def __init__(self, backend: Backend, setup: Setup, peer: Peer, numbering: Numbering) -> None:
        self._backend = backend
        self._setup = setup
        self._peer = peer
        self._numbering = numbering
        self._uids = Uids(backend, numbering)
        self._filters = RowFilters(backend, setup, peer.link)
        link = setup.links.get(peer.link)
        self._transforms = link.transforms if link else {}
        self._maps = option_maps(link, peer.agreement) if link else {}
        self._values: dict[tuple[int, str], dict[int, Any]] = {}
        self._keys: dict[tuple[int, str], list[Any]] = {}
        self._names: dict[bytes, bytes] = {}
        self._leftover = False

    def gather(
        self, after: Cursor, records: int, size: int, *, leftover: bool, sealed: list[Record] | None = None
    ) -> Gathered:
        """Read on after ``after``: at most ``records`` records and about ``size`` bytes.

        ``leftover``: the journal was not drained whole, so rows of the records that are read are sealed first.
        ``sealed``: all records above ``after``, in order, where the caller has just sealed them.
        """
        self._leftover = leftover
        found = self._backend.records_after(after.seq, records) if sealed is None else sealed[:records]
        while leftover and self._seal_rows_of(found):
            found = self._backend.records_after(after.seq, records)
        full = len(found) == records
        head = self._numbering.close()
        picked, cut = self._load_some(self._pick(found), size)
        last = picked[-1].record.seq if cut else (found[-1].seq if full else head.seq)
        position = self._cursor(last, head)
        more = cut or full
        front = self._front(picked)
        self._numbering.close()
        self._park_bad()
        items = front + picked
        self._offer(items)
        aliases = self._backend.aliases([item.record.id for item in items]) if items else {}
        if items:
            self._backend.clear_unsendable(self._peer.link, self._good(items))
        return Gathered(items, aliases, position, more)

    def _offer(self, items: list[Picked]) -> None:
        """Note what is on its way: should it be deleted before the peer confirms it, the peer is told all the same."""
        newest = max((item.record.id for item in items if item.kind is RowKind.WHOLE), default=0)
        if newest > self._peer.offered:
            self._backend.offer(self._peer.link, newest)

    def build(self, after: Cursor, gathered: Gathered) -> ReadResult:
        """The batch of what was gathered; needs no database."""
        if not gathered.items:
            return ReadResult(None, gathered.position, gathered.more)
        batch = self._build(after, gathered.position, gathered.items, gathered.aliases)
        return ReadResult(batch, gathered.position, gathered.more)

    def _good(self, items: list[Picked]) -> list[tuple[bytes, int]]:
        """The (uid, field) whose values can be sent."""
        return [
            (item.record.uid, field)
            for item in items
            if (values := self._values.get((item.record.table, item.record.pk))) is not None
            for field in item.fields
            if not isinstance(values[field], BadValue)
        ]

    def _cursor(self, seq: int, head: Cursor) -> Cursor:
        if seq == head.seq:
            return head
        return Cursor(seq, self._backend.seal_tag(seq) or b"")

    def _seal_rows_of(self, records: list[Record]) -> bool:
        places = ((record.table, record.pk) for record in records)
        return seal_rows(self._backend, self._setup, places, self._numbering)

    def _pick(self, records: list[Record]) -> list[Picked]:
        wanted = [r for r in records if self._pick_one(r, paired=False) is not None]
        pairs = self._backend.pairs(self._peer.link, [r.id for r in wanted]) if wanted else {}
        stopped = self._stop(wanted, pairs)
        known = {r.id for r in wanted if r.alive or r.id in pairs or r.id <= self._peer.offered}
        known |= self._travelled([r for r in wanted if r.id not in known])
        passing = [r for r in wanted if r.id not in stopped and r.id in known]
        found = [self._pick_one(r, paired=pairs.get(r.id, 1) == 0) for r in passing]
        return [self._held(p) for p in found if p is not None]

    def _travelled(self, dead: list[Record]) -> set[int]:
        """Those of the records ``dead`` that another peer has, or may have: they may come to this one from there, by
        a road that tells of no deletions. It would not tell us of them if all that they hold is ours.
        """
        open_to_all = [record for record in dead if not self._filters.columns(record.table)]
        return {*self._backend.knowers(open_to_all)} if open_to_all else set()

    def _held(self, picked: Picked) -> Picked:
        """Without the system fields that nothing here holds a value of."""
        infos, record = self._setup.tables[picked.record.table].fields, picked.record
        fields = tuple(
            f
            for f in picked.fields
            if infos[f].stored
            or infos[f].type.kind is Kind.STATUS
            or (is_kept(infos[f]) and value_of(record, f) is not None)
        )
        return picked if len(fields) == len(picked.fields) else picked._replace(fields=fields)

    def _pick_one(self, record: Record, *, paired: bool) -> Picked | None:
        filtered = self._filters.columns(record.table)
        status = self._setup.tables[record.table].status
        return pick(record, self._peer, self._peer.clear, paired=paired, filtered=filtered, status=status)

    def _stop(self, records: list[Record], pairs: Mapping[int, int]) -> set[int]:
        """The records that the row filter keeps here; the peer's copies of them are noted as left behind."""
        stopped, unreadable, readable = self._filters.sift(records)
        if readable:
            self._backend.clear_unsendable(self._peer.link, readable)
        if not stopped:
            return stopped
        kept = [record for record in records if record.id in stopped]
        self._backend.mark_left(self._peer.link, {r.id: r.seq for r in kept if r.id in pairs})
        if self._setup.links[self._peer.link].log:
            self._backend.log_filtered(self._peer.link, [r.uid for r in kept])
        if unreadable:
            now = self._backend.now()
            self._backend.save_problems([self._problem(*item, now) for item in unreadable])
        return stopped

    def _load_some(self, picked: list[Picked], size: int) -> tuple[list[Picked], bool]:
        """`_cut`, loading in growing steps: large values beyond ``size`` are not even fetched."""
        end, step = 0, FIRST_STEP
        while end < len(picked):
            self._load(picked[end : end + step])
            end += step
            step *= 2
            taken, cut = _cut(picked[:end], self._values, size)
            if cut:
                return taken, True
        return picked, False

    def _load(self, picked: Iterable[Picked]) -> None:
        """Fetch the values of the picked records, and the uids of what they refer to."""
        by_table: dict[int, list[Picked]] = defaultdict(list)
        for item in picked:
            if item.record.alive:
                by_table[item.record.table].append(item)
        for table, items in by_table.items():
            status = self._setup.tables[table].status
            columns = sorted({field for item in items for field in item.fields})
            rows = self._backend.rows(table, [item.record.pk for item in items], columns)
            info = self._setup.tables[table]
            fill_in(info, [item.record for item in items], columns, rows)
            by_key = self._by_key(table)
            for pk, values in outgoing(self._backend, info, self._maps, by_key, columns, rows).items():
                self._values[table, pk] = values | {status: True}
            self._uids.learn(self._references(table, columns, rows.values()))
            self._learn_names(table, items)
            self._load_keys(table, items)

    def _load_keys(self, table: int, items: list[Picked]) -> None:
        """Fetch what the peer recognises records by, of those that go whole."""
        fields = self._keys_of(table)
        whole = [item.record.pk for item in items if item.kind is RowKind.WHOLE] if fields else []
        for pk, values in self._backend.rows(table, whole, fields).items() if whole else ():
            self._keys[table, pk] = [None if isinstance(value, BadValue) else value for value in values]

    def _keys_of(self, table: int) -> list[int]:
        flow = self._peer.agreement.tables.get(table)
        return list(flow.keys_out) if flow else []

    def _by_key(self, table: int) -> Mapping[int, MatchKey]:
        """The relations of ``table`` that travel by match fields of their targets, which then need not go along."""
        flow = self._peer.agreement.tables.get(table)
        return flow.match_out if flow else {}

    def _learn_names(self, table: int, items: list[Picked]) -> None:
        """What the elements of unions are called here, where they are not among those that stand in the row."""
        unions = {n: f for n, f in self._setup.tables[table].fields.items() if f.merge is Merge.UNION}
        unknown: set[bytes] = set()
        for item in items if unions else ():
            values = self._values.get((table, item.record.pk), {})
            for field in unions.keys() & values.keys() & item.record.entries.keys():
                there = set(self._uids.translate(unions[field].target, values[field] or []))
                unknown.update(p[0] for p in item.record.entries[field].parts if p[3] and p[0] not in there)
        if unknown:
            found = self._backend.records_by_uid(unknown)
            self._names |= {uid: record.uid for uid, record in found.items()}

    def _references(self, table: int, columns: list[int], rows: Collection[list[Any]]) -> dict[int, set[str]]:
        """target table → local keys that the relation columns of ``rows`` point to."""
        found: dict[int, set[str]] = defaultdict(set)
        for place, column in enumerate(columns):
            info = self._setup.tables[table].fields[column]
            if not info.target or column in self._by_key(table):
                continue
            for row in rows:
                value = row[place]
                if isinstance(value, str):
                    found[info.target].add(value)
                elif isinstance(value, list):
                    found[info.target].update(value)
        return found

    def _front(self, picked: list[Picked]) -> list[Picked]:
        """What the picked records refer to and the peer lacks, whole, what is referred to first."""
        front: list[Picked] = []
        taken = {item.record.uid for item in picked}
        level = picked
        while level:
            targets = self._targets(level) - taken
            taken |= targets
            records = list(self._uids.records(targets))
            if self._leftover and self._seal_rows_of(records):
                records = list(self._backend.records_by_uid([record.uid for record in records]).values())
            pairs = self._backend.pairs(self._peer.link, [r.id for r in records]) if records else {}
            lacking = [r for r in records if r.alive and pairs.get(r.id, 1)]
            stopped = self._filters.sift(lacking).stopped
            level = [
                self._held(Picked(r, RowKind.WHOLE, whole_fields(r, out)))
                for r in lacking
                if r.id not in stopped and (out := self._peer.agreement.out_fields(r.table))
            ]
            self._load(level)
            front = level + front
        return front

    def _targets(self, level: list[Picked]) -> set[bytes]:
        found: set[bytes] = set()
        for item in level:
            fields = self._setup.tables[item.record.table].fields
            values = self._values.get((item.record.table, item.record.pk), {})
            by_key = self._by_key(item.record.table)
            for field in item.fields:
                target = fields[field].target
                if target and field in values and field not in by_key:
                    found |= split_uids([self._uids.translate(target, values[field])])
        return found

    def _build(
        self, start: Cursor, end: Cursor, items: list[Picked], aliases: Mapping[int, list[bytes]]
    ) -> Batch:
        origins: dict[bytes, int] = {}
        sections: dict[tuple[int, tuple[int, ...], bool], Section] = {}
        for item in items:
            values = self._values_of(item)
            if values is None:
                continue  # deleted meanwhile: the journal knows
            fields = _sendable(item, values)
            if not fields:
                continue
            row = self._row(item, fields, values, origins)
            row.aliases = aliases.get(item.record.id, [])
            row.keys = self._keys.get((item.record.table, item.record.pk), [])
            key = (item.record.table, fields, bool(row.keys))
            section = sections.get(key)
            if section is None:
                keys = self._keys_of(item.record.table) if row.keys else []
                section = sections[key] = Section(item.record.table, list(fields), [], keys)
            section.rows.append(row)
        return Batch(start, end, list(origins), list(sections.values()))

    def _values_of(self, item: Picked) -> dict[int, Any] | None:
        if not item.record.alive:  # another record's row may stand at its key by now
            return dict.fromkeys(item.fields, False)
        return self._values.get((item.record.table, item.record.pk))

    def _row(
        self, item: Picked, fields: tuple[int, ...], values: dict[int, Any], origins: dict[bytes, int]
    ) -> Row:
        record = item.record
        infos = self._setup.tables[record.table].fields
        versions = [_wire(record.entries.get(field), origins) for field in fields]
        if len(versions) > 1 and all(version == versions[0] for version in versions):
            versions = versions[:1]
        cells = [
            self._uids.translate(infos[field].target, values[field])
            if infos[field].type.kind in (Kind.RELATION, Kind.RELATIONS)
            else values[field]
            for field in fields
        ]
        change_out(self._transforms, fields, cells)
        for place, field in enumerate(fields):
            if infos[field].merge is not Merge.VALUE and (entry := record.entries.get(field)) is not None:
                parts = partwire.sendable(infos[field], entry, cells[place], self._names)
                cells[place] = partwire.pack(infos[field], parts, origins)
        return Row(record.uid, int(item.kind), versions, cells)

    def _park_bad(self) -> None:
        now = self._backend.now()
        problems = []
        for (table, pk), values in self._values.items():
            for field, value in values.items():
                if isinstance(value, BadValue):
                    record = self._uids.record(table, pk)
                    if record is not None:
                        problems.append(self._problem(record, field, value, now))
        if problems:
            self._backend.save_problems(problems)

    def _problem(self, record: Record, field: int, value: BadValue, now: int) -> ProblemRow:
        return outgoing_problem(self._setup, self._peer.link, record, field, value, now)


def _sendable(item: Picked, values: dict[int, Any]) -> tuple[int, ...]:
    if not any(isinstance(values[field], BadValue) for field in item.fields):
        return item.fields
    return tuple(field for field in item.fields if not isinstance(values[field], BadValue))


def _wire(entry: Entry | None, origins: dict[bytes, int]) -> WireVersion | None:
    return None if entry is None else wire_version(entry.version, origins)


def wire_version(version: Version, origins: dict[bytes, int]) -> WireVersion:
    """A version with its origins as indexes into ``origins``, which grows as needed."""
    index = origins.setdefault(version.origin, len(origins))
    if not version.seen:
        return WireVersion(version.time, index)
    seen = tuple((origins.setdefault(origin, len(origins)), time) for origin, time in version.seen)
    return WireVersion(version.time, index, seen)


#: Records whose values are fetched at once to begin with; each further step takes twice as many.
FIRST_STEP = 16


def _cut(
    picked: list[Picked], values: dict[tuple[int, str], dict[int, Any]], size: int
) -> tuple[list[Picked], bool]:
    """As many records, in feed order, as fit about ``size`` bytes; at least one. Whether some were cut off."""
    total = 0
    for i, item in enumerate(picked):
        row = values.get((item.record.table, item.record.pk), {})
        total += 48 + sum(_weight(row.get(field)) for field in item.fields)
        if total > size and i + 1 < len(picked):
            return picked[: i + 1], True
    return picked, False


def _weight(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list)) else 9
