"""Sums: what several programs add and take away at the same time is all counted, once."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from tests.store.replicas import SUM, Maker, Network, Replica, make, shelf

__all__ = ["make", "shelf"]

RULES = {"thing.integer": SUM, "thing.decimal": SUM, "thing.bounded": SUM}
PAIR, STAR, RING = ["ab"], ["ad", "bd", "cd"], ["ab", "bc", "ca"]


def shared(network: Network, **values: Any) -> bytes:
    """A record that every program has; its uid."""
    first = next(iter(network))
    pk = first.create("thing", char="x", **values)
    network.settle()
    return first.known("thing", pk)


def add(replica: Replica, uid: bytes, name: str, more: int) -> None:
    pk = replica.pk("thing", uid)
    old = replica.get("thing", pk, name)
    new = old + more if isinstance(old, int) else format(Decimal(old) + Decimal(more) / 100, "f")
    replica.write("thing", pk, **{name: new})


@pytest.mark.parametrize(("name", "start", "end"), [("integer", 10, 12), ("decimal", "0.10", "0.12")])
def test_three_more_here_and_one_less_there_are_two_more(
    make: Maker, name: str, start: Any, end: Any
) -> None:
    network = make(PAIR, RULES)
    uid = shared(network, **{name: start})
    add(network["a"], uid, name, 3)
    add(network["b"], uid, name, -1)
    network.settle()
    assert network.values("thing", uid, name) == [end, end]
    assert [replica.conflicts for replica in network] == [[], []]
    before = [replica.store.backend.instance().head for replica in network]
    network.settle()
    assert [replica.store.backend.instance().head for replica in network] == before, "it comes to rest"


@pytest.mark.parametrize("links", [PAIR, STAR, RING, ["ab", "bc"]])
@pytest.mark.parametrize("seed", range(4))
def test_everything_that_anybody_adds_counts_once(make: Maker, links: list[str], seed: int) -> None:
    network = make(links, RULES)
    uid = shared(network, integer=100, decimal="5.00")
    added = {"integer": 0, "decimal": 0}

    def edit(rng: random.Random, replica: Replica) -> None:
        name, more = rng.choice(["integer", "decimal"]), rng.randrange(-9, 10)
        added[name] += more
        add(replica, uid, name, more)

    network.run(seed, 30, edit)
    network.settle()
    count = len(network.replicas)
    assert network.values("thing", uid, "integer") == [100 + added["integer"]] * count
    assert (
        network.values("thing", uid, "decimal")
        == [format(Decimal(5) + Decimal(added["decimal"]) / 100, ".2f")] * count
    )
    assert all(replica.codes == [] for replica in network)


def test_the_first_edit_of_a_number_that_was_never_edited(make: Maker) -> None:
    """What was there before the link is no part of anybody's."""
    network = make(PAIR, RULES)
    uid = shared(network, integer=7)
    for replica in network:  # as if the record had been on both sides before they were linked
        record = replica.store.backend.records_by_uid([uid])[uid]
        record.entries.clear()
        with replica.store.backend.transaction():
            replica.store.backend.save_records([record])
    add(network["a"], uid, "integer", 5)
    add(network["b"], uid, "integer", 4)
    add(network["b"], uid, "integer", -2)
    network.settle()
    assert network.values("thing", uid, "integer") == [14, 14]


def test_an_edit_that_is_taken_back_is_none(make: Maker) -> None:
    network = make(PAIR, RULES)
    uid = shared(network, integer=7)
    add(network["a"], uid, "integer", 5)
    add(network["a"], uid, "integer", -5)
    assert network.send("a", "b") is None


def test_a_new_record_comes_whole_and_goes_on(make: Maker) -> None:
    network = make(["ab", "bc"], RULES)
    uid = shared(network, integer=5)
    assert network.values("thing", uid, "integer") == [5, 5, 5]
    add(network["c"], uid, "integer", 1)
    add(network["a"], uid, "integer", 10)
    network.settle()
    assert network.values("thing", uid, "integer") == [16, 16, 16]


def test_a_sum_out_of_range_waits_with_both_numbers_until_there_is_room(make: Maker) -> None:
    network = make(PAIR, RULES)
    a, b = network["a"], network["b"]
    uid = shared(network, bounded=3)
    add(a, uid, "bounded", 2)
    add(b, uid, "bounded", 1)
    network.settle()
    assert network.values("thing", uid, "bounded") == [5, 4], "six is too many: nobody loses anything"
    for replica, here, there in ((a, "5", "4"), (b, "4", "5")):
        (problem,) = replica.problems
        shown = {key: problem.params[key] for key in ("here", "there", "value", "field")}
        assert (problem.code, shown) == (
            "sum_range",
            {"here": here, "there": there, "value": "6", "field": "bounded"},
        )
    add(b, uid, "bounded", -2)
    network.settle()
    for replica in network:
        replica.retry()
    network.settle()
    assert network.values("thing", uid, "bounded") == [4, 4]
    assert a.codes == b.codes == []


def test_an_older_state_that_comes_late_takes_nothing_from_a_parked_one(make: Maker) -> None:
    network = make(PAIR, RULES)
    a, b = network["a"], network["b"]
    uid = shared(network, bounded=3)
    add(b, uid, "bounded", 2)
    add(a, uid, "bounded", 1)
    early = a.read(a.link_to("b"))
    assert early is not None
    b.apply(b.link_to("a"), early)
    add(a, uid, "bounded", 1)
    late = a.read(a.link_to("b"))
    assert late is not None
    b.apply(b.link_to("a"), late)
    b.apply(b.link_to("a"), early)
    assert [problem.params["value"] for problem in b.problems if problem.code == "sum_range"] == ["7"]
    add(b, uid, "bounded", -2)
    network.settle()
    for replica in network:
        replica.retry()
    network.settle()
    assert network.values("thing", uid, "bounded") == [5, 5]


def test_a_number_too_large_for_64_bits_in_between_is_exact(make: Maker) -> None:
    network = make(PAIR, RULES)
    uid = shared(network, integer=0)
    high = 2**31 - 1
    for _ in range(3):
        for replica, value in ((network["a"], high), (network["b"], -high)):
            replica.write("thing", replica.pk("thing", uid), integer=value)
            network.settle()
    assert network.values("thing", uid, "integer") == [-high, -high]
    assert [replica.codes for replica in network] == [[], []]
