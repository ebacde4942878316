"""Several linked programs with tables, match fields, relations and users as a test describes them.

The same description makes programs in memory and programs in SQLite files; see `tests.store.replicas` for the rest. ::

    network = make(["ab"], {"crm.Client": Shared(["name", "tax_id"], match_by=["tax_id"])})
    network["a"].create("crm.Client", name="A", tax_id="7701")
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import models
from pytest_django import DjangoDbBlocker

from syncapp.core.kinds import Kind
from syncapp.core.mapping import Catalogue, FieldOffer, TableOffer
from syncapp.models import UserMatch
from syncapp.store import catalogue as offers
from syncapp.store.base import FieldInfo, LinkInfo, Setup, TableInfo
from syncapp.store.introspect import describe
from syncapp.store.memory import MemoryBackend, MemoryDatabase
from syncapp.store.store import Store
from tests.store.replicas import Maker, Network, Replica, Shelf, SqlReplica
from tests.vendors import SQLITE, native


@dataclass(frozen=True)
class Shared:
    """A table of a link: its fields, all both ways; ``missing``: field → hold, match or empty."""

    fields: Collection[str]
    match_by: Collection[str] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


Tables = Mapping[str, Shared]


def _model(label: str) -> type[models.Model]:
    return apps.get_model(label)


class MemoryKin(Replica):
    """A program in memory with the tables of real models. Values are in wire form, relations are local keys."""

    def __init__(
        self, letter: str, clock: Callable[[], int], tables: Tables, actives: dict[int, bool]
    ) -> None:
        super().__init__(letter)
        self._index = ord(letter) - ord("a")
        self.identity = bytes([self._index + 1]) * 16
        self._described = {label: describe(_model(label)) for label in tables}
        self._numbers = {label: 10 * (self._index + 1) + i for i, label in enumerate(tables)}
        names = [(label, entry.name) for label, table in self._described.items() for entry in table.fields]
        self._fields = {key: 1000 * (self._index + 1) + i for i, key in enumerate(names)}
        self.database = MemoryDatabase(self._setup(tables, actives), self.identity, clock, self._unique())
        self.set_up(tables)
        self.store = Store(MemoryBackend(self.database), random.Random(self._index).randbytes)

    def _setup(self, tables: Tables, actives: dict[int, bool]) -> Setup:
        links = {link: LinkInfo(link, f"link {link}", active=active) for link, active in actives.items()}
        infos = {self._numbers[label]: self._table(label) for label in tables}
        return Setup(1, infos, links, frozenset())

    def set_up(self, tables: Tables, user_matching: str = "login") -> None:
        """Configure all links so."""
        setup = self.database.setup
        match_by = {
            self._numbers[label]: tuple(self._fields[label, name] for name in shared.match_by)
            for label, shared in tables.items()
            if shared.match_by
        }
        missing = {
            self._fields[label, name]: shared.missing.get(name, "hold")
            for label, shared in tables.items()
            for name in shared.fields
        }
        captured = {
            self._fields[label, name] for label, s in tables.items() for name in (*s.fields, *s.match_by)
        }
        self.database.setup = msgspec.structs.replace(
            setup,
            version=setup.version + 1,
            captured=frozenset(captured),
            links={
                number: msgspec.structs.replace(
                    link, match_by=match_by, missing=missing, user_matching=user_matching
                )
                for number, link in setup.links.items()
            },
        )
        self.database.catalogues = dict.fromkeys(setup.links, self._catalogue(tables))

    def _table(self, label: str) -> TableInfo:
        table = self._described[label]
        fields = {}
        for entry in table.fields:
            number = self._fields[label, entry.name]
            fields[number] = FieldInfo(
                number,
                entry.name,
                entry.type,
                self._numbers.get(entry.type.target, 0),
                required=entry.required,
                system=entry.system,
            )
        return TableInfo(self._numbers[label], label, label, fields)

    def _unique(self) -> dict[int, tuple[int, ...]]:
        return {
            self._numbers[label]: tuple(
                self._fields[label, entry.name]
                for entry in table.fields
                if entry.field is not None
                and entry.field.unique
                and not entry.field.primary_key
                and not entry.through
            )
            for label, table in self._described.items()
        }

    def _catalogue(self, tables: Tables) -> Catalogue:
        def offer(label: str, entry: Any) -> FieldOffer:
            flows = entry.name in tables[label].fields
            number = self._fields[label, entry.name]
            missing = tables[label].missing.get(entry.name, "hold")
            return FieldOffer(
                number, entry.name, entry.name, entry.type, flows, flows, system=entry.system, missing=missing
            )

        return tuple(
            TableOffer(
                number,
                label,
                label,
                tuple(offer(label, entry) for entry in self._described[label].fields),
                tuple(self._fields[label, name] for name in tables[label].match_by),
            )
            for label, number in self._numbers.items()
        )

    def _values(self, label: str, values: dict[str, Any]) -> dict[int, Any]:
        return {self._fields[label, name]: value for name, value in values.items()}

    def create(self, table: str, **values: Any) -> str:
        empty = {
            entry.name: ""
            for entry in self._described[table].fields
            if entry.type.kind is Kind.TEXT and not entry.type.null and not entry.required
        }
        return self.database.create(self._numbers[table], self._values(table, {**empty, **values}))

    def write(self, table: str, pk: str, **values: Any) -> None:
        self.database.write(self._numbers[table], pk, self._values(table, values))

    def remove(self, table: str, pk: str) -> None:
        self.database.remove(self._numbers[table], pk)

    def get(self, table: str, pk: str, name: str) -> Any:
        return self.database.tables[self._numbers[table]][pk][self._fields[table, name]]

    def keys(self, table: str) -> list[str]:
        return sorted(self.database.tables[self._numbers[table]], key=int)

    def number(self, table: str, name: str = "") -> int:
        return self._fields[table, name] if name else self._numbers[table]

    def new_user(self, login: str, full_name: str = "", key: int = 0) -> str:
        number = str(key or len(self.database.users) + 1)
        self.database.users[number] = (login, full_name)
        return number

    def rename_user(self, key: str, login: str) -> None:
        self.database.users[key] = (login, self.database.users[key][1])

    def remove_user(self, key: str) -> None:
        del self.database.users[key]

    def match_by_hand(self, login: str, key: str) -> None:
        known = self.database.user_matches
        for place, match in list(known.items()):
            if match.names.login == login:
                known[place] = msgspec.structs.replace(match, user=key, several=0, manual=True)

    @property
    def problems(self) -> list[Any]:
        return list(self.database.problems.values())

    def retry_all(self) -> None:
        for problem in list(self.database.problems.values()):
            self.database.problems[problem.id] = msgspec.structs.replace(problem, next_try=0)
        while self.retry():
            if not any(problem.next_try == 0 for problem in self.database.problems.values()):
                break


class SqlKin(SqlReplica):
    """A program with a database of its own. Values are what the ORM takes, relations are local keys."""

    def __init__(self, letter: str, alias: str, peers: dict[str, bool]) -> None:
        self._peers = peers
        super().__init__(letter, alias)

    def set_up(self, tables: Tables, user_matching: str = "login") -> None:
        from syncapp.store import config

        config.apply(toml(self._peers, tables, user_matching), env={}, using=self.alias)

    def _rows(self, table: str) -> models.QuerySet[Any]:
        return _model(table)._default_manager.using(self.alias)

    def _split(self, table: str, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values of columns, by attribute, and of many-to-many relations."""
        fields = {name: _model(table)._meta.get_field(name) for name in values}
        many = {name: values[name] for name, f in fields.items() if f.many_to_many}
        return {getattr(f, "attname", n): values[n] for n, f in fields.items() if n not in many}, many

    def create(self, table: str, **values: Any) -> str:
        plain, many = self._split(table, values)
        row = self._rows(table).create(**plain)
        for name, keys in many.items():
            getattr(row, name).set(keys)
        return str(row.pk)

    def write(self, table: str, pk: str, **values: Any) -> None:
        plain, many = self._split(table, values)
        if plain:
            self._rows(table).filter(pk=pk).update(**plain)
        for name, keys in many.items():
            getattr(self._rows(table).get(pk=pk), name).set(keys)

    def keys(self, table: str) -> list[str]:
        return [str(pk) for pk in self._rows(table).order_by("pk").values_list("pk", flat=True)]

    def number(self, table: str, name: str = "") -> int:
        found = offers.tables(self.alias)[table]
        return found.fields[name].number if name else found.number

    def _users(self) -> Any:
        return get_user_model()._default_manager.using(self.alias)

    def new_user(self, login: str, full_name: str = "", key: int = 0) -> str:
        first, _, last = full_name.partition(" ")
        given = {"pk": key} if key else {}
        return str(self._users().create(username=login, first_name=first, last_name=last, **given).pk)

    def rename_user(self, key: str, login: str) -> None:
        self._users().filter(pk=key).update(username=login)

    def remove_user(self, key: str) -> None:
        self._users().filter(pk=key).delete()

    def match_by_hand(self, login: str, key: str) -> None:
        UserMatch.objects.using(self.alias).filter(login=login).update(user=key, several=0, manual=True)

    def retry_all(self) -> None:
        from syncapp.models import Problem

        Problem.objects.using(self.alias).update(next_try=0)
        while self.retry():
            if not Problem.objects.using(self.alias).filter(next_try=0).exists():
                break


class KinMaker(Maker):
    """Makes networks of programs that a test describes."""

    def __call__(self, links: list[str], tables: Tables) -> Network:  # type: ignore[override]
        return self.network(
            links,
            memory=lambda letter, clock, actives: MemoryKin(letter, clock, tables, actives),
            sql=SqlKin,
            config=lambda peers: toml(peers, tables),
        )


def toml(peers: dict[str, bool], tables: Tables, user_matching: str = "login") -> str:
    """The configuration of a program whose peers are ``peers`` (name → whether the link is active)."""
    parts = []
    for peer, active in peers.items():
        mode = 'mode = "active"\naddress = "https://x.example.com"' if active else 'mode = "passive"'
        parts.append(f'[[link]]\nname = "{peer}"\n{mode}\npassword = "x"\nuser_matching = "{user_matching}"')
        for label, shared in tables.items():
            match_by = ", ".join(f'"{name}"' for name in shared.match_by)
            parts.append(f'[[link.table]]\ntable = "{label}"\nmatch_by = [{match_by}]\n[link.table.fields]')
            for name in shared.fields:
                missing = shared.missing.get(name)
                value = f'{{ direction = "both", missing = "{missing}" }}' if missing else '"both"'
                parts.append(f"{name} = {value}")
    return "\n".join(parts)


@pytest.fixture(params=["memory", "sqlite"])
def make(
    request: pytest.FixtureRequest, shelf: Shelf, django_db_blocker: DjangoDbBlocker
) -> Iterator[KinMaker]:
    """Makes a network: ``make(["ab", "cb"], {"crm.Tag": Shared(["name"])})``."""
    if request.param == "sqlite" and native() != SQLITE:
        pytest.skip("the run's own database is another one")
    with django_db_blocker.unblock():
        maker = KinMaker(request.param, shelf)
        try:
            yield maker
        finally:
            maker.close()
