"""What a failed statement says of the database: busy for a moment, away for a while, or nothing to wait for."""

from __future__ import annotations

import sqlite3
from enum import Enum

from django.db import Error, InterfaceError, InternalError, OperationalError


class Trouble(Enum):
    """What to do about a failure of the database."""

    #: Somebody else was in the way: the same again, now.
    BUSY = "busy"
    #: It cannot be reached, is starting, stopping, full: the same again, until it works.
    AWAY = "away"
    #: The statement itself: trying again changes nothing.
    NONE = "none"


#: SQLite's result codes: another connection holds a lock or has changed the schema, the statement was interrupted.
_BUSY_CODES = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_INTERRUPT}
)
#: SQLSTATEs of PostgreSQL: serialization failure, deadlock, lock timeout, cancelled by a person or a time limit.
_BUSY_STATES = frozenset({"40001", "40P01", "55P03", "57014"})
#: Classes of them that are about the statement although the driver calls them operational: a limit of the program was
#: exceeded (an index takes no such long value), a feature is not there, the object is in a state that does not fit.
_FRUITLESS_CLASSES = frozenset({"0A", "54", "55"})


def trouble_of(error: BaseException) -> Trouble:
    """Which trouble ``error``, as Django raises it, stands for."""
    cause = error.__cause__
    if not isinstance(error, OperationalError | InterfaceError):
        # A pooler that lost its server may answer out of step: the driver then has no name for what it got.
        lost = isinstance(error, InternalError) and not getattr(cause, "sqlstate", None)
        return Trouble.AWAY if lost else Trouble.NONE
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # its lowest byte: the rest says why
        if code in _BUSY_CODES:
            return Trouble.BUSY
        return Trouble.NONE if code == sqlite3.SQLITE_ERROR else Trouble.AWAY
    state = str(getattr(cause, "sqlstate", None) or "")
    if state in _BUSY_STATES:
        return Trouble.BUSY
    # No state at all: the connection broke, or none could be made.
    return Trouble.NONE if state[:2] in _FRUITLESS_CLASSES else Trouble.AWAY


def words_of(error: Error) -> str:
    """The database's own words, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
