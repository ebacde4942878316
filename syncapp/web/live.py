"""The browser's websocket: what `store.status` shows, pushed as it changes.

Server → page, JSON: ``{type: "snapshot", now, links}`` first; then ``{type: "links", now, links, removed}``
with the links that changed; ``{type: "beat", now}`` every few seconds while the data are fresh. A page that
hears no beat shows that it lost contact.
Page → server: ``{type: "language", language}`` answers with a new snapshot.

One `Broadcaster` reads the database for all open pages of a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import msgspec
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.db import close_old_connections
from django.utils.module_loading import import_string

from syncapp.web.access import may_configure, may_view
from syncapp.web.broadcast import Broadcaster, Views, broadcaster

log = logging.getLogger(__name__)

#: Close code that tells the page to log in again.
NOT_ALLOWED = 4403
BEAT = 3.0
#: How often the user's session and permission are looked at again.
RECHECK = 10.0
#: Older data get no beats: a server that cannot read its database must not look healthy.
STALE = 5.0
MESSAGE_LIMIT = 4_096


class LiveConsumer(AsyncWebsocketConsumer):
    """One open panel."""

    beat = BEAT
    recheck = RECHECK

    async def connect(self) -> None:
        """Accept staff who may see links; others get a close code that the page understands."""
        await self.accept()
        self.rights = await self._look_up()
        if self.rights is None:
            await self.close(NOT_ALLOWED)
            return
        self.language = _language(self.scope)
        self.sent: dict[int, Any] | None = None
        self.task = asyncio.create_task(self._push())

    async def disconnect(self, code: int) -> None:
        """Stop pushing."""
        task = getattr(self, "task", None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """The page's only wish: another language."""
        try:
            message = (
                msgspec.json.decode(text_data or "", type=_Wish)
                if len(text_data or "") <= MESSAGE_LIMIT
                else None
            )
        except msgspec.DecodeError:
            return
        if (
            message is not None
            and message.type == "language"
            and message.language in dict(settings.LANGUAGES)
        ):
            self.language, self.sent = message.language, None
            broadcaster().refresh()

    # -- pushing --

    async def _push(self) -> None:
        try:
            async with broadcaster().subscribed(self) as news:
                await self._push_until_lost(news)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("a live page lost its updates")
            await self.close(1011)

    async def _push_until_lost(self, news: Broadcaster) -> None:
        loop = asyncio.get_running_loop()
        next_beat = next_check = loop.time()
        next_check += self.recheck
        seen = -1
        while True:
            if loop.time() >= next_check:
                self.rights = await self._look_up()
                if self.rights is None:
                    await self.close(NOT_ALLOWED)
                    return
                next_check = loop.time() + self.recheck
            if news.number != seen or self.sent is None:
                seen = news.number
                await self._send_changes(news.views)
            if loop.time() >= next_beat and self.sent is not None:
                if news.age() < STALE:
                    await self._say({"type": "beat", "now": _now()})
                next_beat = loop.time() + self.beat
            await news.changed(seen, min(next_beat, next_check) - loop.time())

    async def _send_changes(self, views: Views) -> None:
        view = views.get(self.language)
        if view is None:
            return  # this language is read next
        if self.sent is None:
            await self._say({"type": "snapshot", "now": _now(), "links": self._shown(list(view.values()))})
        else:
            changed = [link for number, link in view.items() if self.sent.get(number) is not link]
            removed = [number for number in self.sent if number not in view]
            if changed or removed:
                links = self._shown(changed)
                await self._say({"type": "links", "now": _now(), "links": links, "removed": removed})
        self.sent = view

    def _shown(self, links: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return links if self.rights and self.rights.configure else [{**link, "code": ""} for link in links]

    async def _say(self, message: dict[str, Any]) -> None:
        await self.send(text_data=msgspec.json.encode(message).decode())

    async def _look_up(self) -> _Rights | None:
        session = self.scope.get("session")
        key = session.session_key if session is not None else None
        return await sync_to_async(_rights, thread_sensitive=False)(key)


class _Wish(msgspec.Struct):
    type: str
    language: str = ""


class _Rights(msgspec.Struct, frozen=True):
    configure: bool


def _rights(session_key: str | None) -> _Rights | None:
    """What the session's user may do now: the log-in may have ended, the permission been taken away."""
    close_old_connections()
    try:
        if not session_key:
            return None
        store: type[SessionBase] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
        # Django's own check of session, user and password hash needs nothing of a request but its session.
        user = get_user(SimpleNamespace(session=store(session_key)))  # type: ignore[arg-type]
        return _Rights(may_configure(user)) if may_view(user) else None
    finally:
        close_old_connections()


def _language(scope: dict[str, Any]) -> str:
    """The language that the page asks for in its address (``?language=ru``), else the program's."""
    wanted = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("language", [""])[0]
    return wanted if wanted in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
