"""Users travel by their names and are found by the one that both sides go by."""

from typing import Any

import pytest

from syncapp.core.mapping import FieldOffer, FieldType, Kind, TableOffer, agree
from syncapp.store.people import Names, digest_of, names_of, same_people
from tests.store.kin import KinMaker, Shared, make
from tests.store.replicas import Network, shelf

__all__ = ["make", "shelf"]

TABLES = {
    "crm.Client": Shared(["name", "manager"]),
    "testapp.OwnSystemFields": Shared(["creator", "time_added"]),
}
NOW = "2026-11-24T09:30:00Z"


def managers(network: Network) -> list[list[Any]]:
    return [
        [replica.get("crm.Client", pk, "manager") for pk in replica.keys("crm.Client")]  # type: ignore[attr-defined]
        for replica in network
    ]


def met(make: KinMaker, **by: str) -> tuple[Network, Any, Any]:
    network = make(["ab"], TABLES)
    for replica in network:
        replica.set_up(TABLES, **by)  # type: ignore[attr-defined]
    return network, network["a"], network["b"]


def test_a_user_is_found_by_login(make: KinMaker) -> None:
    network, a, b = met(make)
    b.new_user("somebody else")
    anna, there = a.new_user("anna", "Anna K"), b.new_user("anna", "Another Name")
    assert anna != there
    pk = a.create("crm.Client", name="c", manager=anna)
    network.settle()
    assert managers(network) == [[anna], [there]]
    a.write("crm.Client", pk, manager=None)
    network.settle()
    assert managers(network) == [[None], [None]]
    b.write("crm.Client", b.keys("crm.Client")[0], manager=there)
    network.settle()
    assert managers(network) == [[anna], [there]]
    assert a.codes == b.codes == []


def test_case_and_spaces_matter_only_where_two_users_differ_by_them(make: KinMaker) -> None:
    network, a, b = met(make)
    one, two = a.new_user("Anna"), a.new_user("boris")
    upper, lower = b.new_user("ANNA"), b.new_user(" Boris")
    a.create("crm.Client", name="1", manager=one)
    a.create("crm.Client", name="2", manager=two)
    network.settle()
    assert managers(network)[1] == [upper, lower]
    equal = b.new_user("Anna")
    a.create("crm.Client", name="3", manager=one)
    network.settle()
    assert managers(network)[1] == [upper, lower, equal]


def test_by_full_name(make: KinMaker) -> None:
    network, a, b = met(make, user_matching="full_name")
    a.create("crm.Client", name="1", manager=a.new_user("a1", "Семён Петров"))
    a.create("crm.Client", name="2", manager=a.new_user("a2", "Anna Two"))
    a.create("crm.Client", name="3", manager=a.new_user("nameless"))
    b.new_user("nameless")
    simeon = b.new_user("b1", "СЕМЕН Петров")
    b.new_user("b2", "Anna Two")
    b.new_user("b3", "Anna Two")
    network.settle()
    assert managers(network)[1] == [simeon, None, None]
    assert b.codes == ["ambiguous_user", "unknown_user"]
    assert {problem.params["user"] for problem in b.problems} == {"a2 (Anna Two, ID 2)", "nameless (ID 3)"}


def test_by_id(make: KinMaker) -> None:
    network, a, b = met(make, user_matching="id")
    a.create("crm.Client", name="1", manager=a.new_user("anna", key=7))
    a.create("crm.Client", name="2", manager=a.new_user("boris", key=8))
    b.new_user("whoever", key=7)
    network.settle()
    assert managers(network)[1] == ["7", None]
    assert b.codes == ["unknown_user"]


def test_an_unknown_user_lets_the_rest_of_the_record_through(make: KinMaker) -> None:
    network, a, b = met(make)
    pk = a.create("crm.Client", name="c", manager=a.new_user("anna", "Anna K"))
    network.settle()
    (here,) = b.keys("crm.Client")
    (problem,) = b.problems
    assert (problem.code, problem.params["user"]) == ("unknown_user", "anna (Anna K, ID 1)")
    assert problem.waits_for == digest_of("login", Names("ANNA", "", ""))
    a.write("crm.Client", pk, name="d")
    network.settle()
    assert (b.get("crm.Client", here, "name"), managers(network)[1]) == ("d", [None])
    anna = b.new_user("anna")
    b.retry_all()
    assert (managers(network)[1], b.codes) == ([anna], [])


def test_the_field_stays_as_it_is_while_its_user_is_unknown(make: KinMaker) -> None:
    network, a, b = met(make)
    boris = b.new_user("boris")
    pk = a.create("crm.Client", name="c", manager=a.new_user("boris"))
    network.settle()
    assert managers(network)[1] == [boris]
    a.write("crm.Client", pk, manager=a.new_user("anna"))
    network.settle()
    assert (managers(network)[1], b.codes) == ([boris], ["unknown_user"])
    a.write("crm.Client", pk, manager=a.new_user("clara"))
    network.settle()
    assert [problem.params["user"] for problem in b.problems] == ["clara (ID 3)"]
    a.write("crm.Client", pk, manager=None)
    network.settle()
    assert (managers(network)[1], b.codes) == ([None], [])


def test_a_required_user_keeps_the_whole_record_waiting(make: KinMaker) -> None:
    network, a, b = met(make)
    a.create("testapp.OwnSystemFields", creator=a.new_user("anna"), time_added=NOW)
    network.settle()
    assert b.keys("testapp.OwnSystemFields") == []
    assert [(p.field, p.code, p.params["field"]) for p in b.problems] == [(0, "unknown_user", "creator")]
    anna = b.new_user("anna")
    b.retry_all()
    (pk,) = b.keys("testapp.OwnSystemFields")
    assert (b.get("testapp.OwnSystemFields", pk, "creator"), b.codes) == (anna, [])


def test_a_match_by_hand_repairs_everything_that_waits(make: KinMaker) -> None:
    network, a, b = met(make)
    anna, other = a.new_user("anna"), a.new_user("other")
    for i in range(5):
        a.create("crm.Client", name=str(i), manager=anna)
    a.create("testapp.OwnSystemFields", creator=anna, time_added=NOW)
    a.create("crm.Client", name="x", manager=other)
    network.settle()
    assert b.codes == ["unknown_user"] * 7
    local = b.new_user("a.smith")
    b.match_by_hand("anna", local)
    b.retry_all()
    assert managers(network)[1] == [local] * 5 + [None]
    assert len(b.keys("testapp.OwnSystemFields")) == 1
    assert [problem.params["user"] for problem in b.problems] == ["other (ID 2)"]
    a.create("crm.Client", name="later", manager=anna)
    network.settle()
    assert managers(network)[1][-1] == local, "the match is kept"
    b.new_user("anna")
    a.create("crm.Client", name="even later", manager=anna)
    network.settle()
    assert managers(network)[1][-1] == local, "and goes before the setting"
    b.remove_user(local)
    a.create("crm.Client", name="last", manager=anna)
    network.settle()
    assert managers(network)[1][-1] not in (local, None), "as long as the user exists"


def test_a_renamed_user_is_found(make: KinMaker) -> None:
    network, a, b = met(make)
    a.create("crm.Client", name="c", manager=a.new_user("anna"))
    local = b.new_user("ann")
    network.settle()
    assert b.codes == ["unknown_user"]
    b.rename_user(local, "anna")
    b.retry_all()
    assert (managers(network)[1], b.codes) == ([local], [])


def test_what_is_no_user_is_refused(make: KinMaker) -> None:
    network, a, b = met(make)
    a.create("crm.Client", name="c", manager=a.new_user("anna"))
    b.new_user("anna")
    link = a.link_to("b")
    for bad in ("anna", ["anna"], ["anna", "", 1], 7, ["a\0", "", ""]):
        batch = a.read(link)
        (section,) = batch.sections
        section.rows[0].values[section.columns.index(a.number("crm.Client", "manager"))] = bad
        b.apply(b.link_to("a"), batch)
        assert b.codes == ["value"]
    network.settle()
    assert (b.codes, len(b.keys("crm.Client"))) == ([], 1)


def test_over_three_programs_each_hop_says_who_it_is_there(make: KinMaker) -> None:
    network = make(["ab", "bc"], TABLES)
    a, b, c = network["a"], network["b"], network["c"]
    a.create("crm.Client", name="c", manager=a.new_user("anna"))  # type: ignore[attr-defined]
    network.settle()
    local = b.new_user("a.smith")  # type: ignore[attr-defined]
    there = c.new_user("a.smith")  # type: ignore[attr-defined]
    assert managers(network)[2] == [None]
    b.match_by_hand("anna", local)  # type: ignore[attr-defined]
    b.retry_all()  # type: ignore[attr-defined]
    network.settle()
    assert managers(network)[1:] == [[local], [there]]
    assert c.codes == []


# -- in the handshake ---------------------------------------------------------------------------------------


def test_different_settings_suspend_users_alone() -> None:
    def table(number: int) -> tuple[TableOffer, ...]:
        user = FieldOffer(10 * number, "manager", "", FieldType(Kind.USER, null=True), True, True)
        name = FieldOffer(10 * number + 1, "name", "", FieldType(Kind.TEXT), True, True)
        return (TableOffer(number, "crm.Client", "", (user, name)),)

    same = agree(table(1), table(2), ("login", "login"))
    assert (same.suspended, len(same.out_fields(1))) == ([], 2)
    other = agree(table(1), table(2), ("login", "id"))
    assert [(row.field, row.code, row.params["here"], row.params["there"]) for row in other.suspended] == [
        (10, "user_matching", "login", "id")
    ]
    assert other.out_fields(1) == {11: 21}


# -- the parts ----------------------------------------------------------------------------------------------


def test_digests_tell_users_apart() -> None:
    assert digest_of("login", Names("Anna ", "", "1")) == digest_of("login", Names("anna", "x", "2"))
    assert digest_of("login", Names("anna", "", "")) != digest_of("full_name", Names("", "anna", ""))
    assert digest_of("full_name", Names("a", "", "1")) != digest_of("full_name", Names("b", "", "2"))
    assert len(digest_of("id", Names("a", "", "1"))) == 16


@pytest.mark.parametrize("value", [None, "x", ["a", "b"], ["a", "b", 1], ["a", "b", "c", "d"], {"a": 1}])
def test_what_is_no_user(value: Any) -> None:
    assert names_of(value) is None


def test_names_for_people() -> None:
    assert Names("anna", "Anna K", "7").text() == "anna (Anna K, ID 7)"
    assert Names("anna", "", "").text() == "anna"


def test_ids_are_compared_to_the_letter() -> None:
    assert same_people("id", ["1", "A"], [("1", "1"), ("a", "a")]) == {"1": ["1"]}
    assert same_people("login", ["", "x"], [("1", ""), ("2", "X")]) == {"x": ["2"]}
