"""What a batch says, in local terms."""

from syncapp.core.changes import RowKind
from syncapp.store.parked import Cell, Incoming
from syncapp.store.resolve import Resolver
from tests.store.programs import Program, pair


def resolver(program: Program) -> Resolver:
    return Resolver(program.backend, program.database.setup, program.database.setup.links[1])


def incoming(program: Program, uid: bytes, **values: object) -> Incoming:
    cells = {program.numbers.field["client", name]: Cell(None, value, 0) for name, value in values.items()}
    return Incoming(uid, program.numbers.table["client"], int(RowKind.WHOLE), cells)


def test_relations_are_looked_up_by_uid() -> None:
    office, _ = pair()
    pk = office.create("client", code="1")
    office.store.seal()
    uid = office.uid("client", pk)
    parent = office.database.setup.tables[office.numbers.table["client"]].fields[
        office.numbers.field["client", "parent"]
    ]
    look = resolver(office)
    assert look.local(parent, None).value is None
    assert not look.local(parent, uid).ready, "not learnt yet"
    look.learn([incoming(office, b"n" * 16, parent=uid)])
    assert look.local(parent, uid).value == pk
    assert look.local(parent, b"?" * 16).missing == b"?" * 16
    assert look.local(parent, "1").fault
    look.created(b"?" * 16, "77")
    assert look.local(parent, b"?" * 16).value == "77"


def test_lists_of_relations_wait_for_the_first_that_is_missing() -> None:
    office, _ = pair()
    tags = office.database.setup.tables[office.numbers.table["client"]].fields[
        office.numbers.field["client", "tags"]
    ]
    look = resolver(office)
    look.created(b"a" * 16, "2")
    look.created(b"b" * 16, "1")
    assert look.local(tags, [b"a" * 16, b"b" * 16]).value == ["1", "2"]
    assert look.local(tags, [b"a" * 16, b"c" * 16]).missing == b"c" * 16
    assert look.local(tags, []).value == []
    for bad in (None, "1", [1], {"a": 1}):
        assert look.local(tags, bad).fault


def test_matching_none_one_and_several() -> None:
    office, _ = pair()
    office.database.unique.clear()
    for code in ("one", "two", "Two ", "Three", "THREE"):
        office.create("client", code=code)
    found = resolver(office).match(
        [
            incoming(office, b"1" * 16, code="ONE"),
            incoming(office, b"2" * 16, code="two"),
            incoming(office, b"3" * 16, code="three"),
            incoming(office, b"6" * 16, code="nobody's"),
            incoming(office, b"4" * 16, code=None),
            incoming(office, b"5" * 16, name="no code at all"),
        ]
    )
    table = office.numbers.table["client"]
    assert found.found == {b"1" * 16: (table, "1"), b"2" * 16: (table, "2")}, "to the letter goes first"
    assert found.ambiguous == {b"3" * 16: ("three", 2)}


def test_two_new_records_with_one_key_are_ambiguous() -> None:
    office, _ = pair()
    office.create("client", code="one")
    found = resolver(office).match([incoming(office, n * 16, code="one") for n in (b"1", b"2")])
    assert (len(found.found), list(found.ambiguous)) == (1, [b"2" * 16])
