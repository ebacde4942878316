"""A stream of single-row changes: how fast it is followed, how far behind, at what cost; and what capture costs.

Ours follows a raw-SQL writer that commits each change as fast as SQLite lets it, and one that saves through Django.
The naive way cannot see raw SQL: it is driven by saves in its own process, and by fewer of them.
"""

import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import naive, processes, programs, sample
from bench.figures import percentiles, ratio
from bench.observer import Observation
from bench.processes import BenchError
from bench.programs import Program

ROWS = 10_000
#: Committed changes in one go, when the cost of capture is measured.
ROUNDS = 5


def run(changes: int = 100_000, saves: int = 3_000, rows: int = ROWS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Everything, the naive way before and after ours."""
    found: dict[str, Any] = {"changes": changes, "saves": saves, "rows": rows}
    found["naive"] = {"FULL": _naive(saves, rows, "FULL"), "NORMAL": _naive(saves, rows, "NORMAL")}
    with programs.linked(rows) as pair:
        head, branch = pair.both
        found["raw"] = _ours(pair, rows, changes, 1, lambda: _write(branch.database, changes, rows))
        first = changes + 1
        found["saved"] = _ours(pair, rows, saves, first, lambda: _save(branch, saves, rows, first))
        second = first + saves
        found["raw NORMAL"] = _ours(
            pair, rows, changes, second, lambda: _write(branch.database, changes, rows, second, "NORMAL")
        )
        found["differing_rows"] = len(list(sample.differing(head.database, branch.database)))
    found["naive"]["FULL again"] = _naive(saves, rows, "FULL")
    found["capture"] = capture(min(saves, 2_000), min(rows, 1_000), rounds)
    plain = [found["naive"][name]["per_second"] for name in ("FULL", "FULL again")]
    found["ratios"] = {
        "raw, ours to naive": ratio(found["raw"]["per_second"], statistics.mean(plain)),
        "raw NORMAL, ours to naive NORMAL": ratio(
            found["raw NORMAL"]["per_second"], found["naive"]["NORMAL"]["per_second"]
        ),
        "saved, ours to naive": ratio(found["saved"]["per_second"], statistics.mean(plain)),
    }
    return found


# -- ours ---------------------------------------------------------------------------------------------------


def _write(database: Path, count: int, rows: int, first: int = 1, synchronous: str = "FULL") -> list[int]:
    """Commit ``count`` changes one by one; when each was committed. ``synchronous``: the writer's own."""
    connection = sample.connect(database, synchronous)
    committed = []
    for marker in range(first, first + count):
        connection.execute(sample.UPDATE, sample.change(marker, rows))
        committed.append(time.monotonic_ns())
    connection.close()
    return committed


_SAVER = """
import sys, time
from decimal import Decimal
import django
django.setup()
from bench import sample
from bench.tables.models import Sample
count, rows, first = map(int, sys.argv[1:])
items = {item.number: item for item in Sample.objects.order_by("number")[:rows]}
for i in range(count):
    marker, phone, amount, number = sample.change(first + i, rows)
    item = items[number]
    item.marker, item.phone, item.amount = marker, phone, Decimal(str(amount))
    if not i:
        print(time.monotonic_ns())
    item.save()
    print(time.monotonic_ns())
"""


def _save(program: Program, count: int, rows: int, first: int) -> list[int]:
    """Save ``count`` rows through Django, in a process of its own; its beginning and when each was committed."""
    words = [sys.executable, "-c", _SAVER, str(count), str(rows), str(first)]
    done = subprocess.run(
        words, cwd=processes.ROOT, env=program.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(done.stderr)
    return [int(line) for line in done.stdout.split()]


def _ours(
    pair: programs.Pair, rows: int, count: int, first: int, write: Callable[[], list[int]]
) -> dict[str, Any]:
    meters = {"source": pair.branch.meter(), "target": pair.head.meter()}
    observation = Observation(pair.head.database, rows, first + count - 1)
    begin = time.monotonic_ns()
    committed = write()
    if len(committed) > count:
        begin = committed.pop(0)
    seen = observation.times(60 + count / 100)[first:]
    used = {name: meter.read() for name, meter in meters.items()}
    pair.settle()
    return _figures(begin, committed, seen) | {"processes": used}


# -- the naive way ------------------------------------------------------------------------------------------


def _naive(count: int, rows: int, synchronous: str) -> dict[str, Any]:
    with naive.linked(rows, synchronous) as (head, branch):
        branch.drive(0, min(50, count), rows, 1)
        first = min(50, count) + 1
        time.sleep(0.5)
        meters = {"source": branch.meter(), "target": head.meter()}
        observation = Observation(head.database, rows, first + count - 1)
        moments = branch.drive(0, count, rows, first)
        seen = observation.times(60 + count / 20)[first:]
        used = {name: meter.read() for name, meter in meters.items()}
    return _figures(moments["submitted"][0], moments["committed"], seen) | {"processes": used}


def _figures(begin: int, committed: list[int], seen: list[int]) -> dict[str, Any]:
    """``per_second``: from the first write to the last change's commit in the target."""
    there = [at for at in seen if at]
    delays = [at - here for at, here in zip(seen, committed, strict=True) if at]
    return {
        "changes": len(committed),
        "unseen": len(seen) - len(there),
        "per_second": round(len(there) / (there[-1] - begin) * 1e9, 1) if there else 0.0,
        "written_per_second": round(len(committed) / (committed[-1] - begin) * 1e9, 1),
        "behind_ms": percentiles(delays),
        "last_behind_ms": round(delays[-1] / 1e6, 1) if delays else None,
    }


# -- what capture costs the writer --------------------------------------------------------------------------


def capture(count: int, rows: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Writes a second with capture on and off, in turns; nothing else runs."""
    with programs.folder("capture") as path:
        off, on = Program(path, "off"), Program(path, "on")
        for program in (off, on):
            program.manage("migrate", "-v0")
        on.link("nobody")
        for program in (off, on):
            sample.fill(program.database, rows)
        found: dict[str, Any] = {}
        # Other values each time: SQLite does not even write a row that stays as it is.
        starts = [turn * count + 1 for turn in range(1, rounds + 1)]
        for synchronous in ("NORMAL", "FULL"):

            def raw(program: Program, first: int, synchronous: str = synchronous) -> float:
                return _raw_rate(program.database, count, rows, first, synchronous)

            found[f"raw {synchronous}"] = _in_turns(off, on, starts, raw)
        found["save()"] = _in_turns(
            off, on, starts, lambda program, first: _save_rate(program, count, rows, first)
        )
    return found


def _in_turns(
    off: Program, on: Program, starts: list[int], rate: Callable[[Program, int], float]
) -> dict[str, Any]:
    pairs = [(rate(off, first), rate(on, first)) for first in starts]
    return {
        "off": round(statistics.median(without for without, _ in pairs), 1),
        "on": round(statistics.median(with_it for _, with_it in pairs), 1),
        "on_to_off": round(statistics.median(b / a for a, b in pairs), 3),
    }


def _raw_rate(database: Path, count: int, rows: int, first: int, synchronous: str) -> float:
    connection = sample.connect(database, synchronous)
    _empty_log(connection)
    begin = time.perf_counter()
    for marker in range(first, first + count):
        connection.execute(sample.UPDATE, sample.change(marker, rows))
    took = time.perf_counter() - begin
    connection.close()
    return count / took


def _save_rate(program: Program, count: int, rows: int, first: int) -> float:
    connection = sample.connect(program.database)
    _empty_log(connection)
    connection.close()
    moments = _save(program, count, rows, first)
    return count / (moments[-1] - moments[0]) * 1e9


def _empty_log(connection: sqlite3.Connection) -> None:
    """Start alike: nobody takes the journal away here, and a checkpoint would fall to whoever comes next."""
    connection.execute("DELETE FROM syncapp_journal")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def lines(found: dict[str, Any]) -> list[str]:
    """The figures as Markdown."""
    rows = [("naive, save()", found["naive"]["FULL"]), ("naive, save(), again", found["naive"]["FULL again"])]
    rows += [("naive, save(), synchronous=NORMAL", found["naive"]["NORMAL"])]
    rows += [("ours, save()", found["saved"]), ("ours, raw SQL", found["raw"])]
    rows += [("ours, raw SQL, writer's synchronous=NORMAL", found["raw NORMAL"])]
    text = [
        "## A stream of single-row changes",
        "",
        (
            f"Committed one by one over {found['rows']} rows, as fast as the writer can. Followed: from the first "
            "write to the last change's commit in the other program."
        ),
        "",
        (
            "| | changes | followed, a second | written, a second | behind, median and longest, ms "
            "| CPU: source, target, s | peak memory: source, target, MiB |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for title, figures in rows:
        used, behind = figures["processes"], figures["behind_ms"]
        text.append(
            f"| {title} | {figures['changes']} | {figures['per_second']} | {figures['written_per_second']} "
            f"| {behind.get('p50')} / {behind.get('max')} | {used['source']['cpu']} + {used['target']['cpu']} "
            f"| {used['source']['peak']} + {used['target']['peak']} |"
        )
    text += ["", "| ratio | |", "| --- | --- |"]
    text += [f"| {name} | **{value}** |" for name, value in found["ratios"].items()]
    text += ["", "Writes a second with capture on and off, nothing else running:", ""]
    text += ["| | off | on | on ÷ off |", "| --- | --- | --- | --- |"]
    for name, figures in found["capture"].items():
        text.append(f"| {name} | {figures['off']} | {figures['on']} | **{figures['on_to_off']}** |")
    return [*text, ""]
