"""Seeing when a change is committed in a SQLite database, from a process of its own and without disturbing anyone.

A commit can be seen by others from the moment at which the header of the write-ahead log's index changes. That index
is a file that every connection maps into its memory (``-shm``, see sqlite.org/walformat.html), so that looking at it
is one memory access: no lock, no call, nothing that the observed program could notice. inotify on the log tells when
to look; then looks follow each other at 20 µs until the header has changed. Only then the database is asked which
changes are there. A time is thus exact to about 50 µs on an idle core; what may have been committed during the
question itself gets the time after it, never an earlier one.

``python -m bench.observer DATABASE ROWS LAST OUT``: writes the times of the changes 1 … LAST (monotonic ns, 0: not
seen) to OUT as 8-byte integers, and to OUT.json what it cost. "ready" on standard output when it looks; ends when the
last change is there or on SIGTERM.
"""

import array
import ctypes
import json
import mmap
import os
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

import asyncinotify

from bench import processes, sample

PR_SET_TIMERSLACK = 29
LOOK = 20e-6
#: How long looks follow each other after the log was written.
EAGER = 0.003
CHANGE_COUNTER = struct.Struct("=I")
COUNTER_AT = 8  # WalIndexHdr.iChange
FRAMES_AT = 16  # WalIndexHdr.mxFrame


class Observer:
    """Looks at one database until all changes are there."""

    def __init__(self, database: Path, rows: int, last: int) -> None:
        self._rows = rows
        self._last = last
        self.seen = array.array("q", bytes(8 * (last + 1)))
        self._next = 1
        self._connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, isolation_level=None)
        self._connection.execute(f"SELECT 1 FROM {sample.TABLE} LIMIT 1").fetchone()  # opens the log
        # Kept open: closing a file takes away every lock that this process holds on it, SQLite's among them.
        self._file = database.with_name(database.name + "-shm").open("rb")
        self._index = mmap.mmap(self._file.fileno(), 136, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
        self._inotify = asyncinotify.Inotify()
        self._inotify.add_watch(database.with_name(database.name + "-wal"), asyncinotify.Mask.MODIFY)
        os.set_blocking(self._inotify.fd, False)
        self._ended = False

    def stop(self) -> None:
        self._ended = True

    def run(self) -> None:
        known = self._state()
        eager_until = 0.0
        while self._next <= self._last and not self._ended:
            state = self._state()
            if state != known:
                known = self._look(state)
                continue
            if time.monotonic() < eager_until:
                time.sleep(LOOK)
                continue
            if select.select([self._inotify.fd], [], [], 0.25)[0]:
                os.read(self._inotify.fd, 1 << 16)
                eager_until = time.monotonic() + EAGER

    def _state(self) -> bytes:
        return self._index[COUNTER_AT : FRAMES_AT + 4]

    def _look(self, state: bytes) -> bytes:
        """Note what is there now; the state that was looked at."""
        at = time.monotonic_ns()
        newest = self._newest()
        after = self._state()
        if after != state:
            at = time.monotonic_ns()
        for marker in range(self._next, newest + 1):
            self.seen[marker] = at
        self._next = newest + 1
        return after

    def _newest(self) -> int:
        """The newest change that is there: they come in order, so that doubling steps and halving them find it."""
        low, step = self._next - 1, 1
        self._connection.execute("BEGIN")  # one moment for all questions
        try:
            while low + step <= self._last and self._there(low + step):
                low += step
                step *= 2
            while step > 1:
                step //= 2
                if low + step <= self._last and self._there(low + step):
                    low += step
        finally:
            self._connection.execute("COMMIT")
        return low

    def _there(self, marker: int) -> bool:
        number = (marker - 1) % self._rows
        found = self._connection.execute(
            f"SELECT marker FROM {sample.TABLE} WHERE number = ?", (number,)
        ).fetchone()
        return found is not None and found[0] >= marker


class Observation:
    """An observer's process, for whoever runs a benchmark."""

    def __init__(self, database: Path, rows: int, last: int) -> None:
        self._out = database.parent / f"seen-{time.monotonic_ns()}"
        arguments = ["-m", "bench.observer", str(database), str(rows), str(last), str(self._out)]
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=processes.ROOT,
            env=processes.base_environment(),
            stdout=subprocess.PIPE,
            preexec_fn=processes.end_with_parent,
        )
        assert self._process.stdout is not None
        with self._process.stdout as said:
            ready = said.readline() == b"ready\n"
        if not ready:
            self._process.wait()
            raise processes.BenchError("the observer cannot look at the database")
        self.cpu = 0.0

    def times(self, wait: float) -> list[int]:
        """When each change was seen (place 0 is empty); waits at most ``wait`` seconds for the rest."""
        try:
            self._process.wait(wait)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait(10)
        found = array.array("q")
        found.frombytes(self._out.read_bytes())
        self.cpu = json.loads(self._out.with_suffix(".json").read_text())["cpu"]
        return found.tolist()


def main() -> None:
    database, rows, last, out = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)  # else a sleep of 20 µs takes 70
    observer = Observer(database, rows, last)
    signal.signal(signal.SIGTERM, lambda number, frame: observer.stop())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    observer.run()
    out.write_bytes(observer.seen.tobytes())
    out.with_suffix(".json").write_text(json.dumps({"cpu": time.process_time()}))


if __name__ == "__main__":
    main()
