"""The in-memory twin's part around deletions; see `store.deletionbase`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from syncapp.core.changes import Record
from syncapp.store.deletionbase import ArchiveRow, Knower, OnDelete, Reference
from syncapp.store.memorydata import MemoryDatabase, targets_of


class MemoryDeletion:
    """Mixin of `store.memory.MemoryBackend`."""

    database: MemoryDatabase

    # -- rows -----------------------------------------------------------------------------------------------

    def references(self, label: str, pks: Collection[str]) -> list[Reference]:
        db, wanted = self.database, set(pks)
        found = []
        for owner, field, rule in db.referrers(db.number(label)):
            held = (
                (target, pk)
                for pk, row in db.tables[owner].items()
                for target in targets_of(row.get(field))
                if target in wanted
            )
            rows = tuple(sorted(held))
            if rows:
                info = db.setup.tables[owner]
                found.append(Reference(info.label, info.fields[field].name, rule, rows))
        return found

    def hold(self, label: str, pks: Collection[str]) -> None:
        pass  # a transaction has the database to itself

    def snapshot(self, label: str, pks: Collection[str]) -> dict[str, dict[str, Any]]:
        table = self.database.number(label)
        fields = self.database.setup.tables[table].fields
        rows = self.database.tables[table]
        return {
            pk: {fields[number].name: value for number, value in rows[pk].items()} for pk in pks if pk in rows
        }

    def detach(self, label: str, field: str, pks: Collection[str]) -> None:
        table = self.database.number(label)
        for pk in pks:
            self.database.update(table, pk, {self.database.field(table, field): None})

    def delete_rows(self, rows: Sequence[tuple[str, Collection[str]]]) -> None:
        db = self.database
        for label, pks in rows:
            table = db.number(label)
            for pk in pks:
                db.pop(db.tables[table], pk)
            for owner, field, rule in db.referrers(table):
                if rule is OnDelete.MEMBER:
                    self._leave(owner, field, set(pks))
        for label, pks in rows:
            db.check_unreferred(db.number(label), pks)

    def _leave(self, owner: int, field: int, gone: set[str]) -> None:
        for pk, row in list(self.database.tables[owner].items()):
            if gone & set(row.get(field) or ()):
                self.database.update(owner, pk, {field: [key for key in row[field] if key not in gone]})

    def restore_row(self, label: str, kept: Mapping[str, Any], fresh: Mapping[int, Any] | None = None) -> str:
        table = self.database.number(label)
        fields = self.database.setup.tables[table].fields
        values = {number: kept[field.name] for number, field in fields.items() if field.name in kept}
        return self.database.insert(table, {**values, **(fresh or {})})

    # -- the archive ----------------------------------------------------------------------------------------

    def add_archive(self, rows: Sequence[ArchiveRow]) -> None:
        self._set("archive", [*self.database.archive, *rows])

    def archived(self, uids: Collection[bytes]) -> dict[bytes, ArchiveRow]:
        return {row.uid: row for row in self.database.archive if row.uid in uids}

    def drop_archive(self, uids: Collection[bytes]) -> None:
        self._set("archive", [row for row in self.database.archive if row.uid not in uids])

    def _set(self, name: str, value: Any) -> None:
        db, old = self.database, getattr(self.database, name)
        db.note(lambda: setattr(db, name, old))
        setattr(db, name, value)

    # -- problems, tombstones -------------------------------------------------------------------------------

    def hasten(self, uids: Collection[bytes]) -> None:
        for number, problem in self.database.problems.items():
            if problem.waits_for in uids:
                self.database.put(
                    self.database.problems, number, msgspec.structs.replace(problem, next_try=0)
                )

    def offer(self, link: int, record: int) -> None:
        cursors = self.database.cursors[link]
        if record > cursors.offered:
            changed = msgspec.structs.replace(cursors, offered=record)
            self.database.put(self.database.cursors, link, changed)

    def tombstones(self, after: int, limit: int) -> list[Record]:
        dead = (r for number, r in sorted(self.database.records.items()) if number > after and not r.alive)
        return [msgspec.structs.replace(r, entries=dict(r.entries)) for r, _ in zip(dead, range(limit))]  # noqa: B905

    def knowers(self, records: Sequence[Record]) -> dict[int, list[Knower]]:
        db = self.database
        found: dict[int, list[Knower]] = defaultdict(list)
        for record in records:
            for link, cursors in db.cursors.items():
                if record.id in db.pairs[link] or (record.seq > 0 and record.id <= cursors.offered):
                    found[record.id].append(Knower(link, cursors.acked.seq >= record.seq))
        return dict(found)

    def forget(self, records: Sequence[Record], floors: Mapping[int, int]) -> None:
        db = self.database
        gone = {record.id for record in records}
        for record in records:
            db.pop(db.records, record.id)
        for uid in [uid for uid, number in db.by_uid.items() if number in gone]:
            db.pop(db.by_uid, uid)
        for link, pairs in list(db.pairs.items()):
            db.put(db.pairs, link, pairs - gone)
            for number in gone & db.left[link].keys():
                db.pop(db.left[link], number)
        self.drop_archive({record.uid for record in records})
        for link, floor in floors.items():
            cursors = db.cursors[link]
            changed = msgspec.structs.replace(cursors, floor=max(cursors.floor, floor))
            db.put(db.cursors, link, changed)
