"""Child processes of a benchmark: they end with it, and /proc tells what they cost."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STOP_WITHIN = 20.0
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class BenchError(Exception):
    """A benchmark cannot go on; the text says why."""


def end_with_parent() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a Python process; what it says goes to ``log``."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; end it by force if it does not in time."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for ``condition``; a `BenchError` that names ``what`` when it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(0.05)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, all its threads, those that ended too: exact to the scheduler's ns."""
    # The kernel's encoding of "the CPU clock of process pid" (linux/posix-timers.h).
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int) -> dict[str, float]:
    """Resident memory now and at most, MiB."""
    wanted = {"VmRSS": "rss", "VmHWM": "peak"}
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in wanted:
            found[wanted[name]] = round(int(value.split()[0]) / 1024, 1)
    return found


@dataclass
class Meter:
    """What a process uses from its making on."""

    name: str
    pid: int

    def __post_init__(self) -> None:
        self._cpu = cpu_seconds(self.pid)
        try:
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak counts from here
        except OSError:
            pass

    def read(self) -> dict[str, float]:
        return {"cpu": round(cpu_seconds(self.pid) - self._cpu, 3), **memory(self.pid)}


def base_environment() -> dict[str, str]:
    """The environment without what would lead a program to another database."""
    foreign = ("DATABASE_URL", "REDIS_URL", "MEDIA_ROOT", "ALLOWED_HOSTS", "DEBUG", "PORT", "SECRET_KEY")
    kept = {k: v for k, v in os.environ.items() if k not in foreign and not k.startswith("SYNCAPP_")}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH", ""))))
    return kept | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
