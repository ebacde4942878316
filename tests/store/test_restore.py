"""Databases that are put back from backups: noticed at the next contact, healed by it, nothing lost that survives."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from syncapp import errors
from syncapp.core.clock import instance_of
from tests.store.programs import SECOND
from tests.store.restoring import CHAIN, PAIR, STAR, Node, Talk, World


def texts(node: Node) -> list[Any]:
    return node.rows("tag", "title", "label")


def everywhere(world: World) -> list[Any]:
    """The tags, which are the same in all programs."""
    found = [texts(node) for node in world.nodes]
    assert all(rows == found[0] for rows in found), found
    return found[0]


def linked(world: World) -> World:
    """Each program has made a tag, and everybody has all of them."""
    for node in world.nodes:
        node.create("tag", title=f"{node.label} old", label=node.label)
    world.settle()
    assert len(everywhere(world)) == len(world.nodes)
    return world


def notices(world: World) -> dict[tuple[str, int], str]:
    return {(node.label, link): n[0] for node in world.nodes for link, n in node.database.notices.items()}


# -- noticing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("worked_on", [0, 1, 5])
def test_what_the_peer_knows_comes_back(victim: int, worked_on: int) -> None:
    """Whether the feed of the restored program ends below the peer's cursor, at it or above it."""
    world = linked(World())
    node, other = world.nodes[victim], world.nodes[1 - victim]
    backup = node.back_up()
    node.write("tag", node.key("tag", "label", "A"), title="changed")
    node.create("tag", title="lost", label="lost")
    other.create("tag", title="meanwhile", label="meanwhile")
    world.settle()
    node.put_back(backup)
    for number in range(worked_on):
        node.create("tag", title=f"new {number}", label=f"new {number}")
        node.seal()
    refused = world.contact(1)
    assert isinstance(refused, list)
    assert all(isinstance(error, errors.Restored) for error in refused)
    world.settle()
    titles = [title for title, _ in everywhere(world)]
    expected = [f"new {number}" for number in range(worked_on)] + ["B old", "changed", "lost", "meanwhile"]
    assert sorted(titles) == sorted(expected)
    assert node.epoch > 1
    assert other.epoch == 1
    assert notices(world) == {
        (node.label, 1): "was_restored_here",
        (other.label, 1): "was_restored_there",
    }


def test_nothing_is_noticed_where_nothing_was_lost() -> None:
    """A process that starts anew is not a restored database."""
    world = linked(World())
    for node in world.nodes:
        node.restart()
        assert isinstance(world.contact(1), Talk)
    assert [node.epoch for node in world.nodes] == [1, 1]
    assert notices(world) == {}


def test_a_backup_of_a_moment_ago_is_noticed_by_its_tokens() -> None:
    """Nothing was exchanged since; yet the process that was met is not the one that comes."""
    world = linked(World())
    backup = world.nodes[1].back_up()
    assert isinstance(world.contact(1), Talk)
    world.nodes[1].put_back(backup)
    refused = world.contact(1)
    assert [type(error) for error in refused] == [errors.RestoredHere, errors.RestoredThere]
    world.settle()
    assert isinstance(world.contact(1), Talk)


def test_the_epoch_is_taken_once() -> None:
    """The other links of a hub learn of it, and take no further one."""
    world = linked(World(STAR))
    hub = world.nodes[0]
    backup = hub.back_up()
    for node in world.nodes:
        node.create("tag", title=f"{node.label} lost", label=f"lost {node.label}")
    world.settle()
    hub.put_back(backup)
    world.connect(1)
    epoch = hub.epoch
    assert epoch > 1
    for link in (2, 3, 1, 2, 3):
        world.connect(link)
        assert hub.epoch == epoch, link
    world.settle()
    assert len(everywhere(world)) == 8
    assert {where: code for where, code in notices(world).items() if where[0] == "A"} == dict.fromkeys(
        (("A", 1), ("A", 2), ("A", 3)), "was_restored_here"
    )


def test_the_second_link_of_a_hub_brings_back_what_only_it_knows() -> None:
    """The first link saw nothing of what was lost; the hub has worked on with it before the second one calls."""
    world = linked(World(((1, 0), (2, 0))))
    hub, one, two = world.nodes
    backup = hub.back_up()
    pk = hub.key("tag", "label", "A")
    hub.write("tag", pk, title="lost")
    world.connect(2).run()
    assert ("lost", "A") in texts(two)
    hub.put_back(backup)
    assert isinstance(world.contact(1), Talk)
    assert hub.epoch == 1, "nothing tells it yet"
    hub.write("tag", pk, title="new")
    world.connect(1).run()
    assert ("new", "A") in texts(one)
    assert isinstance(world.contact(2), list)
    assert hub.epoch > 1
    world.settle()
    assert ("new", "A") in everywhere(world), "it is the later one"
    assert "lost" in [value for node in world.nodes for value in node.lost], "and the other one is kept"


def test_restored_twice_to_the_same_backup() -> None:
    """The epoch of the first time is unknown in the backup, and must not be taken a second time."""
    world = linked(World(((1, 0), (2, 0))))
    hub = world.nodes[0]
    backup = hub.back_up()
    epochs = []
    for number in range(3):
        hub.create("tag", title=f"lost {number}", label=f"lost {number}")
        world.settle()
        hub.put_back(backup)
        world.clock.now += 10 * SECOND
        world.connect(1 + number % 2)
        epochs.append(hub.epoch)
        world.settle()
    assert len(set(epochs)) == 3
    assert len(everywhere(world)) == 6


def test_both_databases_restored() -> None:
    world = linked(World())
    backups = [node.back_up() for node in world.nodes]
    for node in world.nodes:
        node.create("tag", title="gone", label=f"gone {node.label}")
    world.settle()
    for node, backup in zip(world.nodes, backups, strict=True):
        node.put_back(backup)
    world.nodes[0].create("tag", title="new", label="new")
    world.settle()
    assert sorted(everywhere(world)) == [("A old", "A"), ("B old", "B"), ("new", "new")]


def test_both_restored_while_a_third_one_remembers() -> None:
    """What was lost by both of two neighbours comes back to its author from further away."""
    world = linked(World(((1, 0), (2, 1))))
    author, between, far = world.nodes
    backups = [author.back_up(), between.back_up()]
    author.write("tag", author.key("tag", "label", "A"), title="edited")
    author.create("tag", title="made", label="made")
    world.settle()
    author.put_back(backups[0])
    between.put_back(backups[1])
    world.connect(1).run()
    assert ("edited", "A") not in texts(author)
    world.settle()
    assert ("edited", "A") in everywhere(world)
    assert ("made", "made") in texts(author)
    assert far.epoch == 1


def test_restored_to_before_anything_was_exchanged() -> None:
    world = World()
    backup = world.nodes[1].back_up()
    linked(world)
    world.nodes[1].put_back(backup)
    world.settle()
    assert len(everywhere(world)) == 2


def test_a_chain_is_healed_from_both_ends() -> None:
    world = linked(World(CHAIN))
    middle = world.nodes[1]
    backup = middle.back_up()
    for node in world.nodes:
        node.create("tag", title=f"{node.label} new", label=f"new {node.label}")
    world.settle()
    middle.put_back(backup)
    middle.create("tag", title="since", label="since")
    world.settle()
    assert len(everywhere(world)) == 9


# -- edits in between -------------------------------------------------------------------------------------------


def test_an_edit_made_before_the_first_contact_knew_nothing_of_what_was_lost() -> None:
    """Else the surviving value would be overwritten as if its author had seen it."""
    world = linked(World())
    node, other = world.nodes
    pk = node.key("tag", "label", "A")
    backup = node.back_up()
    node.write("tag", pk, title="lost here")
    world.settle()
    node.put_back(backup)
    node.write("tag", pk, title="after")
    node.seal()
    world.settle()
    assert ("after", "A") in everywhere(world)
    assert node.lost + other.lost == ["lost here"]


def test_edits_since_the_start_are_no_conflicts_with_what_their_author_had_seen() -> None:
    world = linked(World())
    node, other = world.nodes
    backup = node.back_up()
    other.create("tag", title="x", label="x")
    world.settle()
    node.put_back(backup)
    node.write("tag", node.key("tag", "label", "A"), title="after")
    node.write("tag", node.key("tag", "label", "B"), title="after too")
    node.seal()
    world.settle()
    assert [node.lost, other.lost] == [[], []]


def test_one_stamp_never_names_two_values() -> None:
    """The clock stands still, and the same field is edited at the same moment of both lives."""
    world = linked(World())
    node, other = world.nodes
    pk = node.key("tag", "label", "A")
    node.offset = -1000 * SECOND
    backup = node.back_up()
    node.write("tag", pk, title="lost")
    world.settle()
    node.put_back(backup)
    node.write("tag", pk, title="new")
    node.seal()
    stamps = {
        entry.version.stamp
        for n in world.nodes
        for record in n.database.records.values()
        for field, entry in record.entries.items()
        if n.numbers.key.get(field) == ("tag", "title") and n.rows("tag", "title")
    }
    world.settle()
    everywhere(world)
    assert len(node.lost + other.lost) == 1
    assert len(stamps) == 3, "two of A (lost and new) and one of B"


def test_an_insert_that_was_in_the_journal_is_the_same_record_again() -> None:
    """The backup was taken before the new row was sealed: the peer knows the row by the name it gets anew."""
    world = linked(World())
    node = world.nodes[1]
    node.create("tag", title="in the journal", label="j")
    backup = node.back_up()
    world.settle()
    node.put_back(backup)
    world.settle()
    assert [row for row in everywhere(world) if row[1] == "j"] == [("in the journal", "j")]


def test_the_epoch_of_a_run_ends_when_everybody_was_met() -> None:
    world = linked(World(((1, 0), (2, 0))))
    hub = world.nodes[0]
    hub.restart()
    pk = hub.key("tag", "label", "A")

    def edited(title: str) -> int:
        hub.write("tag", pk, title=title)
        hub.seal()
        record = hub.database.records[hub.database.by_pk[hub.numbers.table["tag"], pk]]
        origin = record.entries[hub.numbers.field["tag", "title"]].version.origin
        assert instance_of(origin) == instance_of(hub.database.state.origin)
        return int.from_bytes(origin[16:], "big")

    own = edited("1")
    assert own != 1
    world.connect(1)
    assert edited("2") == own
    world.connect(2)
    assert edited("3") == 1
    assert hub.epoch == 1


# -- what else must come back or stay -----------------------------------------------------------------------------


def test_a_record_that_nobody_changed_since_comes_with_what_refers_to_it() -> None:
    """It has no number in the peer's feed, and the peer believes that it is here."""
    world = linked(World())
    node, other = world.nodes
    pk = other.create("client", code="c", name="old row")
    other.database.journal.clear()
    backup = node.back_up()
    other.create("order", number="1", client=pk)
    world.settle()
    assert node.rows("client", "name") == ["old row"]
    node.put_back(backup)
    world.settle()
    assert node.rows("client", "name") == ["old row"]
    assert node.rows("order", "number") == ["1"]
    assert node.codes == []


def test_relations_and_many_to_many_come_back() -> None:
    world = linked(World())
    node, other = world.nodes
    backup = node.back_up()
    tag = node.create("tag", title="t", label="t")
    parent = node.create("client", code="p", name="parent", tags=[tag])
    node.create("client", code="c", name="child", parent=parent)
    world.settle()
    node.put_back(backup)
    world.settle()
    assert node.rows("client", "code") == other.rows("client", "code") == ["c", "p"]
    (child,) = [
        row for row in node.database.tables[node.numbers.table["client"]].values() if row_is(node, row, "c")
    ]
    assert child[node.numbers.field["client", "parent"]] == node.key("client", "code", "p")
    assert node.codes == other.codes == []


def row_is(node: Node, row: dict[int, Any], code: str) -> bool:
    return bool(row[node.numbers.field["client", "code"]] == code)


def test_what_was_parked_from_a_lost_life_goes_back_once_it_is_applied() -> None:
    """The peer has it only as a problem when the program is restored."""
    world = linked(World())
    node, other = world.nodes
    other.create("tag", title="in the way", label="taken")
    other.database.journal.clear()
    backup = node.back_up()
    node.create("tag", title="parked", label="taken")
    world.settle()
    assert other.codes == ["not_unique"]
    node.put_back(backup)
    world.settle()
    assert ("parked", "taken") not in texts(node)
    other.write("tag", other.key("tag", "label", "taken"), label="moved")
    world.settle()
    assert other.codes == []
    assert ("parked", "taken") in texts(node)
    assert ("parked", "taken") in texts(other)


def test_recognised_records_are_recognised_again() -> None:
    world = linked(World())
    node, other = world.nodes
    node.create("client", code="same", name="here")
    backup = node.back_up()
    other.create("client", code="same", name="there")
    world.settle()
    node.put_back(backup)
    world.settle()
    assert node.rows("client", "code") == other.rows("client", "code") == ["same"]
    assert node.rows("client", "name") == other.rows("client", "name")


def test_counters_agree_after_all() -> None:
    world = linked(World())
    node, other = world.nodes
    backup = node.back_up()
    for number in range(5):
        other.create("tag", title="x", label=f"x{number}")
        node.create("tag", title="y", label=f"y{number}")
    world.settle()
    node.put_back(backup)
    world.settle()
    for here, there in ((node, other), (other, node)):
        assert here.database.cursors[1].totals == there.database.cursors[1].peer_totals
        totals = here.database.cursors[1].totals
        assert totals.received == totals.applied + totals.superseded + totals.duplicate + totals.parked


def test_once_healed_only_changes_flow() -> None:
    world = linked(World())
    backup = world.nodes[0].back_up()
    world.nodes[1].create("tag", title="x", label="x")
    world.settle()
    world.nodes[0].put_back(backup)
    world.settle()
    talk = world.connect(1)
    assert talk.run() == 0
    world.nodes[0].create("tag", title="y", label="y")
    assert talk.run() == 1


def test_a_field_that_was_suspended_meanwhile_goes_again_too() -> None:
    """It did not flow while everything was sent again."""
    world = linked(World())
    node, other = world.nodes
    pk = node.key("tag", "label", "A")
    backup = node.back_up()
    node.write("tag", pk, title="lost")
    world.settle()
    catalogue = node.database.catalogues[1]
    number = node.numbers.field["tag", "title"]
    without = tuple(
        msgspec.structs.replace(table, fields=tuple(f for f in table.fields if f.number != number))
        for table in catalogue
    )
    node.put_back(backup)
    node.database.catalogues[1] = without
    world.settle()
    assert ("A old", "A") in texts(node)
    node.database.catalogues[1] = catalogue
    world.settle()
    assert ("lost", "A") in texts(node)
    assert texts(node) == texts(other)


# -- what people see ----------------------------------------------------------------------------------------------


def test_the_log_tells() -> None:
    world = linked(World(PAIR))
    backup = world.nodes[0].back_up()
    world.settle()
    world.nodes[0].put_back(backup)
    world.settle()
    for node, code in zip(world.nodes, ("was_restored_here", "was_restored_there"), strict=True):
        assert [row.detail for row in node.database.log if row.result == "restored"] == [code]
        params = node.database.notices[1][1]
        assert params["peer"] == ("B" if node.index == 0 else "A")
        assert params["since"].endswith("UTC")


def test_deletions_that_are_forgotten_keep_an_older_database_out() -> None:
    world = linked(World())
    node, other = world.nodes
    backup = node.back_up()
    other.create("tag", title="x", label="x")
    world.settle()
    other.database.cursors[1].floor = other.database.state.head.seq
    node.put_back(backup)
    refused = [error for _ in range(3) for error in world.contact(1)]  # type: ignore[union-attr]
    assert any(isinstance(error, errors.BehindDeletions) for error in refused)
    assert ("x", "x") not in texts(node)


# -- sums -------------------------------------------------------------------------------------------------------


def counted(world: World) -> list[int]:
    found = [node.rows("stock", "amount") for node in world.nodes]
    assert all(rows == found[0] for rows in found), found
    return found[0]


def add(node: Node, more: int) -> None:
    (pk, row), *_ = node.database.tables[node.numbers.table["stock"]].items()
    node.write("stock", pk, amount=row[node.numbers.field["stock", "amount"]] + more)


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_what_waited_in_the_backup_counts_once(told: bool) -> None:
    """+3 was in the journal when the backup was made; whether it went out afterwards, only the peer can say."""
    world = World()
    node, other = world.nodes
    node.create("stock", item="nails", amount=10)
    world.settle()
    add(node, 3)
    backup = node.back_up()
    if told:
        world.settle()
        add(node, 100)
        world.settle()
    node.put_back(backup)
    node.seal()
    add(node, 20)
    add(other, 1000)
    world.settle()
    assert counted(world) == [1133 if told else 1033]


def test_what_a_former_life_added_stays_where_the_new_one_adds() -> None:
    world = World(CHAIN)
    node = world.nodes[0]
    node.create("stock", item="nails", amount=10)
    world.settle()
    backup = node.back_up()
    add(node, 5)
    world.settle()
    node.put_back(backup)
    add(node, 7)
    world.settle()
    assert counted(world) == [22]


def test_a_restored_program_hears_of_its_own_edits_by_whatever_way_they_come() -> None:
    """C, whom A meets after it was put back, hears of A's lost edit later, from B, and must tell A all the same."""
    world = World(((0, 1), (1, 2), (2, 0)))
    node = world.nodes[0]
    pk = node.create("client", code="a", name="old")
    world.settle()
    backup = node.back_up()
    node.write("client", pk, name="new")
    world.connect(1).run()
    node.put_back(backup)
    assert isinstance(world.contact(1), list), "it finds out"
    world.connect(3).run()
    world.connect(2).run()
    world.connect(3).run()
    assert node.rows("client", "name") == ["new"]
