"""The websocket client: against a real server of the same library, and against all that is none of ours."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import ServerConnection, serve

from syncapp.errors import (
    BadAddress,
    BadCertificate,
    ConnectionClosed,
    NotSyncapp,
    PlainTextRefused,
    SyncError,
    TransportError,
    Unreachable,
)
from syncapp.transports import websocket
from syncapp.transports.websocket import WebsocketChannel, connect, forbidden, parse_address
from tests.transports.contract import ChannelContract, Pair, receive


def port_of(server: Any) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


class TestWebsocket(ChannelContract):
    @pytest.fixture
    async def ends(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
        monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.5)
        accepted: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

        async def handler(connection: ServerConnection) -> None:
            accepted.set_result(connection)
            await connection.wait_closed()

        async with serve(
            handler, "127.0.0.1", 0, subprotocols=["syncapp"], compression=None, max_queue=4
        ) as server:
            here = await connect(parse_address(f"http://127.0.0.1:{port_of(server)}"))
            there = WebsocketChannel(await accepted, "test")  # type: ignore[arg-type]
            yield here, there
            # A peer that reads nothing answers no close frame either.
            await asyncio.gather(here.close(), there.close())


async def test_a_killed_peer_is_noticed(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(
        "import asyncio\nfrom websockets.asyncio.server import serve\n"
        "async def handler(c):\n    await c.wait_closed()\n"
        "async def main():\n"
        "    async with serve(handler, '127.0.0.1', 0, subprotocols=['syncapp']) as s:\n"
        "        print(list(s.sockets)[0].getsockname()[1], flush=True)\n        await asyncio.Future()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    channel = await connect(parse_address(f"http://127.0.0.1:{int(await process.stdout.readline())}"))
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ConnectionClosed, match="the connection was lost"):
        await receive(channel)
    with pytest.raises(ConnectionClosed):
        await channel.send(b"x")
    await channel.close()
    await process.wait()


# -- what is no program of ours -----------------------------------------------------------------------------


class Raw:
    """A TCP server that answers with fixed bytes."""

    def __init__(self, answer: bytes, *, hang: bool = False) -> None:
        self.answer = answer
        self.hang = hang
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.read(65536))
            writer.write(self.answer)
            if self.hang:
                await reader.read()
        finally:
            writer.close()


async def attempt(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    scheme: str = "http",
    **options: Any,
) -> SyncError:
    """Dial a server made of ``handler`` and give the error that comes of it."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        with pytest.raises(SyncError) as caught:
            await connect(parse_address(f"{scheme}://127.0.0.1:{port_of(server)}"), **options)
    return caught.value


def http(status: str, *headers: str, body: str = "<b>SECRET</b>") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (http("200 OK"), NotSyncapp, "HTTP 200"),
        (http("404 Not Found"), NotSyncapp, "HTTP 404"),
        (http("403 Forbidden"), NotSyncapp, "HTTP 403"),
        (http("401 Unauthorized"), NotSyncapp, "HTTP 401"),
        (
            http("302 Found", "Location: https://elsewhere.example/x"),
            NotSyncapp,
            "https://elsewhere.example/x",
        ),
        (http("301 Moved", "Location: /login/"), NotSyncapp, "points to /login/"),
        (http("307 Moved", "Location: ws://169.254.169.254/\x1b[31m"), NotSyncapp, "no HTTP"),
        (http("302 Found"), NotSyncapp, "HTTP 302"),
        (http("500 Oops"), Unreachable, "HTTP 500"),
        (http("502 Bad Gateway"), Unreachable, "HTTP 502"),
        (http("503 Service Unavailable"), Unreachable, "HTTP 503"),
        (http("429 Too Many Requests"), Unreachable, "HTTP 429"),
        (http("101 Switching Protocols", body=""), NotSyncapp, "no websocket"),
        (b"220 ftp.example.com ready\r\n", NotSyncapp, "no HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NotSyncapp, "no HTTP"),
        (b"HTTP/1.1 200 " + b"x" * 20000 + b"\r\n\r\n", NotSyncapp, "no HTTP"),
        (b"", Unreachable, "hung up"),
    ],
)
async def test_answers_of_strangers(answer: bytes, kind: type[SyncError], detail: str) -> None:
    error = await attempt(Raw(answer))
    assert type(error) is kind
    assert detail in str(error)
    assert "SECRET" not in str(error)
    assert "\x1b" not in str(error)


async def test_a_redirect_is_not_followed() -> None:
    target = Raw(http("200 OK"))
    other = await asyncio.start_server(target, "127.0.0.1", 0)
    async with other:
        where = f"http://127.0.0.1:{port_of(other)}/sync/peer/"
        error = await attempt(Raw(http("302 Found", f"Location: {where}")))
        assert where in str(error)
    assert target.requests == []


async def test_a_redirect_within_the_site_is_not_followed() -> None:
    server = Raw(http("302 Found", "Location: /sync/peer/elsewhere/"))
    assert "/sync/peer/elsewhere/" in str(await attempt(server))
    assert len(server.requests) == 1


async def test_silence_ends() -> None:
    error = await attempt(Raw(b"", hang=True), open_timeout=0.2)
    assert type(error) is Unreachable
    assert "0.2 s" in str(error)


@pytest.mark.parametrize("subprotocols", [None, ["graphql-ws"]])
async def test_a_websocket_of_something_else(subprotocols: Any) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(
        handler, "127.0.0.1", 0, subprotocols=subprotocols, select_subprotocol=lambda _c, _s: None
    ) as server:
        with pytest.raises(NotSyncapp, match="a websocket of something else"):
            await connect(parse_address(f"http://127.0.0.1:{port_of(server)}"))


async def test_a_subprotocol_that_was_not_offered() -> None:
    async with serve(
        lambda c: c.wait_closed(), "127.0.0.1", 0, subprotocols=["x"], select_subprotocol=lambda _c, _s: "x"
    ) as server:
        with pytest.raises(NotSyncapp, match="a websocket of something else"):
            await connect(parse_address(f"http://127.0.0.1:{port_of(server)}"))


async def test_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="nothing listens there"):
            await connect(parse_address(f"http://127.0.0.1:{free.getsockname()[1]}"))


async def test_an_unknown_name() -> None:
    with pytest.raises(Unreachable, match="its name is not known"):
        await connect(parse_address("https://no-such-host.invalid"))


async def test_what_is_sent_in_the_handshake() -> None:
    server = Raw(http("404 Not Found"))
    await attempt(server)
    request = server.requests[0].decode().lower()
    assert request.startswith("get /sync/peer/ http/1.1\r\n")
    assert "sec-websocket-protocol: syncapp\r\n" in request
    for header in ("sec-websocket-extensions", "cookie", "origin", "authorization"):
        assert header not in request


# -- proxies ------------------------------------------------------------------------------------------------


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Raw(http("407 Proxy"))
    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    async with server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "socks_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port_of(server)}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{port_of(server)}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert "HTTP 404" in str(await attempt(Raw(http("404 Not Found"))))
    assert proxy.requests == []


async def test_the_links_own_proxy_is_used() -> None:
    proxy = Raw(http("407 Proxy Authentication Required"))
    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    async with server:
        with pytest.raises(Unreachable, match="the proxy does not let it through"):
            await connect(
                parse_address("https://office.example.com"), proxy=f"http://127.0.0.1:{port_of(server)}"
            )
    assert proxy.requests[0].startswith(b"CONNECT office.example.com:443 ")


@pytest.mark.parametrize(
    ("address", "kind"),
    [("http://office.example.com", PlainTextRefused), ("https://169.254.169.254", BadAddress)],
)
async def test_a_proxy_is_asked_for_nothing_that_is_refused(address: str, kind: type[SyncError]) -> None:
    with pytest.raises(kind):
        await connect(parse_address(address), proxy="http://127.0.0.1:1")


@pytest.mark.parametrize("proxy", ["nonsense", "ftp://127.0.0.1:1", "socks5://127.0.0.1:1"])
async def test_a_proxy_that_cannot_be_used(proxy: str) -> None:
    with pytest.raises(TransportError):
        await connect(parse_address("https://office.example.com"), proxy=proxy)


# -- which addresses are dialled ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ip",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fd00:ec2::254",
        "100.100.100.200",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ],
)
def test_addresses_where_no_program_lives(ip: str) -> None:
    assert forbidden(ipaddress.ip_address(ip))


@pytest.mark.parametrize(
    "ip", ["127.0.0.1", "::1", "192.168.1.5", "10.0.0.1", "8.8.8.8", "fd12::1", "2001:db8::1"]
)
def test_addresses_where_programs_live(ip: str) -> None:
    assert not forbidden(ipaddress.ip_address(ip))


@pytest.mark.parametrize(
    "address",
    [
        "https://169.254.169.254/latest/meta-data",
        "https://0xa9fea9fe",
        "https://2852039166",
        "https://[::ffff:169.254.169.254]",
        "https://[fe80::1]",
        "https://0.0.0.0:8000",
        "https://0",
    ],
)
async def test_they_are_refused_however_they_are_written(address: str) -> None:
    with pytest.raises(BadAddress, match="no program can have"):
        await connect(parse_address(address), plain_text_ok=True)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *ips: str) -> None:
    async def resolve(address: Any) -> list[Any]:
        return [ipaddress.ip_address(ip) for ip in ips]

    monkeypatch.setattr(websocket, "_resolve", resolve)


async def test_a_name_that_leads_to_a_refused_address(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "169.254.169.254")
    with pytest.raises(BadAddress):
        await connect(parse_address("https://office.example.com"))


async def test_plain_text_needs_consent_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "192.0.2.7")
    with pytest.raises(PlainTextRefused, match=r"http://office\.example\.com"):
        await connect(parse_address("http://office.example.com"))


async def test_plain_text_goes_only_to_this_machine_when_a_name_means_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_to(monkeypatch, "192.0.2.7", "127.0.0.1")
    assert "HTTP 404" in str(await attempt(Raw(http("404 Not Found"))))


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")  # the server listens on the second only
    assert "HTTP 404" in str(await attempt(Raw(http("404 Not Found"))))


# -- encryption ---------------------------------------------------------------------------------------------


def certificate(
    folder: Path, *, name: str = "127.0.0.1", days: int = 30
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a self-signed certificate, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


async def dial_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext | None) -> None:
    async with serve(
        lambda c: c.wait_closed(), "127.0.0.1", 0, subprotocols=["syncapp"], ssl=server_context
    ) as server:
        channel = await connect(parse_address(f"https://127.0.0.1:{port_of(server)}"), tls=client_context)
        await channel.close()


async def test_a_trusted_certificate(tmp_path: Path) -> None:
    await dial_tls(*certificate(tmp_path))


async def test_an_untrusted_certificate(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match="self-signed"):
        await dial_tls(certificate(tmp_path)[0], None)


async def test_an_expired_certificate(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match="expired"):
        await dial_tls(*certificate(tmp_path, days=-1))


async def test_a_certificate_of_another_host(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match=r"127\.0\.0\.1"):
        await dial_tls(*certificate(tmp_path, name="office.example.com"))


async def test_no_encryption_where_it_was_expected() -> None:
    error = await attempt(Raw(http("400 Bad Request")), scheme="https")
    assert type(error) is NotSyncapp
    assert "http:// is meant" in str(error)
