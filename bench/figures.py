"""Percentiles, and the machine that a run was on."""

import os
import platform
import sqlite3
import subprocess
from collections.abc import Sequence

from bench.processes import ROOT


def percentiles(values_ns: Sequence[int]) -> dict[str, float]:
    """p50, p90, p99 and the largest of nanoseconds, in milliseconds."""
    ordered = sorted(values_ns)
    if not ordered:
        return {}

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6, 2)

    return {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": round(ordered[-1] / 1e6, 2)}


def ratio(one: float, other: float) -> float | None:
    return round(one / other, 3) if other else None


def machine() -> dict[str, object]:
    """What a figure depends on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(value, 1) for value in os.getloadavg()],
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "commit": commit,
    }
