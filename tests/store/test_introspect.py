"""Models → tables and fields."""

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.test import override_settings

from project.crm.models import Client
from syncapp.core.mapping import FieldType, Kind
from syncapp.store.introspect import FieldDescription, ModelDescription, describe, describe_models
from tests.testapp import models as testapp

SYSTEM = ["id", "time_added", "record_status", "creator"]
TEXT_50 = FieldType(Kind.TEXT, length=50)


def fields(model: type) -> dict[str, FieldDescription]:
    return {field.name: field for field in describe(model).fields}


def labels(*patterns: str) -> list[str]:
    return [model.label for model in describe_models(patterns)]


EVERYTHING = {
    "char": TEXT_50,
    "blank_char": TEXT_50,
    "default_char": TEXT_50,
    "null_char": FieldType(Kind.TEXT, null=True, length=50),
    "text": FieldType(Kind.TEXT),
    "slug": FieldType(Kind.TEXT, length=40),
    "url": FieldType(Kind.TEXT, length=150),
    "email": FieldType(Kind.TEXT, length=120),
    "address": FieldType(Kind.IP, null=True),
    "choice": FieldType(Kind.TEXT, length=3),
    "small": FieldType(Kind.INTEGER, low=-(2**15), high=2**15 - 1),
    "integer": FieldType(Kind.INTEGER, low=-(2**31), high=2**31 - 1),
    "big": FieldType(Kind.INTEGER, null=True, low=-(2**63), high=2**63 - 1),
    "positive": FieldType(Kind.INTEGER, low=0, high=2**31 - 1),
    "positive_small": FieldType(Kind.INTEGER, low=0, high=2**15 - 1),
    "positive_big": FieldType(Kind.INTEGER, low=0, high=2**63 - 1),
    "bounded": FieldType(Kind.INTEGER, low=1, high=5),
    "decimal": FieldType(Kind.DECIMAL, digits=12, places=2),
    "floating": FieldType(Kind.FLOAT, null=True),
    "flag": FieldType(Kind.BOOLEAN),
    "maybe": FieldType(Kind.BOOLEAN, null=True),
    "day": FieldType(Kind.DATE, null=True),
    "hour": FieldType(Kind.TIME, null=True),
    "moment": FieldType(Kind.DATETIME, null=True),
    "changed": FieldType(Kind.DATETIME),
    "added": FieldType(Kind.DATETIME),
    "span": FieldType(Kind.DURATION, null=True),
    "key": FieldType(Kind.UUID),
    "json": FieldType(Kind.JSON),
    "binary": FieldType(Kind.BINARY, null=True, length=100),
    "file": FieldType(Kind.FILE, length=120),
    "renamed": FieldType(Kind.TEXT, length=10),
}


def test_every_type_in_the_order_of_the_model() -> None:
    described = describe(testapp.Everything)
    assert {f.name: f.type for f in described.fields if not f.system} == EVERYTHING
    assert [f.name for f in described.fields] == [*EVERYTHING, *SYSTEM]


def test_titles_and_columns() -> None:
    described = describe(testapp.Everything)
    by_name = fields(testapp.Everything)
    assert (described.title, described.db_table) == ("thing of every kind", "testapp_everything")
    assert by_name["char"].title == "short text"
    assert by_name["renamed"].column == "Odd Column"


def test_only_fields_without_null_default_or_blank_text_are_required() -> None:
    required = {name for name, field in fields(testapp.Everything).items() if field.required}
    assert required == {"char", "integer"}
    assert {name for name, field in fields(testapp.Token).items() if field.required} == {"country"}


def test_generated_columns_are_skipped_with_the_reason() -> None:
    assert describe(testapp.Everything).skipped == (("double", "computed by the database"),)


def test_unknown_types_are_skipped_with_the_reason() -> None:
    assert describe(testapp.Odd).skipped == (("strange", "type Unknown is not known"),)


@pytest.mark.parametrize(
    ("model", "kind", "pk_name"),
    [
        (testapp.Everything, Kind.INTEGER, ""),
        (testapp.Token, Kind.UUID, ""),
        (testapp.Country, Kind.TEXT, "code"),
        (testapp.Restaurant, Kind.INTEGER, "place_ptr"),
    ],
)
def test_primary_keys(model: type, kind: Kind, pk_name: str) -> None:
    described: ModelDescription = describe(model)
    assert (described.pk_kind, described.pk_name) == (kind, pk_name)
    key = fields(model)["id"]
    assert key.system
    assert key.type == FieldType(Kind.KEY)
    assert key.column == described.pk.column


def test_relations() -> None:
    place = fields(testapp.Place)
    assert place["parent"].type == FieldType(Kind.RELATION, null=True, target="testapp.Place")
    assert place["parent"].column == "parent_id"
    assert place["owner"].type == FieldType(Kind.USER, null=True)
    # A relation to a proxy refers to rows of the table behind it.
    beside = fields(testapp.Restaurant)["beside"]
    assert beside.type == FieldType(Kind.RELATION, null=True, target="testapp.Place")
    visit = fields(testapp.Visit)
    assert visit["token"].type == FieldType(Kind.RELATION, target="testapp.Token")
    assert visit["place"].required


def test_many_to_many_with_an_automatic_table() -> None:
    countries = fields(testapp.Place)["countries"]
    assert countries.type == FieldType(Kind.RELATIONS, target="testapp.Country")
    assert countries.column == ""
    assert countries.through is not None
    assert countries.through.table == "Odd Through"
    assert (countries.through.source_column, countries.through.target_column) == ("place_id", "country_id")
    near = fields(testapp.Place)["near"].through
    assert near is not None
    assert (near.source_column, near.target_column) == ("from_place_id", "to_place_id")


def test_what_is_not_offered_of_relations() -> None:
    assert dict(describe(testapp.Place).skipped) == {
        "fans": "refers to users",
        "visitors": "kept in testapp.Visit: use that table",
    }
    assert dict(describe(testapp.Token).skipped) == {
        "by_number": "refers to another column than the primary key"
    }
    assert dict(describe(testapp.Note).skipped) == {
        "content_type": "part of a generic relation",
        "object_id": "part of a generic relation",
    }


def test_a_child_table_has_its_own_columns_and_the_required_relation_to_its_parent() -> None:
    described = describe(testapp.Restaurant)
    assert described.db_table == "testapp_restaurant"
    assert [field.name for field in described.fields] == ["place_ptr", "stars", "beside", *SYSTEM]
    parent = fields(testapp.Restaurant)["place_ptr"]
    assert parent.type == FieldType(Kind.RELATION, target="testapp.Place")
    assert parent.required


def test_system_fields() -> None:
    client = fields(Client)
    assert client["id"].column == "id"
    assert client["time_added"].column == client["created_at"].column == "created_at"
    assert client["record_status"].type == FieldType(Kind.STATUS)
    assert client["creator"].type == FieldType(Kind.USER, null=True)
    assert client["record_status"].field is client["creator"].field is None
    country = fields(testapp.Country)["time_added"]
    assert (country.column, country.type) == ("", FieldType(Kind.DATETIME, null=True))


def test_a_model_field_with_the_name_of_a_system_field_takes_its_place() -> None:
    described = fields(testapp.OwnSystemFields)
    assert list(described) == ["creator", "time_added", "id", "record_status"]
    assert not described["creator"].system
    assert described["creator"].column == "creator_id"


# -- patterns -----------------------------------------------------------------------------------------------


def test_by_default_nothing_of_django_of_users_or_of_syncapp_is_offered() -> None:
    apps_offered = {label.partition(".")[0] for label in labels()}
    assert apps_offered == {"crm", "testapp"}
    assert apps.is_installed("django.contrib.auth")
    assert apps.is_installed("syncapp")


def test_proxies_composite_keys_and_unmanaged_models_are_not_offered() -> None:
    offered = labels("testapp.*")
    assert {"testapp.Place", "testapp.Restaurant", "testapp.Odd"} <= set(offered)
    assert not {"testapp.PlaceProxy", "testapp.TwoKeys", "testapp.View"} & set(offered)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("crm.Client",), ["crm.Client"]),
        (("CRM.client",), ["crm.Client"]),
        (("crm.*", "!crm.Tag", "!crm.Document"), ["crm.Client", "crm.Order", "crm.Payment", "crm.Invoice"]),
        (("crm.*", "!crm.*", "crm.Tag"), ["crm.Tag"]),
        (("!testapp.*", "!crm.[TDIP]*"), ["crm.Client", "crm.Order"]),
        (("testapp.View",), ["testapp.View"]),
        (("auth.User",), ["auth.User"]),
        (("auth.*",), ["auth.Permission", "auth.Group"]),
        (("*.User", "*.Session", "syncapp.*", "syncapp.Link"), []),
        (("nothing.*",), []),
    ],
)
def test_patterns(patterns: tuple[str, ...], expected: list[str]) -> None:
    assert labels(*patterns) == expected


@override_settings(AUTH_USER_MODEL="crm.Client")
def test_a_user_model_of_ones_own_is_not_offered_by_a_wildcard() -> None:
    assert "crm.Client" not in labels()
    assert "crm.Client" not in labels("crm.*")
    assert labels("crm.Client") == ["crm.Client"]


def test_users_are_found_by_the_model_that_the_settings_name() -> None:
    assert get_user_model()._meta.label == "auth.User"
    assert fields(Client)["manager"].type == FieldType(Kind.USER, null=True)
