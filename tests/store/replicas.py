"""Several linked programs with rules, in memory or each in a database of its own; batches carried by hand.

A `Network` has programs named by letters; ``network["a"].write("thing", pk, integer=5)`` is one of their users.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections
from django.db.models import Model, QuerySet
from pytest_django import DjangoDbBlocker

from syncapp import models
from syncapp.core.changes import START, Batch, Cursor
from syncapp.core.effects import Acked
from syncapp.core.mapping import (
    Agreement,
    Catalogue,
    Direction,
    FieldOffer,
    FieldType,
    Kind,
    TableOffer,
    agree,
)
from syncapp.core.rules import DEFAULT, Merge, Policy, Rule
from syncapp.store import catalogue, config
from syncapp.store.base import FieldInfo, LinkInfo, ProblemRow, Setup, TableInfo
from syncapp.store.memory import MemoryBackend, MemoryDatabase
from syncapp.store.sql import SqlBackend
from syncapp.store.store import Applied, Store
from tests import postgres, vendors
from tests.store.programs import Clock
from tests.vendors import SQLITE, native

#: The run's own kind of database: what `native` says while no other one is turned to.
NATIVE = native()
TEXT, WHOLE = FieldType(Kind.TEXT, length=50), FieldType(Kind.INTEGER, low=-(2**31), high=2**31 - 1)
#: table → field → (type, related table)
TABLES: dict[str, dict[str, tuple[FieldType, str]]] = {
    "thing": {
        "char": (TEXT, ""),
        "slug": (TEXT, ""),
        "integer": (WHOLE, ""),
        "bounded": (FieldType(Kind.INTEGER, low=1, high=5), ""),
        "decimal": (FieldType(Kind.DECIMAL, digits=12, places=2), ""),
    },
    "tag": {"name": (TEXT, "")},
    "client": {
        "name": (TEXT, ""),
        "phone": (TEXT, ""),
        "tags": (FieldType(Kind.RELATIONS), "tag"),
    },
}
MODELS = {"thing": "testapp.Everything", "tag": "crm.Tag", "client": "crm.Client"}
Rules = Mapping[str, Rule]
SUM, UNION, ASK = Rule(merge=Merge.SUM), Rule(merge=Merge.UNION), Rule(Policy.ASK)


class Replica:
    """One program: its users, and its end of each of its links. ``links``: link id → letter of the peer."""

    store: Store
    identity: bytes

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.links: dict[int, str] = {}
        self.tokens: dict[int, int] = {}
        self.agreements: dict[int, Agreement] = {}
        self.sent: dict[int, Cursor] = {}

    # -- its users; to be implemented -----------------------------------------------------------------------

    def create(self, table: str, **values: Any) -> str:
        raise NotImplementedError

    def write(self, table: str, pk: str, **values: Any) -> None:
        raise NotImplementedError

    def remove(self, table: str, pk: str) -> None:
        raise NotImplementedError

    def get(self, table: str, pk: str, name: str) -> Any:
        """The value in the row: a sorted list of keys of a many-to-many."""
        raise NotImplementedError

    def number(self, table: str, name: str = "") -> int:
        """The number of a table or a field."""
        raise NotImplementedError

    def known(self, table: str, pk: str) -> bytes:
        """The uid of a row."""
        records = self.store.backend.records_by_pk(self.number(table), [pk])
        return records[pk].uid

    def pk(self, table: str, uid: bytes) -> str:
        """The key of a record here, under whatever name it is known."""
        return self.store.backend.records_by_uid([uid])[uid].pk

    @property
    def problems(self) -> list[ProblemRow]:
        raise NotImplementedError

    @property
    def conflicts(self) -> list[Any]:
        raise NotImplementedError

    @property
    def codes(self) -> list[str]:
        return sorted(problem.code for problem in self.problems)

    # -- its links ------------------------------------------------------------------------------------------

    def link_to(self, letter: str) -> int:
        return next(link for link, peer in self.links.items() if peer == letter)

    def claim(self) -> None:
        for link in self.links:
            token = self.store.claim(link, "test", 10**15)
            assert token
            self.tokens[link] = token
            # A link begins at the head of that moment, which is the beginning of an empty program's feed.
            self.sent[link] = self.store.backend.cursors(link).acked or START

    def read(self, link: int, after: Cursor | None = None) -> Batch | None:
        after = self.sent[link] if after is None else after
        peer = self.peers[link]
        return self.store.read(link, after, self.agreements[link], peer, 1000).batch

    peers: dict[int, bytes]

    def apply(self, link: int, batch: Batch) -> Applied:
        return self.store.apply(link, batch, self.agreements[link], self.tokens[link])

    def acked(self, link: int, batch: Batch, done: Applied) -> None:
        parked = {fate.uid for fate in done.fates if fate.field == 0}
        whole = [row.uid for section in batch.sections for row in section.rows if row.kind == 1]
        confirmed = [uid for uid in whole if uid not in parked]
        ack = Acked(batch.start, done.have, done.totals, done.fates, done.want, confirmed, done.have.seq)
        self.store.acked(link, ack, self.tokens[link])
        self.sent[link] = done.have

    def retry(self) -> int:
        """Try what is due on all links, as the engine's timer does; how many there were."""
        return sum(self.store.retry(link, self.agreements[link], self.tokens[link]) for link in self.links)


class MemoryReplica(Replica):
    """A program in memory."""

    def __init__(self, letter: str, clock: Callable[[], int], rules: Rules, actives: dict[int, bool]) -> None:
        super().__init__(letter)
        index = ord(letter) - ord("a")
        self.identity = bytes([index + 1]) * 16
        self._tables = {table: 10 * (index + 1) + i for i, table in enumerate(TABLES)}
        names = [(table, name) for table, fields in TABLES.items() for name in fields]
        self._fields = {key: 100 * (index + 1) + i for i, key in enumerate(names)}
        self._rules = rules
        setup = Setup(
            1,
            {self._tables[table]: self._table(table) for table in TABLES},
            {link: LinkInfo(link, f"link {link}", active=active) for link, active in actives.items()},
            frozenset(self._fields.values()),
        )
        offers = {link: self._catalogue(hub=len(actives) > 1) for link in actives}
        self.database = MemoryDatabase(setup, self.identity, clock, {}, offers)
        self.store = Store(MemoryBackend(self.database), random.Random(index).randbytes)

    def _rule(self, table: str, name: str) -> Rule:
        return self._rules.get(f"{table}.{name}", DEFAULT)

    def _table(self, table: str) -> TableInfo:
        fields = {}
        for name, (kind, target) in TABLES[table].items():
            number, rule = self._fields[table, name], self._rule(table, name)
            fields[number] = FieldInfo(
                number, name, kind, self._tables.get(target, 0), policy=rule.policy, merge=rule.merge
            )
        return TableInfo(self._tables[table], MODELS[table], table, fields)

    def _catalogue(self, *, hub: bool) -> Catalogue:
        def offer(table: str, name: str, kind: FieldType) -> FieldOffer:
            rule, number = self._rule(table, name), self._fields[table, name]
            return FieldOffer(
                number, name, name, kind, True, True, policy=rule.policy, merge=rule.merge, hub=hub
            )

        return tuple(
            TableOffer(
                self._tables[table],
                MODELS[table],
                table,
                tuple(offer(table, name, kind) for name, (kind, _) in fields.items()),
            )
            for table, fields in TABLES.items()
        )

    def _values(self, table: str, values: dict[str, Any]) -> dict[int, Any]:
        return {self._fields[table, name]: value for name, value in values.items()}

    def create(self, table: str, **values: Any) -> str:
        defaults = {"char": "", "slug": "", "integer": 0, "bounded": 1, "decimal": "0.00"}
        given = {**defaults, **values} if table == "thing" else values
        return self.database.create(self._tables[table], self._values(table, given))

    def write(self, table: str, pk: str, **values: Any) -> None:
        self.database.write(self._tables[table], pk, self._values(table, values))

    def remove(self, table: str, pk: str) -> None:
        if table == "tag":  # as the framework does: memberships first
            for client, row in list(self.database.tables[self._tables["client"]].items()):
                tags = row[self._fields["client", "tags"]]
                if pk in tags:
                    self.write("client", client, tags=[tag for tag in tags if tag != pk])
        self.database.remove(self._tables[table], pk)

    def get(self, table: str, pk: str, name: str) -> Any:
        return self.database.tables[self._tables[table]][pk][self._fields[table, name]]

    def number(self, table: str, name: str = "") -> int:
        return self._fields[table, name] if name else self._tables[table]

    @property
    def problems(self) -> list[ProblemRow]:
        return list(self.database.problems.values())

    @property
    def conflicts(self) -> list[Any]:
        return list(
            self.database.conflicts.values()
            if isinstance(self.database.conflicts, dict)
            else self.database.conflicts
        )


class SqlReplica(Replica):
    """A program with a database of its own."""

    def __init__(self, letter: str, alias: str) -> None:
        super().__init__(letter)
        self.alias = alias
        self.store = Store(SqlBackend(alias))
        self.identity = bytes(models.Instance.objects.using(alias).get().instance)
        self.names = dict(models.Link.objects.using(alias).values_list("name", "pk"))

    def _rows(self, table: str) -> QuerySet[Any]:
        model: type[Model] = apps.get_model(MODELS[table])
        return model._default_manager.using(self.alias)

    def create(self, table: str, **values: Any) -> str:
        tags = values.pop("tags", [])
        given = {"integer": 0, **values} if table == "thing" else values
        row = self._rows(table).create(**given)
        if tags:
            row.tags.set(tags)
        return str(row.pk)

    def write(self, table: str, pk: str, **values: Any) -> None:
        if "tags" in values:
            self._rows(table).get(pk=pk).tags.set(values.pop("tags"))
        if values:
            self._rows(table).filter(pk=pk).update(**values)

    def remove(self, table: str, pk: str) -> None:
        self._rows(table).get(pk=pk).delete()

    def get(self, table: str, pk: str, name: str) -> Any:
        number = self.number(table, name)
        return self.store.backend.rows(self.number(table), [pk], [number])[pk][0]

    def number(self, table: str, name: str = "") -> int:
        found = catalogue.tables(self.alias)[MODELS[table]]
        return found.fields[name].number if name else found.number

    @property
    def problems(self) -> list[ProblemRow]:
        ids = models.Problem.objects.using(self.alias).order_by("pk").values_list("pk", flat=True)
        return self.store.backend.problems_by_id(list(ids))

    @property
    def conflicts(self) -> list[Any]:
        return list(models.Conflict.objects.using(self.alias).order_by("pk"))


class Network:
    """Programs and their links. ``links``: pairs of letters, the active side first: ``"ab"``."""

    def __init__(self, replicas: dict[str, Replica], links: list[str]) -> None:
        self.replicas = replicas
        self.links = links
        catalogues = {}
        for replica in replicas.values():
            replica.claim()
            replica.peers = {link: replicas[peer].identity for link, peer in replica.links.items()}
            for link in replica.links:
                catalogues[replica.letter, link] = replica.store.backend.catalogue(link)
        for active, passive in links:
            one, other = replicas[active], replicas[passive]
            here, there = one.link_to(passive), other.link_to(active)
            one.agreements[here] = agree(catalogues[active, here], catalogues[passive, there])
            other.agreements[there] = agree(catalogues[passive, there], catalogues[active, here])
            assert one.agreements[here].suspended == []

    def __getitem__(self, letter: str) -> Replica:
        return self.replicas[letter]

    def __iter__(self) -> Iterator[Replica]:
        return iter(self.replicas.values())

    def send(self, source: str, target: str) -> Applied | None:
        """One batch from ``source`` to ``target``, acknowledged; None if there was none."""
        one, other = self.replicas[source], self.replicas[target]
        batch = one.read(one.link_to(target))
        if batch is None:
            return None
        done = other.apply(other.link_to(source), batch)
        one.acked(one.link_to(target), batch, done)
        return done

    def settle(self) -> None:
        """Send in all directions until nothing is left."""
        for _ in range(40):
            moved = [self.send(*way) for link in self.links for way in (link, link[::-1])]
            if not any(moved):
                return
        raise AssertionError("no end")

    def run(self, seed: int, steps: int, edit: Callable[[random.Random, Replica], None]) -> None:
        """Edits and batches in an order of the seed's; some batches come twice, and late."""
        rng = random.Random(seed)
        ways = [way for link in self.links for way in (link, link[::-1])]
        old: list[tuple[str, str, Batch]] = []
        for _ in range(steps):
            if rng.random() < 0.5:
                edit(rng, self.replicas[rng.choice(sorted(self.replicas))])
                continue
            source, target = rng.choice(ways)
            one, other = self.replicas[source], self.replicas[target]
            if old and rng.random() < 0.2:
                source, target, batch = rng.choice(old)
                self.replicas[target].apply(self.replicas[target].link_to(source), batch)
                continue
            batch = one.read(one.link_to(target))
            if batch is not None:
                old.append((source, target, batch))
                done = other.apply(other.link_to(source), batch)
                if rng.random() < 0.8:  # else the acknowledgement is lost
                    one.acked(one.link_to(target), batch, done)

    def values(self, table: str, uid: bytes, name: str) -> list[Any]:
        """The field's value of a record in every program; elements of a many-to-many by uid."""
        found = []
        for replica in self:
            value = replica.get(table, replica.pk(table, uid), name)
            if isinstance(value, list):
                value = sorted(replica.known("tag", pk) for pk in value)
            found.append(value)
        return found


# -- making them --------------------------------------------------------------------------------------------


#: Each module that uses the fixtures has a shelf of its own; the aliases of their databases must differ.
_numbers = itertools.count(1)


class Shelf:
    """Databases that are configured already, by the text of their configuration: copying one takes less time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, str], str] = {}

    def copy(self, kind: str, alias: str, text: str) -> None:
        """A database under ``alias`` with the configuration ``text``."""
        source = self._known.get((kind, text))
        if source is None:
            source = self._known[kind, text] = f"shelf_{next(_numbers)}"
            self._make(kind, source, "")
            config.apply(text, env={}, using=source)
            connections[source].close()
        self._make(kind, alias, source)
        config.fork(using=alias)

    def drop(self, kind: str, alias: str) -> None:
        """The end of a database; its copies stay."""
        if kind == "postgres":
            vendors.dropped(alias)
            return
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]
        (self._folder / f"{alias}.sqlite3").unlink(missing_ok=True)

    def close(self) -> None:
        for (kind, _), alias in self._known.items():
            self.drop(kind, alias)

    def _make(self, kind: str, alias: str, source: str) -> None:
        if kind == "postgres":
            vendors.copied(alias, source)
            return
        path = self._folder / f"{alias}.sqlite3"
        options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA synchronous=OFF"}
        # Not that of the default connection, which other tests turn to another database meanwhile.
        config = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}
        connections.settings[alias] = connections.configure_settings({"default": config})["default"]
        if source:
            shutil.copy(self._folder / f"{source}.sqlite3", path)
            return
        template = self._folder / "template.sqlite3"
        if alias != "shelf_template" and not template.exists():
            self._make(kind, "shelf_template", "")
            call_command(
                "migrate", database="shelf_template", run_syncdb=True, verbosity=0, interactive=False
            )
            self._remember_template(template)
        if alias != "shelf_template":
            shutil.copy(template, path)

    def _remember_template(self, template: Path) -> None:
        connections["shelf_template"].close()
        (self._folder / "shelf_template.sqlite3").rename(template)
        del connections["shelf_template"]
        del connections.settings["shelf_template"]


Peers = dict[str, bool]
"""The programs that one is linked with, by name: whether the link is active."""


class Maker:
    """Makes networks of the kind that a test is parametrised with."""

    def __init__(self, kind: str, shelf: Shelf) -> None:
        self.kind = kind
        self._shelf = shelf
        self._databases = ExitStack()

    def __call__(self, links: list[str], rules: Rules, *, deletions: bool = False) -> Network:
        """``deletions``: they travel too; not in memory."""
        return self.network(
            links,
            memory=lambda letter, clock, actives: MemoryReplica(letter, clock, rules, actives),
            sql=lambda letter, alias, peers: SqlReplica(letter, alias),
            config=lambda peers: _toml(peers, rules, deletions),
        )

    def network(
        self,
        links: list[str],
        *,
        memory: Callable[[str, Clock, dict[int, bool]], Replica],
        sql: Callable[[str, str, Peers], SqlReplica],
        config: Callable[[Peers], str],
    ) -> Network:
        """Programs that ``memory`` makes, or ``sql`` over databases with the configuration ``config``."""
        letters = sorted({letter for link in links for letter in link})
        clock = Clock()
        replicas: dict[str, Replica] = {}
        for letter in letters:
            own = [link for link in links if letter in link]
            peers = {link.replace(letter, ""): link[0] == letter for link in own}
            if self.kind == "memory":
                replicas[letter] = memory(letter, clock, dict(enumerate(peers.values(), 1)))
                replicas[letter].links = dict(enumerate(peers, 1))
            else:
                alias = f"replica_{letter}"
                self._shelf.copy(self.kind, alias, config(peers))
                self._databases.callback(self._shelf.drop, self.kind, alias)
                made = sql(letter, alias, peers)
                made.links = {made.names[peer]: peer for peer in peers}
                replicas[letter] = made
        return Network(replicas, links)

    def close(self) -> None:
        self._databases.close()


def _toml(peers: dict[str, bool], rules: Rules, deletions: bool) -> str:
    parts = []
    system = ("time_added", "record_status") if deletions else ()
    for peer, active in peers.items():
        address = 'address = "https://x.example.com"\n' if active else ""
        mode = "active" if active else "passive"
        parts.append(f'[[link]]\nname = "{peer}"\nmode = "{mode}"\npassword = "x"\n{address}')
        for table, fields in TABLES.items():
            lines = "".join(f'{name} = "{Direction.BOTH}"\n' for name in (*fields, *system))
            parts.append(f'[[link.table]]\ntable = "{MODELS[table]}"\n[link.table.fields]\n{lines}')
    for field, rule in rules.items():
        table, name = field.split(".")
        parts.append(f'[[rule]]\nfield = "{MODELS[table]}.{name}"\n')
        parts.append(f'policy = "{rule.policy}"\nmerge = "{rule.merge}"\n')
    return "".join(parts)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Iterator[Shelf]:
    """The session's configured databases."""
    found = Shelf(tmp_path_factory.mktemp("replicas"))
    yield found
    with django_db_blocker.unblock():
        found.close()


def _maker(kind: str, shelf: Shelf, blocker: DjangoDbBlocker) -> Iterator[Maker]:
    with blocker.unblock():
        maker = Maker(kind, shelf)
        try:
            yield maker
        finally:
            maker.close()


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, shelf: Shelf, django_db_blocker: DjangoDbBlocker) -> Iterator[Maker]:
    """Makes a network: ``make(["ab", "cb"], {"thing.integer": SUM})``."""
    if request.param == "sqlite" and NATIVE != SQLITE:
        pytest.skip("the run's own database is another one")
    yield from _maker(request.param, shelf, django_db_blocker)


@pytest.fixture
def make_on_postgres(shelf: Shelf, django_db_blocker: DjangoDbBlocker) -> Iterator[Maker]:
    """The same on PostgreSQL, where a database takes longer to make: for fewer tests."""
    if reason := postgres.missing() if NATIVE == SQLITE else "":
        pytest.skip(f"PostgreSQL: {reason}")
    yield from _maker("postgres", shelf, django_db_blocker)
