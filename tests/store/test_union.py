"""Unions: what several programs add to and take out of a many-to-many at the same time is all kept."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from syncapp.core.changes import Batch
from syncapp.store.refeed import feed_again
from tests.store.replicas import UNION, Maker, Network, Replica, make, shelf

__all__ = ["make", "shelf"]

RULES = {"client.tags": UNION}
PAIR, STAR, RING, CHAIN = ["ab"], ["ad", "bd", "cd"], ["ab", "bc", "ca"], ["ab", "bc"]


class Scene:
    """A client that every program has, and tags with names of one letter."""

    def __init__(self, network: Network, names: str = "rgb", *, had: str = "") -> None:
        self.network = network
        first = next(iter(network))
        keys = {name: first.create("tag", name=name) for name in names}
        network.settle()
        self.tags = {name: first.known("tag", pk) for name, pk in keys.items()}
        pk = first.create("client", name="c", tags=[keys[name] for name in had])
        network.settle()
        self.client = first.known("client", pk)

    def has(self, replica: Replica) -> str:
        pk = replica.pk("client", self.client)
        names = {replica.pk("tag", uid): name for name, uid in self.tags.items()}
        return "".join(sorted(names[key] for key in replica.get("client", pk, "tags")))

    def give(self, replica: Replica, names: str) -> None:
        """A user sets the client's tags."""
        keys = [replica.pk("tag", self.tags[name]) for name in names]
        replica.write("client", replica.pk("client", self.client), tags=sorted(keys))

    @property
    def all(self) -> list[str]:
        return [self.has(replica) for replica in self.network]


def test_what_both_add_and_take_out_is_kept(make: Maker) -> None:
    network = make(PAIR, RULES)
    scene = Scene(network, "rgbw", had="rg")
    scene.give(network["a"], "gb")
    scene.give(network["b"], "rgw")
    network.settle()
    assert scene.all == ["bgw", "bgw"], "r was taken out, b and w were added"
    assert all(replica.conflicts == [] and replica.codes == [] for replica in network)
    before = [replica.store.backend.instance().head for replica in network]
    network.settle()
    assert [replica.store.backend.instance().head for replica in network] == before, "it comes to rest"


def test_what_was_removed_stays_so_until_it_is_added_again(make: Maker) -> None:
    network = make(CHAIN, RULES)
    scene = Scene(network, had="r")
    c = network["c"]
    scene.give(network["a"], "")
    scene.give(c, "rg")
    network.settle()
    assert scene.all == ["g", "g", "g"]
    scene.give(c, "rg")
    network.settle()
    assert scene.all == ["gr", "gr", "gr"]


def forget(network: Network, uid: bytes) -> None:
    """As if the record had been on all sides before they were linked: it was never edited since."""
    for replica in network:
        backend = replica.store.backend
        record = backend.records_by_uid([uid])[uid]
        record.entries.clear()
        with backend.transaction():
            backend.save_records([record])


def test_the_first_edits_of_a_set_that_was_never_edited(make: Maker) -> None:
    network = make(PAIR, RULES)
    scene = Scene(network, "rgbw", had="rgb")
    forget(network, scene.client)
    scene.give(network["a"], "gb")
    scene.give(network["b"], "rbw")
    network.settle()
    assert scene.all == ["bw", "bw"], "each took one out, and one was added"


def test_sets_that_differed_before_the_first_edit_are_united(make: Maker) -> None:
    network = make(PAIR, RULES)
    scene = Scene(network, "rgbw", had="rg")
    scene.give(network["b"], "gb")
    network["b"].store.seal()
    forget(network, scene.client)
    scene.give(network["a"], "gw")
    network.settle()
    assert scene.all == ["bgw", "bgw"], "r was taken out; that b was only there is no removal"


def test_an_edit_that_is_taken_back_is_none(make: Maker) -> None:
    network = make(PAIR, RULES)
    scene = Scene(network, had="r")
    scene.give(network["a"], "rg")
    scene.give(network["a"], "r")
    assert network.send("a", "b") is None


@pytest.mark.parametrize("links", [PAIR, STAR, RING, CHAIN])
@pytest.mark.parametrize("seed", range(3))
def test_any_order_ends_equal_with_all_that_was_added_for_good(
    make: Maker, links: list[str], seed: int
) -> None:
    network = make(links, RULES)
    scene = Scene(network, "rgbwy", had="r")
    removed: set[str] = set()
    added: set[str] = set("r")

    def edit(rng: random.Random, replica: Replica) -> None:
        had = set(scene.has(replica))
        name = rng.choice("rgbwy")
        (removed if name in had else added).add(name)
        scene.give(replica, "".join(sorted(had ^ {name})))

    network.run(seed, 24, edit)
    network.settle()
    (final,) = set(scene.all)
    assert added - removed <= set(final) <= added
    assert all(replica.codes == [] for replica in network)


# -- targets that are missing -------------------------------------------------------------------------------


def without_target(network: Network, scene: Scene, name: str) -> tuple[Batch, Batch]:
    """(the tag called ``name``, the client that has it), sent by a in the wrong order."""
    a = network["a"]
    link = a.link_to("b")
    pk = a.create("tag", name=name)
    first = a.read(link)
    assert first is not None
    scene.tags[name] = a.known("tag", pk)
    record = a.store.backend.records_by_uid([scene.tags[name]])[scene.tags[name]]
    with a.store.backend.transaction():
        a.store.backend.add_pairs(link, [record.id])
    scene.give(a, scene.has(a) + name)
    second = a.read(link, first.end)
    assert second is not None
    return first, msgspec.structs.replace(second, start=first.start)


def test_a_set_waits_for_an_element_that_is_not_here_yet(make: Maker) -> None:
    network = make(PAIR, RULES)
    scene = Scene(network, "rg", had="r")
    b = network["b"]
    tag, client = without_target(network, scene, "m")
    b.apply(b.link_to("a"), client)
    pk = b.pk("client", scene.client)
    assert b.get("client", pk, "tags") == [b.pk("tag", scene.tags["r"])]
    (problem,) = b.problems
    assert (problem.code, problem.waits_for) == ("missing_target", scene.tags["m"])
    b.write("client", pk, tags=[b.pk("tag", scene.tags["g"])])
    b.apply(b.link_to("a"), tag)
    assert b.codes == []
    assert scene.has(b) == "gm", "what was edited here meanwhile is joined to it"


def test_what_is_parked_of_a_set_takes_in_what_comes_later(make: Maker) -> None:
    network = make(PAIR, RULES)
    scene = Scene(network, "rg", had="r")
    a, b = network["a"], network["b"]
    tag, client = without_target(network, scene, "m")
    b.apply(b.link_to("a"), client)
    scene.give(a, "gm")
    later = a.read(a.link_to("b"), tag.end)
    assert later is not None
    b.apply(b.link_to("a"), msgspec.structs.replace(later, start=tag.start))
    b.apply(b.link_to("a"), client)
    b.apply(b.link_to("a"), tag)
    assert (scene.has(b), b.codes) == ("gm", [])


def test_a_removed_element_needs_no_target(make: Maker) -> None:
    network = make(PAIR, RULES)
    scene = Scene(network, "rg", had="r")
    a, b = network["a"], network["b"]
    _tag, _client = without_target(network, scene, "m")
    scene.give(a, "r")
    batch = a.read(a.link_to("b"))
    assert batch is not None
    batch.sections = [s for s in batch.sections if s.table == a.number("client")]
    b.apply(b.link_to("a"), batch)
    assert b.codes == []


# -- targets that are deleted -------------------------------------------------------------------------------


def test_deleting_a_target_takes_it_out_everywhere(make: Maker) -> None:
    network = make(CHAIN, RULES)
    scene = Scene(network, "rg", had="rg")
    a = network["a"]
    a.remove("tag", a.pk("tag", scene.tags["r"]))
    network.settle()
    gone = scene.tags.pop("r")
    assert [scene.has(network[letter]) for letter in "abc"] == ["g", "g", "g"]
    assert network["c"].store.backend.records_by_uid([gone])[gone].alive, "deletions are another matter"


def test_an_element_whose_record_is_gone_here_does_not_stop_the_others(make: Maker) -> None:
    network = make(PAIR, RULES)
    scene = Scene(network, "rgb", had="r")
    a, b = network["a"], network["b"]
    a.remove("tag", a.pk("tag", scene.tags["g"]))
    a.store.seal()
    scene.give(b, "rgb")
    network.settle()
    pk = a.pk("client", scene.client)
    assert a.get("client", pk, "tags") == sorted(a.pk("tag", scene.tags[name]) for name in "rb")
    assert a.codes == []
    # A local edit here says nothing about what cannot be seen here.
    a.write("client", pk, tags=[a.pk("tag", scene.tags["b"])])
    network.settle()
    assert scene.has(b) == "bg"


def test_an_element_that_is_gone_here_is_not_told_to_a_new_peer(make: Maker) -> None:
    network = make(CHAIN, RULES)
    scene = Scene(network, "rgb", had="r")
    a, b, c = (network[letter] for letter in "abc")
    b.remove("tag", b.pk("tag", scene.tags["g"]))
    b.store.seal()
    new = a.create("client", name="new", tags=[a.pk("tag", scene.tags[name]) for name in "gb"])
    network.settle()
    uid = a.known("client", new)
    assert c.codes == b.codes == []
    assert c.get("client", c.pk("client", uid), "tags") == [c.pk("tag", scene.tags["b"])]


def test_records_that_turn_out_to_be_one_are_one_element(make: Maker) -> None:
    """Two programs have named one tag; sets that have it by either name are about one element."""
    network = make(PAIR, RULES)
    scene = Scene(network, "rg", had="r")
    a, b = network["a"], network["b"]
    backend = b.store.backend
    with backend.transaction():
        record = backend.records_by_uid([scene.tags["g"]])[scene.tags["g"]]
        backend.rename(record, b"\x00" + b"o" * 15)  # the smaller name becomes its uid here
        numbering = b.store._numbering()
        feed_again(record, numbering)
        backend.save_records([record])
        numbering.close()
    scene.give(b, "rg")
    network.settle()
    assert scene.has(b) == "gr"
    scene.give(a, "")
    network.settle()
    assert b.get("client", b.pk("client", scene.client), "tags") == []


def parts_of(replica: Replica, uid: bytes) -> tuple[Any, ...]:
    record = replica.store.backend.records_by_uid([uid])[uid]
    return record.entries[replica.number("client", "tags")].parts


def test_all_programs_remember_the_same(make: Maker) -> None:
    network = make(RING, RULES)
    scene = Scene(network, "rgb", had="rg")
    for replica, names in zip(network, ("r", "gb", "rgb"), strict=True):
        scene.give(replica, names)
    network.settle()
    assert len({parts_of(replica, scene.client) for replica in network}) == 1
    assert scene.all == ["b", "b", "b"]
