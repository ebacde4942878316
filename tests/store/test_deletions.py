"""Deletions between programs: in memory, and with either of two in the test database."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from syncapp.core.changes import Cursor
from syncapp.core.mapping import Direction
from syncapp.core.rules import Merge
from tests.store.deletion_contract import CLIENT, ORDER, TAG, DeletionContract, Make, everywhere, known
from tests.store.mortals import Party, Ways, send, settle, world

Edges = tuple[tuple[int, int], ...]


class TestMemory(DeletionContract):
    @pytest.fixture
    def make(self) -> Make:
        return world


@pytest.mark.django_db
class TestSql(DeletionContract):
    @pytest.fixture(params=[0, 1], ids=["first", "second"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def made(edges: Edges = ((0, 1),), ways: Mapping[int, Ways] | None = None) -> list[Party]:
            return world(edges, ways, sql=request.param)

        return made


# -- in memory alone ------------------------------------------------------------------------------------------


def test_a_record_that_people_made_anew_comes_back_as_that_row() -> None:
    """The match fields tell that it is the same: no second row."""
    a, b = world(match_by={CLIENT: ["tax_id"]})
    here, there = known([a, b], CLIENT, name="Ann", tax_id="5", phone="1")
    a.remove(CLIENT, here)
    a.store.seal()
    a.create(CLIENT, name="Ann", tax_id="5")
    a.clock.wait()
    b.write(CLIENT, there, phone="2")
    settle([a, b])
    assert everywhere([a, b], CLIENT, "name", "tax_id", "phone") == [("Ann", "5", "2")]
    assert a.codes == b.codes == []


def test_a_record_that_is_gone_learns_its_other_names_too() -> None:
    """B found out late that the record has one more name: what comes under that name later is the dead record's."""
    a, b = world()
    here, there = known([a, b], CLIENT, name="Ann", phone="1")
    uid, other = a.uid(CLIENT, here), b"other name 16 by"
    b.write(CLIENT, there, phone="2")
    a.clock.wait()
    a.remove(CLIENT, here)
    a.store.seal()
    batch = b.read(1)
    assert batch is not None
    (row,) = batch.sections[0].rows
    row.aliases.append(other)
    done = a.apply(1, batch)
    assert done.totals.superseded == 1
    row.uid, row.aliases = other, []
    a.apply(1, msgspec.structs.replace(batch, start=done.have, end=Cursor(done.have.seq + 1, batch.end.tag)))
    assert a.keys(CLIENT) == []
    record = a.known(other)
    assert record is not None
    assert uid in (record.uid, *a.backend.aliases([record.id]).get(record.id, []))


def test_a_record_keeps_its_names_where_what_came_under_another_one_cannot_be_written() -> None:
    """A's order was sent, and is not confirmed; B says what else it is called, and a number that is in use."""
    a, b = world()
    client, at_b = known([a, b], CLIENT, name="Ann")
    here = a.create(ORDER, number="1", client=client)
    a.create(ORDER, number="5", client=client)
    assert a.read(1) is not None
    uid, other = a.uid(ORDER, here), b"other name 16 by"
    there = b.create(ORDER, number="5", client=at_b)
    batch = b.read(1)
    assert batch is not None
    (row,) = batch.sections[0].rows
    row.aliases += [uid, other]
    a.apply(1, batch)
    assert a.codes == ["not_unique"]
    names = (uid, other, b.uid(ORDER, there))
    assert {record.pk if (record := a.known(name)) else "" for name in names} == {here}


def test_a_sum_counts_what_was_added_before_the_record_died() -> None:
    a, b = world(merges={"crm.Order.amount": Merge.SUM})
    client, _ = known([a, b], CLIENT, name="Ann")
    order, there = known([a, b], ORDER, number="1", client=client, amount="10.00")
    a.write(ORDER, order, amount="13.00")
    a.store.seal()
    a.remove(ORDER, order)
    a.store.seal()
    a.clock.wait()
    b.write(ORDER, there, amount="9.00")
    settle([a, b])
    assert everywhere([a, b], ORDER, "amount") == ["12.00"]


def test_a_union_takes_a_record_in_again() -> None:
    """B tags a client while A deletes the tag; B's later edit of the tag brings it back, and A's client has it."""
    a, b = world(merges={"crm.Client.tags": Merge.UNION})
    tag_here, tag_there = known([a, b], TAG, name="t")
    _, ann_there = known([a, b], CLIENT, name="Ann")
    a.remove(TAG, tag_here)
    a.store.seal()
    a.clock.wait()
    b.write(CLIENT, ann_there, tags=[tag_there])
    assert send(b, 1) is not None
    assert (a.rows(CLIENT, "tags"), a.codes) == ([[]], [])
    b.write(TAG, tag_there, name="t2")
    settle([b, a])
    assert (a.rows(CLIENT, "tags"), b.rows(CLIENT, "tags")) == ([a.keys(TAG)], [[tag_there]])
    a.write(CLIENT, a.keys(CLIENT)[0], phone="1")
    settle([a, b])
    assert (a.rows(CLIENT, "tags"), b.rows(CLIENT, "tags")) == ([a.keys(TAG)], [[tag_there]])


def test_what_met_a_grave_is_told_again_when_the_record_is_back() -> None:
    """B's edit came too late at the hub, which had deleted the record; then C's later edit brings the record back."""
    hub, b, c = world([(0, 1), (0, 2)])
    here, at_b, at_c = known([hub, b, c], CLIENT, name="Ann", phone="1", address="x")
    b.write(CLIENT, at_b, phone="2")
    b.store.seal()
    hub.clock.wait()
    hub.remove(CLIENT, here)
    hub.store.seal()
    send(b, 1)
    assert hub.keys(CLIENT) == []
    hub.clock.wait()
    c.write(CLIENT, at_c, address="y")
    send(c, 2)
    send(hub, 2)
    send(c, 2)
    assert hub.keys(CLIENT), "the later edit brings it back"
    settle([hub, b, c])
    assert everywhere([hub, b, c], CLIENT, "phone", "address") == [("2", "y")]


def test_a_late_peer_hears_of_a_death_that_it_was_never_told() -> None:
    """C only receives from B, and deletes; A has the record from B as well, and shares deletions with C."""
    one_way = dict.fromkeys(("record_status", "time_added"), Direction.DOWNLOAD)
    a, b, c = world([(0, 1), (2, 1), (2, 0)], {2: {"name": Direction.DOWNLOAD, **one_way}})
    b.create(CLIENT, name="Ann")
    b.store.seal()
    send(b, 2)
    c.clock.wait()
    c.remove(CLIENT, c.keys(CLIENT)[0])
    c.store.seal()
    settle([a, b, c])
    assert c.keys(CLIENT) == a.keys(CLIENT) == b.keys(CLIENT) == []


def test_an_edit_that_was_known_before_the_record_died_is_no_news_to_its_grave() -> None:
    """A batch comes again: what it says had lost to an edit that the deletion knew of. It is not kept once more."""
    a, b, c = world([(0, 1), (1, 2)])
    *_, at_c = known([a, b, c], CLIENT, name="Ann", phone="1")
    a.write(CLIENT, a.keys(CLIENT)[0], phone="2")
    a.store.seal()
    a.clock.wait()
    c.write(CLIENT, at_c, phone="3")
    send(c, 2)
    batch = a.read(1)
    assert batch is not None
    send(a, 1)
    a.clock.wait()
    c.remove(CLIENT, at_c)
    send(c, 2)
    assert b.keys(CLIENT) == []
    kept = list(b.conflicts)
    b.apply(1, batch)
    assert b.conflicts == kept


def test_a_record_that_is_back_is_told_with_the_unions_that_hold_it() -> None:
    """While it was gone in B nobody beyond B was told that the client has it."""
    a, b, c = world([(0, 1), (1, 2)], merges={"crm.Client.tags": Merge.UNION})
    tag_a, tag_b, _ = known([a, b, c], TAG, name="t")
    b.remove(TAG, tag_b)
    send(b, 2)
    a.clock.wait()
    a.create(CLIENT, name="Ann", tags=[tag_a])
    send(a, 1)
    send(b, 2)
    assert b.rows(CLIENT, "tags") == c.rows(CLIENT, "tags") == [[]]
    a.clock.wait()
    a.write(TAG, tag_a, name="t2")
    settle([a, b, c])
    assert [len(party.rows(CLIENT, "tags")[0]) for party in (a, b, c)] == [1, 1, 1]


def test_an_edit_that_a_record_comes_back_without_is_kept() -> None:
    """B may not send the address: A has none, and gives the record back with that. B's own is in its conflict list."""
    a, b, c = world([(0, 1), (0, 2)], {1: {"address": Direction.UPLOAD}})
    b.create(CLIENT, name="Ann", address="here")
    settle([a, b, c])
    a.clock.wait()
    a.remove(CLIENT, a.keys(CLIENT)[0])
    a.store.seal()
    a.clock.wait()
    c.write(CLIENT, c.keys(CLIENT)[0], phone="2")
    c.store.seal()
    send(a, 1)
    assert b.keys(CLIENT) == []
    settle([a, b, c])
    assert everywhere([a, b, c], CLIENT, "name", "phone", "address") == [("Ann", "2", None)]
    assert ("address", None, "here") in [
        (field.rpartition(".")[2], *values) for field, *values in b.conflicts
    ]
