"""A database connection that fails at a chosen moment, as if the program had been killed there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from syncapp.store.memory import MemoryBackend, MemoryDatabase


class Killed(BaseException):
    """The program was killed. No `except Exception` may survive it."""


class FaultyBackend(MemoryBackend):
    """Counts down the primitives that are called; at zero the program is killed, mid-transaction.

    ``fuse``: None, or how many calls are left; ``before_commit``: the kill comes when the transaction would commit.
    """

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.fuse: int | None = None
        self.before_commit = False

    def tick(self) -> None:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise Killed

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with super().transaction():
            yield
            if self.before_commit:
                raise Killed


def _ticking(name: str) -> Any:
    original = getattr(MemoryBackend, name)

    def method(self: FaultyBackend, *args: Any, **options: Any) -> Any:
        if self.fuse is not None:
            self.tick()
        return original(self, *args, **options)

    return method


for _name in (
    "set_head",
    "drain",
    "drain_rows",
    "save_records",
    "rename",
    "insert_rows",
    "update_rows",
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
):
    setattr(FaultyBackend, _name, _ticking(_name))
