"""Shared series in a configuration: declared, changed, taken back, exported."""

from __future__ import annotations

import msgspec
import pytest

from syncapp import conf
from syncapp.core.series import Book, Neighbour
from syncapp.core.spans import Span
from syncapp.models import Instance, Series
from syncapp.store import catalogue, config
from tests.store.configs import PASSIVE, apply, number

pytestmark = pytest.mark.django_db

SERIES = """
[[series]]
field = "CRM.invoice.number"
owner = "office"
mode = "contiguous"
format = "INV-{:06}"
"""


def version() -> int:
    return Instance.objects.get().config_version


def test_a_series_is_declared_and_reaches_the_setup() -> None:
    told = apply(PASSIVE + SERIES)[-1]
    assert told == (
        'crm.Invoice.number is a shared series now: contiguous, owned by "office", written INV-{:06}. '
        "Declare it so in every program that shares the field."
    )
    (info,) = catalogue.load_setup().series.values()
    assert info.field == number("crm.Invoice.number")
    assert (info.label, info.owner, info.owned) == ("crm.Invoice.number", "office", False)
    assert (info.contiguous, info.value(7), info.limit) == (True, "INV-000007", 10**18 - 1)


def test_the_program_of_that_name_owns_it() -> None:
    apply(PASSIVE + SERIES.replace('"office"', f'"{conf.current().instance}"'))
    (info,) = catalogue.load_setup().series.values()
    assert info.owned


def test_the_same_series_again_changes_nothing() -> None:
    apply(PASSIVE + SERIES)
    before = version()
    assert apply(PASSIVE + SERIES) == []
    assert version() == before


def test_what_is_exported_can_be_applied() -> None:
    apply(PASSIVE + SERIES)
    text = config.export()
    assert SERIES.replace("CRM.invoice", "crm.Invoice").strip() in text
    assert apply(text) == []


def test_the_book_outlives_the_declaration() -> None:
    apply(PASSIVE + SERIES)
    book = msgspec.msgpack.encode(Book(pool=(Span(5, 9),)))
    Series.objects.update(book=book)
    (told,) = apply(PASSIVE)
    assert "no shared series any more" in told
    assert catalogue.load_setup().series == {}
    apply(PASSIVE + SERIES)
    assert bytes(Series.objects.get().book) == book


def test_a_new_owner_gives_nothing_before_it_has_heard_everybody() -> None:
    apply(PASSIVE + SERIES)
    known = Neighbour(hops=0, link=1, reported=True)
    book = Book(
        me=b"m" * 20, sure=True, owner=b"o" * 16, top=70, pool=(Span(75, 80),), neighbours={b"o": known}
    )
    Series.objects.update(book=msgspec.msgpack.encode(book))
    apply(PASSIVE + SERIES.replace('"office"', '"hub"'))
    book = msgspec.msgpack.decode(bytes(Series.objects.get().book), type=Book)
    assert (book.owner, book.sure, book.next) == (b"", False, 81)
    assert (book.neighbours[b"o"].hops, book.neighbours[b"o"].reported) == (None, False)
    assert book.pool


def test_a_clone_holds_no_numbers() -> None:
    apply(PASSIVE + SERIES)
    Series.objects.update(book=msgspec.msgpack.encode(Book(pool=(Span(5, 9),))))
    config.fork()
    assert bytes(Series.objects.get().book) == b""
