"""Why changes wait in a program at rest: each problem has a reason that still holds, and holds what it must."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from syncapp.core.changes import Record
from syncapp.core.clock import sees
from syncapp.core.rules import Merge, Policy
from syncapp.store import parked
from syncapp.store.base import ProblemRow
from tests.simulation.oracle import Stamp, Violation
from tests.simulation.schema import SPECS, Spec
from tests.simulation.topology import LinkPlan

if TYPE_CHECKING:
    from tests.simulation.instance import Instance
    from tests.simulation.world import World


class Parked:
    """A problem with what it holds."""

    def __init__(self, row: ProblemRow, root: bytes, table: str) -> None:
        self.row = row
        self.root = root
        self.table = table
        self.change = parked.unpack(row.uid, row.table, row.payload)

    @property
    def code(self) -> str:
        return self.row.code

    def holds(self, field: int, stamp: Stamp) -> bool:
        """Whether the value with this stamp is kept here."""
        cell = self.change.cells.get(field)
        return cell is not None and cell.version is not None and cell.version.stamp == stamp

    def __repr__(self) -> str:
        return f"{self.row} {self.change}"


class Reasons:
    """The part of `judge.Judge` that looks at problems."""

    alive: list[dict[bytes, list[Record]]]
    dead: list[dict[bytes, list[Record]]]
    problems: list[dict[tuple[int, bytes], list[Parked]]]

    def __init__(self, world: World) -> None:
        self.world = world

    def root(self, uid: bytes) -> bytes:
        """The one name of a record, whatever the programs call it."""
        raise NotImplementedError

    def judge_problems(self, link: LinkPlan, here: Instance, source: Instance) -> None:
        """G13: a problem that remains has a reason that still holds, and holds what stands at the source."""
        for (number, root), problems in self.problems[here.index].items():
            if number != link.number:
                continue
            for problem in problems:
                self._judge_reason(link, here, source, problem)
                mine = self.alive[here.index].get(root, ())
                undecided = problem.code == "busy"
                if len(mine) == 1 and not undecided and not self._lacks(here, problem, mine[0]):
                    raise Violation(f"G13: {here.label} keeps what it has: {problem} {mine[0]}")

    def outlived(self, link: LinkPlan, here: Instance, there: Instance, record: Record) -> bool:
        """Whether ``record`` is rightly alive here by a word that had seen its end there.

        Where deletions come from there and "alive" does not flow back, both may stand: a third program, which tells
        this one of lives too, had a later edit.
        """
        table = here.numbers.table_name[record.table]
        others = [other for other in here.links.values() if other is not link]
        if link.mortal(here.index, table).sends or not any(
            other.mortal(here.index, table).receives for other in others
        ):
            return False
        mine = record.entries.get(here.numbers.life[table][0])
        graves = [
            grave.entries.get(there.numbers.life[there.numbers.table_name[grave.table]][0])
            for grave in self.dead[there.index].get(self.root(record.uid), ())
        ]
        return mine is not None and all(grave and sees(mine.version, grave.version) for grave in graves)

    def _lacks(self, here: Instance, problem: Parked, record: Record) -> bool:
        """Whether the problem holds a value that the record has not seen."""
        return any(
            field not in here.numbers.key
            or SPECS[here.numbers.key[field]].merge is not Merge.VALUE
            or (
                cell.version is not None
                and (
                    record.entries.get(field) is None or not sees(record.entries[field].version, cell.version)
                )
            )
            for field, cell in problem.change.cells.items()
        )

    def _judge_reason(self, link: LinkPlan, here: Instance, source: Instance, problem: Parked) -> None:
        database = here.database
        match problem.code:
            case "missing_target" | "target_deleted":
                self._judge_missing(link, here, source, problem)
            case "not_unique":
                taken = [
                    (field, cell.value)
                    for field, cell in problem.change.cells.items()
                    if self._spec(here, field).unique and cell.value is not None
                ]
                own = database.records.get(database.by_uid.get(problem.row.uid, 0))
                rows = [
                    row
                    for pk, row in database.tables[problem.row.table].items()
                    if own is None or pk != own.pk
                ]
                if not any(row.get(field) == value for row in rows for field, value in taken):
                    raise Violation(f"G6: {here.label} says not unique, but nobody has it: {problem}")
            case "ambiguous":
                rows = self.alive[here.index].get(problem.root, [])
                two = len(self.alive[source.index].get(problem.root, ())) > 1
                if len(rows) == 1 and not two:
                    raise Violation(f"G6: called ambiguous, but known by another name: {problem}")
                if not rows and not self._matched(here, problem):
                    raise Violation(f"G6: called ambiguous, but nothing matches: {problem}")
            case "busy" if here.locked:
                pass
            case "value" if here.refused:
                if not any(
                    cell.value in here.refused for cell in problem.change.cells.values() if _text(cell.value)
                ):
                    raise Violation(f"G6: {here.label} refuses what it could take: {problem}")
            case "ask":
                if not any(
                    self.world.traits.policies.get(here.numbers.key[f]) is Policy.ASK
                    for f in problem.change.cells
                ):
                    raise Violation(f"G6: {here.label} asks about what has no such rule: {problem}")
            case "unknown_record":
                if self.alive[source.index].get(problem.root):
                    raise Violation(f"G6: {here.label} still asks for {problem}")
            case _:
                raise Violation(f"G6: problem without a reason: {problem}")

    def _judge_missing(self, link: LinkPlan, here: Instance, source: Instance, problem: Parked) -> None:
        """What is waited for is not here, and cannot be: it is gone, or parked itself."""
        target = problem.row.waits_for or b""
        number = here.database.by_uid.get(target)
        if number is not None and here.database.records[number].alive:
            raise Violation(f"G6: {here.label} waits for what is here: {problem}")
        root = self.root(target)
        if self.dead[here.index].get(root) or not self.alive[source.index].get(root):
            return
        if not any(not p.row.field for p in self.problems[here.index].get((link.number, root), ())):
            raise Violation(f"G6: {here.label} waits for what {source.label} never sent: {problem}")

    def _spec(self, here: Instance, field: int) -> Spec:
        """What a field is; of a system field nothing is known."""
        return SPECS[here.numbers.key[field]] if field in here.numbers.key else Spec("")

    def _matched(self, here: Instance, problem: Parked) -> bool:
        """Whether a row here has the natural key of the parked record, whatever its case."""
        keys = {f: c.value for f, c in problem.change.cells.items() if self._spec(here, f).unique}
        rows = here.database.tables[problem.row.table].values()
        return any(_same(row.get(field), value) for row in rows for field, value in keys.items())


def _same(one: Any, other: Any) -> bool:
    return one is not None and other is not None and str(one).casefold() == str(other).casefold()


def _text(value: Any) -> bool:
    return isinstance(value, str)
