"""Reads the links' state for all open pages of a process, and tells them when it changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import msgspec
from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, close_old_connections
from django.utils import translation

from syncapp.engine.commits import open_wake
from syncapp.store.status import now_us, read_facts, statuses

log = logging.getLogger(__name__)

#: At most four reads a second, and never more than a fifth of the time spent reading.
GAP = 0.25
SHARE = 4.0
#: Without a hint the database is looked at this often.
FLOOR = 1.0

LinkView = dict[str, Any]
#: language → link id → what is shown of it. An unchanged link stays the same object from read to read.
Views = dict[str, dict[int, LinkView]]
Read = Callable[[Collection[str], Views], Views]


class Hints(Protocol):
    """Tells of commits in the database; `engine.wake.CommitWatch` is one."""

    async def wait(self, timeout: float) -> bool: ...  # noqa: ASYNC109

    def close(self) -> None: ...


class Page(Protocol):
    """An open page, as the broadcaster sees it."""

    language: str


class Broadcaster:
    """``views`` is what the database said last; ``number`` grows whenever there is something new in it."""

    def __init__(
        self,
        read: Read,
        watch: Callable[[], Hints | None] = lambda: None,
        gap: float = GAP,
        floor: float = FLOOR,
    ) -> None:
        self.views: Views = {}
        self.number = 0
        self._read = read
        self._watch = watch
        self._gap = gap
        self._floor = floor
        self._pages: set[Page] = set()
        self._news = asyncio.Event()
        self._wanted = asyncio.Event()
        self._read_at = float("-inf")
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def subscribed(self, page: Page) -> AsyncIterator[Broadcaster]:
        """Keep reading while ``page`` is open. The first page starts the reading, the last one ends it."""
        self._pages.add(page)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        self.refresh()
        try:
            yield self
        finally:
            self._pages.discard(page)
            if not self._pages:
                await self._stop()

    def refresh(self) -> None:
        """A page came or changed its language: read soon, and let the pages look at what there is."""
        self._wanted.set()
        self._announce()

    def age(self) -> float:
        """Seconds since the database was last read."""
        return asyncio.get_running_loop().time() - self._read_at

    async def changed(self, seen: int, within: float) -> None:
        """Wait until there is something newer than ``seen``, at most ``within`` seconds."""
        if self.number != seen:
            return
        news = self._news
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), max(within, 0))

    def _announce(self) -> None:
        self.number += 1
        self._news.set()
        self._news = asyncio.Event()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        self.views = {}
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        hints = self._watch()
        try:
            while True:
                self._wanted.clear()
                started = loop.time()
                await self._try_to_read()
                await asyncio.sleep(max(self._gap, SHARE * (loop.time() - started)))
                await self._until_wanted(hints)
        finally:
            if hints is not None:
                hints.close()

    async def _try_to_read(self) -> None:
        """Read; a failure is logged when it begins, not at each attempt."""
        try:
            await self._read_once()
            self._failing = False
        except Exception:
            if not self._failing:
                log.exception("the state of the links cannot be read; trying again until it can")
            self._failing = True

    async def _read_once(self) -> None:
        languages = {page.language for page in self._pages}
        views = await sync_to_async(self._read, thread_sensitive=False)(languages, self.views)
        self._read_at = asyncio.get_running_loop().time()
        if _differ(views, self.views):
            self.views = views
            self._announce()

    async def _until_wanted(self, hints: Hints | None) -> None:
        """Until a page asks, the database changed, or the floor is reached: whichever comes first."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._wanted.wait())]
        if hints is not None:
            waits.append(asyncio.ensure_future(hints.wait(self._floor)))
        try:
            await asyncio.wait(waits, timeout=self._floor, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def _differ(new: Views, old: Views) -> bool:
    if new.keys() != old.keys():
        return True
    return any(
        new[language].keys() != old[language].keys()
        or any(link is not old[language][number] for number, link in new[language].items())
        for language in new
    )


def read_views(languages: Collection[str], previous: Views, using: str = "default") -> Views:
    """Read the database once, render the links in each language; unchanged ones stay the same objects."""
    close_old_connections()
    try:
        facts = read_facts(using)
    finally:
        close_old_connections()
    now = now_us()
    views: Views = {}
    for language in languages:
        before = previous.get(language, {})
        with translation.override(language):
            links = [msgspec.to_builtins(status) for status in statuses(facts, now)]
        views[language] = {link["id"]: _same(link, before.get(link["id"])) for link in links}
    return views


def _same(link: LinkView, before: LinkView | None) -> LinkView:
    return before if before == link else link


_broadcasters: WeakKeyDictionary[asyncio.AbstractEventLoop, Broadcaster] = WeakKeyDictionary()


def broadcaster() -> Broadcaster:
    """The broadcaster of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _broadcasters:
        _broadcasters[loop] = Broadcaster(read_views, _commit_watch)
    return _broadcasters[loop]


def _commit_watch() -> Hints:
    return open_wake(DEFAULT_DB_ALIAS)
