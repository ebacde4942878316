"""Policies in real stores: who wins, what waits for a person, and what a decision does."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from syncapp import errors, models
from syncapp.core.rules import Policy, Rule
from syncapp.store.choices import Answer
from syncapp.store.deciding import KEEP, Decision
from tests.store.replicas import ASK, SUM, UNION, Maker, Network, Replica, make, shelf

__all__ = ["make", "shelf"]

PAIR, STAR, CHAIN, RING = ["ab"], ["ad", "bd", "cd"], ["ab", "bc"], ["ab", "bc", "ca"]
ASKED = {"thing.slug": ASK, "client.tags": ASK}


def shared(network: Network, table: str = "thing", **values: Any) -> bytes:
    """A record that every program has; its uid."""
    first = next(iter(network))
    pk = first.create(table, **values)
    network.settle()
    return first.known(table, pk)


def write(replica: Replica, uid: bytes, name: str, value: Any, table: str = "thing") -> None:
    replica.write(table, replica.pk(table, uid), **{name: value})


def conflicting(make: Maker, links: list[str] = PAIR) -> tuple[Network, bytes]:
    """Each program has given the asked field a value of its own, and has heard of the others' as far as it can."""
    network = make(links, ASKED)
    uid = shared(network, char="x", slug="old")
    for replica in network:
        write(replica, uid, "slug", replica.letter)
    network.settle()
    return network, uid


def question(replica: Replica) -> int:
    (problem,) = replica.problems
    assert problem.code == "ask"
    return problem.id


def loser(row: Any) -> Any:
    """The value that a row of the conflict list keeps, of the memory twin or of a database."""
    return msgspec.msgpack.decode(row.lost) if isinstance(row, models.Conflict) else row.lost


# -- one side wins ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "winner"), [(Policy.ACTIVE, "a"), (Policy.PASSIVE, "b")])
@pytest.mark.parametrize("first", ["a", "b"])
def test_one_side_always_wins_a_conflict(make: Maker, policy: Policy, winner: str, first: str) -> None:
    network = make(PAIR, {"thing.slug": Rule(policy)})
    uid = shared(network, char="x", slug="old")
    for letter in (first, "b" if first == "a" else "a"):
        write(network[letter], uid, "slug", letter)
    network.settle()
    assert network.values("thing", uid, "slug") == [winner, winner]
    kept = [loser(row) for replica in network for row in replica.conflicts]
    assert set(kept) == {"a", "b"} - {winner}
    write(network["b"], uid, "slug", "later")
    network.settle()
    write(network["a"], uid, "slug", "latest")
    network.settle()
    assert network.values("thing", uid, "slug") == ["latest", "latest"], (
        "an edit that has seen the other is no conflict"
    )
    assert [loser(row) for replica in network for row in replica.conflicts] == kept


@pytest.mark.parametrize("policy", [Policy.ACTIVE, Policy.PASSIVE, Policy.LATEST])
@pytest.mark.parametrize("links", [PAIR, STAR, ["da", "bd", "dc"], CHAIN])
@pytest.mark.parametrize("seed", range(2))
def test_networks_without_rings_come_to_rest_equal(
    make: Maker, policy: Policy, links: list[str], seed: int
) -> None:
    network = make(links, {"thing.slug": Rule(policy)})
    uid = shared(network, char="x", slug="old")

    def edit(rng: random.Random, replica: Replica) -> None:
        write(replica, uid, "slug", f"{replica.letter}{rng.randrange(100)}")

    network.run(seed, 25, edit)
    network.settle()
    assert len(set(network.values("thing", uid, "slug"))) == 1
    assert all(replica.codes == [] for replica in network)


# -- ask ----------------------------------------------------------------------------------------------------


def test_each_keeps_its_own_and_both_are_asked(make: Maker) -> None:
    network, uid = conflicting(make)
    assert network.values("thing", uid, "slug") == ["a", "b"]
    for replica in network:
        (problem,) = replica.problems
        assert (problem.code, problem.params["field"]) == ("ask", "slug")
        assert replica.retry() == 0, "nothing comes of trying it again"
        assert replica.conflicts == []


def test_a_question_is_counted_as_parked(make: Maker) -> None:
    network, _uid = conflicting(make)
    for replica, peer in ((network["a"], "b"), (network["b"], "a")):
        totals = replica.store.backend.cursors(replica.link_to(peer)).totals
        assert totals.parked == 1
        assert totals.received == totals.applied + totals.superseded + totals.duplicate + totals.parked


def test_what_is_asked_is_not_forwarded(make: Maker) -> None:
    network = make(CHAIN, ASKED)
    uid = shared(network, char="x", slug="old")
    write(network["a"], uid, "slug", "a")
    write(network["b"], uid, "slug", "b")
    network.settle()
    assert network.values("thing", uid, "slug") == ["a", "b", "b"]
    assert [replica.codes for replica in network] == [["ask"], ["ask"], []]


@pytest.mark.parametrize(
    ("who", "said", "value"),
    [
        ("a", Answer("ours"), "a"),
        ("a", Answer("theirs"), "b"),
        ("b", Answer("ours"), "b"),
        ("b", Answer("theirs"), "a"),
        ("b", Answer("value", "both"), "both"),
    ],
)
def test_a_decision_on_either_side_reaches_both_and_ends_the_question(
    make: Maker, who: str, said: Answer, value: str
) -> None:
    network, uid = conflicting(make)
    decider = network[who]
    decider.store.answer(question(decider), said)
    assert decider.codes == []
    network.settle()
    assert network.values("thing", uid, "slug") == [value, value]
    assert [replica.codes for replica in network] == [[], []]
    lost = {"a", "b"} - {value}
    assert {(row.resolved, loser(row)) for row in decider.conflicts} == {("decided", name) for name in lost}


def test_a_plain_edit_is_no_decision(make: Maker) -> None:
    network, uid = conflicting(make)
    write(network["a"], uid, "slug", "a2")
    network.settle()
    assert network.values("thing", uid, "slug") == ["a2", "b"]
    assert [replica.codes for replica in network] == [["ask"], ["ask"]]
    network["b"].store.answer(question(network["b"]), Answer("theirs"))
    network.settle()
    assert network.values("thing", uid, "slug") == ["a2", "a2"], "the newest of what was asked is taken"
    assert [replica.codes for replica in network] == [[], []]


def test_an_edit_to_the_same_value_leaves_nothing_to_decide(make: Maker) -> None:
    network, uid = conflicting(make)
    write(network["a"], uid, "slug", "b")
    network.settle()
    assert network["b"].codes == []
    network["a"].retry()
    assert network["a"].codes == [], "what stands here is what was asked"
    network.settle()
    assert network.values("thing", uid, "slug") == ["b", "b"]


def test_concurrent_decisions_ask_anew_unless_they_are_equal(make: Maker) -> None:
    network, uid = conflicting(make)
    a, b = network["a"], network["b"]
    a.store.answer(question(a), Answer("value", "x"))
    b.store.answer(question(b), Answer("value", "y"))
    network.settle()
    assert network.values("thing", uid, "slug") == ["x", "y"]
    assert [replica.codes for replica in network] == [["ask"], ["ask"]]
    a.store.answer(question(a), Answer("theirs"))
    b.store.answer(question(b), Answer("ours"))
    network.settle()
    assert network.values("thing", uid, "slug") == ["y", "y"]
    assert [replica.codes for replica in network] == [[], []]


@pytest.mark.parametrize("links", [CHAIN, STAR, RING])
def test_decisions_end_the_questions_of_all_links(make: Maker, links: list[str]) -> None:
    network, uid = conflicting(make, links)
    for _ in range(6):
        asked = [replica for replica in network if replica.codes]
        if not asked:
            break
        decider = asked[0]
        decider.store.answer(decider.problems[0].id, Answer("theirs"))
        assert decider.codes == [], "it was made with all values in sight"
        network.settle()
    assert len(set(network.values("thing", uid, "slug"))) == 1
    assert all(replica.codes == [] for replica in network)


def test_a_question_is_answered_once(make: Maker) -> None:
    network, _uid = conflicting(make)
    a = network["a"]
    number = question(a)
    a.store.answer(number, Answer("ours"))
    with pytest.raises(errors.NoQuestion):
        a.store.answer(number, Answer("theirs"))
    with pytest.raises(errors.NoQuestion):
        a.store.answer(999_999, Answer("theirs"))


def test_an_answer_that_cannot_be_stored_changes_nothing(make: Maker) -> None:
    network, uid = conflicting(make)
    a = network["a"]
    with pytest.raises(errors.ValueRefused):
        a.store.answer(question(a), Answer("value", "x" * 51))
    assert (a.codes, network.values("thing", uid, "slug")) == (["ask"], ["a", "b"])
    a.remove("thing", a.pk("thing", uid))
    with pytest.raises(errors.RecordGone):
        a.store.answer(question(a), Answer("ours"))


def test_a_question_ends_with_its_record(make: Maker) -> None:
    network, uid = conflicting(make)
    a = network["a"]
    a.remove("thing", a.pk("thing", uid))
    a.store.seal()
    assert a.retry() == 1
    assert a.codes == []


def test_a_late_older_version_does_not_replace_what_is_asked(make: Maker) -> None:
    network = make(PAIR, ASKED)
    a, b = network["a"], network["b"]
    uid = shared(network, char="x", slug="old")
    write(b, uid, "slug", "b")
    b.store.seal()
    write(a, uid, "slug", "a1")
    early = a.read(a.link_to("b"))
    write(a, uid, "slug", "a2")
    late = a.read(a.link_to("b"))
    assert early is not None
    assert late is not None
    for batch in (early, late, early):
        b.apply(b.link_to("a"), batch)
    b.store.answer(question(b), Answer("theirs"))
    assert b.get("thing", b.pk("thing", uid), "slug") == "a2"


def test_asked_relations_are_decided_by_record(make: Maker) -> None:
    network = make(PAIR, ASKED)
    a, b = network["a"], network["b"]
    tags = [shared(network, "tag", name=name) for name in "rgb"]
    a.create("tag", name="local")  # so that keys differ
    uid = shared(network, "client", name="c", tags=[])
    write(a, uid, "tags", [a.pk("tag", tags[0])], "client")
    write(b, uid, "tags", [b.pk("tag", tags[1]), b.pk("tag", tags[2])], "client")
    network.settle()
    assert network.values("client", uid, "tags") == [[tags[0]], sorted(tags[1:])]
    a.store.answer(question(a), Answer("theirs"))
    network.settle()
    assert network.values("client", uid, "tags") == [sorted(tags[1:])] * 2
    (kept,) = a.conflicts
    assert loser(kept) == [tags[0]], "relations are kept by uid"
    a.store.restore(kept.id)
    network.settle()
    assert network.values("client", uid, "tags") == [[tags[0]]] * 2


# -- decisions ----------------------------------------------------------------------------------------------


def lost_conflict(make: Maker) -> tuple[Network, bytes, Replica, Any]:
    """Of two edits the later one stands; the program that keeps the loser, and the conflict."""
    network = make(PAIR, {})
    uid = shared(network, char="x", slug="old")
    write(network["a"], uid, "slug", "a")
    write(network["b"], uid, "slug", "b")
    network.settle()
    keeper = next(replica for replica in network if replica.conflicts)
    return network, uid, keeper, keeper.conflicts[0]


def test_a_restored_loser_reaches_all_programs_and_so_does_a_change_of_mind(make: Maker) -> None:
    network, uid, keeper, conflict = lost_conflict(make)
    (winner,) = set(network.values("thing", uid, "slug"))
    keeper.store.restore(conflict.id)
    network.settle()
    assert network.values("thing", uid, "slug") == [loser(conflict)] * 2
    assert keeper.conflicts[0].resolved == "restored"
    with pytest.raises(errors.AlreadySettled):
        keeper.store.restore(conflict.id)
    keeper.store.keep(conflict.id)
    network.settle()
    assert network.values("thing", uid, "slug") == [winner] * 2
    assert keeper.conflicts[0].resolved == "kept"


def test_keeping_the_winner_writes_nothing(make: Maker) -> None:
    network, uid, keeper, conflict = lost_conflict(make)
    write(keeper, uid, "slug", "third")
    network.settle()
    before = keeper.store.backend.instance().head
    keeper.store.keep(conflict.id)
    assert keeper.conflicts[0].resolved == "kept"
    assert keeper.store.backend.instance().head == before
    keeper.store.restore(conflict.id)
    network.settle()
    assert network.values("thing", uid, "slug") == [loser(conflict)] * 2
    assert [loser(row) for row in keeper.conflicts] == [loser(conflict), "third"], (
        "what came in between is kept too"
    )


def test_what_cannot_be_restored_says_why(make: Maker) -> None:
    _network, uid, keeper, conflict = lost_conflict(make)
    keeper.remove("thing", keeper.pk("thing", uid))
    with pytest.raises(errors.RecordGone):
        keeper.store.restore(conflict.id)
    assert keeper.conflicts[0].resolved == ""
    with pytest.raises(errors.NoConflict):
        keeper.store.restore(999_999)


def test_a_lost_relation_whose_record_is_gone(make: Maker) -> None:
    network = make(PAIR, {})
    a, b = network["a"], network["b"]
    one, two = (shared(network, "tag", name=name) for name in "xy")
    uid = shared(network, "client", name="c", tags=[])
    write(a, uid, "tags", [a.pk("tag", one)], "client")
    write(b, uid, "tags", [b.pk("tag", two)], "client")
    network.settle()
    keeper = next(replica for replica in network if replica.conflicts)
    (lost,) = loser(keeper.conflicts[0])
    keeper.remove("tag", keeper.pk("tag", lost))
    with pytest.raises(errors.TargetGone):
        keeper.store.restore(keeper.conflicts[0].id)


def test_many_decisions_at_once_fail_one_by_one(make: Maker) -> None:
    network = make(PAIR, {"thing.integer": SUM, "client.tags": UNION})
    a = network["a"]
    uids = [shared(network, char=name, integer=number) for number, name in enumerate("pqr")]
    tag = shared(network, "tag", name="t")
    client = shared(network, "client", name="c", tags=[a.pk("tag", tag)])
    slug, char, number = (a.number("thing", name) for name in ("slug", "char", "integer"))
    tags = a.number("client", "tags")
    done = a.store.decide(
        [
            Decision(uids[0], slug, "new"),
            Decision(uids[0], number, 40),
            Decision(uids[1], slug, "x" * 51),
            Decision(b"?" * 16, slug, "x"),
            Decision(uids[2], char, KEEP),
            Decision(client, tags, []),
            Decision(client, tags, [b"?" * 16]),
        ]
    )
    found = [item.error.code if item.error else bool(item.version) for item in done]
    assert found == [True, True, "value", "record_gone", False, True, "target_gone"]
    network.settle()
    assert network.values("thing", uids[0], "slug") == ["new", "new"]
    assert network.values("thing", uids[0], "integer") == [40, 40]
    assert network.values("client", client, "tags") == [[], []]


def test_one_refused_by_the_database_leaves_the_others_of_its_kind(make: Maker) -> None:
    network = make(PAIR, {})
    a = network["a"]
    uids = [shared(network, "tag", name=name) for name in "pqr"]
    name = a.number("tag", "name")
    unique = a.number("tag") if hasattr(a, "alias") else None
    if unique is None:
        a.database.unique[a.number("tag")] = (name,)  # type: ignore[attr-defined]
    done = a.store.decide([Decision(uids[0], name, "q"), Decision(uids[2], name, "s")])
    assert [item.error.code if item.error else None for item in done] == ["not_unique", None]
    network.settle()
    assert [network.values("tag", uid, "name")[0] for uid in uids] == ["p", "q", "s"]


def test_a_pending_edit_is_older_than_the_decision(make: Maker) -> None:
    network = make(PAIR, {})
    a = network["a"]
    uid = shared(network, char="x", slug="old")
    write(a, uid, "slug", "pending")
    (done,) = a.store.decide([Decision(uid, a.number("thing", "slug"), "decided")])
    assert done.replaced == "pending"
    network.settle()
    assert network.values("thing", uid, "slug") == ["decided", "decided"]


def test_a_decision_is_above_what_it_has_seen_whatever_the_clock_says(make: Maker) -> None:
    network, uid = conflicting(make)
    a = network["a"]
    ahead = a.store.backend.now() + 200_000_000
    seen = a.store.backend.records_by_uid([uid])[uid].entries[a.number("thing", "slug")].version
    far = seen._replace(time=ahead, origin=b"z" * 20, seen=())
    (done,) = a.store.decide([Decision(uid, a.number("thing", "slug"), "now", (far,))])
    assert done.version is not None
    assert done.version.time == ahead + 1
