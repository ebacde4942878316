"""Shared series of numbers in one conversation: when to look whether there is something to say; nothing is said twice.

A look is asked for whenever something may have changed: numbers were used, a save waits for one, another link brought
some. Looks follow each other at a distance, so that a busy program does not do much else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from syncapp.core.series import Grant, Report
from syncapp.store.series import Words

#: The least time between two looks, in seconds.
REST = 0.02


class NumbersTalk:
    """``look`` asks the store what there is to say; ``say`` says it."""

    def __init__(
        self, look: Callable[[], Awaitable[Words]], say: Callable[[list[Report], list[Grant]], None]
    ) -> None:
        self._look = look
        self._say = say
        self._wanted = asyncio.Event()
        self._reports: dict[int, Report] = {}
        self._grants: dict[int, Grant] = {}

    def want(self) -> None:
        """There may be something to say."""
        self._wanted.set()

    async def run(self, over: asyncio.Event) -> None:
        """Look whenever that is wanted, until it is ``over`` (and somebody wants a look once more)."""
        while True:
            await self._wanted.wait()
            if over.is_set():
                return
            self._wanted.clear()
            self.tell(await self._look())
            await asyncio.sleep(REST)

    def tell(self, words: Words, *, answer: bool = False) -> None:
        """Say what has not been said; ``answer``: the peer asked, and hears it in any case."""
        reports = [report for report in words.reports if self._reports.get(report.field) != report]
        grants = [grant for grant in words.grants if answer or self._grants.get(grant.field) != grant]
        self._reports |= {report.field: report for report in reports}
        self._grants |= {grant.field: grant for grant in grants}
        if reports or grants:
            self._say(reports, grants)
