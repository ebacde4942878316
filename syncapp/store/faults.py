"""Why a value is refused, in a form that can be translated later, wherever it is shown.

A `Fault` is an English text; it remembers the text of `details` it was made of and what fills it, which is what a
problem stores.
"""

from __future__ import annotations

from typing import Any

from syncapp import details

#: Longer values are shown cut to this many characters.
SHOWN = 60


class Fault(str):
    """Why a value is refused; empty: it is not."""

    __slots__ = ("params", "text")

    text: str
    params: dict[str, Any]


def fault(text: str, **params: Any) -> Fault:
    """The fault that is ``text``, one of `details`, with its placeholders filled from ``params``."""
    made = Fault(text.format_map(params))
    made.text, made.params = text, params
    return made


def told(reason: object) -> dict[str, Any]:
    """The params of an error whose ``{detail}`` is ``reason``: a fault, an exception with one, any text."""
    if isinstance(reason, Exception) and reason.args:
        reason = reason.args[0]
    if isinstance(reason, Fault):
        return {**reason.params, "detail": reason.text}
    return {"detail": str(reason)}


def shown(value: Any) -> str:
    """``value`` as a fault shows it: short, and told apart from text around it."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def text_fault(value: str, length: int | None = None) -> str | Fault:
    """Why ``value`` is not a text that every database and codec can hold within ``length`` characters."""
    if length is not None and len(value) > length:
        return fault(details.TOO_LONG, count=len(value), most=length)
    if "\0" in value:
        return fault(details.NUL)
    if not value.isascii() and _has_surrogate(value):
        return fault(details.SURROGATE)
    return ""


def _has_surrogate(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False
