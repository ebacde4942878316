"""The built panel: which files it consists of, as Vite's manifest says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent / "static" / "syncapp"
ENTRY = "src/main.tsx"


@dataclass(frozen=True, slots=True)
class Entry:
    """The files of the panel, as names for ``{% static %}``."""

    script: str
    styles: tuple[str, ...]


def entry(folder: Path = STATIC) -> Entry | None:
    """The panel's files; None when it has not been built."""
    manifest = folder / "manifest.json"
    try:
        return _read(manifest, manifest.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError):
        return None


@lru_cache(maxsize=8)
def _read(manifest: Path, changed: int) -> Entry:
    """Read the manifest; ``changed`` makes a new build count at once."""
    described = json.loads(manifest.read_text())[ENTRY]
    styles = tuple(f"syncapp/{name}" for name in described.get("css", ()))
    return Entry(f"syncapp/{described['file']}", styles)
