"""What must become of records whose rows say themselves that they are deleted, whatever the databases."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from syncapp.core.changes import Batch
from tests.store.deletion_contract import known, totals_add_up
from tests.store.duplicate_contract import name_too, names
from tests.store.mortals import CONTACT, SECOND, Party, send, settle

CALL = "testapp.Call"
Make = Callable[..., list[Party]]
"""(pairs of programs that are linked, the programs that keep their rows) → the programs."""
PAIR, BOTH = ((0, 1),), (0, 1)


def shown(party: Party) -> list[tuple[str, str, bool]]:
    # What a peer's record has no value for is None in memory, and the model's default elsewhere.
    rows = party.rows(CONTACT, "name", "tel", "archived")
    return [(name, tel, bool(archived)) for name, tel, archived in rows]


class SoftContract:
    """The rules. A test module subclasses it with a `make`. A keeps its rows; B does where it is said."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    def test_what_is_archived_here_is_gone_there_and_comes_back(self, make: Make) -> None:
        a, b = make(PAIR, (0,))
        here, there = known([a, b], CONTACT, name="Ann", tel="1")
        uid = a.uid(CONTACT, here)
        a.write(CONTACT, here, archived=True)
        settle([a, b])
        assert (shown(a), b.keys(CONTACT)) == ([("Ann", "1", True)], [])
        assert [(label, pk) for label, pk, _ in b.archive] == [(CONTACT, there)]
        assert a.archive == []
        a.clock.wait()
        a.write(CONTACT, here, archived=False)
        settle([a, b])
        assert shown(a) == shown(b) == [("Ann", "1", False)]
        (back,) = b.keys(CONTACT)
        assert a.uid(CONTACT, here) == b.uid(CONTACT, back) == uid
        assert a.codes == b.codes == a.conflicts == b.conflicts == []
        totals_add_up(b)

    def test_what_is_deleted_there_is_archived_here(self, make: Make) -> None:
        a, b = make(PAIR, (0,))
        here, there = known([a, b], CONTACT, name="Ann", tel="1")
        b.remove(CONTACT, there)
        settle([a, b])
        assert shown(a) == [("Ann", "1", True)]
        assert a.read(1) is None, "no echo"
        a.store.seal()
        settle([a, b])
        assert b.keys(CONTACT) == []
        a.clock.wait()
        a.write(CONTACT, here, archived=False)
        settle([a, b])
        assert shown(a) == shown(b) == [("Ann", "1", False)]
        totals_add_up(a)

    def test_both_keep_their_rows(self, make: Make) -> None:
        a, b = make(PAIR, BOTH)
        here, there = known([a, b], CONTACT, name="Ann", tel="1")
        for party, pk, archived in ((a, here, True), (b, there, False), (b, there, True), (a, here, False)):
            party.write(CONTACT, pk, archived=archived)
            settle([a, b])
            assert shown(a) == shown(b) == [("Ann", "1", archived)]
            assert (a.keys(CONTACT), b.keys(CONTACT)) == ([here], [there])
            a.clock.wait()
        assert a.codes == b.codes == a.conflicts == b.conflicts == a.archive == b.archive == []

    def test_edits_beside_and_after_it_come_with_the_revival(self, make: Make) -> None:
        a, b = make(PAIR, BOTH)
        here, _ = known([a, b], CONTACT, name="Ann", tel="1")
        a.write(CONTACT, here, archived=True, name="Bob")
        settle([a, b])
        assert shown(b) == [("Ann", "1", True)], "a deletion says nothing else"
        a.write(CONTACT, here, tel="2")
        settle([a, b])
        assert shown(b) == [("Ann", "1", True)]
        a.write(CONTACT, here, archived=False)
        settle([a, b])
        assert shown(a) == shown(b) == [("Bob", "2", False)]
        assert a.conflicts == b.conflicts == []

    @pytest.mark.parametrize("keeping", [(0,), BOTH])
    def test_a_later_edit_keeps_the_record_alive(self, make: Make, keeping: tuple[int, ...]) -> None:
        a, b = make(PAIR, keeping)
        here, there = known([a, b], CONTACT, name="Ann", tel="1")
        a.write(CONTACT, here, archived=True)
        a.clock.wait()
        b.write(CONTACT, there, tel="2")
        settle([a, b])
        assert shown(a) == shown(b) == [("Ann", "2", False)]
        assert (a.keys(CONTACT), b.keys(CONTACT)) == ([here], [there])

    def test_an_earlier_edit_is_lost_and_can_be_brought_back(self, make: Make) -> None:
        a, b = make(PAIR, BOTH)
        here, there = known([a, b], CONTACT, name="Ann", tel="1")
        uid = a.uid(CONTACT, here)
        b.write(CONTACT, there, tel="2")
        a.clock.wait()
        a.write(CONTACT, here, archived=True)
        a.store.seal()
        assert send(a, 1) is not None
        settle([a, b])
        assert [lost for _, _, lost in b.conflicts] == [{"tel": "2"}]
        b.store.revive(uid)
        settle([a, b])
        assert [archived for *_, archived in shown(a)] == [archived for *_, archived in shown(b)] == [False]
        assert (a.keys(CONTACT), b.keys(CONTACT)) == ([here], [there])

    def test_what_is_really_deleted(self, make: Make) -> None:
        a, b = make(PAIR, (0,))
        (one, _), (other, _) = (known([a, b], CONTACT, name=name) for name in ("Ann", "Bob"))
        a.remove(CONTACT, one)
        settle([a, b])
        assert b.rows(CONTACT, "name") == ["Bob"], "a living row"
        a.write(CONTACT, other, archived=True)
        settle([a, b])
        a.remove(CONTACT, other)
        settle([a, b])
        assert a.keys(CONTACT) == b.keys(CONTACT) == []
        assert b.read(1) is None
        assert a.codes == b.codes == []

    def test_a_row_that_is_born_archived_is_nobodys_business(self, make: Make) -> None:
        a, b = make(PAIR, (0,))
        here = a.create(CONTACT, name="Ann", archived=True)
        settle([a, b])
        assert b.keys(CONTACT) == []
        a.write(CONTACT, here, archived=False)
        settle([a, b])
        assert b.rows(CONTACT, "name") == ["Ann"]

    def test_what_refers_to_a_row_that_stands(self, make: Make) -> None:
        a, b = make(PAIR, BOTH)
        here, there = known([a, b], CONTACT, name="Ann")
        old, _ = known([a, b], CALL, contact=here, text="old")
        a.write(CONTACT, here, archived=True)
        settle([a, b])
        a.create(CALL, contact=here, text="new")
        a.write(CALL, old, text="older")
        settle([a, b])
        assert sorted(b.rows(CALL, "text")) == ["new", "older"]
        assert {str(b.rows(CALL, "contact")[n]) for n in (0, 1)} == {there}
        assert a.codes == b.codes == []

    def test_what_is_redelivered_changes_nothing(self, make: Make) -> None:
        a, b = make(PAIR, BOTH)
        here, _ = known([a, b], CONTACT, name="Ann")
        batches: list[Batch] = []
        for archived in (True, False):
            a.write(CONTACT, here, archived=archived)
            batch = a.read(1)
            assert batch is not None
            batches.append(msgspec.msgpack.decode(msgspec.msgpack.encode(batch), type=Batch))
            settle([a, b])
            a.clock.wait()
        for batch in batches:
            b.apply(1, batch)
        settle([a, b])
        assert shown(a) == shown(b) == [("Ann", "", False)]
        assert b.conflicts == []

    def test_it_is_remembered_as_long_as_its_row_stands(self, make: Make) -> None:
        a, b = make(PAIR, (0,))
        here, _ = known([a, b], CONTACT, name="Ann")
        uid = a.uid(CONTACT, here)
        a.write(CONTACT, here, archived=True)
        settle([a, b])
        assert a.store.purge(a.now() + SECOND).many == 0
        assert a.known(uid) is not None
        a.remove(CONTACT, here)
        a.store.seal()
        assert a.store.purge(a.now() + SECOND).many == 1
        assert a.known(uid) is None

    def test_a_duplicate_may_be_archived_instead_of_deleted(self, make: Make) -> None:
        a, b = make(PAIR, (0,))
        first, there = known([a, b], CONTACT, name="Ann")
        second = a.create(CONTACT, name="Ann Lee")
        a.store.seal()
        name_too(b, CONTACT, there, a.uid(CONTACT, second))
        settle([a, b])
        assert a.codes == ["ambiguous"]
        a.write(CONTACT, second, archived=True)
        settle([a, b])
        a.retry()
        settle([a, b])
        assert b.keys(CONTACT) == [there]
        assert b.rows(CONTACT, "name") == ["Ann"]
        assert len(names(a, a.record(CONTACT, first))) == 2
        assert a.codes == b.codes == []

    def test_the_log_tells_of_it(self, make: Make) -> None:
        a, b = make(PAIR, BOTH)
        here, _ = known([a, b], CONTACT, name="Ann")
        status = f"{CONTACT}.record_status"
        for archived in (True, False):
            a.write(CONTACT, here, archived=archived)
            settle([a, b])
            a.clock.wait()
            assert ("out", status, archived, not archived, "sent") in a.log
        assert ("in", status, True, False, "applied") in b.log


class MatchedSoftContract:
    """Where contacts are recognised by their names."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    def test_a_row_that_is_archived_is_nobodys_twin(self, make: Make) -> None:
        a, b = make(PAIR, BOTH)
        b.create(CONTACT, name="Ann", archived=True)
        a.create(CONTACT, name="Ann")
        settle([a, b])
        assert sorted(archived for *_, archived in shown(b)) == [False, True]
        assert len(a.keys(CONTACT)) == 1
        assert a.codes == b.codes == []
