"""Relations: targets that go in front, that wait, that are found by match fields, or that are left empty."""

from typing import Any

import pytest

from syncapp.core.kinds import FieldType, Kind
from syncapp.core.mapping import FieldOffer, TableOffer, agree
from syncapp.store.parked import Incoming, pack, unpack
from tests.store.kin import KinMaker, Shared, make
from tests.store.replicas import Network, shelf

__all__ = ["make", "shelf"]

CLIENT, ORDER, TAG, PAYMENT, PLACE = (
    *("crm.Client", "crm.Order", "crm.Tag"),
    *("crm.Payment", "testapp.Place"),
)
HELD = {
    TAG: Shared(["name"]),
    CLIENT: Shared(["name", "tags"]),
    ORDER: Shared(["number", "client"]),
    PLACE: Shared(["name", "parent"]),
}
MATCHED = {
    CLIENT: Shared([], match_by=["tax_id"]),
    ORDER: Shared(["number", "client"], missing={"client": "match"}),
}


def column(replica: Any, table: str, name: str) -> list[Any]:
    return [replica.get(table, pk, name) for pk in replica.keys(table)]


def two(network: Network) -> tuple[Any, Any]:
    return network["a"], network["b"]


# -- hold ---------------------------------------------------------------------------------------------------


def test_targets_go_in_front(make: KinMaker) -> None:
    network = make(["ab"], HELD)
    a, b = two(network)
    b.create(CLIENT, name="so that keys differ", tags=[])
    tags = [a.create(TAG, name=name) for name in "xy"]
    client = a.create(CLIENT, name="c", tags=tags)
    a.create(ORDER, number="1", client=client)
    network.settle()
    (order,) = b.keys(ORDER)
    held = b.get(ORDER, order, "client")
    assert b.get(CLIENT, held, "name") == "c"
    assert sorted(b.get(TAG, tag, "name") for tag in b.get(CLIENT, held, "tags")) == ["x", "y"]
    assert a.codes == b.codes == []


def test_a_row_may_refer_to_itself_and_rows_to_each_other(make: KinMaker) -> None:
    network = make(["ab"], HELD)
    a, b = two(network)
    own, one, other = (a.create(PLACE, name=name, parent=None) for name in ("own", "one", "other"))
    a.write(PLACE, own, parent=own)
    a.write(PLACE, one, parent=other)
    a.write(PLACE, other, parent=one)
    network.settle()
    found = {b.get(PLACE, pk, "name"): b.get(PLACE, pk, "parent") for pk in b.keys(PLACE)}
    names = {name: b.get(PLACE, parent, "name") for name, parent in found.items()}
    assert names == {"own": "own", "one": "other", "other": "one"}
    assert a.codes == b.codes == []


def test_a_deleted_target_is_a_problem_that_says_so(make: KinMaker) -> None:
    network = make(["ab"], HELD)
    a, b = two(network)
    client = a.create(CLIENT, name="c", tags=[])
    network.settle()
    b.remove(CLIENT, b.keys(CLIENT)[0])
    b.store.seal()
    a.create(ORDER, number="1", client=client)
    network.settle()
    assert b.keys(ORDER) == []
    (problem,) = b.problems
    assert (problem.code, problem.params["target"], problem.params["field"]) == (
        "target_deleted",
        CLIENT,
        "client",
    )


# -- match --------------------------------------------------------------------------------------------------


def test_a_target_is_found_by_its_match_fields_and_never_created(make: KinMaker) -> None:
    network = make(["ab"], MATCHED)
    a, b = two(network)
    b.create(CLIENT, name="other", tax_id="999999999")
    there = b.create(CLIENT, name="own name", tax_id="7701 234567")
    order = a.create(ORDER, number="1", client=a.create(CLIENT, name="c", tax_id="7701-234567"))
    network.settle()
    assert (column(b, ORDER, "client"), len(b.keys(CLIENT))) == ([there], 2)
    a.write(ORDER, order, client=a.create(CLIENT, name="new", tax_id="7700000001"))
    network.settle()
    (problem,) = b.problems
    assert (problem.code, problem.params["target"], problem.params["key"]) == (
        "none_matches",
        CLIENT,
        "7700000001",
    )
    assert (column(b, ORDER, "client"), len(b.keys(CLIENT))) == ([there], 2)
    late = b.create(CLIENT, name="late", tax_id="7700000001")
    b.retry_all()
    assert (column(b, ORDER, "client"), b.codes) == ([late], [])


def test_several_matches_wait_until_one_is_left(make: KinMaker) -> None:
    network = make(["ab"], MATCHED)
    a, b = two(network)
    one, other = (
        b.create(CLIENT, name=name, tax_id=key) for name, key in (("1", "77 01234567"), ("2", "770123456 7"))
    )
    a.create(ORDER, number="1", client=a.create(CLIENT, name="c", tax_id="7701234567"))
    network.settle()
    assert (b.keys(ORDER), [(p.code, p.params["count"]) for p in b.problems]) == ([], [("several_match", 2)])
    b.write(CLIENT, other, tax_id="1")
    b.retry_all()
    assert (column(b, ORDER, "client"), b.codes) == ([one], [])


def test_match_fields_travel_both_ways(make: KinMaker) -> None:
    network = make(["ab"], MATCHED)
    a, b = two(network)
    here = [a.create(CLIENT, name=key, tax_id=key) for key in ("111111111", "222222222")]
    there = [b.create(CLIENT, name=key, tax_id=key) for key in ("222222222", "111111111")]
    a.create(ORDER, number="1", client=here[0])
    network.settle()
    assert column(b, ORDER, "client") == [there[1]]
    b.write(ORDER, b.keys(ORDER)[0], client=there[0])
    network.settle()
    assert column(a, ORDER, "client") == [here[1]]
    assert a.codes == b.codes == []


def test_many_targets_by_match_fields(make: KinMaker) -> None:
    tables = {
        TAG: Shared([], match_by=["name"]),
        CLIENT: Shared(["name", "tags"], missing={"tags": "match"}),
    }
    network = make(["ab"], tables)
    a, b = two(network)
    b.create(TAG, name="z")
    there = {name: b.create(TAG, name=name.upper()) for name in "xy"}
    client = a.create(CLIENT, name="c", tags=[a.create(TAG, name=name) for name in "xy"])
    network.settle()
    assert column(b, CLIENT, "tags") == [sorted(there.values())]
    a.write(CLIENT, client, tags=[*a.get(CLIENT, client, "tags"), a.create(TAG, name="new")])
    network.settle()
    assert (column(b, CLIENT, "tags"), b.codes) == ([sorted(there.values())], ["none_matches"]), (
        "whole or not at all"
    )
    there["new"] = b.create(TAG, name="New")
    b.retry_all()
    assert (column(b, CLIENT, "tags"), b.codes) == ([sorted(there.values())], [])
    a.write(CLIENT, client, tags=[])
    network.settle()
    assert column(b, CLIENT, "tags") == [[]]


@pytest.mark.parametrize("bad", [["match"], ["match", "1", "2"], ["match", 5], "x", 7, ["other", "1"]])
def test_what_is_no_key_of_a_target_is_refused(make: KinMaker, bad: Any) -> None:
    network = make(["ab"], MATCHED)
    a, b = two(network)
    b.create(CLIENT, name="c", tax_id="1")
    a.create(ORDER, number="1", client=a.create(CLIENT, name="c", tax_id="1"))
    batch = a.read(a.link_to("b"))
    (section,) = batch.sections
    section.rows[0].values[section.columns.index(a.number(ORDER, "client"))] = bad
    b.apply(b.link_to("a"), batch)
    assert (b.codes, b.keys(ORDER)) == (["value"], [])


# -- empty --------------------------------------------------------------------------------------------------


EMPTIED = {PLACE: Shared(["name", "parent"], missing={"parent": "empty"})}


def test_what_refers_to_a_row_that_is_not_here_is_left_empty(make: KinMaker) -> None:
    network = make(["ab"], EMPTIED)
    a, b = two(network)
    parent, child = a.create(PLACE, name="parent", parent=None), a.create(PLACE, name="child", parent=None)
    network.settle()
    b.remove(PLACE, next(pk for pk in b.keys(PLACE) if b.get(PLACE, pk, "name") == "parent"))
    b.store.seal()
    a.write(PLACE, child, parent=parent)
    network.settle()
    (here,) = b.keys(PLACE)
    assert (b.get(PLACE, here, "parent"), b.codes) == (None, [])
    assert a.get(PLACE, child, "parent") == parent, "it does not come back"


def test_what_was_left_empty_is_not_passed_on(make: KinMaker) -> None:
    network = make(["ab", "bc"], EMPTIED)
    a, b, c = network["a"], network["b"], network["c"]
    parent, child = a.create(PLACE, name="parent", parent=None), a.create(PLACE, name="child", parent=None)
    network.settle()
    before = {c.get(PLACE, pk, "name"): c.get(PLACE, pk, "parent") for pk in c.keys(PLACE)}  # type: ignore[attr-defined]
    gone = next(pk for pk in b.keys(PLACE) if b.get(PLACE, pk, "name") == "parent")  # type: ignore[attr-defined]
    b.remove(PLACE, gone)
    b.store.seal()
    a.write(PLACE, child, parent=parent)
    network.settle()
    after = {c.get(PLACE, pk, "name"): c.get(PLACE, pk, "parent") for pk in c.keys(PLACE)}  # type: ignore[attr-defined]
    assert after == before


# -- in the handshake ---------------------------------------------------------------------------------------


def relation(target: str, missing: str = "hold") -> FieldOffer:
    kind = FieldType(Kind.RELATION, null=True, target=target)
    return FieldOffer(1, "to", "", kind, True, True, missing=missing)


def offers(number: int, target: str, missing: str = "hold", match_by: bool = False) -> tuple[TableOffer, ...]:
    base = 100 * number
    owner = FieldOffer(base + 1, "to", "", relation(target).type, True, True, missing=missing)
    key = FieldOffer(base + 2, "key", "", FieldType(Kind.TEXT))
    wanted = (base + 2,) if match_by else ()
    return (
        TableOffer(base, "x.Owner", "", (owner,)),
        TableOffer(base + 1, target, "", (key,), wanted),
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "code"),
    [
        (offers(1, "x.T"), offers(2, "x.T"), None),
        (offers(1, "x.T"), offers(2, "x.Other"), "target_not_shared"),
        (offers(1, "x.T", "match", True), offers(2, "x.T", "match", True), None),
        (offers(1, "x.T", "match", True), offers(2, "x.Other", "match", True), None),
        (offers(1, "x.T", "match"), offers(2, "x.T", "match", True), "no_match_fields"),
        (offers(1, "x.T", "match", True), offers(2, "x.T", "hold"), None),
    ],
)
def test_both_sides_come_to_the_same(ours: Any, theirs: Any, code: str | None) -> None:
    for here, there in ((ours, theirs), (theirs, ours)):
        assert [row.code for row in agree(here, there).suspended] == ([code] if code else [])


def test_each_direction_goes_by_its_receiver() -> None:
    ours, theirs = offers(1, "x.T", "match", True), offers(2, "x.T", "hold")
    (mine,) = agree(ours, theirs).tables.values()
    (its,) = agree(theirs, ours).tables.values()
    assert (mine.match_into[101].fields, mine.match_out) == ((102,), {})
    assert (its.match_out[201].fields, its.match_into) == ((202,), {})


# -- relations among the match fields -----------------------------------------------------------------------

OWNED = {
    CLIENT: Shared(["name", "tax_id"], match_by=["tax_id"]),
    ORDER: Shared(["number", "client", "subject"], match_by=["client", "subject"]),
}


def test_a_match_field_that_refers_to_a_record_of_the_same_batch(make: KinMaker) -> None:
    network = make(["ab"], OWNED)
    a, b = two(network)
    for number, replica in (("1", a), ("2", b)):
        client = replica.create(CLIENT, name="Ann", tax_id="7701234567")
        replica.create(ORDER, number=number, client=client, subject="s")
    network.settle()
    assert [len(replica.keys(table)) for replica in (a, b) for table in (CLIENT, ORDER)] == [1, 1, 1, 1]
    assert column(a, ORDER, "number") == column(b, ORDER, "number")
    assert a.codes == b.codes == []


def test_a_chain_of_records_that_are_recognised_by_what_they_refer_to(make: KinMaker) -> None:
    paid = Shared(["order", "amount", "comment", "paid_on"], match_by=["order", "comment"])
    network = make(["ab"], {PAYMENT: paid, **OWNED})
    a, b = two(network)
    for number, replica in (("1", a), ("2", b)):
        client = replica.create(CLIENT, name="Ann", tax_id="7701234567")
        order = replica.create(ORDER, number=number, client=client, subject="s")
        replica.create(PAYMENT, order=order, amount="1.00", comment="c", paid_on="2026-01-01")
    network.settle()
    for table in (CLIENT, ORDER, PAYMENT):
        assert len(a.keys(table)) == len(b.keys(table)) == 1
    assert a.codes == b.codes == []


def test_rows_that_are_recognised_by_each_other_are_created(make: KinMaker) -> None:
    """Round a ring nothing can be told; better twice than never."""
    network = make(["ab"], {PLACE: Shared(["name", "parent"], match_by=["parent", "name"])})
    a, b = two(network)
    one, other, own = (a.create(PLACE, name=name, parent=None) for name in ("one", "other", "own"))
    a.write(PLACE, one, parent=other)
    a.write(PLACE, other, parent=one)
    a.write(PLACE, own, parent=own)
    a.create(PLACE, name="below", parent=own)
    network.settle()
    names = {b.get(PLACE, pk, "name"): b.get(PLACE, pk, "parent") for pk in b.keys(PLACE)}
    shown = {name: b.get(PLACE, parent, "name") for name, parent in names.items()}
    assert shown == {"one": "other", "other": "one", "own": "own", "below": "own"}
    assert a.codes == b.codes == []


def test_a_match_field_whose_target_comes_later_holds_the_record(make: KinMaker) -> None:
    network = make(["ab"], OWNED)
    a, b = two(network)
    here = a.create(CLIENT, name="Ann", tax_id="7701234567")
    there = b.create(CLIENT, name="Ann", tax_id="7701234567")
    b.create(ORDER, number="2", client=there, subject="s")
    a.store.seal()
    a.create(ORDER, number="1", client=here, subject="s")
    batch = a.read(1)
    assert batch is not None
    clients = [section for section in batch.sections if section.table == a.number(CLIENT)]
    batch.sections.remove(clients[0])
    b.apply(1, batch)
    assert (len(b.keys(ORDER)), b.codes) == (1, ["missing_target"])
    network.settle()
    a.create(CLIENT, name="so that something is sent", tax_id="1")
    network.settle()
    batch.sections[:] = clients
    b.apply(1, batch)
    network.settle()
    assert (len(b.keys(ORDER)), b.codes) == (1, [])


def side(base: int, wanted: tuple[int, ...], *, sends: bool, receives: bool) -> tuple[TableOffer, ...]:
    text = FieldType(Kind.TEXT, length=20)
    fields = (
        FieldOffer(base + 1, "name", "name", text, True, True),
        FieldOffer(base + 2, "code", "code", text, sends, receives),
    )
    return (TableOffer(base, "x.T", "t", fields, wanted),)


@pytest.mark.parametrize(
    ("sends", "receives", "codes"),
    [
        (True, True, set()),
        (True, False, {"match_missing"}),  # the peer does not send it
        (False, False, {"match_missing", "peer_not_mapped"}),
    ],
)
def test_what_would_come_without_a_match_field_waits(sends: bool, receives: bool, codes: set[str]) -> None:
    ours = side(10, (12,), sends=True, receives=True)
    theirs = side(20, (), sends=receives, receives=sends)
    here, there = agree(ours, theirs), agree(theirs, ours)
    assert {found.code for found in here.suspended} == codes
    assert all((11 in flow.out) is (11 in flow.into.values()) is (not codes) for flow in here.tables.values())
    assert {n for flow in here.tables.values() for n in flow.out} == {
        n for flow in there.tables.values() for n in flow.into
    }


def test_what_goes_the_other_way_does_not_wait() -> None:
    """We send the code, and receive the name: only the latter would come without it."""
    agreement = agree(side(10, (12,), sends=True, receives=False), side(20, (), sends=False, receives=True))
    assert {(found.field, found.code) for found in agreement.suspended} == {(11, "match_missing")}
    assert agreement.tables[10].out == {12: 22}


def test_a_match_field_of_both_comes_as_a_key() -> None:
    ours, theirs = (
        side(10, (12,), sends=False, receives=False),
        side(20, (22,), sends=False, receives=False),
    )
    here, there = agree(ours, theirs), agree(theirs, ours)
    assert here.suspended == there.suspended == []
    assert (here.tables[10].keys_out, here.tables[10].keys_into) == ({12: 22}, {22: 12})
    assert (there.tables[20].keys_out, there.tables[20].keys_into) == ({22: 12}, {12: 22})


def test_records_are_recognised_by_a_field_that_does_not_flow(make: KinMaker) -> None:
    """It is compared, and never written."""
    network = make(["ab"], {CLIENT: Shared(["name"], match_by=["tax_id"])})
    a, b = two(network)
    for replica in network:
        replica.create(CLIENT, name=f"at {replica.letter}", tax_id="77 0123 4567")
        replica.store.seal()
    a.create(CLIENT, name="only here", tax_id="5001007322")
    network.settle()
    found = {(b.get(CLIENT, pk, "name"), b.get(CLIENT, pk, "tax_id") or "") for pk in b.keys(CLIENT)}
    assert found == {("at b", "77 0123 4567"), ("only here", "")}
    assert (len(a.keys(CLIENT)), a.codes, b.codes) == (2, [], [])
    parked = unpack(b"u" * 16, 1, pack(Incoming(b"u" * 16, 1, 1, {}, keys={12: "7"})))
    assert parked.keys == {12: "7"}, "it stays with a change that waits"
