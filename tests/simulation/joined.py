"""Sums and unions at rest, judged with arithmetic of the harness's own.

A sum is what its parts make, and each program's part is exactly what its users added and took away. A union holds
what was added and not taken out since by somebody who saw it. Whoever hears of a field has every part that its source
has, or a later one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from syncapp.core.changes import Entry, Part, Record
from syncapp.core.clock import instance_of
from syncapp.core.rules import Merge
from tests.simulation.schema import SPECS, Key

if TYPE_CHECKING:
    from tests.simulation.instance import Instance
    from tests.simulation.judge import Judge
    from tests.simulation.world import World

#: In a number of 63 bits, with two bits for each.
MOST_COUNTS = 30

Place = tuple[int, str, str]
"""A row: program, table, local key."""


class Accounts:
    """What users did to sums and unions."""

    def __init__(self) -> None:
        self.begun: dict[tuple[Place, str], int] = {}
        self.added: dict[tuple[Place, str], int] = defaultdict(int)
        #: (row, field, element's row) → whether the last deed put it in
        self.deeds: dict[tuple[Place, str, str], bool] = {}

        #: Where databases are put back: item → the counts of it so far, and those of them that must not be lost
        self.counts: dict[str, int] = defaultdict(int)
        self.owed: dict[str, set[int]] = defaultdict(set)

    def count(self, item: str) -> int | None:
        """What to add to the stock, so that the number says of each count whether it is in it; None: no more can be."""
        number = self.counts[item]
        if number == MOST_COUNTS:
            return None
        self.counts[item] += 1
        self.owed[item].add(number)
        return int(4**number)

    def restored(self, world: World) -> None:
        """A database was put back: counts that stand nowhere any more are lost."""
        standing: dict[str, set[int]] = defaultdict(set)
        for instance in world.instances:
            for item, amount in stocks(instance):
                standing[item] |= set(counted(amount))
        for item, owed in self.owed.items():
            owed &= standing[item]

    def wrote(self, place: Place, key: Key, old: Any, new: Any, *, created: bool) -> None:
        """A user of the program has written the field."""
        spec = SPECS[key]
        if spec.merge is Merge.SUM and created:
            self.begun[place, key[1]] = new
        elif spec.merge is Merge.SUM:
            self.added[place, key[1]] += new - old
        elif spec.merge is Merge.UNION:
            before, after = set(old or ()), set(new or ())
            for element in before ^ after:
                self.deeds[place, key[1], element] = element in after


def stocks(instance: Instance) -> Iterator[tuple[str, int]]:
    """The stocks that stand in a program: (item, amount)."""
    item, amount = (instance.numbers.field["stock", name] for name in ("item", "amount"))
    for row in instance.database.tables[instance.numbers.table["stock"]].values():
        yield row[item], row[amount]


def counted(amount: int) -> dict[int, int]:
    """Which counts are in the number, and how often each."""
    return {n: (amount >> 2 * n) & 3 for n in range(MOST_COUNTS + 1) if (amount >> 2 * n) & 3}


def count_fault(judge: Judge, instance: Instance) -> str:
    """Why the stocks of a program do not hold what was counted; empty if they do."""
    accounts = judge.oracle.accounts
    for item, amount in stocks(instance):
        found = counted(amount)
        if any(times > 1 for times in found.values()) or amount < 0:
            return f"{item} {amount} holds something twice: {found}"
        if missing := accounts.owed[item] - found.keys():
            return f"{item} {amount} lacks the counts {missing}, which others had: {found}"
    return ""


def parts_behind(judge: Judge, here: Instance, key: Key, mine: Entry, its: Entry | None) -> list[Part]:
    """The parts of ``mine``, in ``here``, that ``its`` lacks.

    An element whose record is gone here is remembered, but not told to a peer that may never have had it.
    """
    theirs: dict[bytes, Part] = {_name(judge, key, part): part for part in (its.parts if its else ())}
    missing = []
    for part in mine.parts:
        if (
            SPECS[key].merge is Merge.UNION
            and part[3]
            and not judge.alive[here.index].get(judge.root(part[0]))
        ):
            continue
        other = theirs.get(_name(judge, key, part))
        if other is None or _age(key, other) < _age(key, part):
            missing.append(part)
    return missing


def _name(judge: Judge, key: Key, part: Part) -> bytes:
    """What the part is about: its author, or an element by whatever name."""
    return judge.root(part[0]) if SPECS[key].merge is Merge.UNION else part[0]


def _age(key: Key, part: Part) -> Any:
    return part[1:3] if SPECS[key].merge is Merge.UNION else part[1]


def value_fault(judge: Judge, instance: Instance, record: Record, key: Key, value: Any) -> str:
    """Why what stands in the row is not what the parts make; empty if it is."""
    entry = record.entries.get(instance.numbers.field[key])
    if entry is None or not entry.parts:
        return ""
    if SPECS[key].merge is Merge.SUM:
        made = sum(int(part[2]) for part in entry.parts)
        return "" if made == value else f"{made} is what the parts make, {value} stands there"
    alive = judge.alive[instance.index]
    wanted = {judge.root(part[0]) for part in entry.parts if part[3]}
    wanted = {root for root in wanted if alive.get(root)}
    stands = _standing(judge, instance, key, value)
    return "" if stands == wanted else f"the parts hold {wanted}, the row {stands}"


def account_fault(judge: Judge, instance: Instance, record: Record, key: Key) -> str:
    """Why the program's own part of a sum is not what its users did; empty if it is.

    Only for a record that was made once and never deleted: else there is more than one beginning.
    """
    root = judge.root(record.uid)
    places = [place for place, uid in judge.world.oracle.rows.items() if judge.root(uid) == root]
    accounts = judge.world.oracle.accounts
    made = [place for place in places if (place, key[1]) in accounts.begun]
    if (
        judge.world.traits.restores
        or len(made) != 1
        or any(dead.get(root) for dead in judge.dead)
        or died(judge, root)
    ):
        return ""
    place: Place = (instance.index, key[0], record.pk)
    entry = record.entries.get(instance.numbers.field[key])
    parts = entry.parts if entry else ()
    own = sum(int(part[2]) for part in parts if part[0] and instance_of(part[0]) == instance.identity)
    done = accounts.added[place, key[1]]
    if place in made:
        own += sum(int(part[2]) for part in parts if not part[0])
        done += accounts.begun[place, key[1]]
        if not parts:
            return ""  # nothing was ever added to it: it travels as it began
    return "" if own == done else f"users of {instance.label} made {done} of it, the parts say {own}"


def died(judge: Judge, root: bytes) -> bool:
    """Whether a record was ever deleted, where deletions are exchanged."""
    return any(judge.root(uid) == root for uid in judge.oracle.deaths)


def lost_elements(judge: Judge, instance: Instance, record: Record, key: Key, value: Any) -> set[bytes]:
    """Elements that were put in, that nobody ever took out, and that are not there."""
    if judge.world.restores:
        return set()  # some were put in by a life that is lost
    root, accounts = judge.root(record.uid), judge.world.oracle.accounts
    rows = judge.world.oracle.rows
    deeds: dict[bytes, set[bool]] = defaultdict(set)
    place: Place = (instance.index, key[0], record.pk)
    for (where, name, element), put_in in accounts.deeds.items():
        owner = rows.get(where)
        if name != key[1] or owner is None or judge.root(owner) != root:
            continue
        target = rows.get((where[0], SPECS[key].target, element))
        if target is not None and (where == place or put_in is False):
            deeds[judge.root(target)].add(put_in)
    alive = judge.alive[instance.index]
    # One that was ever deleted was taken out with that.
    put = {uid for uid, seen in deeds.items() if seen == {True} and alive.get(uid) and not died(judge, uid)}
    return put - _standing(judge, instance, key, value)


def _standing(judge: Judge, instance: Instance, key: Key, value: Any) -> set[bytes]:
    """The elements in a row, by name; those that never travelled have none."""
    database, table = instance.database, instance.numbers.table[SPECS[key].target]
    found = (database.by_pk.get((table, pk)) for pk in value or ())
    return {judge.root(database.records[number].uid) for number in found if number is not None}
