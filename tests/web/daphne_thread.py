"""A real Daphne in a thread of the test process, so that a test holds both ends of a connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

# First of all: it chooses Twisted's reactor.
import daphne.server

from syncapp.transports.base import Channel, Frame
from syncapp.web import backpressure

T = TypeVar("T")

backpressure.install()


class Daphne:
    """``handlers`` maps paths to ASGI applications; change it at any time. Twisted starts once in a process."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {}
        self.port = 0
        self.loop: asyncio.AbstractEventLoop = daphne.server.twisted_loop
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await self.handlers[scope["path"]](scope, receive, send)

    def _run(self) -> None:
        self.server = daphne.server.Server(
            self._application,
            endpoints=["tcp:0:interface=127.0.0.1"],
            signal_handlers=False,
            ready_callable=self._on_ready,
        )
        self.server.run()

    def _on_ready(self) -> None:
        self.port = self.server.listening_addresses[0][1]
        self._ready.set()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        daphne.server.reactor.callFromThread(daphne.server.reactor.stop)
        self._thread.join(10)

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in Daphne's loop from the test's."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.loop))


class Across:
    """A channel that lives in Daphne's loop, used from the test's."""

    def __init__(self, daphne: Daphne, channel: Channel) -> None:
        self._daphne = daphne
        self._channel = channel

    @property
    def remote(self) -> str:
        return self._channel.remote

    async def send(self, frame: Frame) -> None:
        await self._daphne.call(self._channel.send(frame))

    async def receive(self) -> Frame:
        return await self._daphne.call(self._channel.receive())

    async def close(self, reason: str = "") -> None:
        await self._daphne.call(self._channel.close(reason))


@contextmanager
def running() -> Iterator[Daphne]:
    server = Daphne()
    server.start()
    yield server
    server.stop()
