"""Run the benchmarks and write ``bench/results/``: one JSON file with everything, one Markdown file to read.

``python -m bench [latency] [stream] [idle] [postgresql] [--tiny]``; all of them without a name.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from bench import figures, idle, latency, postgresql, stream
from bench.processes import BenchError

RESULTS = Path(__file__).resolve().parent / "results"
BENCHMARKS: dict[str, ModuleType] = {
    "latency": latency,
    "stream": stream,
    "idle": idle,
    "postgresql": postgresql,
}
#: Sizes with which everything runs once, for a test; the figures mean nothing.
TINY: dict[str, dict[str, Any]] = {
    "latency": {"rate": 50, "seconds": 1, "rows": 20},
    "stream": {"changes": 200, "saves": 20, "rows": 20, "rounds": 1},
    "idle": {"seconds": 1, "rows": 5},
    "postgresql": {"rate": 50, "seconds": 1, "rows": 20, "changes": 50, "bulk": 100},
}


def run(names: list[str], sizes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures of each benchmark by name, and the machine before and after."""
    found: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "before": figures.machine(),
    }
    for name in names:
        print(f"{name} …", flush=True)
        found[name] = BENCHMARKS[name].run(**sizes.get(name, {}))
    found["after"] = figures.machine()
    return found


def markdown(found: dict[str, Any]) -> str:
    """The figures for people."""
    before, after = found["before"], found["after"]
    text = [
        "# Benchmarks",
        "",
        (
            f"{found['at']}, commit {before['commit']}, {before['cores']} cores (load {before['load'][0]} before, "
            f"{after['load'][0]} after), Python {before['python']}, SQLite {before['sqlite']}, synchronous=FULL on "
            "both sides unless said. Machines differ and drift: compare within one run only. `make bench` makes this "
            "anew."
        ),
        "",
    ]
    for name, module in BENCHMARKS.items():
        if name in found:
            text += module.lines(found[name])
    return "\n".join(text)


def save(found: dict[str, Any], folder: Path) -> None:
    """Write both files; benchmarks that were not run keep their last figures."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    if path.exists():
        found = json.loads(path.read_text()) | found
    path.write_text(json.dumps(found, indent=1) + "\n")
    (folder / "README.md").write_text(markdown(found))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description="Run the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)}; default: all")
    parser.add_argument(
        "--tiny", action="store_true", help="run everything once with tiny sizes; nothing is written"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}")
    try:
        found = run(arguments.names or list(BENCHMARKS), TINY if arguments.tiny else {})
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(markdown(found))
    if not arguments.tiny:
        save(found, RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
