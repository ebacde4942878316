"""Numbers that no other program uses: for the program that syncapp works in (see ``docs/series.md``).

    invoice.number = series.next_number("crm.Invoice.number")

In mode *ranges* a number comes out of the range that this program has leased, connected or not. In mode *contiguous*
the owner is asked, so that numbers follow each other without gaps; while it cannot be asked, or within a transaction
without a reservation (`reserve`), a provisional number is given, which is replaced once it can.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import connections, transaction

from syncapp import errors
from syncapp.core.mapping import Kind
from syncapp.core.series import SPENT, WAITING
from syncapp.models import Link, LinkState
from syncapp.store import catalogue
from syncapp.store.base import Setup
from syncapp.store.series import Counter, waited_for
from syncapp.store.seriesbase import SeriesInfo
from syncapp.store.sql import SqlBackend
from syncapp.store.sql.hints import FROM_CODE

__all__ = ["declared", "next_number", "reserve"]

#: So long a save waits for its number at most, in seconds.
TIMEOUT = 5.0
#: Between two looks whether a number has come.
PAUSE = 0.01
#: Letters of provisional numbers: none that is easily taken for another.
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

#: The requests that the running code has made and that no number was taken for, by field.
_reserved: ContextVar[dict[tuple[str, int], list[int]]] = ContextVar("syncapp_reserved")


def declared(field: str, *, using: str = "default") -> bool:
    """Whether ``app.Model.field`` is a shared series here."""
    return _find(catalogue.load_setup(using), field) is not None


def next_number(field: str, *, using: str = "default", timeout: float = TIMEOUT) -> Any:
    """The next number of the series ``app.Model.field``, as a value of the field; it is used from now on.

    Outside a transaction it is taken in one of its own; within one, a rollback takes it back.

    Raises:
        NoSeries: the field has none.
        NumbersUsedUp, SeriesWaits, SeriesWaitsThere, SeriesAtEnd: there is no number; each says what to do. (In mode
            *contiguous* a provisional one is given instead.)
    """
    setup = catalogue.load_setup(using)
    info = _find(setup, field)
    if info is None:
        raise errors.NoSeries(field=field)
    number = _take(info, using)
    if number is None and not connections[using].in_atomic_block:
        with reserve(field, using=using, timeout=timeout):
            number = _take(info, using)
    if number is not None:
        return info.value(number)
    why = _reason(info, using)
    if info.contiguous and not isinstance(why, errors.SeriesAtEnd):
        return _provisional(info, using)
    raise why


@contextmanager
def reserve(field: str, *, many: int = 1, using: str = "default", timeout: float = TIMEOUT) -> Iterator[None]:
    """Before a transaction that will want ``many`` numbers of a series: see to it that they are there.

    Does nothing where that is not needed: where a range has enough, at the owner, without a series; and waits for
    nobody where the owner cannot be asked.
    """
    setup = catalogue.load_setup(using)
    info = _find(setup, field)
    if info is None or info.owned or connections[using].in_atomic_block:
        yield
        return
    backend = SqlBackend(using)
    enough = not info.contiguous and backend.series.left(info.field) >= many
    if enough or not _asked(info, using):
        yield
        return
    requests = _ask(backend, info, using, timeout, many)
    token = _reserved.set({**_reserved.get({}), (using, info.field): list(requests)})
    try:
        _await(backend, info, requests[-1], time.monotonic() + timeout)
        yield
    finally:
        _reserved.reset(token)
        with transaction.atomic(using=using):
            backend.series.unask(requests, backend.now())


def _find(setup: Setup, field: str) -> SeriesInfo | None:
    wanted = field.lower()
    return next((info for info in setup.series.values() if info.label.lower() == wanted), None)


def _take(info: SeriesInfo, using: str) -> int | None:
    backend = SqlBackend(using)
    with transaction.atomic(using=using):
        # First of all: whoever has read cannot become a writer on SQLite while others write.
        backend.series.lock(info.field)
        setup, now = backend.setup(), backend.now()
        counter = Counter(backend, info, setup.links)
        number = counter.take(now)
        counter.close()
        requests = _reserved.get({}).get((using, info.field))
        if number is not None and requests:
            backend.series.unask([requests.pop(0)], now)
    return number


# -- asking the owner ---------------------------------------------------------------------------------------


def _asked(info: SeriesInfo, using: str) -> bool:
    """Whether the owner, or who leases from it on the way to it, is connected."""
    backend = SqlBackend(using)
    counter = Counter(backend, info, backend.setup().links, peek=True)
    links = [known.link for who, known in counter.desk.book.neighbours.items() if counter.desk.leads(who)]
    states = LinkState.objects.using(using).filter(link__in=links, state="connected")
    return states.filter(lease_until__gt=backend.now()).exists()


def _ask(backend: SqlBackend, info: SeriesInfo, using: str, timeout: float, many: int) -> list[int]:
    with transaction.atomic(using=using):
        until = backend.now() + int(timeout * 1e6)
        requests = [backend.series.ask(info.field, until) for _ in range(max(1, many))]
        if connections[using].vendor == "postgresql":
            with connections[using].cursor() as cursor:
                cursor.execute(FROM_CODE)
    return requests


def _await(backend: SqlBackend, info: SeriesInfo, request: int, until: float) -> None:
    """Wait until there are as many numbers as saves that came no later than we did."""
    while time.monotonic() < until:
        if backend.series.left(info.field) >= backend.series.before(info.field, request):
            return
        time.sleep(PAUSE)


# -- without a number ---------------------------------------------------------------------------------------


def _provisional(info: SeriesInfo, using: str) -> Any:
    if info.type.kind is Kind.TEXT:
        value: Any = "P-" + "".join(secrets.choice(LETTERS) for _ in range(8))
    else:
        low = info.type.low if info.type.low is not None else -(2**31)
        value = -1 - secrets.randbelow(-low)
    backend = SqlBackend(using)
    with transaction.atomic(using=using):
        backend.series.give_provisional(info.field, str(value), backend.now())
    return value


def _reason(info: SeriesInfo, using: str) -> errors.SeriesError:
    """Why there is no number."""
    backend = SqlBackend(using)
    setup = backend.setup()
    counter = Counter(backend, info, setup.links, peek=True)
    desk = counter.desk
    if info.owned and not desk.book.sure:
        links = dict(Link.objects.using(using).values_list("pk", "name"))
        _, names = waited_for(counter, setup, links)
        return errors.SeriesWaits(field=info.label, holders=", ".join(names) or "–")
    why = {known.why for who, known in desk.book.neighbours.items() if desk.leads(who)}
    if info.owned or SPENT in why:
        return errors.SeriesAtEnd(field=info.label)
    kind = errors.SeriesWaitsThere if WAITING in why else errors.NumbersUsedUp
    return kind(field=info.label, owner=info.owner)
