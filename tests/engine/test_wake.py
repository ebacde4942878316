"""Commits are noticed at once, whoever makes them, and waiting costs nothing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncapp.engine import wake
from syncapp.engine.wake import CommitWatch, LocalWake

# Commits at irregular moments and prints when each commit was through (CLOCK_MONOTONIC: the same in all processes).
WRITER = """
import random, sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA synchronous=FULL")
generator = random.Random(7)
for number in range(int(sys.argv[2])):
    time.sleep(generator.uniform(0.0, 0.012))
    connection.execute("INSERT INTO t (at) VALUES (1)")
    print(time.monotonic())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make(tmp_path / "db.sqlite3")


def make(path: Path, journal: str = "WAL") -> Path:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.execute("CREATE TABLE t (number INTEGER PRIMARY KEY, at REAL)")
    connection.commit()
    connection.close()
    return path


class Writer:
    """Another connection."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=10)

    def commit(self) -> None:
        self.connection.execute("INSERT INTO t (at) VALUES (0)")


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    yield writer
    writer.connection.close()


@pytest.fixture(params=["watching", "polling"])
def watch(request: pytest.FixtureRequest, path: Path) -> Iterator[CommitWatch]:
    watch = CommitWatch(path, watch_files=request.param == "watching")
    assert watch.watching == (request.param == "watching" and sys.platform == "linux")
    yield watch
    watch.close()


async def until(watch: CommitWatch, condition: Callable[[], bool]) -> None:
    """Wait on ``watch`` until ``condition`` holds."""
    async with asyncio.timeout(10):
        while not condition():
            await watch.wait(1)


async def quiet(watch: CommitWatch) -> None:
    """Until nothing is left to notice."""
    while await watch.wait(0.1):
        pass


async def latencies(watch: CommitWatch, path: Path, count: int) -> list[float]:
    """Seconds between each commit of a second process and the wake-up after which it could be read, in order."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, path, str(count), stdout=asyncio.subprocess.PIPE
    )
    reader = sqlite3.connect(path, isolation_level=None)
    seen: list[float] = []
    async with asyncio.timeout(60):
        while len(seen) < count:
            await watch.wait(5)
            now = time.monotonic()
            (there,) = reader.execute("SELECT count(*) FROM t").fetchone()
            seen += [now] * (there - len(seen))
    reader.close()
    printed, _ = await process.communicate()
    return sorted(at - float(line) for at, line in zip(seen, printed.split(), strict=True))


async def test_another_process(watch: CommitWatch, path: Path) -> None:
    found = await latencies(watch, path, 200)
    assert statistics.median(found) < 0.01, found
    assert found[190] < 0.1, found
    assert found[-1] < 0.5, found  # a commit that was missed would be found by the floor, after a second


async def test_another_process_without_a_write_ahead_log(tmp_path: Path) -> None:
    path = make(tmp_path / "old.sqlite3", journal="DELETE")
    watch = CommitWatch(path)
    found = await latencies(watch, path, 50)
    assert statistics.median(found) < 0.05, found
    assert found[-1] < 1.5, found  # the floor, where a lock stood in the way
    watch.close()


async def test_nothing_is_reported_while_nothing_happens(watch: CommitWatch) -> None:
    assert not await watch.wait(0.1)


async def test_a_commit_before_the_wait_counts(watch: CommitWatch, writer: Writer) -> None:
    writer.commit()
    assert await watch.wait(5)
    await quiet(watch)
    assert not await watch.wait(0)


async def test_one_wake_up_may_stand_for_many(watch: CommitWatch, writer: Writer) -> None:
    for _ in range(10):
        writer.commit()
    assert await watch.wait(5)
    assert not await watch.wait(0.1)


async def test_an_open_transaction_is_no_commit(watch: CommitWatch, writer: Writer) -> None:
    writer.connection.execute("PRAGMA cache_size=10")
    writer.connection.execute("BEGIN")
    writer.connection.executemany("INSERT INTO t (at) VALUES (?)", [(0,)] * 20_000)  # spills into the log
    assert not await watch.wait(0.1)
    writer.connection.execute("COMMIT")
    assert await watch.wait(5)


async def test_a_rollback_is_no_commit(watch: CommitWatch, writer: Writer) -> None:
    writer.connection.execute("BEGIN")
    writer.commit()
    writer.connection.execute("ROLLBACK")
    assert not await watch.wait(0.1)


async def test_the_log_is_deleted_and_made_anew(watch: CommitWatch, path: Path, writer: Writer) -> None:
    writer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await quiet(watch)
    writer.commit()
    assert await watch.wait(5)


async def test_the_database_is_replaced(
    watch: CommitWatch, path: Path, writer: Writer, tmp_path: Path
) -> None:
    other = make(tmp_path / "restored.sqlite3")
    writer.connection.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    other.replace(path)
    assert await watch.wait(5)
    await quiet(watch)
    again = Writer(path)
    again.commit()
    assert await watch.wait(5)
    again.connection.close()


async def test_the_database_appears_later(tmp_path: Path) -> None:
    path = tmp_path / "later" / "db.sqlite3"
    watch = CommitWatch(path)
    assert not await watch.wait(0.02)
    path.parent.mkdir()
    make(path)
    assert await watch.wait(5)
    await until(watch, lambda: watch.watching or sys.platform != "linux")
    await quiet(watch)
    writer = Writer(path)
    writer.commit()
    assert await watch.wait(5)
    writer.connection.close()
    watch.close()


async def test_the_folder_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder / "db.sqlite3")
    watch = CommitWatch(folder / "db.sqlite3")
    folder.rename(tmp_path / "old")
    folder.mkdir()
    make(folder / "db.sqlite3")
    assert await watch.wait(5)
    await quiet(watch)
    writer = Writer(folder / "db.sqlite3")
    writer.commit()
    assert await watch.wait(5)
    writer.connection.close()
    watch.close()


async def test_no_watches_left_means_polling(
    path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoInotify:
        Mask = getattr(wake, "asyncinotify", None) and wake.asyncinotify.Mask

        @staticmethod
        def Inotify() -> None:  # noqa: N802
            raise OSError(24, "Too many open files")

    monkeypatch.setattr(wake, "asyncinotify", NoInotify, raising=False)
    watch = CommitWatch(path)
    assert not watch.watching
    writer.commit()
    assert await watch.wait(5)
    watch.close()


@pytest.mark.parametrize("watch_files", [True, False])
async def test_a_locked_database_is_looked_at_again(tmp_path: Path, watch_files: bool) -> None:
    path = make(tmp_path / "old.sqlite3", journal="DELETE")  # where a writer keeps readers out
    watch, writer = CommitWatch(path, watch_files=watch_files), Writer(path)
    writer.connection.execute("BEGIN EXCLUSIVE")
    assert not await watch.wait(0.05)
    writer.commit()
    writer.connection.execute("COMMIT")
    assert await watch.wait(5)
    writer.connection.close()
    watch.close()


async def cpu_of(waiting: float, watch: CommitWatch) -> float:
    before = os.times()
    assert not await watch.wait(waiting)
    after = os.times()
    return (after.user + after.system) - (before.user + before.system)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of writes")
async def test_waiting_costs_nothing(path: Path) -> None:
    watch = CommitWatch(path)
    assert await cpu_of(2, watch) <= 0.02  # 1 %; the clock ticks in steps of 0.01 s
    watch.close()


async def test_polling_costs_little(path: Path) -> None:
    watch = CommitWatch(path, watch_files=False)
    assert await cpu_of(2, watch) <= 0.2
    watch.close()


# -- hints from this process --------------------------------------------------------------------------------


@pytest.fixture(params=["local", "watching", "polling"])
def hinted(request: pytest.FixtureRequest, path: Path) -> Iterator[wake.Wake]:
    found: wake.Wake = LocalWake()
    if request.param != "local":
        found = CommitWatch(path, watch_files=request.param == "watching")
    yield found
    found.close()


async def test_a_hint_before_the_wait(hinted: wake.Wake) -> None:
    hinted.notify()
    hinted.notify()
    assert await hinted.wait(5)
    assert not await hinted.wait(0.01)


async def test_a_hint_during_the_wait(hinted: wake.Wake) -> None:
    waiting = asyncio.create_task(hinted.wait(5))
    await asyncio.sleep(0)
    started = time.monotonic()
    hinted.notify()
    assert await waiting
    assert time.monotonic() - started < 0.5


async def test_hints_from_threads_are_never_lost(hinted: wake.Wake) -> None:
    done = 0

    def work() -> None:
        nonlocal done
        for _ in range(2_000):
            done += 1
            hinted.notify()

    thread = threading.Thread(target=work)
    thread.start()
    async with asyncio.timeout(20):
        while done < 2_000:
            assert await hinted.wait(5)
    thread.join()


async def test_a_hint_after_the_loop_has_ended(hinted: wake.Wake) -> None:
    waiting = asyncio.create_task(hinted.wait(5))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    hinted.notify()
    assert await hinted.wait(0)
