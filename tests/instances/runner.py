"""Runs ``manage.py`` or ``daphne`` as a child of the tests: it dies with them, and may be told to be odd.

    python -m tests.instances.runner manage.py serve 127.0.0.1:8000
    python -m tests.instances.runner daphne -p 8000 project.asgi:application

``TEST_CLOCK_SHIFT``: seconds by which this process's wall clock is off. ``TEST_PROTOCOL``: the only version of
the protocol that it speaks.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Let the kernel end this process when the tests end in whatever way."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def shift_clock(seconds: float) -> None:
    """Move the wall clock of this process; what measures durations stays true."""
    real_ns, real = time.time_ns, time.time
    shift = int(seconds * 1e9)
    shifted: Callable[[], int] = lambda: real_ns() + shift  # noqa: E731
    time.time_ns = shifted
    time.time = lambda: real() + seconds


def speak_only(version: int) -> None:
    """Make this process one of another version of the software."""
    from syncapp.core import session

    patched: Any = session
    patched.PROTOCOL = (version, version)


def main() -> None:
    die_with_parent()
    sys.argv = sys.argv[1:]
    if shift := os.environ.get("TEST_CLOCK_SHIFT"):
        shift_clock(float(shift))
    if version := os.environ.get("TEST_PROTOCOL"):
        speak_only(int(version))
    if sys.argv[0] == "daphne":
        runpy.run_module("daphne", run_name="__main__", alter_sys=False)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
