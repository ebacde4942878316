"""Local keys ↔ uids. A row gets its uid when it first travels or is first referred to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from syncapp.core.changes import JournalRow, Record
from syncapp.store.base import Backend
from syncapp.store.naming import Names
from syncapp.store.sealing import Numbering
from syncapp.store.targets import ByKey


class Uids:
    """Translates local keys of relation values to uids within one read; gives uids to rows that have none."""

    def __init__(self, backend: Backend, numbering: Numbering) -> None:
        self._backend = backend
        self._numbering = numbering
        self._by_key: dict[tuple[int, str], Record] = {}
        self._by_uid: dict[bytes, Record] = {}

    def learn(self, keys: Mapping[int, Iterable[str]]) -> None:
        """Look up (or create) the records of these local keys, by table."""
        for table, wanted in keys.items():
            new = {key for key in wanted if (table, key) not in self._by_key}
            if not new:
                continue
            found = self._backend.records_by_pk(table, new)
            missing = self._backend.existing(table, new - found.keys()) if len(found) < len(new) else set()
            info = self._backend.setup().tables.get(table)
            if missing and info is not None and info.soft is not None:
                found |= self._backend.buried(table, missing)  # deleted, though the row stands
                missing -= found.keys()
            names = self._names(table, missing)
            born = [Record(0, table, key, names.of(table, key), entries={}) for key in sorted(missing)]
            self._backend.save_records(born)
            for record in (*found.values(), *born):
                self._by_key[table, record.pk] = record
                self._by_uid[record.uid] = record

    def _names(self, table: int, keys: set[str]) -> Names:
        """The same names as the seal will give, where the inserts of the rows still wait for it."""
        rows: dict[str, list[JournalRow]] = {}
        for row in self._backend.inserts(table, keys) if keys else ():
            rows.setdefault(row.pk, []).append(row)
        return Names(self._backend, self._numbering.origin, self._numbering.random, {table: rows})

    def record(self, table: int, key: str) -> Record | None:
        """The record of a local key; None where the row does not exist."""
        known = self._by_key.get((table, key))
        return known or self._backend.records_by_pk(table, [key]).get(key)

    def records(self, uids: Iterable[bytes]) -> Iterable[Record]:
        """Those of ``uids`` that were learnt."""
        return (self._by_uid[uid] for uid in uids if uid in self._by_uid)

    def translate(self, table: int, value: Any) -> Any:
        """A relation value (key, list of keys, None) as uids; keys of rows that do not exist read as None."""
        if value is None:
            return None
        if isinstance(value, ByKey):
            return _plain(value)
        if isinstance(value, list):
            found = (self._by_key.get((table, key)) for key in value)
            return sorted(record.uid for record in found if record is not None)
        if not isinstance(value, str):
            return value
        record = self._by_key.get((table, value))
        return record.uid if record is not None else None


def _plain(value: ByKey) -> list[Any]:
    """A relation that travels by match fields, as the codecs know lists."""
    return [list(part) if isinstance(part, ByKey) else part for part in value]
