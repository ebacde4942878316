"""What was added to sums before this run of the process began, and was sealed in it.

A database that is put back from a backup may have edits in its journal that its former life sealed and sent after the
backup was made. Of other values the repetition does no harm: the same value comes a second time. A sum would count it
twice, once in the part of the former life, which comes back from the peers, and once in the part of this run.

So the run remembers what each such journal row had added. When a part of a former life comes that is newer than the
row, the row was in it: the program takes it out of its own part, which nobody else writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from syncapp.core.changes import JournalRow
from syncapp.core.clock import epoch_of, instance_of
from syncapp.core.parts import Parts, add_to_sum, units
from syncapp.core.rules import Merge
from syncapp.store.base import Backend, Setup

Place = tuple[int, str]
"""A field of a row: its number, the row's key."""


class Waited:
    """(field, local key) → journal row → when it was noted, what it added, and to whose part.

    ``until``: rows from before then had waited for this run.
    """

    def __init__(self) -> None:
        self.until = 0
        self._added: dict[Place, dict[int, tuple[int, int, bytes]]] = {}

    def rest(
        self, backend: Backend, setup: Setup, journal: Mapping[int, Mapping[str, Sequence[JournalRow]]]
    ) -> list[JournalRow]:
        """What else the journal has of records whose sums waited: what a row added is told by the one after it."""
        found: list[JournalRow] = []
        for table, by_pk in journal.items():
            if table in setup.tables and any(
                field.merge is Merge.SUM for field in setup.tables[table].fields.values()
            ):
                pks = [pk for pk, rows in by_pk.items() if rows[0].at <= self.until]
                found += backend.drain_rows(table, pks) if pks else ()
        return found

    def note(
        self,
        place: Place,
        rows: Sequence[JournalRow],
        value: Any,
        origin: bytes,
        places: int | None,
    ) -> None:
        """Journal rows of a sum were sealed; ``value``: what is there now. Each row says what was there before it."""
        if not rows or rows[0].at > self.until:
            return
        told = [row for row in rows if row.before is not None and place[0] in row.before]
        values = [*((row.before or {})[place[0]] for row in told), value]
        if not all(isinstance(known, int | str) for known in values):
            return
        for row, before, after in zip(told, values, values[1:], strict=False):
            added = units(after, places) - units(before, places)
            if added and row.at <= self.until:
                self._added.setdefault(place, {})[row.id] = (row.at, added, origin)

    def take_out(self, place: Place, parts: Parts, came: Iterable[Any], places: int | None) -> Parts:
        """``parts`` without what the newer parts of former lives that ``came`` hold already."""
        added = self._added.get(place)
        if not added:
            return parts
        for number, (at, count, origin) in list(added.items()):
            if any(_former(part[0], origin) and part[1] >= at for part in came):
                parts = add_to_sum(parts, -count, origin, places)
                del added[number]
        return parts


def _former(one: bytes, origin: bytes) -> bool:
    """Whether a part is of an earlier epoch of the program."""
    return bool(one) and instance_of(one) == instance_of(origin) and epoch_of(one) < epoch_of(origin)
