"""The active side's road: a websocket client that dials a passive program.

What can go wrong on the way becomes one of the errors that people are shown: `BadAddress`,
`PlainTextRefused`, `Unreachable`, `BadCertificate`, `NotSyncapp`; once connected, `ConnectionClosed`. No text
that a server sends along with a failure is passed on, except where a redirect points.

Choices that are not the library's defaults:

* No compression (the batches are compressed already, and inflating a stranger's data invites bombs).
* No proxy from the environment; a link names its proxy or has none.
* No redirects at all, not even within a site: the address of a link is the address of the site.
* Names are resolved here, each address is judged, and the socket goes to exactly the address that was judged.
* Pings keep routers and proxies on the way from forgetting the connection, but a missing pong never closes
  it: a passive side that applies a large batch reads nothing for a while (`web.backpressure`), pings
  included. Whether the peer is alive is for the session's own heartbeat to say.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    NegotiationError,
    ProxyError,
    SecurityError,
    WebSocketException,
)
from websockets.typing import Subprotocol

from syncapp import details
from syncapp.core.address import Address, parse_address
from syncapp.core.frames import SUBPROTOCOL, check_size, closed, short_reason
from syncapp.errors import (
    BadAddress,
    BadCertificate,
    NotSyncapp,
    PlainTextRefused,
    TransportError,
    Unreachable,
)
from syncapp.transports.base import MAX_FRAME, Channel, Frame

__all__ = ["Address", "WebsocketChannel", "connect", "parse_address"]

#: What is taken from a peer; what is sent stays below `MAX_FRAME`.
MAX_MESSAGE = 1024 * 1024
PING_INTERVAL = 20
#: Seconds that a goodbye may take.
CLOSE_TIMEOUT = 3.0
#: Unread frames that are kept before the connection is no longer read: a megabyte of full ones.
MAX_QUEUE = 4

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_METADATA = {ipaddress.ip_address(a) for a in ("fd00:ec2::254", "100.100.100.200", "255.255.255.255")}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class WebsocketChannel:
    """An open connection as a `Channel`."""

    def __init__(self, connection: ClientConnection, remote: str) -> None:
        self._connection = connection
        self._remote = remote
        self._closing: str | None = None

    @property
    def remote(self) -> str:
        return self._remote

    async def send(self, frame: Frame) -> None:
        check_size(frame, MAX_FRAME)
        try:
            await self._connection.send(frame)
        except ConnectionClosed as error:
            raise self._ended(error) from None

    async def receive(self) -> Frame:
        if self._closing is not None:
            # Frames that came before the close are of no use to whoever gave up.
            raise closed(self._closing)
        try:
            return await self._connection.recv()
        except ConnectionClosed as error:
            raise self._ended(error) from None

    async def close(self, reason: str = "") -> None:
        if self._closing is None:
            self._closing = short_reason(reason)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._connection.close(1000, self._closing)
        except TimeoutError:
            # The library waits without end for a peer that reads nothing to take what was sent before.
            self._connection.transport.abort()
        except (OSError, WebSocketException):
            pass  # it is gone, which is what was wanted

    def _ended(self, error: ConnectionClosed) -> TransportError:
        if self._closing is not None:
            return closed(self._closing)
        frame = error.rcvd or error.sent
        return closed(frame.reason, frame.code) if frame else closed(status=1006)


async def connect(
    address: Address,
    *,
    proxy: str | None = None,
    plain_text_ok: bool = False,
    open_timeout: float = 10,
    tls: ssl.SSLContext | None = None,
) -> Channel:
    """Dial ``address``. ``proxy``: the link's own (``http://host:port``); ``tls``: instead of the system's
    trust.

    Through a proxy the name is resolved there, so that only an address given as a number can be judged here,
    and plain text always needs consent.
    """
    try:
        async with asyncio.timeout(open_timeout):
            connection = await _open(address, proxy, plain_text_ok, tls)
    except TimeoutError:
        raise Unreachable(
            address=address.site, detail=details.NO_ANSWER, seconds=f"{open_timeout:g}"
        ) from None
    if connection.subprotocol != SUBPROTOCOL:
        await connection.close()
        raise NotSyncapp(address=address.site, detail=details.OTHER_WEBSOCKET)
    return WebsocketChannel(connection, address.site)


async def _open(
    address: Address, proxy: str | None, plain_text_ok: bool, tls: ssl.SSLContext | None
) -> ClientConnection:
    options: dict[str, Any] = {}
    if address.secure:
        options["ssl"] = tls or ssl.create_default_context()
        options["server_hostname"] = address.host
    if proxy is None:
        options["sock"] = await _dial(address, plain_text_ok)
    else:
        _judge_unresolved(address, plain_text_ok)
    try:
        return await _Connect(
            address.url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=proxy,
            user_agent_header="syncapp",
            open_timeout=None,  # the caller's covers the name and the socket too
            ping_interval=PING_INTERVAL,
            ping_timeout=None,
            close_timeout=CLOSE_TIMEOUT,
            max_size=MAX_MESSAGE,
            max_queue=MAX_QUEUE,
            **options,
        )
    except (OSError, WebSocketException, EOFError, ImportError) as error:
        raise _explain(error, address) from error


class _Connect(websocket_connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow nothing: what cannot be validated beforehand is not dialled."""
        return exc


# -- which addresses may be dialled --------------------------------------------------------------------------


async def _dial(address: Address, plain_text_ok: bool) -> socket.socket:
    """A socket connected to one of the addresses that the host's name stands for."""
    found = await _resolve(address)
    allowed = [item for item in found if not forbidden(item)]
    if not allowed:
        raise BadAddress(address=address.site, detail=details.FORBIDDEN_ADDRESS)
    if not address.secure and not plain_text_ok:
        allowed = [item for item in allowed if _plain(item).is_loopback]
        if not allowed:
            raise PlainTextRefused(address=address.site)
    failure: OSError | None = None
    for ip in allowed:
        try:
            return await _connect_socket(ip, address.port)
        except OSError as error:
            failure = failure or error
    assert failure is not None
    raise Unreachable(address=address.site, detail=_os_detail(failure)) from failure


async def _resolve(address: Address) -> list[IP]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(address=address.site, detail=details.UNKNOWN_NAME) from error
    # A zone ("%eth0") belongs to link-local addresses only; without it they are still recognised, and
    # refused.
    ips = [ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found]
    return list(dict.fromkeys(ips))


async def _connect_socket(ip: IP, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (str(ip), port))
    except BaseException:
        sock.close()
        raise
    return sock


def _judge_unresolved(address: Address, plain_text_ok: bool) -> None:
    if not address.secure and not plain_text_ok:
        raise PlainTextRefused(address=address.site)
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        return
    if forbidden(ip):
        raise BadAddress(address=address.site, detail=details.FORBIDDEN_ADDRESS)


def forbidden(ip: IP) -> bool:
    """Addresses where no peer lives but a cloud's secrets may: link-local, metadata, multicast, unset."""
    ip = _plain(ip)
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA


def _plain(ip: IP) -> IP:
    """The IPv4 address inside an IPv6 one, where there is one."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


# -- what went wrong -----------------------------------------------------------------------------------------


def _explain(error: Exception, address: Address) -> Exception:
    """The error for people that a failed handshake stands for."""
    site = address.site
    if isinstance(error, InvalidStatus):
        return _explain_status(error, site)
    if isinstance(error, ssl.SSLCertVerificationError):
        return BadCertificate(address=site, detail=error.verify_message or details.UNVERIFIED)
    if isinstance(error, ssl.SSLError):
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            return NotSyncapp(address=site, detail=details.NO_ENCRYPTION)
        return BadCertificate(
            address=site, detail=(error.reason or details.NO_SECURE_CONNECTION).replace("_", " ").lower()
        )
    if isinstance(error, ProxyError | InvalidProxy | ImportError):
        return Unreachable(address=site, detail=details.PROXY_REFUSED)
    if isinstance(error, InvalidMessage) and _hung_up(error):
        return Unreachable(address=site, detail=details.HUNG_UP)
    if isinstance(error, InvalidMessage | SecurityError):
        return NotSyncapp(address=site, detail=details.NO_HTTP)
    if isinstance(error, NegotiationError):
        return NotSyncapp(address=site, detail=details.OTHER_WEBSOCKET)
    if isinstance(error, InvalidHandshake):
        return NotSyncapp(address=site, detail=details.NO_WEBSOCKET)
    if isinstance(error, OSError):
        return Unreachable(address=site, detail=_os_detail(error))
    return Unreachable(address=site, detail=details.HUNG_UP)


def _explain_status(error: InvalidStatus, site: str) -> Exception:
    status = error.response.status_code
    if 300 <= status < 400:
        target = error.response.headers.get("Location", "")
        shown = "".join(c for c in target[:200] if c.isprintable())
        if shown:
            return NotSyncapp(address=site, detail=details.REDIRECT, target=shown)
    if status >= 500 or status in (408, 425, 429):
        # The proxy in front of a program that is just restarting answers like this.
        return Unreachable(address=site, detail=f"HTTP {status}")
    return NotSyncapp(address=site, detail=f"HTTP {status}")


def _hung_up(error: BaseException) -> bool:
    chain: Sequence[BaseException | None] = (error.__cause__, error.__context__)
    return any(isinstance(item, EOFError | ConnectionError) for item in chain)


def _os_detail(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return details.NOTHING_LISTENS
    return (error.strerror or type(error).__name__).lower()
