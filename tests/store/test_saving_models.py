"""Applying through real models: their checks, their ``save()``, odd ones, and the signal after the commit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.db.models.signals import post_save

import syncapp
from syncapp import models
from syncapp.core.changes import Batch, Cursor, Row, RowKind, Section, WireVersion
from syncapp.core.clock import make_origin
from syncapp.core.mapping import agree
from syncapp.signals import record_applied
from syncapp.store import catalogue
from syncapp.store.sql import SqlBackend
from syncapp.store.store import Applied, Store
from tests.store.linked import Linked, drain, link_fields
from tests.testapp.models import Country, Place, Restaurant, Ticket, Token

pytestmark = pytest.mark.django_db

PEER = make_origin(b"\xff" * 16, 1)
MAPPED = {
    "testapp.Ticket": ["*"],
    "testapp.Place": ["name", "parent"],
    "testapp.Restaurant": ["place_ptr", "stars"],
    "testapp.Country": ["code", "name", "iso_number"],
    "testapp.Token": ["country"],
}


class Receiver:
    """A program that applies all its tables through their models; `take` plays its peer."""

    def __init__(self) -> None:
        self.linked: Linked = link_fields(MAPPED)
        models.LinkTable.objects.update(options={"apply": "save"})
        models.Mapping.objects.filter(field__system=True).delete()
        catalogue.bump("default")
        self.store = Store(SqlBackend())
        self.token = self.store.claim(self.linked.link, "test", 10**15) or 0
        offers = catalogue.link_catalogue(self.linked.link)
        self.agreement = agree(offers, offers)
        self._time = self.store.backend.now()
        self._seq = 0

    def take(self, label: str, uid: bytes, *, whole: bool = False, **values: Any) -> Applied:
        """Apply a peer's change of one record."""
        self._time = max(self._time, self.store.backend.now()) + 10
        start, self._seq = self._seq, self._seq + 1
        kind = RowKind.WHOLE if whole else RowKind.FIELDS
        row = Row(uid, int(kind), [WireVersion(self._time, 0)], list(values.values()))
        columns = [self.linked.numbers[f"{label}.{name}"] for name in values]
        section = Section(self.linked.tables[label], columns, [row])
        tag = b"t" * 8 if start else b""
        batch = Batch(Cursor(start, tag), Cursor(self._seq, b"t" * 8), [PEER], [section])
        return self.store.apply(self.linked.link, batch, self.agreement, self.token)

    def take_both(self, *records: tuple[str, bytes, dict[str, Any]]) -> Applied:
        """Apply new records as one batch."""
        self._time = max(self._time, self.store.backend.now()) + 10
        start, self._seq = self._seq, self._seq + 1
        sections = []
        for label, uid, values in records:
            row = Row(uid, int(RowKind.WHOLE), [WireVersion(self._time, 0)], list(values.values()))
            columns = [self.linked.numbers[f"{label}.{name}"] for name in values]
            sections.append(Section(self.linked.tables[label], columns, [row]))
        tag = b"t" * 8 if start else b""
        batch = Batch(Cursor(start, tag), Cursor(self._seq, b"t" * 8), [PEER], sections)
        return self.store.apply(self.linked.link, batch, self.agreement, self.token)

    def local(self, label: str, pk: Any) -> set[str]:
        """The fields of a record whose latest change is this program's own."""
        with self.store.backend.transaction():
            found = self.store.backend.records_by_pk(self.linked.tables[label], [str(pk)])
        (record,) = found.values()
        return {self.linked.name(n).rpartition(".")[2] for n, e in record.entries.items() if e.via == 0}

    @property
    def problems(self) -> list[tuple[str, str, str]]:
        """(code, field or nothing, detail) of each."""
        names = {number: name.rpartition(".")[2] for name, number in self.linked.numbers.items()}
        rows = models.Problem.objects.order_by("pk")
        return [(p.code, names.get(p.field_no, ""), p.params["detail"]) for p in rows]


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def ticket(receiver: Receiver) -> Ticket:
    receiver.take("testapp.Ticket", b"t" * 16, whole=True, title="One", email="a@b.example", code="1")
    return Ticket.objects.get()


# -- the model's own logic ---------------------------------------------------------------------------------


def test_a_new_record_goes_through_save(receiver: Receiver, ticket: Ticket) -> None:
    assert (ticket.title, ticket.slug, ticket.level) == ("One", "one", 1)
    assert receiver.local("testapp.Ticket", ticket.pk) == {"slug"}, (
        "a default is no change, a computed slug is"
    )
    assert drain() == []


def test_so_does_an_update(receiver: Receiver, ticket: Ticket) -> None:
    receiver.take("testapp.Ticket", b"t" * 16, title=" Two ")
    ticket.refresh_from_db()
    assert (ticket.title, ticket.slug) == ("Two", "-two-")
    assert receiver.local("testapp.Ticket", ticket.pk) == {"slug", "title"}
    assert receiver.problems == []


def test_what_a_signal_handler_does_is_a_local_change(receiver: Receiver) -> None:
    def keep(sender: Any, instance: Ticket, **kwargs: Any) -> None:
        found = syncapp.applying()
        Country.objects.create(code="xx", name=found.link if found else "nobody")

    post_save.connect(keep, sender=Ticket)
    try:
        receiver.take("testapp.Ticket", b"t" * 16, whole=True, title="One")
    finally:
        post_save.disconnect(keep, sender=Ticket)
    assert Country.objects.get().name == "Office"
    assert [row.pk for row in drain()] == ["xx"], "captured, although it was written while applying"


def test_what_the_model_refuses_is_told_in_its_own_words(receiver: Receiver, ticket: Ticket) -> None:
    receiver.take("testapp.Ticket", b"t" * 16, email="nobody", title="Two")
    ticket.refresh_from_db()
    assert (ticket.email, ticket.title) == ("a@b.example", "Two"), "only the bad field waits"
    assert receiver.problems == [("validation", "email", "Enter a valid email address.")]


@pytest.mark.parametrize(
    ("values", "code", "field", "detail"),
    [
        ({"title": "bad"}, "validation", "title", "Not this one."),
        ({"title": "never"}, "validation", "", "Never at all."),
        ({"level": 9}, "validation", "level", "Ensure this value is less than or equal to 5."),
        ({"title": "crash"}, "host_code", "", "RuntimeError: out of order"),
    ],
)
def test_ways_to_refuse(
    receiver: Receiver, ticket: Ticket, values: dict[str, Any], code: str, field: str, detail: str
) -> None:
    receiver.take("testapp.Ticket", b"t" * 16, **values)
    ticket.refresh_from_db()
    assert (ticket.title, ticket.level) == ("One", 1)
    # An integer's own range is looked at before its model is asked.
    assert [(c, f) for c, f, _ in receiver.problems] == [("value" if field == "level" else code, field)]
    if field != "level":
        assert receiver.problems[0][2] == detail
    receiver.take("testapp.Ticket", b"t" * 16, email="c@d.example")
    ticket.refresh_from_db()
    assert ticket.email == "c@d.example", "the next change goes on"


def test_a_unique_value_that_is_taken(receiver: Receiver, ticket: Ticket) -> None:
    receiver.take("testapp.Ticket", b"u" * 16, whole=True, title="Two", code="1")
    assert Ticket.objects.count() == 1
    ((code, field, detail),) = receiver.problems
    assert (code, field, detail) == ("validation", "", "code: Ticket with this Code already exists.")


def test_what_nobody_touched_is_not_asked_about(receiver: Receiver, ticket: Ticket) -> None:
    Ticket.objects.update(email="was never valid")
    receiver.take("testapp.Ticket", b"t" * 16, title="Two")
    assert Ticket.objects.get().title == "Two"
    assert receiver.problems == []


def test_times_that_the_model_sets_are_those_of_the_sender(receiver: Receiver) -> None:
    moment = "2001-02-03T04:05:06.000007Z"
    receiver.take("testapp.Ticket", b"t" * 16, whole=True, title="One", added=moment, changed=moment)
    ticket = Ticket.objects.get()
    expected = dt.datetime(2001, 2, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
    assert (ticket.added, ticket.changed) == (expected, expected)
    receiver.take("testapp.Ticket", b"t" * 16, title="Two")
    ticket.refresh_from_db()
    assert (ticket.title, ticket.changed) == ("Two", expected)
    assert receiver.local("testapp.Ticket", ticket.pk) == {"slug"}


def test_values_of_every_kind(receiver: Receiver) -> None:
    receiver.take("testapp.Country", b"c" * 16, whole=True, code="fi", name="Suomi", iso_number=246)
    receiver.take("testapp.Place", b"p" * 16, whole=True, name="Here", parent=None)
    receiver.take(
        "testapp.Ticket",
        b"t" * 16,
        whole=True,
        title="One",
        place=b"p" * 16,
        countries=[b"c" * 16],
        span=90_000_001,
        due="2026-01-02T03:04:05Z",
    )
    ticket = Ticket.objects.get()
    assert ticket.place == Place.objects.get()
    assert list(ticket.countries.all()) == [Country.objects.get()]
    assert ticket.span == dt.timedelta(seconds=90, microseconds=1)
    assert ticket.due == dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert receiver.local("testapp.Ticket", ticket.pk) == {"slug"}
    receiver.take("testapp.Ticket", b"t" * 16, countries=[], place=None)
    ticket.refresh_from_db()
    assert (list(ticket.countries.all()), ticket.place) == ([], None)
    assert receiver.local("testapp.Ticket", ticket.pk) == {"slug"}
    assert receiver.problems == []


# -- odd models --------------------------------------------------------------------------------------------


def test_a_child_leaves_what_it_inherits_as_it_is(receiver: Receiver) -> None:
    receiver.take("testapp.Place", b"p" * 16, whole=True, name="Bar", parent=None)
    receiver.take("testapp.Restaurant", b"r" * 16, whole=True, place_ptr=b"p" * 16, stars=3)
    found = Restaurant.objects.get()
    assert (found.name, found.stars, Place.objects.count()) == ("Bar", 3, 1)
    receiver.take("testapp.Restaurant", b"r" * 16, stars=4)
    receiver.take("testapp.Place", b"p" * 16, name="Bistro")
    found.refresh_from_db()
    assert (found.name, found.stars) == ("Bistro", 4)
    assert receiver.problems == []
    assert drain() == []


def test_keys_of_all_kinds(receiver: Receiver) -> None:
    receiver.take("testapp.Country", b"c" * 16, whole=True, code="fi", name="Suomi", iso_number=246)
    receiver.take("testapp.Token", b"k" * 16, whole=True, country=b"c" * 16)
    assert Token.objects.get().country_id == "fi"
    receiver.take("testapp.Country", b"c" * 16, name="Finland")
    assert Country.objects.get().name == "Finland"
    receiver.take("testapp.Country", b"d" * 16, whole=True, code="se", name="Sverige", iso_number=752)
    receiver.take("testapp.Token", b"k" * 16, country=b"d" * 16)
    assert Token.objects.get().country_id == "se"
    assert receiver.problems == []


# -- the signal --------------------------------------------------------------------------------------------


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []

    def hear(**kwargs: Any) -> None:
        del kwargs["signal"]
        found.append(kwargs)

    record_applied.connect(hear)
    yield found
    record_applied.disconnect(hear)


@pytest.mark.parametrize("options", [{}, {"apply": "save"}])
def test_the_signal_comes_after_the_commit(
    receiver: Receiver,
    heard: list[dict[str, Any]],
    options: dict[str, str],
    django_capture_on_commit_callbacks: Any,
) -> None:
    models.LinkTable.objects.update(options=options)
    catalogue.bump("default")
    with django_capture_on_commit_callbacks() as callbacks:
        receiver.take("testapp.Place", b"p" * 16, whole=True, name="Bar", parent=None)
        assert heard == []
    for callback in callbacks:
        callback()
    assert heard == [
        {
            **{"sender": Place, "link": "Office", "table": "testapp.Place", "pk": Place.objects.get().pk},
            **{"created": True, "deleted": False, "fields": ("name", "parent")},
        }
    ]


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_fails_harms_nothing(receiver: Receiver, heard: list[dict[str, Any]]) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("no")

    record_applied.connect(fail)
    try:
        receiver.take("testapp.Place", b"p" * 16, whole=True, name="Bar", parent=None)
    finally:
        record_applied.disconnect(fail)
    assert Place.objects.get().name == "Bar"
    assert len(heard) == 1


@pytest.mark.django_db(transaction=True)
def test_what_the_code_asked_for_after_the_commit_is_forgotten_with_the_record(receiver: Receiver) -> None:
    done: list[str] = []

    def later(sender: Any, instance: Place, **kwargs: Any) -> None:
        transaction.on_commit(lambda: done.append(instance.name))
        if instance.name == "bad":
            raise RuntimeError("no")

    post_save.connect(later, sender=Place)
    try:
        receiver.take("testapp.Place", b"p" * 16, whole=True, name="bad", parent=None)
        receiver.take("testapp.Place", b"q" * 16, whole=True, name="good", parent=None)
    finally:
        post_save.disconnect(later, sender=Place)
    assert done == ["good"]
    assert [code for code, _, _ in receiver.problems] == ["host_code"]


@pytest.mark.django_db(transaction=True)
def test_the_triggers_listen_although_others_were_written_in_bulk_before(receiver: Receiver) -> None:
    """One batch: a place in bulk, its echo muted; then a ticket, whose handler makes a country."""
    models.LinkTable.objects.exclude(table__label="testapp.Ticket").update(options={})
    catalogue.bump("default")

    def keep(sender: Any, instance: Ticket, **kwargs: Any) -> None:
        Country.objects.create(code="xx", name="kept")

    post_save.connect(keep, sender=Ticket)
    try:
        receiver.take_both(
            ("testapp.Place", b"p" * 16, {"name": "Bar", "parent": None}),
            ("testapp.Ticket", b"t" * 16, {"title": "One", "place": b"p" * 16}),
        )
    finally:
        post_save.disconnect(keep, sender=Ticket)
    assert receiver.problems == []
    assert [(row.table, row.pk) for row in drain()] == [(receiver.linked.tables["testapp.Country"], "xx")]
    Place.objects.update(name="Bistro")
    assert len(drain()) == 1, "and they go on listening after the commit"
