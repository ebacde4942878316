"""How much is simulated in an ordinary run: many seeds, in chunks, within a budget of time.

``SYNCAPP_SIM_SECONDS`` is what the seeds of the in-memory form may take in each process of the run. On a slower machine
each chunk does fewer of its seeds, but never less than a fifth; what was done stands in pytest's summary.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from tests.simulation.world import World

SECONDS = float(os.environ.get("SYNCAPP_SIM_SECONDS") or 330)
FLOOR = 0.2
#: The most of all judgements that may be excused by a problem, a deletion or an ambiguity.
EXCUSED_MOST = 0.01


def chunks(seeds: int, size: int) -> list[range]:
    """All seeds, in chunks; the one seed alone that ``SYNCAPP_SIM_SEED`` names."""
    replay = os.environ.get("SYNCAPP_SIM_SEED", "")
    if replay:
        return [range(int(replay), int(replay) + 1)]
    return [range(first, min(seeds, first + size)) for first in range(0, seeds, size)]


def within_budget(seeds: range, share: float) -> Iterator[int]:
    """The first of ``seeds`` that fit in their part of the time: ``share`` of all processes' budget together."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    end = time.monotonic() + SECONDS * workers * share
    least = max(1, int(len(seeds) * FLOOR))
    for count, seed in enumerate(seeds):
        if count >= least and time.monotonic() > end:
            return
        yield seed


class Tally:
    """What the worlds of a chunk were worth."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.seeds = self.programs = self.batches = self.conflicts = self.problems = self.judged = 0
        self.excused: Counter[str] = Counter()
        self.began = time.monotonic()

    def add(self, world: World) -> None:
        self.seeds += 1
        self.programs += world.size
        self.batches += len(world.batches)
        self.conflicts += sum(len(instance.database.conflicts) for instance in world.instances)
        self.problems += sum(len(instance.database.problems) for instance in world.instances)
        self.judged += world.oracle.judged
        self.excused.update(world.oracle.excused)

    def check(self) -> None:
        """The worlds are worth something, and the oracle does not excuse everything."""
        if self.seeds < 200:
            return
        assert self.batches > 3 * self.seeds
        assert self.conflicts > self.seeds // 10
        assert self.problems > 0
        assert self.excused.total() <= EXCUSED_MOST * self.judged, dict(self.excused)

    def properties(self) -> dict[str, Any]:
        """For the summary, over all processes."""
        return {
            "form": self.form,
            "seeds": self.seeds,
            "programs": self.programs,
            "judged": self.judged,
            "excused": self.excused.total(),
            "seconds": time.monotonic() - self.began,
        }


def summary(reports: Iterable[pytest.TestReport]) -> list[str]:
    """What was simulated in a run of tests, a line for each form."""
    forms: dict[str, Counter[str]] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name == "simulation" and isinstance(value, dict):
                numbers = {key: number for key, number in value.items() if key != "form"}
                forms.setdefault(str(value["form"]), Counter()).update(numbers)
    return [
        f"{form}: {c['seeds']} seeds, {c['programs'] / c['seeds']:.1f} programs each, "
        f"{c['seeds'] / c['seconds']:.0f} seeds/s a process, "
        f"{100 * c['excused'] / max(1, c['judged']):.2f} % of {c['judged']} judgements excused"
        for form, c in sorted(forms.items())
        if c["seeds"]
    ]
