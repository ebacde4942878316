"""Sealing: journal rows become stamped, numbered changes. Runs within the caller's transaction.

A journal row says only "look at this record, these fields, since this time"; what is there now decides. A row that
is gone was deleted, whatever else the journal says of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from syncapp.core.changes import Cursor, Entry, JournalRow, Op, Record
from syncapp.core.clock import edit, epoch_of
from syncapp.core.liveness import bury, known_together
from syncapp.core.mapping import Kind
from syncapp.store.base import UNKNOWN, Backend, FieldInfo, LogRow, Setup, TableInfo
from syncapp.store.combining import Edits
from syncapp.store.duplicates import spare
from syncapp.store.naming import Names, uid_at
from syncapp.store.questions import review
from syncapp.store.softly import dead_rows
from syncapp.store.systemvalues import Beginnings, fill_in
from syncapp.store.waited import Waited

TAG_BYTES = 8
#: Records whose values are fetched for the log at once.
LOG_SLICE = 50


class Numbering:
    """Hands out the feed numbers of one seal: one tag, consecutive numbers from the head on."""

    def __init__(self, backend: Backend, random_bytes: Callable[[int], bytes]) -> None:
        self._backend = backend
        self.random = random_bytes
        self._state = backend.instance()
        self._next = self._state.head.seq
        #: Whether a number was given to anything else than what is being applied.
        self.local = False
        self.origin = self._state.origin
        #: What this run of the process knows of edits from before it.
        self.waited = Waited()

    @property
    def head(self) -> Cursor:
        return self._state.head

    @property
    def epoch(self) -> int:
        """The program's own, whatever epoch its edits are made in (see `store.runs`)."""
        return epoch_of(self._state.origin)

    def next(self, *, incoming: bool = False) -> int:
        """The next number; ``incoming``: for a change of the peer that is being applied."""
        self._next += 1
        self.local = self.local or not incoming
        return self._next

    def close(self) -> Cursor:
        """Store the new head if any number was given; returns the head."""
        if self._next > self._state.head.seq:
            self._state.head = Cursor(self._next, self.random(TAG_BYTES))
            self._backend.set_head(self._state.head)
        return self._state.head


def seal(backend: Backend, setup: Setup, rows: Iterable[JournalRow], numbering: Numbering) -> list[Record]:
    """Stamp and number what ``rows`` point at; the records that this numbered, in the order of their numbers."""
    sealed: list[Record] = []
    by_table: dict[int, dict[str, list[JournalRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_table[row.table][row.pk].append(row)
    for row in numbering.waited.rest(backend, setup, by_table):
        by_table[row.table][row.pk].append(row)
    names = Names(backend, numbering.origin, numbering.random, by_table)
    edits = Edits(
        backend,
        setup,
        by_table,
        lambda table, pk: Record(0, table, pk, names.of(table, pk), entries={}),
        numbering.waited,
    )
    for table, by_pk in by_table.items():
        if table in setup.tables:
            sealed += _seal_table(backend, setup, table, by_pk, numbering, edits, names)
    return sealed


def seal_rows(
    backend: Backend,
    setup: Setup,
    places: Iterable[tuple[int, str]],
    numbering: Numbering,
    also: Sequence[JournalRow] = (),
) -> bool:
    """Seal what the journal has of the rows ``places`` (table, local key), and ``also`` after it.

    Returns whether the journal had anything.
    """
    by_table: dict[int, set[str]] = defaultdict(set)
    for table, pk in places:
        by_table[table].add(pk)
    journal = [row for table, pks in by_table.items() for row in backend.drain_rows(table, pks)]
    if journal or also:
        seal(backend, setup, [*journal, *also], numbering)
    return bool(journal)


def _seal_table(
    backend: Backend,
    setup: Setup,
    table: int,
    by_pk: dict[str, list[JournalRow]],
    numbering: Numbering,
    edits: Edits,
    names: Names,
) -> list[Record]:
    captured = [n for n, f in setup.tables[table].fields.items() if n in setup.captured and _stamped(f)]
    status = setup.tables[table].status
    records = backend.records_by_pk(table, by_pk)
    soft = setup.tables[table].soft is not None
    records |= backend.buried(table, by_pk.keys() - records.keys()) if soft else {}
    edits.learn(records.values())
    doubtful = [pk for pk, rows in by_pk.items() if pk not in records or any(r.op != Op.UPDATE for r in rows)]
    present = backend.existing(table, doubtful) if doubtful else set()
    gone = set(doubtful) - present
    dead = dead_rows(backend, setup.tables[table], by_pk) if soft else set[str]()
    lost = {pk: records[pk] for pk in (gone | dead) & records.keys() if records[pk].alive}
    spared = set(lost)
    heirs = spare(backend, setup, table, lost, records, numbering) if lost else []
    spared -= lost.keys()
    quiet: list[Record] = []
    beginnings = Beginnings(backend, setup, table, by_pk)
    changed: list[tuple[Record, dict[int, int], list[JournalRow]]] = []
    for pk, rows in by_pk.items():
        record = records.get(pk)
        if pk in gone:
            if pk in lost:
                record = lost[pk]
                _bury(record, status, rows[-1].at, numbering)
                changed.append((record, {status: rows[-1].at}, rows))
            continue
        if pk in spared:
            continue
        known = record is not None
        if record is None:
            record = Record(0, table, pk, names.of(table, pk), entries={})
        fields = edits.settle(record, _changed_fields(rows, captured, known=known), rows)
        begun = beginnings.note(record, rows, numbering.origin)
        if fields or begun:
            _stamp(record, fields, numbering, rows, edits)
            fields |= _number(record, begun)
        if soft and record.alive is (pk in dead):
            fields = _cross(record, status, rows[-1].at, fields, numbering)
        elif fields and not record.alive:  # nobody hears of what becomes of a row that counts as deleted
            quiet.append(record)
            continue
        if fields:
            changed.append((record, fields, rows))
    numbered = [*(record for record, _, _ in changed), *quiet]
    backend.save_records(numbered)
    numbered += [heir for heir in heirs if not any(heir is record for record in numbered)]
    if heirs or quiet:
        numbered.sort(key=lambda record: record.seq)
    review(backend, setup, [(r, fields if r.alive else r.entries) for r, fields, _ in changed])
    if gone or soft or _let_go(setup, table, changed):
        backend.hasten({record.uid for record in numbered})
    log_edits(backend, setup, table, changed)
    return numbered


def _stamped(field: FieldInfo) -> bool:
    """Whether edits of the field in its table get a version: not those of the system fields that no column holds."""
    return not field.system or (field.stored and field.type.kind is not Kind.KEY)


def _let_go(setup: Setup, table: int, changed: list[tuple[Record, dict[int, int], list[JournalRow]]]) -> bool:
    """Whether a row may have stopped referring to another one, which may wait to be deleted."""
    relations = {number for number, field in setup.tables[table].fields.items() if field.target}
    return bool(relations) and any(not relations.isdisjoint(fields) for _, fields, _ in changed)


def _changed_fields(rows: list[JournalRow], captured: list[int], *, known: bool) -> dict[int, int]:
    """field → time of its last change. An insert changes every field, unless it rewrote a row that was noted."""
    noted = any(row.op == Op.LOOK for row in rows) and known
    fields: dict[int, int] = {}
    for row in rows:
        whole = row.op == Op.INSERT and not noted
        for field in captured if whole else row.fields:
            fields[field] = max(row.at, fields.get(field, 0))
    allowed = set(captured)
    return {field: at for field, at in fields.items() if field in allowed}


def _stamp(
    record: Record, fields: dict[int, int], numbering: Numbering, rows: list[JournalRow], edits: Edits
) -> None:
    record.seq = numbering.next()
    for field, at in fields.items():
        known = record.entries.get(field)
        version = edit(at, numbering.origin, known.version if known else None)
        record.entries[field] = Entry(version, record.seq, 0, edits.parts(record, field, version, rows))


def _bury(record: Record, status: int, at: int, numbering: Numbering) -> None:
    """The record's row is gone: its status has seen, and is above, every version that was known here."""
    record.alive = False
    record.seq = numbering.next()
    if status:
        known = record.versions()
        version = bury(at, numbering.origin, known)
        record.entries[status] = Entry(version, record.seq, 0)


def _number(record: Record, fields: Iterable[int]) -> dict[int, int]:
    """Give entries that have a version already the record's number; their times."""
    for field in fields:
        record.entries[field] = record.entries[field]._replace(seq=record.seq)
    return {field: record.entries[field].version.time for field in fields}


def _cross(
    record: Record, status: int, at: int, fields: dict[int, int], numbering: Numbering
) -> dict[int, int]:
    """The row has come to say that it is deleted, or that it lives: what changed with that."""
    if record.alive:
        _bury(record, status, at, numbering)
        return {status: at}
    record.alive, record.seq = True, numbering.next()
    if status:
        known = known_together(record.versions())
        record.entries[status] = Entry(edit(at, numbering.origin, known), record.seq, 0)
    return {**fields, status: at}


def new_uid(numbering: Numbering, at: int) -> bytes:
    """A uid that nothing else has, for what came into being at ``at``."""
    return uid_at(at, numbering.random(10))


def log_edits(
    backend: Backend,
    setup: Setup,
    table: int,
    changed: list[tuple[Record, dict[int, int], list[JournalRow]]],
) -> None:
    """Queue a log row for each link whose log is on and that sends the field."""
    buried = [record for record, _, _ in changed if not record.alive]
    for link, sent in setup.logged.items():
        if buried:
            _log_burials(backend, link, setup.tables[table], sent, buried)
        todo = [(record, [f for f in fields if f in sent], rows) for record, fields, rows in changed]
        todo = [item for item in todo if item[1]]
        for start in range(0, len(todo), LOG_SLICE):
            _queue_log(backend, link, setup.tables[table], todo[start : start + LOG_SLICE])


def _queue_log(
    backend: Backend, link: int, info: TableInfo, todo: list[tuple[Record, list[int], list[JournalRow]]]
) -> None:
    """Queue log rows of one link; called with a few records, since their values may be large."""
    columns = sorted({field for _, fields, _ in todo for field in fields})
    table = info.number
    values = backend.rows(table, [record.pk for record, _, _ in todo], columns)
    place = {field: i for i, field in enumerate(columns)}
    fill_in(info, [record for record, _, _ in todo], columns, values)
    for held in values.values() if info.status in place else ():
        held[place[info.status]] = True  # it has no column: that it is told of a living record says it
    log: list[LogRow] = []
    for record, fields, rows in todo:
        row = values.get(record.pk) if record.alive else [False] * len(columns)
        before = _before(rows) | {info.status: False} if record.alive else dict.fromkeys(fields, True)
        log.extend(
            LogRow(
                link=link,
                at=record.entries[field].version.time,
                way="out",
                table=table,
                pk=record.pk,
                uid=record.uid,
                field=field,
                before=_shown_before(
                    before.get(field, UNKNOWN), row[place[field]] if row is not None else UNKNOWN
                ),
                after=row[place[field]] if row is not None else UNKNOWN,
                result="queued",
                seq=record.seq,
            )
            for field in fields
        )
    backend.log_replaced(link, [(row.uid, row.field) for row in log])
    backend.add_log(log)


def _log_burials(
    backend: Backend, link: int, table: TableInfo, sent: frozenset[int], buried: list[Record]
) -> None:
    """What was queued of deleted records goes nowhere. Where deletions are not sent, say so, once for each."""
    backend.log_replaced(link, [(record.uid, field) for record in buried for field in record.entries])
    if table.status in sent or sent.isdisjoint(table.fields):
        return
    paired = backend.paired(link, [record.id for record in buried])
    backend.add_log(
        [
            LogRow(
                *(
                    link,
                    record.entries[table.status].version.time,
                    "out",
                    table.number,
                    record.pk,
                    record.uid,
                ),
                *(table.status, True, False, "local", "deleted"),
                seq=record.seq,
            )
            for record in buried
            if record.id in paired and table.status in record.entries
        ]
    )


def _before(rows: list[JournalRow]) -> dict[int, object]:
    """The oldest known value of each field, over several journal rows of one record."""
    before: dict[int, object] = {}
    for row in rows:
        for field, value in (row.before or {}).items():
            before.setdefault(field, value)
        if row.op == Op.INSERT:
            for field in row.fields:
                before.setdefault(field, None)
    return before


def _shown_before(before: Any, after: Any) -> Any:
    """The old value for the log. Of a many-to-many the journal says what was changed of the present one."""
    if not isinstance(before, dict) or not isinstance(after, list):
        return before
    gone, new = ({key for key, was in before.items() if was is told} for told in (True, False))
    return sorted((set(after) - new) | gone)
