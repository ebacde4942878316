# ruff: noqa: S608 - statements are made of constants, values are parameters
"""Dead records, what is kept of their rows, and who knows of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from syncapp.core.changes import Record
from syncapp.store.deletionbase import ArchiveRow, Knower
from syncapp.store.sql.database import Database, Row
from syncapp.store.sql.records import COLUMNS, record_of

_ARCHIVE = (
    '"link_id", "table_no", "label", "uid", "pk_text", "values", "targets", "time", "origin", "created_at"'
)
_KEEP = f'INSERT INTO "syncapp_archive" ({_ARCHIVE}) VALUES ({", ".join(["%s"] * 10)})'
_KEPT = f'SELECT {_ARCHIVE} FROM "syncapp_archive" WHERE "uid" IN {{}} ORDER BY "id"'
_UNKEEP = 'DELETE FROM "syncapp_archive" WHERE "uid" IN {}'
_HASTEN = 'UPDATE "syncapp_problem" SET "next_try" = 0 WHERE "waits_for" IN {}'
_OFFER = 'UPDATE "syncapp_linkstate" SET "offered_id" = %s WHERE "link_id" = %s AND "offered_id" < %s'
_DEAD = f'SELECT {COLUMNS} FROM "syncapp_record" WHERE NOT "alive" AND "id" > %s ORDER BY "id" LIMIT %s'
_PAIRS = 'SELECT "record_id", "link_id" FROM "syncapp_pair" WHERE "record_id" IN {}'
_LINKS = 'SELECT "link_id", "acked_seq", "offered_id" FROM "syncapp_linkstate"'
_FORGET = (
    'DELETE FROM "syncapp_alias" WHERE "record_id" IN {}',
    'DELETE FROM "syncapp_pair" WHERE "record_id" IN {}',
    'DELETE FROM "syncapp_record" WHERE "id" IN {}',
)
_FLOOR = 'UPDATE "syncapp_linkstate" SET "floor_seq" = %s WHERE "link_id" = %s AND "floor_seq" < %s'


class Tombstones:
    """Dead records and their archive."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- the archive --

    def add_archive(self, rows: Sequence[ArchiveRow]) -> None:
        self._database.many(
            _KEEP,
            (
                (
                    *(row.link, row.table, row.label, row.uid or None, row.pk),
                    *(json.dumps(row.values), json.dumps(row.targets)),
                    *(row.time, row.origin, row.created_at),
                )
                for row in rows
            ),
        )

    def archived(self, uids: Collection[bytes]) -> dict[bytes, ArchiveRow]:
        rows = map(_archive_row, self._database.query_in(_KEPT, uids))
        return {row.uid: row for row in rows}

    def drop_archive(self, uids: Collection[bytes]) -> None:
        self._database.run_in(_UNKEEP, uids)

    # -- problems --

    def hasten(self, uids: Collection[bytes]) -> None:
        self._database.run_in(_HASTEN, uids)

    # -- tombstones --

    def offer(self, link: int, record: int) -> None:
        self._database.run(_OFFER, [record, link, record])

    def tombstones(self, after: int, limit: int) -> list[Record]:
        return [record_of(row) for row in self._database.query(_DEAD, [after, limit])]

    def knowers(self, records: Sequence[Record]) -> dict[int, list[Knower]]:
        links = {link: (acked, offered) for link, acked, offered in self._database.query(_LINKS)}
        pairs: dict[int, set[int]] = defaultdict(set)
        for record, link in self._database.query_in(_PAIRS, [record.id for record in records]):
            pairs[record].add(link)
        found: dict[int, list[Knower]] = {}
        for record in records:
            for link, (acked, offered) in links.items():
                if link in pairs[record.id] or (record.seq and record.id <= offered):
                    found.setdefault(record.id, []).append(Knower(link, acked >= record.seq))
        return found

    def forget(self, records: Sequence[Record], floors: Mapping[int, int]) -> None:
        for sql in _FORGET:
            self._database.run_in(sql, [record.id for record in records])
        self.drop_archive({record.uid for record in records})
        for link, floor in floors.items():
            self._database.run(_FLOOR, [floor, link, floor])


def _archive_row(row: Row) -> ArchiveRow:
    link, table, label, uid, pk, values, targets, time, origin, created_at = row
    return ArchiveRow(
        *(link or 0, table, label, bytes(uid or b""), pk, json.loads(values), json.loads(targets)),
        *(time, bytes(origin), created_at),
    )
