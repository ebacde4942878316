"""One record that several programs had before they met: in whatever order they meet, one record with one set of names.

Each program creates its own row with the same match key, and refers to it from an order of its own. Links then meet in
every order, and messages pass each other in every way that chance finds.
"""

import itertools
import random
from typing import Any

import pytest

from syncapp.core.changes import Batch
from tests.store.kin import KinMaker, Shared, make
from tests.store.replicas import Network, shelf

__all__ = ["make", "shelf"]

CLIENT, ORDER = "crm.Client", "crm.Order"
TABLES = {
    CLIENT: Shared(["name", "tax_id"], match_by=["tax_id"]),
    ORDER: Shared(["number", "client"]),
}
KEY = "7701234567"
SHAPES = {
    "chain": ["ab", "bc"],
    "chain by its end": ["ba", "cb"],
    "chain over c": ["ac", "cb"],
    "ring": ["ab", "bc", "ca"],
    "other ring": ["ba", "cb", "ac"],
    "star of four": ["ha", "hb", "hc"],
    "chain of four": ["ab", "bc", "cd"],
    "ring of four": ["ab", "bc", "cd", "da"],
}
Way = tuple[str, str]


def ways(links: list[str]) -> list[Way]:
    return [way for link in links for way in ((link[0], link[1]), (link[1], link[0]))]


def names_of(replica: Any, pk: str) -> tuple[bytes, ...]:
    """All names of a row's record, the one it goes by first."""
    backend = replica.store.backend
    record = backend.records_by_pk(replica.number(CLIENT), [pk])[pk]
    return (record.uid, *backend.aliases([record.id]).get(record.id, []))


def judge(network: Network, owners: str, shape: str) -> None:
    """One row everywhere, the same names everywhere, the smallest of them in use; nothing waits."""
    found = {}
    for replica in network:
        (pk,) = replica.keys(CLIENT)  # type: ignore[attr-defined]
        names = names_of(replica, pk)
        assert names[0] == min(names), shape
        found[replica.letter] = set(names)
        assert replica.codes == [], (shape, replica.letter, replica.problems)
        orders = replica.keys(ORDER)  # type: ignore[attr-defined]
        assert {replica.get(ORDER, order, "client") for order in orders} == {pk}, shape
        assert len(orders) == len(owners), shape
    assert len({frozenset(names) for names in found.values()}) == 1, (shape, found)
    values = {replica.get(CLIENT, replica.keys(CLIENT)[0], "name") for replica in network}  # type: ignore[attr-defined]
    assert len(values) == 1, (shape, values)


def rest(network: Network) -> None:
    """Send all there is, and try what that makes due, as the engine does by itself."""
    for _ in range(20):
        network.settle()
        if not sum(replica.retry() for replica in network):
            return
    raise AssertionError("no end")


def born(network: Network, owners: str) -> None:
    """Each of ``owners`` has its own row of the same client, and an order of it."""
    for letter in owners:
        replica = network[letter]
        client = replica.create(CLIENT, name=f"name at {letter}", tax_id=KEY)
        replica.create(ORDER, number=f"order of {letter}", client=client)
        replica.store.seal()


def meet(network: Network, link: str) -> None:
    """The two ends of one link exchange all they have."""
    for _ in range(20):
        if not any([network.send(*link), network.send(*link[::-1])]):
            return
    raise AssertionError("no end")


def afterwards(network: Network, owners: str, shape: str) -> None:
    """An edit by each owner reaches everybody, under whatever name the record is known."""
    for letter in owners:
        replica = network[letter]
        replica.write(CLIENT, replica.keys(CLIENT)[0], name=f"later at {letter}")  # type: ignore[attr-defined]
        rest(network)
        judge(network, owners, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_links_that_meet_one_after_another(make: KinMaker, shape: str) -> None:
    links = SHAPES[shape]
    letters = "".join(sorted({letter for link in links for letter in link}))
    if make.kind == "memory":
        sizes = range(2, len(letters) + 1) if len(letters) < 4 else (2, 4)
        groups = [group for size in sizes for group in itertools.combinations(letters, size)]
        orders = list(itertools.permutations(links))[:: 1 if len(links) < 4 else 4]
    else:
        groups, orders = [tuple(letters)], [tuple(links), tuple(reversed(links))]
    for owners, order in itertools.product(groups, orders):
        network = make(links, TABLES)
        born(network, "".join(owners))
        for link in order:
            meet(network, link)
        rest(network)
        judge(network, "".join(owners), f"{shape} {order} {owners}")
        afterwards(network, "".join(owners), shape)
        if make.kind != "memory":
            make.close()


class Road:
    """One direction of a link in steps: read, apply, acknowledge; batches and acknowledgements may be under way."""

    def __init__(self, network: Network, way: Way) -> None:
        self.source, self.target = network[way[0]], network[way[1]]
        self.there = self.source.link_to(way[1])
        self.here = self.target.link_to(way[0])
        self.batch: Batch | None = None
        self.done: Any = None

    def step(self) -> bool:
        """Do what comes next; whether there was anything."""
        if self.batch is None:
            self.batch = self.source.read(self.there)
            return self.batch is not None
        if self.done is None:
            self.done = self.target.apply(self.here, self.batch)
            return True
        self.source.acked(self.there, self.batch, self.done)
        self.batch = self.done = None
        return True


def interleave(network: Network, links: list[str], rng: random.Random) -> None:
    """Steps of all roads in a random order until nothing is left."""
    roads = [Road(network, way) for way in ways(links)]
    still = 0
    for _ in range(4000):
        moved = rng.choice(roads).step()
        still = 0 if moved else still + 1
        if still > 8 * len(roads) and not any(road.batch for road in roads):
            break
    rest(network)


@pytest.mark.parametrize("shape", SHAPES)
def test_messages_that_pass_each_other(make: KinMaker, shape: str) -> None:
    links = SHAPES[shape]
    letters = "".join(sorted({letter for link in links for letter in link}))
    for seed in range(60 if make.kind == "memory" else 2):
        rng = random.Random(seed)
        owners = "".join(sorted(rng.sample(letters, rng.randint(2, len(letters)))))
        network = make(links, TABLES)
        born(network, owners)
        interleave(network, links, rng)
        judge(network, owners, f"{shape} seed {seed} {owners}")
        if make.kind != "memory":
            make.close()


@pytest.mark.parametrize("make", ["memory"], indirect=True)  # what is decided does not depend on the database
@pytest.mark.parametrize("first", ["a", "b"])
def test_the_first_steps_of_two_programs_in_every_order(first: str, make: KinMaker) -> None:
    """Read, apply, acknowledge in both directions: all twenty orders."""
    for places in itertools.combinations(range(6), 3):
        network = make(["ab"] if first == "a" else ["ba"], TABLES)
        born(network, "ab")
        one, other = Road(network, ("a", "b")), Road(network, ("b", "a"))
        for place in range(6):
            (one if place in places else other).step()
        for road in (one, other):
            while road.batch is not None:
                road.step()
        rest(network)
        judge(network, "ab", str(places))


def test_two_rows_that_live_here_are_never_merged(make: KinMaker) -> None:
    """The peer takes two records of ours for one: that is a problem, not a loss."""
    network = make(["ab", "bc"], TABLES)
    a, b, c = network["a"], network["b"], network["c"]
    one = a.create(CLIENT, name="one", tax_id="111111111")
    other = c.create(CLIENT, name="other", tax_id="222222222")
    rest(network)
    assert [len(r.keys(CLIENT)) for r in network] == [2, 2, 2]  # type: ignore[attr-defined]
    b.write(CLIENT, b.keys(CLIENT)[1], tax_id="111111111")  # type: ignore[attr-defined]
    rest(network)
    assert [len(r.keys(CLIENT)) for r in network] == [2, 2, 2]  # type: ignore[attr-defined]
    for replica in network:
        names = [set(names_of(replica, pk)) for pk in replica.keys(CLIENT)]  # type: ignore[attr-defined]
        assert not set.intersection(*names)
    assert one
    assert other
