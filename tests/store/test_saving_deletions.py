"""Deletions of tables that are applied through their models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from django.db.models.signals import post_delete, pre_delete

import syncapp
from project.crm.models import Client, Order, Tag
from syncapp import models
from syncapp.store import catalogue
from syncapp.store.base import RowRefused
from tests.store.mortals import MemoryParty, Party, SqlParty, settle, world

CLIENT, ORDER, TAG = "crm.Client", "crm.Order", "crm.Tag"


def known(parties: list[Party], label: str, **values: object) -> list[str]:
    """A record that all programs have: its key in each."""
    first = parties[0].create(label, **values)
    settle(parties)
    uid = parties[0].uid(label, first)
    found = [party.known(uid) for party in parties]
    parties[0].clock.wait()
    return [record.pk for record in found if record is not None]


def save_in_memory(party: Party, label: str, removed: Callable[[str], None] | None = None) -> None:
    assert isinstance(party, MemoryParty)
    database = party.database
    number = database.number(label)
    links = {
        link: msgspec.structs.replace(info, saved=info.saved | {number})
        for link, info in database.setup.links.items()
    }
    database.setup = msgspec.structs.replace(database.setup, links=links)
    if removed is not None:
        database.host_removed[number] = removed


def test_a_deletion_through_the_model_does_not_come_back() -> None:
    a, b = world()
    save_in_memory(b, CLIENT)
    here, there = known([a, b], CLIENT, name="Ann")
    a.remove(CLIENT, here)
    settle([a, b])
    assert b.row(CLIENT, there) is None
    assert b.codes == []
    assert isinstance(b, MemoryParty)
    assert b.database.journal == []
    assert [event.deleted for _, event in b.database.announced][-1:] == [True]


def test_what_its_code_does_beside_is_a_change_of_its_own() -> None:
    a, b = world()
    tag_here, tag_there = known([a, b], TAG, name="one")
    save_in_memory(b, CLIENT, lambda pk: b.write(TAG, tag_there, name="none"))
    here, _ = known([a, b], CLIENT, name="Ann")
    a.remove(CLIENT, here)
    settle([a, b])
    found = a.row(TAG, tag_here)
    assert found is not None
    assert found["name"] == "none"


def test_a_deletion_that_its_code_refuses_is_a_problem() -> None:
    def refuse(pk: str) -> None:
        raise RowRefused("no", "host_code")

    a, b = world()
    save_in_memory(b, CLIENT, refuse)
    here, there = known([a, b], CLIENT, name="Ann")
    a.remove(CLIENT, here)
    settle([a, b])
    assert b.row(CLIENT, there) is not None
    assert b.codes == ["host_code"]


# -- real models -------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> tuple[Party, Party]:
    a, b = world(sql=1)
    assert isinstance(b, SqlParty)
    models.LinkTable.objects.all().delete()
    for link in b.links:
        for table in models.Table.objects.filter(label__in=[CLIENT, ORDER, TAG]):
            models.LinkTable.objects.create(link_id=link, table=table, options={"apply": "save"})
    catalogue.bump("default")
    return a, b


@pytest.mark.django_db
def test_signal_handlers_hear_of_it(pair: tuple[Party, Party]) -> None:
    a, b = pair
    heard: list[tuple[str, Any]] = []

    def before(sender: Any, instance: Any, **kwargs: Any) -> None:
        heard.append((type(instance).__name__, syncapp.applying()))

    here, _ = known([a, b], CLIENT, name="Ann", tax_id="1")
    known([a, b], ORDER, number="1", client=here)
    for signal in (pre_delete, post_delete):
        signal.connect(before, sender=Client)
        signal.connect(before, sender=Order)
    try:
        a.remove(CLIENT, here)
        settle([a, b])
    finally:
        for signal in (pre_delete, post_delete):
            signal.disconnect(before, sender=Client)
            signal.disconnect(before, sender=Order)
    assert (Client.objects.count(), Order.objects.count()) == (0, 0)
    assert [name for name, _ in heard] == ["Order", "Order", "Client", "Client"]
    assert all(found is not None for _, found in heard)
    assert b.codes == a.codes == []


@pytest.mark.django_db
def test_a_row_that_others_hold_lets_go_of_them(pair: tuple[Party, Party]) -> None:
    a, b = pair
    tag_here, tag_there = known([a, b], TAG, name="one")
    known([a, b], CLIENT, name="Ann", tax_id="1", tags=[tag_here])
    assert list(Client.objects.get().tags.values_list("pk", flat=True)) == [int(tag_there)]
    a.remove(TAG, tag_here)
    settle([a, b])
    assert Tag.objects.count() == 0
    assert list(Client.objects.get().tags.all()) == []
    assert b.codes == a.codes == []


@pytest.mark.django_db
def test_a_model_that_keeps_its_rows(pair: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    here, there = known([a, b], CLIENT, name="Ann", tax_id="1")
    monkeypatch.setattr(Client, "delete", lambda self: None)
    a.remove(CLIENT, here)
    settle([a, b])
    assert b.row(CLIENT, there) is not None
    assert b.codes == ["host_code"]
