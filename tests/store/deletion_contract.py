"""What must become of deletions between programs, whatever their databases: scenarios for `make`d programs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from syncapp import errors
from syncapp.core.changes import Batch, RowKind
from syncapp.core.mapping import Direction
from tests.store.mortals import Party, send, settle

CLIENT, ORDER, PAYMENT, INVOICE, TAG = "crm.Client", "crm.Order", "crm.Payment", "crm.Invoice", "crm.Tag"
PLACE, TOKEN, COUNTRY = "testapp.Place", "testapp.Token", "testapp.Country"
STATUS = "record_status"

Make = Callable[..., list[Party]]
"""(pairs of programs that are linked, link → directions as its first program has them) → the programs."""


def known(parties: list[Party], label: str, **values: object) -> list[str]:
    """A record that all programs have: its key in each."""
    first = parties[0].create(label, **values)
    settle(parties)
    uid = parties[0].uid(label, first)
    found = [party.known(uid) for party in parties]
    assert all(record is not None and record.alive for record in found)
    parties[0].clock.wait()
    return [record.pk for record in found if record is not None]


def everywhere(parties: list[Party], label: str, *names: str) -> list[object]:
    """The rows of a table, which are the same in all programs."""
    rows = [party.rows(label, *names) for party in parties]
    assert all(found == rows[0] for found in rows), rows
    return rows[0]


def totals_add_up(party: Party) -> None:
    for link in party.links:
        with party.backend.transaction():
            totals = party.backend.cursors(link).totals
        assert totals.received == totals.applied + totals.superseded + totals.duplicate + totals.parked


class DeletionContract:
    """The rules. A test module subclasses it with a `make`."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    # -- the ordinary case ----------------------------------------------------------------------------------------

    def test_what_is_deleted_here_is_gone_there(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann", phone="1")
        uid = a.uid(CLIENT, here)
        a.remove(CLIENT, here)
        done = send(a, 1)
        assert done is not None
        assert (done.fates, done.totals.applied) == ([], done.totals.received)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == []
        record = b.known(uid)
        assert record is not None
        assert (record.alive, record.pk) == (False, there)
        assert b.conflicts == a.conflicts == []
        assert [(label, pk) for label, pk, _ in b.archive] == [(CLIENT, there)]
        assert b.archive[0][2]["name"] == "Ann"
        assert a.archive == []
        totals_add_up(b)

    def test_a_deletion_does_not_come_back(self, make: Make) -> None:
        """No echo: who brought a deletion hears nothing of it."""
        a, b = make()
        here, _ = known([a, b], CLIENT, name="Ann")
        a.remove(CLIENT, here)
        assert send(a, 1) is not None
        assert b.read(1) is None
        assert send(b, 1) is None

    def test_the_log_tells_of_deletions_on_both_sides(self, make: Make) -> None:
        a, b = make()
        here, _ = known([a, b], CLIENT, name="Ann")
        a.write(CLIENT, here, phone="never to be sent")
        a.store.seal()
        a.remove(CLIENT, here)
        settle([a, b])
        status = f"{CLIENT}.record_status"
        assert a.log[-1] == ("out", status, True, False, "sent")
        assert a.log[-2][1::3] == (f"{CLIENT}.phone", "replaced")
        assert b.log[-1] == ("in", status, True, False, "applied")

    def test_redelivered_deletions_change_nothing(self, make: Make) -> None:
        a, b = make()
        here = a.create(CLIENT, name="Ann")
        create = a.read(1)
        settle([a, b])
        a.clock.wait()
        a.remove(CLIENT, here)
        batch = a.read(1)
        assert batch is not None
        first = b.apply(1, batch)
        state = (b.keys(CLIENT), b.archive, b.conflicts, b.problems)
        again = b.apply(1, batch)
        assert (b.keys(CLIENT), b.archive, b.conflicts, b.problems) == state
        assert again.totals.duplicate == first.totals.duplicate + 1
        assert create is not None
        b.apply(1, create)
        assert (b.keys(CLIENT), b.archive, b.conflicts, b.problems) == state, (
            "an old creation brings nothing back"
        )
        totals_add_up(b)

    def test_several_are_deleted_at_once(self, make: Make) -> None:
        a, b = make()
        keys = [a.create(CLIENT, name=str(n)) for n in range(30)]
        settle([a, b])
        for key in keys[:20]:
            a.remove(CLIENT, key)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == sorted((str(n) for n in range(20, 30)), key=repr)

    def test_a_row_that_came_and_went_between_two_seals_is_nobodys_business(self, make: Make) -> None:
        a, b = make()
        a.remove(CLIENT, a.create(CLIENT, name="Ann"))
        settle([a, b])
        assert b.keys(CLIENT) == []
        assert b.log == []

    # -- what the peer may not have ---------------------------------------------------------------------------------

    def test_a_record_that_was_never_sent_leaves_no_trace(self, make: Make) -> None:
        a, b = make()
        here = a.create(CLIENT, name="Ann")
        a.store.seal()
        uid = a.uid(CLIENT, here)
        a.remove(CLIENT, here)
        settle([a, b])
        assert b.known(uid) is None
        record = a.known(uid)
        assert record is not None
        assert not record.alive

    def test_a_deletion_overtakes_nothing_that_is_on_its_way(self, make: Make) -> None:
        """The record was sent, and deleted before its arrival was confirmed."""
        a, b = make()
        here = a.create(CLIENT, name="Ann")
        first = a.read(1)
        assert first is not None
        a.remove(CLIENT, here)
        second = a.read(1, after=first.end)
        assert second is not None
        assert [row.kind for section in second.sections for row in section.rows] == [RowKind.DELETED]
        done = b.apply(1, first)
        assert b.rows(CLIENT, "name") == ["Ann"]
        b.apply(1, second)
        a.acked(1, first, done)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == []

    def test_a_deletion_after_a_lost_acknowledgement(self, make: Make) -> None:
        a, b = make()
        here = a.create(CLIENT, name="Ann")
        first = a.read(1)
        assert first is not None
        done = b.apply(1, first)
        a.sent[1] = done.have  # as the next hello tells
        a.remove(CLIENT, here)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == []

    def test_a_deletion_of_a_record_that_waits(self, make: Make) -> None:
        """What was parked of it goes too, and nothing brings it back."""
        a, b = make()
        client, _ = known([a, b], CLIENT, name="Ann")
        order = a.create(ORDER, number="1", client=client)
        batch = a.read(1)
        assert batch is not None
        (section,) = batch.sections
        place = section.columns.index(a.number[f"{ORDER}.client"])
        section.rows[0].values[place] = b"nobody knows her"[:16]
        a.acked(1, batch, b.apply(1, batch))
        assert b.codes == ["missing_target"]
        a.remove(ORDER, order)
        settle([a, b])
        assert (b.codes, b.keys(ORDER)) == ([], [])
        b.apply(1, batch)
        assert (b.codes, b.keys(ORDER)) == ([], [])
        totals_add_up(b)

    def test_a_peer_that_asks_for_a_dead_record_hears_of_its_end(self, make: Make) -> None:
        a, b = make()
        here = a.create(CLIENT, name="Ann")
        a.store.seal()
        with a.backend.transaction():
            a.backend.add_pairs(1, [a.backend.records_by_pk(a.table[CLIENT], [here])[here].id])
        batch = a.read(1)
        assert batch is not None
        done = b.apply(1, batch)
        assert (done.want, b.codes) == ([a.uid(CLIENT, here)], ["unknown_record"])
        a.remove(CLIENT, here)
        a.store.seal()
        a.acked(
            1, batch, done._replace(have=a.store.greeting(1).head)
        )  # as if it had heard of the deletion already
        settle([a, b])
        assert (b.codes, b.keys(CLIENT)) == ([], [])

    # -- edit against deletion --------------------------------------------------------------------------------------

    @pytest.mark.parametrize("deleter", [0, 1])
    def test_a_later_edit_keeps_the_record_alive(self, make: Make, deleter: int) -> None:
        parties = make()
        keys = known(parties, CLIENT, name="Ann", phone="1")
        uid = parties[0].uid(CLIENT, keys[0])
        parties[deleter].remove(CLIENT, keys[deleter])
        parties[0].clock.wait()
        parties[1 - deleter].write(CLIENT, keys[1 - deleter], phone="2")
        settle(parties)
        assert everywhere(parties, CLIENT, "name", "phone") == [("Ann", "2")]
        kept = [entry for party in parties for entry in party.conflicts]
        assert kept
        assert set(kept) == {(f"{CLIENT}.record_status", True, False)}
        records = [party.known(uid) for party in parties]
        assert all(record is not None and record.alive for record in records)
        stamps = {
            r.entries[p.number[f"{CLIENT}.record_status"]].version.stamp
            for p, r in zip(parties, records, strict=True)
            if r
        }
        assert len(stamps) == 1
        # And it lives on like any other.
        parties[0].write(CLIENT, parties[0].pk(CLIENT, name="Ann"), phone="3")
        settle(parties)
        assert everywhere(parties, CLIENT, "phone") == ["3"]

    def test_a_later_edit_that_arrives_before_the_deletion_is_sent(self, make: Make) -> None:
        """Only the changed field arrives: the deleter asks for the whole record."""
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann", phone="1")
        a.remove(CLIENT, here)
        a.store.seal()
        a.clock.wait()
        b.write(CLIENT, there, phone="2")
        done = send(b, 1)
        assert done is not None
        assert done.want == [b.uid(CLIENT, there)]
        settle([b, a])
        assert everywhere([a, b], CLIENT, "name", "phone") == [("Ann", "2")]
        assert a.codes == b.codes == []

    def test_an_earlier_edit_is_lost_with_the_record_and_kept(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann", phone="1")
        b.write(CLIENT, there, phone="2")
        b.store.seal()
        a.clock.wait()
        a.remove(CLIENT, here)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == []
        assert b.conflicts == [(f"{CLIENT}.record_status", False, {"phone": "2"})]
        assert b.archive[0][2]["phone"] == "2"

    def test_an_earlier_edit_that_meets_the_grave_is_kept_once(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann", phone="1")
        b.write(CLIENT, there, phone="2")
        a.clock.wait()
        a.remove(CLIENT, here)
        a.store.seal()
        batch = b.read(1)
        assert batch is not None
        first = a.apply(1, batch)
        assert [(fate.result, fate.code) for fate in first.fates] == [("superseded", "deleted")]
        a.apply(1, batch)
        assert a.conflicts == [(f"{CLIENT}.record_status", False, {"phone": "2"})]
        totals_add_up(a)

    def test_an_edit_that_the_deletion_knew_is_simply_superseded(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann", phone="1")
        b.write(CLIENT, there, phone="2")
        old = b.read(1)
        settle([a, b])
        a.clock.wait()
        a.remove(CLIENT, here)
        settle([a, b])
        assert old is not None
        a.apply(1, old)
        assert a.conflicts == b.conflicts == []

    def test_an_unsealed_edit_here_takes_part(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann", phone="1")
        a.remove(CLIENT, here)
        batch = a.read(1)
        a.clock.wait()
        b.write(CLIENT, there, phone="2")
        assert batch is not None
        b.apply(1, batch)
        assert b.rows(CLIENT, "phone") == ["2"]
        settle([a, b])
        assert everywhere([a, b], CLIENT, "phone") == ["2"]

    def test_deleted_on_both_sides(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann")
        uid = a.uid(CLIENT, here)
        a.remove(CLIENT, here)
        b.remove(CLIENT, there)
        settle([a, b])
        assert a.conflicts == b.conflicts == []
        records = [a.known(uid), b.known(uid)]
        stamps = {
            record.entries[party.number[f"{CLIENT}.record_status"]].version.stamp
            for party, record in zip([a, b], records, strict=True)
            if record
        }
        assert len(stamps) == 1

    def test_a_deletion_after_the_revival_stays(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann", phone="1")
        a.remove(CLIENT, here)
        a.clock.wait()
        b.write(CLIENT, there, phone="2")
        settle([a, b])
        a.clock.wait()
        a.remove(CLIENT, a.pk(CLIENT, name="Ann"))
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == []
        assert len(b.archive) == 1

    # -- records that come again ------------------------------------------------------------------------------------

    def test_a_row_made_anew_by_people_is_a_new_record(self, make: Make) -> None:
        a, b = make()
        here, _ = known([a, b], COUNTRY, code="FI", name="Suomi", iso_number=246)
        old = a.uid(COUNTRY, here)
        a.remove(COUNTRY, here)
        a.store.seal()
        a.create(COUNTRY, code="FI", name="Finland", iso_number=246)
        settle([a, b])
        assert everywhere([a, b], COUNTRY, "code", "name") == [("FI", "Finland")]
        assert a.uid(COUNTRY, a.pk(COUNTRY, code="FI")) == b.uid(COUNTRY, b.pk(COUNTRY, code="FI")) != old
        dead = b.known(old)
        assert dead is not None
        assert not dead.alive

    def test_deleted_and_made_anew_before_a_seal_is_the_same_record(self, make: Make) -> None:
        """What is there now decides: the row was rewritten."""
        a, b = make()
        here, _ = known([a, b], COUNTRY, code="FI", name="Suomi", iso_number=246)
        old = a.uid(COUNTRY, here)
        if hasattr(a, "database"):
            a.remove(COUNTRY, here)
            a.database.next_pk[a.table[COUNTRY]] = int(here)
            a.create(COUNTRY, code="FI", name="Finland", iso_number=246)
        else:
            a.remove(COUNTRY, here)
            a.create(COUNTRY, code="FI", name="Finland", iso_number=246)
        settle([a, b])
        assert everywhere([a, b], COUNTRY, "code", "name") == [("FI", "Finland")]
        assert a.uid(COUNTRY, here) == old
        assert b.archive == []

    def test_a_unique_value_passes_from_a_deleted_record_to_a_new_one(self, make: Make) -> None:
        a, b = make()
        client, _ = known([a, b], CLIENT, name="Ann")
        order, _ = known([a, b], ORDER, number="1", client=client, subject="old")
        a.remove(ORDER, order)
        a.create(ORDER, number="1", client=client, subject="new")
        settle([a, b])
        assert everywhere([a, b], ORDER, "number", "subject") == [("1", "new")]
        assert b.codes == []

    def test_relations_that_wait_are_filled_in_when_the_record_returns(self, make: Make) -> None:
        a, b = make()
        tag_here, tag_there = known([a, b], TAG, name="t")
        home_here, home_there = known([a, b], PLACE, name="home")
        ann_here, ann_there = known([a, b], CLIENT, name="Ann")
        a.remove(TAG, tag_here)
        a.remove(PLACE, home_here)
        a.store.seal()
        a.clock.wait()
        b.write(CLIENT, ann_there, tags=[tag_there])
        b.create(PLACE, name="room", parent=home_there)
        batch = b.read(1)
        assert batch is not None
        b.acked(1, batch, a.apply(1, batch))
        assert a.codes == ["target_deleted", "target_deleted"]
        b.write(TAG, tag_there, name="t2")
        b.write(PLACE, home_there, name="home2")
        settle([b, a])
        assert a.codes == b.codes == []
        assert a.row(CLIENT, ann_here)["tags"] == [a.pk(TAG, name="t2")]  # type: ignore[index]
        assert a.row(PLACE, a.pk(PLACE, name="room"))["parent"] == a.pk(PLACE, name="home2")  # type: ignore[index]

    def test_what_is_not_exchanged_comes_back_with_the_record(self, make: Make) -> None:
        """A peer's deletion took the row away here; a third program's later edit brings it back, whole."""
        a, b, c = parties = make(((0, 1), (1, 2)))
        here, there, far = known(parties, CLIENT, name="Ann", phone="1")
        b.write(CLIENT, there, note="only here")
        settle(parties)
        a.remove(CLIENT, here)
        a.store.seal()
        a.clock.wait()
        c.write(CLIENT, far, phone="2")
        c.store.seal()
        assert send(a, 1) is not None
        assert b.keys(CLIENT) == []
        settle(parties)
        assert everywhere(parties, CLIENT, "name", "phone") == [("Ann", "2")]
        assert b.rows(CLIENT, "note") == ["only here"]
        assert b.archive == []

    # -- directions -------------------------------------------------------------------------------------------------

    def test_upload_only(self, make: Make) -> None:
        """Deletions go from the first program to the second; what the second deletes stays in the first."""
        a, b = make(ways={1: {STATUS: Direction.UPLOAD}})
        keys = [known([a, b], CLIENT, name=name, phone="1") for name in ("Ann", "Bob", "Cid")]
        b.remove(CLIENT, keys[0][1])
        settle([a, b])
        assert (a.rows(CLIENT, "name"), b.rows(CLIENT, "name")) == (["Ann", "Bob", "Cid"], ["Bob", "Cid"])
        assert ("out", f"{CLIENT}.record_status", True, False, "local") in b.log
        # An edit of the source does not undo what was deleted on purpose over there.
        a.write(CLIENT, keys[0][0], phone="2")
        done = send(a, 1)
        assert done is not None
        assert [fate.code for fate in done.fates] == ["deleted"]
        settle([a, b])
        assert b.rows(CLIENT, "name") == ["Bob", "Cid"]
        # The source's deletion wins over an edit that is later.
        a.clock.wait()
        a.remove(CLIENT, keys[1][0])
        a.store.seal()
        a.clock.wait()
        b.write(CLIENT, keys[1][1], phone="3")
        settle([b, a])
        assert (a.rows(CLIENT, "name"), b.rows(CLIENT, "name")) == (["Ann", "Cid"], ["Cid"])
        assert (f"{CLIENT}.record_status", False, {"phone": "3"}) in b.conflicts
        assert a.codes == b.codes == []
        totals_add_up(a)
        totals_add_up(b)

    def test_download_only_is_the_same_from_the_other_side(self, make: Make) -> None:
        a, b = make(ways={1: {STATUS: Direction.DOWNLOAD}})
        ann, bob = (known([a, b], CLIENT, name=name, phone="1") for name in ("Ann", "Bob"))
        a.remove(CLIENT, ann[0])
        b.remove(CLIENT, bob[1])
        settle([a, b])
        assert (a.rows(CLIENT, "name"), b.rows(CLIENT, "name")) == ([], ["Ann"])

    @pytest.mark.parametrize("edit_first", [True, False])
    def test_beyond_the_receiver_its_other_links_decide(self, make: Make, edit_first: bool) -> None:
        """The source only deletes in the hub; the branch shares deletions with the hub, and has a later edit.

        What the source has deleted had been edited in the hub, or it comes alive again there, after that.
        """
        hub, source, branch = make(((0, 1), (0, 2)), {1: {STATUS: Direction.DOWNLOAD}})
        _, there, beyond = known([hub, source, branch], CLIENT, name="Ann", phone="1")
        source.remove(CLIENT, there)
        source.store.seal()
        hub.clock.wait()
        branch.write(CLIENT, beyond, phone="2")
        first, second = ((branch, 2), (source, 1)) if edit_first else ((source, 1), (branch, 2))
        send(*first)
        send(*second)
        settle([hub, source, branch])
        lives = [] if edit_first else [("Ann", "2")]
        assert hub.rows(CLIENT, "name", "phone") == branch.rows(CLIENT, "name", "phone") == lives
        assert source.keys(CLIENT) == []
        assert hub.codes == source.codes == branch.codes == []
        if lives:  # the source, which is not told, goes on without it
            hub.clock.wait()
            hub.write(CLIENT, hub.keys(CLIENT)[0], phone="3")
            settle([hub, source, branch])
            assert (source.keys(CLIENT), branch.rows(CLIENT, "phone")) == ([], ["3"])

    def test_off_means_that_deletions_stay_here_and_say_so_once(self, make: Make) -> None:
        a, b = make(ways={1: {STATUS: Direction.OFF}})
        here, there = known([a, b], CLIENT, name="Ann", phone="1")
        a.remove(CLIENT, here)
        settle([a, b])
        assert (a.rows(CLIENT, "name"), b.rows(CLIENT, "name")) == ([], ["Ann"])
        assert [row for row in a.log if row[4] == "local"] == [
            ("out", f"{CLIENT}.record_status", True, False, "local")
        ]
        for phone in ("2", "3"):
            b.write(CLIENT, there, phone=phone)
            done = send(b, 1)
            assert done is not None
            assert ([fate.code for fate in done.fates], done.want) == (["deleted"], [])
        settle([a, b])
        assert (a.rows(CLIENT, "name"), a.codes, a.conflicts) == ([], [], [])
        totals_add_up(a)

    def test_without_time_added_the_status_does_not_flow(self, make: Make) -> None:
        a, b = make(ways={1: {f"{CLIENT}.time_added": Direction.OFF}})
        for party in (a, b):
            codes = {party.named(s.field): s.code for s in party.agreements[1].suspended}
            assert codes == {f"{CLIENT}.record_status": "needs_time_added"}
        here, _ = known([a, b], CLIENT, name="Ann")
        a.remove(CLIENT, here)
        settle([a, b])
        assert b.rows(CLIENT, "name") == ["Ann"]

    def test_a_deletion_that_was_not_agreed_is_refused(self, make: Make) -> None:
        """A peer that sends one all the same: G7."""
        a, b = make()
        here, _ = known([a, b], CLIENT, name="Ann")
        a.remove(CLIENT, here)
        batch = a.read(1)
        assert batch is not None
        flow = b.agreements[1].tables[b.table[CLIENT]]
        flow.into = {
            there: here for there, here in flow.into.items() if here != b.number[f"{CLIENT}.record_status"]
        }
        before = b.apply(1, batch)
        assert [(fate.result, fate.code) for fate in before.fates] == [("refused", "not_shared")]
        assert b.rows(CLIENT, "name") == ["Ann"]
        totals_add_up(b)

    def test_a_deletion_that_says_something_else_is_malformed(self, make: Make) -> None:
        a, b = make()
        here, _ = known([a, b], CLIENT, name="Ann")
        a.remove(CLIENT, here)
        batch = a.read(1)
        assert batch is not None
        batch.sections[0].rows[0].values = [True]
        with pytest.raises(errors.Malformed):
            b.apply(1, batch)

    def test_a_status_that_says_deleted_is_a_deletion_whatever_the_rows_kind(self, make: Make) -> None:
        a, b = make()
        here, _ = known([a, b], CLIENT, name="Ann", phone="1")
        a.write(CLIENT, here, phone="2")
        a.remove(CLIENT, here)
        batch = a.read(1)
        assert batch is not None
        row = batch.sections[0].rows[0]
        row.kind = int(RowKind.FIELDS)
        batch.sections[0].columns.append(a.number[f"{CLIENT}.phone"])
        row.values.append("2")
        done = b.apply(1, batch)
        assert b.rows(CLIENT, "name") == []
        assert [(fate.result, fate.code) for fate in done.fates] == [("superseded", "deleted")]
        totals_add_up(b)

    def test_a_deletion_from_the_future_is_parked(self, make: Make) -> None:
        a, b = make()
        here, _ = known([a, b], CLIENT, name="Ann")
        a.offset = 3_600_000_000
        a.remove(CLIENT, here)
        settle([a, b])
        assert (b.rows(CLIENT, "name"), b.codes) == (["Ann"], ["future"])
        if not hasattr(b, "database"):
            return  # the test database has the machine's clock
        a.clock.wait(7200)
        b.retry()
        assert (b.rows(CLIENT, "name"), b.codes) == ([], [])

    # -- rows that others refer to ------------------------------------------------------------------------------

    def test_children_that_the_peer_did_not_know_go_with_their_parent(self, make: Make) -> None:
        """As the model says, and as a change of this program's own: the peer hears of it."""
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann")
        order = b.create(ORDER, number="1", client=there)
        b.create(PAYMENT, order=order, comment="first")
        a.remove(CLIENT, here)
        assert send(a, 1) is not None
        assert [b.keys(label) for label in (CLIENT, ORDER, PAYMENT)] == [[], [], []]
        assert sorted(label for label, _, _ in b.archive) == [CLIENT, ORDER, PAYMENT]
        settle([a, b])
        assert [a.keys(label) for label in (CLIENT, ORDER, PAYMENT)] == [[], [], []]
        assert a.codes == b.codes == []

    def test_children_that_both_know_go_on_both_sides_without_a_word_back(self, make: Make) -> None:
        a, b = make()
        here, _ = known([a, b], CLIENT, name="Ann")
        known([a, b], ORDER, number="1", client=here)
        a.remove(CLIENT, here)
        assert send(a, 1) is not None
        assert (b.keys(CLIENT), b.keys(ORDER)) == ([], [])
        assert b.read(1) is None
        assert len(b.archive) == 2

    @pytest.mark.parametrize("records", [1, 2, 1000])
    @pytest.mark.parametrize("parents_first", [False, True])
    def test_children_and_parents_in_any_order_and_any_pieces(
        self, make: Make, records: int, parents_first: bool
    ) -> None:
        a, b = make()
        client, _ = known([a, b], CLIENT, name="Ann")
        order, _ = known([a, b], ORDER, number="1", client=client)
        payment, _ = known([a, b], PAYMENT, order=order, comment="first")
        a.remove(CLIENT, client)
        a.store.seal()
        # Numbered anew in the order that is asked for.
        with a.backend.transaction():
            dead = [r for r in a.backend.records_after(0, 100) if not r.alive]
            dead.sort(key=lambda record: LEVELS[a.label_of[record.table]], reverse=not parents_first)
            head = a.backend.instance().head
            for number, record in enumerate(dead, head.seq + 1):
                status = a.number[f"{a.label_of[record.table]}.record_status"]
                record.seq = number
                record.entries[status] = record.entries[status]._replace(seq=number)
            a.backend.save_records(dead)
            a.backend.set_head(type(head)(head.seq + len(dead), b"renumber"))
        settle([a, b], records)
        assert [b.keys(label) for label in (CLIENT, ORDER, PAYMENT)] == [[], [], []]
        assert [a.keys(label) for label in (CLIENT, ORDER, PAYMENT)] == [[], [], []]
        assert a.codes == b.codes == []
        assert payment

    def test_a_field_that_may_be_empty_lets_go(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], PLACE, name="home")
        room = b.create(PLACE, name="room", parent=there)
        a.remove(PLACE, here)
        assert send(a, 1) is not None
        assert b.rows(PLACE, "name", "parent") == [("room", None)]
        settle([a, b])
        assert everywhere([a, b], PLACE, "name", "parent") == [("room", None)]
        assert room
        assert a.codes == b.codes == []

    def test_letting_go_brings_nothing_back_that_is_deleted_as_well(self, make: Make) -> None:
        """The consequence of a deletion is no newer edit: the child's own deletion, in a later batch, still counts."""
        a, b = make()
        home, _ = known([a, b], PLACE, name="home")
        room, _ = known([a, b], PLACE, name="room", parent=home)
        a.remove(PLACE, home)
        a.store.seal()
        first = a.read(1)
        a.remove(PLACE, room)
        a.store.seal()
        a.clock.wait(60)
        assert first is not None
        # Only the parent's deletion arrives at first.
        for section in first.sections:
            section.rows = [row for row in section.rows if row.kind == RowKind.DELETED]
        b.apply(1, first)
        assert b.rows(PLACE, "name", "parent") == [("room", None)]
        settle([a, b])
        assert everywhere([a, b], PLACE, "name") == []

    def test_many_to_many_loses_its_target(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], TAG, name="t")
        b.create(CLIENT, name="Ann", tags=[there])
        a.remove(TAG, here)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name", "tags") == [("Ann", [])]
        assert a.codes == b.codes == []

    def test_an_edit_that_still_names_a_deleted_target_is_set_right(self, make: Make) -> None:
        """B tags a client while A deletes the tag: the relation waits at A, until B has heard of the deletion."""
        a, b = make()
        tag_here, tag_there = known([a, b], TAG, name="t")
        ann_here, ann_there = known([a, b], CLIENT, name="Ann")
        a.remove(TAG, tag_here)
        a.store.seal()
        a.clock.wait()
        b.write(CLIENT, ann_there, tags=[tag_there])
        assert send(b, 1) is not None
        assert a.codes == ["target_deleted"]
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name", "tags") == [("Ann", [])]
        assert a.codes == b.codes == []
        assert ann_here

    def test_self_references_and_rings(self, make: Make) -> None:
        a, b = make()
        alone, _ = known([a, b], PLACE, name="alone")
        one, _ = known([a, b], PLACE, name="one", parent=alone)
        two, _ = known([a, b], PLACE, name="two", parent=one, near=[one])
        a.write(PLACE, alone, parent=alone)
        a.write(PLACE, one, parent=two, near=[two])
        settle([a, b])
        for key in (one, two, alone):
            a.remove(PLACE, key)
        settle([a, b])
        assert everywhere([a, b], PLACE, "name") == []
        assert a.codes == b.codes == []

    def test_what_protects_keeps_the_record_and_says_so(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], COUNTRY, code="FI", name="Suomi", iso_number=246)
        other, _ = known([a, b], COUNTRY, code="SE", name="Sverige", iso_number=752)
        b.create(TOKEN, country=there)
        a.remove(COUNTRY, here)
        a.remove(COUNTRY, other)
        done = send(a, 1)
        assert done is not None
        assert b.rows(COUNTRY, "code") == ["FI"], "one that is held up stalls no other"
        (problem,) = b.problems
        assert (problem.code, problem.params["by"], problem.params["count"]) == ("protected", TOKEN, 1)
        assert "testapp.Token" in str(errors.from_code(problem.code, problem.params))
        assert [(fate.field, fate.result, fate.code) for fate in done.fates] == [(0, "parked", "protected")]
        totals_add_up(b)
        # Redelivered, it is no second problem.
        a.write(COUNTRY, a.create(COUNTRY, code="NO", name="Norge", iso_number=578), name="Norge!")
        settle([a, b])
        assert b.codes == ["protected"]

    def test_a_protected_record_goes_when_what_refers_to_it_goes(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], COUNTRY, code="FI", name="Suomi", iso_number=246)
        b.create(TOKEN, country=there)
        a.remove(COUNTRY, here)
        assert send(a, 1) is not None
        assert b.codes == ["protected"]
        b.remove(TOKEN, b.keys(TOKEN)[0])
        b.store.seal()
        assert b.due() == 1
        assert (b.keys(COUNTRY), b.codes) == ([], [])
        settle([a, b])
        assert (a.keys(COUNTRY), a.codes) == ([], [])

    def test_a_protected_record_goes_when_what_refers_to_it_looks_elsewhere(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], COUNTRY, code="FI", name="Suomi", iso_number=246)
        _, sweden = known([a, b], COUNTRY, code="SE", name="Sverige", iso_number=752)
        token = b.create(TOKEN, country=there)
        a.remove(COUNTRY, here)
        assert send(a, 1) is not None
        b.write(TOKEN, token, country=sweden)
        b.store.seal()
        assert b.due() == 1
        assert (b.rows(COUNTRY, "code"), b.codes) == (["SE"], [])

    def test_a_protected_record_goes_when_the_peer_deletes_what_refers_to_it(self, make: Make) -> None:
        """In a later batch: nobody has to retry by hand."""
        a, b = make()
        here, _ = known([a, b], COUNTRY, code="FI", name="Suomi", iso_number=246)
        token, _ = known([a, b], TOKEN, country=here)
        a.remove(TOKEN, token)
        a.remove(COUNTRY, here)
        a.store.seal()
        batch = a.read(1)
        assert batch is not None
        token_section = next(s for s in batch.sections if s.table == a.table[TOKEN])
        batch.sections.remove(token_section)
        b.apply(1, batch)
        assert b.codes == ["protected"]
        settle([a, b])
        assert (b.keys(COUNTRY), b.keys(TOKEN), b.codes) == ([], [], [])

    def test_an_edit_revives_what_is_protected(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], COUNTRY, code="FI", name="Suomi", iso_number=246)
        b.create(TOKEN, country=there)
        a.remove(COUNTRY, here)
        assert send(a, 1) is not None
        assert b.codes == ["protected"]
        a.clock.wait()
        b.write(COUNTRY, there, name="Finland")
        b.store.seal()
        b.retry()
        settle([a, b])
        assert everywhere([a, b], COUNTRY, "code", "name") == [("FI", "Finland")]
        assert a.codes == b.codes == []
        assert [len(party.keys(TOKEN)) for party in (a, b)] == [1, 1]

    def test_a_child_that_is_moved_in_the_same_batch_stays(self, make: Make) -> None:
        a, b = make()
        old, _ = known([a, b], CLIENT, name="old")
        order, _ = known([a, b], ORDER, number="1", client=old)
        new = a.create(CLIENT, name="new")
        a.write(ORDER, order, client=new)
        a.remove(CLIENT, old)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == ["new"]
        assert everywhere([a, b], ORDER, "number") == ["1"]
        assert a.codes == b.codes == []
        assert [label for label, _, _ in b.archive] == [CLIENT]

    # -- more than two programs ---------------------------------------------------------------------------------

    def test_a_hub_passes_deletions_on(self, make: Make) -> None:
        parties = make(((0, 1), (0, 2)))
        keys = known(parties, CLIENT, name="Ann", phone="1")
        parties[2].remove(CLIENT, keys[2])
        settle(parties)
        assert everywhere(parties, CLIENT, "name") == []
        assert parties[0].read(2) is None

    def test_a_hub_keeps_deletions_where_they_are_not_wanted(self, make: Make) -> None:
        parties = make(((0, 1), (0, 2)), {1: {STATUS: Direction.OFF}})
        keys = known(parties, CLIENT, name="Ann", phone="1")
        parties[2].remove(CLIENT, keys[2])
        settle(parties)
        assert [party.rows(CLIENT, "name") for party in parties] == [[], ["Ann"], []]
        parties[1].write(CLIENT, keys[1], phone="2")
        settle(parties)
        assert [party.rows(CLIENT, "name") for party in parties] == [[], ["Ann"], []]

    def test_edit_against_deletion_in_a_ring(self, make: Make) -> None:
        parties = make(((0, 1), (1, 2), (2, 0)))
        keys = known(parties, CLIENT, name="Ann", phone="1")
        parties[0].remove(CLIENT, keys[0])
        parties[0].clock.wait()
        parties[1].write(CLIENT, keys[1], phone="2")
        settle(parties)
        assert everywhere(parties, CLIENT, "name", "phone") == [("Ann", "2")]
        parties[0].clock.wait()
        parties[2].remove(CLIENT, parties[2].pk(CLIENT, name="Ann"))
        settle(parties)
        assert everywhere(parties, CLIENT, "name") == []

    def test_a_deletion_that_comes_before_the_creation_is_remembered(self, make: Make) -> None:
        """In a ring, by two roads: the record is never seen alive where its end was heard of first."""
        a, b, c = parties = make(((0, 1), (1, 2), (2, 0)))
        here = a.create(CLIENT, name="Ann")
        a.store.seal()
        uid = a.uid(CLIENT, here)
        first = a.read(3)
        assert first is not None
        assert send(a, 1) is not None
        late = b.read(2)
        assert late is not None
        a.remove(CLIENT, here)
        gone = a.read(3, after=first.end)
        assert gone is not None
        c.apply(3, _moved(gone, first))
        record = c.known(uid)
        assert record is not None
        assert not record.alive
        done = c.apply(2, late)
        assert c.rows(CLIENT, "name") == []
        assert {fate.code for fate in done.fates} == {"deleted"}
        settle(parties)
        assert everywhere(parties, CLIENT, "name") == []

    def test_the_end_of_a_record_that_nobody_had_is_not_told(self, make: Make) -> None:
        a, b = make()
        here = a.create(CLIENT, name="Ann")
        a.store.seal()
        uid = a.uid(CLIENT, here)
        a.remove(CLIENT, here)
        settle([a, b])
        assert b.known(uid) is None

    def test_the_end_of_a_record_that_somebody_had_is_told_to_everybody(self, make: Make) -> None:
        """It may be on its way to them from there."""
        a, b, c = parties = make(((0, 1), (0, 2)))
        here = a.create(CLIENT, name="Ann")
        a.store.seal()
        uid = a.uid(CLIENT, here)
        assert send(a, 1) is not None
        a.remove(CLIENT, here)
        settle(parties)
        for party in (b, c):
            record = party.known(uid)
            assert record is not None
            assert not record.alive
        assert everywhere(parties, CLIENT, "name") == []

    def test_a_record_that_comes_round_by_a_road_without_deletions(self, make: Make) -> None:
        """C does not tell A that it has the record: all of it is A's."""
        off = dict.fromkeys(("record_status", "time_added"), Direction.OFF)
        a, b, c = parties = make(((0, 1), (1, 2), (0, 2)), {1: off})
        here = a.create(CLIENT, name="Ann")
        a.store.seal()
        assert send(a, 1) is not None
        a.clock.wait()
        a.remove(CLIENT, here)
        a.store.seal()
        assert send(b, 2) is not None
        assert c.rows(CLIENT, "name") == ["Ann"]
        settle(parties)
        assert a.rows(CLIENT, "name") == c.rows(CLIENT, "name") == b.rows(CLIENT, "name") == []

    # -- the archive --------------------------------------------------------------------------------------------

    def test_a_record_comes_back_from_the_archive(self, make: Make) -> None:
        a, b = make()
        tag_here, tag_there = known([a, b], TAG, name="t")
        here, there = known([a, b], CLIENT, name="Ann", phone="1", tags=[tag_here])
        b.write(CLIENT, there, note="only here")
        uid = a.uid(CLIENT, here)
        a.remove(CLIENT, here)
        settle([a, b])
        with pytest.raises(errors.NotArchived):
            a.store.revive(uid)
        record = b.store.revive(uid)
        assert record.uid == uid
        row = b.row(CLIENT, record.pk)
        assert row is not None
        assert (row["name"], row["phone"], row["note"], row["tags"]) == ("Ann", "1", "only here", [tag_there])
        assert b.archive == []
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name", "phone") == [("Ann", "1")]
        assert a.row(CLIENT, a.pk(CLIENT, name="Ann"))["tags"] == [tag_here]  # type: ignore[index]
        with pytest.raises(errors.NotDeleted):
            b.store.revive(uid)
        a.clock.wait()
        a.remove(CLIENT, a.pk(CLIENT, name="Ann"))
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == []

    def test_what_a_restored_record_requires_comes_back_first(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann")
        order = b.create(ORDER, number="1", client=there, subject="s")
        b.store.seal()
        uid = b.uid(ORDER, order)
        a.remove(CLIENT, here)
        settle([a, b])
        assert (b.keys(CLIENT), b.keys(ORDER)) == ([], [])
        b.store.revive(uid)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == ["Ann"]
        assert everywhere([a, b], ORDER, "number", "subject") == [("1", "s")]
        assert b.rows(ORDER, "client") == b.keys(CLIENT)
        assert b.archive == []

    def test_a_relation_whose_target_is_gone_stays_empty(self, make: Make) -> None:
        a, b = make()
        home_here, _ = known([a, b], PLACE, name="home")
        room_here, _ = known([a, b], PLACE, name="room", parent=home_here)
        uid = a.uid(PLACE, room_here)
        a.remove(PLACE, room_here)
        settle([a, b])
        a.remove(PLACE, home_here)
        settle([a, b])
        b.store.revive(uid)
        settle([a, b])
        assert everywhere([a, b], PLACE, "name", "parent") == [("room", None)]

    def test_what_stands_in_the_way_of_a_restored_record_is_named(self, make: Make) -> None:
        a, b = make()
        client, there = known([a, b], CLIENT, name="Ann")
        order, _ = known([a, b], ORDER, number="1", client=client)
        uid = a.uid(ORDER, order)
        a.remove(ORDER, order)
        settle([a, b])
        b.create(ORDER, number="1", client=there)
        with pytest.raises(errors.NotRestored) as refused:
            b.store.revive(uid)
        assert "number" in str(refused.value)
        assert len(b.archive) == 1

    # -- conflicts about the record itself ----------------------------------------------------------------------

    def test_a_lost_edit_brings_its_record_back(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann", phone="1")
        b.write(CLIENT, there, phone="2")
        b.store.seal()
        a.clock.wait()
        a.remove(CLIENT, here)
        settle([a, b])
        (number,) = b.conflict_ids
        b.store.restore(number)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name", "phone") == [("Ann", "2")]
        with pytest.raises(errors.AlreadySettled):
            b.store.restore(number)
        b.store.keep(number)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "name") == []

    def test_a_deletion_that_lost_is_made_after_all(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], CLIENT, name="Ann", phone="1")
        a.remove(CLIENT, here)
        a.clock.wait()
        b.write(CLIENT, there, phone="2")
        settle([a, b])
        b.create(ORDER, number="1", client=b.pk(CLIENT, name="Ann"))
        settle([a, b])
        (number,) = b.conflict_ids
        b.store.restore(number)
        settle([a, b])
        assert (everywhere([a, b], CLIENT, "name"), everywhere([a, b], ORDER, "number")) == ([], [])
        assert sorted(label for label, _, _ in b.archive) == [CLIENT, ORDER]
        b.store.keep(number)
        settle([a, b])
        assert everywhere([a, b], CLIENT, "phone") == ["2"]

    def test_a_deletion_that_is_made_after_all_may_be_forbidden(self, make: Make) -> None:
        a, b = make()
        here, there = known([a, b], COUNTRY, code="FI", name="Suomi", iso_number=246)
        a.remove(COUNTRY, here)
        a.clock.wait()
        b.write(COUNTRY, there, name="Finland")
        settle([a, b])
        b.create(TOKEN, country=there)
        with pytest.raises(errors.Protected) as refused:
            b.store.restore(b.conflict_ids[0])
        assert TOKEN in str(refused.value)
        assert b.rows(COUNTRY, "code") == ["FI"]

    # -- tombstones ---------------------------------------------------------------------------------------------

    def test_deletions_are_forgotten_when_everybody_knows(self, make: Make) -> None:
        a, b, c = parties = make(((0, 1), (0, 2)))
        keys = known(parties, CLIENT, name="Ann")
        uid = a.uid(CLIENT, keys[0])
        b.remove(CLIENT, keys[1])
        assert send(b, 1) is not None
        later = b.clock.now + 10**12
        assert b.store.purge(b.clock.now - 10**12).many == 0, "too young"
        assert b.store.purge(later).many == 1
        assert b.known(uid) is None
        assert a.store.purge(later).many == 0, "the third program has not heard of it"
        settle(parties)
        assert a.store.purge(later).many == 1
        assert (a.known(uid), a.archive) == (None, [])
        with a.backend.transaction():
            floors = {link: a.backend.cursors(link).floor for link in a.links}
            head = a.backend.instance().head.seq
        assert floors == {1: head, 2: head}
        assert everywhere(parties, CLIENT, "name") == []
        assert c.known(uid) is not None

    def test_forgetting_is_bounded_and_looks_at_everything_once(self, make: Make) -> None:
        a, b = make()
        for n in range(5):
            a.create(CLIENT, name=str(n))
        settle([a, b])
        for key in a.keys(CLIENT):
            a.remove(CLIENT, key)
        settle([a, b])
        later, position, found = a.clock.now + 10**12, 0, []
        while True:
            done = a.store.purge(later, position, limit=2)
            found.append(done.many)
            position = done.position
            if not position:
                break
        assert found == [2, 2, 1]


LEVELS = {CLIENT: 0, ORDER: 1, PAYMENT: 2}


def _moved(batch: Batch, before: Batch) -> Batch:
    """``batch`` as if it came in the place of ``before``."""
    return msgspec.structs.replace(batch, start=before.start)
