"""Writing what the merge decided, set-based: a handful of statements for a batch, records singly only on refusal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from syncapp.core.changes import JournalRow, Record
from syncapp.core.clock import Version
from syncapp.core.mapping import Kind
from syncapp.core.merge import Merged, Outcome
from syncapp.core.parts import Parts
from syncapp.core.rules import Merge
from syncapp.store.base import ASK, Backend, RowRefused, Setup
from syncapp.store.faults import told
from syncapp.store.locking import BUSY
from syncapp.store.parked import Cell, Incoming
from syncapp.store.resolve import Local, Resolver
from syncapp.store.systemvalues import is_kept
from syncapp.store.values import identical

Held = tuple[str, dict[str, Any], bytes | None]


class Failure(NamedTuple):
    """Why a whole record could not be written."""

    code: str
    params: dict[str, Any]
    waits_for: bytes | None = None


class Loser(NamedTuple):
    """What was decided between two values that did not know of each other, in local terms."""

    won: Any
    lost: Any
    won_version: Version
    lost_version: Version


class Verdict:
    """What was decided for one field; ``held`` says why it cannot be written yet.

    Of a sum or a union: the ``parts`` that it then has, whether they go ``back`` to the peer too since they are more
    than it sent, and the value that a lost baseline made. Of a relation: whether it was ``emptied``, since what
    it refers to is not here. Of a system field without a column: it is ``kept`` with the record.
    """

    __slots__ = ("back", "cell", "emptied", "held", "kept", "loser", "merged", "parts", "value")

    def __init__(self, cell: Cell, merged: Merged, value: Any, held: Held | None = None) -> None:
        self.cell = cell
        self.merged = merged
        self.value = value
        self.held = held
        self.parts: Parts = ()
        self.back = False
        self.emptied = False
        self.kept = False
        self.loser: Loser | None = None


class Write:
    """One record to create or update, with a verdict per field; ``failed`` after a refusal."""

    __slots__ = (
        "change",
        "create",
        "echo",
        "failed",
        "kept",
        "late",
        "ours",
        "record",
        "stands",
        "verdicts",
        "versions",
    )

    def __init__(
        self, change: Incoming, record: Record, *, create: bool, ours: dict[int, Any] | None = None
    ) -> None:
        self.change = change
        self.record = record
        self.create = create
        self.ours = ours or {}
        self.verdicts: dict[int, Verdict] = {}
        self.versions: dict[int, Version] = {}
        self.failed: Failure | None = None
        self.late: dict[int, Any] = {}
        #: What the program's own code made of it, where the table is written through its model.
        self.echo: JournalRow | None = None
        #: Of a record that comes back: what else its row had, by field name.
        self.kept: dict[str, Any] | None = None
        #: Of such a record: whether its row is there, and only said that it is deleted.
        self.stands = False

    def decide(self, field: int, cell: Cell, merged: Merged, local: Local) -> None:
        """Note the verdict on one field; what refers to a missing record is held."""
        entry = self.record.entries.get(field)
        if entry is not None:
            self.versions[field] = entry.version
        readable = local.ready and not local.fault
        verdict = Verdict(cell, merged, local.value if readable else cell.value)
        verdict.emptied = local.emptied
        if local.fault and merged.outcome.writes:
            verdict.held = (local.code, {"value": _short(cell.value), **told(local.fault)}, None)
        elif not local.ready and merged.outcome.writes:
            verdict.held = (local.code, local.params, local.missing)
        elif merged.outcome is Outcome.ASK:
            verdict.held = (ASK, {}, None)
        self.verdicts[field] = verdict

    def written(self) -> list[int]:
        """The fields of a standing record that have a new version."""
        return (
            []
            if self.create
            else [f for f, v in self.verdicts.items() if not v.held and v.merged.outcome.writes]
        )

    def result(self, field: int) -> str:
        """What became of ``field``, for the account."""
        outcome = self.verdicts[field].merged.outcome
        if self.create or outcome.writes:
            return "applied"
        return "duplicate" if outcome in (Outcome.DUPLICATE, Outcome.BASELINE) else "superseded"


class Rows(Protocol):
    """Writes rows of some tables one by one, in a way of its own (see `store.saving`)."""

    def handles(self, table: int) -> bool: ...

    def write(self, table: int, group: list[tuple[Write, dict[int, Any]]]) -> None:
        """Create and update; sets ``failed``, ``held``, ``echo`` and the keys of new records."""
        ...


class Writer:
    """Writes the decided records of one wave."""

    def __init__(self, backend: Backend, setup: Setup, resolver: Resolver, rows: Rows | None = None) -> None:
        self._backend = backend
        self._setup = setup
        self._resolver = resolver
        self._rows = rows

    def write(self, writes: list[Write]) -> None:
        """Create and update; sets ``failed``, ``held`` and the keys of new records."""
        for write in writes:
            if write.create:
                self._plan_creation(write)
        self._create([write for write in writes if write.create and write.failed is None])
        self._update([write for write in writes if not write.create])

    # -- creating -------------------------------------------------------------------------------------------

    def _plan_creation(self, write: Write) -> None:
        fields = self._setup.tables[write.change.table].fields
        for field, cell in write.change.cells.items():
            outcome = Merged(Outcome.APPLY, cell.version)
            write.verdicts[field] = Verdict(cell, outcome, cell.value)
            write.verdicts[field].kept = is_kept(fields[field])
            if fields[field].merge is not Merge.VALUE:
                write.verdicts[field].parts = cell.parts

    def _create(self, writes: list[Write]) -> None:
        """Create level by level: what is referred to first; a cycle is broken at its optional relations."""
        pending = {write.change.uid: write for write in writes}
        while pending:
            ready = [w for w in pending.values() if not (self._missing(w, required=False) & pending.keys())]
            if not ready:
                ready = [
                    w for w in pending.values() if not (self._missing(w, required=True) & pending.keys())
                ]
            if not ready:
                ready = list(pending.values())
            for write in ready:
                del pending[write.change.uid]
            self._create_level(ready)
        self._fill_late(writes)

    def _missing(self, write: Write, *, required: bool) -> set[bytes]:
        """uids that the record's relations (or only its required ones) need and that are not here."""
        fields = self._setup.tables[write.change.table].fields
        found: set[bytes] = set()
        for field, verdict in write.verdicts.items():
            info = fields[field]
            if not info.target or (required and (info.type.null or info.type.kind is Kind.RELATIONS)):
                continue
            local = self._resolver.local(info, verdict.cell.value)
            if local.missing is not None:
                found.add(local.missing)
        return found

    def _create_level(self, writes: list[Write]) -> None:
        groups: dict[tuple[Any, ...], list[tuple[Write, dict[int, Any]]]] = defaultdict(list)
        for write in writes:
            values = self._values_of(write)
            if write.failed is None:
                key = (write.change.table, tuple(sorted(values)), write.kept is not None, write.stands)
                groups[key].append((write, values))
        for (table, *_), group in groups.items():
            self._insert(table, group)

    def _values_of(self, write: Write) -> dict[int, Any]:
        """The values to insert; relations to records that are not here wait, alone or with the whole record."""
        info = self._setup.tables[write.change.table]
        values: dict[int, Any] = {}
        for field, verdict in write.verdicts.items():
            spec = info.fields[field]
            if field == info.status:
                continue  # it has no column: that the row is there says it
            local = self._resolver.local(spec, verdict.cell.value)
            if not local.ready:
                params = {"table": info.label, "field": spec.name, **local.params}
                if not spec.type.null and spec.type.kind is not Kind.RELATIONS:
                    write.failed = Failure(local.code, params, local.missing)
                    return {}
                verdict.held = (local.code, params, local.missing)
                if not verdict.kept:
                    write.late[field] = verdict.cell.value
                continue
            reason = local.fault or self._backend.check(write.change.table, field, local.value)
            if reason:
                params = {
                    "table": info.label,
                    "field": spec.name,
                    "value": _short(verdict.value),
                    **told(reason),
                }
                write.failed = Failure(local.code, params)
                return {}
            verdict.value, verdict.emptied = local.value, local.emptied
            if not verdict.kept:
                values[field] = local.value
        return values

    def _insert(self, table: int, group: list[tuple[Write, dict[int, Any]]]) -> None:
        def some(items: list[tuple[Write, dict[int, Any]]]) -> None:
            if items[0][0].stands:
                keys = self._wake(table, items)
            elif items[0][0].kept is not None:
                label = self._setup.tables[table].label
                keys = [self._backend.restore_row(label, w.kept or {}, values) for w, values in items]
            else:
                keys = self._backend.insert_rows(table, [values for _, values in items])
            for (write, _), key in zip(items, keys, strict=True):
                write.record.pk = key

        # What comes back to life is put back as it was.
        fresh = group[0][0].kept is None and not group[0][0].stands
        if self._rows is not None and self._rows.handles(table) and fresh:
            self._rows.write(table, group)
        else:
            self._in_bulk_or_singly(table, group, some)
        for write, _ in group:
            if write.failed is None:
                self._resolver.created(write.change.uid, write.record.pk)

    def _wake(self, table: int, items: list[tuple[Write, dict[int, Any]]]) -> list[str]:
        """Let rows that counted as deleted live, with the values that came; their keys."""
        info = self._setup.tables[table]
        assert info.soft is not None
        rows = {write.record.pk: {**values, **info.soft.alive} for write, values in items}
        columns = sorted(next(iter(rows.values())))
        self._backend.update_rows(
            table, columns, [(pk, [values[column] for column in columns]) for pk, values in rows.items()]
        )
        return list(rows)

    def _fill_late(self, writes: list[Write]) -> None:
        """Relations within a cycle: set them now that both ends exist."""
        again: list[Write] = []
        for write in writes:
            if write.failed is not None:
                continue
            fields = self._setup.tables[write.change.table].fields
            for field, value in write.late.items():
                local = self._resolver.local(fields[field], value)
                if local.ready:
                    verdict = write.verdicts[field]
                    verdict.held, verdict.value = None, local.value
            again.append(write)
        self._update_rows(again, _late)
        for write in again:
            if write.failed is not None:  # the record stands; only these fields wait
                for field in _late(write):
                    write.verdicts[field].held = (write.failed.code, write.failed.params, None)
                write.failed = None

    # -- updating -------------------------------------------------------------------------------------------

    def _update(self, writes: list[Write]) -> None:
        for write in writes:
            self._check_fields(write)
        self._update_rows(writes, _written)

    def _check_fields(self, write: Write) -> None:
        """Hold fields whose value the database or the field cannot take; the rest of the record goes on."""
        info = self._setup.tables[write.change.table]
        for field, verdict in write.verdicts.items():
            name = info.fields[field].name
            if verdict.held is not None:
                code, params, waits = verdict.held
                verdict.held = (code, {**params, "table": info.label, "field": name}, waits)
            elif verdict.merged.outcome.writes:
                reason = self._backend.check(write.change.table, field, verdict.value)
                if reason:
                    params = {
                        "table": info.label,
                        "field": name,
                        "value": _short(verdict.value),
                        **told(reason),
                    }
                    verdict.held = ("value", params, None)

    def _update_rows(self, writes: list[Write], values_of: Callable[[Write], dict[int, Any]]) -> None:
        groups: dict[tuple[int, tuple[int, ...]], list[tuple[Write, dict[int, Any]]]] = defaultdict(list)
        for write in writes:
            values = values_of(write)
            if values:
                groups[write.change.table, tuple(sorted(values))].append((write, values))
        for (table, fields), group in groups.items():
            self._update_group(table, fields, group)

    def _update_group(
        self, table: int, fields: tuple[int, ...], group: list[tuple[Write, dict[int, Any]]]
    ) -> None:
        def some(items: list[tuple[Write, dict[int, Any]]]) -> None:
            rows = [(write.record.pk, [values[field] for field in fields]) for write, values in items]
            self._backend.update_rows(table, fields, rows)

        if self._rows is not None and self._rows.handles(table):
            self._rows.write(table, group)
        else:
            self._in_bulk_or_singly(table, group, some)

    def _in_bulk_or_singly(
        self,
        table: int,
        group: list[tuple[Write, dict[int, Any]]],
        action: Callable[[list[tuple[Write, dict[int, Any]]]], None],
    ) -> None:
        """All at once; if the database refuses, one by one, so that only the bad ones fail.

        What is refused is tried again while others of the group succeed: they may have made room for its unique value.
        """
        refused = self._try(group, action)
        if refused is None:
            return
        left = group
        while left:
            tried = [(item, error) for item in left if (error := self._try([item], action)) is not None]
            failures = [(item, error) for item, error in tried if error.code != BUSY]
            hopeless = len(failures) == len(left)
            for (write, _), error in tried:
                # Somebody who holds what a record needs will not have let go of it by the next round.
                if hopeless or error.code == BUSY:
                    self._refuse(table, write, error)
            left = [] if hopeless else [item for item, _ in failures]

    def _try(
        self,
        group: list[tuple[Write, dict[int, Any]]],
        action: Callable[[list[tuple[Write, dict[int, Any]]]], None],
    ) -> RowRefused | None:
        try:
            with self._backend.savepoint():
                action(group)
        except RowRefused as refused:
            return refused
        return None

    def _refuse(self, table: int, write: Write, refused: RowRefused) -> None:
        label = self._setup.tables[table].label
        record = write.record.pk or "+"
        params = {"table": label, "record": record, "detail": refused.detail, "field": refused.detail}
        write.failed = Failure(refused.code, params)


def _written(write: Write) -> dict[int, Any]:
    """The values of an update that change something."""
    return {
        field: verdict.value
        for field, verdict in write.verdicts.items()
        if verdict.held is None
        and not verdict.kept
        and verdict.merged.outcome.writes
        and not (field in write.ours and identical(write.ours[field], verdict.value))
    }


def _late(write: Write) -> dict[int, Any]:
    """The values of relations that were filled in once both ends existed."""
    return {field: write.verdicts[field].value for field in write.late if write.verdicts[field].held is None}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"
