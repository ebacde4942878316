"""Compression between authenticated peers: whole, or an error; never more than the limit."""

from __future__ import annotations

import random
import threading

import pytest
import zstandard

from syncapp.engine.compression import compress, decompress

LIMIT = 1024 * 1024
NOISE = random.Random(7).randbytes(100_000)


@pytest.mark.parametrize("data", [b"x", b"phone" * 50_000, NOISE], ids=range(3))
def test_there_and_back(data: bytes) -> None:
    assert decompress(compress(data), LIMIT) == data


def test_it_makes_rows_of_a_table_smaller() -> None:
    assert len(compress(b"Anna Petrova, +7 495 123-45-67;" * 1000)) < 1000


def test_every_thread_has_its_own_compressor() -> None:
    made: list[bytes] = []
    threads = [threading.Thread(target=lambda: made.append(compress(b"a" * 10_000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {decompress(frame, LIMIT) for frame in made} == {b"a" * 10_000}


def test_the_limit_itself_is_allowed() -> None:
    assert len(decompress(compress(b"a" * LIMIT), LIMIT)) == LIMIT
    with pytest.raises(ValueError, match="1048577 bytes unpacked"):
        decompress(compress(b"a" * (LIMIT + 1)), LIMIT)


def test_a_bomb_that_states_its_size_is_not_unpacked() -> None:
    bomb = compress(bytes(64 * LIMIT))
    assert len(bomb) < 10_000
    with pytest.raises(ValueError, match="bytes unpacked"):
        decompress(bomb, LIMIT)


def stated(data: bytes, size: int) -> bytes:
    """A frame of ``data`` that states ``size`` (the header of RFC 8878, with eight bytes for the size)."""
    frame = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(data)
    descriptor = frame[4]
    assert descriptor & 0b1110_0011 == 0  # neither a size nor a dictionary: a window follows
    return frame[:4] + bytes([descriptor | 0b1100_0000, frame[5]]) + size.to_bytes(8, "little") + frame[6:]


def test_the_frame_of_these_tests_is_one() -> None:
    assert decompress(stated(b"a" * 100, 100), LIMIT) == b"a" * 100


@pytest.mark.parametrize("size", [0, 1, 99, 101, LIMIT])
def test_a_size_that_is_not_true(size: int) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decompress(stated(b"a" * 100, size), LIMIT)


def test_a_bomb_that_lies_about_its_size() -> None:
    with pytest.raises(ValueError, match=r".+"):
        decompress(stated(bytes(64 * LIMIT), 100), LIMIT)


@pytest.mark.parametrize("size", [LIMIT + 1, 2**40, 2**63, 2**64 - 3])
def test_a_huge_size_costs_nothing(size: int) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decompress(stated(b"a" * 100, size), LIMIT)


def test_a_frame_without_a_size() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 100)
    with pytest.raises(ValueError, match="states no size"):
        decompress(frame, LIMIT)


#: Skipped by the format: it holds no message.
SKIPPABLE = bytes.fromhex("502a4d18") + (4).to_bytes(4, "little") + b"abcd"


@pytest.mark.parametrize(
    "garbage",
    [b"", compress(b""), SKIPPABLE, b"\x28", b"no frame at all", b"\x28\xb5\x2f\xfd", NOISE[:64]],
)
def test_garbage(garbage: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decompress(garbage, LIMIT)


def test_a_frame_that_was_cut_or_damaged() -> None:
    frame = compress(NOISE[:5_000])
    for damaged in (frame[:-1], frame[: len(frame) // 2]):
        with pytest.raises(ValueError, match=r".+"):
            decompress(damaged, LIMIT)
