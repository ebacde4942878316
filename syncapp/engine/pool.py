"""Database work off the event loop: a few threads, each with a store of its own.

A database that is busy or away for a while is not an error of the link: the call is tried again until it works
or the caller gives up. Any other failure is the caller's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from syncapp import errors
from syncapp.store.runs import Run
from syncapp.store.sql import SqlBackend
from syncapp.store.store import Store

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: SQLite has one writer: several threads of one process would only make each other wait in its busy handler,
#: whose shortest pause is a millisecond.
THREADS = 4
SQLITE_THREADS = 1
#: Connections unused for longer are checked before use: a server may have closed them.
STALE_AFTER = 60.0
PAUSES = (0.1, 0.3, 1.0, 2.0, 5.0)


class StorePool:
    """Runs functions of a `Store` in its threads."""

    def __init__(self, using: str = "default", threads: int | None = None) -> None:
        self.using = using
        if threads is None:
            threads = SQLITE_THREADS if connections[using].vendor == "sqlite" else THREADS
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="syncapp-store")
        self._local = threading.local()
        self.process_run = Run()
        self._running = 0
        self._connections: list[BaseDatabaseWrapper] = []
        self._closed = False

    def busy(self) -> bool:
        """Whether one of the threads is at work, or about to be."""
        return self._running > 0

    async def run(self, work: Callable[[Store], T]) -> T:
        """The result of ``work(store)``; waits out a database that is busy or gone.

        Raises `errors.Stopping` once the pool is closed.
        """
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            if self._closed:
                raise errors.Stopping()
            self._running += 1
            try:
                return await loop.run_in_executor(self._executor, self._work, work)
            except (OperationalError, InterfaceError) as error:
                logger.warning("The database is not available (%s); trying again", error)
            finally:
                self._running -= 1
            await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1

    async def call(self, work: Callable[[], T]) -> T:
        """The result of ``work()`` in a thread with a database connection, or of pure computing."""
        return await self.run(lambda store: work())

    def _work(self, work: Callable[[Store], T]) -> T:
        local = self._local
        now = time.monotonic()
        if not hasattr(local, "store"):
            local.store = Store(SqlBackend(self.using), run=self.process_run)
            connection = connections[self.using]
            connection.inc_thread_sharing()  # `close` closes it when its thread is gone
            self._connections.append(connection)
        elif now - local.used > STALE_AFTER:
            connections[self.using].close_if_unusable_or_obsolete()
        local.used = now
        try:
            return work(local.store)
        except (OperationalError, InterfaceError):
            connections[self.using].close_if_unusable_or_obsolete()
            raise

    def close(self) -> None:
        """Let the running units end, drop those that wait, close the connections. Not within an event loop."""
        self._closed = True
        self._executor.shutdown(wait=True, cancel_futures=True)
        while self._connections:
            self._connections.pop().close()
