"""Messages ↔ frames. MessagePack in binary frames, or JSON in text frames; long messages in parts.

Binary frame: one byte of flags (1 = part, 2 = zstd), for a part then ``>IHB``: message number, index, last?; then
the payload. Text frame: the JSON of a message, or ``part:<number>:<index>:<last>:`` and a slice of it.
A part that is lost or doubled spoils its own message only; parts of different messages may alternate.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import StrEnum

import msgspec

from syncapp.core.messages import Message
from syncapp.errors import Malformed, TooLarge

CHUNK = 256 * 1024
_PART, _ZSTD = 1, 2
_HEAD = struct.Struct(">BIHB")
_TEXT_CHUNK = CHUNK // 4  # a character has at most four bytes
#: Messages that may be on their way in parts at once: changes, and a control message that overtakes them.
_OPEN_MESSAGES = 4

_packer = msgspec.msgpack.Encoder()
_unpacker: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_to_json = msgspec.json.Encoder()
_from_json: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)

Frame = bytes | str


class Form(StrEnum):
    """How messages look on the wire."""

    MSGPACK = "msgpack"
    JSON = "json"


class Encoder:
    """Turns messages into frames. ``compress`` is used for bodies above ``compress_above`` bytes, if given."""

    def __init__(
        self,
        form: Form = Form.MSGPACK,
        compress: Callable[[bytes], bytes] | None = None,
        compress_above: int = 4096,
    ) -> None:
        self.form = form
        self.compress = compress
        self._above = compress_above
        self._number = 0

    def frames(self, message: Message) -> list[Frame]:
        """The frames of ``message``, each at most `CHUNK` and a few bytes."""
        if self.form is Form.JSON:
            return self._text_frames(_to_json.encode(message).decode())
        body = _packer.encode(message)
        flags = 0
        if self.compress is not None and len(body) > self._above:
            body, flags = self.compress(body), _ZSTD
        if len(body) <= CHUNK:
            return [bytes((flags,)) + body]
        pieces = [body[i : i + CHUNK] for i in range(0, len(body), CHUNK)]
        number, last = self._next(), len(pieces) - 1
        return [_HEAD.pack(flags | _PART, number, i, i == last) + piece for i, piece in enumerate(pieces)]

    def _text_frames(self, text: str) -> list[Frame]:
        if len(text) <= _TEXT_CHUNK:
            return [text]
        pieces = [text[i : i + _TEXT_CHUNK] for i in range(0, len(text), _TEXT_CHUNK)]
        number, last = self._next(), len(pieces) - 1
        return [f"part:{number}:{i}:{int(i == last)}:{piece}" for i, piece in enumerate(pieces)]

    def _next(self) -> int:
        self._number = (self._number + 1) % 2**32
        return self._number


class Decoder:
    """Turns frames into messages; holds the parts of a few unfinished ones.

    ``max_message`` bounds a message's size, compressed and not. ``decompress(data, limit)`` must not produce more
    than ``limit`` bytes (raising ValueError instead).
    """

    def __init__(self, max_message: int, decompress: Callable[[bytes, int], bytes] | None = None) -> None:
        self.max_message = max_message
        self.decompress = decompress
        self._open: dict[int, list[bytes]] = {}  # number → parts so far

    def feed(self, frame: Frame) -> Message | None:
        """The message that ``frame`` completes, or None.

        Raises:
            Malformed: it cannot be read as a message.
            TooLarge: the message exceeds ``max_message``.
        """
        if isinstance(frame, str):
            return self._feed_text(frame)
        if not frame:
            raise Malformed(detail="empty frame")
        flags = frame[0]
        if flags & ~(_PART | _ZSTD):
            raise Malformed(detail=f"frame flags {flags}")
        if not flags & _PART:
            self._check(len(frame))
            return self._decode(frame[1:], flags)
        if len(frame) < _HEAD.size:
            raise Malformed(detail="a part without a head")
        _, number, index, last = _HEAD.unpack_from(frame)
        body = self._collect(number, index, bool(last), frame[_HEAD.size :])
        return None if body is None else self._decode(body, flags)

    def _feed_text(self, frame: str) -> Message | None:
        if not frame.startswith("part:"):
            self._check(len(frame))
            return _parse_json(frame)
        try:
            _, number, index, last, piece = frame.split(":", 4)
            body = self._collect(int(number), int(index), last == "1", piece.encode("utf-8", "surrogatepass"))
        except ValueError as error:
            raise Malformed(detail="a part without a head") from error
        return None if body is None else _parse_json(body)

    def _collect(self, number: int, index: int, last: bool, piece: bytes) -> bytes | None:
        if index == 0:
            self._open.pop(number, None)
            if len(self._open) == _OPEN_MESSAGES:
                del self._open[next(iter(self._open))]
            self._open[number] = []
        parts = self._open.get(number)
        if parts is None or index != len(parts):
            self._open.pop(number, None)
            return None  # a part was lost or doubled: its message is incomplete and will be sent again
        parts.append(piece)
        self._check(sum(map(len, parts)))
        if not last:
            return None
        del self._open[number]
        return b"".join(parts)

    def _check(self, size: int) -> None:
        if size > self.max_message:
            self._open.clear()
            raise TooLarge(size=size, limit=self.max_message)

    def _decode(self, body: bytes, flags: int) -> Message:
        if flags & _ZSTD:
            if self.decompress is None:
                raise Malformed(detail="compressed, but compression was not agreed")
            try:
                body = self.decompress(body, self.max_message)
            except ValueError as error:
                raise Malformed(detail=f"compressed data: {error}") from error
        try:
            return _unpacker.decode(body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Malformed(detail=str(error)) from error


def _parse_json(text: str | bytes) -> Message:
    try:
        return _from_json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Malformed(detail=str(error)) from error
