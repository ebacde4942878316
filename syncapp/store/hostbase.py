"""What a `Backend` does for tables that are applied through their models' own code, and for those who listen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec


class Saved(NamedTuple):
    """A row that was saved. ``touched``: fields of a new row that the model's code has set, beside those given."""

    pk: str
    touched: frozenset[int] = frozenset()


class Alternation(msgspec.Struct, frozen=True):
    """How often in a row the program's own code changed a field again that had just been applied.

    ``at``: when it did so last, µs; ``value``: the digest of the value that it does not leave as it is.
    """

    count: int
    at: int
    value: bytes


class Event(NamedTuple):
    """What became of a record; see `signals.record_applied`. ``fields`` are numbers."""

    table: int
    pk: str
    created: bool
    deleted: bool
    fields: tuple[int, ...]


class HostBackend(Protocol):
    """Part of `base.Backend`."""

    def save_row(self, table: int, pk: str, values: Mapping[int, Any]) -> Saved:
        """Set ``values`` through the model: build (``pk`` empty) or load the instance, ``full_clean()``, ``save()``.

        Not muted: the triggers take everything as a change of this program. To be called within a savepoint.

        Raises:
            RowRefused: the model's code (``validation``, with the fields; ``host_code``) or the database refuses.
        """
        ...

    def remove_row(self, table: int, pk: str) -> None:
        """Let the model delete a row that nothing refers to any more. Not muted, as `save_row`.

        Raises:
            RowRefused: the model's code (``host_code``) or the database refuses, or the row is still there.
        """
        ...

    def alternations(self, records: Collection[int]) -> dict[tuple[int, int], Alternation]:
        """(record id, field) → what is known of it."""
        ...

    def save_alternations(self, found: Mapping[tuple[int, int], Alternation | None]) -> None:
        """Write them down; None: it is over."""
        ...

    def listened(self) -> bool:
        """Whether anybody wants to hear of applied records."""
        ...

    def announce(self, link: str, events: Sequence[Event]) -> None:
        """Tell those who listen, once the transaction is committed."""
        ...
