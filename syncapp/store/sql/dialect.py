"""What differs between databases, as one object each. `dialect_of` picks it by the connection's vendor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from syncapp.core.mapping import FieldType, Kind
from syncapp.store.base import RowRefused
from syncapp.store.sql.codec import Codec


class Place(NamedTuple):
    """A column in a statement: its quoted name, and its type as the database calls it (empty: it does not matter)."""

    quoted: str
    stored: str = ""


class Dialect(Protocol):
    """A vendor's ways."""

    #: The most parameters that one statement takes.
    max_params: int
    #: Whether a foreign key to nowhere fails at COMMIT only, so that it has to be looked for beforehand.
    checks_keys_late: bool
    #: Whether the database gives new rows their automatic keys by itself, and tells them.
    tells_keys: bool
    #: From how many rows on they are better given keys by us.
    own_keys_from: int
    #: Whether a transaction has all rows to itself.
    alone: bool
    #: Whether the echo flag falls by itself at the end of the transaction.
    flag_falls: bool
    #: What is put after the statement that moves the feed's end, so that other processes hear of it.
    head_hint: str

    # -- units of work --

    def begin(self, connection: BaseDatabaseWrapper, *, nested: bool, snapshot: bool) -> int:
        """Within a transaction that has just begun: take the instance's sealing lock. The database's clock, or 0.

        ``nested``: in a savepoint of another transaction really. ``snapshot``: all that is read from here on is of
        one moment.
        """
        ...

    def busy(self, error: Exception) -> bool:
        """Whether a transaction could not begin only because another one holds the lock."""
        ...

    def now(self, connection: BaseDatabaseWrapper) -> int:
        """The database's clock, µs."""
        ...

    def set_applying(self, connection: BaseDatabaseWrapper, applying: bool) -> None:
        """Raise or lower the triggers' echo flag, for this transaction alone."""
        ...

    def release(self, connection: BaseDatabaseWrapper, name: str, *, check: bool) -> None:
        """End a savepoint. ``check``: what is written so far must satisfy every constraint."""
        ...

    def roll_back(self, connection: BaseDatabaseWrapper, name: str) -> None:
        """Undo a savepoint and end it; nothing if the whole transaction is gone."""
        ...

    def hurry(self, connection: BaseDatabaseWrapper) -> None:
        """Somebody holds what was asked for: wait less for others from here to the transaction's end."""
        ...

    def refused(self, error: BaseException, *, deleting: bool) -> RowRefused | None:
        """What the database said against the rows that were written; None where the error is no refusal.

        ``deleting``: rows were deleted, too.
        """
        ...

    # -- values --

    def select(self, column: str, kind: Kind, stored: str) -> str:
        """The expression that reads a quoted column of type ``stored`` as its codec expects it."""
        ...

    def as_bytes(self, column: str) -> str:
        """The expression that reads a quoted column of texts that may be no UTF-8."""
        ...

    def codec(self, type: FieldType, stored: str, connection: BaseDatabaseWrapper) -> Codec:
        """How values of ``type`` are stored in a column of type ``stored``."""
        ...

    def raw_key(self, kind: Kind) -> Callable[[str], Any]:
        """Local key as text → the value that the key's column compares with; None for what can be no key."""
        ...

    def stored_types(self, connection: BaseDatabaseWrapper, table: str) -> Mapping[str, str]:
        """Column → type of a quoted table, where statements need it."""
        ...

    def prepared(self, value: Any) -> Any:
        """A value as Django's field prepared it, as one of ours."""
        ...

    # -- statements --

    def among(self, sql: str, values: Sequence[Any], stored: str = "") -> tuple[str, Sequence[Any]]:
        """Complete a statement that has ``IN {}`` in it: its text, and the parameters for that place.

        ``stored``: the type of the column that is compared; empty: that of the values.
        """
        ...

    def equal_rows(
        self, columns: Sequence[Place], rows: Sequence[Sequence[Any]]
    ) -> tuple[str, Sequence[Any]]:
        """A condition, with its parameters, for rows whose ``columns`` are one of ``rows``."""
        ...

    def locking(self, *, strong: bool) -> str:
        """What follows a query of rows to lock those that nobody else has; empty where there is no need.

        ``strong``: against rows that refer to them, too.
        """
        ...

    def many(self, connection: BaseDatabaseWrapper, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute one statement of our own for each of ``rows``."""
        ...

    def insert(
        self,
        connection: BaseDatabaseWrapper,
        table: str,
        columns: Sequence[Place],
        rows: Sequence[Sequence[Any]],
        key: str,
    ) -> list[Any]:
        """Insert rows into a quoted table. ``key``: the column whose values the database gives; these, in order."""
        ...

    def update(
        self,
        connection: BaseDatabaseWrapper,
        table: str,
        columns: Sequence[Place],
        key: Place,
        rows: Sequence[Sequence[Any]],
    ) -> None:
        """Set columns of rows, each row being (value, …, key)."""
        ...

    def allocate(self, connection: BaseDatabaseWrapper, table: str, column: str, count: int) -> Sequence[int]:
        """``count`` new values of a table's automatic key, in order, all of them free and taken by this call."""
        ...

    def keys_given(self, connection: BaseDatabaseWrapper, table: str, column: str, highest: int) -> None:
        """Rows were inserted with keys of our own up to ``highest``: the database gives none of them any more."""
        ...


def dialect_of(connection: BaseDatabaseWrapper) -> Dialect:
    """The dialect of a connection's database."""
    if connection.vendor == "sqlite":
        from syncapp.store.sql.sqlite import SqliteDialect

        return SqliteDialect()
    if connection.vendor == "postgresql":
        from syncapp.store.sql.postgres import PostgresDialect

        return PostgresDialect()
    raise NotImplementedError(f"syncapp does not run on {connection.vendor} yet")
