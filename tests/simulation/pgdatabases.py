"""Programs that live in PostgreSQL databases.

The world's clock is a setting of the connection (``sim.now``), which the triggers are made to ask in place of the
server's clock. It is set whenever somebody is about to write.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from django.db import connections, transaction
from django.db import models as orm

from syncapp.store.sql.postgres import PostgresDialect
from syncapp.store.triggers import postgres as compiler
from tests import postgres
from tests.simulation.sqldatabases import SqlDatabase, Sqlite, SqlNumbers

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from tests.simulation.instance import Instance

_AT = "syncapp_at bigint := current_setting('sim.now')::bigint"
_SEQUENCES = (
    "SELECT schemaname || '.' || quote_ident(sequencename), coalesce(last_value, 1), last_value IS NOT NULL "
    "FROM pg_sequences"
)


class PostgresSim(SqlDatabase):
    """Tells the database what time it is before its users write."""

    def __init__(self, using: str, numbers: SqlNumbers, rng: random.Random) -> None:
        super().__init__(using, numbers, rng)
        self.clock: Callable[[], int] = lambda: 0

    def tell_time(self) -> None:
        with connections[self.using].cursor() as cursor:
            cursor.execute("SELECT set_config('sim.now', %s, false)", [str(self.clock())])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.tell_time()
        with super()._writing():
            yield

    def run(self, sql: str) -> None:
        self.tell_time()
        super().run(sql)


class Postgres(Sqlite):
    """Programs in databases of the run's PostgreSQL server."""

    prefix = "simpg"

    def settings(self, using: str) -> dict[str, Any]:
        cluster, name = postgres.shared(), f"{using}_{os.getpid()}"
        cluster.create(name)
        return cluster.settings(name)

    def database(self, using: str, numbers: SqlNumbers, rng: random.Random) -> PostgresSim:
        return PostgresSim(using, numbers, rng)

    def create(self, instance: Instance) -> SqlDatabase:
        with mock.patch.object(compiler, "_AT", _AT):
            database = super().create(instance)
        assert isinstance(database, PostgresSim)
        database.clock = instance.wall
        return database

    def save(self, connection: BaseDatabaseWrapper) -> Any:
        tables: dict[str, bytes] = {}
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                with cursor.copy(f'COPY "{table}" TO STDOUT') as copy:
                    tables[table] = b"".join(bytes(part) for part in copy)
            cursor.execute(_SEQUENCES)
            return tables, cursor.fetchall()

    def load(self, connection: BaseDatabaseWrapper, template: Any) -> None:
        tables, sequences = template
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('sim.now', '0', false)")
            cursor.execute("TRUNCATE " + ", ".join(f'"{table}"' for table in tables))
            for table, rows in tables.items():
                if table != "syncapp_journal" and rows:
                    with cursor.copy(f'COPY "{table}" FROM STDIN') as copy:
                        copy.write(rows)
            cursor.execute("DELETE FROM syncapp_journal")  # where triggers are, they noted all this
            with cursor.copy("COPY syncapp_journal FROM STDIN") as copy:
                copy.write(tables["syncapp_journal"])
            for sequence, last, called in sequences:
                cursor.execute("SELECT setval(%s, %s, %s)", [sequence, last, called])

    def keep_time(self, connection: BaseDatabaseWrapper, clock: Callable[[], int]) -> Any:
        class Dialect(PostgresDialect):
            def now(self, connection: BaseDatabaseWrapper) -> int:
                return clock()

        return Dialect()

    def number_from(self, connection: BaseDatabaseWrapper, model: type[orm.Model], first: int) -> None:
        with connection.cursor() as cursor:
            assert model._meta.pk is not None
            name = [f'"{model._meta.db_table}"', model._meta.pk.column]
            cursor.execute("SELECT setval(pg_get_serial_sequence(%s, %s), %s, false)", [*name, first])

    def skip_keys(self, connection: BaseDatabaseWrapper, count: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_SEQUENCES)
            for sequence, last, called in cursor.fetchall():
                if sequence.startswith("public.sim_"):
                    cursor.execute("SELECT setval(%s, %s, %s)", [sequence, last + count, called])

    def connect(self, instance: Instance) -> Any:
        backend = super().connect(instance)
        database, begin = instance.database, backend.transaction

        @contextmanager
        def begun(**options: Any) -> Iterator[None]:
            database.tell_time()
            with begin(**options):
                yield

        backend.transaction = begun
        backend._database.now = instance.wall
        return backend
