"""One program that sends to a peer that is only played: the same tests over memory and over SQL.

Names are those of both worlds: clients (``code``, ``name``, ``note``, ``tags``), tags (``title``), orders (``number``,
``subject``, ``client``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from project.crm.models import Client, Order, Tag
from syncapp.core.changes import START, Batch, Cursor, Row, RowKind, Section, WireVersion
from syncapp.core.clock import Version, instance_of, make_origin
from syncapp.core.effects import Acked
from syncapp.core.mapping import Agreement, Catalogue, agree
from syncapp.models import Conflict, Link, LinkTable, LogEntry, Mapping
from syncapp.store import catalogue, linktables
from syncapp.store.base import Backend, LinkInfo, Refilter
from syncapp.store.feed import ReadResult
from syncapp.store.memory import MemoryBackend
from syncapp.store.sql import SqlBackend
from syncapp.store.store import Applied, Store
from tests.store.linked import link_fields
from tests.store.programs import LINK, Program, pair

PEER = b"\xff" * 16


class Told(NamedTuple):
    """A row of a batch: the table, the kind, the values by name."""

    table: str
    kind: str
    values: dict[str, Any]


class Sender:
    """A program with one link on which everything flows both ways; `read` and `ack` play its session."""

    link: int
    store: Store
    agreement: Agreement
    tables: dict[str, int]
    fields: dict[tuple[str, str], int]
    offers: Catalogue

    def begin(self) -> None:
        self.position = START
        token = self.store.claim(self.link, "test", 10**15)
        assert token is not None
        self.token = token
        self._time = self.store.backend.now()

    @property
    def backend(self) -> Backend:
        return self.store.backend

    # -- people --

    def create(self, table: str, **values: Any) -> str:
        raise NotImplementedError

    def write(self, table: str, pk: str, **values: Any) -> None:
        raise NotImplementedError

    def set_filter(self, table: str, **allowed: Any) -> None:
        """A filter: name → list of values; none: no filter. As if it had always been so."""
        raise NotImplementedError

    def refilter(self, table: str, after: int, until: int) -> None:
        """The filter of ``table`` was changed while the feed stood at ``until``."""
        raise NotImplementedError

    def log_results(self) -> list[str]:
        raise NotImplementedError

    def set_transform(self, table: str, name: str, *steps: Any) -> None:
        """Steps for a field, as `models.Mapping.options` keeps them."""
        raise NotImplementedError

    def second_link(self) -> int:
        """Another link, on which nothing is set."""
        raise NotImplementedError

    def value(self, table: str, pk: str, name: str) -> Any:
        with self.backend.transaction():
            return self.backend.rows(self.tables[table], [pk], [self.fields[table, name]])[pk][0]

    def keys(self, table: str) -> list[str]:
        """The keys of all rows that have a record."""
        with self.backend.transaction():
            found = self.backend.records_after(0, 1000)
        return [record.pk for record in found if record.table == self.tables[table] and record.alive]

    def conflicts(self) -> int:
        raise NotImplementedError

    def version(self, table: str, pk: str, name: str) -> Version:
        with self.backend.transaction():
            record = self.backend.records_by_pk(self.tables[table], [pk])[pk]
        return record.entries[self.fields[table, name]].version

    @property
    def instance(self) -> bytes:
        with self.backend.transaction():
            return instance_of(self.backend.instance().origin)

    # -- the peer --

    def one_way(self, table: str, name: str, *, receives: bool, restamp: bool) -> None:
        """The field flows in only, or out only."""
        flow, number = self.agreement.tables[self.tables[table]], self.fields[table, name]
        if receives:
            flow.out.pop(number)
            flow.restamp |= {number} if restamp else set()
        else:
            flow.into.pop(number)

    def uid(self, table: str, pk: str) -> bytes:
        with self.backend.transaction():
            return self.backend.records_by_pk(self.tables[table], [pk])[pk].uid

    def left(self, table: str, pk: str) -> bool | None:
        """Whether the pair of a record is marked as left; None: there is no pair."""
        with self.backend.transaction():
            record = self.backend.records_by_pk(self.tables[table], [pk])[pk]
            found = self.backend.pairs(self.link, [record.id])
        return bool(found[record.id]) if found else None

    def look(self) -> ReadResult:
        """What a read finds; the position stays."""
        return self.store.read(self.link, self.position, self.agreement, PEER, 1000)

    def read(self) -> Batch | None:
        """The next batch; nothing: the position moves on all the same."""
        found = self.look()
        if found.batch is None:
            self.clear(found.position)
        return found.batch

    def clear(self, position: Cursor) -> None:
        """The peer has everything up to ``position``: no change below is left out."""
        ack = Acked(self.position, position, None, [], [], [], position.seq)
        self.store.acked(self.link, ack, self.token)
        self.position = position

    def ack(self, batch: Batch, *, want: tuple[bytes, ...] = ()) -> None:
        whole = [row.uid for s in batch.sections for row in s.rows if row.kind == RowKind.WHOLE]
        end = batch.end.seq
        ack = Acked(self.position, batch.end, None, [], list(want), whole, end, end)
        self.store.acked(self.link, ack, self.token)
        self.position = batch.end

    def told(self, batch: Batch | None) -> list[Told]:
        """The rows of a batch, in order."""
        names = {number: name for (_, name), number in self.fields.items()}
        tables = {number: name for name, number in self.tables.items()}
        return [
            Told(
                tables[section.table],
                RowKind(row.kind).name,
                dict(zip([names.get(c, "") for c in section.columns], row.values, strict=True)),
            )
            for section in (batch.sections if batch else [])
            for row in section.rows
        ]

    def send(self) -> list[Told]:
        """What goes next; acknowledged."""
        batch = self.read()
        if batch is not None:
            self.ack(batch)
        return self.told(batch)

    def receive(self, table: str, uid: bytes, *, kind: RowKind = RowKind.FIELDS, **values: Any) -> Applied:
        """A change of the peer's."""
        self._time = max(self._time, self.backend.now()) + 10
        return self.receive_at(self._time, table, uid, kind=kind, **values)

    def receive_at(
        self, time: int, table: str, uid: bytes, *, kind: RowKind = RowKind.FIELDS, **values: Any
    ) -> Applied:
        """A change of the peer's, made at ``time``."""
        with self.backend.transaction():
            start = self.backend.cursors(self.link).applied
        end = Cursor(start.seq + 1, b"t" * 8)
        row = Row(uid, int(kind), [WireVersion(time, 0)], list(values.values()))
        columns = [self.fields[table, name] for name in values]
        batch = Batch(start, end, [make_origin(PEER, 1)], [Section(self.tables[table], columns, [row])])
        return self.store.apply(self.link, batch, self.agreement, self.token)


class MemorySender(Sender):
    """Over the in-memory twin."""

    def __init__(self) -> None:
        program: Program = pair()[0]
        self.program = program
        self.link = LINK
        self.store = program.store
        self.tables, self.fields = program.numbers.table, program.numbers.field
        offers = tuple(
            msgspec.structs.replace(
                table,
                fields=tuple(msgspec.structs.replace(f, sends=True, receives=True) for f in table.fields),
            )
            for table in program.backend.catalogue(LINK)
        )
        self.offers = offers
        self.agreement = agree(offers, offers)
        self.begin()

    def conflicts(self) -> int:
        return len(self.program.conflicts)

    def create(self, table: str, **values: Any) -> str:
        return self.program.create(table, **values)

    def write(self, table: str, pk: str, **values: Any) -> None:
        self.program.write(table, pk, **values)

    def set_filter(self, table: str, **allowed: Any) -> None:
        filter = {self.fields[table, name]: tuple(values) for name, values in allowed.items()}
        setup = self.program.database.setup
        info = setup.links[LINK]
        filters = {n: f for n, f in info.filters.items() if n != self.tables[table]}
        if filter:
            filters[self.tables[table]] = filter
        self._set_link(msgspec.structs.replace(info, filters=filters))

    def set_transform(self, table: str, name: str, *steps: Any) -> None:
        transforms = {self.fields[table, name]: linktables.steps({"transform": steps})}
        self._set_link(
            msgspec.structs.replace(self.program.database.setup.links[LINK], transforms=transforms)
        )

    def second_link(self) -> int:
        self._set_link(LinkInfo(2, "second"))
        self.program.database.cursors[2] = msgspec.structs.replace(
            self.program.database.cursors[LINK], link=2
        )
        return 2

    def _set_link(self, info: LinkInfo) -> None:
        setup = self.program.database.setup
        self.program.database.setup = msgspec.structs.replace(setup, links={**setup.links, info.id: info})

    def refilter(self, table: str, after: int, until: int) -> None:
        backend = self.backend
        assert isinstance(backend, MemoryBackend)
        backend.save_refilter(self.link, self.tables[table], Refilter(after, until))

    def log_results(self) -> list[str]:
        return sorted({row.result for row in self.program.database.log})


_MODELS = {"client": Client, "order": Order, "tag": Tag}
_COLUMNS = {("client", "code"): "tax_id", ("tag", "title"): "name", ("order", "client"): "client_id"}
_SHORT = {("client", "tax_id"): "code", ("tag", "name"): "title"}


class SqlSender(Sender):
    """Over SQL, with the CRM's tables."""

    def __init__(self) -> None:
        linked = link_fields(
            {
                "crm.Client": ["name", "note", "tax_id", "tags"],
                "crm.Order": ["number", "subject", "client"],
                "crm.Tag": ["name"],
            },
            log=True,
        )
        self.link = linked.link
        self.store = Store(SqlBackend())
        self.tables = {"client": linked.tables["crm.Client"], "order": linked.tables["crm.Order"]}
        self.tables["tag"] = linked.tables["crm.Tag"]
        self.fields = {
            (table, _SHORT.get((table, name), name)): number
            for label, number in linked.numbers.items()
            for app, model, name in [label.split(".")]
            for table in [model.lower()]
            if app == "crm" and table in _MODELS
        }
        self.offers = catalogue.link_catalogue(self.link)
        self.agreement = agree(self.offers, self.offers)
        self.begin()

    def conflicts(self) -> int:
        return Conflict.objects.count()

    def create(self, table: str, **values: Any) -> str:
        tags = values.pop("tags", [])
        row = _MODELS[table].objects.create(**self._columns(table, values))
        if tags:
            row.tags.set([int(pk) for pk in tags])
        return str(row.pk)

    def write(self, table: str, pk: str, **values: Any) -> None:
        _MODELS[table].objects.filter(pk=pk).update(**self._columns(table, values))

    def _columns(self, table: str, values: dict[str, Any]) -> dict[str, Any]:
        return {_COLUMNS.get((table, name), name): value for name, value in values.items()}

    def set_filter(self, table: str, **allowed: Any) -> None:
        filter = {_COLUMNS.get((table, name), name): values for name, values in allowed.items()}
        options = {"filter": filter} if filter else {}
        LinkTable.objects.filter(link=self.link, table=self.tables[table]).update(options=options)
        catalogue.bump("default")

    def set_transform(self, table: str, name: str, *steps: Any) -> None:
        mappings = Mapping.objects.filter(link=self.link, field=self.fields[table, name])
        mappings.update(options={"transform": list(steps)})
        catalogue.bump("default")

    def second_link(self) -> int:
        link = Link.objects.create(name="second", mode="active", code="second")
        catalogue.bump("default")
        return link.pk

    def refilter(self, table: str, after: int, until: int) -> None:
        rows = LinkTable.objects.filter(link=self.link, table=self.tables[table])
        rows.update(refilter_after=after, refilter_until=until)

    def log_results(self) -> list[str]:
        return sorted(set(LogEntry.objects.values_list("result", flat=True)))
