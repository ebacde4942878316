"""Applying through a program's own code: what it changes is a local change, and disputes end."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

import syncapp
from syncapp.core.clock import instance_of
from syncapp.host import Applying, during
from syncapp.store.base import RowRefused
from syncapp.store.hostbase import Event
from syncapp.store.saving import ALTERNATIONS, DISPUTE
from tests.store.backend_contract import undone
from tests.store.programs import LINK, Program, exchange, pair, send

Code = Callable[[Program, str], None]


def saved(program: Program, table: str, code: Code | None = None) -> None:
    """Let the program apply ``table`` through its own code."""
    setup = program.database.setup
    number = program.numbers.table[table]
    info = setup.links[LINK]
    info = msgspec.structs.replace(info, saved=info.saved | {number})
    program.database.setup = msgspec.structs.replace(setup, links={LINK: info})
    if code is not None:
        program.database.host[number] = lambda pk: code(program, pk)


def value(program: Program, table: str, pk: str, name: str) -> object:
    return program.database.tables[program.numbers.table[table]][pk][program.numbers.field[table, name]]


def upper(program: Program, pk: str) -> None:
    program.write("tag", pk, title=str(value(program, "tag", pk, "title")).upper())


def lower(program: Program, pk: str) -> None:
    program.write("tag", pk, title=str(value(program, "tag", pk, "title")).lower())


def label_from_title(program: Program, pk: str) -> None:
    program.write("tag", pk, label=f"label of {value(program, 'tag', pk, 'title')}")


def quiet(*programs: Program) -> bool:
    return not any(program.database.journal or program.read() for program in programs)


# -- what the program's code changes -----------------------------------------------------------------------


def test_what_was_applied_as_it_came_is_no_local_change() -> None:
    office, branch = pair()
    saved(branch, "tag")
    pk = office.create("tag", title="a", label="x")
    send(office, branch)
    office.write("tag", pk, title="b")
    send(office, branch)
    assert branch.rows("tag", "title", "label") == [("b", "x")]
    assert branch.database.journal == []
    assert branch.read() is None
    assert {
        entry.via for record in branch.database.records.values() for entry in record.entries.values()
    } == {LINK}


def test_other_fields_that_it_sets_flow_back() -> None:
    office, branch = pair()
    saved(branch, "tag", label_from_title)
    office.create("tag", title="a", label="x")
    exchange(office, branch)
    assert office.rows("tag", "title", "label") == [("a", "label of a")]
    pk = next(iter(office.database.tables[office.numbers.table["tag"]]))
    office.write("tag", pk, title="b")
    exchange(office, branch)
    assert (
        office.rows("tag", "title", "label") == branch.rows("tag", "title", "label") == [("b", "label of b")]
    )
    assert office.conflicts == branch.conflicts == []
    assert quiet(office, branch)


def test_another_value_than_was_applied_flows_back_above_it() -> None:
    office, branch = pair()
    saved(branch, "tag", upper)
    office.create("tag", title="a")
    send(office, branch)
    (record,) = branch.database.records.values()
    entry = record.entries[branch.numbers.field["tag", "title"]]
    assert (instance_of(entry.version.origin), entry.via) == (branch.identity, 0)
    exchange(office, branch)
    assert office.rows("tag", "title") == branch.rows("tag", "title") == ["A"]
    assert office.conflicts == branch.conflicts == []
    assert quiet(office, branch)


def test_that_it_puts_the_former_value_back_is_a_change_too() -> None:
    office, branch = pair()
    pk = office.create("tag", title="a")
    exchange(office, branch)
    saved(branch, "tag", lambda program, pk: program.write("tag", pk, title="a"))
    office.write("tag", pk, title="b")
    exchange(office, branch)
    assert office.rows("tag", "title") == branch.rows("tag", "title") == ["a"]


def test_changes_of_other_records_flow_too() -> None:
    office, branch = pair()
    other = branch.create("tag", title="count 0")
    exchange(office, branch)
    saved(branch, "client", lambda program, pk: program.write("tag", other, title="count 1"))
    office.create("client", code="1", name="c")
    exchange(office, branch)
    assert office.rows("tag", "title") == ["count 1"]


def test_a_row_that_it_deletes_is_a_deletion() -> None:
    office, branch = pair()
    saved(branch, "tag", lambda program, pk: program.remove("tag", pk))
    office.create("tag", title="a")
    send(office, branch)
    assert branch.rows("tag", "title") == []
    assert [record.alive for record in branch.database.records.values()] == [False]


def test_relations_of_a_cycle_are_set_when_both_are_there() -> None:
    office, branch = pair()
    saved(branch, "client")
    one = office.create("client", code="1", name="one")
    two = office.create("client", code="2", name="two", parent=one)
    office.write("client", one, parent=two)
    send(office, branch)
    assert sorted(branch.rows("client", "name", "parent")) == [("one", "2"), ("two", "1")] or sorted(
        branch.rows("client", "name", "parent")
    ) == [("one", "1"), ("two", "2")]
    assert branch.read() is None


def test_a_batch_that_fails_leaves_nothing() -> None:
    office, branch = pair()
    saved(branch, "tag", label_from_title)
    office.create("tag", title="a")
    batch = office.read()
    assert batch is not None
    with undone(branch.backend.transaction()):
        branch.backend.save_row(branch.numbers.table["tag"], "", {branch.numbers.field["tag", "title"]: "t"})
    assert branch.database.journal == []
    branch.apply(batch)
    assert branch.rows("tag", "title", "label") == [("a", "label of a")]


# -- what it refuses ---------------------------------------------------------------------------------------


def refusing(*names: str) -> Code:
    def code(program: Program, pk: str) -> None:
        fields = {program.numbers.field["tag", name]: f"{name} is wrong" for name in names}
        if value(program, "tag", pk, "title") == "bad":
            raise RowRefused("wrong", "validation", fields)

    return code


def test_a_field_that_it_refuses_waits_alone() -> None:
    office, branch = pair()
    pk = office.create("tag", title="a", label="x")
    exchange(office, branch)
    saved(branch, "tag", refusing("title"))
    office.write("tag", pk, title="bad", label="y")
    send(office, branch)
    assert branch.rows("tag", "title", "label") == [("a", "y")]
    (problem,) = branch.problems
    assert (problem.code, problem.field) == ("validation", branch.numbers.field["tag", "title"])
    assert (problem.params["field"], problem.params["detail"]) == ("title", "title is wrong")
    branch.database.host.clear()
    branch.retry()
    assert branch.rows("tag", "title") == ["bad"]
    assert branch.codes == []


@pytest.mark.parametrize("names", [(), ("title", "label")])
def test_what_is_wrong_with_the_record_as_a_whole_parks_it_whole(names: tuple[str, ...]) -> None:
    office, branch = pair()
    pk = office.create("tag", title="a", label="x")
    exchange(office, branch)
    saved(branch, "tag", refusing(*names))
    office.write("tag", pk, title="bad")
    send(office, branch)
    assert branch.rows("tag", "title") == ["a"]
    assert [(problem.code, problem.field) for problem in branch.problems] == [("validation", 0)]


def test_a_new_record_that_it_refuses_is_parked_and_others_go_on() -> None:
    office, branch = pair()
    saved(branch, "tag", refusing("title"))
    office.create("tag", title="bad")
    office.create("tag", title="good")
    send(office, branch)
    assert branch.rows("tag", "title") == ["good"]
    assert branch.codes == ["validation"]
    branch.database.host.clear()
    branch.retry()
    assert sorted(branch.rows("tag", "title")) == ["bad", "good"]


# -- disputes ----------------------------------------------------------------------------------------------


def dispute() -> tuple[Program, Program, str]:
    office, branch = pair()
    pk = office.create("tag", title="Ab", label="x")
    exchange(office, branch)
    saved(office, "tag", upper)
    saved(branch, "tag", lower)
    return office, branch, pk


def rounds(office: Program, branch: Program) -> int:
    for count in range(100):
        if [send(office, branch), send(branch, office)] == [None, None]:
            return count
    raise AssertionError("no end")


def test_two_programs_that_disagree_come_to_an_end() -> None:
    office, branch, pk = dispute()
    office.write("tag", pk, title="Cd")
    assert rounds(office, branch) <= 2 * ALTERNATIONS
    assert [*office.codes, *branch.codes] == ["ping_pong"]
    (problem,) = [*office.problems, *branch.problems]
    assert problem.params["field"] == "title"
    assert office.rows("tag", "title") == ["CD"]
    assert branch.rows("tag", "title") == ["cd"]
    assert quiet(office, branch)
    office.write("tag", pk, label="y")
    rounds(office, branch)
    assert branch.rows("tag", "label") == ["y"], "the rest of the record goes on"


def test_it_is_healed_when_one_of_them_gives_in() -> None:
    office, branch, pk = dispute()
    office.write("tag", pk, title="Cd")
    rounds(office, branch)
    for program in (office, branch):
        program.database.host.clear()
        program.retry()
    rounds(office, branch)
    assert office.codes == branch.codes == []
    assert office.rows("tag", "title") == branch.rows("tag", "title")
    assert office.database.alternations.keys() | branch.database.alternations.keys() != set()


def test_a_rule_of_one_program_is_no_dispute() -> None:
    office, branch = pair()
    pk = office.create("tag", title="x")
    saved(branch, "tag", upper)
    exchange(office, branch)
    for n in range(2 * ALTERNATIONS):
        office.write("tag", pk, title=f"edit {n}")
        exchange(office, branch)
        for program in (office, branch):
            program.offset += 2 * DISPUTE
    assert office.codes == branch.codes == []
    assert office.rows("tag", "title") == [f"EDIT {2 * ALTERNATIONS - 1}"]


def test_what_stays_as_it_came_ends_the_count() -> None:
    office, branch = pair()
    pk = office.create("tag", title="x")
    saved(branch, "tag", upper)
    exchange(office, branch)
    for _ in range(2 * ALTERNATIONS):
        office.write("tag", pk, title="a")
        exchange(office, branch)
        office.write("tag", pk, title="FINE")
        exchange(office, branch)
    assert branch.codes == []
    assert branch.database.alternations == {}


def test_code_that_adds_more_each_time_comes_to_an_end() -> None:
    def more(program: Program, pk: str) -> None:
        program.write("tag", pk, title=f"{value(program, 'tag', pk, 'title')}!")

    office, branch = pair()
    pk = office.create("tag", title="x")
    exchange(office, branch)
    saved(office, "tag", more)
    saved(branch, "tag", more)
    office.write("tag", pk, title="y")
    rounds(office, branch)
    assert [*office.codes, *branch.codes] == ["ping_pong"]


def test_code_that_answers_with_another_field_each_time_comes_to_an_end() -> None:
    def title_from_label(program: Program, pk: str) -> None:
        program.write("tag", pk, title=f"{value(program, 'tag', pk, 'label')}.")

    office, branch = pair()
    pk = office.create("tag", title="x", label="l")
    exchange(office, branch)
    saved(office, "tag", title_from_label)
    saved(branch, "tag", label_from_title)
    office.write("tag", pk, title="y")
    rounds(office, branch)
    assert set(office.codes + branch.codes) == {"ping_pong"}


# -- who is at work ----------------------------------------------------------------------------------------


def test_code_is_told_where_a_change_comes_from() -> None:
    heard: list[Applying | None] = []
    office, branch = pair()
    saved(branch, "tag", lambda program, pk: heard.append(syncapp.applying()))
    office.create("tag", title="a")
    exchange(office, branch)
    assert heard == [Applying(f"link {LINK}", initial=False)]
    assert syncapp.applying() is None
    with during(Applying("x", initial=True)):
        found = syncapp.applying()
        assert found is not None
        assert found.initial


# -- what is announced -------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", [True, False])
def test_what_was_applied_is_announced_once_a_record(through: bool) -> None:
    office, branch = pair()
    if through:
        saved(branch, "tag")
    pk = office.create("tag", title="a")
    office.create("client", code="1", name="c", tags=[pk])
    send(office, branch)
    tag, client = branch.numbers.table["tag"], branch.numbers.table["client"]
    told = {event.table: event for _, event in branch.database.announced}
    assert len(branch.database.announced) == 2
    assert {name for name, _ in branch.database.announced} == {f"link {LINK}"}
    title, label = branch.numbers.field["tag", "title"], branch.numbers.field["tag", "label"]
    assert told[tag] == Event(tag, "1", True, False, tuple(sorted((title, label))))
    assert told[client].created
    branch.database.announced.clear()
    office.write("tag", pk, title="b")
    send(office, branch)
    assert branch.database.announced == [(f"link {LINK}", Event(tag, "1", False, False, (title,)))]
    branch.database.announced.clear()
    batch = office.read()
    assert batch is None
    assert branch.database.announced == []


def test_what_is_parked_is_not_announced() -> None:
    office, branch = pair()
    saved(branch, "tag", refusing("title"))
    office.create("tag", title="bad")
    send(office, branch)
    assert branch.database.announced == []
