"""A database connection that fails at a chosen moment, as if the program had been killed there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from syncapp.core.changes import Record
from syncapp.store.memory import MemoryBackend


class Killed(BaseException):
    """The program was killed. No `except Exception` may survive it."""


#: The primitives at which a program can be killed, mid-transaction.
STEPS = (
    "set_head",
    "drain",
    "drain_rows",
    "save_records",
    "rename",
    "insert_rows",
    "update_rows",
    "delete_rows",
    "save_cursors",
    "save_peer",
    "save_flows",
    "claim",
    "add_pairs",
    "drop_pairs",
    "save_problems",
    "drop_problems",
    "add_conflicts",
    "add_log",
    "log_sent",
    "records_by_uid",
    "rows",
)


def faulty(kind: type[Any]) -> type[Any]:
    """A kind of backend that counts down the primitives that are called; at zero the program is killed.

    ``fuse``: None, or how many calls are left; ``before_commit``: the kill comes when the transaction would commit.
    ``touched``: ids of the records that were written, for whoever watches. ``locked``: rows (table, key) that a user
    holds in a transaction of his own; ``refused``: values that the database does not take.
    """

    class Faulty(kind):  # type: ignore[misc]
        fuse: int | None = None
        before_commit = False

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.touched: set[int] = set()
            self.locked: set[tuple[int, str]] = set()
            self.refused: set[Any] = set()

        @contextmanager
        def transaction(self, **options: Any) -> Iterator[None]:
            with super().transaction(**options):
                yield
                if self.before_commit:
                    raise Killed

        def save_records(self, records: Iterable[Record]) -> None:
            records = list(records)
            super().save_records(records)
            self.touched.update(record.id for record in records)

        def rename(self, record: Record, uid: bytes) -> None:
            super().rename(record, uid)
            self.touched.add(record.id)

        def lock_rows(self, table: int, pks: Collection[str], *, strong: bool = False) -> set[str] | None:
            if not self.locked:
                return cast("set[str] | None", super().lock_rows(table, pks, strong=strong))
            return {pk for pk in pks if (table, pk) in self.locked}

        def check(self, table: int, field: int, value: Any) -> Any:
            if self.refused and isinstance(value, str) and value in self.refused:
                return "this database does not take it"
            return super().check(table, field, value)

    for name in STEPS:
        setattr(Faulty, name, _ticking(getattr(Faulty, name)))
    Faulty.__name__ = f"Faulty{kind.__name__}"
    return Faulty


def _ticking(original: Any) -> Any:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise Killed
        return original(self, *args, **options)

    return method


FaultyBackend = faulty(MemoryBackend)
