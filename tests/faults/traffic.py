"""Reading recorded traffic: the websocket frames in a stream of bytes, and syncapp's messages in them."""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

from syncapp.core.codec import Decoder
from syncapp.core.messages import Message

TEXT, BINARY = 1, 2


def payloads(stream: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    """Opcode and unmasked payload of each whole websocket frame after the HTTP head (RFC 6455, 5.2)."""
    head = stream.find(b"\r\n\r\n")
    at = head + 4 if head >= 0 else len(stream)
    while at + 2 <= len(stream):
        opcode, length, masked = stream[at] & 15, stream[at + 1] & 127, stream[at + 1] >> 7
        at += 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(stream[at : at + size])
            at += size
        mask = stream[at : at + 4] if masked else b"\0\0\0\0"
        at += 4 if masked else 0
        data = stream[at : at + length]
        at += length
        if len(data) == length:
            yield opcode, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


def messages(stream: bytes | bytearray) -> list[Message]:
    """The messages of syncapp in one direction of one connection."""
    decoder = Decoder(1024 * 1024, lambda data, limit: zstandard.ZstdDecompressor().decompress(data, limit))
    found = []
    for opcode, data in payloads(stream):
        if opcode in (TEXT, BINARY):
            message = decoder.feed(data.decode() if opcode == TEXT else data)
            if message is not None:
                found.append(message)
    return found
