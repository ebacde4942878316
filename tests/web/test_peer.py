"""The peers' endpoint under a real Daphne, with the real client at the other end."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from syncapp.errors import ConnectionClosed, NotSyncapp
from syncapp.transports import websocket
from syncapp.transports.base import Channel
from syncapp.transports.websocket import connect, parse_address
from syncapp.web.peer import InboundChannel, PeerEndpoint, remote_address
from tests.transports.contract import ChannelContract, Pair, closing_error, receive


class Engine:
    """Takes a channel and holds it until it is told to let go."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[tuple[Channel, str, str]] = asyncio.Queue()
        self.let_go = asyncio.Event()
        self.error: Exception | None = None
        self.cancelled = asyncio.Event()

    async def accept(self, channel: Channel, code: str, remote: str) -> None:
        await self.taken.put((channel, code, remote))
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.error:
            raise self.error


@pytest.fixture
def engine(daphne_thread: Any) -> Engine:
    engine = Engine()
    daphne_thread.handlers["/sync/peer/"] = PeerEndpoint(lambda: engine)
    return engine


async def dial(daphne_thread: Any) -> Channel:
    return await connect(parse_address(f"http://127.0.0.1:{daphne_thread.port}"))


async def release(daphne_thread: Any, engine: Engine) -> None:
    async def let_go() -> None:
        engine.let_go.set()

    await daphne_thread.call(let_go())


class TestInbound(ChannelContract):
    @pytest.fixture
    async def ends(
        self, daphne_thread: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Pair]:
        from tests.web.daphne_thread import Across

        monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.5)
        here = await dial(daphne_thread)
        channel, _, _ = await daphne_thread.call(engine.taken.get())
        yield here, Across(daphne_thread, channel)
        await here.close()
        await release(daphne_thread, engine)


async def test_a_lost_peer_is_noticed(daphne_thread: Any, engine: Engine) -> None:
    here = await dial(daphne_thread)
    channel, _, _ = await daphne_thread.call(engine.taken.get())
    here._connection.transport.abort()  # type: ignore[attr-defined]  # as when its process is killed
    with pytest.raises(ConnectionClosed, match="the connection was lost"):
        await daphne_thread.call(receive(channel))
    with pytest.raises(ConnectionClosed):
        await daphne_thread.call(channel.send(b"x"))
    await release(daphne_thread, engine)


async def test_what_the_engine_is_told(daphne_thread: Any, engine: Engine) -> None:
    here = await dial(daphne_thread)
    _, code, remote = await daphne_thread.call(engine.taken.get())
    assert (code, remote) == ("", "127.0.0.1")
    await here.close()
    await release(daphne_thread, engine)


async def test_the_connection_ends_with_the_conversation(daphne_thread: Any, engine: Engine) -> None:
    here = await dial(daphne_thread)
    await release(daphne_thread, engine)
    await closing_error(here)


async def test_an_error_of_ours_is_logged_and_not_told(
    daphne_thread: Any, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.error = ValueError("secret detail")
    here = await dial(daphne_thread)
    with caplog.at_level(logging.ERROR, "syncapp.web.peer"):
        await release(daphne_thread, engine)
        error = await closing_error(here)
    assert "secret" not in str(error)
    assert error.params["reason"] == "error"
    assert "secret detail" in caplog.text


async def test_a_program_that_stops_says_so(daphne_thread: Any, engine: Engine) -> None:
    here = await dial(daphne_thread)
    await daphne_thread.call(engine.taken.get())

    async def stop() -> None:
        await daphne_thread.server.kill_all_applications().asFuture(daphne_thread.loop)

    stopping = asyncio.create_task(daphne_thread.call(stop()))
    assert (await closing_error(here)).params["reason"] == "stopping"
    await stopping
    assert engine.cancelled.is_set()


@pytest.mark.parametrize("subprotocols", [None, ["graphql-ws"], ["syncapp2"]])
async def test_who_does_not_speak_syncapp_is_turned_away(
    daphne_thread: Any, engine: Engine, subprotocols: Any
) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        await websocket_connect(
            f"ws://127.0.0.1:{daphne_thread.port}/sync/peer/", subprotocols=subprotocols, proxy=None
        )
    assert engine.taken.empty()


async def test_cookies_and_a_foreign_origin_make_no_difference(daphne_thread: Any, engine: Engine) -> None:
    connection = await websocket_connect(
        f"ws://127.0.0.1:{daphne_thread.port}/sync/peer/",
        subprotocols=["syncapp"],  # type: ignore[list-item]
        origin="https://elsewhere.example",  # type: ignore[arg-type]
        additional_headers={"Cookie": "sessionid=x"},
        proxy=None,
    )
    assert connection.subprotocol == "syncapp"
    await connection.close()
    await release(daphne_thread, engine)


@pytest.mark.parametrize("fragments", [1, 4])
async def test_two_megabytes_of_a_stranger_end_the_connection_and_nothing_else(
    daphne_thread: Any, engine: Engine, fragments: int
) -> None:
    connection = await websocket_connect(
        f"ws://127.0.0.1:{daphne_thread.port}/sync/peer/",
        subprotocols=["syncapp"],  # type: ignore[list-item]
        compression=None,
        proxy=None,
    )
    try:
        await connection.send([b"x" * (2 * 1024 * 1024 // fragments)] * fragments)
    except ConnectionClosedError:
        pass  # it was closed half-way
    with pytest.raises(ConnectionClosedError) as caught:
        await connection.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009
    channel, _, _ = await daphne_thread.call(engine.taken.get())
    with pytest.raises(ConnectionClosed):
        await daphne_thread.call(receive(channel))
    other = await dial(daphne_thread)
    await daphne_thread.call(engine.taken.get())
    await other.send(b"still there")
    await other.close()
    await release(daphne_thread, engine)


async def test_a_page_without_the_endpoint_is_not_a_program(daphne_thread: Any) -> None:
    async def deny(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close"})

    daphne_thread.handlers["/other/sync/peer/"] = deny
    with pytest.raises(NotSyncapp, match="HTTP 403"):
        await connect(parse_address(f"http://127.0.0.1:{daphne_thread.port}/other"))


async def test_the_code_of_the_path_reaches_the_engine() -> None:
    engine = Engine()
    engine.let_go.set()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"subprotocols": ["syncapp"], "url_route": {"kwargs": {"code": "ABC"}}, "client": ["10.1.2.3", 5]}
    await PeerEndpoint(lambda: engine)(scope, receive, send)
    assert (await engine.taken.get())[1:] == ("ABC", "10.1.2.3")
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]


def test_a_connection_through_a_unix_socket_has_no_address() -> None:
    assert remote_address({"client": None}) == "unknown"


async def test_waiting_senders_keep_their_order() -> None:
    gate = asyncio.Event()
    written: list[bytes] = []

    async def send(message: Any) -> None:
        await gate.wait()
        written.append(message["bytes"])

    async def receive() -> Any:
        raise AssertionError

    channel = InboundChannel(receive, send, "x")
    waiting = [asyncio.create_task(channel.send(b"%d" % number)) for number in range(5)]
    await asyncio.sleep(0)
    gate.set()
    waiting.append(asyncio.create_task(channel.send(b"late")))
    await asyncio.gather(*waiting)
    assert written == [b"0", b"1", b"2", b"3", b"4", b"late"]


async def test_half_a_handshake_leaves_nothing_behind(daphne_thread: Any, engine: Engine) -> None:
    with socket.create_connection(("127.0.0.1", daphne_thread.port)) as raw:
        raw.sendall(b"GET /sync/peer/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
    here = await dial(daphne_thread)
    await daphne_thread.call(engine.taken.get())
    await here.close()
    await release(daphne_thread, engine)
