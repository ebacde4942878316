# ruff: noqa: S608 - statements are made of constants, values are parameters
"""Records, seals and the instance's own row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from syncapp.core.changes import Cursor, Record, pack_entries, unpack_entries
from syncapp.core.clock import make_origin
from syncapp.errors import StoreError
from syncapp.store.base import InstanceState
from syncapp.store.sql.database import Database, Row

COLUMNS = '"id", "table_id", "pk_text", "uid", "alive", "seq", "entries"'
_FROM = f'SELECT {COLUMNS} FROM "syncapp_record"'
# `AND "alive"`, as the partial index has it, so that the index serves.
_BY_PK = f'{_FROM} WHERE "table_id" = %s AND "alive" AND "pk_text" IN {{}}'
_BURIED = f'{_FROM} WHERE "table_id" = %s AND NOT "alive" AND "pk_text" IN {{}}'
_BY_UID = f'{_FROM} WHERE "uid" IN {{}}'
_ALIASES = 'SELECT "uid", "record_id" FROM "syncapp_alias" WHERE "uid" IN {}'
_OTHER_NAMES = 'SELECT "record_id", "uid" FROM "syncapp_alias" WHERE "record_id" IN {} ORDER BY "uid"'
_BY_ID = f'{_FROM} WHERE "id" IN {{}}'
_HAS_PAIR = 'SELECT 1 FROM "syncapp_pair" WHERE "record_id" = %s LIMIT 1'
_ADD_ALIAS = (
    'INSERT INTO "syncapp_alias" ("uid", "record_id") VALUES (%s, %s) '
    'ON CONFLICT ("uid") DO UPDATE SET "record_id" = excluded."record_id"'
)
_AFTER = f'{_FROM} WHERE "seq" > %s ORDER BY "seq", "id" LIMIT %s'
_INSERT = f'INSERT INTO "syncapp_record" ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s)'
_CHANGING = ("table_id", "pk_text", "uid", "alive", "seq", "entries")
_INSTANCE = 'SELECT "instance", "epoch", "head_seq", "head_tag" FROM "syncapp_instance" ORDER BY "id" LIMIT 1'
_GLANCE = (
    'SELECT EXISTS (SELECT 1 FROM "syncapp_journal"), "head_seq", "head_tag" FROM "syncapp_instance" '
    'ORDER BY "id" LIMIT 1'
)
_SET_HEAD = 'UPDATE "syncapp_instance" SET "head_seq" = %s, "head_tag" = %s'
# The version of the configuration moves, so that every process notices and begins its conversations anew.
_SET_EPOCH = (
    'UPDATE "syncapp_instance" SET "epoch" = %s, "config_version" = CASE WHEN "config_version" < %s THEN %s '
    'ELSE "config_version" + 1 END'
)
_SEAL = (
    'INSERT INTO "syncapp_seal" ("last_seq", "tag") VALUES (%s, %s) '
    'ON CONFLICT ("last_seq") DO UPDATE SET "tag" = excluded."tag"'
)
_SEAL_OF = 'SELECT "tag" FROM "syncapp_seal" WHERE "last_seq" >= %s ORDER BY "last_seq" LIMIT 1'


class RecordTable:
    """The tables of records, seals and the instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def glance(self) -> tuple[bool, Cursor]:
        """Whether the journal has rows, and the head, in one look."""
        pending, seq, tag = self._database.query(_GLANCE)[0]
        return bool(pending), Cursor(seq, bytes(tag))

    def by_pk(self, table: int, pks: Collection[str]) -> dict[str, Record]:
        return {row[2]: record_of(row) for row in self._database.query_in(_BY_PK, pks, [table])}

    def buried(self, table: int, pks: Collection[str]) -> dict[str, Record]:
        """The newest dead record of each of these keys."""
        rows = sorted(self._database.query_in(_BURIED, pks, [table]), key=lambda row: int(row[0]))
        return {row[2]: record_of(row) for row in rows}

    def by_uid(self, uids: Collection[bytes]) -> dict[bytes, Record]:
        """Records by the names asked for, which may be aliases."""
        records = map(record_of, self._database.query_in(_BY_UID, uids))
        found = {record.uid: record for record in records}
        unknown = [uid for uid in uids if uid not in found]
        aliases: dict[bytes, int] = dict(self._database.query_in(_ALIASES, unknown))
        if aliases:
            by_id = {row[0]: record_of(row) for row in self._database.query_in(_BY_ID, set(aliases.values()))}
            found |= {bytes(uid): by_id[id] for uid, id in aliases.items()}
        return found

    def rename(self, record: Record, uid: bytes) -> None:
        """Let a record be known by ``uid`` too; see `Backend.rename`."""
        if self._database.query(_HAS_PAIR, [record.id]):
            alias = max(record.uid, uid)
            record.uid = min(record.uid, uid)
            self._database.run(_ADD_ALIAS, [alias, record.id])
        else:
            record.uid = uid
        self.save([record])

    def aliases(self, records: Collection[int]) -> dict[int, list[bytes]]:
        found: dict[int, list[bytes]] = {}
        for record, uid in self._database.query_in(_OTHER_NAMES, records):
            found.setdefault(record, []).append(bytes(uid))
        return found

    def after(self, seq: int, limit: int) -> list[Record]:
        return [record_of(row) for row in self._database.query(_AFTER, [seq, limit])]

    def save(self, records: Iterable[Record]) -> None:
        new: list[Record] = []
        known: list[Record] = []
        for record in records:
            (known if record.id else new).append(record)
        # The dead first: a row's key may have passed from one record to another.
        for alive in (False, True):
            rows = {record.id: (*_values(record), record.id) for record in known if record.alive is alive}
            if rows:
                self._database.set_columns("syncapp_record", _CHANGING, "id", list(rows.values()))
        if new:
            self._insert(new)

    def _insert(self, new: list[Record]) -> None:
        database = self._database
        dialect, connection = database.dialect, database.connection
        if dialect.tells_keys:
            places = database.places("syncapp_record", _CHANGING)
            rows: list[Sequence[object]] = [_values(record) for record in new]
            ids: Sequence[int] = dialect.insert(connection, '"syncapp_record"', places, rows, '"id"')
        else:
            ids = dialect.allocate(connection, "syncapp_record", "id", len(new))
            database.many(_INSERT, [(id, *_values(record)) for id, record in zip(ids, new, strict=True)])
        for id, record in zip(ids, new, strict=True):
            record.id = id

    # -- the instance --

    def instance(self) -> InstanceState:
        rows = self._database.query(_INSTANCE)
        if not rows:
            raise StoreError(detail="this program has no identity yet: run migrate")
        instance, epoch, seq, tag = rows[0]
        return InstanceState(make_origin(bytes(instance), epoch), Cursor(seq, bytes(tag)))

    def set_head(self, head: Cursor) -> None:
        self._database.run(_SET_HEAD + self._database.dialect.head_hint, [head.seq, head.tag])
        self._database.run(_SEAL, [head.seq, head.tag])

    def set_epoch(self, epoch: int) -> None:
        now = self._database.dialect.now(self._database.connection)
        self._database.run(_SET_EPOCH, [epoch, now, now])

    def seal_tag(self, seq: int) -> bytes | None:
        if seq <= 0:
            return b""  # the beginning, which no seal gave
        rows = self._database.query(_SEAL_OF, [seq])
        # An empty tag marks the boundary below which tags were purged.
        return (bytes(rows[0][0]) or None) if rows else None


def record_of(row: Row) -> Record:
    id, table, pk, uid, alive, seq, entries = row
    return Record(id, table, pk, bytes(uid), bool(alive), seq, unpack_entries(entries))


def _values(record: Record) -> tuple[object, ...]:
    return (record.table, record.pk, record.uid, record.alive, record.seq, pack_entries(record.entries))
