"""What an in-memory program keeps: the part of `store.memory` that survives a crash, and the users who write to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from syncapp.core.changes import START, Cursor, JournalRow, Op, Record, Totals
from syncapp.core.clock import make_origin
from syncapp.core.mapping import Catalogue, Kind
from syncapp.core.rules import Merge
from syncapp.core.series import Book
from syncapp.store.base import (
    ConflictRow,
    Contacts,
    FieldInfo,
    FlowState,
    InstanceState,
    LinkCursors,
    LinkStatus,
    LogRow,
    PeerInfo,
    ProblemRow,
    Refilter,
    RowRefused,
    Setup,
    Values,
)
from syncapp.store.deletionbase import ArchiveRow, OnDelete
from syncapp.store.hostbase import Alternation, Event
from syncapp.store.people import UserMatch

Undo = Callable[[], None]


class MemoryDatabase:
    """One program's data. ``unique``: table → fields whose values must differ; ``clock``: µs.

    ``on_delete``: relation field → what its model says; by default a row goes with what it requires, and a field that
    may be empty becomes empty.
    """

    def __init__(
        self,
        setup: Setup,
        instance: bytes,
        clock: Callable[[], int],
        unique: Mapping[int, Sequence[int]] | None = None,
        catalogues: Mapping[int, Catalogue] | None = None,
        on_delete: Mapping[int, OnDelete] | None = None,
    ) -> None:
        self.setup = setup
        self.clock = clock
        self.unique = dict(unique or {})
        self.catalogues = dict(catalogues or {})
        self.on_delete = dict(on_delete or {})
        self.state = InstanceState(make_origin(instance, 1), START)
        self.seals: list[Cursor] = []
        self.journal: list[JournalRow] = []
        self.journalled = 0
        self.records: dict[int, Record] = {}
        self.by_uid: dict[bytes, int] = {}
        self.by_pk: dict[tuple[int, str], int] = {}
        self.tables: dict[int, dict[str, Values]] = {number: {} for number in setup.tables}
        self.next_pk = dict.fromkeys(setup.tables, 1)
        self.next_id = 1
        self.cursors = {link: _fresh(link) for link in setup.links}
        self.leases: dict[int, tuple[str, int]] = {}
        self.peers: dict[int, PeerInfo] = {}
        self.status: dict[int, LinkStatus] = {}
        self.contacts: dict[int, Contacts] = {}
        self.notices: dict[int, tuple[str, dict[str, Any], int]] = {}
        self.flows: dict[int, dict[int, FlowState]] = defaultdict(dict)
        self.pairs: dict[int, set[int]] = defaultdict(set)
        self.left: dict[int, dict[int, int]] = defaultdict(dict)
        self.refilters: dict[int, dict[int, Refilter]] = defaultdict(dict)
        #: key → login, full name
        self.users: dict[str, tuple[str, str]] = {}
        #: (table, key) → the user who made the row, where the program's history tells.
        self.creators: dict[tuple[int, str], str] = {}
        self.user_matches: dict[tuple[int, bytes], UserMatch] = {}
        #: The program's own code by table: called with the key of a row that was just saved through it.
        self.host: dict[int, Callable[[str], None]] = {}
        self.host_removed: dict[int, Callable[[str], None]] = {}
        self.alternations: dict[tuple[int, int], Alternation] = {}
        self.books: dict[int, Book] = {}
        #: Saves that wait for a number, by field: until when.
        self.number_requests: dict[int, list[int]] = defaultdict(list)
        #: field → provisional value → what it became.
        self.provisional: dict[int, dict[str, str]] = defaultdict(dict)
        self.announced: list[tuple[str, Event]] = []
        self.problems: dict[int, ProblemRow] = {}
        self.conflicts: list[ConflictRow] = []
        self.log: list[LogRow] = []
        self.archive: list[ArchiveRow] = []
        self.undo: list[Undo] | None = None

    # -- undo -----------------------------------------------------------------------------------------------

    def note(self, undo: Undo) -> None:
        """Remember how to take the next mutation back."""
        if self.undo is not None:
            self.undo.append(undo)

    def put(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        """``target[key] = value``, undoably."""
        if key in target:
            old = target[key]
            self.note(lambda: target.__setitem__(key, old))
        else:
            self.note(lambda: target.pop(key, None))
        target[key] = value

    def pop(self, target: dict[Any, Any], key: Any) -> Any:
        """``target.pop(key)``, undoably; None where there is none."""
        if key not in target:
            return None
        old = target.pop(key)
        self.note(lambda: target.__setitem__(key, old))
        return old

    # -- the users of the program ---------------------------------------------------------------------------

    def create(self, table: int, values: Values) -> str:
        """A user inserts a row; returns its key. Raises `RowRefused` where a unique value is taken."""
        key = self.insert(table, values)
        self._look_at(table, key, Op.INSERT)
        return key

    def write(self, table: int, key: str, values: Values) -> None:
        """A user updates a row; only what really changes is journalled."""
        row = self.tables[table][key]
        changed = tuple(f for f, v in values.items() if row.get(f) != v)
        self.update(table, key, values)
        captured = tuple(f for f in changed if f in self.setup.captured)
        if captured:
            before = {field: self._before(table, field, row, values[field]) for field in captured}
            self._look_at(table, key, Op.UPDATE, captured, before)

    def _before(self, table: int, field: int, row: Values, value: Any) -> Any:
        """The old value as a trigger keeps it: of a union whether each target that changed had been there."""
        old: Any = row.get(field)
        if self.setup.tables[table].fields[field].merge is not Merge.UNION:
            return old
        return {key: key in old for key in sorted({*old} ^ {*value})}

    def remove(self, table: int, key: str) -> None:
        """A user deletes a row, and what its relations say with it; raises `RowRefused` where one forbids it."""
        going, touched = self._going(table, key)
        for owner, pk, field, target in touched:
            if (owner, pk) not in going:
                held = self.tables[owner][pk][field]
                left = [other for other in held if other != target] if isinstance(held, list) else None
                self.write(owner, pk, {field: left})
        for number, pk in reversed(going):
            self.pop(self.tables[number], pk)
            self._look_at(number, pk, Op.DELETE)

    def _look_at(
        self, table: int, key: str, op: Op, fields: tuple[int, ...] = (), before: Values | None = None
    ) -> None:
        self.journalled += 1
        self.journal.append(JournalRow(table, key, op, fields, self.clock(), before, self.journalled))
        self.note(self._forget_last)

    def _forget_last(self) -> None:
        self.journal.pop()

    def _going(self, table: int, key: str) -> tuple[list[tuple[int, str]], list[tuple[int, str, int, str]]]:
        """The rows that go with one, and what others let go of: (table, key, field, target)."""
        going, touched = [(table, key)], []
        for number, gone in going:  # which grows meanwhile
            for owner, field, rule in self.referrers(number):
                for pk, row in self.tables[owner].items():
                    if gone not in targets_of(row.get(field)) or (owner, pk) in going:
                        continue
                    if rule is OnDelete.CASCADE:
                        going.append((owner, pk))
                    elif rule in (OnDelete.SET, OnDelete.MEMBER):
                        touched.append((owner, pk, field, gone))
                    else:
                        raise RowRefused(f"{self.setup.tables[owner].label} {pk} refers to it", "protected")
        return going, touched

    # -- relations ------------------------------------------------------------------------------------------

    def number(self, label: str) -> int:
        """The number of the table ``label``."""
        return next(number for number, info in self.setup.tables.items() if info.label == label)

    def field(self, table: int, name: str) -> int:
        """The number of the field ``name`` of a table."""
        return next(number for number, info in self.setup.tables[table].fields.items() if info.name == name)

    def referrers(self, table: int) -> list[tuple[int, int, OnDelete]]:
        """The relations to ``table``: owning table, field, what becomes of it."""
        return [
            (owner, number, self.on_delete.get(number, _usual(field)))
            for owner, info in self.setup.tables.items()
            for number, field in info.fields.items()
            if field.target == table
        ]

    def check_unreferred(self, table: int, keys: Collection[str]) -> None:
        """Raises `RowRefused` if a row still refers to one of these, which are gone."""
        for owner, field, _ in self.referrers(table):
            for pk, row in self.tables[owner].items():
                for target in targets_of(row.get(field)):
                    if target in keys and target not in self.tables[table]:
                        raise RowRefused(
                            f"{self.setup.tables[owner].label} {pk} still refers to {target}", "change"
                        )

    def check_targets(self, table: int, keys: Collection[str], fields: Iterable[int]) -> None:
        """Raises `RowRefused` if one of these rows refers to a row that is not there."""
        infos = self.setup.tables[table].fields
        targets = [(number, infos[number].target) for number in fields if infos[number].target]
        for number, target in targets:
            for key in keys:
                row = self.tables[table].get(key, {})
                for held in targets_of(row.get(number)):
                    if held not in self.tables[target]:
                        raise RowRefused(
                            f"{self.setup.tables[target].label} has no row {held}", "missing_target"
                        )

    # -- rows -----------------------------------------------------------------------------------------------

    def insert(self, table: int, values: Values) -> str:
        key = str(self.next_pk[table])
        fields = self.setup.tables[table].fields
        empty: Values = {n: [] if field.type.kind is Kind.RELATIONS else None for n, field in fields.items()}
        values = {**empty, **values}
        for number, field in fields.items():
            if field.required and values.get(number) is None:
                raise RowRefused(field.name, "cannot_create")
        self._check_unique(table, key, values)
        self.put(self.next_pk, table, self.next_pk[table] + 1)
        self.put(self.tables[table], key, values)
        return key

    def update(self, table: int, key: str, values: Values) -> None:
        row = self.tables[table].get(key)
        if row is None:
            return
        self._check_unique(table, key, values)
        self.put(self.tables[table], key, {**row, **values})

    def _check_unique(self, table: int, key: str, values: Values) -> None:
        for field in self.unique.get(table, ()):
            value = values.get(field)
            if value is None:
                continue
            if any(row.get(field) == value for other, row in self.tables[table].items() if other != key):
                raise RowRefused(f"UNIQUE constraint failed: {self.setup.tables[table].fields[field].name}")


def _fresh(link: int) -> LinkCursors:
    return LinkCursors(link, START, START, 0, Totals(), Totals(), b"", 0)


def targets_of(value: Any) -> Sequence[str]:
    """The keys that a relation value names."""
    if isinstance(value, list):
        return value
    return (value,) if isinstance(value, str) else ()


def _usual(field: FieldInfo) -> OnDelete:
    if field.type.kind is Kind.RELATIONS:
        return OnDelete.MEMBER
    return OnDelete.CASCADE if field.required else OnDelete.SET
