"""The application of `test_backpressure`, run by the plain ``daphne`` command in a process of its own.

``/flood/`` sends `TOTAL` bytes to whoever connects; ``/slow/`` takes nothing until ``/status/`` hears ``go``;
``/status/`` answers each message with the counters; ``/echo/`` echoes.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from syncapp.web import backpressure

# So that one can see the tests fail: what Daphne does by itself.
if not os.environ.get("WITHOUT_BACKPRESSURE"):
    backpressure.install()

TOTAL = 200 * 1024 * 1024
PIECE = 256 * 1024
counters = {"sent": 0, "taken": 0}
go = asyncio.Event()


async def application(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    await {"/flood/": flood, "/slow/": slow, "/status/": status, "/echo/": echo}[scope["path"]](receive, send)


async def flood(receive: Any, send: Any) -> None:
    for _ in range(TOTAL // PIECE):
        await send({"type": "websocket.send", "bytes": b"x" * PIECE})
        counters["sent"] += PIECE
        await asyncio.sleep(0)
    await receive()


async def slow(receive: Any, send: Any) -> None:
    await go.wait()
    while (message := await receive())["type"] == "websocket.receive":
        counters["taken"] += len(message["bytes"])


async def status(receive: Any, send: Any) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "go":
            go.set()
        await send({"type": "websocket.send", "text": json.dumps(counters)})


async def echo(receive: Any, send: Any) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
