"""Applying through a program's own code: per table, ``apply = "save"``.

Each record is saved by itself, with the triggers listening. What the program's code makes of it – other fields, other
values, other records – is then a change of this program like any other: it is sealed above what was applied, and
flows back. Two things are not: the fields that were applied as they came, and times that a model sets by itself.

Two programs whose code disagrees would change a field back and forth for ever. So it is counted how often in a row a
record's field does not stay as it was applied; beyond some times what comes is parked instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from syncapp.core.changes import JournalRow, Op
from syncapp.host import Applying, during
from syncapp.store.base import Backend, BadValue, LinkInfo, RowRefused, Setup
from syncapp.store.hostbase import Alternation
from syncapp.store.writing import Failure, Write

Item = tuple[Write, dict[int, Any]]

#: So often in a row a field may be changed again by the program's code.
ALTERNATIONS = 5
#: Within this time, µs, another value each time counts as the same dispute.
DISPUTE = 10_000_000


class Saver:
    """Writes rows through their models within one application of changes over one link."""

    def __init__(
        self, backend: Backend, setup: Setup, link: LinkInfo, now: int, *, initial: bool = False
    ) -> None:
        self._backend = backend
        self._setup = setup
        self._link = link
        self._now = now
        self._applying = Applying(link.name, initial)

    def handles(self, table: int) -> bool:
        """Whether rows of ``table`` are written so on this link."""
        return table in self._link.saved

    def write(self, table: int, group: list[Item]) -> None:
        """Save each; what is refused once more while others succeed, since they may have made room for it."""
        left = group
        while left:
            refused = [(item, error) for item in left if (error := self._try(table, *item)) is not None]
            if len(refused) == len(left):
                for (write, _), error in refused:
                    self._refuse(table, write, error)
                return
            left = [item for item, _ in refused]

    def _try(self, table: int, write: Write, values: dict[int, Any]) -> RowRefused | None:
        """Save one record, without the fields that alone are at fault."""
        while values:
            try:
                with self._backend.savepoint():
                    pk, echo = self._save(table, write, values)
            except RowRefused as refused:
                guilty = values.keys() & refused.fields.keys()
                # What is wrong with the record as a whole, or for want of a value, is not healed by leaving some out.
                if write.record.pk == "" or not guilty or guilty != refused.fields.keys():
                    return refused
                for field in guilty:
                    self._hold(table, write, field, refused)
                values = {field: value for field, value in values.items() if field not in guilty}
                continue
            write.record.pk, write.echo = pk, _joined(write.echo, echo)
            return None
        return None

    def _hold(self, table: int, write: Write, field: int, refused: RowRefused) -> None:
        params = self._params(table, write, refused)
        params |= {"field": self._setup.tables[table].fields[field].name, "detail": refused.fields[field]}
        write.verdicts[field].held = (refused.code, params, None)

    def _refuse(self, table: int, write: Write, refused: RowRefused) -> None:
        write.failed = Failure(refused.code, self._params(table, write, refused))

    def _params(self, table: int, write: Write, refused: RowRefused) -> dict[str, Any]:
        label = self._setup.tables[table].label
        record = write.record.pk or "+"
        return {"table": label, "record": record, "detail": refused.detail, "field": refused.detail}

    # -- one record -----------------------------------------------------------------------------------------

    def _save(self, table: int, write: Write, values: Mapping[int, Any]) -> tuple[str, JournalRow | None]:
        """Save ``values``; returns the key, and what else has changed in the row because of it."""
        pk = write.record.pk
        fields = self._setup.tables[table].fields
        watched = {n for n, field in fields.items() if n in self._setup.captured and field.stored}
        auto = {n for n, field in fields.items() if field.auto}
        times = self._times(table, pk, values, auto & watched)
        with during(self._applying):
            saved = self._backend.save_row(table, pk, values)
        if times:
            self._backend.update_rows(table, list(times), [(saved.pk, list(times.values()))])
        rows = self._backend.drain_rows(table, [saved.pk])
        columns = sorted((watched | values.keys()) - auto)
        stored = self._backend.rows(table, [saved.pk], columns).get(saved.pk)
        if stored is None:
            return saved.pk, rows[-1] if rows else None  # the program's code has deleted it
        now_there = dict(zip(columns, stored, strict=True))
        changed = self._changed(rows, saved.touched, values, now_there) & watched - auto
        self._watch(write, values, now_there, changed)
        return saved.pk, self._echo(table, saved.pk, rows, changed) if changed else None

    def _echo(self, table: int, pk: str, rows: list[JournalRow], changed: set[int]) -> JournalRow:
        """One journal row that says which fields have changed."""
        before: dict[int, Any] = {}
        for row in rows:
            for field, value in (row.before or {}).items():
                before.setdefault(field, value)
        # Where the code put the former value back, no trigger has seen a change.
        newest = rows[-1] if rows else JournalRow(table, pk, Op.UPDATE, (), self._now)
        return newest._replace(op=Op.UPDATE, fields=tuple(sorted(changed)), before=before or None)

    def _times(self, table: int, pk: str, values: Mapping[int, Any], auto: set[int]) -> dict[int, Any]:
        """Times that the model sets by itself, as they came or as they were: both programs are to have the same."""
        kept = {n: values[n] for n in sorted(auto & values.keys())}
        before = sorted(auto - values.keys())
        if pk and before:
            row = self._backend.rows(table, [pk], before).get(pk, [])
            kept |= {n: v for n, v in zip(before, row, strict=False) if not isinstance(v, BadValue)}
        return kept

    def _changed(
        self,
        rows: Iterable[JournalRow],
        touched: Iterable[int],
        values: Mapping[int, Any],
        stored: Mapping[int, Any],
    ) -> set[int]:
        """The fields that the program's code has changed: others than were applied, or to another value."""
        noted = {field for row in rows if row.op == Op.UPDATE for field in row.fields}
        found = {field for field in {*noted, *touched} if field not in values}
        return found | {field for field, value in values.items() if stored.get(field, value) != value}

    # -- disputes -------------------------------------------------------------------------------------------

    def _watch(
        self, write: Write, values: Mapping[int, Any], stored: Mapping[int, Any], changed: set[int]
    ) -> None:
        """Count how often fields do not stay as they were applied; raises `RowRefused` when it has been too often."""
        record = write.record.id
        if not record:
            return
        known = self._backend.alternations([record])
        if not changed and not known:
            return
        found: dict[tuple[int, int], Alternation | None] = {
            (record, field): None for field in values if (record, field) in known and field not in changed
        }
        disputed: set[int] = set()
        for field in changed:
            value = _digest(values[field] if field in values else stored.get(field))
            before = known.get((record, field))
            goes_on = before is not None and (before.value == value or self._now - before.at < DISPUTE)
            count = before.count + 1 if before is not None and goes_on else 1
            found[record, field] = Alternation(count, self._now, value)
            if count > ALTERNATIONS:
                disputed.add(field)
        if disputed:
            # A field that was not applied cannot be held back: what makes the program change it is.
            held = disputed if disputed <= values.keys() else set(values)
            names = self._setup.tables[write.change.table].fields
            detail = ", ".join(sorted(names[field].name for field in disputed))
            raise RowRefused(detail, "ping_pong", dict.fromkeys(held, detail))
        self._backend.save_alternations(found)


def remove_rows(backend: Backend, setup: Setup, link: LinkInfo, order: Mapping[str, Collection[str]]) -> None:
    """Remove rows by the label of their table, those that refer to others first; where it is said, by their models.

    What the models' own code does beside it is noticed by the triggers; the rows themselves the caller accounts for.
    """
    saved = {setup.tables[table].label: table for table in link.saved if table in setup.tables}
    bulk: list[tuple[str, Collection[str]]] = []
    for label, pks in order.items():
        if label not in saved:
            bulk.append((label, pks))
            continue
        if bulk:
            backend.delete_rows(bulk)
            bulk = []
        with during(Applying(link.name)):
            for pk in pks:
                backend.remove_row(saved[label], pk)
        backend.drain_rows(saved[label], pks)
    if bulk:
        backend.delete_rows(bulk)


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(value), digest_size=8).digest()


def _joined(first: JournalRow | None, second: JournalRow | None) -> JournalRow | None:
    """Both echoes of one record, which was saved twice: created, and then given its late relations."""
    if first is None or second is None:
        return second or first
    if second.op != Op.UPDATE:
        return second
    fields = tuple(sorted({*first.fields, *second.fields}))
    return second._replace(fields=fields, before={**(second.before or {}), **(first.before or {})} or None)
