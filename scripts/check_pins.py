"""Fails when a pins file names a host: pins must install from whichever index the machine is set up for."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What an address looks like in each kind of file. Funding pages in npm's lock file aren't packages.
SIGNS = {
    "requirements*.txt": ("://", "--index-url", "--extra-index-url", "--find-links"),
    "frontend/package-lock.json": ('"resolved"',),
}


def main() -> int:
    """Print each offending line; return the number of files that have one, at most 1."""
    offences = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for pattern, signs in SIGNS.items()
        for path in sorted(ROOT.glob(pattern))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if any(sign in line for sign in signs)
    ]
    for offence in offences:
        print(f"check_pins: a host in a pins file: {offence}", file=sys.stderr)
    return min(len(offences), 1)


if __name__ == "__main__":
    sys.exit(main())
