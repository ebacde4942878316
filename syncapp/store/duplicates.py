"""Two rows of this program that are one record elsewhere, and one of them goes.

A peer that takes two rows here for one record (a third program told it so, or it recognised the second one too late)
has a change that waits as ``ambiguous`` until people have decided which row is the record. They decide by deleting the
other one. That is no end of the record: the names of the row that is gone pass to the one that stays, and nobody hears
of a deletion. What the row that stays holds is what they chose, and is dated above what the other one had.

Where nobody here knew yet, the deletion may be under way already. Then the record comes back as soon as it is known, by
a status that has seen the deletion.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from syncapp.core.changes import WHOLE, Entry, Record
from syncapp.core.clock import Version, edit, sees
from syncapp.core.liveness import known_together
from syncapp.core.rules import Merge
from syncapp.store.aliases import names_of
from syncapp.store.base import Backend, ProblemRow, Setup, TableInfo
from syncapp.store.parked import Incoming, unpack
from syncapp.store.refeed import feed_again

if TYPE_CHECKING:
    from syncapp.store.resolve import Resolver
    from syncapp.store.sealing import Numbering


def spare(
    backend: Backend,
    setup: Setup,
    table: int,
    gone: dict[str, Record],
    known: Mapping[str, Record],
    numbering: Numbering,
) -> list[Record]:
    """Take those of the rows ``gone`` away that are called like another row, which stands.

    The records of such rows take over their names, and are returned. ``known``: records by their keys that are about
    to be saved; it is these that are changed.
    """
    heirs: dict[int, Record] = {}
    standing = {record.id: record for record in known.values()}
    lost = {record.id: pk for pk, record in gone.items()}
    for row in backend.doubles(table):
        records = {r.id: r for r in backend.records_by_uid(_change(row).names).values()}
        dead = [r for number, r in records.items() if number in lost]
        alive = [r for number, r in records.items() if number not in lost and r.alive and r.table == table]
        if not (dead and alive):
            continue
        first = min(alive, key=lambda record: record.uid)
        heir = heirs.setdefault(first.id, standing.get(first.id, first))
        adopt(backend, setup, heir, dead, row.link, numbering)
        for record in dead:
            del gone[lost.pop(record.id)]
    return list(heirs.values())


def _change(row: ProblemRow) -> Incoming:
    return unpack(row.uid, row.table, row.payload)


def adopt(
    backend: Backend,
    setup: Setup,
    heir: Record,
    others: Sequence[Record],
    link: int,
    numbering: Numbering,
    *,
    date: bool = True,
) -> None:
    """Let ``heir`` be called by the names of ``others``, whose rows are gone, and go whole to everybody.

    ``link``: that of the peer for which they are one. ``date``: what ``heir`` holds was chosen, not what they had.
    """
    for other in others:
        _date(heir, other, setup.tables[heir.table], numbering, fields=date)
    names = _take_over(backend, setup, heir, others, link)
    feed_again(heir, numbering)
    for field, entry in heir.entries.items():
        if entry.seq < 0:
            heir.entries[field] = entry._replace(seq=heir.seq)
    backend.save_records([heir])
    look_again(backend, heir.table, names)


def entomb(
    backend: Backend, setup: Setup, records: Sequence[Record], link: int, numbering: Numbering
) -> Record:
    """Make one of several dead ``records``, which are one for the peer of ``link``; everybody hears of its end."""
    heir, *others = sorted(records, key=lambda record: record.uid)
    if not others:
        return heir
    status = setup.tables[heir.table].status
    graves = [record.entries[status].version for record in records if status in record.entries]
    _take_over(backend, setup, heir, others, link)
    version = known_together(graves)
    if version is not None:
        heir.seq = numbering.next()
        heir.entries[status] = Entry(version, heir.seq, 0)
    backend.save_records([heir])
    return heir


def _take_over(
    backend: Backend, setup: Setup, heir: Record, others: Sequence[Record], link: int
) -> list[bytes]:
    """Let ``heir`` be called by the names of ``others``, which are forgotten; whoever had one of them has it. These."""
    names = sorted({name for known in names_of(backend, others).values() for name in known})
    backend.add_pairs(link, [heir.id])
    for number in setup.links:
        if backend.paired(number, [other.id for other in others]):
            backend.add_pairs(number, [heir.id])
    backend.forget(others, {})
    for name in names:
        backend.rename(heir, name)
    return names


def reborn(backend: Backend, setup: Setup, dead: Record, pk: str, numbering: Numbering) -> None:
    """Let a dead record live on as the row ``pk``, which has no record: people made it anew."""
    status = setup.tables[dead.table].status
    known = dead.versions()
    dead.alive, dead.pk, dead.seq = True, pk, numbering.next()
    dead.entries = {}
    if known:
        dead.entries[status] = Entry(above(known, numbering), dead.seq, 0)
    backend.save_records([dead])


def _date(
    heir: Record, other: Record, table: TableInfo, numbering: Numbering, *, fields: bool = True
) -> None:
    """Versions of ``heir`` that have seen those of ``other``; their numbers follow.

    A sum or a union stays what its parts make: what the other row added comes back with the record's own parts.
    """
    status, infos = table.status, table.fields
    grave = other.entries.get(status)
    for field, entry in other.entries.items() if fields else ():
        mine = heir.entries.get(field)
        if field in (WHOLE, status) or (field in infos and infos[field].merge is not Merge.VALUE):
            continue
        if mine is None or not sees(mine.version, entry.version):
            version = above([entry.version, mine.version if mine else None], numbering)
            heir.entries[field] = Entry(version, -1, 0, (mine or entry).parts)
    if grave is not None:
        known = heir.versions()
        heir.entries[status] = Entry(above([grave.version, *known], numbering), -1, 0)


def above(versions: Iterable[Version | None], numbering: Numbering) -> Version:
    """Just above what it has seen: it is the consequence of that, and no new edit."""
    known = known_together(versions)
    assert known is not None
    return edit(known.time, numbering.origin, known)


def look_again(backend: Backend, table: int, names: Collection[bytes]) -> None:
    """Changes that wait because one of ``names`` meant several rows are due now."""
    rows = [row for row in backend.doubles(table) if not set(_change(row).names).isdisjoint(names)]
    if rows:
        backend.save_problems([msgspec.structs.replace(row, next_try=0) for row in rows])


class Heirs:
    """Rows of a peer that wait here for being taken for a record that the peer has as another row.

    Should the peer delete that other row, the one that waits goes on as the record.
    """

    def __init__(self, backend: Backend, resolver: Resolver, link: int, numbering: Numbering) -> None:
        self._backend = backend
        self._resolver = resolver
        self._link = link
        self._numbering = numbering
        self._waiting: dict[int, dict[tuple[int, str], Incoming]] = {}

    def forget(self) -> None:
        """Look anew when next asked: rows have changed, and others may wait."""
        self._waiting.clear()

    def inherit(self, record: Record, deletion: Version) -> bool:
        """``deletion`` comes for ``record``: whether a row that waits goes on as the record, which all hear of."""
        if record.table not in self._waiting:
            self._waiting[record.table] = self._look(record.table)
        change = self._waiting[record.table].get((record.table, record.pk))
        if change is None:
            return False
        backend = self._backend
        backend.add_pairs(self._link, [record.id])
        for name in change.names:
            backend.rename(record, name)
        feed_again(record, self._numbering)
        status = backend.setup().tables[record.table].status
        known = record.versions()
        record.entries[status] = Entry(above([deletion, *known], self._numbering), record.seq, 0)
        backend.save_records([record])
        look_again(backend, record.table, change.names)
        self.forget()
        return True

    def _look(self, table: int) -> dict[tuple[int, str], Incoming]:
        """What waits, by the table and key of the row that it would be."""
        waiting = [_change(row) for row in self._backend.doubles(table) if row.link == self._link]
        known = self._backend.records_by_uid({n for c in waiting for n in c.names}) if waiting else {}
        unknown = {c.uid: c for c in waiting if known.keys().isdisjoint(c.names)}
        found = self._resolver.match(list(unknown.values())).found if unknown else {}
        return {place: unknown[uid] for uid, place in found.items()}
