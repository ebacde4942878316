"""What all roads share about frames and about the end of a road."""

from __future__ import annotations

from syncapp.errors import ConnectionClosed, TooLarge

#: The name that both sides agree on in the websocket handshake: whoever does not know it is no peer.
SUBPROTOCOL = "syncapp"

#: A websocket's close frame takes 123 bytes of reason; some proxies take a few less.
MAX_REASON = 120

_STATUS = {
    1000: "without a reason",
    1001: "it is going away",
    1006: "the connection was lost",
    1009: "a message was too big",
    1011: "an error inside it",
    1012: "it is restarting",
}


def frame_size(frame: bytes | str) -> int:
    """Bytes that a frame takes on the road."""
    if isinstance(frame, bytes) or frame.isascii():
        return len(frame)
    return len(frame.encode("utf-8", "surrogatepass"))


def check_size(frame: bytes | str, limit: int) -> None:
    """Raise `TooLarge` for a frame above ``limit``."""
    size = frame_size(frame)
    if size > limit:
        raise TooLarge(size=size, limit=limit)


def short_reason(reason: str) -> str:
    """``reason`` cut to what a close frame carries, never in the middle of a character."""
    return reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore")


def closed(reason: str = "", status: int = 1000) -> ConnectionClosed:
    """The error of a road that has ended; ``reason`` is kept as it came, beside the sentence for people."""
    text = "".join(c if c.isprintable() else "?" for c in reason)
    return ConnectionClosed(
        detail=text or _STATUS.get(status, f"code {status}"), reason=reason, status=status
    )
