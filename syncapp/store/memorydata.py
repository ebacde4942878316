"""What an in-memory program keeps: the part of `store.memory` that survives a crash, and the users who write to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from syncapp.core.changes import START, Cursor, JournalRow, Op, Record, Totals
from syncapp.core.clock import make_origin
from syncapp.core.mapping import Catalogue, Kind
from syncapp.core.rules import Merge
from syncapp.store.base import (
    ConflictRow,
    Contacts,
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
from syncapp.store.hostbase import Alternation, Event

Undo = Callable[[], None]


class MemoryDatabase:
    """One program's data. ``unique``: table → fields whose values must differ; ``clock``: µs."""

    def __init__(
        self,
        setup: Setup,
        instance: bytes,
        clock: Callable[[], int],
        unique: Mapping[int, Sequence[int]] | None = None,
        catalogues: Mapping[int, Catalogue] | None = None,
    ) -> None:
        self.setup = setup
        self.clock = clock
        self.unique = dict(unique or {})
        self.catalogues = dict(catalogues or {})
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
        #: The program's own code by table: called with the key of a row that was just saved through it.
        self.host: dict[int, Callable[[str], None]] = {}
        self.alternations: dict[tuple[int, int], Alternation] = {}
        self.announced: list[tuple[str, Event]] = []
        self.problems: dict[int, ProblemRow] = {}
        self.conflicts: list[ConflictRow] = []
        self.log: list[LogRow] = []
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
        """A user deletes a row."""
        self.pop(self.tables[table], key)
        self._look_at(table, key, Op.DELETE)

    def _look_at(
        self, table: int, key: str, op: Op, fields: tuple[int, ...] = (), before: Values | None = None
    ) -> None:
        self.journalled += 1
        self.journal.append(JournalRow(table, key, op, fields, self.clock(), before, self.journalled))
        self.note(self._forget_last)

    def _forget_last(self) -> None:
        self.journal.pop()

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
