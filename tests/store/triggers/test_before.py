"""What the triggers of sums and unions keep of what was there before, whatever the database, and without any log."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F

from project.crm.models import Client, Tag
from syncapp import models
from syncapp.store import catalogue, triggers
from tests.store.linked import Linked, drain, execute, link_fields
from tests.testapp.models import Country, Everything, Place

pytestmark = pytest.mark.django_db


@pytest.fixture
def linked() -> Linked:
    """Sums of two numbers, unions of two many-to-many, an ordinary field beside them."""
    linked = link_fields(
        {
            "testapp.Everything": ["char", "integer", "decimal"],
            "crm.Tag": ["name"],
            "crm.Client": ["name", "tags"],
            "testapp.Country": ["code", "name"],
            "testapp.Place": ["name", "countries"],
        }
    )
    for name, merge in {
        "testapp.Everything.integer": "sum",
        "testapp.Everything.decimal": "sum",
        "crm.Client.tags": "union",
        "testapp.Place.countries": "union",
    }.items():
        models.Rule.objects.create(field_id=linked.numbers[name], merge=merge)
    catalogue.bump("default")
    triggers.install_all()
    return linked


def kept(linked: Linked) -> list[dict[str, Any] | None]:
    """The old values of each journal row, by field name; the journal is empty then."""
    return [
        None
        if not row.before
        else {linked.name(n).rpartition(".")[2]: value for n, value in row.before.items()}
        for row in drain()
    ]


def thing(**values: Any) -> Everything:
    made = Everything.objects.create(char="x", integer=7, decimal=Decimal("1.10"), **values)
    drain()
    return made


def test_the_old_numbers_of_sums(linked: Linked) -> None:
    made = thing()
    rows = Everything.objects.filter(pk=made.pk)
    rows.update(integer=F("integer") + 1, decimal=Decimal("2.35"))
    rows.update(decimal=Decimal("-3.00"))
    rows.update(char="y")
    rows.update(integer=8)
    assert kept(linked) == [{"integer": 7, "decimal": "1.10"}, {"decimal": "2.35"}, None]


@pytest.mark.parametrize(
    "number", [Decimal("9999999999.99"), Decimal("-0.01"), Decimal("1234567890123.4") / 1000]
)
def test_old_decimals_are_exact(linked: Linked, number: Decimal) -> None:
    made = thing()
    exact = number.quantize(Decimal("0.01"))
    rows = Everything.objects.filter(pk=made.pk)
    rows.update(decimal=exact)
    rows.update(decimal=Decimal(0))
    assert kept(linked)[-1] == {"decimal": format(exact, "f")}


def test_a_number_that_is_large(linked: Linked) -> None:
    made = thing()
    rows = Everything.objects.filter(pk=made.pk)
    rows.update(integer=2**31 - 1)
    rows.update(integer=-(2**31))
    assert kept(linked)[-1] == {"integer": 2**31 - 1}


def test_new_and_deleted_rows_have_no_old_numbers(linked: Linked) -> None:
    Everything.objects.create(char="x", integer=7).delete()
    assert kept(linked) == [None, None]


@pytest.mark.sqlite
def test_a_row_that_an_insert_replaces_keeps_its_old_number(linked: Linked) -> None:
    made = thing()
    columns = [f.column for f in Everything._meta.concrete_fields if f.column and not f.generated]
    names = ", ".join(f'"{column}"' for column in columns)
    values = ", ".join("9" if column == "integer" else f'"{column}"' for column in columns)
    execute(
        f'INSERT OR REPLACE INTO "testapp_everything" ({names}) '
        f'SELECT {values} FROM "testapp_everything" WHERE "id" = {made.pk}'
    )
    assert kept(linked) == [{"integer": 7}]


def client() -> tuple[Client, list[Tag]]:
    made, tags = Client.objects.create(name="c"), [Tag.objects.create(name=name) for name in "rgb"]
    made.tags.set(tags[:2])
    drain()
    return made, tags


def test_whether_members_of_unions_were_there(linked: Linked) -> None:
    made, tags = client()
    made.tags.set(tags[1:])
    rows = [row["tags"] for row in kept(linked) if row]
    assert sorted(rows, key=str) == sorted([{str(tags[0].pk): True}, {str(tags[2].pk): False}], key=str)


def test_a_membership_that_is_rewritten_names_both(linked: Linked) -> None:
    made, tags = client()
    execute(
        f'UPDATE "crm_client_tags" SET "tag_id" = {tags[2].pk} '
        f'WHERE "client_id" = {made.pk} AND "tag_id" = {tags[0].pk}'
    )
    rows = [row["tags"] for row in kept(linked) if row]
    merged = {key: was for row in rows for key, was in row.items()}
    assert merged == {str(tags[0].pk): True, str(tags[2].pk): False}


def test_members_that_go_with_their_record(linked: Linked) -> None:
    _made, tags = client()
    key = str(tags[0].pk)
    tags[0].delete()
    assert [row for row in kept(linked) if row] == [{"tags": {key: True}}]


@pytest.mark.parametrize("code", ["ru", '"', "\\", "я"])
def test_members_with_odd_keys_in_an_odd_table(linked: Linked, code: str) -> None:
    place, country = (
        Place.objects.create(name="p"),
        Country.objects.create(code=code, name="n", iso_number=ord(code[0])),
    )
    drain()
    place.countries.add(country)
    place.countries.remove(country)
    assert kept(linked) == [{"countries": {code: False}}, {"countries": {code: True}}]


def test_without_the_rule_nothing_is_kept(linked: Linked) -> None:
    models.Rule.objects.all().delete()
    catalogue.bump("default")
    triggers.install_all()
    made, tags = client()
    made.tags.set(tags[1:])
    number = thing()
    Everything.objects.filter(pk=number.pk).update(integer=1)
    assert set(map(str, kept(linked))) == {"None"}


def test_a_write_is_never_refused_for_what_is_kept(linked: Linked) -> None:
    made = thing()
    if connection.vendor == "sqlite":
        execute(f"UPDATE testapp_everything SET integer = x'ff' WHERE id = {made.pk}")
    with transaction.atomic():
        Everything.objects.filter(pk=made.pk).update(integer=3)
    assert drain()
