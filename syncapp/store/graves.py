"""The part of applying a peer's batch that meets dead records: what comes too late, and what brings a record back.

A record whose row is gone here stays known, with the version of its deletion: its grave. An edit that comes for it is
superseded, or brings it back (`core.liveness`): then the record is created anew, under its old name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from syncapp.core.changes import WHOLE, Entry, Record, RowKind
from syncapp.core.clock import Version, join, sees
from syncapp.core.liveness import Ruling, known_together, on_alive, on_edits, returned, revival
from syncapp.core.merge import Merged, Outcome, merge_field
from syncapp.core.parts import Parts, join_parts, members
from syncapp.core.rules import Merge
from syncapp.store import partwire
from syncapp.store.aliases import names_of, note_pairs
from syncapp.store.archive import Kept, kept_values
from syncapp.store.base import FieldInfo
from syncapp.store.deletionbase import ArchiveRow
from syncapp.store.lives import Context, Lives
from syncapp.store.parked import Cell, Incoming
from syncapp.store.rejoining import rejoin
from syncapp.store.softly import standing
from syncapp.store.systemvalues import kept_fields
from syncapp.store.tombstones import tell_again
from syncapp.store.values import same
from syncapp.store.writing import Loser, Verdict, Write


class _Return(NamedTuple):
    """A dead record that comes back: its status from now on, and the link that this came by (0: ruled here).

    ``grave``: the deletion that is undone. ``stands``: its row never went (see `store.softly`).
    """

    record: Record
    version: Version
    via: int
    grave: Version | None
    stands: bool = False


class Graves(Lives):
    """The dead records of one application of changes over one link.

    ``complete`` adds to a change what is parked of its record; ``want`` asks for the whole of it; ``matched`` says
    whether a row here is the record by its match fields.
    """

    def __init__(
        self,
        context: Context,
        complete: Callable[[Incoming], Incoming],
        want: Callable[[Incoming], None],
        matched: Callable[[Incoming], bool],
    ) -> None:
        super().__init__(context)
        self._complete = complete
        self._want = want
        self._matched = matched
        self._returns: dict[bytes, _Return] = {}
        self._anew: dict[bytes, set[int]] = {}
        #: Names of fields → what the rows of the records that come back held, as the archive tells.
        self._before: dict[bytes, dict[str, Any]] = {}
        self._left: dict[bytes, Record] = {}

    def meet(self, change: Incoming, record: Record) -> Incoming | None:
        """A change for a record whose row is gone here. Returns it if it brings the record back."""
        status = self.status(change.table)
        grave, word = record.entries.get(status), self.word(change)
        if word is not None and word.value is False:
            self._deepen(change, record, word)
            return None
        if change.kind != RowKind.WHOLE:
            # What would bring the record back may wait, and this with it.
            whole = self._complete(change)
            change = whole if whole.kind == RowKind.WHOLE else change
            word = self.word(change)
        found = self._resurrection(change, record, grave.version if grave else None, word)
        if found is None:
            return None
        if change.kind != RowKind.WHOLE:
            self._want(change)
            return None
        if record.id in standing(self.backend, self.setup, [record]):
            found = found._replace(stands=True)
        elif self._matched(change):
            # People made it anew meanwhile: it comes back as that row, by the way of records that were not known.
            self._left[change.uid] = record
            return change
        self._returns[change.uid] = found
        return change

    def _resurrection(
        self, change: Incoming, record: Record, grave: Version | None, word: Cell | None
    ) -> _Return | None:
        """The end of being dead, if ``change`` is that; else what it says is accounted for."""
        version, status = grave, self.status(change.table)
        if word is not None and word.version is not None:
            one_way = not self.sends(change.table)
            spoken = on_alive(grave, word.version, self.numbering.origin, alive=False, one_way=one_way)
            if spoken.ruling is Ruling.REVIVE:
                return _Return(record, spoken.version, self.link.id, grave)
            version = spoken.version
        edits = {
            field: cell.version
            for field, cell in change.cells.items()
            if field != status and not _was_known(record, field, cell)
        }
        newer, lost = on_edits(grave, edits)
        if grave is not None and newer and self.two_way(change.table):
            return _Return(record, revival(grave, newer, self.numbering.origin), 0, grave)
        self._too_late(change, record, version, lost)
        return None

    def _too_late(
        self, change: Incoming, record: Record, version: Version | None, lost: tuple[int, ...]
    ) -> None:
        """An edit of a record that stays dead: superseded, and kept where its author could not know."""
        status, fields = self.status(change.table), self.setup.tables[change.table].fields
        known = record.entries.get(status)
        agreed = self.sends(change.table) or self.receives(change.table)
        unseen = {field: cell for field, cell in change.cells.items() if agreed and field in lost}
        versions = [cell.version for cell in unseen.values() if cell.version is not None]
        if versions and version is not None:
            values = {fields[field].name: _plain(cell.value) for field, cell in unseen.items()}
            newest = max(versions, key=lambda version: version.stamp)
            self.conflict(record, False, values, version, newest)
            for edit in versions:  # seen from now on: the same edit is no news when it comes again
                version = join(version, edit)
        if known is not None and version is not None and version != known.version:
            record.entries[status] = known = known._replace(version=version)
            self.backend.save_records([record])
        if known is not None and self.sends(change.table):
            self._tell(record, status)
        self.learn_names(change, record)
        self.ledger.supersede(change, "deleted")

    def _tell(self, record: Record, status: int) -> None:
        """The peer has a record that died here before it was known to have it: it must hear of that."""
        if note_pairs(self.backend, self.link.id, [record.id]):
            tell_again(record, status, self.numbering)
            self.backend.save_records([record])

    def _deepen(self, change: Incoming, record: Record, word: Cell) -> None:
        """Deleted on both sides."""
        status = self.status(change.table)
        known = record.entries.get(status)
        merged = merge_field(known.version if known else None, word.version, equal=True)
        if merged.version is not None and merged.outcome.writes:
            record.seq = self.numbering.next(incoming=True)
            record.entries[status] = Entry(merged.version, record.seq, self.link.id)
        elif merged.version is not None and known is not None:
            record.entries[status] = known._replace(version=merged.version)
        self.backend.save_records([record])
        self.learn_names(change, record)
        same = merged.outcome in (Outcome.DUPLICATE, Outcome.BASELINE)
        result = "applied" if merged.outcome.writes else "duplicate" if same else "superseded"
        self.account(change, record, result, alive=False)

    def left(self, change: Incoming) -> Record | None:
        """The dead record of a change that is to come back as another row; the caller sees to it."""
        return self._left.pop(change.uid, None)

    # -- coming back ----------------------------------------------------------------------------------------

    def returning(self, changes: Iterable[Incoming]) -> list[Write]:
        """The dead records among those of ``changes`` that are to be created again.

        What the peer does not send of them comes from the archive, if a peer's deletion had taken them away.
        """
        back = [change for change in changes if change.uid in self._returns]
        writes = [Write(change, self._returns[change.uid].record, create=True) for change in back]
        for write in writes:
            write.stands = self._returns[write.change.uid].stands
        archived = self.backend.archived([write.record.uid for write in writes]) if writes else {}
        for write in writes:
            if not write.stands:
                self._add_kept(write, archived.get(write.record.uid))
        return writes

    def _add_kept(self, write: Write, row: ArchiveRow | None) -> None:
        """Fields that did not come are what they were; where that is not known, nobody has edited them."""
        table, cells = self.setup.tables[write.record.table], write.change.cells
        kept = kept_values(self.backend, table, row) if row is not None else Kept({}, frozenset())
        if row is not None:
            came = {table.fields[field].name for field in cells}
            # Without relations: the conflict list keeps those by uids.
            self._before[write.change.uid] = {n: v for n, v in kept.values.items() if n not in row.targets}
            write.kept = {name: value for name, value in kept.values.items() if name not in came}
        entries, stay = write.record.entries, {*cells, table.status, WHOLE}
        stay |= {field.number for field in kept_fields(table)}  # no row had them
        for field in entries.keys() - stay:
            if row is None or field in kept.changed:
                del entries[field]

    def dated(self, writes: Iterable[Write]) -> None:
        """Give the fields of records that came back their versions, before they are settled."""
        for write in writes:
            back = self._returns.get(write.change.uid)
            if back is None or write.failed is not None:
                continue
            entries, origin = write.record.entries, self.numbering.origin
            fields = self.setup.tables[write.record.table].fields
            anew: set[int] = set()
            for field, verdict in write.verdicts.items():
                known = entries.pop(field, None)
                if known is not None and known.parts and self._joined(write, fields[field], verdict, known):
                    anew.add(field)
                    continue
                version, again = returned(known.version if known else None, verdict.cell.version, origin)
                verdict.merged = Merged(Outcome.APPLY, version)
                if again:
                    anew.add(field)
                    self._replaced(write, fields[field], verdict, known)
            self._anew[write.change.uid] = anew

    def _replaced(self, write: Write, field: FieldInfo, verdict: Verdict, known: Entry | None) -> None:
        """What came stands in the place of a later value, which the archive has kept until now."""
        before, version = self._before.get(write.change.uid, {}), verdict.merged.version
        if known is None or version is None or field.merge is not Merge.VALUE or field.name not in before:
            return
        lost = before[field.name]
        if verdict.held is None and not same(field.type.kind, verdict.value, lost):
            self.ledger.keep(write.record, field.number, Loser(verdict.value, lost, version, known.version))

    def _joined(self, write: Write, field: FieldInfo, verdict: Verdict, known: Entry) -> bool:
        """Of sums and unions, what this program had when the record died still counts."""
        cell = verdict.cell
        theirs = partwire.given(field, cell.version, cell.value, cell.parts) if verdict.held is None else None
        if (
            field.merge is Merge.VALUE
            or theirs is None
            or (joined := join_parts(theirs, known.parts)) == theirs
        ):
            return False
        version = known_together([cell.version, known.version])
        verdict.merged, verdict.parts = Merged(Outcome.APPLY, version), joined
        verdict.value = self._local(field, verdict.value, theirs, joined)
        self.backend.update_rows(write.record.table, [field.number], [(write.record.pk, [verdict.value])])
        return True

    def _local(self, field: FieldInfo, came: Any, theirs: Parts, joined: Parts) -> Any:
        """What ``joined`` makes here; ``came``: what ``theirs`` has made, perhaps of rows that are new in this wave."""
        if field.merge is Merge.SUM:
            return partwire.value_from(field, joined)
        before, after = members(theirs), members(joined)
        records = self.backend.records_by_uid(before ^ after)
        gone = {records[uid].pk for uid in before - after if uid in records}
        added = {records[uid].pk for uid in after - before if uid in records and records[uid].alive}
        return sorted((set(came) - gone) | added)

    def missed(self, write: Write) -> list[int]:
        """The fields that the peer may have lost while the record was dead there: it says that the record is alive
        again, which lives here, and does not know what we have of them.

        What it had from here met a grave, and was acknowledged all the same.
        """
        status = self.status(write.record.table)
        if status not in write.change.cells or write.create or write.result(status) != "applied":
            return []
        return self._unheard(write)

    def _unheard(self, write: Write) -> list[int]:
        """The fields that stand here in versions of which ``write`` says that the peer does not know them."""
        status, cells = self.status(write.record.table), write.change.cells
        return [
            field
            for field, entry in write.record.entries.items()
            if field not in (status, WHOLE) and entry.seq and entry.via != self.link.id
            if (cell := cells.get(field)) is None
            or cell.version is None
            or not sees(cell.version, entry.version)
        ]

    def settled(self, write: Write) -> bool:
        """After a record's fields were settled: is it one that came back? Then it lives, and its status says so."""
        back = self._returns.get(write.change.uid)
        if back is None:
            return False
        record, status = write.record, self.status(write.record.table)
        unheard = self._unheard(write)
        unnamed = not set(names_of(self.backend, [record])[record.id]) <= {*write.change.names}
        local = back.via == 0 or bool(self._anew[write.change.uid] or unheard) or unnamed
        number = self.numbering.next(incoming=not local)
        if unnamed:  # names go with whatever is sent of a record, which may be nothing now
            record.entries[WHOLE] = Entry(Version(0, b""), number, 0)
        for field in unheard:
            record.entries[field] = record.entries[field]._replace(seq=number)
        for field in self._anew[write.change.uid]:
            if field in record.entries:
                record.entries[field] = record.entries[field]._replace(via=0, seq=number)
        record.entries[status] = Entry(back.version, number, back.via)
        record.alive, record.seq = True, number
        if write.kept is not None:
            self.backend.drop_archive([record.uid])
        if back.via == 0 and back.grave is not None:
            newest = max((c.version for c in write.change.cells.values() if c.version), key=lambda v: v.stamp)
            self.conflict(record, True, False, newest, back.grave)
        return True

    def finish(self) -> None:
        """The wave is over."""
        for back in self._returns.values():
            if back.record.alive:
                rejoin(self.backend, self.setup, back.record, self.numbering)
        self._returns.clear()
        self._anew.clear()
        self._before.clear()
        self._left.clear()


def _was_known(record: Record, field: int, cell: Cell) -> bool:
    """Whether an edit that comes for a dead record had come while it lived: what became of it then still holds."""
    entry = record.entries.get(field)
    return entry is not None and cell.version is not None and sees(entry.version, cell.version)


def _plain(value: Any) -> Any:
    """A value as people may read it: uids in hexadecimal digits."""
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(part) for part in value] if isinstance(value, list) else value
