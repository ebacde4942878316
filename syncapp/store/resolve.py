"""Turning what a batch says into local terms: existing rows by match fields, relations by uid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from syncapp import details
from syncapp.core.changes import Record, split_uids
from syncapp.core.mapping import Agreement, Kind
from syncapp.core.relations import EMPTY
from syncapp.core.rules import Merge
from syncapp.store.base import Backend, BadValue, FieldInfo, Key, LinkInfo, Setup
from syncapp.store.faults import fault, shown
from syncapp.store.options import option_maps, translated
from syncapp.store.parked import Incoming
from syncapp.store.people import UserFinder
from syncapp.store.softly import standing, without_dead
from syncapp.store.targets import TargetFinder, is_key, targets_of

if TYPE_CHECKING:
    from syncapp.store.writing import Write


class Local(NamedTuple):
    """A value in local terms. ``ready``: all that it refers to is here; else ``missing`` is a uid that is not.

    ``fault``: why it is no value of its field at all. ``code`` and ``params``: of the problem that it is, then or as
    long as it is not ready. ``emptied``: it stands for another value, which refers to what is not here.
    """

    value: Any
    ready: bool = True
    missing: bytes | None = None
    fault: str = ""
    code: str = "value"
    params: dict[str, Any] = {}
    emptied: bool = False

    @classmethod
    def waits(cls, code: str, missing: bytes, **params: Any) -> Local:
        """A value that has to wait."""
        return cls(None, ready=False, missing=missing, code=code, params=params)


class Matches(NamedTuple):
    """``found``: uid → (table, local key) of the one row that matches; ``ambiguous``: uid → (key, how many).

    ``keys``: uid → the key, as people read it. ``waiting``: uid → the match field that refers to what is not here yet,
    and as what it waits: nobody can tell which row it is.
    """

    found: dict[bytes, tuple[int, str]]
    ambiguous: dict[bytes, tuple[str, int]]
    keys: dict[bytes, str]
    waiting: dict[bytes, tuple[FieldInfo, Local]]


class Resolver:
    """Looks up, once per batch, what incoming changes refer to."""

    def __init__(
        self, backend: Backend, setup: Setup, link: LinkInfo, agreement: Agreement | None = None
    ) -> None:
        self._backend = backend
        self._setup = setup
        self._link = link
        self._maps = option_maps(link, agreement) if agreement is not None else {}
        self._keys: dict[bytes, str] = {}
        self._asked: set[bytes] = set()
        self._gone: set[bytes] = set()
        self._targets = TargetFinder(backend, setup, link, agreement)
        self._users = UserFinder(backend, link.id, link.user_matching)
        self._pending: bool | None = None  # whether the journal has rows; not known yet

    # -- relations --

    def learn(self, changes: Iterable[Incoming]) -> None:
        """Look up the targets of all relations in ``changes``, and the users."""
        wanted: set[bytes] = set()
        people: list[Any] = []
        by_key: list[tuple[FieldInfo, Any]] = []
        for change in changes:
            fields = self._setup.tables[change.table].fields
            for field, cell in change.cells.items():
                if fields[field].target:
                    wanted |= _uids(cell.value)
                    if targets_of(fields[field].type.kind, cell.value):
                        by_key.append((fields[field], cell.value))
                elif fields[field].type.kind is Kind.USER:
                    people.append(cell.value)
        self._users.learn(people)
        self._targets.learn(by_key)
        wanted -= self._asked
        if not wanted:
            return
        self._asked |= wanted
        records = self._backend.records_by_uid(wanted)
        vanished = self._vanished(record for record in records.values() if record.alive)
        stands = standing(self._backend, self._setup, records.values())
        for uid, record in records.items():
            here = record.alive and (record.table, record.pk) not in vanished
            if here or record.id in stands:
                self._keys[uid] = record.pk
            else:
                self._gone.add(uid)

    def _vanished(self, records: Iterable[Record]) -> set[tuple[int, str]]:
        """Rows that were deleted and nobody has sealed that yet: relations to them must not be written."""
        if self._pending is None:
            self._pending = self._backend.glance()[0]
        by_table: dict[int, set[str]] = defaultdict(set)
        for record in records if self._pending else ():
            by_table[record.table].add(record.pk)
        return {
            (table, pk)
            for table, pks in by_table.items()
            for pk in pks - self._backend.existing(table, pks)
            if table in self._setup.tables
        }

    def prepare(self, writes: Iterable[Write]) -> None:
        """Look up the targets of relations in records that are to be created."""
        self.learn(write.change for write in writes if write.create)

    def created(self, uid: bytes, key: str) -> None:
        """A record has just been created: relations to it resolve from now on."""
        self._keys[uid] = key
        self._asked.add(uid)
        self._gone.discard(uid)

    def gone(self, uids: Iterable[bytes]) -> None:
        """Records have just been deleted: relations to them do not resolve any more."""
        for uid in uids:
            self._keys.pop(uid, None)
            self._gone.add(uid)

    def local(self, field: FieldInfo, value: Any) -> Local:
        """An incoming value in local terms."""
        if field.type.kind is Kind.RELATION:
            return Local(None) if value is None else self._target(field, value)
        if field.type.kind is Kind.USER:
            return self._local_user(value)
        if field.type.kind is Kind.RELATIONS:
            return self._local_list(field, value)
        if field.number in self._maps:
            value = translated(self._maps[field.number].into, value)
            if isinstance(value, BadValue):
                return Local(None, fault=value.args[0], code=value.code)
        return Local(value)

    def _target(self, field: FieldInfo, value: Any) -> Local:
        """The row that one value of a relation means."""
        table = self._setup.tables.get(field.target)
        label = table.label if table else field.type.target
        if is_key(value):
            return self._match(field, value, label)
        if not isinstance(value, bytes):
            return Local(None, fault=fault(details.NO_UID))
        key = self._keys.get(value)
        if key is not None:
            return Local(key)
        if self._link.missing.get(field.number) == EMPTY:
            return Local(None, emptied=True)
        return Local.waits("target_deleted" if value in self._gone else "missing_target", value, target=label)

    def _match(self, field: FieldInfo, value: Any, label: str) -> Local:
        match = self._targets.match(field, value)
        if match is None:
            return Local(None, fault=fault(details.NO_MATCH, shown=shown(value)))
        if len(match.rows) == 1:
            return Local(match.rows[0])
        code = "several_match" if match.rows else "none_matches"
        return Local.waits(code, match.digest, target=label, key=match.shown, count=len(match.rows))

    def _local_list(self, field: FieldInfo, value: Any) -> Local:
        if not isinstance(value, list):
            return Local(None, fault=fault(details.NO_UIDS))
        keys: set[str] = set()
        emptied = False
        for one in value:
            found = self._target(field, one)
            if found.fault:
                return found if is_key(one) else found._replace(fault=fault(details.NO_UIDS))
            if field.merge is Merge.UNION and found.code == "target_deleted":
                continue  # a union remembers it, but there is no row of it here any more
            if not found.ready:
                return found
            emptied = emptied or found.emptied
            if found.value is not None:
                keys.add(found.value)
        return Local(sorted(keys), emptied=emptied)

    def _local_user(self, value: Any) -> Local:
        if value is None:
            return Local(None)
        match = self._users.match(value)
        if match is None:
            return Local(None, fault=fault(details.NO_USER, shown=shown(value)))
        if match.user:
            return Local(match.user)
        who = match.names.text()
        if match.several:
            return Local.waits("ambiguous_user", match.digest, user=who, count=match.several)
        return Local.waits("unknown_user", match.digest, user=who)

    # -- matching --

    def matches_by_relation(self, table: int) -> bool:
        """Whether a match field of ``table`` refers to other records, or to users, which may not be here yet."""
        fields = self._setup.tables[table].fields
        return any(
            fields[number].target or fields[number].type.kind is Kind.USER
            for number in self._link.match_by.get(table, ())
        )

    def match(self, changes: list[Incoming]) -> Matches:
        """Find existing rows that the new records of ``changes`` are, by the link's match fields."""
        matches = Matches({}, {}, {}, {})
        by_table: dict[int, list[Incoming]] = defaultdict(list)
        for change in changes:
            if self._link.match_by.get(change.table):
                by_table[change.table].append(change)
        for table, group in by_table.items():
            self.learn(group)
            self._match_table(table, group, matches)
        return matches

    def _match_table(self, table: int, group: list[Incoming], result: Matches) -> None:
        fields = self._link.match_by[table]
        keys = {change.uid: key for change in group if (key := self._key(change, fields, result)) is not None}
        matches = self._backend.match(table, fields, set(keys.values())) if keys else {}
        matches = without_dead(self._backend, self._setup.tables[table], matches)
        taken: dict[str, bytes] = {}
        for uid, key in keys.items():
            rows = matches.get(key, [])
            shown = result.keys[uid] = ", ".join(str(part) for part in key)
            if len(rows) > 1:
                result.ambiguous[uid] = (shown, len(rows))
            elif rows and rows[0] in taken:
                result.ambiguous[uid] = (shown, 2)
            elif rows:
                taken[rows[0]] = uid
                result.found[uid] = (table, rows[0])

    def _key(self, change: Incoming, fields: tuple[int, ...], result: Matches) -> Key | None:
        """The change's match key in local terms; None when it lacks one of the fields."""
        infos = self._setup.tables[change.table].fields
        key = []
        for field in fields:
            cell = change.cells.get(field)
            value = change.keys.get(field) if cell is None else cell.value
            local = self.local(infos[field], value)
            # Nothing refers to a row that is gone: what does is new.
            if not local.ready and local.code != "target_deleted":
                result.waiting[change.uid] = infos[field], local
            if not local.ready or local.value is None or isinstance(local.value, list | dict):
                return None
            key.append(local.value)
        return tuple(key)


def _uids(value: Any) -> set[bytes]:
    if isinstance(value, list):
        return {uid for uid in value if isinstance(uid, bytes)}
    return split_uids([value]) if isinstance(value, bytes) else set()
