"""zstd for messages between authenticated peers, bounded on the way out of it."""

from __future__ import annotations

import threading

import zstandard

#: Level 1 takes as much time as the network saves at 100 MB/s; higher levels gain next to nothing on rows of a table.
LEVEL = 1

_local = threading.local()


def compress(data: bytes) -> bytes:
    """``data``, which is not empty, as one zstd frame that states its size."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)
    done: bytes = _local.compressor.compress(data)
    return done


def decompress(data: bytes, limit: int) -> bytes:
    """The inverse; ValueError for what is no such frame, or would be longer than ``limit``.

    The size is believed before anything is unpacked: libzstd itself fails if the content turns out to be longer.
    """
    try:
        size = zstandard.frame_content_size(data)
        # Nothing is also what the library makes of a frame that says so, whatever is in it.
        if not 0 < size <= limit:
            raise ValueError(f"{size} bytes unpacked" if size > 0 else "a frame that states no size")
        done: bytes = zstandard.ZstdDecompressor().decompress(data, max_output_size=limit)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    return done
