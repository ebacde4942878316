"""Bounds what Daphne keeps in memory for a websocket, in both directions, and lets close reasons through.

As it comes, Daphne reads a connection as fast as bytes arrive into a queue without an end, and takes whatever
an application sends even when the client reads nothing: either way one peer can fill the memory. `install`
puts in:

* inbound: a queue that counts. Above `HIGH_BYTES` or `HIGH_MESSAGES` the connection is no longer read, and
  TCP makes the peer wait; below half of that it is read again. While it is not read, pongs are not read
  either, so that an application which takes nothing for longer than Daphne's ping timeout loses the
  connection. That is right: it hangs.
* outbound: ``await send(…)`` waits while Twisted's own buffer is full. Closing never waits.
* the reason of a close frame, both ways (``reason`` of ``websocket.close`` and ``websocket.disconnect``), and
  a close frame for a message above the limit rather than a connection that just drops.
* an end that waits for the applications it cancels, so that they can close their connections with a reason.
  (Daphne's own goes on as soon as the first of them is gone, and fails for a connection younger than a
  second.)

Otherwise only websockets are touched. All of it leans on Daphne's insides: the versions are pinned, and
`install` refuses a Daphne that looks different. Importing `syncapp.web.routing` installs it, so that it also
holds under ``daphne project.asgi:application``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daphne.ws_protocol import WebSocketProtocol as DaphneProtocol
else:
    DaphneProtocol = object  # put behind it when installed: importing daphne's would already load Twisted

HIGH_BYTES = 1024 * 1024
HIGH_MESSAGES = 64
#: A longer message, or frame of one, closes the connection; also Daphne's default, given explicitly by
#: `serve`.
MAX_MESSAGE = 1024 * 1024

#: How long applications may take to end when the program does.
GOODBYE = 3.0

Message = MutableMapping[str, Any]


class InputQueue(asyncio.Queue[Message]):
    """Daphne's queue of what came in, which says when it is too full to read on.

    ``put_nowait`` never refuses: the bytes are here already. ``pause`` and ``resume`` are called once each.
    """

    def __init__(self, transport: Any) -> None:
        super().__init__()
        self._transport = transport
        self._bytes = 0
        self._paused = False

    # asyncio.Queue calls these two for each item and names them as the ones to override.

    def _put(self, item: Message) -> None:
        super()._put(item)
        self._bytes += _size(item)
        if not self._paused and (self._bytes > HIGH_BYTES or self.qsize() > HIGH_MESSAGES):
            self._paused = True
            self._transport.pauseProducing()

    def _get(self) -> Message:
        item = super()._get()
        self._bytes -= _size(item)
        if self._paused and self._bytes <= HIGH_BYTES // 2 and self.qsize() <= HIGH_MESSAGES // 2:
            self._paused = False
            self._transport.resumeProducing()
        return item


def _size(message: Message) -> int:
    data = message.get("bytes")
    return len(message.get("text") or "") if data is None else len(data)


def install() -> None:
    """Put it into Daphne; once, however often it is called. Raises RuntimeError when Daphne's insides have
    changed.
    """
    # Daphne's server installs the reactor as it is imported; nothing of Twisted may come before it.
    from daphne import server, ws_protocol

    if getattr(server.Server, "_syncapp_backpressure", False):
        return
    _check(server.Server, ws_protocol)
    ws_protocol.WebSocketFactory.protocol = type(
        "BoundedWebSocketProtocol", (_Bounded, ws_protocol.WebSocketProtocol), {}
    )
    server.Server.create_application = _create_application(server.Server.create_application)
    server.Server.handle_reply = _handle_reply(server.Server.handle_reply)
    server.Server.kill_all_applications = _kill_all_applications
    server.Server._syncapp_backpressure = True


def _check(server: Any, ws_protocol: Any) -> None:
    expected = {
        server.create_application: ["self", "protocol", "scope"],
        server.handle_reply: ["self", "protocol", "message"],
        server.kill_all_applications: ["self"],
        ws_protocol.WebSocketProtocol.onOpen: ["self"],
        ws_protocol.WebSocketProtocol.onClose: ["self", "wasClean", "code", "reason"],
        ws_protocol.WebSocketProtocol.handle_reply: ["self", "message"],
        ws_protocol.WebSocketProtocol.serverSend: ["self", "content", "binary"],
        ws_protocol.WebSocketProtocol.sendClose: ["self", "code", "reason"],
    }
    changed = [
        f.__qualname__ for f, names in expected.items() if list(inspect.signature(f).parameters) != names
    ]
    used = {"connections", "application", "handle_reply", "ensure_future", "Queue"}
    if not used <= set(server.create_application.__code__.co_names):
        changed.append(server.create_application.__qualname__)
    if getattr(ws_protocol.WebSocketFactory, "protocol", None) is not ws_protocol.WebSocketProtocol:
        changed.append("WebSocketFactory.protocol")
    if changed:
        raise RuntimeError(
            "This version of daphne is built differently from what syncapp's memory bounds were written for "
            f"({', '.join(changed)}). Install the version that pyproject.toml names."
        )


def _create_application(original: Any) -> Any:
    def create_application(self: Any, protocol: Any, scope: Any) -> Any:
        """Daphne's method, with an `InputQueue` for websockets (the original makes its own and can't be
        told).
        """
        if not hasattr(protocol, "wait_writable"):
            return original(self, protocol, scope)
        assert "application_instance" not in self.connections[protocol]
        queue = InputQueue(protocol.transport)
        scope.setdefault("asgi", {"version": "3.0"})
        application = self.application(
            scope=scope, receive=queue.get, send=partial(self.handle_reply, protocol)
        )
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(
            application, loop=asyncio.get_event_loop()
        )
        return queue

    return create_application


def _handle_reply(original: Any) -> Any:
    async def handle_reply(self: Any, protocol: Any, message: Message) -> None:
        if message.get("type") == "websocket.send" and hasattr(protocol, "wait_writable"):
            await protocol.wait_writable()
        await original(self, protocol, message)

    return handle_reply


def _kill_all_applications(self: Any) -> Any:
    from twisted.internet.defer import Deferred

    return Deferred.fromFuture(asyncio.ensure_future(_end(self), loop=asyncio.get_event_loop()))


async def _end(server: Any) -> None:
    found = [details.get("application_instance") for details in server.connections.values()]
    running = [task for task in found if task is not None and not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=GOODBYE)


class _Bounded(DaphneProtocol):
    """Goes in front of Daphne's websocket protocol and makes it a push producer.

    Twisted tells such a one when its write buffer is full and when it is empty again.
    """

    #: Set while the client takes what is written.
    writable: asyncio.Event
    muted: bool = False

    def connectionMade(self) -> None:  # noqa: N802
        self.writable = asyncio.Event()
        self.writable.set()
        super().connectionMade()
        # Too much data gets a close frame with 1009 rather than a bare end of the connection.
        self.failByDrop = False

    def onOpen(self) -> None:  # noqa: N802
        # The connection's HTTP side is still registered; its part ended with the upgrade.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        super().onOpen()

    def pauseProducing(self) -> None:  # noqa: N802
        self.writable.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self.writable.set()

    def stopProducing(self) -> None:  # noqa: N802
        self.writable.set()

    async def wait_writable(self) -> None:
        while not self.writable.is_set():
            await self.writable.wait()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: N802, N803
        self.writable.set()  # whoever waits finds the connection gone
        queue = getattr(self, "application_queue", None)
        muted, self.muted = self.muted, True  # daphne's own message would have no reason
        super().onClose(wasClean, code, reason)
        self.muted = muted
        if queue is not None and not muted:
            said = getattr(self, "remoteCloseReason", None)
            queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": said or ""})

    def handle_reply(self, message: Message) -> None:
        reason = message.get("reason")
        if message["type"] == "websocket.close" and reason and self.state != self.STATE_CONNECTING:
            self.sendClose(code=message.get("code") or 1000, reason=reason)
        elif message["type"] == "websocket.send" and self.state not in (
            self.STATE_CONNECTING,
            self.STATE_OPEN,
        ):
            pass  # on its way to being closed: the application hears of it by its disconnect
        elif message["type"] == "websocket.send" and not message.get("bytes") and not message.get("text"):
            # Daphne itself drops empty messages.
            self.serverSend("" if message.get("bytes") is None else b"", message.get("bytes") is not None)
        else:
            super().handle_reply(message)
