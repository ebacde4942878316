"""Taking rows away as the models of those that refer to them say, and keeping what goes.

A peer's deletion may meet rows here that it did not know of. What then happens to them is what the program's own models
say (``on_delete``); it is this program's own change, and travels as such: dated just above the deletion that caused it,
since it is a consequence and must not outlive a later word about those rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from syncapp.core.changes import JournalRow, Op
from syncapp.core.clock import Version
from syncapp.store.base import Backend, RowRefused, Setup, TableInfo
from syncapp.store.deletionbase import ArchiveRow, OnDelete, Reference
from syncapp.store.locking import BUSY
from syncapp.store.saving import remove_rows


class Place(NamedTuple):
    """A row by its table's label and its key."""

    label: str
    pk: str


class Root(NamedTuple):
    """A row that a peer's deletion is about, and the version of that deletion."""

    place: Place
    version: Version


class Obstacle(NamedTuple):
    """What forbids a deletion: rows of ``label`` (``many``, one of them ``pk``) that refer to it by ``field``."""

    label: str
    field: str
    many: int
    pk: str


class Removed(NamedTuple):
    """What came of some roots: those that are gone, those that are not and why; the rows as they were."""

    gone: list[Root]
    protected: dict[Place, Obstacle]
    refused: dict[Place, RowRefused]
    rows: dict[Place, dict[str, Any]]


class _Plan:
    """What goes with some roots: other rows, fields of other rows; and what forbids it."""

    def __init__(self) -> None:
        self.causes: dict[Place, set[Place]] = {}
        self.touched: dict[tuple[str, str, OnDelete], dict[Place, set[Place]]] = defaultdict(dict)
        self.obstacles: dict[Place, list[tuple[OnDelete, Reference, list[str]]]] = defaultdict(list)


class Remover:
    """Removes rows within one application of changes over one link."""

    def __init__(self, backend: Backend, setup: Setup, link: int, now: int) -> None:
        self._backend = backend
        self._setup = setup
        self._link = link
        self._now = now
        self._tables = {info.label: info for info in setup.tables.values()}
        #: What changed beside the rows that were to go: for the seal.
        self.consequences: list[JournalRow] = []

    # -- rows that nothing stands in the way of -------------------------------------------------------------

    def free(self, roots: Iterable[Root]) -> tuple[list[list[Root]], list[Root]]:
        """Part ``roots`` into those that can go without touching anything else, list after list, and the rest.

        A row that only other roots refer to is free once these are gone: children before their parents.
        """
        left = {root.place: root for root in roots}
        holders = self._holders(left)
        levels: list[list[Root]] = []
        while ready := [root for place, root in left.items() if not holders.get(place)]:
            levels.append(ready)
            for root in ready:
                del left[root.place]
                for held in holders.values():
                    held.discard(root.place)
        return levels, list(left.values())

    def _holders(self, roots: Mapping[Place, Root]) -> dict[Place, set[Place]]:
        """Root → the rows that refer to it, itself left out."""
        holders: dict[Place, set[Place]] = defaultdict(set)
        for label, pks in _by_label(roots):
            for reference in self._backend.references(label, pks):
                for target, pk in reference.rows:
                    if (reference.label, pk) != (label, target):
                        holders[Place(label, target)].add(Place(reference.label, pk))
        return holders

    # -- removing -------------------------------------------------------------------------------------------

    def remove(self, roots: list[Root]) -> Removed:
        """Remove rows with all that goes with them; one that cannot go stays, and holds up no other."""
        result = Removed([], {}, {}, {})
        plan, left = self._plan(roots, result.protected)
        if not left:
            return result
        refused = self._try(plan, left, result)
        if refused is None:
            return result
        if len(left) == 1:
            result.refused[left[0].place] = refused
            return result
        for root in left:
            one = self.remove([root])
            result.gone.extend(one.gone)
            result.protected.update(one.protected)
            result.refused.update(one.refused)
            result.rows.update(one.rows)
        return result

    def _plan(self, roots: list[Root], protected: dict[Place, Obstacle]) -> tuple[_Plan, list[Root]]:
        """What goes with those of ``roots`` that nothing forbids to go."""
        left = {root.place: root for root in roots}
        while True:
            plan = self._follow(left)
            blocked = self._blocked(plan, left)
            if not blocked:
                return plan, list(left.values())
            for place, obstacle in blocked.items():
                protected[place] = obstacle
                del left[place]

    def _follow(self, roots: Mapping[Place, Root]) -> _Plan:
        plan = _Plan()
        plan.causes = {place: set() for place in roots}
        fresh = set(roots)
        while fresh:
            found, fresh = fresh, set()
            for label, pks in _by_label(found):
                for reference in self._backend.references(label, pks):
                    fresh |= self._refer(plan, label, self._unsettled(plan, label, reference))
        return plan

    def _unsettled(self, plan: _Plan, label: str, reference: Reference) -> Reference:
        """``reference`` without rows of which a change of the peer is parked: it may make them refer elsewhere.

        They stand in the way until that is settled.
        """
        table = self._tables.get(reference.label)
        if reference.rule is not OnDelete.CASCADE or table is None:
            return reference
        records = self._backend.records_by_pk(table.number, {pk for _, pk in reference.rows})
        parked = self._backend.problems_of(self._link, {record.uid for record in records.values()})
        uids = {problem.uid for problem in parked if problem.code != "protected"}
        held = {pk for pk, record in records.items() if record.uid in uids}
        if not held:
            return reference
        stand: dict[Place, list[str]] = defaultdict(list)
        for target, pk in reference.rows:
            if pk in held:
                stand[Place(label, target)].append(pk)
        for cause, pks in stand.items():
            plan.obstacles[cause].append((OnDelete.PROTECT, reference, pks))
        rest = tuple(row for row in reference.rows if row[1] not in held)
        return Reference(reference.label, reference.field, reference.rule, rest)

    def _refer(self, plan: _Plan, label: str, reference: Reference) -> set[Place]:
        """Note what ``reference`` means for the plan; the rows that go because of it."""
        fresh: set[Place] = set()
        stand: dict[Place, list[str]] = defaultdict(list)
        for target, pk in reference.rows:
            cause, place = Place(label, target), Place(reference.label, pk)
            if reference.rule is OnDelete.CASCADE:
                if place not in plan.causes:
                    plan.causes[place] = set()
                    fresh.add(place)
                plan.causes[place].add(cause)
            elif reference.rule in (OnDelete.SET, OnDelete.MEMBER):
                key = (reference.label, reference.field, reference.rule)
                plan.touched[key].setdefault(place, set()).add(cause)
            else:
                stand[cause].append(pk)
        for cause, pks in stand.items():
            plan.obstacles[cause].append((reference.rule, reference, pks))
        return fresh

    def _blocked(self, plan: _Plan, roots: Mapping[Place, Root]) -> dict[Place, Obstacle]:
        """The roots that lead to a row which must not go."""
        found: dict[Place, Obstacle] = {}
        for target, standing in plan.obstacles.items():
            for rule, reference, pks in standing:
                # Roots go by a word of their own, and are no obstacle; nor, for RESTRICT, what goes by another way.
                others = plan.causes if rule is OnDelete.RESTRICT else roots
                stay = [pk for pk in pks if Place(reference.label, pk) not in others]
                if stay:
                    obstacle = Obstacle(reference.label, reference.field, len(stay), stay[0])
                    for root in _origins(plan.causes, target) & roots.keys():
                        found.setdefault(root, obstacle)
        return found

    def _try(self, plan: _Plan, roots: list[Root], result: Removed) -> RowRefused | None:
        try:
            with self._backend.savepoint():
                rows, consequences = self._carry_out(plan, roots)
        except RowRefused as refused:
            return refused
        result.gone.extend(roots)
        result.rows.update(rows)
        self.consequences += consequences
        return None

    def _carry_out(
        self, plan: _Plan, roots: list[Root]
    ) -> tuple[dict[Place, dict[str, Any]], list[JournalRow]]:
        self._hold(plan, roots)
        versions = _versions(plan.causes, roots)
        rows = self._keep(plan.causes, versions)
        consequences: list[JournalRow] = []
        for (label, field, rule), places in plan.touched.items():
            stay = {place: causes for place, causes in places.items() if place not in plan.causes}
            if rule is OnDelete.SET and stay:
                self._backend.detach(label, field, [place.pk for place in stay])
            consequences += self._changed(label, field, rule, stay, versions)
        # What goes last was found first: rows that refer to others before these.
        order: dict[str, list[str]] = {}
        for place in reversed(list(plan.causes)):
            order.setdefault(place.label, []).append(place.pk)
        remove_rows(self._backend, self._setup, self._setup.links[self._link], order)
        consequences += self._gone(plan.causes.keys() - {root.place for root in roots}, versions)
        return rows, consequences

    def _hold(self, plan: _Plan, roots: list[Root]) -> None:
        """Have all rows of the plan to ourselves, and see that they still are what it takes them for."""
        if self._backend.alone:
            return
        touched = {place for places in plan.touched.values() for place in places}
        for label, pks in sorted(_by_label({*plan.causes, *touched})):
            self._backend.hold(label, sorted(pks))
        again = self._follow({root.place: root for root in roots})
        if (again.causes, again.touched, again.obstacles) != (plan.causes, plan.touched, plan.obstacles):
            raise RowRefused("what refers to it is being changed", BUSY)

    def _changed(
        self,
        label: str,
        field: str,
        rule: OnDelete,
        places: Mapping[Place, set[Place]],
        versions: Mapping[Place, Version],
    ) -> list[JournalRow]:
        table = self._tables.get(label)
        if table is None:
            return []
        numbers = tuple(n for n, info in table.fields.items() if info.name == field)
        rows = []
        for place, causes in places.items():
            at = max(versions[cause].time for cause in causes)
            # A many-to-many notes what it lost, as the triggers do; a union is made of such notes.
            lost = {cause.pk: True for cause in causes} if rule is OnDelete.MEMBER else None
            before = dict.fromkeys(numbers, lost) if lost else None
            rows.append(JournalRow(table.number, place.pk, Op.UPDATE, numbers, at, before))
        return rows

    def _gone(self, places: Iterable[Place], versions: Mapping[Place, Version]) -> list[JournalRow]:
        return [
            JournalRow(self._tables[place.label].number, place.pk, Op.DELETE, (), versions[place].time)
            for place in sorted(places)
            if place.label in self._tables
        ]

    # -- keeping --------------------------------------------------------------------------------------------

    def _keep(
        self, places: Iterable[Place], versions: Mapping[Place, Version]
    ) -> dict[Place, dict[str, Any]]:
        """Put rows into the archive before they go."""
        kept: dict[Place, dict[str, Any]] = {}
        archive: list[ArchiveRow] = []
        for label, pks in _by_label(places):
            table = self._tables.get(label)
            records = self._backend.records_by_pk(table.number, pks) if table else {}
            rows = self._backend.snapshot(label, pks)
            targets = self._targets(table, rows) if table else {}
            for pk, values in rows.items():
                place, record = Place(label, pk), records.get(pk)
                kept[place] = values
                archive.append(
                    ArchiveRow(
                        link=self._link,
                        table=table.number if table else 0,
                        label=label,
                        uid=record.uid if record else b"",
                        pk=pk,
                        values=values,
                        targets=targets.get(pk, {}),
                        time=versions[place].time,
                        origin=versions[place].origin,
                        created_at=self._now,
                    )
                )
        self._backend.add_archive(archive)
        return kept

    def _targets(
        self, table: TableInfo, rows: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, dict[str, list[str]]]:
        """Row → relation → uids of what it refers to: local keys say nothing once their rows are others."""
        found: dict[str, dict[str, list[str]]] = defaultdict(dict)
        for field in table.fields.values():
            if not field.target:
                continue
            held = {pk: _keys(values.get(field.name)) for pk, values in rows.items()}
            wanted = {key for keys in held.values() for key in keys}
            records = self._backend.records_by_pk(field.target, wanted) if wanted else {}
            for pk, keys in held.items():
                if keys:
                    found[pk][field.name] = [records[k].uid.hex() if k in records else "" for k in keys]
        return found


def _by_label(places: Iterable[Place]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = defaultdict(list)
    for place in places:
        found[place.label].append(place.pk)
    return list(found.items())


def _origins(causes: Mapping[Place, set[Place]], place: Place) -> set[Place]:
    """``place`` and all rows that it goes because of."""
    seen = {place}
    todo = [place]
    while todo:
        for cause in causes.get(todo.pop(), ()):
            if cause not in seen:
                seen.add(cause)
                todo.append(cause)
    return seen


def _versions(causes: Mapping[Place, set[Place]], roots: Iterable[Root]) -> dict[Place, Version]:
    """Row → the newest of the deletions that it goes because of."""
    effects: dict[Place, list[Place]] = defaultdict(list)
    for place, reasons in causes.items():
        for cause in reasons:
            effects[cause].append(place)
    found: dict[Place, Version] = {}
    # The newest first: what it reaches needs no other.
    for root in sorted(roots, key=lambda root: root.version.stamp, reverse=True):
        todo = [root.place]
        while todo:
            place = todo.pop()
            if place not in found:
                found[place] = root.version
                todo += effects[place]
    return found


def _keys(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(key) for key in value] if isinstance(value, list) else [str(value)]
