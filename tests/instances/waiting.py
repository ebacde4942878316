"""Waiting for something to become true in another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = 30, what: str = "", every: float = 0.05) -> T:
    """The first true value of ``condition``; fails the test with ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or condition}; last: {found!r}")
        time.sleep(every)


def stays(condition: Callable[[], bool], seconds: float, what: str = "", every: float = 0.1) -> None:
    """Fail unless ``condition`` holds for all of ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), what
        time.sleep(every)
