"""What must hold while a world lives, watched from outside: the harness's own record of every edit and every batch.

Nothing here uses the code under test to decide: a stamp's value is what stood in the table when the stamp was first
seen, and a change came by the link whose batch brought it. `tests.simulation.judge` looks at the programs at rest.
Each violation names the promise of the design that is broken (G1–G13).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from syncapp.core.changes import Batch, Record, Row, RowKind
from syncapp.core.clock import Version, instance_of, sees
from syncapp.core.mapping import Kind
from syncapp.core.rules import SIDED, Merge
from tests.simulation.joined import Accounts
from tests.simulation.schema import SPECS, Key, Spec
from tests.simulation.topology import LinkPlan, reach

if TYPE_CHECKING:
    from tests.simulation.instance import Instance
    from tests.simulation.world import World

Stamp = tuple[int, bytes]


class Ref(NamedTuple):
    """A relation's value as it stood in a table: resolved to the record's names when it is compared."""

    instance: int
    table: str
    pk: str


class Edit(NamedTuple):
    """A user's edit of a text that nobody else has written."""

    instance: int
    table: str
    pk: str
    name: str
    value: str


class Violation(AssertionError):
    """An invariant does not hold."""


def accounted(world: World) -> set[tuple[Key, Any]]:
    """The texts that stand somewhere, that lost and are kept, or that somebody saw and replaced."""
    known = set(world.oracle.replaced)
    for instance in world.instances:
        database, key_of = instance.database, instance.numbers.key
        for row in database.conflicts:
            if isinstance(row.lost, dict):  # edits that were lost with their record
                table = instance.numbers.table_name[row.table]
                known.update(((table, name), value) for name, value in row.lost.items() if _text(value))
            if row.field in key_of:
                kept = (row.lost, row.won) if row.resolved == "restored" else (row.lost,)
                known.update((key_of[row.field], value) for value in kept if _text(value))
        for gone in database.archive:
            table = gone.label.rpartition(".")[2].lower()
            known.update(((table, name), value) for name, value in gone.values.items() if _text(value))
        for rows in database.tables.values():
            for values in rows.values():
                known.update(
                    (key_of[f], value) for f, value in values.items() if f in key_of and _text(value)
                )
    return known


def _text(value: Any) -> bool:
    return isinstance(value, str)


class Oracle:
    """Watches all programs of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.history: dict[tuple[bytes, Key], dict[Stamp, list[Any]]] = defaultdict(dict)
        self.edits: list[Edit] = []
        self.accounts = Accounts()
        #: uid → the newest stamp of a deletion, and the newest of an edit or of a word "alive"
        self.deaths: dict[bytes, Stamp] = {}
        self.lives: dict[bytes, Stamp] = {}
        self.replaced: set[tuple[Key, str]] = set()  # values that a user saw and replaced
        self.authors: dict[tuple[Key, Any], set[int]] = defaultdict(set)
        self.rows: dict[tuple[int, str, str], bytes] = {}
        self.seen: dict[int, dict[int, Record]] = defaultdict(dict)
        self._later: dict[int, set[int]] = defaultdict(set)
        #: (program, record, field) → the stamp that stands there and the link whose batch brought it
        self.came: dict[tuple[int, int, int], tuple[Stamp, int]] = {}
        #: (link, source, record there, field, stamp) → how often it was sent as a change
        self.sent: dict[tuple[int, int, int, int, Stamp], int] = defaultdict(int)
        self._given: dict[tuple[int, int, Key], Stamp] = {}
        self.judged = 0
        self.excused: dict[str, int] = defaultdict(int)
        self.sources = {key: self._sources(key) for key in SPECS}
        self.single = {key: self._single(key) for key in SPECS}

    def _sources(self, key: Key) -> list[frozenset[int]]:
        """For each program, those whose values of ``key`` may come to stand there."""
        programs = range(self.world.size)
        reached = [reach(self.world.links, key, source) for source in programs]
        return [frozenset(s for s in programs if here in reached[s]) for here in programs]

    def _single(self, key: Key) -> set[tuple[int, int]]:
        """(link, program) by which alone a program hears of ``key``, and the source nothing of the program's."""
        found = set()
        for link in self.world.links:
            for source, here in link.directed:
                others = [other for other in self.world.links if other is not link]
                hears = any(
                    other.flows(key, other.peer_of(here))
                    for other in others
                    if here in (other.active, other.passive)
                )
                apart = source not in reach(self.world.links, key, here)
                if link.flows(key, source) and apart and not hears:
                    found.add((link.number, here))
        return found

    # -- what users do --------------------------------------------------------------------------------------

    def edited(
        self, instance: Instance, table: str, pk: str, values: dict[str, Any], before: dict[int, Any]
    ) -> None:
        """A user has written ``values`` over the row ``before`` (empty: created it)."""
        for name, value in values.items():
            key = (table, name)
            if SPECS[key].merge is not Merge.VALUE:
                old = before.get(instance.numbers.field[key])
                place = (instance.index, table, pk)
                self.accounts.wrote(place, key, old, value, created=not before)
            if SPECS[key].kind is not Kind.TEXT:
                continue
            old = before.get(instance.numbers.field[key])
            self.authors[key, value].add(instance.index)
            if old is not None and old != value:
                self.replaced.add((key, old))
            if not SPECS[key].unique:
                self.edits.append(Edit(instance.index, table, pk, name, value))

    def decided(
        self, instance: Instance, key: Key, value: Any, *, new: tuple[str, str] | None = None
    ) -> None:
        """A person there has decided for ``value``; ``new`` (table, row): which nobody had written before."""
        self.authors[key, value].add(instance.index)
        if new is not None:
            self.edits.append(Edit(instance.index, *new, key[1], value))

    def removed(self, instance: Instance, table: str, before: dict[int, Any]) -> None:
        """A user has removed the row ``before``, and with it what stood in it."""
        for number, value in before.items():
            key = instance.numbers.key.get(number)
            if key is not None and SPECS[key].kind is Kind.TEXT:
                self.replaced.add((key, value))

    def restored(self, instance: Instance) -> None:
        """The program's database went back. What nobody else has is lost, by rule; everything else is owed still."""
        index, database = instance.index, instance.database
        known = accounted(self.world)
        self.edits = [edit for edit in self.edits if ((edit.table, edit.name), edit.value) in known]
        self.accounts.restored(self.world)
        self.seen[index] = {}
        self._later[index] = set(database.records)
        self.came = {place: came for place, came in self.came.items() if place[0] != index}
        for link in instance.links:
            self.world.delivered[index, link] = database.cursors[link].totals.received
        self.world.batches.clear()

    # -- what programs do -----------------------------------------------------------------------------------

    def observe(self, instance: Instance, touched: set[int]) -> None:
        """After each unit of work: which value carries which stamp. One stamp must never name two values."""
        index, database = instance.index, instance.database
        seen, later = self.seen[index], self._later[index]
        if not touched and not later:
            return
        pending = {(row.table, row.pk) for row in database.journal}
        for number in touched | later:
            record = database.records.get(number)
            if record is None:
                continue
            if (record.table, record.pk) in pending:
                later.add(number)
                continue
            later.discard(number)
            before = seen.get(number)
            seen[number] = record
            table = instance.numbers.table_name[record.table]
            self.rows[index, table, record.pk] = record.uid
            row = database.tables[record.table].get(record.pk)
            self._note_record(instance, record, before, row)
        touched.clear()

    def _note_record(
        self, instance: Instance, record: Record, before: Record | None, row: dict[int, Any] | None
    ) -> None:
        known = before.entries if before is not None else {}
        if self.world.traits.deaths:
            self._note_life(instance, record)
        for field, entry in record.entries.items():
            old = known.get(field)
            key = instance.numbers.key.get(field)
            if old == entry or key is None or SPECS[key].merge is not Merge.VALUE:
                continue
            if old is not None and self._back(key, entry.version, old.version):
                raise Violation(f"G4: {key} of {instance.label} goes back: {old} → {entry}")
            if row is not None:
                value = self.token(instance, SPECS[key], row.get(field))
                self._note(record.uid, key, entry.version.stamp, value)

    def _note_life(self, instance: Instance, record: Record) -> None:
        """Whether a record lives is a field like any other: see `core.liveness`."""
        status = instance.numbers.life[instance.numbers.table_name[record.table]][0]
        for field, entry in record.entries.items():
            if field == status or field in instance.numbers.key:
                ends = field == status and not record.alive
                newest, stamp = self.deaths if ends else self.lives, entry.version.stamp
                newest[record.uid] = max(stamp, newest.get(record.uid, stamp))

    def _back(self, key: Key, new: Version, old: Version) -> bool:
        """Whether a version must not take the place of another one. Where a side wins its stamp may be the smaller
        one; then it has seen the loser."""
        if self.world.traits.policies.get(key) in SIDED:
            return not sees(new, old)
        return new.stamp < old.stamp

    def _note(self, uid: bytes, key: Key, stamp: Stamp, value: Any) -> None:
        values = self.history[uid, key].setdefault(stamp, [])
        if value not in values:
            values.append(value)
            if len(values) > 1 and not isinstance(value, Ref | tuple):
                raise Violation(f"G1: one stamp names two values: {key} {values}")

    def token(self, instance: Instance, spec: Spec, value: Any) -> Any:
        """A value as it is noted: comparable between programs once `resolve` knows everybody's names."""
        if spec.kind is Kind.RELATION and value is not None:
            return Ref(instance.index, spec.target, value)
        if spec.kind is Kind.RELATIONS:
            return tuple(Ref(instance.index, spec.target, pk) for pk in value or ())
        return value

    # -- what travels ---------------------------------------------------------------------------------------

    def read(self, link: LinkPlan, source: Instance, batch: Batch) -> None:
        """``source`` has made a batch for the other end of ``link``."""
        peer = self.world.instances[link.peer_of(source.index)]
        database, numbers = source.database, source.numbers
        for section in batch.sections:
            for column in section.columns:
                if not self._may_tell(link, source, column):
                    what = numbers.key.get(column, "lives")
                    raise Violation(
                        f"G7: {source.label} tells {peer.label} of {what} over link {link.number}"
                    )
            for row in section.rows:
                if row.kind != RowKind.FIELDS:
                    continue
                number = database.by_uid[row.uid]
                if self.world.restores or self.world.clones or database.records[number].uid in self.deaths:
                    continue  # it goes again, or came by another way than before
                for field, stamp in self._stamps(batch, row, section.columns):
                    if field not in numbers.key or SPECS[numbers.key[field]].merge is not Merge.VALUE:
                        continue  # what is joined goes back too, until both are the same
                    self._no_echo(link, source, peer, number, field, stamp)

    def _may_tell(self, link: LinkPlan, source: Instance, column: int) -> bool:
        """Whether a column may be in a batch of ``source``."""
        key = source.numbers.key.get(column)
        if key is not None:
            return link.flows(key, source.index)
        table = next(table for table, life in source.numbers.life.items() if column in life)
        dated = column == source.numbers.life[table][1]
        return (link.dated if dated else link.mortal)(source.index, table).sends

    def _no_echo(
        self, link: LinkPlan, source: Instance, peer: Instance, number: int, field: int, stamp: Stamp
    ) -> None:
        """G5: a change is never sent to its origin, nor to the link that it arrived by."""
        what = f"{source.numbers.key[field]} {stamp}"
        if instance_of(stamp[1]) == peer.identity:
            raise Violation(f"G5: {source.label} tells {peer.label} its own edit: {what}")
        if self.came.get((source.index, number, field)) == (stamp, link.number):
            raise Violation(f"G5: {source.label} sends back over link {link.number}: {what}")
        self.sent[link.number, source.index, number, field, stamp] += 1

    def _stamps(self, batch: Batch, row: Row, columns: list[int]) -> list[tuple[int, Stamp]]:
        """(column, stamp) of the versioned cells of a row."""
        versions = row.versions * len(columns) if len(row.versions) == 1 else row.versions
        return [
            (column, (version.time, batch.origins[version.origin]))
            for column, version in zip(columns, versions, strict=True)
            if version is not None
        ]

    def applied(self, link: LinkPlan, instance: Instance, batch: Batch) -> None:
        """``instance`` has applied a batch of the other end of ``link``; called before `observe`."""
        index, database, seen = instance.index, instance.database, self.seen[instance.index]
        peer = self.world.instances[link.peer_of(index)]
        for section in batch.sections:
            for row in section.rows:
                number = database.by_uid.get(row.uid)
                record = database.records.get(number) if number is not None else None
                if number is None or record is None or not record.alive:
                    continue
                before = seen[number].entries if number in seen else {}
                for column, stamp in self._stamps(batch, row, section.columns):
                    key = peer.numbers.key.get(column)
                    if key is None or SPECS[key].merge is not Merge.VALUE:
                        continue
                    field = instance.numbers.field[key]
                    entry, old = record.entries.get(field), before.get(field)
                    if entry and entry.version.stamp == stamp and (not old or old.version.stamp != stamp):
                        self.came[index, number, field] = (stamp, link.number)
                    if (link.number, index) in self.single[key]:
                        self._source_wins(link, instance, record, key, stamp)

    def _source_wins(
        self, link: LinkPlan, instance: Instance, record: Record, key: Key, stamp: Stamp
    ) -> None:
        """§7: where a field only comes in, what was edited here in ignorance of the source's next value gives way."""
        place = (instance.index, record.id, key)
        if self.world.restores or self.world.clones:
            return  # what comes again is no next word of the source
        if self._given.get(place, (0, b"")) >= stamp:
            return
        self._given[place] = stamp
        field = instance.numbers.field[key]
        if any(problem.field in (0, field) for problem in self.world.parked(instance, link, record)):
            return
        row = instance.database.tables[record.table].get(record.pk)
        known = self.history.get((record.uid, key), {}).get(stamp)
        if row is None or not known or isinstance(known[0], Ref | tuple):
            return
        if row.get(instance.numbers.field[key]) not in known:
            raise Violation(f"§7: {instance.label} does not take the source's {key} {known[0]!r}: {record}")
