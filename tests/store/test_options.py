"""Option values that two programs call differently: translated where the mapping has a map, in both directions."""

from typing import Any

import msgspec
import pytest

from syncapp.core.kinds import FieldType, Kind
from syncapp.core.mapping import FieldOffer, TableOffer, agree
from syncapp.core.transforms import ValueMap
from syncapp.store.base import BadValue, LinkInfo
from syncapp.store.options import Unmapped, option_maps, translated
from tests.store.programs import LINK, Program, exchange, pair, send

WORDS = {"paid": "оплачен", "new": "новый"}


def mapped(words: dict[str, Any] | None = None) -> tuple[Program, Program]:
    """Office and branch; the office translates notes."""
    office, branch = pair()
    translate(office, branch, WORDS if words is None else words)
    return office, branch


def translate(office: Program, branch: Program, words: dict[str, Any]) -> None:
    """Set the office's map, and let the two meet anew."""
    number = office.numbers.field["client", "note"]
    setup = office.database.setup
    link = msgspec.structs.replace(setup.links[LINK], maps={number: words})
    office.database.setup = msgspec.structs.replace(setup, links={LINK: link})
    office.database.catalogues[LINK] = tuple(
        msgspec.structs.replace(table, fields=tuple(_with(field, number, words) for field in table.fields))
        for table in office.database.catalogues[LINK]
    )
    for here, there in ((office, branch), (branch, office)):
        here.agreement = agree(here.backend.catalogue(LINK), there.backend.catalogue(LINK))


def _with(field: FieldOffer, number: int, words: dict[str, Any]) -> FieldOffer:
    return msgspec.structs.replace(field, options=tuple(words)) if field.number == number else field


def notes(*programs: Program) -> list[list[Any]]:
    return [program.rows("client", "note") for program in programs]


def test_values_are_translated_both_ways() -> None:
    office, branch = mapped()
    branch.create("client", code="1", note="paid")
    exchange(branch, office)
    assert notes(branch, office) == [["paid"], ["оплачен"]]
    office.write("client", "1", note="новый")
    exchange(office, branch)
    assert notes(branch, office) == [["new"], ["новый"]]
    branch.write("client", "1", note=None)
    exchange(branch, office)
    assert notes(branch, office) == [[None], [None]]
    assert office.codes == branch.codes == []


def test_a_value_that_the_map_lacks_waits_until_it_has_it() -> None:
    office, branch = mapped()
    branch.create("client", code="1", name="a", note="new")
    exchange(branch, office)
    branch.write("client", "1", note="void", name="b")
    exchange(branch, office)
    assert office.rows("client", "name", "note") == [("b", "новый")]
    (problem,) = office.problems
    assert (problem.code, problem.params["value"], problem.params["field"]) == (
        "unmapped_value",
        "void",
        "note",
    )
    office.retry()
    assert office.codes == ["unmapped_value"]
    translate(office, branch, {**WORDS, "void": "аннулирован"})
    office.retry()
    assert (office.rows("client", "note"), office.codes) == (["аннулирован"], [])


def test_a_value_that_cannot_be_sent_goes_when_the_map_has_it() -> None:
    office, branch = mapped()
    office.create("client", code="1", name="a", note="странный")
    exchange(office, branch)
    assert branch.rows("client", "name", "note") == [("a", None)]
    (problem,) = office.problems
    assert (problem.way, problem.code, problem.params["value"]) == ("out", "unmapped_value", "'странный'")
    translate(office, branch, {**WORDS, "odd": "странный"})
    assert send(office, branch) is None
    office.store._try_unsendable(LINK, office.agreement)
    exchange(office, branch)
    assert (branch.rows("client", "note"), office.codes) == (["odd"], [])


def test_an_outgoing_problem_is_retried_by_hand() -> None:
    office, branch = mapped()
    office.create("client", code="1", note="странный")
    exchange(office, branch)
    office.store.retry(LINK, office.agreement, office.token)
    assert send(office, branch) is None, "not by itself"
    translate(office, branch, {**WORDS, "odd": "странный"})
    office.retry()
    exchange(office, branch)
    assert (branch.rows("client", "note"), office.codes) == (["odd"], [])


def test_outgoing_problems_of_what_is_not_sent_any_more_end() -> None:
    office, branch = mapped()
    pk = office.create("client", code="1", note="странный")
    exchange(office, branch)
    office.remove("client", pk)
    office.store.seal()
    office.retry()
    assert office.problems == []


def test_a_map_and_the_types_of_both_sides() -> None:
    def offer(number: int, kind: FieldType, options: tuple[str, ...] = ()) -> TableOffer:
        return TableOffer(
            number, "a.B", "", (FieldOffer(number, "f", "", kind, True, True, options=options),)
        )

    text, whole = FieldType(Kind.TEXT, length=4), FieldType(Kind.INTEGER)
    for ours, theirs, code in (
        (offer(1, text, ("1", "2")), offer(2, whole), None),
        (offer(1, text, ("1", "two")), offer(2, whole), "types_differ"),
        (offer(1, whole, ("a", "b")), offer(2, text), None),
        (offer(1, whole, ("longer",)), offer(2, text), "types_differ"),
        (offer(1, text, ("a",)), offer(2, text, ("b",)), "two_maps"),
        (offer(1, text, ("a",)), offer(2, FieldType(Kind.DATE)), "types_differ"),
    ):
        for here, there in (((ours,), (theirs,)), ((theirs,), (ours,))):
            found = agree(here, there)
            assert [row.code for row in found.suspended] == ([code] if code else [])
            if code is None:
                (flow,) = found.tables.values()
                assert flow.adapt == {}
                assert flow.mapped == ({1: theirs.fields[0].type} if here == (ours,) else {})
    agreement = agree((offer(1, text, ("1", "2")),), (offer(2, whole),))
    (map,) = option_maps(LinkInfo(1, "x", maps={1: {"1": "one", "2": "two"}}), agreement).values()
    assert map.into.pairs() == [(1, "one"), (2, "two")]
    assert map.out.pairs() == [("one", 1), ("two", 2)]


@pytest.mark.parametrize("value", ["x", 5, ["paid"], {"paid": 1}])
def test_what_is_not_in_the_map_is_named(value: Any) -> None:
    found = translated(ValueMap(WORDS.items()), value)
    assert isinstance(found, Unmapped)
    assert repr(value)[:4] in str(found)


def test_null_and_bad_values_pass() -> None:
    bad = BadValue("x")
    assert translated(ValueMap(()), None) is None
    assert translated(ValueMap(()), bad) is bad
