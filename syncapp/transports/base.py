"""What a live transport provides: a `Channel`. An in-memory twin (`memory`) passes the same contract tests."""

from __future__ import annotations

from typing import Protocol

#: A websocket message: binary (MessagePack form) or text (JSON form).
Frame = bytes | str

#: Daphne closes at 1 MiB without a reason; chunks stay well below.
MAX_FRAME = 256 * 1024 + 1024


class Channel(Protocol):
    """A live, ordered, message-preserving road to the peer.

    Raises `errors.TransportError` subclasses only: `ConnectionClosed` once the road is gone (either way),
    `TooLarge` for a frame over the limit. `send` may wait (backpressure); returning proves nothing about delivery.
    """

    @property
    def remote(self) -> str:
        """Who is at the other end, for people: an address."""
        ...

    async def send(self, frame: Frame) -> None: ...

    async def receive(self) -> Frame:
        """The next frame; raises `ConnectionClosed` with the close reason when there is none any more."""
        ...

    async def close(self, reason: str = "") -> None:
        """Close the road; idempotent, never raises."""
        ...
