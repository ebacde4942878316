"""`SqlBackend`: the `Backend` protocol over one of Django's databases."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from syncapp.core.changes import Cursor, JournalRow, Record
from syncapp.core.mapping import Catalogue
from syncapp.core.series import Book
from syncapp.signals import record_applied
from syncapp.store import catalogue
from syncapp.store.base import (
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
from syncapp.store.bindings import FieldBinding, TableBinding
from syncapp.store.deletionbase import ArchiveRow, Knower, Reference
from syncapp.store.hostbase import Alternation, Event, Saved
from syncapp.store.people import Names, UserMatch
from syncapp.store.seriesbase import SeriesInfo
from syncapp.store.sql.authors import creators
from syncapp.store.sql.database import Database
from syncapp.store.sql.journal import JournalTable
from syncapp.store.sql.layout import Layout
from syncapp.store.sql.links import LinkTables
from syncapp.store.sql.matching import Matcher
from syncapp.store.sql.matchkeys import MatchKeys
from syncapp.store.sql.memories import Memories, Problems
from syncapp.store.sql.people import People
from syncapp.store.sql.reading import Reader
from syncapp.store.sql.records import RecordTable
from syncapp.store.sql.removal import Removal, kept_form
from syncapp.store.sql.saving import RowSaver
from syncapp.store.sql.series import SeriesTables
from syncapp.store.sql.tombstones import Tombstones
from syncapp.store.sql.writing import Writer


class SqlBackend:
    """A database of Django's, by its alias. For one thread; the connection is Django's own of that thread."""

    def __init__(self, using: str = "default") -> None:
        self._database = Database(using)
        self._journal = JournalTable(self._database)
        self._records = RecordTable(self._database)
        self._reader = Reader(self._database)
        self._writer = Writer(self._database, self._reader)
        self._removal = Removal(self._database)
        self._tombstones = Tombstones(self._database)
        self._saver = RowSaver(self._database)
        self._links = LinkTables(self._database)
        self._problems = Problems(self._database)
        self._memories = Memories(self._database)
        self._people = People(self._database)
        self._match_keys = MatchKeys(self._database, self._reader)
        #: The program's own saves use it too, past the units of work.
        self.series = SeriesTables(self._database)
        self._known: Layout | None = None

    # -- units of work --

    def transaction(self, *, snapshot: bool = False) -> AbstractContextManager[None]:
        self._match_keys.begin()
        return self._database.transaction(snapshot=snapshot)

    def savepoint(self) -> AbstractContextManager[None]:
        return self._database.savepoint()

    def glance(self) -> tuple[bool, Cursor]:
        return self._records.glance()

    def now(self) -> int:
        return self._database.now()

    def setup(self) -> Setup:
        return self._layout(fresh=True).setup

    def _layout(self, *, fresh: bool = False) -> Layout:
        """The tables as SQL needs them. Looked at anew once per transaction, when the store asks for the setup."""
        if fresh or self._known is None:
            setup = catalogue.load_setup(self._database.using)
            if self._known is None or self._known.setup is not setup:
                self._known = Layout(self._database, setup)
        return self._known

    # -- instance and seals --

    def instance(self) -> InstanceState:
        return self._records.instance()

    def set_head(self, head: Cursor) -> None:
        self._records.set_head(head)

    def set_epoch(self, epoch: int) -> None:
        self._records.set_epoch(epoch)

    def seal_tag(self, seq: int) -> bytes | None:
        return self._records.seal_tag(seq)

    # -- journal --

    def drain(self, limit: int) -> list[JournalRow]:
        return self._sealed(self._journal.drain(self._layout(), limit))

    def drain_rows(self, table: int, pks: Collection[str]) -> list[JournalRow]:
        return self._sealed(self._journal.drain_rows(self._layout(), table, pks))

    def _sealed(self, rows: list[JournalRow]) -> list[JournalRow]:
        self._match_keys.sealed(rows)
        return rows

    def inserts(self, table: int, pks: Collection[str]) -> list[JournalRow]:
        return self._journal.inserts(self._layout(), table, pks)

    def journal_size(self) -> int:
        return self._journal.size()

    # -- records --

    def records_by_pk(self, table: int, pks: Collection[str]) -> dict[str, Record]:
        return self._records.by_pk(table, pks)

    def records_by_uid(self, uids: Collection[bytes]) -> dict[bytes, Record]:
        return self._records.by_uid(uids)

    def buried(self, table: int, pks: Collection[str]) -> dict[str, Record]:
        return self._records.buried(table, pks)

    def records_after(self, seq: int, limit: int) -> list[Record]:
        return self._records.after(seq, limit)

    def save_records(self, records: Iterable[Record]) -> None:
        self._records.save(records)

    def rename(self, record: Record, uid: bytes) -> None:
        self._records.rename(record, uid)

    def aliases(self, records: Collection[int]) -> dict[int, list[bytes]]:
        return self._records.aliases(records)

    # -- rows of the user's tables --

    @property
    def alone(self) -> bool:
        return self._database.dialect.alone

    def lock_rows(self, table: int, pks: Collection[str], *, strong: bool = False) -> set[str]:
        return self._reader.lock(self._layout().table(table), pks, strong=strong)

    def existing(self, table: int, pks: Collection[str]) -> set[str]:
        return self._reader.existing(self._layout().table(table), pks)

    def creators(self, table: int, pks: Collection[str]) -> dict[str, str]:
        return creators(self._database, self._layout().table(table), pks)

    def rows(self, table: int, pks: Collection[str], fields: Sequence[int]) -> dict[str, list[Any]]:
        return self._reader.rows(self._layout().table(table), pks, fields)

    def match(self, table: int, fields: Sequence[int], keys: Collection[Key]) -> dict[Key, list[str]]:
        return Matcher(self._database, self._layout(), table, fields, self._reader, self._match_keys).match(
            keys
        )

    def check(self, table: int, field: int, value: Any) -> str:
        return self._layout().table(table).checks[field](value)

    def insert_rows(self, table: int, rows: Sequence[Values]) -> list[str]:
        pks = self._writer.insert(self._layout().table(table), rows)
        self._match_keys.changed(table, pks)
        return pks

    def update_rows(
        self, table: int, fields: Sequence[int], rows: Sequence[tuple[str, Sequence[Any]]]
    ) -> None:
        self._writer.update(self._layout().table(table), fields, rows)
        self._match_keys.changed(table, [pk for pk, _ in rows], fields)

    # -- deletions --

    def references(self, label: str, pks: Collection[str]) -> list[Reference]:
        return self._removal.references(label, pks)

    def hold(self, label: str, pks: Collection[str]) -> None:
        self._removal.hold(label, pks)

    def snapshot(self, label: str, pks: Collection[str]) -> dict[str, dict[str, Any]]:
        return self._removal.snapshot(label, pks)

    def detach(self, label: str, field: str, pks: Collection[str]) -> None:
        self._removal.detach(label, field, pks)
        self._match_keys.changed(self._number(label), pks)

    def delete_rows(self, rows: Sequence[tuple[str, Collection[str]]]) -> None:
        self._removal.delete(rows)

    def restore_row(self, label: str, kept: Mapping[str, Any], fresh: Mapping[int, Any] | None = None) -> str:
        pk = self._removal.restore(label, {**kept, **self._by_name(label, fresh or {})})
        self._match_keys.changed(self._number(label), [pk])
        return pk

    def _number(self, label: str) -> int:
        """The number of a table; 0 for one that is not on offer."""
        return next((t.number for t in self._layout().setup.tables.values() if t.label == label), 0)

    def _by_name(self, label: str, values: Mapping[int, Any]) -> dict[str, Any]:
        """Values by field number as a snapshot has them."""
        if not values:
            return {}
        layout = self._layout()
        table = next(t for t in layout.setup.tables.values() if t.label == label)
        bound = layout.table(table.number).binding.fields
        found = {}
        for number, value in values.items():
            # The system field time added has the name of the column that it stands for.
            field = bound[number].django_field
            name = field.name if field is not None else bound[number].name
            found[name] = kept_form(table.fields[number].type.kind, value)
        return found

    def add_archive(self, rows: Sequence[ArchiveRow]) -> None:
        self._tombstones.add_archive(rows)

    def archived(self, uids: Collection[bytes]) -> dict[bytes, ArchiveRow]:
        return self._tombstones.archived(uids)

    def drop_archive(self, uids: Collection[bytes]) -> None:
        self._tombstones.drop_archive(uids)

    def hasten(self, uids: Collection[bytes]) -> None:
        self._tombstones.hasten(uids)

    def offer(self, link: int, record: int) -> None:
        self._tombstones.offer(link, record)

    def tombstones(self, after: int, limit: int) -> list[Record]:
        return self._tombstones.tombstones(after, limit)

    def knowers(self, records: Sequence[Record]) -> dict[int, list[Knower]]:
        return self._tombstones.knowers(records)

    def forget(self, records: Sequence[Record], floors: Mapping[int, int]) -> None:
        self._tombstones.forget(records, floors)

    # -- users --

    def users(self, keys: Collection[str]) -> dict[str, Names]:
        return self._people.names(keys)

    def find_users(self, matching: str, wanted: Collection[str]) -> dict[str, list[str]]:
        return self._people.find(matching, wanted)

    def user_matches(self, link: int, digests: Collection[bytes]) -> dict[bytes, UserMatch]:
        return self._people.matches(link, digests)

    def save_user_matches(self, matches: Collection[UserMatch]) -> None:
        self._people.save(matches)

    # -- the program's own code --

    def save_row(self, table: int, pk: str, values: Mapping[int, Any]) -> Saved:
        return self._saver.save(self._layout().table(table), pk, values)

    def remove_row(self, table: int, pk: str) -> None:
        self._saver.remove(self._layout().table(table), pk)

    def alternations(self, records: Collection[int]) -> dict[tuple[int, int], Alternation]:
        return self._saver.alternations(records)

    def save_alternations(self, found: Mapping[tuple[int, int], Alternation | None]) -> None:
        self._saver.save_alternations(found)

    def listened(self) -> bool:
        return bool(record_applied.receivers)

    def announce(self, link: str, events: Sequence[Event]) -> None:
        self._saver.announce(self._layout(), link, events)

    # -- shared series --

    def book(self, field: int) -> Book:
        return self.series.locked(field)

    def peek(self, field: int) -> Book:
        return self.series.book(field)

    def save_book(self, field: int, book: Book) -> None:
        self.series.save_book(field, book)

    def requests(self, field: int, now: int) -> int:
        return self.series.requests(field, now)

    def provisional(self, info: SeriesInfo) -> list[str]:
        return self.series.provisional(info, self._place(info))

    def finish(self, info: SeriesInfo, provisional: str, number: int, now: int) -> bool:
        return self.series.finish(info, self._place(info), provisional, number, now)

    def field_values(self, info: SeriesInfo) -> Iterable[Any]:
        return self.series.values(self._place(info))

    def has_value(self, info: SeriesInfo, value: Any) -> bool:
        return self.series.has_value(self._place(info), value)

    def _place(self, info: SeriesInfo) -> tuple[TableBinding, FieldBinding]:
        binding = self._layout().table(info.table).binding
        return binding, binding.fields[info.field]

    # -- links --

    def cursors(self, link: int) -> LinkCursors:
        return self._links.cursors(link)

    def save_cursors(self, cursors: LinkCursors) -> bool:
        return self._links.save_cursors(cursors)

    def catalogue(self, link: int) -> Catalogue:
        return catalogue.link_catalogue(link, self._database.using)

    def save_peer(self, link: int, peer: PeerInfo) -> None:
        self._links.save_peer(link, peer)

    def contacts(self, link: int) -> Contacts:
        return self._links.contacts(link)

    def save_contacts(self, contacts: Contacts) -> None:
        self._links.save_contacts(contacts)

    def proofs(self) -> dict[int, int]:
        return self._links.proofs()

    def set_notice(self, link: int, code: str, params: dict[str, Any], at: int) -> None:
        self._links.set_notice(link, code, params, at)

    def flows(self, link: int) -> dict[int, FlowState]:
        return self._links.flows(link)

    def save_flows(self, link: int, flows: Mapping[int, FlowState]) -> None:
        self._links.save_flows(link, flows)

    def claim(self, link: int, owner: str, until: int, *, force: bool = False) -> int | None:
        return self._links.claim(link, owner, self.now(), until, force=force)

    def renew(self, link: int, token: int, until: int, state: LinkStatus | None = None) -> bool:
        return self._links.renew(link, token, self.now(), until, state)

    def paired(self, link: int, records: Collection[int]) -> set[int]:
        return self._links.paired(link, records)

    def add_pairs(self, link: int, records: Collection[int], whole: int = 0) -> None:
        self._links.add_pairs(link, records, whole)

    def pairs(self, link: int, records: Collection[int]) -> dict[int, int]:
        return self._links.pairs(link, records)

    def mark_left(self, link: int, records: Mapping[int, int]) -> None:
        self._links.mark_left(link, records)

    def refilters(self, link: int) -> dict[int, Refilter]:
        return self._links.refilters(link)

    def save_refilter(self, link: int, table: int, state: Refilter | None) -> None:
        self._links.save_refilter(link, table, state)

    def doubt_pairs(self, link: int) -> None:
        self._links.doubt_pairs(link)

    def drop_pairs(self, link: int, records: Collection[int]) -> None:
        self._links.drop_pairs(link, records)

    # -- problems, conflicts, log --

    def problems_waiting(self, link: int, uids: Collection[bytes]) -> list[ProblemRow]:
        return self._problems.waiting(link, uids)

    def problems_of(self, link: int, uids: Collection[bytes]) -> list[ProblemRow]:
        return self._problems.of(link, uids)

    def problems_due(self, link: int, now: int, limit: int) -> list[ProblemRow]:
        return self._problems.due(link, now, limit)

    def problems_out(self, link: int, now: int, limit: int) -> list[ProblemRow]:
        return self._problems.out(link, now, limit)

    def problems_by_id(self, ids: Collection[int]) -> list[ProblemRow]:
        return self._problems.by_id(ids)

    def last_parked(self, link: int) -> int:
        return self._problems.last(link)

    def save_problems(self, problems: Sequence[ProblemRow]) -> None:
        self._problems.save(problems)

    def drop_problems(self, ids: Collection[int]) -> None:
        self._problems.drop(ids)

    def clear_unsendable(self, link: int, keys: Collection[tuple[bytes, int]]) -> None:
        self._problems.clear_unsendable(link, keys)

    def standing(self, uids: Collection[bytes]) -> list[ProblemRow]:
        return self._problems.standing(uids)

    def doubles(self, table: int) -> list[ProblemRow]:
        return self._problems.doubles(table)

    def add_conflicts(self, rows: Sequence[ConflictRow]) -> None:
        self._memories.add_conflicts(rows)

    def conflicts_by_id(self, ids: Collection[int]) -> list[ConflictRow]:
        return self._memories.conflicts_by_id(ids)

    def resolve_conflicts(self, ids: Collection[int], resolved: str) -> None:
        self._memories.resolve_conflicts(ids, resolved)

    def add_log(self, rows: Sequence[LogRow]) -> None:
        self._memories.add_log(rows)

    def log_replaced(self, link: int, keys: Sequence[tuple[bytes, int]]) -> None:
        self._memories.log_replaced(link, keys)

    def log_filtered(self, link: int, uids: Collection[bytes]) -> None:
        self._memories.log_filtered(link, uids)

    def log_sent(
        self, link: int, after: int, until: int, at: int, fates: Mapping[tuple[bytes, int], str]
    ) -> None:
        self._memories.log_sent(link, after, until, at, fates)
