"""Messages and frames."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp.core.changes import START, Batch, Row, Section
from syncapp.core.codec import CHUNK, Decoder, Encoder, Form, Frame
from syncapp.core.messages import Bye, Changes, Message, Ping
from syncapp.errors import Malformed, TooLarge
from tests.core.messages import MESSAGES

LIMIT = 64 * 1024 * 1024


def through(frames: list[Frame], decoder: Decoder | None = None) -> list[Message]:
    decoder = decoder or Decoder(LIMIT)
    return [message for frame in frames if (message := decoder.feed(frame)) is not None]


def long_message(size: int) -> Changes:
    """A message whose packed form has about ``size`` bytes."""
    return Changes(Batch(START, START, [], [Section(1, [2], [Row(b"u" * 16, 0, [None], ["x" * size])])]))


def packed(size: int) -> Changes:
    """A message whose packed form has exactly ``size`` bytes."""
    overhead = len(msgspec.msgpack.encode(long_message(size))) - size
    return long_message(size - overhead)


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("form", Form)
def test_every_message_round_trips(name: str, form: Form) -> None:
    message = MESSAGES[name]
    frames = Encoder(form).frames(message)
    assert isinstance(frames[0], str) is (form is Form.JSON)
    back = through(frames)
    if form is Form.JSON and name == "changes":
        # JSON has no bytes: values that are uids come as base64 texts, which the field's kind tells apart.
        assert len(back) == 1
        return
    assert back == [message]


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 20 * CHUNK])
def test_long_messages_go_in_parts(size: int) -> None:
    message = packed(size)
    frames = Encoder().frames(message)
    assert len(frames) == -(-size // CHUNK)
    assert all(len(frame) <= CHUNK + 8 for frame in frames)
    assert through(frames) == [message]


def test_text_frames_stay_below_the_limit_in_bytes() -> None:
    message = Bye("x", {"text": "ы" * 400_000})
    frames = Encoder(Form.JSON).frames(message)
    assert len(frames) > 1
    assert all(len(str(frame).encode()) <= CHUNK + 40 for frame in frames)
    assert through(frames) == [message]


@given(st.data())
def test_lost_and_doubled_parts_spoil_only_their_own_message(data: st.DataObject) -> None:
    encoder = Encoder()
    spoilt, good = encoder.frames(packed(3 * CHUNK)), encoder.frames(long_message(2 * CHUNK))
    place = data.draw(st.integers(0, len(spoilt) - 1))
    hurt = data.draw(st.sampled_from(["lost", "doubled"]))
    frames = spoilt[:place] + spoilt[place + 1 :] if hurt == "lost" else spoilt[: place + 1] + spoilt[place:]
    back = through(frames + good)
    assert back[-1] == long_message(2 * CHUNK)
    assert len(back) == 1 or (hurt == "doubled" and len(back) == 2)


def test_a_message_that_overtakes_does_not_spoil_the_one_under_way() -> None:
    encoder = Encoder()
    slow, fast = encoder.frames(packed(4 * CHUNK)), encoder.frames(Bye("x", {"long": "y" * 2 * CHUNK}))
    mixed = [slow[0], fast[0], slow[1], fast[1], fast[2], slow[2], slow[3]]
    assert len(fast) == 3
    assert through(mixed) == [Bye("x", {"long": "y" * 2 * CHUNK}), packed(4 * CHUNK)]


def test_unfinished_messages_are_bounded_in_number() -> None:
    decoder, encoder = Decoder(LIMIT), Encoder()
    for _ in range(50):
        decoder.feed(encoder.frames(packed(2 * CHUNK))[0])
    assert len(decoder._open) <= 4


def test_oversize_is_refused_before_it_is_complete() -> None:
    decoder = Decoder(CHUNK)
    frames = Encoder().frames(packed(3 * CHUNK))
    decoder.feed(frames[0])
    with pytest.raises(TooLarge):
        decoder.feed(frames[1])
    assert decoder.feed(Encoder().frames(Ping(1, 2))[0]) == Ping(1, 2)
    with pytest.raises(TooLarge):
        Decoder(10).feed(b"\x00" + b"x" * 20)
    with pytest.raises(TooLarge):
        Decoder(10).feed("x" * 20)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"\x04abc",
        b"\x01\x00",
        b"\x00\xc1",
        b"\x00" + msgspec.msgpack.encode(["nonsense", 1]),
        b"\x00" + msgspec.msgpack.encode(["ping", "no number", 1]),
        b"\x00" + msgspec.msgpack.encode({"ping": 1}),
        b"\x00" + b"\x91" * 5000 + b"\xc0",
        b"\x02abc",
        "",
        "{",
        "[" * 5000,
        '["ping", 1]',
        '["open", [1, 2, 3], "", "", "", 1]',
        "part:",
        "part:x:0:1:[]",
        "part:1:0:1:\ud800",
    ],
)
def test_malformed_frames(frame: Any) -> None:
    with pytest.raises(Malformed):
        Decoder(LIMIT).feed(frame)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_garbage_never_raises_anything_else(frame: Any) -> None:
    try:
        Decoder(LIMIT).feed(frame)
    except (Malformed, TooLarge):
        pass


def test_compression_above_a_size() -> None:
    encoder = Encoder(compress=lambda data: b"z" + data, compress_above=100)
    decoder = Decoder(LIMIT, lambda data, limit: data[1:])
    short, long = encoder.frames(Ping(1, 2)), encoder.frames(long_message(500))
    assert (short[0][0], long[0][0]) == (0, 2)
    assert through(short + long, decoder) == [Ping(1, 2), long_message(500)]


def test_a_bomb_is_refused_by_the_bounded_decompressor() -> None:
    asked: list[int] = []

    def decompress(data: bytes, limit: int) -> bytes:
        asked.append(limit)
        raise ValueError("more than allowed")

    with pytest.raises(Malformed, match="more than allowed"):
        Decoder(1000, decompress).feed(b"\x02" + b"bomb")
    assert asked == [1000]


def test_unknown_trailing_elements_are_ignored() -> None:
    """A newer peer may add to a message."""
    assert Decoder(LIMIT).feed(b"\x00" + msgspec.msgpack.encode(["ping", 1, 2, 3, "new"])) == Ping(1, 2, 3)
