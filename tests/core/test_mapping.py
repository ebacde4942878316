"""Types that fit, and what two programs agree on."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp.core.mapping import (
    Catalogue,
    Direction,
    FieldOffer,
    FieldType,
    Kind,
    TableOffer,
    agree,
    mergeable,
)
from syncapp.core.rules import Merge


def table(number: int, label: str, *fields: FieldOffer) -> TableOffer:
    return TableOffer(number, label, label, fields)


def field(
    number: int,
    name: str,
    direction: Direction = Direction.BOTH,
    peer: int | str | None = None,
    kind: FieldType | None = None,
    *,
    lossy: bool = False,
) -> FieldOffer:
    kind = kind or FieldType(Kind.TEXT)
    return FieldOffer(number, name, name, kind, direction.sends, direction.receives, peer, lossy)


@pytest.mark.parametrize(("ours", "theirs"), list(itertools.product(Direction, Direction)))
def test_directions(ours: Direction, theirs: Direction) -> None:
    here, there = (
        (table(1, "crm.Client", field(11, "name", ours)),),
        (table(5, "crm.Client", field(51, "name", theirs)),),
    )
    agreement = agree(here, there)
    flow = agreement.tables.get(1)
    assert (flow.out if flow else {}) == ({11: 51} if ours.sends and theirs.receives else {})
    assert (flow.into if flow else {}) == ({51: 11} if ours.receives and theirs.sends else {})
    codes = [suspended.code for suspended in agreement.suspended]
    if ours is Direction.OFF or flow:
        assert codes == []
    else:
        assert codes == ["peer_not_mapped" if theirs is Direction.OFF else "directions"]


def test_names_pair_without_regard_to_the_table_labels_case() -> None:
    agreement = agree(
        (table(1, "CRM.client", field(11, "name")),), (table(2, "crm.Client", field(21, "name")),)
    )
    assert agreement.out_fields(1) == {11: 21}
    assert agreement.by_peer[2].into == {21: 11}
    assert agreement.out_fields(99) == {}


@pytest.mark.parametrize("peer", [21, "crm.Customer.title"])
def test_an_explicit_choice_of_either_side_pairs(peer: int | str) -> None:
    here, there = (
        (table(1, "crm.Client", field(11, "name", peer=peer)),),
        (table(2, "crm.Customer", field(21, "title")),),
    )
    assert agree(here, there).out_fields(1) == {11: 21}
    assert agree(there, here).out_fields(2) == {21: 11}


def test_contradicting_choices_suspend_the_second() -> None:
    here = (table(1, "a.A", field(11, "x", peer=21), field(12, "y", peer=21)),)
    there = (table(2, "a.A", field(21, "x"), field(22, "y")),)
    agreement = agree(here, there)
    assert agreement.out_fields(1) == {11: 21}
    assert [(s.field, s.code) for s in agreement.suspended] == [(12, "other_pair")]


def test_a_field_that_the_peer_lacks_or_does_not_map() -> None:
    here = (table(1, "a.A", field(11, "x"), field(12, "y"), field(13, "z")),)
    there = (table(2, "a.A", field(21, "x"), field(22, "y", Direction.OFF)),)
    agreement = agree(here, there)
    assert agreement.out_fields(1) == {11: 21}
    assert {s.field: s.code for s in agreement.suspended} == {12: "peer_not_mapped", 13: "peer_no_field"}


def test_a_table_pairs_with_one_table_only() -> None:
    here = (table(1, "a.A", field(11, "x"), field(12, "y", peer="a.B.y")),)
    there = (table(2, "a.A", field(21, "x")), table(3, "a.B", field(31, "y")))
    agreement = agree(here, there)
    assert agreement.out_fields(1) == {12: 31}, "a choice goes before equal names"
    assert [(s.field, s.code) for s in agreement.suspended] == [(11, "two_tables")]


def test_types_that_do_not_fit() -> None:
    number, text = FieldType(Kind.INTEGER), FieldType(Kind.TEXT)
    agreement = agree(
        (table(1, "a.A", field(11, "x", kind=number)),), (table(2, "a.A", field(21, "x", kind=text)),)
    )
    assert [s.code for s in agreement.suspended] == ["types_differ"]
    assert agreement.suspended[0].params == {"field": "x", "here": "integer", "there": "text"}


def test_lossy_types_need_consent_of_one_side() -> None:
    long, short = FieldType(Kind.TEXT, length=200), FieldType(Kind.TEXT, length=100)
    there = (table(2, "a.A", field(21, "x", kind=short)),)
    refused = agree((table(1, "a.A", field(11, "x", kind=long)),), there)
    assert [s.code for s in refused.suspended] == ["lossy"]
    allowed = agree((table(1, "a.A", field(11, "x", kind=long, lossy=True)),), there)
    assert allowed.out_fields(1) == {11: 21}
    # Only what flows has to fit.
    upward = agree((table(1, "a.A", field(11, "x", Direction.DOWNLOAD, kind=long)),), there)
    assert upward.by_peer[2].into == {21: 11}


def suspended(one: FieldOffer, other: FieldOffer) -> list[str]:
    """Why the two fields do not flow, which must be the same seen from either side."""
    here, there = (table(1, "a.A", one),), (table(2, "a.A", other),)
    codes = [reason.code for reason in agree(here, there).suspended]
    assert codes == [reason.code for reason in agree(there, here).suspended]
    return codes


def ruled(number: int, policy: str = "latest", merge: str = "value", **changes: Any) -> FieldOffer:
    direction = changes.pop("direction", Direction.BOTH)
    kind = changes.pop("kind", None)
    return msgspec.structs.replace(
        field(number, "x", direction, kind=kind), policy=policy, merge=merge, **changes
    )


def test_rules_must_be_the_same() -> None:
    rules = [
        ("latest", "value"),
        ("ask", "value"),
        ("active", "value"),
        ("latest", "union"),
        ("later", "odd"),
    ]
    for one, other in itertools.product(rules, rules):
        codes = suspended(ruled(11, *one), ruled(21, *other))
        assert codes == ([] if one == other else ["rules_differ"])
    reason = agree(
        (table(1, "a.A", ruled(11, "ask")),), (table(2, "a.A", ruled(21, merge="union")),)
    ).suspended
    assert [s.params for s in reason] == [{"field": "x", "here": "ask", "there": "union"}]


@pytest.mark.parametrize("policy", ["latest", "active", "passive", "ask"])
def test_where_both_programs_are_hubs_no_side_may_always_win(policy: str) -> None:
    hub, leaf = ruled(11, policy, hub=True), ruled(21, policy)
    other = ruled(21, policy, hub=True)
    assert suspended(hub, leaf) == []
    assert suspended(hub, other) == (["policy_ring"] if policy in ("active", "passive") else [])
    one_way = ruled(21, policy, hub=True, direction=Direction.DOWNLOAD)
    assert suspended(hub, one_way) == []


def test_sums_count_in_one_unit() -> None:
    cents, mills = FieldType(Kind.DECIMAL, digits=12, places=2), FieldType(Kind.DECIMAL, digits=12, places=3)
    wide = FieldType(Kind.DECIMAL, digits=14, places=2)
    whole = FieldType(Kind.INTEGER)

    def codes(one: FieldType, other: FieldType) -> list[str]:
        return suspended(
            ruled(11, merge="sum", kind=one, lossy=True), ruled(21, merge="sum", kind=other, lossy=True)
        )

    assert codes(cents, wide) == codes(whole, whole) == []
    assert codes(cents, mills) == codes(cents, whole) == ["rule_types"]


@pytest.mark.parametrize(
    ("kind", "sums", "joins"),
    [
        (FieldType(Kind.INTEGER), True, False),
        (FieldType(Kind.DECIMAL, digits=5, places=2), True, False),
        (FieldType(Kind.INTEGER, null=True), False, False),
        (FieldType(Kind.FLOAT), False, False),
        (FieldType(Kind.DURATION), False, False),
        (FieldType(Kind.RELATION), False, False),
        (FieldType(Kind.RELATIONS), False, True),
    ],
)
def test_which_types_can_be_merged(kind: FieldType, sums: bool, joins: bool) -> None:
    assert mergeable(Merge.SUM, kind) is sums
    assert mergeable(Merge.UNION, kind) is joins
    assert mergeable(Merge.VALUE, kind)


names = st.sampled_from(["a", "b", "c"])


@st.composite
def catalogues(draw: st.DrawFn, base: int) -> Catalogue:
    """Random catalogues with explicit choices, some of them nonsense."""
    tables = []
    other = 300 - base
    for t, label in enumerate(
        draw(st.lists(st.sampled_from(["x.T", "x.U", "x.V"]), unique=True, max_size=3))
    ):
        fields = []
        for f, name in enumerate(draw(st.lists(names, unique=True, max_size=3))):
            peer = draw(
                st.one_of(
                    st.none(), st.integers(other, other + 12), st.sampled_from(["x.T.a", "x.U.b", "odd"])
                )
            )
            fields.append(field(base + 4 * t + f, name, draw(st.sampled_from(Direction)), peer))
        tables.append(table(base + 50 + t, label, *fields))
    return tuple(tables)


@given(catalogues(100), catalogues(200))
def test_both_sides_come_to_the_same_agreement(here: Catalogue, there: Catalogue) -> None:
    ours, theirs = agree(here, there), agree(there, here)
    assert {(a, b) for flow in ours.tables.values() for a, b in flow.out.items()} == {
        (a, b) for flow in theirs.tables.values() for a, b in flow.into.items()
    }
    assert {(a, b) for flow in ours.tables.values() for a, b in flow.into.items()} == {
        (a, b) for flow in theirs.tables.values() for a, b in flow.out.items()
    }


def test_short_forms_of_types() -> None:
    assert FieldType(Kind.TEXT, length=20).text() == "text(20)"
    assert FieldType(Kind.DECIMAL, digits=12, places=2).text() == "decimal(12,2)"
    assert FieldType(Kind.RELATION, target="crm.Client").text() == "relation crm.Client"
    assert FieldType(Kind.DATE).text() == "date"


# -- deletions ------------------------------------------------------------------------------------------------

STATUS, MOMENT = FieldType(Kind.STATUS), FieldType(Kind.DATETIME)


@pytest.mark.parametrize(("added_here", "added_there"), list(itertools.product(Direction, Direction)))
def test_deletions_flow_only_with_the_time_added(added_here: Direction, added_there: Direction) -> None:
    here = (
        table(
            1,
            "a.A",
            field(11, "record_status", kind=STATUS),
            field(12, "time_added", added_here, kind=MOMENT),
        ),
    )
    there = (
        table(
            2,
            "a.A",
            field(21, "time_added", added_there, kind=MOMENT),
            field(22, "record_status", kind=STATUS),
        ),
    )
    flows = (added_here.sends and added_there.receives) or (added_here.receives and added_there.sends)
    for ours, theirs, status, table_number, peer in ((here, there, 11, 1, 22), (there, here, 22, 2, 11)):
        agreement = agree(ours, theirs)
        codes = {suspended.field: suspended.code for suspended in agreement.suspended}
        assert (agreement.out_fields(table_number).get(status) == peer) is flows
        assert (codes.get(status) == "needs_time_added") is not flows


@pytest.mark.parametrize("way", [Direction.UPLOAD, Direction.DOWNLOAD, Direction.BOTH])
def test_the_direction_of_the_record_status_is_that_of_deletions(way: Direction) -> None:
    def side(base: int, direction: Direction) -> Catalogue:
        status = field(base + 1, "record_status", direction, kind=STATUS)
        return (table(base, "a.A", status, field(base + 2, "time_added", kind=MOMENT)),)

    agreement = agree(side(10, way), side(20, Direction.BOTH))
    assert (11 in agreement.out_fields(10)) is way.sends
    assert (21 in agreement.by_peer[20].into) is way.receives
