"""Which pages may open the panel's socket."""

from __future__ import annotations

from typing import Any

import pytest

from syncapp.web.origin import SameOrigin, allowed


@pytest.fixture(autouse=True)
def _site(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["crm.example.com", "127.0.0.1", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://public.example.com", "https://*.partner.example:8443"]


def scope(origin: str | None, host: str = "crm.example.com:8000", **headers: str) -> dict[str, Any]:
    sent = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if origin is not None:
        sent["Origin"] = origin
    return {"type": "websocket", "headers": [(k.encode(), v.encode("latin1")) for k, v in sent.items()]}


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://crm.example.com:8000", "crm.example.com:8000"),
        ("HTTP://CRM.example.com:8000", "crm.example.com:8000"),
        ("http://crm.example.com", "crm.example.com"),
        ("http://crm.example.com:80", "crm.example.com"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("https://public.example.com", "crm.example.com:8000"),
        ("https://a.partner.example:8443", "crm.example.com:8000"),
    ],
)
def test_let_in(origin: str, host: str) -> None:
    assert allowed(scope(origin, host))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "crm.example.com:8000"),
        ("", "crm.example.com:8000"),
        ("null", "crm.example.com:8000"),
        ("http://crm.example.com:8001", "crm.example.com:8000"),  # another program on the same host
        ("http://crm.example.com", "crm.example.com:8000"),
        ("https://crm.example.com:8000", "crm.example.com:8000"),
        ("http://evil.example", "crm.example.com:8000"),
        ("http://crm.example.com.evil.example:8000", "crm.example.com:8000"),
        ("http://crm.example.com:8000@evil.example", "crm.example.com:8000"),
        ("http://crm.example.com:8000/path", "crm.example.com:8000"),
        ("http://crm.example.com:x", "crm.example.com:8000"),
        ("file://crm.example.com:8000", "crm.example.com:8000"),
        ("http://evil.example", "evil.example"),  # a name that the site does not go by (DNS rebinding)
        ("http://public.example.com", "crm.example.com:8000"),
        ("https://public.example.com:8443", "crm.example.com:8000"),
        ("https://a.partner.example", "crm.example.com:8000"),
        ("https://evilpartner.example:8443", "crm.example.com:8000"),
        ("http://", ""),
    ],
)
def test_turned_away(origin: str | None, host: str) -> None:
    assert not allowed(scope(origin, host))


def test_behind_a_proxy_that_does_the_encryption(settings: Any) -> None:
    origin = "https://crm.example.com"
    forwarded = scope(origin, "crm.example.com", X_Forwarded_Proto="https")
    assert not allowed(forwarded), "the header means nothing unless the site says that its proxy sets it"
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert allowed(forwarded)
    assert not allowed(scope(origin, "crm.example.com", X_Forwarded_Proto="http"))
    assert not allowed(scope(origin, "crm.example.com"))


def test_the_forwarded_host_counts_only_where_the_site_says_so(settings: Any) -> None:
    forwarded = scope("http://crm.example.com", "127.0.0.1:8000", X_Forwarded_Host="crm.example.com")
    assert not allowed(forwarded)
    settings.USE_X_FORWARDED_HOST = True
    assert allowed(forwarded)


def test_while_developing_the_own_machine_needs_no_setting(settings: Any) -> None:
    settings.ALLOWED_HOSTS = []
    assert not allowed(scope("http://localhost:8000", "localhost:8000"))
    settings.DEBUG = True
    assert allowed(scope("http://localhost:8000", "localhost:8000"))
    assert not allowed(scope("http://evil.example", "evil.example"))


async def test_the_application_behind_sees_only_what_is_let_in() -> None:
    seen: list[Any] = []
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    async def receive() -> Any:
        return {"type": coming.pop(0), "code": 1006}

    async def send(message: Any) -> None:
        sent.append(message)

    coming = ["websocket.connect", "websocket.disconnect"]
    await SameOrigin(application)(scope("http://crm.example.com:8000"), receive, send)
    await SameOrigin(application)(scope("http://evil.example"), receive, send)
    assert len(seen) == 1
    assert [message["type"] for message in sent] == ["websocket.close"]
