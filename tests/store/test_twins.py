"""Two programs with one identity, and what must never be taken for them."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from syncapp import errors
from syncapp.core.messages import Hello, Known
from syncapp.store.base import Contacts, Holder
from syncapp.store.twins import HOLDERS, REFUSED_FOR, judge
from tests.core.messages import MESSAGES
from tests.store.programs import SECOND
from tests.store.restoring import STAR, Node, Talk, World, contact

NOW = 1_772_366_400_000_000


def hello(boot: bytes, token: int, title: str = "Branch") -> Hello:
    made = msgspec.structs.replace(
        MESSAGES["hello"], boot=boot, token=token, title=title, host=f"host {boot.decode()}", knows=Known()
    )
    assert isinstance(made, Hello)
    return made


def run(*said: tuple[bytes, int], every: int = SECOND) -> list[str]:
    """What becomes of hellos that come one after the other: "", "restored" or "twin"."""
    contacts, found = Contacts(1), []
    for number, (boot, token) in enumerate(said):
        error = judge(contacts, hello(boot, token), NOW + number * every, "10.0.0.1")
        found.append("" if error is None else "twin" if isinstance(error, errors.Twin) else "restored")
    return found


# -- the rule -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param([(b"x", 1), (b"x", 2), (b"x", 3)], ["", "", ""], id="one process"),
        pytest.param([(b"x", 1), (b"y", 2), (b"z", 3)], ["", "", ""], id="restarts"),
        pytest.param([(b"x", 1), (b"y", 2), (b"x", 3), (b"y", 4)], [""] * 4, id="two processes take turns"),
        pytest.param([(b"x", 50), (b"y", 41)], ["", "restored"], id="restored"),
        pytest.param([(b"x", 50), (b"y", 50)], ["", "restored"], id="restored at that very moment"),
        pytest.param([(b"x", 50), (b"y", 41), (b"y", 52)], ["", "restored", ""], id="restored and healed"),
        pytest.param(
            [(b"x", 50), (b"y", 41), (b"y", 42), (b"y", 52)],
            ["", "restored", "restored", ""],
            id="restored, and did not hear why it was refused",
        ),
        pytest.param(
            [(b"x", 50), (b"y", 41), (b"y", 42), (b"x", 51)],
            ["", "restored", "restored", "twin"],
            id="a copy that did not hear why it was refused",
        ),
        pytest.param([(b"x", 50), (b"x", 40)], ["", "restored"], id="exchanged while it ran"),
        pytest.param([(b"x", 50), (b"y", 41), (b"x", 51)], ["", "restored", "twin"], id="an older copy"),
        pytest.param(
            [(b"x", 50), (b"y", 90), (b"x", 51)], ["", "", "twin"], id="a copy that dialled in vain"
        ),
        pytest.param([(b"x", 50), (b"y", 41), (b"x", 99)], ["", "restored", "twin"], id="whatever its token"),
        pytest.param([(b"x", 0), (b"y", 0), (b"x", 0)], ["", "", ""], id="a peer without tokens"),
    ],
)
def test_judgement(said: list[tuple[bytes, int]], expected: list[str]) -> None:
    assert run(*said) == expected


def test_both_are_refused_until_one_is_silent() -> None:
    contacts = Contacts(1)
    now = NOW

    def call(boot: bytes, token: int) -> bool:
        nonlocal now
        now += 30 * SECOND
        return isinstance(judge(contacts, hello(boot, token), now, ""), errors.Twin)

    assert not call(b"x", 50)
    assert not call(b"y", 60)
    tokens = {b"x": 50, b"y": 60}
    for number in range(20):  # both go on, longer than they are refused for
        boot = (b"x", b"y")[number % 2]
        tokens[boot] = max(
            tokens[boot] + 1, 0 if number % 3 else contacts.token
        )  # now and then one has learnt
        assert call(boot, tokens[boot]), number
    token = contacts.token
    heard = [call(b"x", token + n) for n in range(1, 8)]
    assert heard[0]
    assert not heard[-1], "the other one has been silent for long enough"


def test_both_are_named() -> None:
    contacts = Contacts(1)
    judge(contacts, hello(b"x", 50, "Original"), NOW, "10.0.0.1")
    judge(contacts, hello(b"y", 60, "Copy"), NOW + SECOND, "10.0.0.2")
    error = judge(contacts, hello(b"x", 51, "Original"), NOW + 2 * SECOND, "10.0.0.1")
    assert isinstance(error, errors.Twin)
    for word in (
        "Original",
        "Copy",
        "host x",
        "host y",
        "10.0.0.1",
        "10.0.0.2",
        "2026-03-01 12:00:01 UTC",
        "fork",
    ):
        assert word in str(error)
    assert str(REFUSED_FOR // SECOND) in str(error)


def test_memory_is_bounded() -> None:
    contacts = Contacts(1)
    for number in range(50):
        judge(contacts, hello(b"%d" % number, number + 1, "x" * 500), NOW + number, "y" * 5000)
    assert len(contacts.holders) == HOLDERS
    assert all(len(holder.title) <= 100 and len(holder.host) <= 300 for holder in contacts.holders)
    assert contacts.holders[-1].boot == b"49"


def test_processes_of_one_database_are_never_two_programs() -> None:
    """Any number of processes: each conversation takes a token, and its peer hears of them in that order."""
    for seed in range(300):
        rng = random.Random(seed)
        contacts, token, now = Contacts(1), 0, NOW
        boots = [b"%d" % n for n in range(rng.randrange(1, 5))]
        for _ in range(60):
            now += rng.randrange(60 * SECOND)
            token += rng.randrange(1, 5)  # some attempts come to nothing
            if rng.random() < 0.1:
                boots[rng.randrange(len(boots))] = rng.randbytes(3).hex().encode()
            assert judge(contacts, hello(rng.choice(boots), token), now, "") is None


def test_two_databases_are_always_found() -> None:
    """Both call again and again, as programs do."""
    for seed in range(300):
        rng = random.Random(seed)
        contacts, now, found = Contacts(1), NOW, 0
        tokens = {b"x": 100, b"y": rng.randrange(50, 100)}
        judge(contacts, hello(b"x", 100), now, "")
        for _ in range(8):
            for boot in tokens:
                now += rng.randrange(SECOND)
                if rng.random() < 0.1:
                    continue
                tokens[boot] += rng.randrange(1, 4)
                found += isinstance(judge(contacts, hello(boot, tokens[boot]), now, ""), errors.Twin)
        assert found, seed


def test_holders_are_kept_as_they_were() -> None:
    contacts = Contacts(1)
    judge(contacts, hello(b"x", 5), NOW, "10.0.0.1")
    assert contacts.holders == (
        Holder(b"x", 5, NOW, "Branch", "host x, https://office.example.com, 10.0.0.1"),
    )


# -- with databases -------------------------------------------------------------------------------------------------


def clone(world: World, index: int) -> Node:
    """A copy of a program's database, run beside it."""
    original = world.nodes[index]
    copy = Node(index, world.links, world.clock)
    copy.put_back(original.back_up())
    copy.boot = b"copy" + bytes([index])
    return copy


def ends(world: World, link: int, instead: Node | None = None) -> tuple[Node, Node]:
    """The active and the passive side, one of them perhaps in the place of its original."""
    active, passive = world.ends(link)
    if instead is not None and instead.index == active.index:
        return instead, passive
    return (active, instead) if instead is not None else (active, passive)


def call(world: World, instead: Node | None = None) -> Talk | list[errors.SyncError]:
    world.clock.now += SECOND
    return contact(*ends(world, 1, instead), 1)


def refused(found: Talk | list[Any]) -> bool:
    return isinstance(found, list) and any(isinstance(error, errors.Twin) for error in found)


@pytest.fixture
def world() -> World:
    made = World()
    made.nodes[0].create("tag", title="a", label="a")
    made.settle()
    return made


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("worked_on", [False, True])
def test_original_and_copy_are_both_refused(world: World, index: int, worked_on: bool) -> None:
    """Whichever side was copied, the active or the passive one, and whether or not anything was exchanged since."""
    copy = clone(world, index)
    if worked_on:
        world.nodes[index].create("tag", title="b", label="b")
        world.settle()
    else:
        assert isinstance(call(world), Talk)
    for _ in range(3):  # the copy calls first as if it were restored
        call(world, copy)
    assert refused(call(world))
    for _ in range(4):
        assert refused(call(world, copy))
        assert refused(call(world))


@pytest.mark.parametrize("index", [0, 1])
def test_the_other_one_is_accepted_once_the_copy_has_forked(world: World, index: int) -> None:
    copy = clone(world, index)
    assert isinstance(call(world), Talk)
    for instead in (copy, copy, None, copy, None, copy):
        call(world, instead)
    assert refused(call(world))
    waited = 0
    while refused(call(world)):
        world.clock.now += 10 * SECOND
        waited += 1
    assert waited * 10 <= REFUSED_FOR // SECOND + 20
    original = world.nodes[index]
    original.create("tag", title="after", label="after")
    world.settle()
    assert all(("after", "after") in node.rows("tag", "title", "label") for node in world.nodes)


def test_the_original_takes_one_new_epoch_at_most(world: World) -> None:
    """Else each of its other links would have to send everything again, again and again."""
    copy = clone(world, 1)
    epochs = set()
    for number in range(30):
        call(world, copy if number % 2 else None)
        epochs.add(world.nodes[1].epoch)
    assert len(epochs) <= 2


def test_a_restored_program_is_no_copy(world: World) -> None:
    node = world.nodes[1]
    backup = node.back_up()
    for _ in range(5):
        assert isinstance(call(world), Talk)
        node.restart()
    for _ in range(3):
        node.put_back(backup)
        assert not refused(call(world))
        assert isinstance(call(world), Talk)
        node.restart()
        assert isinstance(call(world), Talk)


def test_processes_that_take_turns_are_no_copies() -> None:
    """Two processes of a hub, each with a run and a boot of its own, over one database."""
    world = World(STAR)
    hub = world.nodes[0]
    other = Node(0, world.links, world.clock)
    other.database = hub.database
    rng = random.Random(1)
    for node in (hub, other):
        node.restart()
    for number in range(60):
        node = rng.choice((hub, other))
        link = rng.choice((1, 2, 3))
        if rng.random() < 0.1:
            node.restart()
        active, _ = world.ends(link)
        assert isinstance(contact(active, node, link), Talk), number
