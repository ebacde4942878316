"""Transforms in the configuration: read, checked, kept, exported."""

from __future__ import annotations

from typing import Any

import pytest

from syncapp.core.transforms import transform
from syncapp.models import Mapping
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
[link.table.fields]
integer = "both"
{field}
"""


def everything(field: str) -> str:
    return HEAD.replace("{field}", field)


def field(name: str, transform: str, direction: str = "download") -> str:
    return everything(f'{name} = {{ direction = "{direction}", transform = {transform} }}')


@pytest.mark.parametrize(
    ("name", "written", "kept", "before", "after"),
    [
        ("char", '["strip", "lower"]', ["strip", "lower"], " A ", "a"),
        ("char", '"upper"', ["upper"], "a", "A"),
        ("char", '["phone"]', ["phone"], "+7 (1) 2", "+712"),
        ("char", '["default:no: value"]', [{"default": "no: value"}], "", "no: value"),
        ("char", "[{ default = 'x' }]", [{"default": "x"}], None, "x"),
        ("big", '["default:5"]', [{"default": 5}], None, 5),
        ("big", "[{ default = 5 }]", [{"default": 5}], 0, 0),
        ("decimal", '["default:1.5"]', [{"default": "1.50"}], None, "1.50"),
        ("maybe", '["default:true"]', [{"default": True}], None, True),
        ("day", "[{ default = 2026-01-02 }]", [{"default": "2026-01-02"}], None, "2026-01-02"),
        (
            "choice",
            "[{ map = { new = 'a', paid = 'b' } }]",
            [{"map": [["new", "a"], ["paid", "b"]]}],
            "paid",
            "b",
        ),
        ("choice", '\'map:{"new": "a"}\'', [{"map": [["new", "a"]]}], "new", "a"),
        ("small", "[{ map = { 1 = 2, 3 = '4' } }]", [{"map": [[1, 2], [3, 4]]}], 3, 4),
        ("maybe", "[{ map = { true = false } }]", [{"map": [[True, False]]}], True, False),
    ],
)
def test_a_transform_is_kept_in_wire_form_and_exported(
    name: str, written: str, kept: list[Any], before: Any, after: Any
) -> None:
    apply(field(name, written))
    mapping = Mapping.objects.get(field=number(f"testapp.Everything.{name}"))
    assert mapping.options == {"transform": kept}
    steps = catalogue.load_setup().links[mapping.link_id].transforms[mapping.field_id]
    assert transform(steps, before) == after
    offers = [f for table in catalogue.link_catalogue(mapping.link_id) for f in table.fields if f.transformed]
    assert [offer.number for offer in offers] == [mapping.field_id]
    assert apply(config.export()) == []


CHAR = 'Link "Branch", field "testapp.Everything.char"'
EXPECTED = f'{CHAR}: "transform" must be a list of strip, upper, lower, phone, default:… and map:{{…}}, not '


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (field("char", '["strip"]', "both"), f"{CHAR}: a transform works one way only"),
        (field("char", '["reverse"]'), f"{EXPECTED}a list"),
        (field("char", "[]"), EXPECTED),
        (field("char", "5"), f"{EXPECTED}5"),
        (field("char", '["strip:1"]'), EXPECTED),
        (field("char", '["map:{}"]'), EXPECTED),
        (field("char", '["map:[1]"]'), EXPECTED),
        (field("char", "['map:{\"a\"']"), EXPECTED),
        (field("char", '["default"]'), EXPECTED),
        (field("char", "[{ default = 'a', map = { a = 'b' } }]"), EXPECTED),
        (field("char", "[{ default = ['a'] }]"), EXPECTED),
        (
            field("small", '["strip"]'),
            'field "testapp.Everything.small": the transform "strip" is not made for integer values.',
        ),
        (field("json", '["default:1"]'), 'the transform "default" is not made for json values.'),
        (field("time_added", '["default:1"]'), 'the transform "default" is not made for datetime values.'),
        (field("day", "[{ map = { a = 'b' } }]"), 'the transform "map" is not made for date values.'),
        (
            field("small", '["default:many"]'),
            'small", transform "default": "many" cannot be a value of the field (not of type integer).',
        ),
        (
            field("choice", "[{ map = { new = 'c' } }]"),
            'transform "map": "c" cannot be a value of the field (possible: a, b).',
        ),
        (
            field("choice", "[{ map = { c = 'new' } }]", "upload"),
            'transform "map": "c" cannot be a value of the field (possible: a, b).',
        ),
        (field("bounded", '["default:9"]'), "(9 is outside 1…5)"),
        (field("char", "['map:{\"a\": null}']"), "(null is no value here)"),
    ],
)
def test_what_cannot_be_done_is_refused(text: str, error: str) -> None:
    assert any(error in found for found in refused(text)), refused(text)


def test_values_of_the_other_program_are_not_bound_by_ours() -> None:
    apply(field("choice", "[{ map = { a = 'a long word' } }]", "upload"))
    apply(field("bounded", '["default:9"]', "upload"))


def test_a_field_that_is_off_keeps_no_transform() -> None:
    apply(field("char", '["strip"]', "off"))
    assert not Mapping.objects.filter(field=number("testapp.Everything.char")).exists()
    apply(field("char", '["strip"]'))
    assert apply(field("char", '["upper"]')) == [
        'Link "Branch": the settings of testapp.Everything.char were changed.'
    ]
