"""A program on SQLite and one on PostgreSQL: they end up equal, in values of every type, to the last digit."""

from __future__ import annotations

import datetime as dt
import random
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import DjangoDbBlocker

from syncapp import models
from syncapp.core.changes import START, Cursor, RowKind
from syncapp.core.clock import instance_of
from syncapp.core.effects import Acked
from syncapp.core.mapping import Agreement, Kind, agree
from syncapp.store import catalogue, triggers
from syncapp.store.sql import SqlBackend
from syncapp.store.store import Store
from syncapp.store.values import same
from tests.testapp.models import Everything

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

LABEL = "testapp.Everything"
OTHER = "sqlite_side"
EAST = dt.timezone(dt.timedelta(hours=14))

#: What people may put into each field.
VALUES: dict[str, list[Any]] = {
    "char": ["", "a", "ё𝒳 \x01\n", "x" * 50, "\\ \"'{},", "NULL", "\u200b\ufeff"],
    "null_char": [None, "", "ы"],
    "text": ["", "line\r\nline\t", "x" * 5000, "\\x00 %s %% {}"],
    "address": [None, "10.0.0.1", "::1", "2001:db8::ffff"],
    "small": [0, -32768, 32767],
    "integer": [0, -(2**31), 2**31 - 1],
    "big": [None, -(2**63), 2**63 - 1],
    "positive_big": [0, 2**63 - 1],
    "decimal": [Decimal(0), Decimal("-0.01"), Decimal("9999999999.99"), Decimal("0.10"), Decimal("1E+3")],
    "floating": [None, 0.1, 1e22, 5e-324, 1.7976931348623157e308, -2.5, 1 / 3],
    "flag": [True, False],
    "maybe": [None, True, False],
    "day": [None, dt.date.min, dt.date.max, dt.date(2026, 2, 28)],
    "hour": [None, dt.time.min, dt.time.max, dt.time(9, 30, 0, 100)],
    "moment": [
        None,
        dt.datetime(1, 1, 2, tzinfo=dt.UTC),
        dt.datetime(9999, 12, 30, 23, 59, 59, 999999, dt.UTC),
        dt.datetime(2026, 1, 1, 0, 0, 0, 1, EAST),
        dt.datetime(1969, 12, 31, 23, 59, 59, 120000, dt.UTC),
    ],
    "span": [
        None,
        dt.timedelta(0),
        dt.timedelta(microseconds=-1),
        dt.timedelta(days=100_000, microseconds=7),
    ],
    "key": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=5)],
    "json": [
        {},
        [],
        "text",
        {"b": [1, 1.0, 1e22, 1e-7, True, None, 2**63 - 1], "a": {"ё": '1e5 "quoted"'}},
        [[[]], {"": ""}],
    ],
    "binary": [None, b"", b"\x00\xff\\", bytes(range(100))],
    "renamed": ["", "odd"],
}


class Side:
    """One program, in the database of an alias."""

    def __init__(self, using: str) -> None:
        self.using = using
        catalogue.refresh(using)
        self.link = models.Link.objects.using(using).create(name="Peer", mode="active", code="c").pk
        fields = (
            models.Field.objects.using(using).filter(table__label=LABEL, system=False).exclude(name="file")
        )
        self.numbers = dict(fields.values_list("name", "number"))
        for number in self.numbers.values():
            models.Mapping.objects.using(using).create(link_id=self.link, field_id=number, direction="both")
        self.table = models.Table.objects.using(using).get(label=LABEL).number
        models.LinkTable.objects.using(using).create(link_id=self.link, table_id=self.table)
        catalogue.bump(using)
        triggers.install_all(using)
        self.store = Store(SqlBackend(using))
        token = self.store.claim(self.link, "test", 10**15)
        assert token is not None
        self.token, self.sent = token, START
        self.agreement = Agreement()
        with self.store.backend.transaction():
            self.instance = instance_of(self.store.backend.instance().origin)

    @property
    def rows(self) -> Any:
        return Everything.objects.using(self.using)

    def edit(self, chance: random.Random) -> None:
        """Somebody creates a record or changes some fields of one."""
        values = {name: chance.choice(known) for name, known in VALUES.items() if chance.random() < 0.4}
        keys = list(self.rows.values_list("pk", flat=True))
        if not keys or chance.random() < 0.3:
            self.rows.create(**{"char": "new", "integer": 1, **values})
        else:
            self.rows.filter(pk=chance.choice(keys)).update(**(values or {"char": "touched"}))

    def values(self) -> dict[bytes, dict[str, Any]]:
        """uid → what the wire would say of the record."""
        backend = self.store.backend
        self.store.seal()
        with backend.transaction():
            records = [record for record in backend.records_after(0, 10_000) if record.alive]
            found = backend.rows(self.table, [r.pk for r in records], list(self.numbers.values()))
        return {r.uid: dict(zip(self.numbers, found[r.pk], strict=True)) for r in records}


def send(source: Side, target: Side) -> bool:
    found = source.store.read(source.link, source.sent, source.agreement, target.instance, 1000)
    if found.batch is None:
        return False
    done = target.store.apply(target.link, found.batch, target.agreement, target.token)
    parked = {fate.uid for fate in done.fates if fate.field == 0}
    sections = found.batch.sections
    whole = [
        row.uid for s in sections for row in s.rows if row.kind == RowKind.WHOLE and row.uid not in parked
    ]
    end = done.have.seq
    ack = Acked(found.batch.start, done.have, done.totals, done.fates, done.want, whole, end, end)
    source.store.acked(source.link, ack, source.token)
    source.sent = Cursor(done.have.seq, done.have.tag)
    return True


@contextmanager
def opened(path: Path) -> Iterator[None]:
    """The SQLite file as a database of Django's."""
    config = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
    options = {"OPTIONS": {"transaction_mode": "IMMEDIATE"}}
    settings = connections.configure_settings({"default": {}, OTHER: {**config, **options}})
    connections.settings[OTHER] = settings[OTHER]
    connections[OTHER] = connections.create_connection(OTHER)
    connections[OTHER].connect()  # by hand: a test may not open databases that it did not ask for
    try:
        yield
    finally:
        connections[OTHER].close()
        del connections[OTHER]
        del connections.settings[OTHER]
        catalogue._kept.pop(OTHER, None)


@pytest.fixture(scope="module")
def template(
    vendor: str, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Path:
    path = tmp_path_factory.mktemp("pair") / "template.sqlite3"
    with django_db_blocker.unblock(), opened(path):
        call_command("migrate", database=OTHER, verbosity=0, interactive=False)
        call_command("migrate", database=OTHER, run_syncdb=True, verbosity=0, interactive=False)
    return path


@pytest.fixture
def pair(db: None, template: Path, tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    """On PostgreSQL and on SQLite."""
    with opened(Path(shutil.copy(template, tmp_path / "side.sqlite3"))):
        one, other = Side("default"), Side(OTHER)
        offers = [catalogue.link_catalogue(side.link, side.using) for side in (one, other)]
        one.agreement, other.agreement = agree(offers[0], offers[1]), agree(offers[1], offers[0])
        yield one, other


def test_they_are_two_kinds(pair: tuple[Side, Side]) -> None:
    assert [connections[side.using].vendor for side in pair] == ["postgresql", "sqlite"]
    assert not pair[0].agreement.suspended
    assert set(VALUES) < set(pair[0].numbers)


@pytest.mark.parametrize("seed", range(3))
def test_they_end_up_equal(pair: tuple[Side, Side], seed: int) -> None:
    one, other = pair
    chance = random.Random(seed)
    for _ in range(25):
        for side in pair:
            for _ in range(chance.randrange(4)):
                side.edit(chance)
        if chance.random() < 0.6:
            send(*chance.choice([(one, other), (other, one)]))
    for _ in range(20):
        moved = [send(one, other), send(other, one)]
        if moved == [False, False]:
            break
    else:
        pytest.fail("no end")
    here, there = one.values(), other.values()
    assert here.keys() == there.keys()
    assert len(here) > 5
    kinds = {entry.name: entry.type.kind for entry in catalogue.tables()[LABEL].fields.values()}
    for uid in here:
        for name, value in here[uid].items():
            assert _equal(kinds[name], value, there[uid][name]), (name, value, there[uid][name])
    for side in pair:
        assert not models.Problem.objects.using(side.using).exists()
        assert not models.Journal.objects.using(side.using).exists()


def _equal(kind: Kind, one: Any, other: Any) -> bool:
    return type(one) is type(other) and same(kind, one, other)


def test_each_value_there_and_back(pair: tuple[Side, Side]) -> None:
    """Written by Django on one side, read by Django on the other; then the other way round."""
    for source, target in (pair, pair[::-1]):
        sent = [
            (name, value, source.rows.create(**{"char": "c", "integer": 1, name: value}).pk)
            for name, known in VALUES.items()
            for value in known
        ]
        while send(source, target):
            pass
        with source.store.backend.transaction():
            here = source.store.backend.records_by_pk(source.table, [str(pk) for _, _, pk in sent])
        with target.store.backend.transaction():
            there = target.store.backend.records_by_uid([record.uid for record in here.values()])
        for name, value, pk in sent:
            found = getattr(target.rows.get(pk=there[here[str(pk)].uid].pk), name)
            found = bytes(found) if isinstance(found, memoryview) else found
            assert found == value, name


def test_what_one_of_them_cannot_hold_is_parked_with_a_reason(pair: tuple[Side, Side]) -> None:
    """SQLite takes anything from anybody."""
    postgres, sqlite = pair
    row = sqlite.rows.create(char="good", integer=1)
    while send(sqlite, postgres):
        pass
    with connections[sqlite.using].cursor() as cursor:
        cursor.execute("UPDATE testapp_everything SET text = %s, big = 'x', small = 5", ["a\0b"])
    while send(sqlite, postgres):
        pass
    assert postgres.rows.get(char="good").small == 5
    problems = models.Problem.objects.using(sqlite.using).filter(way="out")
    names = {sqlite.numbers["text"], sqlite.numbers["big"]}
    assert set(problems.values_list("field_no", flat=True)) == names
    with connections[sqlite.using].cursor() as cursor:
        cursor.execute("UPDATE testapp_everything SET text = 'ab', big = 6")
    while send(sqlite, postgres):
        pass
    found = postgres.rows.get(char="good")
    assert (found.text, found.big) == ("ab", 6)
    assert not problems.exists()
    assert row.pk
