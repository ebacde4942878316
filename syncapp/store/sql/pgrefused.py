"""What PostgreSQL's refusals mean: which speak of the rows that were written, and which of something else."""

from __future__ import annotations

from syncapp.store.base import RowRefused

LOCK_TIMEOUT = "55P03"
#: Two transactions waited for each other, or one was overtaken: nothing is wrong with either.
_PASSING = frozenset({"40001", "40P01", LOCK_TIMEOUT})
_UNIQUE = frozenset({"23505", "23P01"})
_FOREIGN_KEY = "23503"
#: Classes of states that speak of the data: data exceptions, integrity, check option, limits of the program (a text too
#: long for its index), exceptions of the program's own triggers, external routines, what is not supported.
_OF_ROWS = frozenset({"09", "0A", "22", "23", "27", "38", "39", "44", "54", "P0"})
_NO_PRIVILEGE = "42501"


def state(error: BaseException) -> str:
    """The SQLSTATE of an error of the driver's or of Django's; empty where there is none."""
    for candidate in (error, error.__cause__):
        found = getattr(candidate, "sqlstate", None)
        if found:
            return str(found)
    return ""


def passing(error: BaseException) -> bool:
    """Whether a unit of work failed only because others were at the same rows: it may be tried again at once."""
    return state(error) in _PASSING


def refused(error: BaseException, *, deleting: bool) -> RowRefused | None:
    """The refusal of rows that ``error`` is; None where it is something else."""
    code = state(error)
    if code == LOCK_TIMEOUT:
        return RowRefused(_text(error), "busy")
    if code in _UNIQUE:
        return RowRefused(_text(error), "not_unique")
    if code == _FOREIGN_KEY:
        return RowRefused(_text(error), "change" if deleting else "missing_target")
    if code[:2] in _OF_ROWS or code == _NO_PRIVILEGE:
        return RowRefused(_text(error), "change")
    from django.db.utils import DataError, IntegrityError

    # Without a state it was the driver that refused, before anything was sent.
    return (
        RowRefused(str(error), "change")
        if isinstance(error, DataError | IntegrityError) and not code
        else None
    )


def _text(error: BaseException) -> str:
    """What the server says, with its detail, in one line."""
    diag = getattr(error.__cause__ or error, "diag", None)
    primary, detail = getattr(diag, "message_primary", None), getattr(diag, "message_detail", None)
    return " – ".join(part for part in (primary, detail) if part) or str(error)
