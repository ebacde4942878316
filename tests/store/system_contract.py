"""System fields that no column of their table holds, whatever the databases."""

from __future__ import annotations

from typing import Any

import pytest

from syncapp.store.systemvalues import value_of
from tests.store.deletion_contract import CLIENT, TAG, Make, known, totals_add_up
from tests.store.mortals import Party, settle

PLACE = "testapp.Place"


def kept(party: Party, label: str, pk: str, name: str = "time_added") -> Any:
    return value_of(party.record(label, pk), party.number[f"{label}.{name}"])


class SystemContract:
    """The rules. A test module subclasses it with a `make`."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    def test_the_moment_of_a_record_goes_with_it_everywhere(self, make: Make) -> None:
        parties = a, b, c = make(((0, 1), (1, 2)))
        keys = known(parties, TAG, name="red")
        moments = [kept(party, TAG, pk) for party, pk in zip(parties, keys, strict=True)]
        assert moments[0]
        assert moments == [moments[0]] * 3
        later = b.create(TAG, name="blue")
        settle(parties)
        assert kept(c, TAG, c.pk(TAG, name="blue")) == kept(b, TAG, later) > moments[0]
        c.write(TAG, keys[2], name="green")
        settle(parties)
        assert kept(a, TAG, keys[0]) == moments[0], "an edit is no beginning"
        assert [party.conflicts for party in parties] == [[], [], []]
        for party in parties:
            totals_add_up(party)

    def test_a_row_that_comes_back_is_as_old_as_before(self, make: Make) -> None:
        a, b = make()
        here, _ = known([a, b], TAG, name="red")
        moment, uid = kept(a, TAG, here), a.uid(TAG, here)
        a.remove(TAG, here)
        settle([a, b])
        assert b.keys(TAG) == []
        b.clock.wait()
        b.store.revive(uid)
        settle([a, b])
        assert kept(a, TAG, a.keys(TAG)[0]) == kept(b, TAG, b.keys(TAG)[0]) == moment

    def test_a_column_of_the_table_is_the_columns_business(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann")
        assert kept(a, CLIENT, here) is kept(b, CLIENT, there) is None

    def test_the_log_shows_it(self, make: Make) -> None:
        a, b = make()
        here, _ = known([a, b], TAG, name="red")
        moment = kept(a, TAG, here)
        for party, way in ((a, "out"), (b, "in")):
            assert moment in [row[3] for row in party.log if row[:2] == (way, f"{TAG}.time_added")]

    def test_the_creator_is_who_made_it_by_each_programs_own_users(self, make: Make) -> None:
        a, b = make()
        there = b.user("anna")
        here = a.create(PLACE, name="home")
        a.made_by(PLACE, here, "anna")
        nobody = a.create(PLACE, name="nowhere")
        settle([a, b])
        assert kept(a, PLACE, here, "creator") == a.user("anna")
        assert kept(b, PLACE, b.pk(PLACE, name="home"), "creator") == there
        assert kept(a, PLACE, nobody, "creator") is None
        assert kept(b, PLACE, b.pk(PLACE, name="nowhere"), "creator") is None
        assert a.codes == b.codes == []

    def test_a_creator_whom_nobody_knows_waits_and_the_record_does_not(self, make: Make) -> None:
        a, b = make()
        here = a.create(PLACE, name="home")
        a.made_by(PLACE, here, "anna")
        settle([a, b])
        (there,) = b.keys(PLACE)
        assert (b.codes, kept(b, PLACE, there, "creator")) == (["unknown_user"], None)
        key = b.user("anna")
        b.retry()
        assert (b.codes, kept(b, PLACE, there, "creator")) == ([], key)
        totals_add_up(b)


class MatchedSystemContract:
    """Where records are recognised: a `make` with ``match_by``."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    def test_of_two_beginnings_one_stands_and_that_is_no_conflict(self, make: Make) -> None:
        a, b = make()
        here = a.create(TAG, name="red")
        a.clock.wait()
        there = b.create(TAG, name="red")
        settle([a, b])
        assert kept(a, TAG, here) == kept(b, TAG, there) is not None
        assert a.uid(TAG, here) == b.uid(TAG, there)
        assert a.conflicts == b.conflicts == []
