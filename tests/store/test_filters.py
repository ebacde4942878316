"""Row filters: which records travel, what happens when one enters or leaves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp.core.changes import RowKind
from syncapp.core.mapping import agree
from syncapp.store.base import BadValue, LinkInfo
from syncapp.store.filters import matches, withhold
from tests.store.senders import MemorySender, Sender, SqlSender

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["memory", "sql"])
def sender(request: pytest.FixtureRequest) -> Any:
    return MemorySender() if request.param == "memory" else SqlSender()


# -- what passes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "value", "passes"),
    [
        (("paid",), "paid", True),
        (("paid",), "Paid", False),
        (("paid", None), None, True),
        (("paid",), None, False),
        ((1, 2), 2, True),
        ((1,), True, False),
        ((True,), 1, False),
        ((False,), False, True),
        (("",), None, False),
        (("12.50",), "12.50", True),
        (("x",), BadValue("unreadable"), False),
    ],
)
def test_a_value_passes(allowed: tuple[Any, ...], value: Any, passes: bool) -> None:
    assert matches({7: allowed}, {7: value}) is passes


_values = st.sampled_from([None, "", "a", 0, 1, True, False])


@given(st.dictionaries(st.integers(1, 4), st.lists(_values, min_size=1).map(tuple)), st.data())
def test_every_column_must_hold_one_of_its_values(filter: dict[int, tuple[Any, ...]], data: Any) -> None:
    row = {field: data.draw(_values) for field in range(1, 5)}

    def holds(field: int) -> bool:
        return any((type(v), v) == (type(row[field]), row[field]) for v in filter[field])

    assert matches(filter, row) is all(holds(field) for field in filter)


# -- entering ----------------------------------------------------------------------------------------------


def test_only_records_that_pass_are_sent(sender: Sender) -> None:
    sender.set_filter("client", note=["vip"])
    sender.create("client", code="1", name="a", note="vip")
    sender.create("client", code="2", name="b", note="")
    (row,) = sender.send()
    assert (row.kind, row.values["name"]) == ("WHOLE", "a")


def test_a_record_that_enters_goes_whole(sender: Sender) -> None:
    sender.set_filter("client", note=["vip", "gold"])
    pk = sender.create("client", code="1", name="a", note="")
    assert sender.send() == []
    sender.write("client", pk, name="b")
    assert sender.send() == []
    sender.write("client", pk, note="gold")
    (row,) = sender.send()
    assert (row.kind, row.values["name"], row.values["note"]) == ("WHOLE", "b", "gold")
    sender.write("client", pk, name="c")
    (row,) = sender.send()
    assert (row.kind, row.values) == ("FIELDS", {"name": "c"})


def test_a_record_enters_by_a_column_that_is_not_sent(sender: Sender) -> None:
    sender.agreement.tables[sender.tables["client"]].out.pop(sender.fields["client", "note"])
    sender.set_filter("client", note=["vip"])
    pk = sender.create("client", code="1", name="a", note="")
    assert sender.send() == []
    sender.write("client", pk, note="vip")
    (row,) = sender.send()
    assert (row.kind, row.values["name"], "note" in row.values) == ("WHOLE", "a", False)
    sender.set_filter("client", note=["vip", "gold"])
    sender.write("client", pk, note="gold")
    assert sender.send() == [], "it stays within: there is nothing to tell"


# -- leaving -----------------------------------------------------------------------------------------------


def test_a_record_that_leaves_stays_at_the_peer_as_it_was(sender: Sender) -> None:
    sender.set_filter("client", note=["vip"])
    pk = sender.create("client", code="1", name="a", note="vip")
    assert len(sender.send()) == 1
    assert sender.left("client", pk) is False
    sender.write("client", pk, note="gone", name="b")
    assert sender.send() == []
    assert sender.left("client", pk) is True
    sender.write("client", pk, name="c")
    assert sender.send() == []


def test_a_record_that_comes_back_brings_everything_that_was_missed(sender: Sender) -> None:
    sender.set_filter("client", note=["vip"])
    pk = sender.create("client", code="1", name="a", note="vip")
    sender.send()
    sender.write("client", pk, note="gone")
    sender.send()
    sender.write("client", pk, name="b")
    sender.send()
    sender.write("client", pk, note="vip")
    (row,) = sender.send()
    assert (row.kind, row.values["name"]) == ("WHOLE", "b")
    assert sender.left("client", pk) is False
    sender.write("client", pk, name="c")
    assert [(row.kind, row.values) for row in sender.send()] == [("FIELDS", {"name": "c"})]


def test_what_was_missed_comes_although_the_record_left_while_it_was_under_way(sender: Sender) -> None:
    """It goes whole; it leaves with an edit and comes back; only then is the first batch acknowledged."""
    sender.set_filter("client", note=["vip"])
    pk = sender.create("client", code="1", name="a", note="")
    sender.send()
    sender.write("client", pk, note="vip")
    whole = sender.read()
    assert whole is not None
    before, sender.position = sender.position, whole.end
    sender.write("client", pk, note="gone", name="b")
    skipped = sender.look()
    assert skipped.batch is None
    sender.write("client", pk, note="vip")
    sender.position = before
    sender.ack(whole)
    sender.clear(skipped.position)
    (row,) = sender.send()
    assert row.values["name"] == "b"


def test_a_pair_is_no_longer_left_once_what_was_kept_has_gone(sender: Sender) -> None:
    """Leaving and coming back within one unacknowledged stretch."""
    sender.set_filter("client", note=["vip"])
    pk = sender.create("client", code="1", name="a", note="vip")
    sender.send()
    sender.write("client", pk, note="gone")
    assert sender.look().batch is None
    sender.write("client", pk, note="vip")
    assert sender.left("client", pk) is True
    assert [row.kind for row in sender.send()] == ["WHOLE"]
    assert sender.left("client", pk) is False
    sender.write("client", pk, name="b")
    assert [row.kind for row in sender.send()] == ["FIELDS"]


def test_the_peers_own_change_brings_a_record_back(sender: Sender) -> None:
    sender.set_filter("client", note=["vip"])
    pk = sender.create("client", code="1", name="a", note="vip")
    sender.send()
    sender.write("client", pk, note="gone")
    sender.write("client", pk, name="b")
    sender.send()
    done = sender.receive("client", sender.uid("client", pk), note="vip")
    assert done.totals.applied == 1
    assert done.passed is None, "our feed has to be read: the record goes whole"
    (row,) = sender.send()
    assert (row.kind, row.values["name"]) == ("WHOLE", "b")


def test_what_comes_in_is_not_filtered(sender: Sender) -> None:
    sender.set_filter("client", note=["vip"])
    uid = b"u" * 16
    done = sender.receive("client", uid, kind=RowKind.WHOLE, code="9", name="theirs", note="no")
    assert done.totals.applied == 3
    assert sender.send() == []
    assert sender.receive("client", uid, name="again").totals.applied == 4


def test_a_record_outside_is_not_sent_to_a_peer_that_asks_for_it(sender: Sender) -> None:
    sender.set_filter("client", note=["vip"])
    pk = sender.create("client", code="1", name="a", note="vip")
    batch = sender.read()
    assert batch is not None
    sender.write("client", pk, note="gone")
    sender.ack(batch, want=(sender.uid("client", pk),))
    assert sender.send() == []


def test_the_log_says_that_the_filter_kept_it(sender: Sender) -> None:
    sender.set_filter("client", note=["vip"])
    sender.create("client", code="1", name="a", note="")
    sender.send()
    assert sender.log_results() == ["filtered"]


# -- relations ---------------------------------------------------------------------------------------------


def test_a_target_that_does_not_pass_is_not_sent_in_front(sender: Sender) -> None:
    sender.set_filter("tag", title=["public"])
    secret, public = sender.create("tag", title="secret"), sender.create("tag", title="public")
    sender.create("client", code="1", name="a", tags=[secret, public])
    rows = sender.send()
    assert [row.values["title"] for row in rows if row.table == "tag"] == ["public"]
    (client,) = [row for row in rows if row.table == "client"]
    assert sorted(client.values["tags"]) == sorted(sender.uid("tag", pk) for pk in (secret, public))


def test_a_target_that_left_is_at_the_peer_already(sender: Sender) -> None:
    sender.set_filter("tag", title=["public"])
    tag = sender.create("tag", title="public")
    sender.send()
    sender.write("tag", tag, title="secret")
    sender.send()
    sender.create("client", code="1", name="a", tags=[tag])
    assert [row.table for row in sender.send()] == ["client"]


# -- another filter ----------------------------------------------------------------------------------------


def test_a_wider_filter_sends_what_was_kept(sender: Sender) -> None:
    sender.set_filter("client", note=["vip"])
    first = sender.create("client", code="1", name="a", note="vip")
    sender.create("client", code="2", name="b", note="new")
    sender.create("client", code="3", name="c", note="no")
    left = sender.create("client", code="4", name="d", note="vip")
    sender.send()
    sender.write("client", left, note="new", name="e")
    sender.send()
    sender.set_filter("client", note=["vip", "new"])
    assert sender.send() == []
    sender.refilter("client", 0, sender.position.seq)
    assert sender.store.refilter(sender.link, sender.agreement, sender.token) is False
    assert [(row.kind, row.values["name"]) for row in sender.send()] == [("WHOLE", "b"), ("WHOLE", "e")]
    assert sender.store.refilter(sender.link, sender.agreement, sender.token) is False
    assert sender.send() == []
    sender.write("client", first, name="x")
    assert [row.kind for row in sender.send()] == ["FIELDS"]


def test_it_is_looked_through_in_slices_and_from_where_the_table_joined(sender: Sender) -> None:
    sender.set_filter("client", note=["vip"])
    for number in range(7):
        sender.create("client", code=str(number), name=str(number), note="no")
    sender.send()
    sender.set_filter("client")
    sender.refilter("client", 2, sender.position.seq)
    rounds = 1
    while sender.store.refilter(sender.link, sender.agreement, sender.token, 2):
        rounds += 1
    assert rounds == 3
    assert [row.values["name"] for row in sender.send()] == ["2", "3", "4", "5", "6"]


def test_it_waits_while_the_table_does_not_flow(sender: Sender) -> None:
    sender.set_filter("client", note=["vip"])
    sender.create("client", code="1", name="a", note="no")
    sender.send()
    sender.set_filter("client")
    sender.refilter("client", 0, sender.position.seq)
    nothing = agree((), ())
    assert sender.store.refilter(sender.link, nothing, sender.token) is False
    assert sender.store.refilter(sender.link, sender.agreement, sender.token) is False
    assert len(sender.send()) == 1


def test_a_filter_that_cannot_be_told_any_more_lets_nothing_out(sender: Sender) -> None:
    table = sender.tables["client"]
    link = LinkInfo(sender.link, "Office", shut={table: "colour"})
    sender.create("client", code="1", name="a")
    sender.create("tag", title="t")
    withhold(link, sender.agreement)
    assert [row.table for row in sender.send()] == ["tag"]
    held = {item.field for item in sender.agreement.suspended if item.code == "filter"}
    assert sender.fields["client", "name"] in held
