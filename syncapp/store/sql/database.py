"""A database connection as the backend uses it: statements, transactions, the echo flag, late constraints."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, TypeVar

from django.db import DataError, IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncapp.store import statements
from syncapp.store.base import RowRefused
from syncapp.store.sql.dialect import Dialect, dialect_of
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
        statements.many(self.connection, sql, rows)

    def query_in(self, sql: str, values: Collection[Any], before: Sequence[Any] = ()) -> list[Row]:
        """Rows of a statement that ends in ``{}``: a list of ``values``, in as many statements as that takes."""
        found: list[Row] = []
        for part in self.parts(values, len(before)):
            found += self.query(sql.format(marks(len(part))), [*before, *part])
        return found

    def run_in(self, sql: str, values: Collection[Any], before: Sequence[Any] = ()) -> int:
        """Like `query_in`, for a statement without rows; how many rows it touched."""
        return sum(
            self.run(sql.format(marks(len(part))), [*before, *part])
            for part in self.parts(values, len(before))
        )

    def parts(self, values: Iterable[T], taken: int = 0) -> Iterator[list[T]]:
        """Cut ``values`` into lists that fit one statement beside ``taken`` other parameters."""
        rest = iter(values)
        while part := list(islice(rest, self.dialect.max_params - taken)):
            yield part

    # -- units of work --

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with ExitStack() as stack:
            self._begin(stack)
            try:
                yield
                self.references.check()
                self._unmute()
            finally:
                # Committed or rolled back: neither flag nor doubts outlive the transaction.
                self._muted = None
                self.references.forget()

    def _begin(self, stack: ExitStack) -> None:
        for left in reversed(range(BEGIN_TRIES)):
            try:
                stack.enter_context(transaction.atomic(using=self.using, durable=True))
                break
            except Exception as error:
                if not left or not self.dialect.busy(error):
                    raise
        self.dialect.lock_writes(self.connection)

    @contextmanager
    def savepoint(self, *, check: bool = True) -> Iterator[None]:
        """Undo its writes when an exception leaves it; a refusal by the database leaves it as `RowRefused`.

        ``check``: foreign keys written within must be good at its end; else that is left to what is around it.
        """
        mark, muted = self.references.mark(), self._muted
        self._depth += 1
        try:
            with self._point():
                yield
                if check:
                    self.references.check(mark)
        except BaseException as error:
            self._undone(mark)
            self._muted = muted  # as the database, which undid what the flag was set to within
            refused = self._refused(error)
            if refused is None:
                raise
            raise refused from error
        else:
            # What was set within now belongs to what is around it.
            if self._muted is not None:
                self._muted = min(self._muted, self._depth - 1)
        finally:
            self._depth -= 1

    @contextmanager
    def _point(self) -> Iterator[None]:
        """A savepoint; a plain one where Django's bookkeeping would cost more than what happens within."""
        driver = statements.direct(self.connection)
        if driver is None:
            with transaction.atomic(using=self.using):
                yield
            return
        name = f"syncapp_{self._depth}"
        driver.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            if driver.in_transaction:
                driver.execute(f"ROLLBACK TO {name}")
                driver.execute(f"RELEASE {name}")
            raise
        driver.execute(f"RELEASE {name}")

    def _refused(self, error: BaseException) -> RowRefused | None:
        if isinstance(error, IntegrityError | DataError):
            return self.dialect.refused(error)
        if isinstance(error, OverflowError | UnicodeEncodeError):
            # Python's driver refuses what the database could not hold.
            return RowRefused(str(error), "change")
        return None

    def _undone(self, mark: int) -> None:
        self.references.forget(mark)

    def mute(self) -> None:
        """From here to the end of the transaction the triggers take what is written as coming from a peer."""
        if self._muted is None:
            self.dialect.set_applying(self.connection, True)
            self._muted = self._depth

    def listen(self) -> None:
        """From here on, until `mute` is called again, what is written is a change of this program."""
        self._unmute()
        self._muted = None

    def _unmute(self) -> None:
        if self._muted is not None:
            self.dialect.set_applying(self.connection, False)


def marks(count: int) -> str:
    """Placeholders for ``count`` values, in parentheses."""
    return "(" + ", ".join(["%s"] * count) + ")"
