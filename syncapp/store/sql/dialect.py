"""What differs between databases, as one object each. `dialect_of` picks it by the connection's vendor."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from syncapp.core.mapping import FieldType, Kind
from syncapp.store.base import RowRefused
from syncapp.store.sql.codecs import Codec


class Dialect(Protocol):
    """A vendor's ways."""

    #: The most parameters that one statement takes.
    max_params: int
    #: Whether a foreign key to nowhere fails at COMMIT only, so that it has to be looked for beforehand.
    checks_keys_late: bool

    def now(self, connection: BaseDatabaseWrapper) -> int:
        """The database's clock, µs."""
        ...

    def lock_writes(self, connection: BaseDatabaseWrapper) -> None:
        """Within a transaction that has just begun: take the instance's sealing lock."""
        ...

    def busy(self, error: Exception) -> bool:
        """Whether a transaction could not begin only because another one holds the lock."""
        ...

    def set_applying(self, connection: BaseDatabaseWrapper, applying: bool) -> None:
        """Raise or lower the triggers' echo flag, for this transaction alone."""
        ...

    def select(self, column: str, kind: Kind) -> str:
        """The expression that reads a quoted column as its codec expects it."""
        ...

    def as_bytes(self, column: str) -> str:
        """The expression that reads a quoted column as bytes, whatever they are."""
        ...

    def codec(self, type: FieldType, connection: BaseDatabaseWrapper) -> Codec:
        """How values of ``type`` are stored."""
        ...

    def raw_key(self, kind: Kind) -> Callable[[str], Any]:
        """Local key as text → the value that the key's column compares with."""
        ...

    def allocate(self, connection: BaseDatabaseWrapper, table: str, column: str, count: int) -> int:
        """The first of ``count`` new values of a table's automatic key, all of them free and taken by this call."""
        ...

    def candidates(self, column: str, keys: Collection[str]) -> tuple[str, list[Any]]:
        """A condition, with its parameters, that no row fails whose text is one of the normalised ``keys``."""
        ...

    def refused(self, error: Exception) -> RowRefused:
        """A refusal by the database in our terms."""
        ...


def dialect_of(connection: BaseDatabaseWrapper) -> Dialect:
    """The dialect of a connection's database."""
    if connection.vendor != "sqlite":
        raise NotImplementedError(f"syncapp does not run on {connection.vendor} yet")
    from syncapp.store.sql.sqlite import SqliteDialect

    return SqliteDialect()
