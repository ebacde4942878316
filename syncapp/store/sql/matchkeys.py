# ruff: noqa: S608 - only quoted names are put into statements, values are parameters
"""An index of normalised match keys: which rows may have a key, without a look at every row of the table.

What two spellings have in common (`core.keys`) no index of the database knows. So the keys of a table's rows are kept
as digests in a table of ours, made in one pass when they are first asked for. From then on each row that was changed,
by people or by us, is marked; its key is made anew at the next question. A row whose change is in the journal still is
looked at itself. Entries may be stale, then the row itself tells; none may be lacking. Where that cannot be
vouched for, everything is dropped: whenever triggers are put in (`triggers.install`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence

import msgspec

from syncapp.core.changes import JournalRow, Op
from syncapp.core.keys import RULES, key_of
from syncapp.store.base import BadValue, Key
from syncapp.store.sql.database import Database
from syncapp.store.sql.layout import TableLayout
from syncapp.store.sql.reading import Reader

_SETS = 'SELECT "id", "table_no", "fields" FROM "syncapp_matchset" WHERE "rules" = %s'
_MAKE = 'INSERT INTO "syncapp_matchset" ("table_no", "fields", "rules") VALUES (%s, %s, %s) RETURNING "id"'
_PUT = (
    'INSERT INTO "syncapp_matchkey" ("set_id", "pk_text", "digest") VALUES (%s, %s, %s) '
    'ON CONFLICT ("set_id", "pk_text") DO UPDATE SET "digest" = excluded."digest"'
)
_MARKED = 'SELECT "pk_text" FROM "syncapp_matchkey" WHERE "set_id" = %s AND "digest" IS NULL'
_FIND = 'SELECT "pk_text" FROM "syncapp_matchkey" WHERE "set_id" = %s AND "digest" IN {}'
_DROP = 'DELETE FROM "syncapp_matchkey" WHERE "set_id" = %s AND "pk_text" IN {}'
_PENDING = 'SELECT DISTINCT "pk_text" FROM "syncapp_journal" WHERE "table_no" = %s AND "pk_text" IS NOT NULL'
#: So many rows are read at once.
_CHUNK = 5000


class MatchKeys:
    """The keys of the tables of one database, within the transactions of one thread."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        self._sets: dict[int, dict[tuple[int, ...], int]] | None = None

    def begin(self) -> None:
        """A transaction begins: others may have made keys meanwhile."""
        self._sets = None

    # -- what changes ------------------------------------------------------------------------------------------

    def changed(self, table: int, pks: Collection[str], fields: Collection[int] | None = None) -> None:
        """Rows of ``table`` were written: ``fields`` of them, or (None) all."""
        if pks:
            for of_set, number in self._of(table).items():
                if fields is None or not set(of_set).isdisjoint(fields):
                    self._put(number, dict.fromkeys(pks))

    def sealed(self, rows: Sequence[JournalRow]) -> None:
        """These rows have left the journal."""
        marked: dict[int, dict[str, bytes | None]] = {}
        for row in rows:
            for of_set, number in self._of(row.table).items():
                if row.op != Op.UPDATE or not row.fields or not set(of_set).isdisjoint(row.fields):
                    marked.setdefault(number, {})[row.pk] = None
        for number, pks in marked.items():
            self._put(number, pks)

    def _of(self, table: int) -> dict[tuple[int, ...], int]:
        if self._sets is None:
            self._sets = {}
            for number, owner, fields in self._database.query(_SETS, [RULES]):
                self._sets.setdefault(owner, {})[_numbers(fields)] = number
        return self._sets.get(table, {})

    def _put(self, number: int, digests: dict[str, bytes | None]) -> None:
        self._database.many(_PUT, [(number, pk, digest) for pk, digest in digests.items()])

    # -- questions ---------------------------------------------------------------------------------------------

    def candidates(self, layout: TableLayout, fields: Sequence[int], keys: Collection[Key]) -> set[str]:
        """All rows that may have one of the normalised ``keys`` in ``fields``, and perhaps some more."""
        number = self._ready(layout, tuple(fields))
        found = self._database.query_in(_FIND, [_digest(key) for key in keys], [number])
        pending = self._database.query(_PENDING, [layout.binding.number])
        return {row[0] for row in found} | {row[0] for row in pending}

    def _ready(self, layout: TableLayout, fields: tuple[int, ...]) -> int:
        """The set of these keys, up to date."""
        table = layout.binding.number
        self._sets = None
        number = self._of(table).get(fields)
        if number is None:
            named = ",".join(map(str, fields))
            ((number,),) = self._database.query(_MAKE, [table, named, RULES])
            self._sets = None
            everything = f"SELECT {layout.pk} FROM {layout.quoted}"
            self._make(layout, fields, number, (row[0] for row in self._database.query(everything)))
        else:
            self._make(layout, fields, number, (row[0] for row in self._database.query(_MARKED, [number])))
        return int(number)

    def _make(self, layout: TableLayout, fields: tuple[int, ...], number: int, pks: Iterable[str]) -> None:
        rest = list(pks)
        kinds = [layout.columns[field].binding.kind for field in fields]
        for at in range(0, len(rest), _CHUNK):
            part = rest[at : at + _CHUNK]
            digests: dict[str, bytes | None] = {}
            for pk, values in self._reader.rows(layout, part, fields).items():
                if any(value is None or isinstance(value, BadValue) for value in values):
                    continue
                key = tuple(key_of(kind, value) for kind, value in zip(kinds, values, strict=True))
                if None not in key:
                    digests[pk] = _digest(key)
            self._put(number, digests)
            if without := [pk for pk in part if pk not in digests]:
                self._database.run_in(_DROP, without, [number])


def _numbers(fields: str) -> tuple[int, ...]:
    return tuple(map(int, fields.split(",")))


def _digest(key: Key) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(key), digest_size=16).digest()
