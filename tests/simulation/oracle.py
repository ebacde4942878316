"""What must hold, judged from outside: the harness's own record of every edit, and the databases at rest.

Nothing here uses the code under test to decide: a stamp's value is what stood in the table when the stamp was first
seen; an edit is accounted for when its value is final, was overwritten by someone who had it before them, or is kept
in a conflict list.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from syncapp.core.changes import Batch, Record, RowKind
from syncapp.core.clock import sees
from syncapp.core.mapping import Kind
from syncapp.store.base import ProblemRow
from tests.simulation.schema import SPECS, Spec

if TYPE_CHECKING:
    from tests.simulation.instance import Instance, LinkPlan
    from tests.simulation.world import World

Key = tuple[str, str]


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


class Oracle:
    """Watches all programs of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.history: dict[tuple[bytes, Key], dict[tuple[int, bytes], list[Any]]] = defaultdict(dict)
        self.edits: list[Edit] = []
        self.overwritten: set[tuple[str, str]] = set()  # (field, value) that a user saw and replaced
        self.known: set[tuple[str, Any]] = set()  # (field, value) that a user wrote
        self.gone: set[tuple[int, str, str]] = set()
        self.rows: dict[tuple[int, str, str], bytes] = {}
        self._seen: dict[int, dict[int, Record]] = defaultdict(dict)
        self.excused: dict[str, int] = defaultdict(int)

    # -- while it runs --------------------------------------------------------------------------------------

    def edited(
        self, instance: Instance, table: str, pk: str, values: dict[str, Any], before: dict[int, Any]
    ) -> None:
        """A user has written ``values`` over the row ``before`` (empty: created it)."""
        for name, value in values.items():
            spec = SPECS[table, name]
            if spec.kind is not Kind.TEXT:
                continue
            field = f"{table}.{name}"
            old = before.get(instance.numbers.field[table, name])
            self.known.add((field, value))
            if old is not None and old != value:
                self.overwritten.add((field, old))
            if not spec.unique:
                self.edits.append(Edit(instance.index, table, pk, name, value))

    def removed(self, instance: Instance, table: str, pk: str) -> None:
        self.gone.add((instance.index, table, pk))

    def observe(self, instance: Instance) -> None:
        """After each unit of work: which value carries which stamp. One stamp must never name two values."""
        database, seen = instance.database, self._seen[instance.index]
        pending = {(row.table, row.pk) for row in database.journal}
        for number, record in database.records.items():
            before = seen.get(number)
            if before is record or (record.table, record.pk) in pending:
                continue
            seen[number] = record
            table = instance.numbers.table_name[record.table]
            self.rows[instance.index, table, record.pk] = record.uid
            row = database.tables[record.table].get(record.pk)
            if row is None:
                continue
            for field, entry in record.entries.items():
                if before is not None and before.entries.get(field) == entry:
                    continue
                key = instance.numbers.key[field]
                value = self.token(instance, SPECS[key], row.get(field))
                self.note(record.uid, key, entry.version.stamp, value)

    def note(self, uid: bytes, key: Key, stamp: tuple[int, bytes], value: Any) -> None:
        values = self.history[uid, key].setdefault(stamp, [])
        if value not in values:
            values.append(value)
            if len(values) > 1 and not isinstance(value, Ref | tuple):
                raise Violation(f"one stamp names two values: {key} {values}")

    def token(self, instance: Instance, spec: Spec, value: Any) -> Any:
        if spec.kind is Kind.RELATION and value is not None:
            return Ref(instance.index, spec.target, value)
        if spec.kind is Kind.RELATIONS:
            return tuple(Ref(instance.index, spec.target, pk) for pk in value or ())
        return value

    def delivered(self, instance: Instance, batch: Batch) -> None:
        """No echo: a program's own edits do not come back to it, unless as a part of a whole record."""
        own = {i for i, origin in enumerate(batch.origins) if origin[:16] == instance.identity}
        for section in batch.sections:
            for row in section.rows:
                if row.kind == RowKind.FIELDS and any(
                    v is not None and v.origin in own for v in row.versions
                ):
                    raise Violation(f"echo: {instance.label} is told its own edit: {section.table} {row}")

    # -- at rest --------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """All invariants, between each pair of linked programs."""
        self.unify()
        for link in self.world.links:
            pair = (self.world.instances[link.active], self.world.instances[link.passive])
            for here, there in (pair, pair[::-1]):
                self.judge_problems(link, here)
                self.judge_records(link, here, there)
                self.judge_receipts(link, here, there)
        for instance in self.world.instances:
            self.judge_rows(instance)
        self.judge_edits()

    def unify(self) -> None:
        """One name for each record, whatever the programs call it."""
        parent: dict[bytes, bytes] = {}

        def root(uid: bytes) -> bytes:
            while parent.get(uid, uid) != uid:
                uid = parent[uid]
            return uid

        for instance in self.world.instances:
            for uid, number in instance.database.by_uid.items():
                a, b = root(uid), root(instance.database.records[number].uid)
                parent[max(a, b)] = min(a, b)
        self.root = root
        merged: dict[tuple[bytes, Key], dict[tuple[int, bytes], list[Any]]] = defaultdict(dict)
        for (uid, key), stamps in self.history.items():
            for stamp, values in stamps.items():
                merged[root(uid), key].setdefault(stamp, []).extend(values)
        self.merged = merged
        for (_, key), stamps in merged.items():
            for values in stamps.values():
                if len({self.resolve(value) for value in values}) > 1:
                    raise Violation(f"one stamp names two values: {key} {values}")

    def resolve(self, token: Any) -> Any:
        """A value that can be compared between programs."""
        if isinstance(token, Ref):
            uid = self.rows.get(token)
            return self.root(uid) if uid is not None else None
        if isinstance(token, tuple):
            return tuple(sorted(self.resolve(part) or b"" for part in token))
        return token

    def value(self, instance: Instance, record: Record, key: Key) -> Any:
        row = instance.database.tables[record.table].get(record.pk, {})
        return self.resolve(self.token(instance, SPECS[key], row.get(instance.numbers.field[key])))

    def problems(self, instance: Instance, link: LinkPlan) -> dict[bytes, list[ProblemRow]]:
        found: dict[bytes, list[ProblemRow]] = defaultdict(list)
        for problem in instance.database.problems.values():
            if problem.link == link.number and problem.way == "in":
                found[self.root(problem.uid)].append(problem)
        return found

    def judge_records(self, link: LinkPlan, here: Instance, there: Instance) -> None:
        """Every record here stands there, equal in all that flows, or a problem says why not."""
        parked_here, parked_there = self.problems(here, link), self.problems(there, link)
        for record in here.database.records.values():
            if not record.alive:
                continue
            uid = self.root(record.uid)
            number = there.database.by_uid.get(record.uid)
            table = here.numbers.table_name[record.table]
            if number is None:
                if any(p.field == 0 for p in parked_there[uid]):
                    self.excused["parked record"] += 1
                    continue
                raise Violation(f"{there.label} lacks {table} {record.pk} of {here.label}: {record}")
            other = there.database.records[number]
            if not other.alive:
                self.excused["deleted"] += 1
                continue
            if self.root(other.uid) != uid:
                raise Violation(f"names differ: {record.uid.hex()} {other.uid.hex()}")
            problems = parked_here[uid] + parked_there[uid]
            for key in ((t, name) for t, name in SPECS if t == table):
                self.judge_field(link, (here, record), (there, other), key, problems)

    def judge_field(
        self,
        link: LinkPlan,
        ours: tuple[Instance, Record],
        theirs: tuple[Instance, Record],
        key: Key,
        problems: list[ProblemRow],
    ) -> None:
        here, record = ours
        there, other = theirs
        spec = SPECS[key]
        fields = {0, here.numbers.field[key], there.numbers.field[key]}
        if any(problem.field in fields for problem in problems):
            self.excused["parked field"] += 1
            return
        mine = record.entries.get(here.numbers.field[key])
        its = other.entries.get(there.numbers.field[key])
        equal = self.value(here, record, key) == self.value(there, other, key)
        if spec.way.value == "both":
            if not equal:
                raise Violation(f"{key} differs: {self.show(*ours, key)} – {self.show(*theirs, key)}")
            if mine is not None or its is not None:
                newest = max(self.merged[self.root(record.uid), key])
                if not (mine and its and mine.version.stamp == its.version.stamp == newest):
                    raise Violation(
                        f"{key}: not the newest stamp {newest}: {self.show(*ours, key)} – {self.show(*theirs, key)}"
                    )
            return
        source = spec.way.value == "upload"
        if (here.index == link.active) != source or equal:
            return
        # ``here`` is the source and the values differ: only a later edit over there explains that.
        local = its is not None and its.version.origin[:16] == there.identity
        if not (local and its is not None and (mine is None or sees(its.version, mine.version))):
            raise Violation(f"one-way {key} differs: {self.show(*ours, key)} – {self.show(*theirs, key)}")

    def show(self, instance: Instance, record: Record, key: Key) -> str:
        entry = record.entries.get(instance.numbers.field[key])
        return f"{instance.label}{record.pk} {self.value(instance, record, key)!r} {entry}"

    def judge_problems(self, link: LinkPlan, here: Instance) -> None:
        """A problem that remains must have a reason that still holds."""
        for problems in self.problems(here, link).values():
            for problem in problems:
                if problem.code == "missing_target":
                    number = here.database.by_uid.get(problem.waits_for or b"")
                    if number is not None and here.database.records[number].alive:
                        raise Violation(f"waits for what is here: {problem}")
                elif problem.code == "ambiguous":
                    root = self.root(
                        problem.uid
                    )  # two rows here that are one record there stay two: that is a problem
                    rows = [r for r in here.database.records.values() if r.alive and self.root(r.uid) == root]
                    if len(rows) == 1:
                        raise Violation(f"called ambiguous, but known by another name: {problem}")
                elif problem.code != "not_unique":
                    raise Violation(f"problem without a reason: {problem}")

    def judge_receipts(self, link: LinkPlan, here: Instance, there: Instance) -> None:
        """What we heard of the peer's account is the peer's account, and it adds up."""
        told = here.database.cursors[link.number].peer_totals
        kept = there.database.cursors[link.number].totals
        if told != kept:
            raise Violation(f"{here.label} heard {told}, {there.label} counted {kept}")
        if kept.received != kept.applied + kept.superseded + kept.duplicate + kept.parked:
            raise Violation(f"the account does not add up: {kept}")
        counted = self.world.delivered[there.index, link.number]
        if kept.received != counted:
            raise Violation(f"{there.label} counted {kept}, {counted} field changes were delivered")

    def judge_rows(self, instance: Instance) -> None:
        """No row without a record: something would have been created twice."""
        for table, rows in instance.database.tables.items():
            for pk, row in rows.items():
                if (table, pk) not in instance.database.by_pk:
                    raise Violation(f"{instance.label}: a row that nobody knows: {table} {pk} {row}")
                for field, value in row.items():
                    key = instance.numbers.key[field]
                    if SPECS[key].kind is not Kind.TEXT or value is None:
                        continue
                    if (f"{key[0]}.{key[1]}", value) not in self.known:
                        raise Violation(f"{instance.label}: a value from nowhere: {key} {value!r}")

    def judge_edits(self) -> None:
        """Every value that a user wrote is final, was knowingly replaced, or is kept."""
        kept: set[tuple[str, Any]] = set()
        standing: set[tuple[str, Any]] = set()
        for instance in self.world.instances:
            for row in instance.database.conflicts:
                key = instance.numbers.key[row.field]
                if SPECS[key].kind is Kind.TEXT:
                    kept.add((".".join(key), row.lost))
            for table, rows in instance.database.tables.items():
                name = instance.numbers.table_name[table]
                for values in rows.values():
                    for field, value in values.items():
                        if SPECS[instance.numbers.key[field]].kind is Kind.TEXT:
                            standing.add((f"{name}.{instance.numbers.key[field][1]}", value))
        troubled = {self.root(p.uid) for i in self.world.instances for p in i.database.problems.values()}
        for edit in self.edits:
            told = (f"{edit.table}.{edit.name}", edit.value)
            if told in kept or told in standing or told in self.overwritten:
                continue
            if self.excusable(edit, troubled):
                self.excused["edit"] += 1
                continue
            raise Violation(f"an edit is gone without a trace: {edit}")

    def excusable(self, edit: Edit, troubled: set[bytes]) -> bool:
        """The record was deleted somewhere, or is parked."""
        uid = self.rows.get((edit.instance, edit.table, edit.pk))
        if uid is None:
            return (edit.instance, edit.table, edit.pk) in self.gone
        root = self.root(uid)
        if root in troubled:
            return True
        for instance in self.world.instances:
            for name, number in instance.database.by_uid.items():
                if self.root(name) == root and not instance.database.records[number].alive:
                    return True
        return False
