"""A `Channel` within one event loop: the twin of the websocket for tests and simulations."""

from __future__ import annotations

import asyncio
from collections import deque

from syncapp.core.frames import check_size, closed, short_reason
from syncapp.transports.base import MAX_FRAME, Channel, Frame


def pair(*, limit: int = MAX_FRAME, queue: int = 16) -> tuple[Channel, Channel]:
    """Two connected ends. A frame above ``limit`` bytes is refused; ``queue`` unread frames make the sender
    wait.
    """
    one_way, other_way = _Pipe(queue), _Pipe(queue)
    return MemoryChannel(one_way, other_way, limit), MemoryChannel(other_way, one_way, limit)


class _Pipe:
    """One direction: a bounded queue with an end."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.frames: deque[Frame] = deque()
        self.ended: str | None = None  # the reason, once nothing more is taken
        self.changed = asyncio.Condition()

    async def put(self, frame: Frame) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.ended is not None or len(self.frames) < self.size)
            if self.ended is not None:
                raise closed(self.ended)
            self.frames.append(frame)
            self.changed.notify_all()

    async def get(self) -> Frame:
        async with self.changed:
            await self.changed.wait_for(lambda: self.ended is not None or bool(self.frames))
            if self.frames:
                frame = self.frames.popleft()
                self.changed.notify_all()
                return frame
            assert self.ended is not None
            raise closed(self.ended)

    async def end(self, reason: str, *, drop: bool) -> None:
        """Take no more; ``drop`` what lies unread (the reader is gone), else it is still delivered."""
        async with self.changed:
            if self.ended is None:
                self.ended = reason
            if drop:
                self.frames.clear()
            self.changed.notify_all()


class MemoryChannel:
    """One end of `pair`."""

    def __init__(self, out: _Pipe, into: _Pipe, limit: int) -> None:
        self._out = out
        self._in = into
        self._limit = limit

    @property
    def remote(self) -> str:
        return "memory"

    async def send(self, frame: Frame) -> None:
        check_size(frame, self._limit)
        await self._out.put(frame)

    async def receive(self) -> Frame:
        return await self._in.get()

    async def close(self, reason: str = "") -> None:
        reason = short_reason(reason)
        await self._out.end(reason, drop=False)
        await self._in.end(reason, drop=True)
