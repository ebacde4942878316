"""The programs at rest: whatever differs must be explained by a problem that holds exactly what is missing."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from syncapp.core.changes import Entry, Record
from syncapp.core.clock import sees
from syncapp.core.mapping import Direction, Kind
from syncapp.core.rules import SIDED, Merge, Policy
from syncapp.store.base import ASK
from tests.simulation.joined import account_fault, count_fault, died, lost_elements, parts_behind, value_fault
from tests.simulation.oracle import Oracle, Ref, Stamp, Violation, accounted
from tests.simulation.reasons import Parked, Reasons
from tests.simulation.schema import SPECS, TABLES, Key
from tests.simulation.topology import LinkPlan

if TYPE_CHECKING:
    from tests.simulation.instance import Instance
    from tests.simulation.world import World


class Judge(Reasons):
    """Judges a world at rest, once."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.oracle: Oracle = world.oracle
        self.parent: dict[bytes, bytes] = {}
        self.unify()
        self.alive = [self._by_root(instance, alive=True) for instance in world.instances]
        self.dead = [self._by_root(instance, alive=False) for instance in world.instances]
        self.problems = [self._problems(instance) for instance in world.instances]

    def judge(self) -> None:
        """All invariants, over each link in either direction, then of each program alone."""
        self.judge_stamps()
        for link in self.world.sound:
            for source, target in link.directed:
                here, there = self.world.instances[source], self.world.instances[target]
                self.judge_records(link, here, there)
                self.judge_problems(link, there, here)
                self.judge_receipts(link, here, there)
        for instance in self.world.reached:
            self.judge_rows(instance)
            if self.world.traits.restores and (fault := count_fault(self, instance)):
                raise Violation(f"G1: {instance.label}: {fault}")
        self.judge_edits()
        # Where some links are broken for good, the last word on a record may be behind them.
        whole = len(self.world.sound) == len(self.world.links)
        if self.world.traits.deaths and whole and not self.world.restores:
            self.judge_lives()

    # -- names ----------------------------------------------------------------------------------------------

    def root(self, uid: bytes) -> bytes:
        """The one name of a record, whatever the programs call it."""
        parent = self.parent
        while parent.get(uid, uid) != uid:
            uid = parent[uid]
        return uid

    def unify(self) -> None:
        for instance in self.world.instances:
            for uid, number in instance.database.by_uid.items():
                a, b = self.root(uid), self.root(instance.database.records[number].uid)
                self.parent[max(a, b)] = min(a, b)

    def _by_root(self, instance: Instance, *, alive: bool) -> dict[bytes, list[Record]]:
        found: dict[bytes, list[Record]] = defaultdict(list)
        for record in instance.database.records.values():
            if record.alive == alive:
                found[self.root(record.uid)].append(record)
        return found

    def _problems(self, instance: Instance) -> dict[tuple[int, bytes], list[Parked]]:
        found: dict[tuple[int, bytes], list[Parked]] = defaultdict(list)
        for row in instance.database.problems.values():
            if row.way == "in":
                root = self.root(row.uid)
                found[row.link, root].append(Parked(row, root, instance.numbers.table_name[row.table]))
        return found

    # -- values ---------------------------------------------------------------------------------------------

    def judge_stamps(self) -> None:
        """Relations too: one stamp, one value, now that everybody's names are known."""
        merged: dict[tuple[bytes, Key], dict[Stamp, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for (uid, key), stamps in self.oracle.history.items():
            for stamp, values in stamps.items():
                merged[self.root(uid), key][stamp] += values
        for (_, key), stamps in merged.items():
            for values in stamps.values():
                if len(values) > 1 and len({self.resolve(value) for value in values}) > 1:
                    raise Violation(f"G1: one stamp names two values: {key} {values}")
        self.history = merged

    def resolve(self, token: Any) -> Any:
        """A value that can be compared between programs."""
        if isinstance(token, Ref):
            uid = self.oracle.rows.get(token)
            return self.root(uid) if uid is not None else None
        if isinstance(token, tuple):
            return tuple(sorted(self.resolve(part) or b"" for part in token))
        return token

    def value(self, instance: Instance, record: Record, key: Key) -> Any:
        row = instance.database.tables[record.table].get(record.pk, {})
        return self.resolve(self.oracle.token(instance, SPECS[key], row.get(instance.numbers.field[key])))

    def excuse(self, why: str) -> None:
        self.oracle.excused[why] += 1

    # -- over one link, from here to there ------------------------------------------------------------------

    def judge_records(self, link: LinkPlan, here: Instance, there: Instance) -> None:
        """G1: every record here stands there, equal in all that flows, or a problem there holds what does not."""
        for root, records in self.alive[here.index].items():
            for record in records:
                table = here.numbers.table_name[record.table]
                flowing = [key for key in self._keys(table) if link.flows(key, here.index)]
                if not flowing:
                    continue
                self.oracle.judged += 1
                other = self._counterpart(link, here, there, record)
                if other is None:
                    self._absent(link, here, there, record, flowing)
                    continue
                waiting = self.problems[there.index].get((link.number, root), ())
                for key in flowing:
                    self.judge_field(link, (here, record), (there, other), key, waiting)

    def _keys(self, table: str) -> list[Key]:
        return [(table, spec.name) for spec in TABLES[table]]

    def _counterpart(self, link: LinkPlan, here: Instance, there: Instance, record: Record) -> Record | None:
        """The living record there that ``record`` is; None where there is none, or more than one."""
        root = self.root(record.uid)
        others = self.alive[there.index].get(root, [])
        if len(others) != 1 or len(self.alive[here.index][root]) > 1:
            return None
        if record.uid not in there.database.by_uid and not self._name_waits(link, there, record):
            raise Violation(
                f"§8: {there.label} does not know {record.uid.hex()} of {here.label}: {others[0]}"
            )
        return others[0]

    def _name_waits(self, link: LinkPlan, there: Instance, record: Record) -> bool:
        """Whether the name came with a change of a record that somebody holds at present."""
        waiting = self.problems[there.index].get((link.number, self.root(record.uid)), ())
        return any(p.code == "busy" and record.uid in p.change.names for p in waiting)

    def _absent(
        self, link: LinkPlan, here: Instance, there: Instance, record: Record, flowing: list[Key]
    ) -> None:
        root = self.root(record.uid)
        if max(len(self.alive[i.index].get(root, ())) for i in (here, there)) > 1:
            # One record in one program, two rows in another: they are never merged.
            if not any(p.code == "ambiguous" for p in self._all_problems(root)):
                raise Violation(f"§8: two rows for one record, and no problem says so: {record}")
            return self.excuse("ambiguous")
        if self.dead[there.index].get(root):
            return self._judge_death(link, here, there, record)
        waiting = [p for p in self.problems[there.index].get((link.number, root), ()) if not p.row.field]
        if not waiting:
            table = here.numbers.table_name[record.table]
            raise Violation(f"G1: {there.label} lacks {table} {record.pk} of {here.label}: {record}")
        if waiting[0].code == "unknown_record":
            raise Violation(f"G6: {there.label} still asks for {record}: {waiting[0]}")
        for key in flowing:
            entry = record.entries.get(here.numbers.field[key])
            problems = self.problems[there.index][link.number, root]
            field = there.numbers.field[key]
            kept = any(problem.holds(field, entry.version.stamp) for problem in problems) if entry else True
            if SPECS[key].merge is Merge.VALUE and not kept:
                raise Violation(f"G13: {there.label} does not keep {key} of {record}: {problems}")
        return self.excuse("parked record")

    def _judge_death(self, link: LinkPlan, here: Instance, there: Instance, record: Record) -> None:
        """G11: a record that is dead there is dead here too, where deletions are told, or has to wait here."""
        root = self.root(record.uid)
        table = here.numbers.table_name[record.table]
        if not link.mortal(there.index, table).sends:
            return self.excuse("deleted there")
        if any(not p.row.field for p in self.problems[there.index].get((link.number, root), ())):
            return self.excuse("parked record")  # it is to come back there
        if self.outlived(link, here, there, record):
            return self.excuse("alive beyond the source")
        waiting = self.problems[here.index].get((link.number, root), ())
        status = here.numbers.life[table][0]
        grave = self.dead[there.index][root]
        if not link.mortal(there.index, table).receives and self._undone(here, record, there, grave):
            return self.excuse("brought back in knowledge of the deletion")
        if not any(status in p.change.cells for p in waiting):
            raise Violation(
                f"G11: {there.label} has deleted what lives in {here.label}: {record} {grave} {waiting}"
            )
        return self.excuse("deletion waits")

    def _undone(self, here: Instance, record: Record, there: Instance, graves: list[Record]) -> bool:
        """Whether somebody who knew of the deletion there has brought the record back, and may not tell so there.

        As of any field that flows one way: a value in the receiver that has seen the source's stands.
        """
        table = here.numbers.table_name[record.table]
        word = record.entries.get(here.numbers.life[table][0])
        status = there.numbers.life[table][0]
        ends = [grave.entries.get(status) for grave in graves]
        return word is not None and all(end is not None and sees(word.version, end.version) for end in ends)

    def judge_lives(self) -> None:
        """G11: two-way everywhere, a record lives exactly if its newest edit is above its newest deletion."""
        deaths: dict[bytes, Stamp] = {}
        lives: dict[bytes, Stamp] = {}
        for found, noted in ((deaths, self.oracle.deaths), (lives, self.oracle.lives)):
            for uid, stamp in noted.items():
                root = self.root(uid)
                found[root] = max(stamp, found.get(root, stamp))
        both = {table: self._two_way(table) for table in TABLES}
        for root, death in deaths.items():
            if self._all_problems(root):
                continue
            for instance in self.world.instances:
                found = self.alive[instance.index].get(root) or self.dead[instance.index].get(root) or ()
                if not found or not both[instance.numbers.table_name[found[0].table]]:
                    continue
                alive = bool(self.alive[instance.index].get(root))
                if alive != (lives[root] > death):
                    said = "lives" if alive else "is dead"
                    raise Violation(f"G11: {said} in {instance.label}: {death} {lives[root]} {found}")

    def _two_way(self, table: str) -> bool:
        """Whether records of the table, all of their fields and their deletions go everywhere."""
        return all(
            link.mortal(link.active, table) is Direction.BOTH
            and all(link.ways[table, spec.name] is Direction.BOTH for spec in TABLES[table])
            for link in self.world.links
        )

    def _all_problems(self, root: bytes) -> list[Parked]:
        return [p for by_key in self.problems for (_, r), ps in by_key.items() if r == root for p in ps]

    def judge_field(
        self,
        link: LinkPlan,
        ours: tuple[Instance, Record],
        theirs: tuple[Instance, Record],
        key: Key,
        waiting: list[Parked],
    ) -> None:
        """What stands here stands there, or was replaced there by someone who knew it, or is parked there."""
        (here, record), (there, other) = ours, theirs
        self.oracle.judged += 1
        mine = record.entries.get(here.numbers.field[key])
        its = other.entries.get(there.numbers.field[key])
        if SPECS[key].merge is not Merge.VALUE:
            self._judge_joined(ours, theirs, key, waiting)
            return
        both = link.flows(key, there.index)
        if mine is None:
            if its is None and both and self.value(*ours, key) != self.value(*theirs, key):
                raise Violation(f"G4: {key} differs: {self.show(*ours, key)} – {self.show(*theirs, key)}")
            return
        if its is not None and its.version.stamp == mine.version.stamp:
            if self.value(*ours, key) != self.value(*theirs, key):
                raise Violation(f"G4: {key} differs: {self.show(*ours, key)} – {self.show(*theirs, key)}")
            return
        if its is not None and both and self.world.traits.policies.get(key) in (*SIDED, Policy.ASK):
            self._judge_ruled(link, ours, theirs, key, waiting)
            return
        if its is not None and self._later(its, mine, both=both):
            if both and not self._kept_back(link, here, key, record, its):
                raise Violation(f"G4: {key} differs: {self.show(*ours, key)} – {self.show(*theirs, key)}")
            return
        field = there.numbers.field[key]
        if self._may_have_gone(key, record):
            self.excuse("lost with the record")
            return
        if not any(problem.holds(field, mine.version.stamp) for problem in waiting):
            raise Violation(
                f"G1: {key} of {here.label} is not at {there.label}: "
                f"{self.show(*ours, key)} – {self.show(*theirs, key)} {waiting}"
            )
        self.excuse("parked field")

    def _may_have_gone(self, key: Key, record: Record) -> bool:
        """Whether a program may have deleted the record and got it back from one that may not send the field."""
        one_way = any(link.ways[key] is not Direction.BOTH for link in self.world.links)
        return one_way and died(self, self.root(record.uid))

    def _judge_ruled(
        self,
        link: LinkPlan,
        ours: tuple[Instance, Record],
        theirs: tuple[Instance, Record],
        key: Key,
        waiting: list[Parked],
    ) -> None:
        """Two versions of a field with a policy of its own, which flows both ways: each waits at the other program.

        A question must be asked on both sides, as long as nobody has decided on either.
        """
        (here, record), (there, other) = ours, theirs
        mine, its = record.entries[here.numbers.field[key]], other.entries[there.numbers.field[key]]
        equal = self.value(*ours, key) == self.value(*theirs, key)
        if equal and sees(mine.version, its.version) and sees(its.version, mine.version):
            return  # equal values that were set at once: their versions were joined, here and there
        held = [p for p in waiting if p.holds(there.numbers.field[key], mine.version.stamp)]
        back = self._kept_back(link, here, key, record, its)
        # A value that a database does not take cannot be asked about.
        open_here = self.problems[here.index].get((link.number, self.root(record.uid)), [])
        asked = any(p.code == ASK for p in (*held, *open_here))
        asks = self.world.traits.policies[key] is Policy.ASK and asked
        if not (held and back) if asks else not (held or back):
            raise Violation(
                f"G4: {key} differs: {self.show(*ours, key)} – {self.show(*theirs, key)} "
                f"{waiting} {self.problems[here.index].get((link.number, self.root(record.uid)))}"
            )
        self.excuse("question" if asks else "parked field")

    def _judge_joined(
        self,
        ours: tuple[Instance, Record],
        theirs: tuple[Instance, Record],
        key: Key,
        waiting: list[Parked],
    ) -> None:
        """Every part of a sum or union that is here is there, or a later one of its author."""
        (here, record), (there, other) = ours, theirs
        mine = record.entries.get(here.numbers.field[key])
        if mine is None:
            return
        missing = parts_behind(self, here, key, mine, other.entries.get(there.numbers.field[key]))
        if not missing:
            return
        if not any(problem.row.field in (0, there.numbers.field[key]) for problem in waiting):
            raise Violation(f"G1: {there.label} lacks {missing} of {key} of {here.label}: {mine} {other}")
        self.excuse("parked part")

    def _later(self, its: Entry, mine: Entry, *, both: bool) -> bool:
        """Whether the value there stands rightly in the place of ours."""
        return its.version.stamp > mine.version.stamp if both else sees(its.version, mine.version)

    def _kept_back(self, link: LinkPlan, here: Instance, key: Key, record: Record, its: Entry) -> bool:
        """Whether the later value of the other side waits here as a problem."""
        waiting = self.problems[here.index].get((link.number, self.root(record.uid)), ())
        return any(p.holds(here.numbers.field[key], its.version.stamp) for p in waiting)

    def show(self, instance: Instance, record: Record, key: Key) -> str:
        entry = record.entries.get(instance.numbers.field[key])
        return f"{instance.label}{record.pk} {self.value(instance, record, key)!r} {entry}"

    # -- accounts -------------------------------------------------------------------------------------------

    def judge_receipts(self, link: LinkPlan, here: Instance, there: Instance) -> None:
        """G13: what we heard of the peer's account is the peer's account, and it adds up."""
        told = here.database.cursors[link.number].peer_totals
        kept = there.database.cursors[link.number].totals
        if told != kept:
            raise Violation(f"G13: {here.label} heard {told}, {there.label} counted {kept}")
        if kept.received != kept.applied + kept.superseded + kept.duplicate + kept.parked:
            raise Violation(f"G13: the account does not add up: {kept}")
        counted = self.world.delivered[there.index, link.number]
        if kept.received != counted:
            raise Violation(f"G13: {there.label} counted {kept}, {counted} field changes were delivered")

    # -- one program ----------------------------------------------------------------------------------------

    def judge_rows(self, instance: Instance) -> None:
        """No row without a record; each value is its stamp's, and was written where it may come from."""
        database, numbers = instance.database, instance.numbers
        for table, rows in database.tables.items():
            for pk, row in rows.items():
                number = database.by_pk.get((table, pk))
                if number is None:
                    if not database.setup.captured & row.keys() & numbers.key.keys():
                        continue
                    raise Violation(f"G3: {instance.label}: a row that nobody knows: {table} {pk} {row}")
                record = database.records[number]
                for field, value in row.items():
                    key = numbers.key.get(field)
                    if key is None:
                        continue
                    self._judge_standing(instance, record, key, value)
                    if SPECS[key].kind is not Kind.TEXT or value is None:
                        continue
                    authors = self.oracle.authors.get((key, value))
                    if not authors:
                        raise Violation(f"G7: {instance.label}: a value from nowhere: {key} {value!r}")
                    if not authors & self.oracle.sources[key][instance.index]:
                        raise Violation(f"G7: {key} {value!r} leaked to {instance.label}: {record}")

    def _judge_standing(self, instance: Instance, record: Record, key: Key, value: Any) -> None:
        if SPECS[key].merge is not Merge.VALUE:
            self._judge_made(instance, record, key, value)
            return
        entry = record.entries.get(instance.numbers.field[key])
        if entry is None:
            return
        known = self.history[self.root(record.uid), key].get(entry.version.stamp)
        if not known or self.resolve(known[0]) != self.resolve(
            self.oracle.token(instance, SPECS[key], value)
        ):
            raise Violation(f"G1: {instance.label} has {key} {value!r}, but {entry} is {known}")

    def _judge_made(self, instance: Instance, record: Record, key: Key, value: Any) -> None:
        """G1: what stands there is what the parts make, and those say what the program's users did."""
        fault = value_fault(self, instance, record, key, value)
        if not fault and SPECS[key].merge is Merge.SUM:
            fault = account_fault(self, instance, record, key)
        elif not fault and (lost := lost_elements(self, instance, record, key, value)):
            fault = f"nobody took out {lost}"
        if fault:
            raise Violation(f"G1: {key} of {instance.label}{record.pk}: {fault}: {record}")

    def judge_edits(self) -> None:
        """G13: every value that a user wrote is final, was knowingly replaced, or is kept."""
        known = accounted(self.world)
        for edit in self.oracle.edits:
            if ((edit.table, edit.name), edit.value) not in known:
                raise Violation(f"G13: an edit is gone without a trace: {edit}")
