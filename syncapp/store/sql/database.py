"""A database connection as the backend uses it: statements, transactions, the echo flag, late constraints."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, TypeVar

from django.db import IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncapp.store import statements
from syncapp.store.base import RowRefused
from syncapp.store.sql.dialect import Dialect, Place, dialect_of
from syncapp.store.sql.references import References

T = TypeVar("T")
Row = tuple[Any, ...]

#: How often a transaction that could not begin is tried again; each try waits for the connection's own timeout.
BEGIN_TRIES = 3


class Database:
    """Statements and units of work on one of Django's connections. For one thread."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.dialect: Dialect = dialect_of(self.connection)
        self.references = References(self)
        self._depth = 0
        #: Depth of the savepoint within which the echo flag was set; None while it is not.
        self._muted: int | None = None
        #: Within a transaction: the database's clock and ours when it began.
        self._began: tuple[int, int] | None = None
        self._nested = False

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.using]

    def quote(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))

    # -- statements --

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return statements.query(self.connection, sql, params)

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Execute one statement; how many rows it touched."""
        return statements.run(self.connection, sql, params)

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute one statement for each of ``rows``."""
        self.dialect.many(self.connection, sql, rows)

    def set_columns(self, table: str, columns: Sequence[str], key: str, rows: list[Sequence[Any]]) -> None:
        """Set columns of rows of one of our tables, each row being (value, …, key)."""
        places = self.places(table, (*columns, key))
        self.dialect.update(self.connection, self.quote(table), places[:-1], places[-1], rows)

    def places(self, table: str, columns: Sequence[str]) -> list[Place]:
        """Columns of one of our tables in a statement."""
        stored = self.dialect.stored_types(self.connection, self.quote(table))
        return [Place(self.quote(name), stored.get(name, "")) for name in columns]

    def query_in(
        self, sql: str, values: Collection[Any], before: Sequence[Any] = (), stored: str = ""
    ) -> list[Row]:
        """Rows of a statement with ``IN {}``: one of ``values``, in as many statements as that takes.

        ``stored``: the type of the column that is compared, where the values alone do not tell.
        """
        found: list[Row] = []
        for part in self.parts(values, len(before)):
            text, params = self.dialect.among(sql, part, stored)
            found += self.query(text, [*before, *params])
        return found

    def run_in(self, sql: str, values: Collection[Any], before: Sequence[Any] = (), stored: str = "") -> int:
        """Like `query_in`, for a statement without rows; how many rows it touched."""
        touched = 0
        for part in self.parts(values, len(before)):
            text, params = self.dialect.among(sql, part, stored)
            touched += self.run(text, [*before, *params])
        return touched

    def parts(self, values: Iterable[T], taken: int = 0) -> Iterator[list[T]]:
        """Cut ``values`` into lists that fit one statement beside ``taken`` other parameters."""
        rest = iter(values)
        while part := list(islice(rest, self.dialect.max_params - taken)):
            yield part

    def now(self) -> int:
        """The database's clock, µs."""
        if self._began is None:
            return self.dialect.now(self.connection)
        clock, mark = self._began
        return clock + (time.perf_counter_ns() - mark) // 1000

    # -- units of work --

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[None]:
        with ExitStack() as stack:
            committing = False
            try:
                self._begin(stack, snapshot)
                yield
                self.references.check()
                self._unmute()
                committing = True
                stack.close()
            except IntegrityError as error:
                # What is checked at COMMIT only.
                refused = self._refused(error, self.references.deleting()) if committing else None
                if refused is None:
                    raise
                raise refused from error
            finally:
                # Committed or rolled back: neither flag nor doubts outlive the transaction.
                self._muted = self._began = None
                self.references.forget()

    def _begin(self, stack: ExitStack, snapshot: bool) -> None:
        self._nested = self.connection.in_atomic_block  # within a test's transaction, and nowhere else
        clock = 0
        for left in reversed(range(BEGIN_TRIES)):
            try:
                with ExitStack() as trial:
                    trial.enter_context(transaction.atomic(using=self.using, durable=True))
                    clock = self.dialect.begin(self.connection, nested=self._nested, snapshot=snapshot)
                    stack.push(trial.pop_all())
                break
            except Exception as error:
                if not left or not self.dialect.busy(error):
                    raise
        self._began = (clock, time.perf_counter_ns()) if clock else None

    @contextmanager
    def savepoint(self, *, check: bool = True) -> Iterator[None]:
        """Undo its writes when an exception leaves it; a refusal by the database leaves it as `RowRefused`.

        ``check``: foreign keys written within must be good at its end; else that is left to what is around it.
        """
        mark, muted = self.references.mark(), self._muted
        self._depth += 1
        try:
            with self._point(check=check):
                yield
                if check:
                    self.references.check(mark)
        except BaseException as error:
            deleting = self.references.deleting(mark)
            self._undone(mark)
            self._muted = muted  # as the database, which undid what the flag was set to within
            refused = self._refused(error, deleting)
            if refused is None:
                raise
            if refused.code == "busy":
                self.dialect.hurry(self.connection)
            raise refused from error
        else:
            # What was set within now belongs to what is around it.
            if self._muted is not None:
                self._muted = min(self._muted, self._depth - 1)
        finally:
            self._depth -= 1

    @contextmanager
    def _point(self, *, check: bool) -> Iterator[None]:
        """A plain savepoint: Django's bookkeeping would cost more than what happens within."""
        name = f"syncapp_{self._depth}"
        self.run(f"SAVEPOINT {name}")
        try:
            yield
            self.dialect.release(self.connection, name, check=check)
        except BaseException:
            self.dialect.roll_back(self.connection, name)
            raise

    def _refused(self, error: BaseException, deleting: bool) -> RowRefused | None:
        if isinstance(error, OverflowError | UnicodeEncodeError):
            # Python's driver refuses what the database could not hold.
            return RowRefused(str(error), "change")
        return self.dialect.refused(error, deleting=deleting)

    def _undone(self, mark: int) -> None:
        self.references.forget(mark)

    def mute(self) -> None:
        """From here to the end of the transaction the triggers take what is written as coming from a peer."""
        if self._muted is None:
            self.dialect.set_applying(self.connection, True)
            self._muted = self._depth

    def listen(self) -> None:
        """From here on, until `mute` is called again, what is written is a change of this program."""
        # Not `_unmute`: where the flag falls at COMMIT, that would be too late here.
        if self._muted is not None:
            self.dialect.set_applying(self.connection, False)
            self._muted = None

    def _unmute(self) -> None:
        if self._muted is not None and (self._nested or not self.dialect.flag_falls):
            self.dialect.set_applying(self.connection, False)
