"""How long after its commit in one program a change is committed in the other, at a steady pace, in both directions.

Ours follows a raw-SQL writer, a process of its own that knows nothing of syncapp; the naive way sees only what is
saved through Django in its own process, so that this is how it is driven. Times count from the end of the commit.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import naive, programs, sample
from bench.figures import percentiles, ratio
from bench.observer import Observation
from bench.processes import Meter, cpu_seconds

ROWS = 1000
WARM_UP = 200


def write(database: Path, rate: float, count: int, first: int, rows: int) -> dict[str, list[int]]:
    """Change one row after the other at ``rate`` a second; when each commit began and ended, monotonic ns."""
    connection = sample.connect(database)
    submitted, committed = [], []
    begin = time.monotonic()
    for i in range(count):
        pause = begin + i / rate - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        submitted.append(time.monotonic_ns())
        connection.execute(sample.UPDATE, sample.change(first + i, rows))
        committed.append(time.monotonic_ns())
    connection.close()
    return {"submitted": submitted, "committed": committed}


class Way:
    """One direction through one pair of programs."""

    def __init__(
        self,
        drive: Callable[[float, int, int], dict[str, list[int]]],
        source: Meter,
        target: Meter,
        watched: Path,
        rows: int,
    ) -> None:
        self._drive = drive
        self._meters = {"source": source, "target": target}
        self._watched = watched
        self._rows = rows

    def run(self, rate: float, seconds: float, first: int) -> tuple[dict[str, Any], int]:
        """The figures, and the number of the next change."""
        warm, count = min(WARM_UP, int(rate)), int(rate * seconds)
        last = first + warm + count - 1
        observation = Observation(self._watched, self._rows, last)
        self._drive(rate, warm, first)
        time.sleep(0.5)
        before = {name: cpu_seconds(meter.pid) for name, meter in self._meters.items()}
        begin = time.monotonic()
        moments = self._drive(rate, count, first + warm)
        took = time.monotonic() - begin
        cpu = {name: cpu_seconds(meter.pid) - before[name] for name, meter in self._meters.items()}
        seen = observation.times(20)[first + warm :]
        delays = [there - here for there, here in zip(seen, moments["committed"], strict=True) if there]
        whole = [there - here for there, here in zip(seen, moments["submitted"], strict=True) if there]
        writes = [b - a for a, b in zip(moments["submitted"], moments["committed"], strict=True)]
        figures = {
            "changes": count,
            "unseen": count - len(delays),
            "per_second": round(count / took, 1),
            "from_commit_ms": percentiles(delays),
            "from_submit_ms": percentiles(whole),
            "write_ms": percentiles(writes),
            "cpu_ms_per_change": {name: round(1000 * used / count, 3) for name, used in cpu.items()},
            "observer_cpu_share": round(observation.cpu / (time.monotonic() - begin), 3),
        }
        return figures, last + 1


def run(rate: float = 200, seconds: float = 15, rows: int = ROWS, *, log: bool = False) -> dict[str, Any]:
    """Ours and the naive way, direction by direction in turns, so that a drift of the machine meets both."""
    found: dict[str, Any] = {"rate": rate, "seconds": seconds, "rows": rows, "log": log}
    with programs.linked(rows, log=log) as pair, naive.linked(rows) as plain:
        ours, others = _ways(pair, rows), _naive_ways(plain, rows)
        first = dict.fromkeys(("ours", "naive"), 1)
        for direction in ("to passive", "to active"):
            found[direction] = {}
            for who, ways in (("ours", ours), ("naive", others)):
                figures, first[who] = ways[direction].run(rate, seconds, first[who])
                found[direction][who] = figures
                if who == "ours":
                    pair.settle()
        found["differing_rows"] = len(list(sample.differing(pair.head.database, pair.branch.database)))
    for direction in ("to passive", "to active"):
        mine, theirs = (found[direction][who]["from_commit_ms"] for who in ("ours", "naive"))
        found[direction]["ours_to_naive"] = {
            name: ratio(mine[name], theirs[name]) for name in mine if name in theirs
        }
    return found


def _ways(pair: programs.Pair, rows: int) -> dict[str, Way]:
    head, branch = pair.both

    def way(source: programs.Program, target: programs.Program) -> Way:
        return Way(
            lambda rate, count, first: write(source.database, rate, count, first, rows),
            source.meter(),
            target.meter(),
            target.database,
            rows,
        )

    return {"to passive": way(branch, head), "to active": way(head, branch)}


def _naive_ways(pair: tuple[naive.NaiveProgram, naive.NaiveProgram], rows: int) -> dict[str, Way]:
    head, branch = pair

    def way(source: naive.NaiveProgram, target: naive.NaiveProgram) -> Way:
        return Way(
            lambda rate, count, first: source.drive(rate, count, rows, first),
            source.meter(),
            target.meter(),
            target.database,
            rows,
        )

    return {"to passive": way(branch, head), "to active": way(head, branch)}


def lines(found: dict[str, Any]) -> list[str]:
    """The figures as Markdown."""
    text = [
        f"## Latency at {found['rate']:g} changes/s",
        "",
        (
            f"{found['seconds']:g} s each way, {found['rows']} rows, three of twelve columns change. From the commit "
            "in one program to the commit in the other, ms."
        ),
        "",
        "| | p50 | p90 | p99 | longest | CPU a change: source, target |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for direction in ("to passive", "to active"):
        for who in ("ours", "naive"):
            figures = found[direction][who]
            ms, cpu = figures["from_commit_ms"], figures["cpu_ms_per_change"]
            cells = [str(ms.get(name, "–")) for name in ("p50", "p90", "p99", "max")]
            text.append(
                f"| {who}, {direction} | {' | '.join(cells)} | {cpu['source']} + {cpu['target']} ms |"
            )
        ratios = found[direction]["ours_to_naive"]
        cells = [str(ratios.get(name, "–")) for name in ("p50", "p90", "p99", "max")]
        text.append(f"| **ours ÷ naive, {direction}** | {' | '.join(cells)} | |")
    return [*text, ""]
