"""The in-memory twin of a database: the same primitives over dictionaries, for tests and the simulation.

`MemoryDatabase` is what survives a crash; `MemoryBackend` is a connection to it. Transactions and savepoints undo
by a log of inverse operations. `MemoryDatabase.write`, `create` and `remove` play the users of the program: they
journal like the triggers do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from syncapp.core.changes import Cursor, JournalRow, Op, Record
from syncapp.core.clock import instance_of, make_origin
from syncapp.core.mapping import EXACT, Catalogue, Kind
from syncapp.store.base import (
    AMBIGUOUS,
    ASK,
    SUM_RANGE,
    ConflictRow,
    Contacts,
    FlowState,
    InstanceState,
    Key,
    LinkCursors,
    LinkStatus,
    LogRow,
    PeerInfo,
    ProblemRow,
    Refilter,
    Setup,
    Values,
)
from syncapp.store.hostbase import Alternation, Event, Saved
from syncapp.store.matching import rows_of_keys
from syncapp.store.memorydata import MemoryDatabase
from syncapp.store.memorydeletion import MemoryDeletion
from syncapp.store.memoryseries import MemorySeries
from syncapp.store.people import Names, UserMatch, same_people, wanted_of
from syncapp.store.values import checker

__all__ = ["MemoryBackend", "MemoryDatabase"]


def _copy(record: Record) -> Record:
    return msgspec.structs.replace(record, entries=dict(record.entries))


class MemoryBackend(MemoryDeletion, MemorySeries):
    """A connection to a `MemoryDatabase`; implements `base.Backend`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database

    # -- units of work --------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[None]:
        db = self.database
        db.undo = []
        try:
            yield
        except BaseException:
            self._roll_back(0)
            raise
        finally:
            db.undo = None

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        mark = len(self.database.undo or ())
        try:
            yield
        except BaseException:
            self._roll_back(mark)
            raise

    def _roll_back(self, mark: int) -> None:
        log, self.database.undo = self.database.undo or [], None
        while len(log) > mark:
            log.pop()()
        self.database.undo = log

    def glance(self) -> tuple[bool, Cursor]:
        return bool(self.database.journal), self.database.state.head

    def now(self) -> int:
        return self.database.clock()

    def setup(self) -> Setup:
        return self.database.setup

    # -- instance, seals, journal ---------------------------------------------------------------------------

    def instance(self) -> InstanceState:
        return msgspec.structs.replace(self.database.state)

    def set_head(self, head: Cursor) -> None:
        db, old = self.database, self.database.state

        def back() -> None:
            db.state = old
            db.seals.pop()

        db.note(back)
        db.state = msgspec.structs.replace(old, head=head)
        db.seals.append(head)

    def set_epoch(self, epoch: int) -> None:
        state = self.database.state
        self._set(
            "state", msgspec.structs.replace(state, origin=make_origin(instance_of(state.origin), epoch))
        )

    def seal_tag(self, seq: int) -> bytes | None:
        if seq == 0:
            return b""
        return next((cursor.tag for cursor in self.database.seals if cursor.seq >= seq), None)

    def drain(self, limit: int) -> list[JournalRow]:
        return self._take(self.database.journal[:limit], self.database.journal[limit:])

    def drain_rows(self, table: int, pks: Collection[str]) -> list[JournalRow]:
        wanted = set(pks)
        taken = [row for row in self.database.journal if row.table == table and row.pk in wanted]
        return self._take(taken, [r for r in self.database.journal if r.table != table or r.pk not in wanted])

    def _take(self, taken: list[JournalRow], rest: list[JournalRow]) -> list[JournalRow]:
        db, old = self.database, self.database.journal
        if taken:
            db.note(lambda: setattr(db, "journal", old))
            db.journal = rest
        return taken

    def inserts(self, table: int, pks: Collection[str]) -> list[JournalRow]:
        return [r for r in self.database.journal if (r.table, r.op) == (table, Op.INSERT) and r.pk in pks]

    def journal_size(self) -> int:
        return len(self.database.journal)

    # -- records --------------------------------------------------------------------------------------------

    def records_by_pk(self, table: int, pks: Collection[str]) -> dict[str, Record]:
        db = self.database
        return {pk: _copy(db.records[db.by_pk[table, pk]]) for pk in pks if (table, pk) in db.by_pk}

    def records_by_uid(self, uids: Collection[bytes]) -> dict[bytes, Record]:
        db = self.database
        return {uid: _copy(db.records[db.by_uid[uid]]) for uid in uids if uid in db.by_uid}

    def buried(self, table: int, pks: Collection[str]) -> dict[str, Record]:
        dead = (r for _, r in sorted(self.database.records.items()) if not r.alive and r.table == table)
        return {record.pk: _copy(record) for record in dead if record.pk in pks}

    def records_after(self, seq: int, limit: int) -> list[Record]:
        found = sorted((r for r in self.database.records.values() if r.seq > seq), key=lambda r: r.seq)
        return [_copy(record) for record in found[:limit]]

    def save_records(self, records: Iterable[Record]) -> None:
        db = self.database
        for record in records:
            if not record.id:
                record.id = db.next_id
                self._set("next_id", db.next_id + 1)
            db.put(db.records, record.id, _copy(record))
            db.put(db.by_uid, record.uid, record.id)
            if record.alive:
                db.put(db.by_pk, (record.table, record.pk), record.id)
            elif db.by_pk.get((record.table, record.pk)) == record.id:
                db.pop(db.by_pk, (record.table, record.pk))

    def _set(self, name: str, value: Any) -> None:
        db, old = self.database, getattr(self.database, name)
        db.note(lambda: setattr(db, name, old))
        setattr(db, name, value)

    def rename(self, record: Record, uid: bytes) -> None:
        travelled = any(record.id in pairs for pairs in self.database.pairs.values())
        if not travelled:
            self.database.pop(self.database.by_uid, record.uid)
        self.database.put(self.database.by_uid, uid, record.id)
        record.uid = min(uid, record.uid) if travelled else uid
        self.save_records([record])

    def aliases(self, records: Collection[int]) -> dict[int, list[bytes]]:
        db, found = self.database, defaultdict(list)
        if len(db.by_uid) > len(db.records):
            for uid, number in sorted(db.by_uid.items()):
                if number in records and db.records[number].uid != uid:
                    found[number].append(uid)
        return dict(found)

    alone = True

    def lock_rows(self, table: int, pks: Collection[str], *, strong: bool = False) -> set[str]:
        return set()

    # -- rows -----------------------------------------------------------------------------------------------

    def existing(self, table: int, pks: Collection[str]) -> set[str]:
        return set(pks) & self.database.tables[table].keys()

    def creators(self, table: int, pks: Collection[str]) -> dict[str, str]:
        known = self.database.creators
        return {pk: known[table, pk] for pk in pks if (table, pk) in known}

    def rows(self, table: int, pks: Collection[str], fields: Sequence[int]) -> dict[str, list[Any]]:
        rows = self.database.tables[table]
        return {pk: [rows[pk].get(field) for field in fields] for pk in pks if pk in rows}

    def match(self, table: int, fields: Sequence[int], keys: Collection[Key]) -> dict[Key, list[str]]:
        infos = self.database.setup.tables[table].fields
        rows = self.database.tables[table].items()
        kinds = [infos[field].type.kind for field in fields]
        return rows_of_keys(kinds, keys, ((pk, [row.get(f) for f in fields]) for pk, row in rows))

    def check(self, table: int, field: int, value: Any) -> str:
        spec = self.database.setup.tables[table].fields[field].type
        # Here a row without a text has None, where a real one would have the model's empty default.
        unchecked = value is None if spec.kind is Kind.TEXT else spec.kind not in EXACT
        return "" if unchecked else checker(spec)(value)

    def insert_rows(self, table: int, rows: Sequence[Values]) -> list[str]:
        keys = [self.database.insert(table, values) for values in rows]
        self.database.check_targets(table, keys, self.database.setup.tables[table].fields)
        return keys

    def update_rows(
        self, table: int, fields: Sequence[int], rows: Sequence[tuple[str, Sequence[Any]]]
    ) -> None:
        for pk, values in rows:
            self.database.update(table, pk, dict(zip(fields, values, strict=True)))
        self.database.check_targets(table, [pk for pk, _ in rows], fields)

    # -- users ----------------------------------------------------------------------------------------------

    def users(self, keys: Collection[str]) -> dict[str, Names]:
        users = self.database.users
        return {key: Names(*users[key], key) for key in keys if key in users}

    def find_users(self, matching: str, wanted: Collection[str]) -> dict[str, list[str]]:
        users = self.users(self.database.users)
        return same_people(matching, wanted, ((key, wanted_of(matching, who)) for key, who in users.items()))

    def user_matches(self, link: int, digests: Collection[bytes]) -> dict[bytes, UserMatch]:
        known = self.database.user_matches
        return {digest: known[link, digest] for digest in digests if (link, digest) in known}

    def save_user_matches(self, matches: Collection[UserMatch]) -> None:
        for match in matches:
            self.database.put(self.database.user_matches, (match.link, match.digest), match)

    # -- the program's own code --

    def save_row(self, table: int, pk: str, values: Mapping[int, Any]) -> Saved:
        db = self.database
        if pk:
            db.write(table, pk, dict(values))
        else:
            pk = db.create(table, dict(values))
        if table in db.host:
            db.host[table](pk)
        return Saved(pk)

    def remove_row(self, table: int, pk: str) -> None:
        self.database.remove(table, pk)
        if table in self.database.host_removed:
            self.database.host_removed[table](pk)

    def alternations(self, records: Collection[int]) -> dict[tuple[int, int], Alternation]:
        return {key: found for key, found in self.database.alternations.items() if key[0] in records}

    def save_alternations(self, found: Mapping[tuple[int, int], Alternation | None]) -> None:
        for key, alternation in found.items():
            if alternation is None:
                self.database.pop(self.database.alternations, key)
            else:
                self.database.put(self.database.alternations, key, alternation)

    def listened(self) -> bool:
        return True

    def announce(self, link: str, events: Sequence[Event]) -> None:
        self._set("announced", [*self.database.announced, *((link, event) for event in events)])

    # -- links ----------------------------------------------------------------------------------------------

    def cursors(self, link: int) -> LinkCursors:
        return msgspec.structs.replace(
            self.database.cursors[link], totals=msgspec.structs.replace(self.database.cursors[link].totals)
        )

    def save_cursors(self, cursors: LinkCursors) -> bool:
        if self.database.cursors[cursors.link].lease_token != cursors.lease_token:
            return False
        self.database.put(self.database.cursors, cursors.link, cursors)
        return True

    def paired(self, link: int, records: Collection[int]) -> set[int]:
        return set(records) & self.database.pairs[link]

    def catalogue(self, link: int) -> Catalogue:
        return self.database.catalogues[link]

    def save_peer(self, link: int, peer: PeerInfo) -> None:
        self.database.put(self.database.peers, link, peer)
        cursors = self.cursors(link)
        cursors.peer_instance, cursors.peer_head = peer.instance, peer.head
        self.database.put(self.database.cursors, link, cursors)

    def contacts(self, link: int) -> Contacts:
        known = self.database.contacts.get(link) or Contacts(link)
        peer = self.database.peers.get(link)
        return msgspec.structs.replace(known, epoch=peer.epoch if peer else 0)

    def save_contacts(self, contacts: Contacts) -> None:
        self.database.put(self.database.contacts, contacts.link, msgspec.structs.replace(contacts))

    def proofs(self) -> dict[int, int]:
        return {link: self.contacts(link).proofs for link in self.database.setup.links}

    def set_notice(self, link: int, code: str, params: dict[str, Any], at: int) -> None:
        self.database.put(self.database.notices, link, (code, params, at))

    def flows(self, link: int) -> dict[int, FlowState]:
        offers = [field for table in self.database.catalogues[link] for field in table.fields]
        known = self.database.flows[link]
        mapped = {f.number: FlowState() for f in offers if f.sends or f.receives}
        return mapped | known

    def save_flows(self, link: int, flows: Mapping[int, FlowState]) -> None:
        for field, state in flows.items():
            self.database.put(self.database.flows[link], field, state)

    def claim(self, link: int, owner: str, until: int, *, force: bool = False) -> int | None:
        holder, end = self.database.leases.get(link, (owner, 0))
        if not force and holder != owner and end > self.now():
            return None
        cursors = self.cursors(link)
        cursors.lease_token = max(cursors.lease_token, self.contacts(link).floor) + 1
        self.database.put(self.database.leases, link, (owner, until))
        self.database.put(self.database.cursors, link, cursors)
        return cursors.lease_token

    def renew(self, link: int, token: int, until: int, state: LinkStatus | None = None) -> bool:
        if self.database.cursors[link].lease_token != token:
            return False
        self.database.put(self.database.leases, link, (self.database.leases[link][0], until))
        if state is not None:
            self.database.put(self.database.status, link, state)
        return True

    def add_pairs(self, link: int, records: Collection[int], whole: int = 0) -> None:
        self._pairs(link, self.database.pairs[link] | set(records))
        self._forget_left(link, {r for r in records if self.database.left[link].get(r, whole + 1) <= whole})

    def doubt_pairs(self, link: int) -> None:
        sure = self.database.pairs[link] - self.database.left[link].keys()
        self.mark_left(link, dict.fromkeys(sure, 1))

    def drop_pairs(self, link: int, records: Collection[int]) -> None:
        self._pairs(link, self.database.pairs[link] - set(records))
        self._forget_left(link, records)

    def _forget_left(self, link: int, records: Collection[int]) -> None:
        for record in records:
            self.database.pop(self.database.left[link], record)

    def pairs(self, link: int, records: Collection[int]) -> dict[int, int]:
        return {record: self.database.left[link].get(record, 0) for record in self.paired(link, records)}

    def mark_left(self, link: int, records: Mapping[int, int]) -> None:
        for record, seq in records.items():
            self.database.put(self.database.left[link], record, seq)

    def refilters(self, link: int) -> dict[int, Refilter]:
        return dict(self.database.refilters[link])

    def save_refilter(self, link: int, table: int, state: Refilter | None) -> None:
        if state is None:
            self.database.pop(self.database.refilters[link], table)
        else:
            self.database.put(self.database.refilters[link], table, state)

    def _pairs(self, link: int, records: set[int]) -> None:
        self.database.put(self.database.pairs, link, records)

    # -- problems, conflicts, log ---------------------------------------------------------------------------

    def problems_waiting(self, link: int, uids: Collection[bytes]) -> list[ProblemRow]:
        return [p for p in self._incoming(link) if p.waits_for in uids]

    def problems_of(self, link: int, uids: Collection[bytes]) -> list[ProblemRow]:
        return [p for p in self._incoming(link) if p.uid in uids]

    def problems_due(self, link: int, now: int, limit: int) -> list[ProblemRow]:
        due = sorted(self._incoming(link), key=lambda p: (p.next_try, p.id))
        return [p for p in due if p.next_try <= now][:limit]

    def problems_out(self, link: int, now: int, limit: int) -> list[ProblemRow]:
        found = [p for p in self.database.problems.values() if p.link == link and p.way == "out"]
        return [msgspec.structs.replace(p) for p in found if p.next_try <= now][:limit]

    def _incoming(self, link: int) -> list[ProblemRow]:
        found = self.database.problems.values()
        return [msgspec.structs.replace(p) for p in found if p.link == link and p.way == "in"]

    def problems_by_id(self, ids: Collection[int]) -> list[ProblemRow]:
        return [
            msgspec.structs.replace(self.database.problems[i]) for i in ids if i in self.database.problems
        ]

    def last_parked(self, link: int) -> int:
        return max((problem.created_at for problem in self._incoming(link)), default=0)

    def save_problems(self, problems: Sequence[ProblemRow]) -> None:
        db = self.database
        for problem in problems:
            key = (problem.link, problem.way, problem.uid, problem.field)
            known = [i for i, p in db.problems.items() if (p.link, p.way, p.uid, p.field) == key]
            number = known[0] if known else db.next_id
            if not known:
                self._set("next_id", db.next_id + 1)
            db.put(db.problems, number, msgspec.structs.replace(problem, id=number))

    def drop_problems(self, ids: Collection[int]) -> None:
        for number in ids:
            self.database.pop(self.database.problems, number)

    def clear_unsendable(self, link: int, keys: Collection[tuple[bytes, int]]) -> None:
        wanted = set(keys)
        self.drop_problems(
            [i for i, p in self.database.problems.items() if p.way == "out" and (p.uid, p.field) in wanted]
        )

    def standing(self, uids: Collection[bytes]) -> list[ProblemRow]:
        return [
            msgspec.structs.replace(p)
            for p in self.database.problems.values()
            if p.uid in uids and p.way == "in" and p.code in (ASK, SUM_RANGE)
        ]

    def doubles(self, table: int) -> list[ProblemRow]:
        return [
            msgspec.structs.replace(p)
            for p in self.database.problems.values()
            if (p.code, p.way, p.table) == (AMBIGUOUS, "in", table)
        ]

    def add_conflicts(self, rows: Sequence[ConflictRow]) -> None:
        first = len(self.database.conflicts) + 1
        new = [msgspec.structs.replace(row, id=number) for number, row in enumerate(rows, first)]
        self._set("conflicts", [*self.database.conflicts, *new])

    def conflicts_by_id(self, ids: Collection[int]) -> list[ConflictRow]:
        return [row for row in self.database.conflicts if row.id in ids]

    def resolve_conflicts(self, ids: Collection[int], resolved: str) -> None:
        rows = self.database.conflicts
        self._set(
            "conflicts", [msgspec.structs.replace(r, resolved=resolved) if r.id in ids else r for r in rows]
        )

    def add_log(self, rows: Sequence[LogRow]) -> None:
        self._set("log", [*self.database.log, *rows])

    def log_replaced(self, link: int, keys: Sequence[tuple[bytes, int]]) -> None:
        wanted = set(keys)
        self._relabel(lambda r: "replaced" if r.link == link and (r.uid, r.field) in wanted else None)

    def log_filtered(self, link: int, uids: Collection[bytes]) -> None:
        self._relabel(lambda r: "filtered" if r.link == link and r.uid in uids else None)

    def log_sent(
        self, link: int, after: int, until: int, at: int, fates: Mapping[tuple[bytes, int], str]
    ) -> None:
        def result(row: LogRow) -> str | None:
            if row.link != link or not after < row.seq <= until:
                return None
            return fates.get((row.uid, row.field), "sent")

        self._relabel(result)

    def _relabel(self, result: Callable[[LogRow], str | None]) -> None:
        log = [
            msgspec.structs.replace(row, result=new)
            if row.result == "queued" and (new := result(row)) is not None
            else row
            for row in self.database.log
        ]
        self._set("log", log)
