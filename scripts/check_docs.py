"""Runs the generators of documents: with ``--check`` each, or ``--write`` to bring the documents up to date.

A generator is a Python module or script that, called with ``--check``, exits 1 and says so when the
document that it writes isn't what it would write now; called with nothing it writes the document.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Each entry: the arguments after `python`, e.g. ["scripts/protocol_doc.py"] or ["-m", "bench.report"].
GENERATORS: list[list[str]] = [["scripts/protocol_docs.py"]]


def main(arguments: list[str]) -> int:
    """Run every registered generator, all of them even when one fails; return 1 when any did."""
    options = [] if "--write" in arguments else ["--check"]
    results = [
        subprocess.run([sys.executable, *command, *options], cwd=ROOT).returncode for command in GENERATORS
    ]
    return 1 if any(results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
