"""One of two programs is migrated: only what differs waits, and arrives when the other one follows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from syncapp import errors
from syncapp.core.mapping import FieldType, Kind
from tests.store.restoring import Node, Talk, World


def without(node: Node, table: str, *fields: str) -> None:
    """A migration takes these fields away; without any, the whole table."""
    number = node.numbers.table[table]
    gone = {node.numbers.field[table, name] for name in fields}
    database, setup = node.database, node.database.setup
    tables = dict(setup.tables)
    known = tables.pop(number)
    if fields:
        left = {n: field for n, field in known.fields.items() if n not in gone}
        tables[number] = msgspec.structs.replace(known, fields=left)
    database.setup = msgspec.structs.replace(setup, tables=tables, version=setup.version + 1)
    for link, catalogue in database.catalogues.items():
        offers = [
            msgspec.structs.replace(t, fields=tuple(f for f in t.fields if f.number not in gone))
            for t in catalogue
            if fields or t.number != number
        ]
        database.catalogues[link] = tuple(offers)


def as_before(node: Node, world: World) -> None:
    """The migration is taken back."""
    fresh = Node(node.index, world.links, world.clock)
    node.database.setup = fresh.database.setup
    node.database.catalogues = fresh.database.catalogues


def retyped(node: Node, table: str, name: str, type: FieldType) -> None:
    """A migration gives a field another type."""
    number = node.numbers.field[table, name]
    for link, catalogue in node.database.catalogues.items():
        node.database.catalogues[link] = tuple(
            msgspec.structs.replace(
                t,
                fields=tuple(
                    msgspec.structs.replace(f, type=type) if f.number == number else f for f in t.fields
                ),
            )
            for t in catalogue
        )


def suspended(node: Node) -> dict[str, str]:
    peer = node.database.peers[1]
    return {node.numbers.key[item.field][1]: item.code for item in peer.suspended}


@pytest.fixture
def world() -> World:
    made = World()
    made.nodes[0].create("client", code="c", name="old name", note="old note")
    made.settle()
    return made


def client(node: Node, *names: str) -> Any:
    (row,) = node.rows("client", *names)
    return row


def write(node: Node, **values: Any) -> None:
    node.write("client", node.key("client", "code", "c"), **values)


@pytest.mark.parametrize("migrated", [0, 1])
def test_a_field_that_is_gone_waits_alone(world: World, migrated: int) -> None:
    node, other = world.nodes[migrated], world.nodes[1 - migrated]
    without(node, "client", "note")
    write(other, name="new name", note="held")
    world.settle()
    assert client(node, "name", "note") == ("new name", "old note")
    assert suspended(other) == {"note": "peer_no_field"}
    assert node.codes == other.codes == []
    write(node, name="newer name")
    world.settle()
    assert client(other, "name", "note") == ("newer name", "held")
    as_before(node, world)
    world.settle()
    assert client(node, "name", "note") == ("newer name", "held"), "it arrives after all"
    assert suspended(other) == {}


def test_edits_of_a_held_field_on_both_sides_are_a_conflict(world: World) -> None:
    node, other = world.nodes
    without(other, "client", "note")
    write(node, note="here")
    world.settle()
    as_before(other, world)
    write(other, note="there")
    world.settle()
    assert client(node, "note") == client(other, "note") == "there"
    assert "here" in node.lost + other.lost


@pytest.mark.parametrize(
    ("type", "code"),
    [
        (FieldType(Kind.INTEGER, null=True), "types_differ"),
        (FieldType(Kind.TEXT, null=True, length=10), "lossy"),
    ],
    ids=["impossible", "lossy"],
)
def test_a_type_that_does_not_fit_any_more(world: World, type: FieldType, code: str) -> None:
    node, other = world.nodes
    retyped(node, "client", "note", type)
    write(other, name="new name", note="held")
    world.settle()
    assert suspended(node) == suspended(other) == {"note": code}
    assert client(node, "name", "note") == ("new name", "old note")
    as_before(node, world)
    world.settle()
    assert client(node, "note") == "held"


def test_a_type_that_still_fits_flows_on(world: World) -> None:
    node, other = world.nodes
    retyped(node, "client", "note", FieldType(Kind.TEXT, null=False))
    write(other, note="flows")
    world.settle()
    assert suspended(node) == {}
    assert client(node, "note") == "flows"


def test_a_table_that_is_gone(world: World) -> None:
    """Its records wait; what they refer to goes on."""
    node, other = world.nodes
    without(node, "order")
    pk = other.key("client", "code", "c")
    other.create("order", number="1", subject="held", client=pk)
    write(other, name="new name")
    world.settle()
    assert client(node, "name") == "new name"
    assert node.rows("order", "number") == []
    as_before(node, world)
    world.settle()
    assert node.rows("order", "number", "subject") == [("1", "held")]
    assert node.codes == []


@pytest.mark.parametrize("fields", [("note",), ()], ids=["field", "table"])
def test_a_migration_while_connected(world: World, fields: tuple[str, ...]) -> None:
    """What was agreed on speaks of what is gone: both agree anew, and nothing is half done."""
    node, other = world.nodes
    talk = world.connect(1)
    write(other, note="held")
    write(node, note="mine")
    batch, _ = talk.sides[0].read()
    assert batch is not None
    without(node, "client", *fields)
    before = node.database.state.head
    with pytest.raises(errors.Reconfigured):
        talk.step(talk.sides[0], talk.sides[1], 1000, None) if batch is None else node.store.apply(
            1, batch, talk.sides[1].agreement, talk.sides[1].token
        )
    with pytest.raises(errors.Reconfigured):
        talk.sides[1].read()
    assert node.database.state.head == before
    assert node.database.journal, "the edit is still to be sealed"
    assert isinstance(world.contact(1), Talk)
    as_before(node, world)
    world.settle()
    assert client(node, "note") == client(other, "note")


def test_what_was_parked_of_a_field_that_is_gone(world: World) -> None:
    """The record is applied without it, and the field once it is there again."""
    node, other = world.nodes
    node.create("tag", title="in the way", label="taken")
    node.database.journal.clear()
    other.create("tag", title="parked", label="taken")
    world.settle()
    assert node.codes == ["not_unique"]
    without(node, "tag", "title")
    node.write("tag", node.key("tag", "label", "taken"), label="moved")
    world.settle()
    assert ("taken",) in [(label,) for label in node.rows("tag", "label")]
    assert node.codes == ["no_field"]
    as_before(node, world)
    world.settle()
    assert node.codes == []
    assert ("parked", "taken") in node.rows("tag", "title", "label")


def test_what_was_parked_of_a_table_that_is_gone(world: World) -> None:
    node, other = world.nodes
    node.create("tag", title="in the way", label="taken")
    node.database.journal.clear()
    other.create("tag", title="parked", label="taken")
    world.settle()
    without(node, "tag")
    without(node, "client", "tags")
    write(other, name="goes on")
    world.settle()
    assert client(node, "name") == "goes on"
    (problem,) = node.database.problems.values()
    assert (problem.code, problem.next_try > node.clock.now + 1_000_000_000) == ("not_unique", True)
    as_before(node, world)
    node.write("tag", node.key("tag", "label", "taken"), label="moved")
    world.settle()
    assert node.codes == []
    assert ("parked", "taken") in node.rows("tag", "title", "label")
