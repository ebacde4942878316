"""Programs whose deletions are exchanged, for tests of the store's logic: in memory, or one in the test database.

All share the tables of `MODELS`, taken from their models, and speak of them by names. Links and their directions are
given per test; `settle` carries batches between all of them as sessions would.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from django.apps import apps
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth import get_user_model
from django.db import connection
from django.db import models as db

from project.crm.models import Client, Invoice, Order, Payment, Tag
from syncapp import models
from syncapp.core.changes import START, Batch, Cursor, Record, RowKind
from syncapp.core.clock import make_origin
from syncapp.core.effects import Acked
from syncapp.core.mapping import Agreement, Catalogue, Direction, FieldOffer, Kind, TableOffer, agree
from syncapp.core.rules import Merge
from syncapp.store import catalogue as sqlcatalogue
from syncapp.store import introspect, triggers
from syncapp.store.base import (
    Backend,
    ConflictRow,
    FieldInfo,
    LinkInfo,
    LogRow,
    ProblemRow,
    Setup,
    Soft,
    TableInfo,
)
from syncapp.store.deletionbase import ArchiveRow, OnDelete
from syncapp.store.memory import MemoryBackend, MemoryDatabase
from syncapp.store.sql import SqlBackend
from syncapp.store.store import Applied, Store
from tests.testapp.models import Call, Contact, Country, Place, Token

SECOND = 1_000_000
MODELS: tuple[type[db.Model], ...] = (
    *(Tag, Client, Order, Payment, Invoice, Country, Token, Place),
    *(Contact, Call),
)
LABELS = tuple(model._meta.label for model in MODELS)
#: Ordinary fields that are not exchanged.
UNMAPPED = frozenset(
    {
        *("crm.Client.note", "crm.Client.manager", "testapp.Place.owner", "testapp.Token.by_number"),
        "testapp.Contact.archived",
        # mapped as time_added, which is the same column
        *("crm.Client.created_at", "crm.Order.created_at", "crm.Invoice.created_at"),
    }
)
#: The table of which a program may have softly deleted rows.
CONTACT = "testapp.Contact"
SYSTEM = frozenset({"record_status", "time_added", "creator"})
_RULES = {
    db.CASCADE: OnDelete.CASCADE,
    db.SET_NULL: OnDelete.SET,
    db.PROTECT: OnDelete.PROTECT,
}

Ways = Mapping[str, Direction]
"""``app.Model.field`` or just ``field`` → its direction on a link, from here; the rest is two-way."""


class Clock:
    """Everybody's clock; it moves a little with each look, so that no two edits share a moment."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        self.now += 10
        return self.now

    def wait(self, seconds: float = 1) -> None:
        self.now += int(seconds * SECOND)


def mapped(label: str, name: str, kind: Kind, system: bool) -> bool:
    """Whether a field takes part at all."""
    if system:
        return name in SYSTEM
    return f"{label}.{name}" not in UNMAPPED and kind not in (Kind.USER, Kind.FILE)


def direction(ways: Ways, label: str, name: str) -> Direction:
    return ways.get(f"{label}.{name}", ways.get(name, Direction.BOTH))


class Party:
    """A program by names. ``links``: link → directions as seen from here."""

    label_of: dict[int, str]
    backend: Backend

    def __init__(self, index: int, clock: Clock, links: Mapping[int, Ways], log: bool) -> None:
        self.index = index
        self.name = "ABCDEFGH"[index]
        self.clock = clock
        self.offset = 0
        self.links = dict(links)
        self.identity = bytes([index + 1]) * 16
        self.number: dict[str, int] = {}
        self.table: dict[str, int] = {}
        self.tokens: dict[int, int] = {}
        self.agreements: dict[int, Agreement] = {}
        self.sent: dict[int, Cursor] = dict.fromkeys(links, START)
        self.peers: dict[int, Party] = {}
        self.store: Store = None  # type: ignore[assignment]

    def now(self) -> int:
        return self.clock() + self.offset

    def begin(self) -> None:
        """Take the leases."""
        for link in self.links:
            token = self.store.claim(link, "test", 10**15)
            assert token
            self.tokens[link] = token

    # -- people ---------------------------------------------------------------------------------------------

    def create(self, label: str, **values: Any) -> str:
        raise NotImplementedError

    def write(self, label: str, pk: str, **values: Any) -> None:
        raise NotImplementedError

    def remove(self, label: str, pk: str) -> None:
        raise NotImplementedError

    def user(self, login: str) -> str:
        """The key of a user."""
        raise NotImplementedError

    def made_by(self, label: str, pk: str, login: str) -> None:
        """The program's own history says who made a row."""
        raise NotImplementedError

    def row(self, label: str, pk: str) -> dict[str, Any] | None:
        """Ordinary values of a row by name; relations as keys."""
        raise NotImplementedError

    def keys(self, label: str) -> list[str]:
        raise NotImplementedError

    # -- looking --------------------------------------------------------------------------------------------

    def rows(self, label: str, *names: str) -> list[Any]:
        """The values of ``names`` of every row, sorted; one name: just the values."""
        found = [tuple((self.row(label, pk) or {})[name] for name in names) for pk in self.keys(label)]
        return sorted((values[0] for values in found) if len(names) == 1 else found, key=repr)

    def record(self, label: str, pk: str) -> Record:
        with self.backend.transaction():
            return self.backend.records_by_pk(self.table[label], [pk])[pk]

    def known(self, uid: bytes) -> Record | None:
        with self.backend.transaction():
            return self.backend.records_by_uid([uid]).get(uid)

    def uid(self, label: str, pk: str) -> bytes:
        return self.record(label, pk).uid

    def pk(self, label: str, **values: Any) -> str:
        """The key of the one row with these values."""
        (found,) = [pk for pk in self.keys(label) if values.items() <= (self.row(label, pk) or {}).items()]
        return found

    @property
    def problems(self) -> list[ProblemRow]:
        raise NotImplementedError

    @property
    def codes(self) -> list[str]:
        return sorted(problem.code for problem in self.problems)

    @property
    def conflicts(self) -> list[tuple[str, Any, Any]]:
        """(field, won, lost) of everything that lost."""
        raise NotImplementedError

    @property
    def conflict_ids(self) -> list[int]:
        raise NotImplementedError

    @property
    def archive(self) -> list[tuple[str, str, dict[str, Any]]]:
        """(label, key, values) of archived rows."""
        raise NotImplementedError

    @property
    def log(self) -> list[tuple[str, str, Any, Any, str]]:
        """(way, field, before, after, result) of log rows."""
        raise NotImplementedError

    def named(self, field: int) -> str:
        return next(name for name, number in self.number.items() if number == field)

    # -- the store ------------------------------------------------------------------------------------------

    def read(self, link: int, after: Cursor | None = None, records: int = 1000) -> Batch | None:
        after = self.sent[link] if after is None else after
        peer = self.peers[link].identity
        return self.store.read(link, after, self.agreements[link], peer, records).batch

    def apply(self, link: int, batch: Batch) -> Applied:
        # As if it had travelled: what the receiver does to it must not be seen by the sender.
        copy = msgspec.msgpack.decode(msgspec.msgpack.encode(batch), type=Batch)
        return self.store.apply(link, copy, self.agreements[link], self.tokens[link])

    def acked(self, link: int, batch: Batch, done: Applied, *, more: bool = False) -> None:
        """``more``: the batch did not reach the end of the feed, so that it may have passed changes over."""
        parked = {fate.uid for fate in done.fates if fate.field == 0}
        whole = [row.uid for s in batch.sections for row in s.rows if row.kind == RowKind.WHOLE]
        confirmed = [uid for uid in whole if uid not in parked]
        clear = 0 if more else done.have.seq
        ack = Acked(batch.start, done.have, done.totals, done.fates, done.want, confirmed, clear)
        self.store.acked(link, ack, self.tokens[link])
        self.sent[link] = done.have

    def retry(self) -> None:
        for link in self.links:
            ids = [problem.id for problem in self.problems if problem.link == link]
            self.store.retry(link, self.agreements[link], self.tokens[link], ids)

    def due(self) -> int:
        """Retry what is due by itself; how much that was."""
        return sum(self.store.retry(n, self.agreements[n], self.tokens[n]) for n in self.links)


class MemoryParty(Party):
    """A program in memory, with numbers of its own. ``match_by``: table → names; ``merges``: field → its rule."""

    def __init__(
        self,
        index: int,
        clock: Clock,
        links: Mapping[int, Ways],
        log: bool = True,
        match_by: Mapping[str, Sequence[str]] | None = None,
        merges: Mapping[str, Merge] | None = None,
        soft: bool = False,
    ) -> None:
        super().__init__(index, clock, links, log)
        self.soft = soft
        self.match_by = match_by or {}
        self.merges = merges or {}
        self.descriptions = {model._meta.label: introspect.describe(model) for model in MODELS}
        labels = list(LABELS) if index % 2 == 0 else list(reversed(LABELS))
        for n, label in enumerate(labels):
            self.table[label] = 100 * (index + 1) + n
            for f, field in enumerate(self.descriptions[label].fields):
                self.number[f"{label}.{field.name}"] = 10_000 * (index + 1) + 100 * n + f
        self.label_of = {number: label for label, number in self.table.items()}
        self.database = MemoryDatabase(
            self._setup(log),
            self.identity,
            self.now,
            self._unique(),
            {link: self._catalogue(ways) for link, ways in links.items()},
            self._on_delete(),
        )
        self.backend = MemoryBackend(self.database)
        self.store = Store(self.backend, random.Random(index).randbytes)
        self.begin()

    def _setup(self, log: bool) -> Setup:
        tables = {self.table[label]: self._table(label) for label in LABELS}
        shared = {n for t in tables.values() for n, f in t.fields.items() if self._mapped(t.label, f)}
        sent = {
            link: frozenset(
                n
                for t in tables.values()
                for n, f in t.fields.items()
                if n in shared and direction(ways, t.label, f.name).sends
            )
            for link, ways in self.links.items()
        }
        match_by = {
            self.table[label]: tuple(self.number[f"{label}.{name}"] for name in names)
            for label, names in self.match_by.items()
        }
        links = {link: LinkInfo(link, f"link {link}", log=log, match_by=match_by) for link in self.links}
        if self.soft:
            shared.add(self.number[f"{CONTACT}.archived"])
        return Setup(1, tables, links, frozenset(shared), sent if log else {})

    def _mapped(self, label: str, field: FieldInfo) -> bool:
        return mapped(label, field.name, field.type.kind, field.system)

    def _table(self, label: str) -> TableInfo:
        fields = {}
        for described in self.descriptions[label].fields:
            number = self.number[f"{label}.{described.name}"]
            fields[number] = FieldInfo(
                number,
                described.name,
                described.type,
                self.table.get(described.type.target, 0),
                described.required,
                described.system,
                stored=bool(described.column or described.through),
                merge=self.merges.get(f"{label}.{described.name}", Merge.VALUE),
            )
        archived = self.number[f"{CONTACT}.archived"]
        soft = Soft({archived: True}, {archived: False}) if self.soft and label == CONTACT else None
        return TableInfo(self.table[label], label, label, fields, self.number[f"{label}.record_status"], soft)

    def _catalogue(self, ways: Ways) -> Catalogue:
        def offer(label: str, described: introspect.FieldDescription) -> FieldOffer:
            shared = mapped(label, described.name, described.type.kind, described.system)
            way = direction(ways, label, described.name) if shared else Direction.OFF
            number = self.number[f"{label}.{described.name}"]
            name = described.name
            merge = self.merges.get(f"{label}.{name}", Merge.VALUE).value
            return FieldOffer(number, name, name, described.type, way.sends, way.receives, merge=merge)

        return tuple(
            TableOffer(
                self.table[label],
                label,
                label,
                tuple(offer(label, f) for f in self.descriptions[label].fields),
            )
            for label in LABELS
        )

    def _unique(self) -> dict[int, list[int]]:
        return {
            self.table[label]: [
                self.number[f"{label}.{f.name}"]
                for f in self.descriptions[label].fields
                if f.field is not None and f.field.unique and not f.system and not f.through
            ]
            for label in LABELS
        }

    def _on_delete(self) -> dict[int, OnDelete]:
        return {
            self.number[f"{label}.{f.name}"]: _RULES[f.field.remote_field.on_delete]
            for label in LABELS
            for f in self.descriptions[label].fields
            if f.type.kind is Kind.RELATION and f.field is not None
        }

    def _numbers(self, label: str, values: Mapping[str, Any]) -> dict[int, Any]:
        return {self.number[f"{label}.{name}"]: value for name, value in values.items()}

    def create(self, label: str, **values: Any) -> str:
        return self.database.create(self.table[label], self._numbers(label, _complete(label, values)))

    def write(self, label: str, pk: str, **values: Any) -> None:
        self.database.write(self.table[label], pk, self._numbers(label, values))

    def remove(self, label: str, pk: str) -> None:
        self.database.remove(self.table[label], pk)

    def user(self, login: str) -> str:
        known = self.database.users
        key = next((key for key, names in known.items() if names[0] == login), "")
        key = key or str(10 * (self.index + 1) + len(known))
        known[key] = (login, "")
        return key

    def made_by(self, label: str, pk: str, login: str) -> None:
        self.database.creators[self.table[label], pk] = self.user(login)

    def row(self, label: str, pk: str) -> dict[str, Any] | None:
        row = self.database.tables[self.table[label]].get(pk)
        fields = self.database.setup.tables[self.table[label]].fields
        return None if row is None else {fields[n].name: value for n, value in row.items() if n in fields}

    def keys(self, label: str) -> list[str]:
        return sorted(self.database.tables[self.table[label]])

    @property
    def problems(self) -> list[ProblemRow]:
        return list(self.database.problems.values())

    @property
    def conflicts(self) -> list[tuple[str, Any, Any]]:
        return [(self.named(row.field), row.won, row.lost) for row in self.database.conflicts]

    @property
    def conflict_ids(self) -> list[int]:
        return [row.id for row in self.database.conflicts]

    @property
    def archive(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [(row.label, row.pk, row.values) for row in self.database.archive]

    @property
    def log(self) -> list[tuple[str, str, Any, Any, str]]:
        return [
            (row.way, self.named(row.field), row.before, row.after, row.result) for row in self.database.log
        ]


_MOMENTS = frozenset({"created_at", "time_added"})


def _complete(label: str, values: dict[str, Any]) -> dict[str, Any]:
    """With what the models' defaults give."""
    defaults: dict[str, dict[str, Any]] = {
        "crm.Client": {"tax_id": "", "address": "", "phone": "", "email": "", "note": "", "tags": []},
        "crm.Order": {"subject": "", "status": "new", "amount": "0.00"},
        "crm.Payment": {"amount": "1.00", "method": "transfer", "paid_on": "2026-01-01", "comment": ""},
        "crm.Invoice": {"amount": "0.00", "issued_on": "2026-01-01", "paid": False},
        "testapp.Place": {"near": [], "countries": []},
        "testapp.Country": {"iso_number": 0},
        CONTACT: {"tel": "", "archived": False},
        "testapp.Call": {"text": ""},
    }
    moment = {"created_at": "2026-01-01T00:00:00Z", "time_added": "2026-01-01T00:00:00Z"}
    dated = moment if label in ("crm.Client", "crm.Order", "crm.Invoice") else {}
    return {**defaults.get(label, {}), **dated, **values}


class SqlParty(Party):
    """The program of the test database."""

    def __init__(
        self,
        index: int,
        clock: Clock,
        links: Mapping[int, Ways],
        log: bool = True,
        match_by: Mapping[str, Sequence[str]] | None = None,
        soft: bool = False,
    ) -> None:
        super().__init__(index, clock, links, log)
        self._dated = 0
        sqlcatalogue.refresh()
        models.Journal.objects.all().delete()
        models.Instance.objects.update(instance=self.identity)
        fields = list(models.Field.objects.filter(retired=False).select_related("table"))
        types = {entry.number: entry for t in sqlcatalogue.tables().values() for entry in t.fields.values()}
        for link, ways in links.items():
            models.Link.objects.create(pk=link, name=f"link {link}", mode="active", code=str(link), log=log)
            for field in fields:
                label = field.table.label
                if label not in LABELS or not mapped(
                    label, field.name, types[field.number].type.kind, field.system
                ):
                    continue
                way = direction(ways, label, field.name)
                models.Mapping.objects.create(link_id=link, field=field, direction=way.value)
            for table in models.Table.objects.filter(label__in=LABELS):
                keys = list((match_by or {}).get(table.label, ()))
                models.LinkTable.objects.create(link_id=link, table=table, match_by=keys)
        if soft:
            status = next(f for f in fields if str(f) == f"{CONTACT}.record_status")
            options = {"deleted": {"archived": True}, "alive": {"archived": False}}
            models.Rule.objects.create(field=status, options=options)
        sqlcatalogue.bump("default")
        triggers.install_all()
        self.table = {table.label: table.number for table in models.Table.objects.all()}
        self.number = {f"{field.table.label}.{field.name}": field.number for field in fields}
        self.label_of = {number: label for label, number in self.table.items()}
        self.backend = SqlBackend()
        self.store = Store(self.backend, random.Random(index).randbytes)
        self.begin()

    def _split(self, label: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Columns and many-to-many values as the models know them."""
        plain: dict[str, Any] = {}
        many: dict[str, Any] = {}
        for name, value in values.items():
            field = apps.get_model(label)._meta.get_field(name)
            if field.many_to_many:
                many[name] = value
            else:
                plain[getattr(field, "attname", name)] = value
        return plain, many

    def create(self, label: str, **values: Any) -> str:
        complete = _complete(label, values)
        plain, many = self._split(label, {n: v for n, v in complete.items() if n not in _MOMENTS})
        made: Any = apps.get_model(label)._default_manager.create(**plain)
        for name, targets in many.items():
            getattr(made, name).set(targets)
        self._date()
        return self._key(label, made.pk)

    def _key(self, label: str, pk: Any) -> str:
        """A key as the database has it, as text."""
        return str(apps.get_model(label)._meta.pk.get_db_prep_value(pk, connection))

    def _date(self) -> None:
        """Let what the triggers have just noted be dated by everybody's clock."""
        for row in models.Journal.objects.filter(pk__gt=self._dated).order_by("pk"):
            models.Journal.objects.filter(pk=row.pk).update(at=self.now())
            self._dated = row.pk

    def write(self, label: str, pk: str, **values: Any) -> None:
        plain, many = self._split(label, values)
        rows = apps.get_model(label)._default_manager.filter(pk=pk)
        if plain:
            rows.update(**plain)
        for name, targets in many.items():
            getattr(rows.get(), name).set(targets)
        self._date()

    def remove(self, label: str, pk: str) -> None:
        apps.get_model(label)._default_manager.get(pk=pk).delete()
        self._date()

    def user(self, login: str) -> str:
        return str(get_user_model()._default_manager.get_or_create(username=login)[0].pk)

    def made_by(self, label: str, pk: str, login: str) -> None:
        made = apps.get_model(label)._default_manager.get(pk=pk)
        LogEntry.objects.log_actions(self.user(login), [made], ADDITION, single_object=True)

    def row(self, label: str, pk: str) -> dict[str, Any] | None:
        found = apps.get_model(label)._default_manager.filter(pk=pk).first()
        if found is None:
            return None
        table = self.table[label]
        infos = [
            f
            for f in self.backend.setup().tables[table].fields.values()
            if not f.system and f.type.kind is not Kind.USER
        ]
        with self.backend.transaction():
            values = self.backend.rows(table, [self._key(label, found.pk)], [f.number for f in infos])
        text = next(iter(values))
        return {f.name: value for f, value in zip(infos, values[text], strict=True)}

    def keys(self, label: str) -> list[str]:
        found = apps.get_model(label)._default_manager.values_list("pk", flat=True)
        return sorted(self._key(label, pk) for pk in found)

    @property
    def problems(self) -> list[ProblemRow]:
        with self.backend.transaction():
            return self.backend.problems_by_id(list(models.Problem.objects.values_list("pk", flat=True)))

    @property
    def conflicts(self) -> list[tuple[str, Any, Any]]:
        unpack = msgspec.msgpack.decode
        rows = models.Conflict.objects.order_by("pk")
        return [(self.named(r.field_no), unpack(bytes(r.won)), unpack(bytes(r.lost))) for r in rows]

    @property
    def conflict_ids(self) -> list[int]:
        return list(models.Conflict.objects.order_by("pk").values_list("pk", flat=True))

    @property
    def archive(self) -> list[tuple[str, str, dict[str, Any]]]:
        return list(models.Archive.objects.order_by("pk").values_list("label", "pk_text", "values"))

    @property
    def log(self) -> list[tuple[str, str, Any, Any, str]]:
        decode: Callable[[str | None], Any] = lambda text: None if text is None else msgspec.json.decode(text)  # noqa: E731
        return [
            (row.way, self.named(row.field_no), decode(row.before), decode(row.after), row.result)
            for row in models.LogEntry.objects.order_by("pk")
        ]


# -- worlds ---------------------------------------------------------------------------------------------------


def mirror(ways: Ways) -> Ways:
    """The directions as the other side has them."""
    turned = {Direction.UPLOAD: Direction.DOWNLOAD, Direction.DOWNLOAD: Direction.UPLOAD}
    return {name: turned.get(way, way) for name, way in ways.items()}


def world(
    edges: Sequence[tuple[int, int]] = ((0, 1),),
    ways: Mapping[int, Ways] | None = None,
    *,
    sql: int = -1,
    match_by: Mapping[str, Sequence[str]] | None = None,
    merges: Mapping[str, Merge] | None = None,
    soft: Collection[int] = (),
) -> list[Party]:
    """Programs linked as ``edges`` say. ``ways``: link (from 1) → directions as its first program has them.

    ``sql``: the program in the test database; none by default. ``soft``: programs that keep the rows of deleted
    contacts, as *archived*. The rest as in `MemoryParty`.
    """
    # The test database has a clock of its own, which must not be far away.
    clock = Clock(time.time_ns() // 1000 if sql >= 0 else 1_700_000_000 * SECOND)
    of_link = ways or {}
    links: dict[int, dict[int, Ways]] = {}
    for number, (one, other) in enumerate(edges, 1):
        mine = of_link.get(number, {})
        links.setdefault(one, {})[number] = mine
        links.setdefault(other, {})[number] = mirror(mine)
    parties: list[Party] = [
        SqlParty(index, clock, links[index], match_by=match_by, soft=index in soft)
        if index == sql
        else MemoryParty(index, clock, links[index], match_by=match_by, merges=merges, soft=index in soft)
        for index in sorted(links)
    ]
    for number, (one, other) in enumerate(edges, 1):
        for a, b in ((parties[one], parties[other]), (parties[other], parties[one])):
            a.peers[number] = b
            with a.backend.transaction(), b.backend.transaction():
                a.agreements[number] = agree(a.backend.catalogue(number), b.backend.catalogue(number))
    return parties


def send(source: Party, link: int, records: int = 1000) -> Applied | None:
    """One batch over ``link``, acknowledged."""
    sent, target = source.sent[link], source.peers[link]
    result = source.store.read(link, sent, source.agreements[link], target.identity, records)
    # A stretch with nothing for the peer is told by an empty batch, as in a session.
    batch = result.batch or Batch(sent, result.position, [], [])
    if result.position.seq == sent.seq:
        return None
    done = target.apply(link, batch)
    source.acked(link, batch, done, more=result.more)
    return done if result.batch is not None else None


def settle(parties: Iterable[Party], records: int = 1000, rng: random.Random | None = None) -> None:
    """Carry everything everywhere until nothing is left."""
    parties = list(parties)
    roads = [(party, link) for party in parties for link in party.links]
    for _ in range(60):
        if rng is not None:
            rng.shuffle(roads)
        before = [dict(party.sent) for party in parties]
        for party, link in roads:
            send(party, link, records)
        if before == [party.sent for party in parties]:
            return
    raise AssertionError("no end")


ORIGIN = make_origin(b"x" * 16, 1)
__all__ = [
    "ArchiveRow",
    "ConflictRow",
    "LogRow",
    "MemoryParty",
    "Party",
    "SqlParty",
    "send",
    "settle",
    "world",
]
