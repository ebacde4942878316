"""Programs that live in real databases: one of Django's for each, with real triggers, written to by ORM and raw SQL.

`Sqlite` keeps them in memory and fills them from a template that is made once. Their clocks are the world's: the
connection has a ``julianday()`` of its own, which is what the triggers ask, and the dialect another ``now()``.
Another kind of database overrides `open`, `template` and `dialect`.
"""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from django.db import IntegrityError, connections, transaction
from django.db import models as orm

from syncapp import models
from syncapp.core.changes import Record, unpack_entries
from syncapp.core.mapping import Direction, Kind
from syncapp.core.rules import Merge, Policy
from syncapp.store import catalogue, triggers
from syncapp.store.base import ConflictRow, InstanceState, LinkCursors, ProblemRow, RowRefused, Setup, Values
from syncapp.store.sql import SqlBackend
from syncapp.store.sql.sqlite import SqliteDialect
from tests.simulation.databases import KEYS_APART
from tests.simulation.faults import faulty
from tests.simulation.schema import LIFE, MATCH_BY, SPECS, TABLES, Key
from tests.simulation.sqlmodels import MODELS
from tests.simulation.topology import deaths_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from tests.simulation.instance import Instance

FaultySql = faulty(SqlBackend)
_unpack = msgspec.msgpack.decode


class SqlNumbers:
    """A program's numbers, as its catalogue gave them."""

    def __init__(self, using: str) -> None:
        labels = {model._meta.label: name for name, model in MODELS.items()}
        found = {labels[label]: table for label, table in catalogue.tables(using).items() if label in labels}
        self.table = {name: table.number for name, table in found.items()}
        self.field: dict[Key, int] = {
            (name, field.name): field.number
            for name, table in found.items()
            for field in table.fields.values()
            if (name, field.name) in SPECS
        }
        self.life = {
            name: tuple(
                f.number for n in LIFE for f in table.fields.values() if f.description.system and f.name == n
            )
            for name, table in found.items()
        }
        self.table_name = {number: name for name, number in self.table.items()}
        self.key = {number: key for key, number in self.field.items()}


class Journalled:
    """A row that waits in the journal."""

    def __init__(self, table: int, pk: str) -> None:
        self.table, self.pk = table, pk


class SqlDatabase:
    """One program's database: what its users do, and what whoever looks from outside sees of it."""

    def __init__(self, using: str, numbers: SqlNumbers, rng: random.Random) -> None:
        self.using = using
        self.numbers = numbers
        self._rng = rng
        self._backend = SqlBackend(using)
        self._seen: dict[str, Any] = {}

    def stale(self) -> None:
        """Something may have been written."""
        self._seen.clear()

    def _look(self, what: str, how: Callable[[], Any]) -> Any:
        if what not in self._seen:
            self._seen[what] = how()
        return self._seen[what]

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with connections[self.using].cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    def run(self, sql: str) -> None:
        """Execute a statement, as an outsider."""
        self.stale()
        with connections[self.using].cursor() as cursor:
            cursor.execute(sql)

    # -- users ----------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.stale()
        try:
            with transaction.atomic(using=self.using):
                yield
        except IntegrityError as error:
            raise RowRefused(str(error)) from error

    def _columns(self, table: int, values: Values) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Values by column, and many-to-many lists by field."""
        columns, lists = {}, {}
        for number, value in values.items():
            name = self.numbers.key[number][1]
            kind = SPECS[self.numbers.key[number]].kind
            if kind is Kind.RELATIONS:
                lists[name] = value or []
            else:
                columns[f"{name}_id" if kind is Kind.RELATION else name] = value
        return columns, lists

    def _model(self, table: int) -> type[orm.Model]:
        return MODELS[self.numbers.table_name[table]]

    def create(self, table: int, values: Values) -> str:
        """A user inserts a row; returns its key."""
        columns, lists = self._columns(table, values)
        model = self._model(table)
        with self._writing():
            if self._rng.random() < 0.5:
                row = model._default_manager.using(self.using).create(**columns)
            else:
                row = model(**columns)
                model._default_manager.using(self.using).bulk_create([row])
            self._set_lists(row, lists)
        return str(row.pk)

    def write(self, table: int, key: str, values: Values) -> None:
        """A user updates a row, in one of many ways."""
        columns, lists = self._columns(table, values)
        model = self._model(table)
        rows = model._default_manager.using(self.using).filter(pk=key)
        with self._writing():
            way = self._rng.randrange(4)
            if columns and way == 0:
                rows.update(**columns)
            elif columns and way == 1:
                self._replace(model, key, columns)
            elif columns and way == 2:
                changed = rows.get()
                for name, value in columns.items():
                    setattr(changed, name, value)
                names = [name.removesuffix("_id") for name in columns]
                model._default_manager.using(self.using).bulk_update([changed], names)
            elif columns:
                changed = rows.get()
                for name, value in columns.items():
                    setattr(changed, name, value)
                changed.save(using=self.using)
            if lists:
                self._set_lists(rows.get(), lists)

    def _replace(self, model: type[orm.Model], key: str, columns: dict[str, Any]) -> None:
        """Raw SQL, as another program would write."""
        settings = ", ".join(f'"{name}" = %s' for name in columns)
        sql = f'UPDATE "{model._meta.db_table}" SET {settings} WHERE "id" = %s'
        with connections[self.using].cursor() as cursor:
            cursor.execute(sql, [*columns.values(), int(key)])

    def _set_lists(self, row: Any, lists: dict[str, list[str]]) -> None:
        for name, keys in lists.items():
            getattr(row, name).set([int(key) for key in keys])

    def remove(self, table: int, key: str) -> None:
        """A user deletes a row."""
        with self._writing():
            self._model(table)._default_manager.using(self.using).filter(pk=key).delete()

    # -- looking --------------------------------------------------------------------------------------------

    @property
    def setup(self) -> Setup:
        return catalogue.load_setup(self.using)

    @property
    def state(self) -> InstanceState:
        return self._backend.instance()

    @property
    def journal(self) -> list[Journalled]:
        sql = 'SELECT "table_no", "pk_text" FROM "syncapp_journal"'
        return self._look("journal", lambda: [Journalled(*row) for row in self._rows(sql)])

    @property
    def records(self) -> dict[int, Record]:
        return self._look("records", self._records)

    def _records(self) -> dict[int, Record]:
        sql = 'SELECT "id", "table_id", "pk_text", "uid", "alive", "seq", "entries" FROM "syncapp_record"'
        return {
            id: Record(id, table, pk, bytes(uid), bool(alive), seq, unpack_entries(entries))
            for id, table, pk, uid, alive, seq, entries in self._rows(sql)
        }

    @property
    def by_uid(self) -> dict[bytes, int]:
        return self._look("by_uid", self._by_uid)

    def _by_uid(self) -> dict[bytes, int]:
        aliases = self._rows('SELECT "uid", "record_id" FROM "syncapp_alias"')
        return {record.uid: id for id, record in self.records.items()} | {bytes(u): id for u, id in aliases}

    @property
    def by_pk(self) -> dict[tuple[int, str], int]:
        return self._look("by_pk", lambda: {(r.table, r.pk): n for n, r in self.records.items() if r.alive})

    @property
    def tables(self) -> dict[int, dict[str, Values]]:
        return self._look("tables", self._tables)

    def _tables(self) -> dict[int, dict[str, Values]]:
        found: dict[int, dict[str, Values]] = {}
        for name, specs in TABLES.items():
            flat = [spec for spec in specs if spec.kind is not Kind.RELATIONS]
            columns = ", ".join(
                f'"{spec.name}_id"' if spec.kind is Kind.RELATION else f'"{spec.name}"' for spec in flat
            )
            table = MODELS[name]._meta.db_table
            rows = found[self.numbers.table[name]] = {}
            for id, *values in self._rows(f'SELECT "id", {columns} FROM "{table}" ORDER BY "id"'):
                rows[str(id)] = {
                    self.numbers.field[name, spec.name]: str(value)
                    if spec.kind is Kind.RELATION and value is not None
                    else value
                    for spec, value in zip(flat, values, strict=True)
                }
            for spec in specs:
                if spec.kind is Kind.RELATIONS:
                    lists: dict[str, list[str]] = defaultdict(list)
                    sql = f'SELECT "{name}_id", "{spec.target}_id" FROM "{table}_{spec.name}"'
                    for owner, target in self._rows(sql):
                        lists[str(owner)].append(str(target))
                    for key, row in rows.items():
                        row[self.numbers.field[name, spec.name]] = sorted(lists[key])
        return found

    @property
    def problems(self) -> dict[int, ProblemRow]:
        return self._look("problems", self._problems)

    def _problems(self) -> dict[int, ProblemRow]:
        ids = [row[0] for row in self._rows('SELECT "id" FROM "syncapp_problem" ORDER BY "id"')]
        return {problem.id: problem for problem in self._backend.problems_by_id(ids)}

    @property
    def conflicts(self) -> list[ConflictRow]:
        return self._look("conflicts", self._conflicts)

    def _conflicts(self) -> list[ConflictRow]:
        return [
            ConflictRow(
                *(row.link_id, row.table_no, bytes(row.uid), row.pk_text, row.field_no),
                *(_unpack(bytes(row.won)), _unpack(bytes(row.lost)), row.won_time, bytes(row.won_origin)),
                *(row.lost_time, bytes(row.lost_origin), row.created_at),
            )
            for row in models.Conflict.objects.using(self.using).order_by("pk")
        ]

    @property
    def archive(self) -> list[models.Archive]:
        return self._look("archive", lambda: list(models.Archive.objects.using(self.using)))

    @property
    def cursors(self) -> dict[int, LinkCursors]:
        links = models.Link.objects.using(self.using).values_list("pk", flat=True)
        return self._look("cursors", lambda: {link: self._backend.cursors(link) for link in links})

    @property
    def pairs(self) -> dict[int, set[int]]:
        found: dict[int, set[int]] = defaultdict(set)
        for link, record in self._rows('SELECT "link_id", "record_id" FROM "syncapp_pair"'):
            found[link].add(record)
        return found


class Sqlite:
    """Programs in SQLite databases in memory."""

    many = False
    #: What the aliases of its databases begin with.
    prefix = "sim"

    def __init__(self) -> None:
        self._templates: dict[int, tuple[Any, SqlNumbers]] = {}
        self._dialects: dict[int, Any] = {}

    # -- what differs between kinds of databases ------------------------------------------------------------

    def settings(self, using: str) -> dict[str, Any]:
        """Of Django, for the database ``using``."""
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ":memory:",
            "OPTIONS": {"transaction_mode": "IMMEDIATE"},
        }

    def save(self, connection: BaseDatabaseWrapper) -> Any:
        """What makes `load` bring back what the database holds now."""
        kept = sqlite3.connect(":memory:")
        connection.connection.backup(kept)
        return kept

    def load(self, connection: BaseDatabaseWrapper, template: Any) -> None:
        """Let the database hold what it held at `save`, and nothing else."""
        connection.ensure_connection()
        template.backup(connection.connection)

    def keep_time(self, connection: BaseDatabaseWrapper, clock: Callable[[], int]) -> Any:
        """Let the database's clock be ``clock``; returns the dialect that goes with it."""

        def julianday(*moment: Any) -> float:
            assert moment == ("now",)
            return clock() / 86_400_000_000 + 2440587.5

        class Dialect(SqliteDialect):
            def now(self, connection: BaseDatabaseWrapper) -> int:
                return clock()

        connection.connection.create_function("julianday", -1, julianday)
        return Dialect()

    # -- a Backing ------------------------------------------------------------------------------------------

    def numbers(self, index: int) -> SqlNumbers:
        return self._template(index)[1]

    def _template(self, index: int) -> tuple[Any, SqlNumbers]:
        """An empty database of the program ``index``, whose numbers are like nobody else's."""
        if index not in self._templates:
            using = f"{self.prefix}{index}"
            connections.settings[using] = connections.configure_settings(
                {"default": {}, using: self.settings(using)}
            )[using]
            connection = connections[using]
            _create_tables(connection)
            for model, first in ((models.Table, 10 * (index + 1)), (models.Field, 100 * (index + 1))):
                self.number_from(connection, model, first)
            models.Instance.objects.using(using).create(
                pk=1, instance=bytes([index + 1]) * 16, scram_salt=bytes(16)
            )
            catalogue.refresh(using)
            self._templates[index] = (self.save(connection), SqlNumbers(using))
        return self._templates[index]

    def create(self, instance: Instance) -> SqlDatabase:
        using = f"{self.prefix}{instance.index}"
        template, numbers = self._template(instance.index)
        connection = connections[using]
        self.load(connection, template)
        catalogue._kept.pop(using, None)
        _configure(instance, using, numbers)
        self._dialects[instance.index] = self.keep_time(connection, instance.wall)
        return self.database(using, numbers, random.Random(instance.world.rng.random()))

    def database(self, using: str, numbers: SqlNumbers, rng: random.Random) -> SqlDatabase:
        return SqlDatabase(using, numbers, rng)

    def number_from(self, connection: BaseDatabaseWrapper, model: type[orm.Model], first: int) -> None:
        """Let the keys of a table begin with ``first``: the numbers of programs are not alike."""
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [model._meta.db_table, first - 1]
            )

    def skip_keys(self, connection: BaseDatabaseWrapper, count: int) -> None:
        """Let the next keys of the program's own tables be others than those that were given after a backup."""
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE sqlite_sequence SET seq = seq + {count} WHERE name LIKE 'sim_%'")

    def back_up(self, instance: Instance) -> Any:
        return self.save(connections[instance.database.using])

    def put_back(self, instance: Instance, backup: Any) -> None:
        using = instance.database.using
        self.load(connections[using], backup)
        catalogue._kept.pop(using, None)
        instance.database.stale()
        self.skip_keys(connections[using], instance.world.restores * KEYS_APART)

    def connect(self, instance: Instance) -> Any:
        database = instance.database

        class Watched(FaultySql):  # type: ignore[misc, valid-type]
            @contextmanager
            def transaction(self, **options: Any) -> Iterator[None]:
                database.stale()
                try:
                    with super().transaction(**options):
                        yield
                finally:
                    database.stale()

        backend = Watched(database.using)
        backend._database.dialect = self._dialects[instance.index]
        return backend


def _create_tables(connection: BaseDatabaseWrapper) -> None:
    """syncapp's tables and the program's own."""
    own = [getattr(models, name) for name in dir(models) if _is_model(getattr(models, name))]
    with connection.schema_editor() as editor:
        for model in (*own, *MODELS.values()):
            editor.create_model(model)


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, orm.Model) and value.__module__ == models.__name__


def _configure(instance: Instance, using: str, numbers: SqlNumbers) -> None:
    """The program's links and mappings, and the triggers that they ask for."""
    for number, plan in instance.links.items():
        active = plan.active == instance.index
        link = models.Link.objects.using(using).create(
            pk=number,
            name=f"link {number}",
            mode="active" if active else "passive",
            code=f"code {number}",
            log=instance.world.plan.log,
        )
        models.LinkTable.objects.using(using).bulk_create(
            models.LinkTable(link=link, table_id=table, match_by=list(MATCH_BY.get(name, ())))
            for name, table in numbers.table.items()
        )
        models.Mapping.objects.using(using).bulk_create(
            models.Mapping(link=link, field_id=numbers.field[key], direction=way.value)
            for key, way in plan.mapped(instance.index).items()
            if way != Direction.OFF
        )
        if instance.world.traits.deaths:
            models.Mapping.objects.using(using).bulk_create(
                models.Mapping(link=link, field_id=number, direction=way.value)
                for table, ways in deaths_of(plan, instance.index).items()
                for number, way in zip(numbers.life[table], ways, strict=True)
                if way != Direction.OFF
            )
    policies = instance.world.traits.policies
    models.Rule.objects.using(using).bulk_create(
        models.Rule(
            field_id=numbers.field[key],
            policy=policies.get(key, Policy.LATEST).value,
            merge=spec.merge.value,
        )
        for key, spec in SPECS.items()
        if spec.merge is not Merge.VALUE or key in policies
    )
    catalogue.bump(using)
    triggers.install_all(using)
