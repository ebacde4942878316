"""What a program's own code may ask while syncapp writes through its models (see ``docs/host-logic.md``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Applying(NamedTuple):
    """A save or a deletion that comes from synchronisation.

    ``link``: the name of the link; ``initial``: it brings over old rows, and is no change that somebody made just now.
    """

    link: str
    initial: bool = False


_applying: ContextVar[Applying | None] = ContextVar("syncapp_applying", default=None)


def applying() -> Applying | None:
    """Within `Model.save` and what it calls: where the change comes from; None for a change of this program's own."""
    return _applying.get()


@contextmanager
def during(applying: Applying) -> Iterator[None]:
    """Let the program's code know, as long as the block runs."""
    token = _applying.set(applying)
    try:
        yield
    finally:
        _applying.reset(token)
