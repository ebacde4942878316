"""Soft deletion in a configuration: set, changed, taken back, exported; refused where it cannot be."""

from __future__ import annotations

import pytest

from syncapp.errors import ConfigRefused
from syncapp.models import Rule
from syncapp.store import catalogue, config, triggers
from syncapp.store.base import Soft
from tests.store.configs import PASSIVE, apply, number, snapshot

pytestmark = pytest.mark.django_db

LINKED = """
[[link.table]]
table = "testapp.Contact"
[link.table.fields]
name = "both"
time_added = "both"
record_status = "both"
[[link.table]]
table = "crm.Order"
[link.table.fields]
number = "both"
time_added = "both"
record_status = "both"
"""
STATUS, OTHER = "testapp.Contact.record_status", "crm.Order.record_status"
ARCHIVED = f'[[rule]]\nfield = "{STATUS}"\ndeleted = {{ archived = true }}\n'
CANCELLED = f"""
[[rule]]
field = "{OTHER}"
deleted = {{ status = "cancelled" }}
alive = {{ status = "new" }}
"""


def soft(label: str) -> Soft | None:
    return next(table.soft for table in catalogue.load_setup().tables.values() if table.label == label)


def test_a_truth_value_tells_both_states() -> None:
    changes = apply(PASSIVE + LINKED + ARCHIVED)
    assert (
        "Records of testapp.Contact count as deleted now where archived = true; their rows stay, and those that come "
        "back get archived = false."
    ) in changes
    archived = number("testapp.Contact.archived")
    assert soft("testapp.Contact") == Soft({archived: True}, {archived: False})
    assert soft("crm.Order") is None
    assert archived in catalogue.load_setup().captured, "though it is not mapped"
    assert triggers.verify() == []
    assert apply(PASSIVE + LINKED + ARCHIVED) == []


def test_other_values_need_both_and_exports_say_them() -> None:
    apply(PASSIVE + LINKED + ARCHIVED + CANCELLED)
    status = number("crm.Order.status")
    assert soft("crm.Order") == Soft({status: "cancelled"}, {status: "new"})
    text = config.export()
    assert 'deleted = {status = "cancelled"}' in text
    assert 'alive = {status = "new"}' in text
    assert apply(text) == []


def test_it_is_taken_back() -> None:
    apply(PASSIVE + LINKED + ARCHIVED)
    assert "Records of testapp.Contact are really deleted now." in apply(PASSIVE + LINKED)
    assert soft("testapp.Contact") is None
    assert not Rule.objects.exists()
    apply(PASSIVE + LINKED + ARCHIVED)
    plain = f'[[rule]]\nfield = "{STATUS}"\npolicy = "latest"\n'
    assert "Records of testapp.Contact are really deleted now." in apply(PASSIVE + LINKED + plain)
    assert soft("testapp.Contact") is None


def test_a_status_that_nobody_exchanges_is_left_alone() -> None:
    apply(PASSIVE + ARCHIVED)
    assert soft("testapp.Contact") is None
    assert number("testapp.Contact.archived") not in catalogue.load_setup().captured


def test_a_column_that_a_link_exchanges_which_the_file_does_not_name() -> None:
    other = PASSIVE.replace('"Branch"', '"Other"') + LINKED.replace('name = "both"', 'archived = "both"')
    apply(other)
    with pytest.raises(ConfigRefused, match='link "Other" exchanges it as a field'):
        apply(PASSIVE + LINKED + ARCHIVED)
    assert not Rule.objects.exists()


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (f'field = "{STATUS}"\ndeleted = {{ gone = true }}', '"gone" cannot say whether a record is deleted'),
        (f'field = "{STATUS}"\ndeleted = {{ creator = 1 }}', '"creator" cannot say whether a record is'),
        (f'field = "{OTHER}"\ndeleted = {{ client = 1 }}', '"client" cannot say whether a record is deleted'),
        (f'field = "{STATUS}"\ndeleted = {{ archived = "yes" }}', '"yes" cannot stand in "archived"'),
        (f'field = "{OTHER}"\ndeleted = {{ status = "lost" }}', '"lost" cannot stand in "status": possible'),
        (
            f'field = "{OTHER}"\ndeleted = {{ status = "cancelled" }}',
            "say in alive what stands in",
        ),
        (
            f'field = "{STATUS}"\ndeleted = {{ archived = true }}\nalive = {{ archived = true }}',
            "with another value",
        ),
        (
            f'field = "{STATUS}"\ndeleted = {{ archived = true }}\nalive = {{ tel = "1" }}',
            "what stands in tel while",
        ),
        (f'field = "{STATUS}"\nalive = {{ archived = false }}', "has to be about its record_status"),
        (
            'field = "testapp.Contact.name"\ndeleted = { archived = true }',
            "has to be about its record_status",
        ),
        (f'field = "{STATUS}"\ndeleted = {{ archived = [true] }}', '"archived" must be a value'),
        (
            f'field = "{STATUS}"\ndeleted = {{ name = "x" }}\nalive = {{ name = "y" }}',
            "exchanges it as a field",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(rule: str, told: str) -> None:
    apply(PASSIVE + LINKED)
    before = snapshot()
    with pytest.raises(ConfigRefused) as caught:
        apply(PASSIVE + LINKED + f"[[rule]]\n{rule}\n")
    assert told in str(caught.value)
    assert snapshot() == before
    assert not Rule.objects.exists()
