"""Noticing that something was committed, by whatever process: what the engine waits for between two looks at
its journal.

A wake-up is a hint. It may come once too often, and one for several commits; it never replaces looking.

`CommitWatch` is SQLite's. The truth is ``PRAGMA data_version`` on a connection of its own, which moves with
each commit of any other connection and costs 6 µs; asking all the time would cost a few per cent of a core.
Linux tells when the write-ahead log is written, which costs nothing while nobody writes. That comes *before*
the commit can be seen (log written → flushed → index updated), so that a file event starts a short series of
looks at the data version.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

if sys.platform == "linux":
    import asyncinotify

#: Looks without a pause after a file event. Timers of an event loop have steps of a millisecond; a commit is
#: visible 0.1 to 0.3 ms after the event.
EAGER = 0.0005
#: How long a failed series of eager looks forbids the next, at first and at most; it doubles with each failure in a
#: row. On a disk whose commits take longer than such a series they would only cost.
EAGER_REST, EAGER_REST_MOST = 0.01, 2.0
#: After these pauses, in seconds, the data version is looked at when a file event led to nothing so far.
PAUSES = (0.001, 0.001, 0.002, 0.004, 0.012, 0.025)
#: The same once a commit was found: what it was not announced by belongs to another one, still to be seen.
PAUSES_AFTER = (0.003, 0.03)
#: While this process works on the database itself, looking more often would only find its own commits.
PAUSE_BUSY = 0.003
#: A transaction is committed this long after its last event, or the floor finds it.
SETTLE = 0.05
#: A database file that was replaced is noticed within this many seconds.
IDENTITY = 1.0
#: Between looks while files are watched: for what no event tells (a network file system, a lost watch).
FLOOR = 1.0
#: Between looks while nothing can be watched.
POLL = 0.006


class Wake(Protocol):
    """What the engine waits on."""

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109
        """True as soon as something may have been committed since the last call; False after ``timeout``
        seconds.

        One task at a time may wait.
        """
        ...

    def notify(self) -> None:
        """Something was committed by this very process. May be called from any thread."""
        ...

    def glance(self, sql: str) -> tuple[Any, ...] | None:
        """The first row of a quick query on the database, without waiting; None where that cannot be had."""
        ...

    def close(self) -> None: ...


class LocalWake:
    """Wakes on `notify` alone: for tests, and where a database tells by itself."""

    def __init__(self) -> None:
        self._signal = Signal()

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109
        if self._signal.take():
            return True
        await self._signal.pause(timeout)
        return self._signal.take()

    def notify(self) -> None:
        self._signal.set()

    def glance(self, sql: str) -> tuple[Any, ...] | None:
        return None

    def close(self) -> None:
        pass


class Signal:
    """A flag that ends a pause, set from any thread."""

    def __init__(self) -> None:
        self._flag = False
        self._pausing: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    def set(self) -> None:
        self._flag = True
        pausing = self._pausing
        if pausing is not None:
            loop, future = pausing
            try:
                loop.call_soon_threadsafe(_finish, future)
            except RuntimeError:
                pass  # the loop has ended, and with it whoever waited

    def take(self) -> bool:
        flag, self._flag = self._flag, False
        return flag

    async def pause(self, seconds: float, fd: int = -1) -> bool:
        """Wait for the flag, for ``fd`` to become readable, or for the time to pass. True if ``fd`` did."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        readable = False

        def on_readable() -> None:
            nonlocal readable
            readable = True
            loop.remove_reader(fd)
            _finish(future)

        self._pausing = (loop, future)
        if self._flag:  # set since it was last taken, perhaps by a thread just now
            _finish(future)
        timer = loop.call_later(seconds, _finish, future)
        if fd >= 0:
            loop.add_reader(fd, on_readable)
        try:
            await future
        finally:
            timer.cancel()
            self._pausing = None
            if fd >= 0 and not readable:
                loop.remove_reader(fd)
        return readable


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class CommitWatch:
    """Wakes when another connection commits to the SQLite database at ``path``, in this or any process.

    ``watch_files=False`` polls only, as it does by itself where files cannot be watched. Deleting and
    replacing the database or its log is noticed and counts as a commit. Counts from when it was made.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        watch_files: bool = True,
        poll: float = POLL,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clock = clock
        self._poll = poll
        self._busy = busy
        self._signal = Signal()
        self._version = _DataVersion(Path(path))
        self._files = _FileEvents(Path(path)) if watch_files and sys.platform == "linux" else None
        self._last_event = -SETTLE
        self._eager_until = 0.0
        self._eager_from = 0.0
        self._eager_rest = EAGER_REST
        self._step = 0
        self._pauses: tuple[float, ...] = PAUSES

    @property
    def watching(self) -> bool:
        """Whether file events come in; else it polls."""
        return self._files is not None and self._files.fd >= 0

    def notify(self) -> None:
        self._signal.set()

    def glance(self, sql: str) -> tuple[Any, ...] | None:
        return self._version.query(sql)

    def close(self) -> None:
        self._version.close()
        if self._files is not None:
            self._files.close()

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109
        deadline = self._clock() + timeout
        while True:
            now = self._clock()
            # Events first: what they belong to may become visible only after the look that follows.
            if self._files is not None and self._files.drain():
                self._on_event(now)
            if self._signal.take() or self._version.moved(now):
                if now < self._eager_until:
                    self._eager_from, self._eager_rest = 0.0, EAGER_REST
                self._eager_until = 0.0
                self._step, self._pauses = 0, PAUSES_AFTER
                return True
            if now >= deadline:
                return False
            await self._pause(now, deadline - now)

    def _on_event(self, now: float) -> None:
        self._last_event = now
        self._step, self._pauses = 0, PAUSES
        # While this process itself works on the database the event is most likely its own, and spinning would only
        # take the interpreter away from that work.
        if now >= self._eager_from and not self._busy():
            self._eager_until = now + EAGER
            self._eager_from = self._eager_until + self._eager_rest
            self._eager_rest = min(2 * self._eager_rest, EAGER_REST_MOST)

    async def _pause(self, now: float, remaining: float) -> None:
        if now < self._eager_until:
            await asyncio.sleep(0)
            return
        if not self.watching:
            await self._signal.pause(min(self._poll, remaining))
            return
        assert self._files is not None
        settling = now - self._last_event < SETTLE
        # The first pause after an event looks at no further ones: a writer that never stops must not keep us
        # busy.
        deaf = settling and self._step == 0
        seconds = self._pauses[min(self._step, len(self._pauses) - 1)] if settling else FLOOR
        if settling and self._busy():
            seconds = max(seconds, PAUSE_BUSY)
        self._step += 1
        await self._signal.pause(min(seconds, remaining), -1 if deaf else self._files.fd)


class _DataVersion:
    """``PRAGMA data_version`` of a database that may not be there yet, may be replaced, may be busy."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._seen: int | None = None
        self._identify_at = 0.0
        self._reopen()
        self._seen = self._read()

    def query(self, sql: str) -> tuple[Any, ...] | None:
        """The first row of a statement, read without waiting; None while that is not possible."""
        if self._connection is None:
            return None
        try:
            row: tuple[Any, ...] | None = self._connection.execute(sql).fetchone()
        except sqlite3.Error:
            return None
        return row

    def moved(self, now: float) -> bool:
        """Whether anything was committed since the last call. ``now``: seconds, for looking at the file itself."""
        if (self._connection is None or now >= self._identify_at) and self._replaced(now):
            self._reopen()
            self._seen = self._read()
            return True
        seen = self._read()
        if seen is None or seen == self._seen:
            return False
        self._seen = seen
        return True

    def _replaced(self, now: float) -> bool:
        self._identify_at = now + IDENTITY
        return self._identity() != self._file

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _reopen(self) -> None:
        self.close()
        self._file = self._identity()
        if self._file is not None:
            # "rw", never creating: a database is made by whoever migrates it.
            uri = f"{self._path.resolve().as_uri()}?mode=rw"
            try:
                self._connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)
            except sqlite3.Error:
                self._file = None  # tried again at the next look

    def _read(self) -> int | None:
        if self._connection is None:
            return None
        try:
            row = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return None  # locked for a moment, or being replaced
        return int(row[0])


class _FileEvents:
    """Writes to the database's log, as inotify tells. It watches the folder: files come and go, a folder
    stays.
    """

    _HEADER = struct.Struct("iIII")  # inotify_event: watch, mask, cookie, length of the name

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._log = os.fsencode(path.name + "-wal")
        # Without a write-ahead log a commit writes the file itself. With one, that is a checkpoint: no news.
        self._others = {os.fsencode(path.name), os.fsencode(path.name + "-journal")}
        self._wal_path = path.with_name(path.name + "-wal")
        self._inotify: Any = None
        self.fd = -1
        self._open()

    def drain(self) -> bool:
        """Take the events that are there; whether any of them may announce a commit."""
        if self.fd < 0:
            self._open()
            return self.fd >= 0
        news = False
        try:
            while data := os.read(self.fd, 65536):
                news = self._news(data) or news
                if self.fd < 0 or len(data) < 32768:
                    break
        except BlockingIOError:
            pass
        return news

    def _news(self, data: bytes) -> bool:
        news = False
        for mask, name in self._events(data):
            if mask & (asyncinotify.Mask.IGNORED | asyncinotify.Mask.MOVE_SELF):
                self.close()  # the folder went away; opened again when there is one
                return True
            if mask & asyncinotify.Mask.Q_OVERFLOW or name == self._log:
                news = True
            elif name in self._others:
                news = news or not self._wal_path.exists()
        return news

    def _events(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        offset = 0
        while offset < len(data):
            _, mask, _, length = self._HEADER.unpack_from(data, offset)
            offset += self._HEADER.size
            yield mask, data[offset : offset + length].rstrip(b"\0")
            offset += length

    def _open(self) -> None:
        mask = asyncinotify.Mask
        inotify = None
        try:
            inotify = asyncinotify.Inotify()
            inotify.add_watch(
                self._folder,
                mask.MODIFY | mask.CREATE | mask.DELETE | mask.MOVED_TO | mask.MOVE_SELF | mask.ONLYDIR,
            )
        except OSError:
            # No folder yet, or the system's number of watches is used up: polling does it meanwhile.
            if inotify is not None:
                inotify.close()
            return
        self._inotify = inotify
        self.fd = inotify.fd
        os.set_blocking(self.fd, False)

    def close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self.fd = -1
