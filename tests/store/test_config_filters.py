"""Row filters in the configuration: read, checked, kept, told, exported."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from syncapp.models import Instance, LinkTable, Mapping
from syncapp.store import catalogue, config
from tests.store.configs import apply, number, refused

pytestmark = pytest.mark.django_db

HEAD = """
[[link]]
name = "Branch"
mode = "passive"
password = "swordfish"
[[link.table]]
table = "testapp.Everything"
{filter}
[link.table.fields]
char = "both"
integer = "both"
"""
TABLE = 'Link "Branch", table "testapp.Everything"'


def everything(filter: str) -> str:
    return HEAD.replace("{filter}", f"filter = {{ {filter} }}" if filter else "")


def kept() -> dict[str, Any]:
    options: dict[str, Any] = LinkTable.objects.get().options
    return options


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ('char = "paid"', {"char": ["paid"]}),
        ('char = ""', {"char": [""]}),
        ('choice = ["a", "b", "a"]', {"choice": ["a", "b"]}),
        ("null_char = { null = true }", {"null_char": [None]}),
        ('null_char = ["x", { null = true }]', {"null_char": ["x", None]}),
        ("small = 5", {"small": [5]}),
        ("decimal = 12.5", {"decimal": ["12.50"]}),
        ("decimal = -0.0", {"decimal": ["0.00"]}),
        ('decimal = ["12.5", 3]', {"decimal": ["12.50", "3.00"]}),
        ("floating = 1", {"floating": [1.0]}),
        ("flag = true", {"flag": [True]}),
        ("day = 2026-01-02", {"day": ["2026-01-02"]}),
        ('day = "2026-01-02"', {"day": ["2026-01-02"]}),
        ("hour = 09:30:00", {"hour": ["09:30:00"]}),
        ("moment = 2026-01-02T03:04:05+02:00", {"moment": ["2026-01-02T01:04:05Z"]}),
        (
            'key = "018F2D6B-8C00-7ABC-8DEF-000000000001"',
            {"key": ["018f2d6b-8c00-7abc-8def-000000000001"]},
        ),
        ('char = "x", small = [1, 2]', {"char": ["x"], "small": [1, 2]}),
    ],
)
def test_a_filter_is_kept_in_wire_form_and_exported(written: str, values: dict[str, Any]) -> None:
    apply(everything(written))
    assert kept() == {"filter": values}
    link = catalogue.load_setup().links[LinkTable.objects.get().link_id]
    (filter,) = link.filters.values()
    assert filter == {number(f"testapp.Everything.{name}"): tuple(v) for name, v in values.items()}
    assert catalogue.load_setup().captured >= filter.keys()
    exported = config.export()
    assert tomllib.loads(exported)["link"][0]["table"][0]["filter"].keys() == values.keys()
    assert apply(exported) == []


@pytest.mark.parametrize(
    ("written", "errors"),
    [
        ('colour = "red"', ['table "testapp.Everything" has no field "colour". Its fields: ']),
        ("char = 5", [f'{TABLE}, filter: "char" can never be 5 (not of type text(50)). Correct']),
        ('choice = "c"', [f'{TABLE}, filter: "choice" can never be "c" (possible: a, b).']),
        ('small = "5"', [f'{TABLE}, filter: "small" can never be "5"']),
        ("small = true", [f'{TABLE}, filter: "small" can never be true']),
        ("flag = 1", ['filter: "flag" can never be 1']),
        ("bounded = 9", ['filter: "bounded" can never be 9 (9 is outside 1…5)']),
        ("decimal = 1.005", ['filter: "decimal" can never be 1.005 (more than 2 decimal places)']),
        ('decimal = "ten"', ['filter: "decimal" can never be "ten" (not of type decimal(12,2))']),
        ("decimal = inf", ['filter: "decimal" can never be inf']),
        ("floating = nan", ['filter: "floating" can never be nan']),
        ("char = { null = true }", ['filter: "char" can never be', "the field cannot be empty"]),
        ('day = "tomorrow"', ['filter: "day" can never be "tomorrow"']),
        ("day = 2026-01-02T00:00:00Z", ['filter: "day" can never be']),
        ("moment = 2026-01-02T03:04:05", ["(add its time zone, such as Z)"]),
        ('key = "1"', ['filter: "key" can never be "1"']),
        ("char = []", [f'{TABLE}, filter: "char" must be a value, a list of values']),
        ("char = [[1]]", ['filter: "char" must be a value, a list of values']),
        ("char = { nil = true }", ['filter: "char" must be a value, a list of values']),
        ("json = 1", [f'{TABLE}: the filter cannot ask about "json" (json). Use columns of the table']),
        ('file = "x"', ['the filter cannot ask about "file" (file)']),
        ("time_added = 2026-01-02", ['the filter cannot ask about "time_added"']),
        ("record_status = true", ['the filter cannot ask about "record_status"']),
    ],
)
def test_what_no_row_can_hold_is_refused(written: str, errors: list[str]) -> None:
    found = "\n".join(refused(everything(written)))
    for error in errors:
        assert error in found


def test_relations_are_no_columns_of_the_table() -> None:
    text = everything("").replace("testapp.Everything", "testapp.Place").replace('integer = "both"', "")
    text = text.replace('char = "both"', 'name = "both"').replace(
        "[link.table.fields]", "filter = { parent = 1 }\n[link.table.fields]"
    )
    assert ['the filter cannot ask about "parent" (relation)' in error for error in refused(text)] == [True]


def test_a_filter_that_is_no_table() -> None:
    text = everything("").replace("[link.table.fields]", "filter = 5\n[link.table.fields]")
    assert f'{TABLE}: "filter" must be a table, not 5.' in refused(text)


def test_a_change_is_told_and_what_passes_now_is_looked_for() -> None:
    Instance.objects.update(head_seq=10)
    first = apply(everything('char = "x"'))
    assert 'Link "Branch": of testapp.Everything only records with char = "x" are sent now.' in first
    row = LinkTable.objects.get()
    assert (row.since_seq, row.refilter_after) == (10, None), "a new table has nothing to look through"
    Instance.objects.update(head_seq=25)
    assert apply(everything('char = ["x", "y"], small = 5')) == [
        'Link "Branch": of testapp.Everything only records with char = "x" or "y" and small = 5 are sent now.'
    ]
    row = LinkTable.objects.get()
    assert (row.refilter_after, row.refilter_until) == (10, 25)
    assert apply(everything('char = ["x", "y"], small = 5')) == []
    assert apply(everything("")) == [
        'Link "Branch": all records of testapp.Everything are sent now, without a filter.'
    ]
    assert kept() == {}


CRM = """
[[link]]
name = "Branch"
mode = "passive"
password = "swordfish"
[[link.table]]
table = "crm.Client"
filter = { note = "vip" }
[link.table.fields]
name = "both"
[[link.table]]
table = "crm.Order"
[link.table.fields]
number = "both"
client = "both"
"""


def test_relations_to_a_filtered_table_are_pointed_out() -> None:
    (note,) = [line for line in apply(CRM) if "note that" in line and "filter" in line]
    assert note.startswith(
        'Link "Branch": note that crm.Client has a filter: where crm.Order.client refers to a '
    )
    assert apply(CRM) == []


def test_a_filter_whose_column_is_gone_shuts_the_table() -> None:
    apply(CRM)
    link = Mapping.objects.first()
    assert link is not None
    row = LinkTable.objects.get(table__label="crm.Client")
    for broken in ({"colour": ["red"]}, {"note": [5]}):
        row.options = {"filter": broken}
        row.save()
        catalogue.bump("default")
        info = catalogue.load_setup().links[row.link_id]
        assert info.filters == {}
        assert info.shut == {row.table_id: next(iter(broken))}
