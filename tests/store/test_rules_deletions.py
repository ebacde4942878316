"""Sums, unions and questions where deletions travel too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.store.replicas import ASK, NATIVE, SUM, UNION, Maker, Network, Replica, Shelf, shelf
from tests.vendors import SQLITE

__all__ = ["shelf"]

CHAIN = ["ab", "bc"]


@pytest.fixture
def make(shelf: Shelf, django_db_blocker: DjangoDbBlocker) -> Iterator[Maker]:
    """Networks of SQLite databases."""
    if NATIVE != SQLITE:
        pytest.skip("the run's own database is another one")
    with django_db_blocker.unblock():
        maker = Maker("sqlite", shelf)
        try:
            yield maker
        finally:
            maker.close()


def shared(network: Network, table: str, **values: object) -> bytes:
    pk = network["a"].create(table, **values)
    network.settle()
    return network["a"].known(table, pk)


def alive(network: Network, uid: bytes) -> list[bool]:
    return [replica.store.backend.records_by_uid([uid])[uid].alive for replica in network]


def test_questions_on_all_links_end_when_the_record_is_deleted_elsewhere(make: Maker) -> None:
    network = make(CHAIN, {"thing.slug": ASK}, deletions=True)
    uid = shared(network, "thing", char="x", slug="old")
    for replica in network:
        replica.write("thing", replica.pk("thing", uid), slug=replica.letter)
    network.settle()
    assert all("ask" in replica.codes for replica in network)
    a = network["a"]
    a.remove("thing", a.pk("thing", uid))
    network.settle()
    for _ in range(3):
        for replica in network:
            replica.retry()
        network.settle()
    assert alive(network, uid) == [False] * 3, "the deletion is later than all of the edits"
    assert [replica.codes for replica in network] == [[], [], []]


def tags(replica: Replica, uid: bytes) -> list[bytes]:
    keys = replica.get("client", replica.pk("client", uid), "tags")
    return sorted(replica.known("tag", key) for key in keys)


def test_an_element_deleted_in_one_program_and_added_in_another(make: Maker) -> None:
    network = make(CHAIN, {"client.tags": UNION}, deletions=True)
    red, green = shared(network, "tag", name="red"), shared(network, "tag", name="green")
    a, c = network["a"], network["c"]
    client = shared(network, "client", name="c", tags=[a.pk("tag", red)])
    a.remove("tag", a.pk("tag", green))
    c.write("client", c.pk("client", client), tags=sorted([c.pk("tag", red), c.pk("tag", green)]))
    network.settle()
    for replica in network:
        replica.retry()
    network.settle()
    assert alive(network, green) == [False] * 3
    assert [tags(replica, client) for replica in network] == [[red]] * 3
    assert [replica.codes for replica in network] == [[], [], []]
    # It goes on: what cannot be seen any more is in nobody's way.
    c.write("client", c.pk("client", client), tags=[])
    network.settle()
    assert [tags(replica, client) for replica in network] == [[]] * 3


def test_a_sum_that_is_edited_after_it_was_deleted_elsewhere_comes_back_whole(make: Maker) -> None:
    network = make(CHAIN, {"thing.integer": SUM}, deletions=True)
    uid = shared(network, "thing", char="x", integer=10)
    a, c = network["a"], network["c"]
    c.write("thing", c.pk("thing", uid), integer=12)
    network.settle()
    a.remove("thing", a.pk("thing", uid))
    a.store.seal()
    c.write("thing", c.pk("thing", uid), integer=15)
    network.settle()
    for replica in network:
        replica.retry()
    network.settle()
    assert alive(network, uid) == [True] * 3
    assert network.values("thing", uid, "integer") == [15] * 3
    a.write("thing", a.pk("thing", uid), integer=16)
    c.write("thing", c.pk("thing", uid), integer=14)
    network.settle()
    assert network.values("thing", uid, "integer") == [15] * 3
