"""The golden encodings of every message that `docs/protocol.md` refers to, for writers of other peers.

``python -m tests.vectors.test_vectors`` writes them anew after a deliberate change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncapp.core.codec import Decoder, Encoder, Form
from tests.core.messages import MESSAGES

VECTORS = Path(__file__).with_name("messages.json")
LIMIT = 64 * 1024 * 1024


def encoded() -> dict[str, dict[str, str]]:
    """name → its frame in MessagePack (hex) and in JSON."""
    return {
        name: {
            "msgpack": bytes(Encoder().frames(message)[0]).hex(),  # type: ignore[arg-type]
            "json": str(Encoder(Form.JSON).frames(message)[0]),
        }
        for name, message in MESSAGES.items()
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_are_encoded_as_published(name: str) -> None:
    published = json.loads(VECTORS.read_text("utf-8"))
    assert published[name] == encoded()[name]
    assert Decoder(LIMIT).feed(bytes.fromhex(published[name]["msgpack"])) == MESSAGES[name]


def test_every_message_is_published() -> None:
    assert set(json.loads(VECTORS.read_text("utf-8"))) == set(MESSAGES)


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(encoded(), indent=2, ensure_ascii=False) + "\n", "utf-8")
