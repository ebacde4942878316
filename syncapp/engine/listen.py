"""Noticing commits on PostgreSQL: a thread with a connection of its own, which listens and looks.

The truth is a query of a tenth of a millisecond: the newest journal row and the end of the feed. ``NOTIFY`` tells when
to ask it. It is a hint and no more: our triggers leave it out while another transaction is about to give one
(docs/decisions/0013), a pooler such as PgBouncer in transaction mode never passes it on, and connections break. So the
question is also asked without a hint, after pauses that grow while there is nothing new.

The thread keeps the database away from the event loop: a server that hangs must not stop the conversations.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import psycopg
from django.db import connections

from syncapp.engine.wake import Signal
from syncapp.store.sql import hints

logger = logging.getLogger(__name__)

#: The newest row that waits to be sealed, where the feed ends, and the newest save that waits for a number.
LOOK = (
    'SELECT (SELECT "id" FROM "syncapp_journal" ORDER BY "id" DESC LIMIT 1),'
    ' (SELECT "head_seq" FROM "syncapp_instance" ORDER BY "id" LIMIT 1),'
    ' (SELECT max("id") FROM "syncapp_seriesrequest")'
)
#: The pause after something was found, seconds; it doubles while nothing is. A transaction that gave no hint because
#: another one did commits a moment later.
SOON = 0.01
#: The longest pause while hints come in, and while they cannot. A look costs 0.2 ms of processor time, both ends taken
#: together: 0.1 and 0.2 % of a core.
FLOOR, FLOOR_DEAF = 0.25, 0.1
#: Looks take at most one part in so many of the time. The journal's dead rows make them slower while some old
#: transaction keeps them from being cleared away.
SHARE = 20.0
#: After a wake-up further hints are left to gather: a writer that never stops must not keep us busy.
REST = 0.002
#: What waits and is taken up by nobody is announced again this often.
REMIND = 1.0
#: Between attempts to connect: first and longest.
RETRY, RETRY_MOST = 0.2, 3.0
#: Within an event loop nobody waits longer for the thread's end.
GOODBYE = 0.5


_Seen = tuple[int | None, int, int | None]


class PostgresWatch:
    """Wakes when another connection commits something of ours to the PostgreSQL database ``using``.

    ``sessions``: of this process itself. That they have moved the feed's end is no news to it.
    """

    def __init__(
        self,
        using: str = "default",
        *,
        listen: bool = True,
        sessions: Callable[[], Collection[int]] = tuple,
    ) -> None:
        self.using = using
        #: Whether hints come in; else it polls.
        self.listening = False
        #: Whether it is connected at all.
        self.connected = False
        self._wants_hints = listen
        self._sessions = sessions
        self._signal = Signal()
        self._seen: _Seen | None = None
        self._heard = False
        self._reminded = 0.0
        self._ended = False
        self._interrupt, self._interrupted = socket.socketpair()
        self._ears = selectors.DefaultSelector()
        self._ears.register(self._interrupted, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="syncapp-listen", daemon=True)
        self._thread.start()

    # -- `wake.Wake` ----------------------------------------------------------------------------------------

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109
        if not self._signal.take():
            await self._signal.pause(timeout)
            return self._signal.take()
        return True

    def notify(self) -> None:
        self._signal.set()

    def glance(self, sql: str) -> tuple[Any, ...] | None:
        """What `GLANCE` asks for, as last seen: the event loop never asks the server itself."""
        seen = self._seen
        return None if seen is None else (seen[0] is not None, seen[1], seen[2] is not None)

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            self._interrupt.send(b"x")
            self._thread.join(GOODBYE)

    # -- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = RETRY
        while not self._ended:
            try:
                with self._connect() as connection:
                    pause = RETRY
                    self._follow(connection)
            except (psycopg.Error, OSError) as error:
                logger.debug("Waiting for commits failed (%s); connecting again", error)
            except Exception:
                # Nothing would tell the links of changes any more.
                logger.exception("Waiting for commits failed; connecting again")
            # What it saw may be long past by the time it sees again.
            self.listening, self.connected, self._seen = False, False, None
            self._rest(pause)
            pause = min(2 * pause, RETRY_MOST)
        self._ears.close()
        self._interrupt.close()
        self._interrupted.close()

    def _rest(self, seconds: float) -> None:
        """Wait, but for the end."""
        with selectors.DefaultSelector() as ears:
            ears.register(self._interrupted, selectors.EVENT_READ)
            ears.select(seconds)

    def _connect(self) -> psycopg.Connection[Any]:
        parameters = connections[self.using].get_connection_params()
        for name in ("cursor_factory", "context", "prepare_threshold"):
            parameters.pop(name, None)
        return psycopg.connect(**parameters, autocommit=True, prepare_threshold=None)

    def _follow(self, connection: psycopg.Connection[Any]) -> None:
        look = self._looker(connection)
        self._seen = look()
        self.connected = True
        self._signal.set()  # what was committed meanwhile
        fd, pause = connection.fileno(), SOON
        self._ears.register(fd, selectors.EVENT_READ)
        try:
            while self._listen(connection, fd, time.monotonic() + pause):
                began = time.monotonic()
                news = self._look(look)
                took = time.monotonic() - began
                pause = SOON if news else min(2 * pause, FLOOR if self.listening else FLOOR_DEAF)
                pause = max(pause, SHARE * took)
                if news:
                    time.sleep(REST)
        finally:
            self._ears.unregister(fd)

    def _listen(self, connection: psycopg.Connection[Any], fd: int, until: float) -> bool:
        """Wait for a hint; False when it is time to end."""
        while not self._heard:
            rest = until - time.monotonic()
            if any(key.fd == fd for key, _ in self._ears.select(max(rest, 0))):
                self._hear(connection)
            if self._ended or rest <= 0:
                break
        return not self._ended

    def _looker(self, connection: psycopg.Connection[Any]) -> Callable[[], _Seen]:
        """What looks on this connection; listens on it where that leads to anything."""
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        # A pooler gives its clients numbers of its own. Behind it each statement may run in another session, where
        # neither LISTEN nor a prepared statement would be found again.
        direct = row[0] == connection.info.backend_pid
        if direct and self._wants_hints:
            try:
                connection.add_notify_handler(self._on_notify)  # those that come with the answer to a look
                connection.execute(f"LISTEN {hints.JOURNAL}")
                connection.execute(f"LISTEN {hints.HEAD}")
                self.listening = True
            except psycopg.DatabaseError as error:
                logger.info("The database sends no notifications (%s); looking instead", error)

        def look() -> _Seen:
            found = connection.execute(LOOK, prepare=direct).fetchone()
            assert found is not None
            return found[0], found[1] or 0, found[2]

        return look

    def _on_notify(self, notify: psycopg.Notify) -> None:
        self._note(notify.channel, notify.pid)

    def _note(self, channel: str, pid: int) -> None:
        if channel == hints.JOURNAL or pid not in self._sessions():
            self._heard = True

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        """Take what came in. Raises when that is the connection's end."""
        connection.pgconn.consume_input()
        while (notify := connection.pgconn.notifies()) is not None:
            self._note(notify.relname.decode(), notify.be_pid)

    def _look(self, look: Callable[[], _Seen]) -> bool:
        """Look; whether there is news, which is then told."""
        hint, self._heard = (
            self._heard,
            False,
        )  # before: a hint that comes with the answer may say more than it
        seen, before = look(), self._seen
        self._seen = seen
        news = hint or seen != before
        now = time.monotonic()
        if news or (seen[0] is not None and now - self._reminded > REMIND):
            self._reminded = now
            self._signal.set()
        return news
