"""Lets a browser's websocket in only from pages of this very site: scheme, host and port, as Django does for
CSRF.

A websocket handshake carries the cookies of whoever was lured to a foreign page, and no CSRF token. Channels'
own validator compares host names only, so that another program on another port of the same host would pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

Application = Callable[[Any, Any, Any], Awaitable[None]]

_PORTS = {"http": 80, "https": 443}
_LOCAL = [".localhost", "127.0.0.1", "[::1]"]  # what Django allows in DEBUG without ALLOWED_HOSTS


class SameOrigin:
    """Passes a handshake on when its Origin is this site's; denies it otherwise, also when there is none."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        application = self._application if allowed(scope) else WebsocketDenier()
        await application(scope, receive, send)


def allowed(scope: Mapping[str, Any]) -> bool:
    """Whether the handshake of ``scope`` comes from a page of this site or of ``CSRF_TRUSTED_ORIGINS``."""
    headers = {name.lower(): value for name, value in scope.get("headers", ())}
    origin = _parts(headers.get(b"origin", b"").decode("latin1"))
    if origin is None:
        return False
    return origin == _own(scope, headers) or any(
        _trusts(pattern, origin) for pattern in settings.CSRF_TRUSTED_ORIGINS
    )


def _parts(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin; None for what is none (``null``, nonsense)."""
    try:
        parts = urlsplit(origin.strip().lower())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path or parts.query or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _own(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> tuple[str, str, int] | None:
    """This site as the browser asked for it; None when the Host header is not one of ours."""
    host = headers.get(b"host", b"").decode("latin1")
    if settings.USE_X_FORWARDED_HOST:
        host = headers.get(b"x-forwarded-host", host.encode("latin1")).decode("latin1")
    hosts = settings.ALLOWED_HOSTS or (_LOCAL if settings.DEBUG else [])
    if not validate_host(split_domain_port(host)[0], hosts):
        return None
    return _parts(f"{_scheme(scope, headers)}://{host}")


def _scheme(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
    if settings.SECURE_PROXY_SSL_HEADER:
        name, secure = settings.SECURE_PROXY_SSL_HEADER
        key = name.removeprefix("HTTP_").replace("_", "-").lower().encode()
        if key in headers:
            return "https" if headers[key].decode("latin1").split(",")[0].strip() == secure else "http"
    return "https" if scope.get("scheme") in ("https", "wss") else "http"


def _trusts(pattern: str, origin: tuple[str, str, int]) -> bool:
    if "*" not in pattern:
        return _parts(pattern) == origin
    wanted = _parts(pattern.replace("*", "any", 1))
    return (
        wanted is not None
        and (wanted[0], wanted[2]) == (origin[0], origin[2])
        and is_same_domain(origin[1], wanted[1].removeprefix("any"))
    )
