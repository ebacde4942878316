"""The command ``syncfields``."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from syncapp.models import Field, Table
from syncapp.store import catalogue

pytestmark = pytest.mark.django_db


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("syncfields", *args, stdout=out)
    return out.getvalue()


def line(text: str, *words: str) -> str:
    return next(row for row in text.splitlines() if all(word in row for word in words))


def test_the_fields_of_a_table_with_number_and_type() -> None:
    text = run("crm.Order")
    number = Field.objects.get(table__label="crm.Order", name="amount").number
    cells = [cell.strip() for cell in line(text, "decimal").strip("│").split("│")]
    assert cells == [str(number), "amount", "decimal(12,2)", "amount", ""]
    assert "must be filled in" in line(text, "relation crm.Client")
    assert "system field" in line(text, "record_status")
    assert f"crm.Order · order · table {Table.objects.get(label='crm.Order').number}" in text
    assert "crm.Client ·" not in text


def test_all_tables() -> None:
    text = run()
    for label in catalogue.tables():
        assert f"{label} ·" in text


@override_settings(SYNCAPP_TABLES=["auth.Group"])
def test_a_table_that_the_settings_have_come_to_offer() -> None:
    assert [table["table"] for table in json.loads(run("--json"))] == ["auth.Group"]


def test_what_is_not_on_offer_is_named_with_the_reason() -> None:
    assert "not on offer: computed by the database" in line(run("testapp.Everything"), "double")


def test_json() -> None:
    tables: list[dict[str, Any]] = json.loads(run("--json"))
    assert [table["table"] for table in tables] == list(catalogue.tables())
    client = next(table for table in tables if table["table"] == "crm.Client")
    fields = {field["field"]: field for field in client["fields"]}
    row = Field.objects.get(table__label="crm.Client", name="name")
    assert client["number"] == row.table_id
    assert fields["name"] == {
        "number": row.number,
        "field": "name",
        "title": "name",
        "type": "text(200)",
        "system": False,
        "required": True,
        "details": {"kind": "text", "length": 200},
    }
    assert fields["id"]["system"]


@pytest.mark.parametrize("name", ["crm.Client", "CRM.CLIENT", "client"])
def test_one_table_by_its_name(name: str) -> None:
    assert [table["table"] for table in json.loads(run(name, "--json"))] == ["crm.Client"]


def test_an_unknown_table() -> None:
    with pytest.raises(CommandError) as caught:
        run("crm.Clint")
    assert str(caught.value).startswith('There is no table "crm.Clint" on offer. Tables: crm.Client')
    assert caught.value.returncode == 1


@override_settings(SYNCAPP_TABLES=["auth.Group", "crm.*", "testapp.*"])
def test_a_name_that_two_apps_have(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = catalogue.tables()["crm.Tag"]
    monkeypatch.setattr(
        "syncapp.management.commands.syncfields.tables", lambda: {"crm.Tag": entry, "other.Tag": entry}
    )
    with pytest.raises(CommandError, match="Name the app too"):
        run("tag")
