"""Commits on PostgreSQL are noticed: by hints where they come, by looking where they don't."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connections

from syncapp.engine import listen
from syncapp.engine.listen import PostgresWatch
from syncapp.store.sql import hints
from tests import pgbouncer, postgres
from tests.instances.waiting import wait_until
from tests.postgres import USER, Cluster

pytestmark = [
    pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing()),
    pytest.mark.timeout(120),
]

DATABASE = f"listen_{os.getpid()}"
TABLES = """
    CREATE TABLE syncapp_journal (id bigserial PRIMARY KEY, pk_text text);
    CREATE TABLE syncapp_instance (id int PRIMARY KEY, head_seq bigint NOT NULL);
    INSERT INTO syncapp_instance VALUES (1, 7);
    CREATE TABLE syncapp_seriesrequest (id bigserial PRIMARY KEY);
"""
WRITE = "INSERT INTO syncapp_journal (pk_text) VALUES ('1')"
HINT = f"SELECT pg_notify('{hints.JOURNAL}', '')"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = postgres.shared()
    cluster.create(DATABASE)
    with _connect(cluster) as connection:
        connection.execute(TABLES)
    yield cluster
    cluster.drop(DATABASE)


def _connect(cluster: Cluster) -> psycopg.Connection[Any]:
    where = {"host": str(cluster.folder), "port": cluster.port, "dbname": DATABASE}
    return psycopg.connect(**where, user=USER, autocommit=True)


@contextmanager
def alias(settings: dict[str, Any]) -> Iterator[str]:
    """One of Django's databases for the length of the block."""
    connections.databases["listened"] = connections.configure_settings({"default": {}, "listened": settings})[
        "listened"
    ]
    try:
        yield "listened"
    finally:
        del connections.databases["listened"]


@pytest.fixture
def writer(cluster: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """Another connection, whose rows nobody has taken up yet."""
    with _connect(cluster) as connection:
        connection.execute("TRUNCATE syncapp_journal")
        yield connection


@pytest.fixture
def using(cluster: Cluster) -> Iterator[str]:
    with alias(cluster.settings(DATABASE)) as using:
        yield using


@pytest.fixture(params=["listening", "looking"])
def watch(request: pytest.FixtureRequest, using: str, writer: Any) -> Iterator[PostgresWatch]:
    watch = PostgresWatch(using, listen=request.param == "listening")
    yield watch
    watch.close()


async def until(watch: PostgresWatch, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await watch.wait(0.05)


async def quiet(watch: PostgresWatch) -> None:
    """Until it is connected and nothing is left to notice."""
    await until(watch, lambda: watch.connected)
    while await watch.wait(0.2):
        pass


async def test_another_connection(watch: PostgresWatch, writer: psycopg.Connection[Any]) -> None:
    await quiet(watch)
    for _ in range(3):
        writer.execute(WRITE)
        assert await watch.wait(5)
        assert watch.glance("") == (True, 7, False)


async def test_a_save_that_waits_for_a_number(watch: PostgresWatch, writer: psycopg.Connection[Any]) -> None:
    await quiet(watch)
    writer.execute("INSERT INTO syncapp_seriesrequest DEFAULT VALUES")
    try:
        assert await watch.wait(5)
        assert watch.glance("") == (False, 7, True)
    finally:
        writer.execute("TRUNCATE syncapp_seriesrequest")


async def test_the_end_of_the_feed(watch: PostgresWatch, writer: psycopg.Connection[Any]) -> None:
    """What another process applied has to go on to our peers."""
    await quiet(watch)
    writer.execute("UPDATE syncapp_instance SET head_seq = 8")
    assert await watch.wait(5)
    assert watch.glance("") == (False, 8, False)
    writer.execute("UPDATE syncapp_instance SET head_seq = 7")


async def test_a_rollback_is_no_commit(watch: PostgresWatch, writer: psycopg.Connection[Any]) -> None:
    await quiet(watch)
    with writer.transaction(force_rollback=True):
        writer.execute(WRITE)
        writer.execute(HINT)
    assert not await watch.wait(0.4)


async def test_an_open_transaction_is_no_commit(
    watch: PostgresWatch, writer: psycopg.Connection[Any]
) -> None:
    await quiet(watch)
    with writer.transaction():
        writer.execute(WRITE)
        assert not await watch.wait(0.4)
    assert await watch.wait(5)


async def test_a_slow_transaction_that_was_overtaken(
    watch: PostgresWatch, writer: psycopg.Connection[Any], cluster: Cluster
) -> None:
    """The later row is there first, and taken up; then the earlier one becomes visible."""
    await quiet(watch)
    with writer.transaction():
        writer.execute(WRITE)
        with _connect(cluster) as other:
            other.execute(WRITE)
            assert await watch.wait(5)
            other.execute("DELETE FROM syncapp_journal")
        await quiet(watch)
    assert await watch.wait(5)
    assert watch.glance("") == (True, 7, False)


async def test_rows_that_nobody_takes_up_are_announced_again(
    watch: PostgresWatch, writer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "REMIND", 0.2)
    await until(watch, lambda: watch.connected)
    writer.execute(WRITE)
    for _ in range(3):
        assert await watch.wait(5)


async def test_nothing_is_reported_while_nothing_happens(watch: PostgresWatch) -> None:
    await quiet(watch)
    assert not await watch.wait(0.5)


async def test_hints_come_at_once_and_without_them_it_takes_a_moment(
    watch: PostgresWatch, writer: psycopg.Connection[Any], cluster: Cluster
) -> None:
    await quiet(watch)
    assert watch.listening == watch._wants_hints
    found = []
    for _ in range(8):
        with writer.transaction():
            writer.execute(WRITE)
            writer.execute(HINT)
        began = time.monotonic()
        assert await watch.wait(5)
        found.append(time.monotonic() - began)
        await quiet(watch)  # so that the pauses have grown
    if watch.listening:
        assert statistics.median(found) < listen.FLOOR / 4, found
    assert max(found) < listen.FLOOR + 5, found


async def test_that_the_feed_grew_is_told_at_once_by_others_alone(
    using: str, writer: psycopg.Connection[Any], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this process itself has sealed or applied is no news to it."""
    for name in ("SOON", "FLOOR"):  # it looks by itself once, and not again
        monkeypatch.setattr(listen, name, 60.0)
    with closing(PostgresWatch(using, sessions=lambda: {writer.info.backend_pid})) as watch:
        await quiet(watch)
        grow = "UPDATE syncapp_instance SET head_seq = head_seq + 1 RETURNING pg_notify('syncapp_head', '')"
        writer.execute(grow)
        assert not await watch.wait(0.3)
        with _connect(cluster) as other:
            other.execute(grow)
        assert await watch.wait(20)
    writer.execute("UPDATE syncapp_instance SET head_seq = 7")


async def test_a_hint_from_this_process(watch: PostgresWatch) -> None:
    await quiet(watch)
    waiting = asyncio.create_task(watch.wait(20))
    await asyncio.sleep(0)
    watch.notify()
    assert await waiting


async def test_connections_that_are_ended_come_back(
    watch: PostgresWatch, writer: psycopg.Connection[Any]
) -> None:
    await quiet(watch)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    writer.execute(kill, (DATABASE,))
    writer.execute(WRITE)
    await until(watch, lambda: watch.connected and watch.glance("") == (True, 7, False))
    assert watch.listening == watch._wants_hints
    writer.execute(WRITE)
    assert await watch.wait(5)


async def test_waiting_costs_little(watch: PostgresWatch) -> None:
    await quiet(watch)
    before = os.times()
    assert not await watch.wait(2)
    after = os.times()
    assert (after.user + after.system) - (before.user + before.system) <= 0.06  # 3 %; in steps of 0.01 s


async def test_slow_looks_are_taken_less_often(
    using: str, writer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal's dead rows cannot be cleared away while somebody keeps an old transaction open."""
    looks = 0

    class Slow(PostgresWatch):
        def _looker(self, connection: psycopg.Connection[Any]) -> Callable[[], tuple[int | None, int]]:
            real = super()._looker(connection)

            def look() -> tuple[int | None, int]:
                nonlocal looks
                looks += 1
                time.sleep(0.05)  # what makes it slow
                return real()

            return look

    with closing(Slow(using, listen=False)) as watch:
        await until(watch, lambda: watch.connected)
        assert not await watch.wait(2.5) or looks <= 4
        assert looks <= 4


def test_closing_ends_the_thread_and_the_connection(using: str, writer: psycopg.Connection[Any]) -> None:
    watch = PostgresWatch(using)
    wait_until(lambda: watch.connected, every=0.01)
    watch.close()
    watch.close()
    assert not watch._thread.is_alive()
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    wait_until(lambda: writer.execute(others, (DATABASE,)).fetchone() == (0,), every=0.01)


async def test_a_server_that_is_not_there_yet(cluster: Cluster, writer: psycopg.Connection[Any]) -> None:
    later = "listen_later"
    cluster.drop(later)
    with alias(cluster.settings(later)) as using, closing(PostgresWatch(using)) as watch:
        assert not await watch.wait(0.3)
        assert watch.glance("") is None
        writer.close()
        _until_idle(cluster)
        cluster.create(later, template=DATABASE)
        await until(watch, lambda: watch.connected)
    cluster.drop(later)


def _until_idle(cluster: Cluster) -> None:
    """A database is copied only while nobody is connected to it."""
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = %s"
    wait_until(lambda: not cluster.execute(others, (DATABASE,)), every=0.01)


@pytest.mark.skipif(bool(pgbouncer.missing()), reason=pgbouncer.missing())
async def test_behind_a_pooler_it_looks(cluster: Cluster, writer: psycopg.Connection[Any]) -> None:
    with pgbouncer.pgbouncer(cluster) as pooler:
        settings = cluster.settings(DATABASE) | {"HOST": "127.0.0.1", "PORT": str(pooler.port)}
        with alias(settings) as using:
            watch = PostgresWatch(using)
            await quiet(watch)
            assert not watch.listening
            listeners = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            assert writer.execute(listeners).fetchone() == (0,)
            writer.execute(WRITE)
            began = time.monotonic()
            assert await watch.wait(5)
            assert time.monotonic() - began < 1
            pooler.restart()
            await until(watch, lambda: not watch.connected)
            await quiet(watch)
            writer.execute(WRITE)
            assert await watch.wait(5)
            watch.close()
