"""A TCP proxy that misbehaves on request: the network between two programs.

It runs in threads of the test process. What is set on it (`stall`, `cut_after`, `delay`, `hang_up`) holds for the
connections of that moment and for later ones, until it is set otherwise; `heal` puts everything right.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Way = Literal["out", "in"]  # from the client to the server, and back

#: How often a relay looks at what was set.
LOOK = 0.02
CHUNK = 16 * 1024


class Proxy:
    """Listens on `port` and relays to ``target``, a port of this machine."""

    def __init__(self, target: int) -> None:
        self.target = target
        #: Ways on which nothing is relayed: bytes wait, nothing is closed.
        self.stall: set[Way] = set()
        #: A connection is cut once it has relayed so many bytes that way.
        self.cut_after: dict[Way, int] = {}
        #: Seconds that everything spends on the way.
        self.delay = 0.0
        #: Connections are accepted and closed at once.
        self.hang_up = False
        #: Everything that was relayed, by way, of each connection that began while `recording`.
        self.recording = False
        self.seen: list[dict[Way, bytearray]] = []
        #: How many connections were accepted.
        self.accepted = 0
        #: How many were cut by ``cut_after``.
        self.cuts = 0
        self._live: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def heal(self) -> None:
        """Nothing is wrong any more; what was cut stays cut."""
        self.stall = set()
        self.cut_after = {}
        self.delay = 0.0
        self.hang_up = False

    def cut(self) -> None:
        """End all connections, hard."""
        with self._lock:
            live = list(self._live)
        for sock in live:
            _reset(sock)

    def close(self) -> None:
        self._over.set()
        self._listener.close()
        self.cut()
        self._acceptor.join(5)

    # -- relaying -------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                if not select.select([self._listener], [], [], 0.2)[0]:
                    continue
                client, _ = self._listener.accept()
            except (OSError, ValueError):
                return
            self.accepted += 1
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        if self.hang_up:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            _reset(client)
            return
        with self._lock:
            self._live |= {client, server}
        ways: tuple[tuple[Way, socket.socket, socket.socket], ...] = (
            ("out", client, server),
            ("in", server, client),
        )
        record: dict[Way, bytearray] = {"out": bytearray(), "in": bytearray()}
        if self.recording:
            self.seen.append(record)
        for way, source, target in ways:
            threading.Thread(target=self._relay, args=(way, source, target, record[way]), daemon=True).start()

    def _relay(self, way: Way, source: socket.socket, target: socket.socket, record: bytearray) -> None:
        passed = 0
        try:
            source.settimeout(None)
            while not self._over.is_set():
                if way in self.stall or not select.select([source], [], [], LOOK)[0]:
                    if way in self.stall:
                        self._over.wait(LOOK)
                    continue
                data = source.recv(CHUNK)
                if not data:
                    break
                part = self._part(way, data, passed)
                passed += len(part)
                if self.recording:
                    record += part
                target.sendall(part)
                self._cut_if_due(way, passed)
        except (OSError, ValueError):
            pass  # one end is gone, or was cut
        self._drop(source, target)

    def _part(self, way: Way, data: bytes, passed: int) -> bytes:
        """What of ``data`` still gets through."""
        if self.delay:
            time.sleep(self.delay)
        limit = self.cut_after.get(way)
        return data if limit is None else data[: max(0, limit - passed)]

    def _cut_if_due(self, way: Way, passed: int) -> None:
        limit = self.cut_after.get(way)
        if limit is not None and passed >= limit:
            self.cuts += 1
            raise OSError("cut on purpose")

    def _drop(self, *sockets: socket.socket) -> None:
        for sock in sockets:
            with self._lock:
                known = sock in self._live
                self._live.discard(sock)
            if known:
                _reset(sock)


def _reset(sock: socket.socket) -> None:
    """End a connection for both ends and wake whoever reads it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy to ``target`` for the length of a block."""
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()
