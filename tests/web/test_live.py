"""The browser's websocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.sessions import SessionMiddlewareStack
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from syncapp.models import Link, LinkState
from syncapp.store.status import now_us
from syncapp.web import broadcast, live
from syncapp.web.broadcast import Broadcaster, Views
from tests import rows
from tests.web import people

pytestmark = pytest.mark.django_db(transaction=True)

in_thread = sync_to_async


def cookie(user: User | None) -> str:
    """The cookie header of a browser in which ``user`` is logged in."""
    client = people.browser(user)
    return (
        f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}" if user else ""
    )


def connected(name: str = "Head office", **state: Any) -> Link:
    now = now_us()
    defaults = {"state": "connected", "lease_until": now + 600 * rows.SECOND, "state_since": now}
    return rows.link(name, state={**defaults, **state})


class Browser:
    """One open page."""

    def __init__(self, header: str, query: str = "") -> None:
        application = SessionMiddlewareStack(live.LiveConsumer.as_asgi())
        headers = [(b"cookie", header.encode())]
        self.socket = WebsocketCommunicator(application, f"/sync/live/{query}", headers)

    async def hear(self, *types: str) -> dict[str, Any]:
        """The next message of one of these types."""
        async with asyncio.timeout(10):
            while True:
                message = json.loads(await self.socket.receive_from(timeout=10))
                if message["type"] in types:
                    return dict(message)

    async def closed(self) -> int:
        """The code with which the server closes."""
        async with asyncio.timeout(10):
            while True:
                event = await self.socket.receive_output(timeout=10)
                if event["type"] == "websocket.close":
                    return int(event["code"])


@asynccontextmanager
async def opened(user: User | None, query: str = "") -> AsyncIterator[Browser]:
    page = Browser(await in_thread(cookie)(user), query)
    assert (await page.socket.connect(timeout=10))[0]
    try:
        yield page
    finally:
        await page.socket.disconnect(timeout=10)


@pytest.mark.parametrize("who", ["stranger", "not staff", "no permission"])
async def test_only_staff_who_may_see_links(who: str) -> None:
    makers: dict[str, Callable[[], User | None]] = {
        "stranger": lambda: None,
        "not staff": lambda: people.user("eve", "view_link", staff=False),
        "no permission": lambda: people.user("eve"),
    }
    await in_thread(connected)()
    page = Browser(await in_thread(cookie)(await in_thread(makers[who])()))
    await page.socket.connect(timeout=10)
    event = await page.socket.receive_output(timeout=10)
    assert (event["type"], event["code"]) == ("websocket.close", live.NOT_ALLOWED)


async def test_snapshot_comes_first_then_a_beat() -> None:
    await in_thread(connected)()
    async with opened(await in_thread(people.viewer)()) as page:
        first = json.loads(await page.socket.receive_from(timeout=10))
        assert first["type"] == "snapshot"
        assert [(one["link"], one["state"]) for one in first["links"]] == [("Head office", "connected")]
        assert first["now"].endswith("Z")
        assert (await page.hear("beat"))["now"] >= first["now"]


async def test_only_changed_links_follow() -> None:
    await in_thread(connected)("a")
    changed = await in_thread(connected)("b")
    async with opened(await in_thread(people.viewer)()) as page:
        await page.hear("snapshot")
        await LinkState.objects.filter(link=changed).aupdate(sent=41)
        news = await page.hear("links")
        assert [(one["link"], one["sent"]) for one in news["links"]] == [("b", 41)]
        await in_thread(changed.delete)()
        assert (await page.hear("links"))["removed"] == [changed.pk or news["links"][0]["id"]]


async def test_a_passing_lease_is_news_without_any_write() -> None:
    await in_thread(connected)(lease_until=now_us() + rows.SECOND)
    async with opened(await in_thread(people.viewer)()) as page:
        assert (await page.hear("snapshot"))["links"][0]["state"] == "connected"
        assert (await page.hear("links"))["links"][0]["state"] == "offline"


async def test_codes_are_for_those_who_configure() -> None:
    await in_thread(rows.link)(mode="passive", code="SECRETCODE")
    async with (
        opened(await in_thread(people.viewer)()) as one,
        opened(await in_thread(people.keeper)()) as other,
    ):
        assert (await one.hear("snapshot"))["links"][0]["code"] == ""
        assert (await other.hear("snapshot"))["links"][0]["code"] == "SECRETCODE"


async def test_each_page_reads_in_its_language_and_may_switch() -> None:
    await in_thread(rows.link)(mode="active")
    viewer = await in_thread(people.viewer)()
    async with opened(viewer, "?language=ru") as russian, opened(viewer) as english:
        assert (await russian.hear("snapshot"))["links"][0]["state_word"] == "Ожидание первого подключения"
        assert (await english.hear("snapshot"))["links"][0]["state_word"] == "Waiting for first contact"
        await russian.socket.send_to(text_data='{"type": "language", "language": "en"}')
        assert (await russian.hear("snapshot"))["links"][0]["state_word"] == "Waiting for first contact"


@pytest.mark.parametrize("text", ["{}", "not json", '{"type": "language", "language": "xx"}', "[" * 5000])
async def test_nonsense_is_ignored(text: str) -> None:
    await in_thread(connected)()
    async with opened(await in_thread(people.viewer)()) as page:
        await page.hear("snapshot")
        await page.socket.send_to(text_data=text)
        await page.socket.send_to(bytes_data=b"\xff")
        await page.hear("beat")


async def test_logging_out_closes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.LiveConsumer, "recheck", 0.05)
    async with opened(await in_thread(people.viewer)()) as page:
        await page.hear("snapshot")
        await Session.objects.all().adelete()
        assert await page.closed() == live.NOT_ALLOWED


async def test_losing_the_permission_closes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.LiveConsumer, "recheck", 0.05)
    viewer = await in_thread(people.viewer)()
    async with opened(viewer) as page:
        await page.hear("snapshot")
        await in_thread(viewer.user_permissions.clear)()
        assert await page.closed() == live.NOT_ALLOWED


async def test_pages_share_one_reading_that_ends_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    read = broadcast.read_views

    def counting(languages: Any, previous: Views) -> Views:
        nonlocal reads
        reads += 1
        return read(languages, previous)

    shared = Broadcaster(counting, gap=0.01, floor=60)
    monkeypatch.setattr(live, "broadcaster", lambda: shared)
    viewer = await in_thread(people.viewer)()
    async with opened(viewer) as one:
        await one.hear("snapshot")
        assert reads == 1
        async with opened(viewer) as other:
            await other.hear("snapshot")
        assert reads <= 2
        assert shared._task is not None
    assert shared._task is None


async def test_an_unreadable_database_gets_no_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page must notice within seconds that what it shows is old."""
    broken = asyncio.Event()

    def failing(languages: Any, previous: Views) -> Views:
        if broken.is_set():
            raise OSError("disk gone")
        return {language: {} for language in languages}

    shared = Broadcaster(failing, gap=0.01, floor=0.02)
    monkeypatch.setattr(live, "broadcaster", lambda: shared)
    monkeypatch.setattr(live.LiveConsumer, "beat", 0.05)
    monkeypatch.setattr(live, "STALE", 0.2)
    async with opened(await in_thread(people.viewer)()) as page:
        await page.hear("beat")
        broken.set()
        for _ in range(20):
            if await page.socket.receive_nothing(timeout=0.5):
                break
            await page.socket.receive_from()
        else:
            pytest.fail("beats went on")
