"""Database work off the event loop: results, errors, and a database that is away for a while."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, connections

from syncapp.engine import pool as module
from syncapp.engine.pool import StorePool
from syncapp.errors import DatabaseAway, Stopping
from syncapp.store.store import Store

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pool() -> Iterator[StorePool]:
    pool = StorePool(threads=1)
    yield pool
    pool.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0,))
    monkeypatch.setattr(module, "BUSY_PAUSES", (0.0,))


class Away:
    """A database that is away for the first ``times`` calls."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.calls = error, times, 0

    def __call__(self, store: Store) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "back"


async def test_the_result_comes_from_another_thread(pool: StorePool) -> None:
    name = await pool.run(lambda store: threading.current_thread().name)
    assert name.startswith("syncapp-store")
    assert await pool.call(lambda: 6 * 7) == 42


async def test_the_store_is_one_of_this_database(pool: StorePool) -> None:
    assert await pool.run(lambda store: store.using) == "default"
    assert await pool.run(lambda store: store.backend.now()) > 0


async def test_a_thread_keeps_its_store(pool: StorePool) -> None:
    assert len({await pool.run(id) for _ in range(10)}) == 1


def test_sqlite_has_one_thread_and_others_several(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = type(connections["default"])
    monkeypatch.setattr(wrapper, "vendor", "sqlite")
    assert StorePool()._executor._max_workers == 1
    monkeypatch.setattr(wrapper, "vendor", "postgresql")
    assert StorePool()._executor._max_workers == module.THREADS
    assert StorePool(threads=2)._executor._max_workers == 2


@pytest.mark.parametrize("error", [OperationalError("server gone\n away"), InterfaceError("gone")])
async def test_a_database_that_is_away_is_waited_for(
    pool: StorePool, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, and once more when it is back."""
    work = Away(error, times=7)
    with caplog.at_level(logging.INFO, "syncapp.engine.pool"):
        assert await pool.run(work) == "back"
    assert work.calls == 8
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "gone" in caplog.messages[0]
    assert "\n" not in caplog.messages[0]


async def test_one_that_is_busy_is_tried_again_in_silence(
    pool: StorePool, caplog: pytest.LogCaptureFixture
) -> None:
    work = Away(_caused(sqlite3.SQLITE_BUSY), times=module.BUSY_OFTEN - 1)
    with caplog.at_level(logging.INFO, "syncapp.engine.pool"):
        assert await pool.run(work) == "back"
    assert caplog.records == []
    work = Away(_caused(sqlite3.SQLITE_BUSY), times=3 * module.BUSY_OFTEN)
    with caplog.at_level(logging.INFO, "syncapp.engine.pool"):
        assert await pool.run(work) == "back"
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert not pool.away


async def test_nothing_to_wait_for_is_the_callers(pool: StorePool) -> None:
    with pytest.raises(OperationalError):
        await pool.run(Away(_caused(sqlite3.SQLITE_ERROR), times=1))
    assert not pool.away


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL])
async def test_one_that_stays_away_is_said_to_be_so(
    pool: StorePool, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    work = Away(_caused(code), times=10**9)
    with pytest.raises(DatabaseAway):
        await pool.run(work)
    assert work.calls > 1
    assert pool.away == (code == sqlite3.SQLITE_FULL), "one that is busy lets others in"
    work.times = 0
    assert await pool.run(work) == "back"
    assert not pool.away


async def test_while_it_is_away_one_caller_asks_for_all(
    pool: StorePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.02,))
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    works = [Away(OperationalError("gone"), times=10**9) for _ in range(50)]
    results = await asyncio.gather(*(pool.run(work) for work in works), return_exceptions=True)
    assert {type(result) for result in results} == {DatabaseAway}
    # All of them came before it was known; then one at a time.
    assert sum(work.calls for work in works) < 2 * len(works)
    began = time.monotonic()
    with pytest.raises(DatabaseAway):
        await pool.run(works[0])
    assert time.monotonic() - began < 0.1, "it has been away for long: nobody waits again"


def _caused(code: int) -> OperationalError:
    """As Django raises what SQLite raised."""
    error, cause = OperationalError("no"), sqlite3.OperationalError("no")
    cause.sqlite_errorcode = code
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", [DatabaseError("no"), ValueError("no"), Stopping()])
async def test_any_other_failure_is_the_callers(pool: StorePool, error: Exception) -> None:
    work = Away(error, times=1)
    with pytest.raises(type(error)):
        await pool.run(work)
    assert work.calls == 1
    assert await pool.run(work) == "back"


async def test_whoever_waits_for_the_database_may_give_up(pool: StorePool) -> None:
    tried = asyncio.Event()
    loop = asyncio.get_running_loop()

    def away(store: Store) -> None:
        loop.call_soon_threadsafe(tried.set)
        raise OperationalError

    waiting = asyncio.ensure_future(pool.run(away))
    async with asyncio.timeout(10):
        await tried.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_connection_that_failed_or_rested_is_checked(
    pool: StorePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    wrapper = type(connections["default"])
    monkeypatch.setattr(wrapper, "close_if_unusable_or_obsolete", lambda self: checked.append(self.alias))
    await pool.run(lambda store: None)
    assert checked == []
    await pool.run(Away(_caused(sqlite3.SQLITE_BUSY), times=1))
    assert checked == ["default"]
    monkeypatch.setattr(module, "STALE_AFTER", -1.0)
    await pool.run(lambda store: None)
    assert checked == ["default", "default"]


async def test_closing_ends_work_and_closes_connections(pool: StorePool) -> None:
    def open_connection(store: Store) -> object:
        store.seal()
        return connections["default"]

    used = await pool.run(open_connection)
    assert used.connection is not None  # type: ignore[attr-defined]
    await asyncio.to_thread(pool.close)
    assert used.connection is None  # type: ignore[attr-defined]
    with pytest.raises(Stopping):
        await pool.run(lambda store: None)
