"""Daphne's memory stays flat, whoever is slow. A real process, since it is the process's memory that is measured."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed

ROOT = Path(__file__).resolve().parents[2]
TOTAL = 200 * 1024 * 1024
PIECE = b"x" * (256 * 1024)
#: The bound; without the fix both directions grow by the whole 200 MB.
GROWTH = 40 * 1024 * 1024

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")


class Process:
    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port

    def memory(self) -> int:
        """The resident memory of the process, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    async def connect(self, path: str, **options: Any) -> ClientConnection:
        options = {"max_size": None, "compression": None, "proxy": None, "ping_interval": None, **options}
        return await websocket_connect(f"ws://127.0.0.1:{self.port}/{path}/", **options)

    async def counters(self, word: str = "") -> dict[str, int]:
        connection = await self.connect("status")
        await connection.send(word or "?")
        answer: dict[str, int] = json.loads(await connection.recv())
        await connection.close()
        return answer


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        yield listener


@pytest.fixture
async def process(listening: socket.socket) -> AsyncIterator[Process]:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "daphne", "-v", "0", "--fd", str(listening.fileno())),
        "tests.web.flood_app:application",
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        pass_fds=[listening.fileno()],
    )
    found = Process(running.pid, listening.getsockname()[1])
    warm = await found.connect("echo", open_timeout=20)
    await warm.send(PIECE)
    await warm.recv()
    await warm.close()
    yield found
    running.kill()
    await running.wait()


async def test_a_client_that_stops_reading_fills_nothing(process: Process) -> None:
    before = process.memory()
    client = await process.connect("flood", max_queue=1)
    sent, stood = 0, -1
    ended = asyncio.create_task(client.wait_closed())
    while stood != sent:  # until the sender waits (or is through)
        stood = sent
        await asyncio.wait([ended], timeout=0.3)
        sent = (await process.counters())["sent"]
    assert sent < TOTAL
    assert process.memory() - before < GROWTH
    received = 0
    while received < TOTAL:  # nothing is lost for having waited
        received += len(await client.recv())
        if received % (TOTAL // 8) == 0:
            assert process.memory() - before < GROWTH
    assert received == TOTAL
    assert not ended.done()
    await client.close()


async def test_a_flood_against_a_slow_consumer_fills_nothing(process: Process) -> None:
    before = process.memory()
    client = await process.connect("slow")
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while sent < TOTAL:
            await client.send(PIECE)
            sent += len(PIECE)

    flooding = asyncio.create_task(flood())
    stood = -1
    while stood != sent:
        stood = sent
        await asyncio.wait([flooding], timeout=0.5)
    assert sent < TOTAL
    assert process.memory() - before < GROWTH
    await process.counters("go")
    await flooding
    while (await process.counters())["taken"] < TOTAL:
        pass
    assert process.memory() - before < GROWTH
    await client.close()


async def test_a_flood_of_tiny_messages_fills_nothing(process: Process) -> None:
    before = process.memory()
    client = await process.connect("slow")
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while sent < 1_000_000:
            await client.send(b"x" * 64)
            sent += 1

    flooding = asyncio.create_task(flood())
    stood = -1
    while stood != sent:
        stood = sent
        await asyncio.wait([flooding], timeout=0.5)
    assert sent < 1_000_000
    assert process.memory() - before < GROWTH
    flooding.cancel()
    client.transport.abort()


@pytest.mark.parametrize("fragments", [1, 4])
async def test_two_megabytes_close_the_connection_only(process: Process, fragments: int) -> None:
    client = await process.connect("echo")
    try:
        await client.send([b"x" * (2 * 1024 * 1024 // fragments)] * fragments)
    except ConnectionClosed:
        pass  # it was closed half-way
    with pytest.raises(ConnectionClosed, match="1009"):
        await client.recv()
    other = await process.connect("echo")
    await other.send("still there")
    assert await other.recv() == "still there"
    await other.close()


async def test_a_megabyte_passes(process: Process) -> None:
    client = await process.connect("echo")
    await client.send(b"x" * 1024 * 1024)
    assert await client.recv() == b"x" * 1024 * 1024
    await client.close()


def test_a_daphne_built_differently_is_refused(daphne_thread: Any) -> None:
    from daphne import server, ws_protocol

    from syncapp.web import backpressure

    class Changed(server.Server):  # type: ignore[misc]
        def create_application(self, protocol: Any) -> None: ...

    with pytest.raises(RuntimeError, match=r"Changed\.create_application"):
        backpressure._check(Changed, ws_protocol)


def test_installing_twice_changes_nothing(daphne_thread: Any) -> None:
    from daphne import server, ws_protocol

    from syncapp.web import backpressure

    before = (server.Server.create_application, ws_protocol.WebSocketFactory.protocol)
    backpressure.install()
    assert (server.Server.create_application, ws_protocol.WebSocketFactory.protocol) == before


def test_the_queue_reads_on_only_when_half_of_it_is_gone() -> None:
    from syncapp.web import backpressure

    calls: list[str] = []
    transport = SimpleNamespace(
        pauseProducing=lambda: calls.append("pause"), resumeProducing=lambda: calls.append("resume")
    )
    queue = backpressure.InputQueue(transport)
    half = backpressure.HIGH_BYTES // 2
    for size in (half, half, 1, 0):
        queue.put_nowait({"bytes": b"x" * size})
    assert calls == ["pause"]
    queue.get_nowait()
    assert calls == ["pause"]
    queue.get_nowait()
    assert calls == ["pause", "resume"]
    for _ in range(backpressure.HIGH_MESSAGES):
        queue.put_nowait({"text": ""})
    assert calls == ["pause", "resume", "pause"]
