"""The part of applying a peer's batch in which records are deleted.

What a deletion does to a record is ruled in `core.liveness`; how rows are taken away in `store.removal`. In one wave:

* rows that nothing refers to go first, so that their unique values and their places are free,
* then comes what is created and changed (`store.apply`): it may let go of rows that are to be deleted,
* when all waves are over, the rest goes, with what the models of its referrers say.

A record that is dead here stays known: what comes for it later meets its grave (`store.graves`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from syncapp.core.changes import WHOLE, Entry, Record, RowKind
from syncapp.core.liveness import Judgement, Ruling, on_deletion
from syncapp.core.merge import merge_field
from syncapp.errors import HostCodeFailed
from syncapp.store.aliases import names_of, note_pairs
from syncapp.store.base import Backend, RowRefused, Setup
from syncapp.store.duplicates import Heirs
from syncapp.store.graves import Graves
from syncapp.store.heralds import Herald
from syncapp.store.lives import Context, Lives
from syncapp.store.locking import BUSY
from syncapp.store.parked import Incoming
from syncapp.store.questions import review
from syncapp.store.removal import Obstacle, Place, Removed, Remover, Root
from syncapp.store.resolve import Resolver
from syncapp.store.sealing import new_uid, seal_rows
from syncapp.store.softly import mark


class _Doomed(NamedTuple):
    """A living record whose deletion was ruled."""

    change: Incoming
    record: Record
    judgement: Judgement


class Deletions(Lives):
    """Applies the deletions of one link within one application of changes.

    ``arrived`` is told of records that are gone: somebody may have waited for that.
    """

    def __init__(
        self,
        context: Context,
        resolver: Resolver,
        arrived: Callable[[Iterable[bytes]], None],
        herald: Herald | None = None,
    ) -> None:
        super().__init__(context)
        self._resolver = resolver
        self._arrived = arrived
        #: Deletions of rows that others still refer to: they wait for the end.
        self._pending: list[tuple[Incoming, bytes]] = []
        self._doomed: dict[Place, _Doomed] = {}
        self._herald = herald
        self._heirs = Heirs(self.backend, resolver, self.link.id, self.numbering)

    # -- sorting out ----------------------------------------------------------------------------------------

    def split(self, changes: Iterable[Incoming]) -> list[Incoming]:
        """Part a deletion from what the same change says beside it: that meets the grave afterwards, like any edit."""
        found: list[Incoming] = []
        for change in changes:
            if not change.cells and change.kind == RowKind.DELETED:
                continue  # its date was refused: it waits for that alone
            if not self.kills(change) or len(change.cells) == 1:
                found.append(change)
                continue
            status = self.status(change.table)
            rest = {field: cell for field, cell in change.cells.items() if field != status}
            found.append(msgspec.structs.replace(change, cells={status: change.cells[status]}))
            counted = frozenset[int]() if change.problem else change.counted
            found.append(msgspec.structs.replace(change, cells=rest, problem=0, counted=counted))
        return found

    def begin(self, changes: list[Incoming], known: Mapping[bytes, Record]) -> list[Incoming]:
        """Rule on the deletions among ``changes`` and remove what is free to go; returns the other changes."""
        others = []
        self._heirs.forget()
        for change in changes:
            if not self.kills(change):
                others.append(change)
            elif change.uid in known:
                self._judge(change, known[change.uid])
            else:
                self._remember(change)
        self._lay_down()
        levels, rest = Remover(*self._scope).free(self._roots()) if self._doomed else ([], [])
        for level in levels:
            self._remove(level)
        waiting = [self._doomed[root.place] for root in rest]
        self._pending += [(item.change, item.record.uid) for item in waiting]
        self._doomed.clear()
        return others

    def finish(self, graves: Graves) -> bool:
        """When all else is done: remove what was still referred to. Whether there was anything."""
        pending, self._pending = self._pending, []
        self._heirs.forget()
        if not pending:
            return False
        # Judged anew: edits may have come since, and one deletion may have taken away what another one is about.
        records = self.backend.records_by_uid({uid for _, uid in pending})
        for change, uid in pending:
            if records[uid].alive:
                self._judge(change, records[uid])
            else:
                graves.meet(change, records[uid])
        if self._doomed:
            self._remove(self._roots())
        self._doomed.clear()
        return True

    @property
    def _scope(self) -> tuple[Backend, Setup, int, int]:
        return self.backend, self.setup, self.link.id, self.now

    def _roots(self) -> list[Root]:
        return [Root(place, doomed.judgement.version) for place, doomed in self._doomed.items()]

    # -- a deletion comes for a living record ---------------------------------------------------------------

    def _judge(self, change: Incoming, record: Record) -> None:
        status = self.status(change.table)
        word = change.cells[status]
        if word.version is None:
            self.account(change, record, "duplicate")  # the sender's row was gone before it could travel
            return
        if self._heirs.inherit(record, word.version):
            self.account(change, record, "superseded")
            return
        known = record.entries.get(status)
        edits = {f: entry.version for f, entry in record.entries.items() if f not in (status, WHOLE)}
        judgement = on_deletion(
            known.version if known else None,
            edits,
            word.version,
            self.numbering.origin,
            revives=self.two_way(change.table),
            one_way=not self.sends(change.table),
        )
        if judgement.ruling is Ruling.DELETE:
            place = Place(self.setup.tables[change.table].label, record.pk)
            if place in self._doomed:
                self.account(change, record, "duplicate")
            else:
                self._doomed[place] = _Doomed(change, record, judgement)
            return
        if judgement.ruling is Ruling.REVIVE:
            # The word is new to everybody, the peer too, and goes with the record whole (see `store.feed.pick`).
            record.seq = self.numbering.next()
            record.entries[status] = Entry(judgement.version, record.seq, 0)
        elif known is not None:
            record.entries[status] = known._replace(version=judgement.version)
        self.backend.save_records([record])
        self.learn_names(change, record)  # something may wait here under one that was not known
        if judgement.ruling in (Ruling.REVIVE, Ruling.LOST):
            self.conflict(record, True, False, judgement.version, word.version)
        self.account(change, record, "duplicate" if judgement.ruling is Ruling.DUPLICATE else "superseded")

    def _remember(self, change: Incoming) -> None:
        """A deletion of a record that is not known: should the record come by another way, it finds its grave."""
        word = change.cells[self.status(change.table)]
        record = Record(0, change.table, "", change.uid, alive=False, entries={})
        if word.version is not None:
            record.entries[self.status(change.table)] = Entry(word.version, 0, self.link.id)
        self.backend.save_records([record])
        if change.aliases:
            self.backend.add_pairs(self.link.id, [record.id])
            for name in change.aliases:
                self.backend.rename(record, name)
        self.account(change, record, "applied")

    # -- rows that stay -------------------------------------------------------------------------------------

    def _lay_down(self) -> None:
        """Rows that say themselves that they are deleted come to say so; what refers to them may go on."""
        removed = Removed([], {}, {}, {})
        for place, item in self._doomed.items():
            table = self.setup.tables[item.record.table]
            if table.soft is None:
                continue
            if item.judgement.lost:
                removed.rows[place] = self.backend.snapshot(table.label, [place.pk]).get(place.pk, {})
            try:
                with self.backend.savepoint():
                    mark(self.backend, table, [place.pk], alive=False)
            except RowRefused as refused:
                removed.refused[place] = refused
            else:
                removed.gone.append(Root(place, item.judgement.version))
        self._bury(removed)
        for place, error in removed.refused.items():
            self._refused(self._doomed[place], error)
        for place in [*(root.place for root in removed.gone), *removed.refused]:
            del self._doomed[place]

    # -- removing -------------------------------------------------------------------------------------------

    def _remove(self, roots: list[Root]) -> None:
        remover = Remover(*self._scope)
        removed = remover.remove(roots)
        if remover.consequences:
            places = ((row.table, row.pk) for row in remover.consequences)
            seal_rows(self.backend, self.setup, places, self.numbering, also=remover.consequences)
        self._bury(removed)
        for place, obstacle in removed.protected.items():
            self._protected(self._doomed[place], obstacle)
        for place, refused in removed.refused.items():
            self._refused(self._doomed[place], refused)

    def _bury(self, removed: Removed) -> None:
        buried: list[Record] = []
        doomed = [self._doomed[root.place] for root in removed.gone]
        # Looked up again: one may have gone with another one, and has a version of its own by now.
        fresh = self.backend.records_by_uid([item.record.uid for item in doomed])
        names = names_of(self.backend, fresh.values())
        for item in doomed:
            record = fresh[item.record.uid]
            self._inter(item, record, names[record.id])
            buried.append(record)
            place = Place(self.setup.tables[record.table].label, record.pk)
            self._mourn(item, record, removed.rows.get(place, {}))
        self.backend.save_records(buried)
        note_pairs(self.backend, self.link.id, {record.id for record in buried})
        for item, record in zip(doomed, buried, strict=True):
            self.learn_names(item.change, record)
        self.backend.hasten({record.uid for record in buried})
        review(self.backend, self.setup, [(record, record.entries) for record in buried])

    def _inter(self, item: _Doomed, record: Record, names: tuple[bytes, ...]) -> None:
        status, version = self.status(record.table), item.judgement.version
        known = record.entries.get(status)
        if not record.alive and known is not None:
            merged = merge_field(known.version, version, equal=True)
            assert merged.version is not None
            version = merged.version
        # Who deleted it may not know all that it is called: a row of its own may go by another name of the record.
        told = set(names) <= {*item.change.names}
        record.alive = False
        record.seq = self.numbering.next(incoming=told)
        record.entries[status] = Entry(version, record.seq, self.link.id if told else 0)

    def _mourn(self, item: _Doomed, record: Record, row: Mapping[str, Any]) -> None:
        """Account for a record that is gone, and tell those who waited for that."""
        change, judgement = item.change, item.judgement
        if judgement.lost:
            fields = self.setup.tables[record.table].fields
            lost = {fields[n].name: row.get(fields[n].name) for n in judgement.lost if n in fields}
            newest = max((item.record.entries[n].version for n in judgement.lost), key=lambda v: v.stamp)
            self.conflict(record, False, lost, judgement.version, newest)
        if self._herald is not None:
            self._herald.deleted(record.table, record.pk)
        names = {record.uid, *change.names}
        if self.setup.tables[record.table].soft is None:
            self._resolver.gone(names)
        self._arrived(names)
        self.account(change, record, "applied")

    def _protected(self, item: _Doomed, obstacle: Obstacle) -> None:
        params = {
            "table": self.setup.tables[item.record.table].label,
            "record": item.record.pk,
            "by": obstacle.label,
            "field": obstacle.field,
            "count": obstacle.many,
        }
        self.ledger.park(item.change, 0, "protected", params, self._guard(obstacle))

    def _guard(self, obstacle: Obstacle) -> bytes | None:
        """The uid of a row in the way, so that its end is noticed; None where it would not be."""
        for table in self.setup.tables.values():
            if table.label == obstacle.label and not self.setup.captured.isdisjoint(table.fields):
                record = self.backend.records_by_pk(table.number, [obstacle.pk]).get(obstacle.pk)
                if record is None:
                    uid = new_uid(self.numbering, self.now)
                    record = Record(0, table.number, obstacle.pk, uid, entries={})
                    self.backend.save_records([record])
                return record.uid
        return None

    def _refused(self, item: _Doomed, refused: RowRefused) -> None:
        label = self.setup.tables[item.record.table].label
        params = {"table": label, "record": item.record.pk, "detail": refused.detail}
        code = refused.code if refused.code in (BUSY, HostCodeFailed.code) else "change"
        self.ledger.park(item.change, 0, code, params)
