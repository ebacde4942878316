"""How commits are noticed on each kind of database."""

from __future__ import annotations

from collections.abc import Callable, Collection

from django.db import connections

from syncapp.engine.wake import CommitWatch, LocalWake, Wake

#: Is there anything to seal, where does the feed end (the head as `store.sql` keeps it), does a save wait for a number?
GLANCE = (
    'SELECT EXISTS (SELECT 1 FROM "syncapp_journal"), "head_seq", EXISTS (SELECT 1 FROM "syncapp_seriesrequest") '
    'FROM "syncapp_instance" ORDER BY "id" LIMIT 1'
)


def open_wake(
    using: str,
    busy: Callable[[], bool] = lambda: False,
    sessions: Callable[[], Collection[int]] = tuple,
) -> Wake:
    """What tells that something was committed to the database ``using``.

    ``busy``: by this process, most likely. ``sessions``: this process's own, which move the feed's end knowingly.
    """
    connection = connections[using]
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite" and not connection.is_in_memory_db():  # type: ignore[attr-defined]
        return CommitWatch(name, busy=busy)
    if connection.vendor == "postgresql":
        # Imported here: psycopg is there only where it is needed.
        from syncapp.engine.listen import PostgresWatch

        return PostgresWatch(using, sessions=sessions)
    return LocalWake()
