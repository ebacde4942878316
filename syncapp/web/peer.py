"""The passive side's endpoint: takes a peer's websocket and hands it to the engine as a `Channel`.

A plain ASGI application rather than a consumer of Channels: that would close stale database connections in a
thread at each message, which costs three quarters of the throughput; the engine closes its own by time.

Cookies and origin mean nothing here, by design. A peer is a program: it proves that it knows the link's
password before anything else is read from it, and a browser that was lured here can't.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from syncapp.core.frames import SUBPROTOCOL, check_size, closed, short_reason
from syncapp.errors import Stopping, SyncError, TransportError
from syncapp.transports.base import MAX_FRAME, Channel, Frame

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: How long a closing connection may take while the program ends.
LAST_WORDS = 2.0


class Acceptor(Protocol):
    """What the engine provides for inbound peers (`engine.supervisor.Host`)."""

    async def accept(self, channel: Channel, code: str, remote: str) -> None:
        """Drive the conversation until it is over. ``code``: the link's, as dialled; empty when none was."""
        ...


class InboundChannel:
    """An accepted websocket as a `Channel`."""

    def __init__(self, receive: Receive, send: Send, remote: str) -> None:
        self._receive = receive
        self._send = send
        self._remote = remote
        self._ended: TransportError | None = None
        self._gone = asyncio.Event()
        self._closing = False
        # Waiting senders are served in the order in which they came.
        self._turn = asyncio.Lock()

    @property
    def remote(self) -> str:
        return self._remote

    async def send(self, frame: Frame) -> None:
        check_size(frame, MAX_FRAME)
        async with self._turn:
            if self._ended is not None:
                raise self._ended
            kind = "bytes" if isinstance(frame, bytes) else "text"
            await self._send({"type": "websocket.send", kind: frame})

    async def receive(self) -> Frame:
        if self._ended is None:
            frame = await self._next()
            if frame is not None:
                return frame
        assert self._ended is not None
        raise self._ended

    async def _next(self) -> Frame | None:
        """The next frame; None when the connection has ended, on either side."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._end(closed(message.get("reason") or "", message.get("code") or 1006))
            self._gone.set()
            return None
        if self._closing:
            return None  # came in after we closed
        data = message.get("bytes")
        frame: Frame = message["text"] if data is None else data
        return frame

    def _end(self, error: TransportError) -> None:
        if self._ended is None:
            self._ended = error

    async def close(self, reason: str = "") -> None:
        if self._closing or self._ended is not None:
            return
        self._closing = True
        reason = short_reason(reason)
        self._end(closed(reason))
        await self._send({"type": "websocket.close", "code": 1000, "reason": reason})

    async def wait_gone(self) -> None:
        """After `close`: until the connection has really ended, so that the last words are out."""
        while not self._gone.is_set():
            await self._next()


class PeerEndpoint:
    """The ASGI application at ``sync/peer/[<code>/]``. ``acceptor`` gives the engine's side when it is
    needed.
    """

    def __init__(self, acceptor: Callable[[], Acceptor]) -> None:
        self._acceptor = acceptor

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        message = await receive()
        if message["type"] != "websocket.connect":
            return
        if SUBPROTOCOL not in scope.get("subprotocols", ()):
            await send({"type": "websocket.close"})  # 403: a browser, or a curious stranger
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        channel = InboundChannel(receive, send, remote_address(scope))
        code = str(scope.get("url_route", {}).get("kwargs", {}).get("code", ""))
        await self._converse(channel, code)

    async def _converse(self, channel: InboundChannel, code: str) -> None:
        try:
            await self._acceptor().accept(channel, code, channel.remote)
        except asyncio.CancelledError:
            # The program ends: say so, and let it out. Daphne waits for its applications.
            await self._last_words(channel)
            raise
        except TransportError:
            pass  # it ended, which is known to whoever drove it
        except Exception:
            logger.exception("The conversation with %s failed", channel.remote)
            await channel.close(SyncError.code)  # no more than that is a stranger's business
        finally:
            # Daphne leaves a connection open whose application has returned.
            await channel.close()

    async def _last_words(self, channel: InboundChannel) -> None:
        await channel.close(Stopping.code)
        try:
            async with asyncio.timeout(LAST_WORDS):
                await channel.wait_gone()
        except TimeoutError:
            pass


def remote_address(scope: MutableMapping[str, Any]) -> str:
    """The address that a connection came from, as a proxy told Daphne where one is trusted."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
