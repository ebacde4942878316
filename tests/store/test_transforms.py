"""Transforms of one-way fields: who changes the value, whose stamp it has, and that it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from syncapp.core.changes import START, RowKind
from syncapp.core.clock import instance_of, make_origin, sees
from syncapp.core.mapping import Agreement, agree
from syncapp.store import linktables
from tests.store.programs import LINK, Program, exchange, pair
from tests.store.senders import PEER, MemorySender, Sender, SqlSender

pytestmark = pytest.mark.django_db

THERE = make_origin(PEER, 1)


@pytest.fixture(params=["memory", "sql"])
def sender(request: pytest.FixtureRequest) -> Any:
    return MemorySender() if request.param == "memory" else SqlSender()


# -- on the way out ----------------------------------------------------------------------------------------


def test_the_sender_changes_what_it_sends_and_keeps_what_it_has(sender: Sender) -> None:
    sender.one_way("client", "name", receives=False, restamp=False)
    sender.set_transform("client", "name", "strip", {"map": [["a", "b"]]}, "upper")
    pk = sender.create("client", code=" 1 ", name=" a ")
    (row,) = sender.send()
    assert (row.values["name"], row.values["code"]) == ("B", " 1 ")
    assert sender.value("client", pk, "name") == " a "
    assert instance_of(sender.version("client", pk, "name").origin) == sender.instance


# -- on the way in -----------------------------------------------------------------------------------------


@pytest.fixture
def receiver(sender: Sender) -> Sender:
    sender.one_way("client", "name", receives=True, restamp=True)
    sender.set_transform("client", "name", "strip", {"default": "none"})
    return sender


def test_the_receiver_changes_what_comes_and_gives_it_a_stamp_of_its_own(receiver: Sender) -> None:
    uid = b"u" * 16
    done = receiver.receive("client", uid, kind=RowKind.WHOLE, code=" 9 ", name="  a ")
    assert done.totals.applied == 2
    (pk,) = receiver.keys("client")
    assert receiver.value("client", pk, "name") == "a"
    assert receiver.version("client", pk, "code").origin == THERE
    original, made = receiver.version("client", pk, "code"), receiver.version("client", pk, "name")
    assert (made.time, made.seen) == (original.time + 1, ((THERE, original.time),))
    assert instance_of(made.origin) == receiver.instance
    receiver.receive("client", uid, name="  ")
    assert receiver.value("client", pk, "name") == "none"
    assert sees(receiver.version("client", pk, "name"), made)
    assert receiver.conflicts() == 0


def test_a_repeated_delivery_changes_nothing(receiver: Sender) -> None:
    uid = b"u" * 16
    receiver.receive_at(receiver.backend.now(), "client", uid, kind=RowKind.WHOLE, code="9", name="x")
    time = receiver.backend.now()
    receiver.receive_at(time, "client", uid, name=" a ")
    (pk,) = receiver.keys("client")
    made = receiver.version("client", pk, "name")
    done = receiver.receive_at(time, "client", uid, name=" a ")
    assert (done.totals.duplicate, receiver.version("client", pk, "name")) == (1, made)


def test_it_is_no_local_edit_and_goes_on_to_others_as_ours(receiver: Sender) -> None:
    other = receiver.second_link()
    everything = agree(receiver.offers, receiver.offers)
    receiver.receive("client", b"u" * 16, kind=RowKind.WHOLE, code="9", name=" a ")
    assert receiver.send() == [], "nothing goes back"
    found = receiver.store.read(other, START, everything, b"\x01" * 16, 100)
    assert found.batch is not None
    (section,) = found.batch.sections
    (row,) = section.rows
    place = section.columns.index(receiver.fields["client", "name"])
    assert row.values[place] == "a"
    version = row.versions[place] if len(row.versions) > 1 else row.versions[0]
    assert version is not None
    assert instance_of(found.batch.origins[version.origin]) == receiver.instance


def test_a_local_edit_loses_to_the_sources_next_value_and_is_kept(receiver: Sender) -> None:
    uid = b"u" * 16
    receiver.receive("client", uid, kind=RowKind.WHOLE, code="9", name="a")
    (pk,) = receiver.keys("client")
    receiver.write("client", pk, name="mine")
    receiver.store.seal()
    receiver.receive("client", uid, name=" b ")
    assert receiver.value("client", pk, "name") == "b"
    assert receiver.conflicts() == 1
    receiver.write("client", pk, name="c")
    receiver.store.seal()
    receiver.receive("client", uid, name=" c ")
    assert receiver.conflicts() == 1, "both say the same"


def test_what_is_parked_is_not_changed_twice(sender: Sender) -> None:
    sender.one_way("client", "note", receives=True, restamp=True)
    sender.set_transform("client", "note", {"map": [["a", "b"], ["b", "c"]]})
    uid = b"u" * 16
    assert sender.receive("client", uid, note="a").totals.parked == 1
    sender.receive("client", uid, kind=RowKind.WHOLE, code="9", name="x")
    (pk,) = sender.keys("client")
    assert sender.value("client", pk, "note") == "b"


# -- what both agree on ------------------------------------------------------------------------------------


def one_way_pair(**change: Any) -> tuple[Program, Program]:
    """Programs whose field ``phone`` flows from branch to office, with changes of the branch's offer."""
    office, branch = pair()
    offered(branch, "phone", **change)
    return office, branch


def offered(program: Program, name: str, **change: Any) -> None:
    def changed(field: Any) -> Any:
        return msgspec.structs.replace(field, **change) if field.name == name else field

    catalogue = tuple(
        msgspec.structs.replace(table, fields=tuple(map(changed, table.fields)))
        for table in program.backend.catalogue(LINK)
    )
    program.database.catalogues[LINK] = catalogue


def meet(one: Program, other: Program) -> None:
    for here, there in ((one, other), (other, one)):
        here.agreement = agree(here.backend.catalogue(LINK), there.backend.catalogue(LINK))


def steps(program: Program, name: str, *kept: Any) -> None:
    setup = program.database.setup
    transforms = {program.numbers.field["client", name]: linktables.steps({"transform": kept})}
    info = msgspec.structs.replace(setup.links[LINK], transforms=transforms)
    program.database.setup = msgspec.structs.replace(setup, links={LINK: info})


def test_the_receiver_is_told_that_the_sender_changes_values() -> None:
    office, branch = one_way_pair(transformed=True)
    steps(branch, "phone", "phone")
    meet(office, branch)
    pk = branch.create("client", code="1", name="a", phone="+7 (912) 1")
    exchange(office, branch)
    assert office.rows("client", "phone") == ["+79121"]
    branch.write("client", pk, phone="+7 912 2")
    exchange(office, branch)
    assert office.rows("client", "phone") == ["+79122"]
    assert branch.rows("client", "phone") == ["+7 912 2"]
    record = next(iter(office.database.records.values()))
    version = record.entries[office.numbers.field["client", "phone"]].version
    assert instance_of(version.origin) == office.identity
    assert office.conflicts == branch.conflicts == []
    head = (office.database.state.head, branch.database.state.head)
    exchange(office, branch)
    assert (office.database.state.head, branch.database.state.head) == head, "no echo"


@pytest.mark.parametrize("change", [{"transformed": True}, {"transformed": True, "merge": "sum"}])
def test_two_way_or_joined_of_parts_it_does_not_flow(change: dict[str, Any]) -> None:
    office, branch = pair()
    name = "name" if "merge" not in change else "phone"
    for program in (office, branch):
        offered(program, name, merge=change.get("merge", "value"))
    offered(branch, name, **change)
    meet(office, branch)
    for program in (office, branch):
        (reason,) = program.agreement.suspended
        assert (reason.code, reason.params["field"]) == ("transform", name)


def restamps(agreement: Agreement) -> set[int]:
    return {field for flow in agreement.tables.values() for field in flow.restamp}


@pytest.mark.parametrize(
    ("change", "restamped"),
    [
        (lambda type: {}, False),
        (lambda type: {"type": msgspec.structs.replace(type, length=5), "lossy": True}, True),
    ],
)
def test_a_consented_loss_is_restamped_by_the_receiver(
    change: Callable[[Any], dict[str, Any]], restamped: bool
) -> None:
    """Text of any length from the branch into a shorter column of the office."""
    office, branch = pair()
    type = next(f.type for t in office.backend.catalogue(LINK) for f in t.fields if f.name == "phone")
    offered(office, "phone", **change(type))
    meet(office, branch)
    number = office.numbers.field["client", "phone"]
    assert restamps(office.agreement) == ({number} if restamped else set())
    assert restamps(branch.agreement) == set(), "the branch only sends it"
