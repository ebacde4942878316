"""Texts of peers and of programs as every database can keep them, where they are kept to be read by people.

Values that travel are never changed; these are reasons, titles and parameters of sentences. PostgreSQL takes no NUL in
a text and no lone surrogate in JSON, and refuses what is longer than its column: what says why a value was refused must
not be refused for the same reason.
"""

from __future__ import annotations

import json
import re
from typing import Any

#: Stands where a character cannot be kept.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNKEPT = re.compile("[\0\ud800-\udfff]")
#: How such characters show in JSON text.
_SUSPICIOUS = re.compile(r"\\u(?:0000|d[89a-f])")


def plain(text: str, length: int | None = None) -> str:
    """``text`` without what cannot be kept, cut to ``length`` characters."""
    return _UNKEPT.sub(REPLACEMENT, text)[:length]


def json_text(value: Any) -> str:
    """JSON text of ``value`` that a JSON column takes; what JSON lacks is written as text."""
    text = json.dumps(value, default=str)
    return json.dumps(_cleaned(json.loads(text))) if _SUSPICIOUS.search(text) else text


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    if isinstance(value, dict):
        return {plain(key): _cleaned(part) for key, part in value.items()}
    return value
