"""Database work off the event loop: a few threads, each with a store and a connection of its own.

A database that is busy or away for a while is not an error of the link: the call is tried again until it works or the
caller gives up. One that stays away is said to be so (`errors.DatabaseAway`), so that people at both ends see why
nothing moves. Any other failure is the caller's.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from syncapp import errors
from syncapp.engine.trouble import Trouble, trouble_of, words_of
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
#: Seconds between attempts while the database is away; the last one for ever.
PAUSES = (0.1, 0.3, 1.0, 2.0)
#: The same after somebody else was in the way. Two that met once must not meet again: each waits a random part more.
BUSY_PAUSES = (0.005, 0.02, 0.05, 0.1, 0.3, 1.0)
#: Who was in the way this often is worth a line in the log.
BUSY_OFTEN = 5
#: For so long a caller waits for a database that is away, seconds. A restart of a server takes less.
PATIENCE = 15.0


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
        self._absence = _Absence()

    def busy(self) -> bool:
        """Whether one of the threads is at work, or about to be."""
        return self._running > 0

    @property
    def away(self) -> bool:
        """Whether the database has been away for longer than anybody waits."""
        return self._absence.long()

    def sessions(self) -> set[int]:
        """The server's numbers of the threads' sessions, on PostgreSQL. May be called from any thread."""
        drivers: list[Any] = [connection.connection for connection in list(self._connections)]
        return {driver.info.backend_pid for driver in drivers if driver is not None and not driver.closed}

    async def run(self, work: Callable[[Store], T]) -> T:
        """The result of ``work(store)``; waits out a database that is busy or gone for a moment.

        Raises `errors.DatabaseAway` when it stays so, `errors.Stopping` once the pool is closed.
        """
        own, attempt = _Absence(), 0
        while True:
            if self._closed:
                raise errors.Stopping()
            # While it is away one caller at a time asks for it: they may be hundreds, each waiting for a time limit.
            if self._absence.ask():
                try:
                    result = await self._attempt(work)
                except Error as error:
                    self._note(error, own, attempt)
                else:
                    self._absence.end()
                    return result
            if own.long() or self._absence.long():
                raise errors.DatabaseAway()
            await asyncio.sleep(_pause(attempt, busy=own.busy))
            attempt += 1

    async def _attempt(self, work: Callable[[Store], T]) -> T:
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._work, work)
        finally:
            self._running -= 1

    def _note(self, error: Error, own: _Absence, attempt: int) -> None:
        """Remember what kind of failure it was, and say so; raises it when there is nothing to wait for."""
        trouble = trouble_of(error)
        if trouble is Trouble.NONE:
            raise error
        own.begin(busy=trouble is Trouble.BUSY)
        if trouble is Trouble.AWAY:
            first = self._absence.begin()
            level = logging.WARNING if first else logging.DEBUG
            logger.log(level, "The database is not available (%s); trying again", words_of(error))
        elif attempt % BUSY_OFTEN == BUSY_OFTEN - 1:
            logger.warning("The database is busy (%s); trying again", words_of(error))

    async def call(self, work: Callable[[], T]) -> T:
        """The result of ``work()`` in a thread with a database connection, or of pure computing."""
        return await self.run(lambda store: work())

    def _work(self, work: Callable[[Store], T]) -> T:
        local = self._local
        now = time.monotonic()
        if not hasattr(local, "store"):
            connection = _own_connection(self.using)
            connection.inc_thread_sharing()  # `close` closes it when its thread is gone
            self._connections.append(connection)
            local.store = Store(SqlBackend(self.using), run=self.process_run)
        elif now - local.used > STALE_AFTER:
            connections[self.using].close_if_unusable_or_obsolete()
        local.used = now
        try:
            return work(local.store)
        except Error as error:
            if trouble_of(error) is Trouble.AWAY and connections[self.using].vendor != "sqlite":
                connections[self.using].close()  # whatever is left of it
            else:
                connections[self.using].close_if_unusable_or_obsolete()
            raise

    def close(self) -> None:
        """Let the running units end, drop those that wait, close the connections. Not within an event loop."""
        self._closed = True
        self._executor.shutdown(wait=True, cancel_futures=True)
        while self._connections:
            self._connections.pop().close()


def _pause(attempt: int, *, busy: bool) -> float:
    pauses = BUSY_PAUSES if busy else PAUSES
    pause = pauses[min(attempt, len(pauses) - 1)]
    return pause * (1 + random.random()) if busy else pause  # noqa: S311 - no secret


class _Absence:
    """How long a database has been away, as far as one caller or all of them know."""

    def __init__(self) -> None:
        self.busy = False
        self._since: float | None = None
        self._ask_at = 0.0
        self._asked = 0

    def begin(self, *, busy: bool = False) -> bool:
        """It did not answer; True for the first time."""
        first, self.busy = self._since is None, busy
        if self._since is None:
            self._since = time.monotonic()
        return first

    def end(self) -> None:
        """It answered."""
        if self._since is not None:
            logger.info("The database is available again after %.1f s", time.monotonic() - self._since)
            self._since, self._asked = None, 0

    def long(self) -> bool:
        """Whether it has been away for longer than anybody waits."""
        return self._since is not None and time.monotonic() - self._since >= PATIENCE

    def ask(self) -> bool:
        """Whether it is the caller's turn to ask for it."""
        now = time.monotonic()
        if self._since is None:
            return True
        if now < self._ask_at:
            return False
        self._ask_at = now + PAUSES[min(self._asked, len(PAUSES) - 1)]
        self._asked += 1
        return True


def _own_connection(using: str) -> BaseDatabaseWrapper:
    """This thread's connection, past Django's pool of them.

    It would be taken out of the pool for good: what is in there is for requests, and they must not wait for us.
    """
    settings = connections[using].settings_dict
    if settings.get("OPTIONS", {}).get("pool"):
        connection: BaseDatabaseWrapper = connections.create_connection(using)
        options = {**settings["OPTIONS"], "pool": None}
        connection.settings_dict = {**settings, "OPTIONS": options, "CONN_MAX_AGE": None}
        connections[using] = connection  # of this thread alone
    return connections[using]
