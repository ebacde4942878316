"""What must become of two rows of one program that turn out to be one record, whatever the databases."""

from __future__ import annotations

import pytest

from syncapp.core.changes import Record
from syncapp.store.refeed import feed_again
from syncapp.store.sealing import Numbering
from tests.store.deletion_contract import CLIENT, Make, everywhere, known, totals_add_up
from tests.store.mortals import Party, settle


def name_too(party: Party, label: str, pk: str, uid: bytes) -> None:
    """``party`` found out, from a third program, that its row is called ``uid`` as well; it tells everybody."""
    with party.backend.transaction():
        numbering = Numbering(party.backend, lambda n: bytes(n))
        record = party.backend.records_by_pk(party.table[label], [pk])[pk]
        party.backend.rename(record, uid)
        feed_again(record, numbering)
        party.backend.save_records([record])
        numbering.close()


def names(party: Party, record: Record) -> set[bytes]:
    with party.backend.transaction():
        return {record.uid, *party.backend.aliases([record.id]).get(record.id, ())}


def doubled(a: Party, b: Party) -> tuple[list[str], str]:
    """Two rows of A that are one of B: their keys in A, its key in B."""
    first, there = known([a, b], CLIENT, name="Ann", phone="1")
    second = a.create(CLIENT, name="Ann Lee", phone="2")
    a.store.seal()
    name_too(b, CLIENT, there, a.uid(CLIENT, second))
    settle([a, b])
    assert (a.codes, b.codes) == (["ambiguous"], [])
    a.clock.wait()
    return [first, second], there


class DuplicateContract:
    """The rules. A test module subclasses it with a `make`."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    @pytest.mark.parametrize("gone", [0, 1])
    def test_a_duplicate_that_is_deleted_takes_no_record_along(self, make: Make, gone: int) -> None:
        a, b = make()
        rows, there = doubled(a, b)
        uids, kept = [a.uid(CLIENT, row) for row in rows], rows[1 - gone]
        a.remove(CLIENT, rows[gone])
        settle([a, b])
        a.retry()
        settle([a, b])
        assert b.keys(CLIENT) == [there], "neither deleted nor made anew"
        assert everywhere([a, b], CLIENT, "name", "phone") == [[("Ann", "1"), ("Ann Lee", "2")][1 - gone]]
        for party, pk in ((a, kept), (b, there)):
            assert names(party, party.record(CLIENT, pk)) >= set(uids)
        assert (a.codes, b.codes, b.archive, b.conflicts) == ([], [], [], [])
        a.write(CLIENT, kept, phone="3")
        settle([a, b])
        b.write(CLIENT, there, name="Bob")
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name", "phone") == [("Bob", "3")]
        totals_add_up(a)
        totals_add_up(b)

    def test_a_duplicate_that_is_deleted_together_with_an_edit_of_the_other(self, make: Make) -> None:
        a, b = make()
        rows, there = doubled(a, b)
        a.write(CLIENT, rows[0], name="edited")
        a.remove(CLIENT, rows[1])
        settle([a, b])
        a.retry()
        settle([a, b])
        assert b.keys(CLIENT) == [there]
        assert everywhere([a, b], CLIENT, "name", "phone") == [("edited", "1")]

    def test_both_are_deleted(self, make: Make) -> None:
        a, b = make()
        rows, _ = doubled(a, b)
        for row in rows:
            a.remove(CLIENT, row)
        settle([a, b])
        a.retry()
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == []
        assert a.codes == b.codes == []

    def test_the_record_is_deleted_where_it_is_one(self, make: Make) -> None:
        a, b = make()
        rows, there = doubled(a, b)
        b.remove(CLIENT, there)
        settle([a, b])
        assert a.codes == ["ambiguous"], "which of the two is meant?"
        a.remove(CLIENT, rows[1])
        settle([a, b])
        a.retry()
        settle([a, b])
        everywhere([a, b], CLIENT, "name")
        assert a.codes == b.codes == []

    def test_the_duplicate_was_deleted_before_anybody_knew(self, make: Make) -> None:
        """Its deletion is under way: what is left of the record comes back under all of its names."""
        a, b = make()
        first, there = known([a, b], CLIENT, name="Ann", phone="1")
        second = a.create(CLIENT, name="Ann Lee", phone="2")
        a.store.seal()
        uid = a.uid(CLIENT, second)
        name_too(b, CLIENT, there, uid)
        batch = a.read(1)
        assert batch is not None
        a.acked(1, batch, b.apply(1, batch))
        a.clock.wait()
        a.remove(CLIENT, second)
        settle([a, b])
        assert a.keys(CLIENT) == [first]
        assert everywhere([a, b], CLIENT, "name", "phone") == [("Ann", "1")]
        (pk,) = b.keys(CLIENT)
        assert uid in names(a, a.record(CLIENT, first)) & names(b, b.record(CLIENT, pk))
        assert a.codes == b.codes == []

    def test_others_keep_the_record_too(self, make: Make) -> None:
        a, b, c = make(((0, 1), (1, 2)))
        first, there, far = known([a, b, c], CLIENT, name="Ann", phone="1")
        second = a.create(CLIENT, name="Ann Lee", phone="2")
        a.store.seal()
        name_too(b, CLIENT, there, a.uid(CLIENT, second))
        settle([a, b, c])
        a.clock.wait()
        a.remove(CLIENT, first)
        settle([a, b, c])
        a.retry()
        settle([a, b, c])
        assert everywhere([a, b, c], CLIENT, "name", "phone") == [("Ann Lee", "2")]
        assert c.keys(CLIENT) == [far]
        assert a.codes == b.codes == c.codes == []


class MatchedDuplicateContract:
    """The same where records are recognised by the tax id: a `make` with ``match_by``."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    @pytest.mark.parametrize("gone", [0, 1])
    def test_the_row_that_is_left_takes_the_place_of_the_one_that_went(self, make: Make, gone: int) -> None:
        a, b = make()
        there = b.create(CLIENT, name="Bea", tax_id="7701234567")
        rows = []
        for name in ("Ann", "Ann Lee"):
            rows.append(a.create(CLIENT, name=name, tax_id="7701234567"))
            a.store.seal()
            settle([a, b])
        assert b.codes == ["ambiguous"]
        a.clock.wait()
        a.remove(CLIENT, rows[gone])
        settle([a, b])
        for _ in range(2):
            a.retry()
            b.retry()
            settle([a, b])
        assert b.keys(CLIENT) == [there]
        assert everywhere([a, b], CLIENT, "name", "tax_id")[0][1] == "7701234567"
        assert a.codes == b.codes == []
        assert names(a, a.record(CLIENT, rows[1 - gone])) >= {b.uid(CLIENT, there)}
