"""Numbers that stay, and the values that the rest reads."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings

from syncapp.core.mapping import FieldType, Kind
from syncapp.models import Field, Instance, Link, LinkState, LinkTable, Mapping, Table
from syncapp.store import catalogue, numbering
from syncapp.store.base import LinkInfo
from syncapp.store.introspect import ModelDescription

Changed = Callable[[ModelDescription], ModelDescription]


def numbers() -> dict[str, tuple[int, int, bool]]:
    """Label of every field, retired ones too → number, slot, retired."""
    return {str(f): (f.number, f.slot, f.retired) for f in Field.objects.select_related("table")}


def version() -> int:
    return Instance.objects.get().config_version


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Changed], None]]:
    """Makes the models look different: ``change("crm.Client", function of its description)``."""
    real = numbering.descriptions

    def use(label: str, function: Changed) -> None:
        def descriptions(using: str = "default") -> list[ModelDescription]:
            return [function(item) if item.label == label else item for item in real(using)]

        monkeypatch.setattr(numbering, "descriptions", descriptions)
        monkeypatch.setattr(catalogue, "descriptions", descriptions)

    return use


def without(name: str) -> Changed:
    return lambda d: replace(d, fields=tuple(field for field in d.fields if field.name != name))


def renaming(old: str, new: str) -> Changed:
    return lambda d: replace(
        d, fields=tuple(replace(field, name=new) if field.name == old else field for field in d.fields)
    )


# -- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_migrating_gives_numbers_and_an_identity() -> None:
    instance = Instance.objects.get()
    assert (len(instance.instance), len(instance.scram_salt), instance.epoch) == (16, 16, 1)
    found = numbers()
    assert {"crm.Client.name", "crm.Client.tags", "crm.Client.id", "testapp.Everything.json"} <= found.keys()
    assert len({number for number, _, _ in found.values()}) == len(found)
    slots = sorted(slot for label, (_, slot, _) in found.items() if label.startswith("crm.Client."))
    assert slots == list(range(len(slots)))


@pytest.mark.django_db
def test_a_second_refresh_changes_nothing() -> None:
    before, was = numbers(), version()
    assert not catalogue.refresh()
    assert (numbers(), version()) == (before, was)


@pytest.mark.django_db
def test_a_new_field_gets_a_new_number_and_the_others_keep_theirs(change: Any) -> None:
    before, was = numbers(), version()
    change("crm.Client", renaming("phone", "mobile"))
    changes = catalogue.refresh()
    assert (changes.added, changes.retired) == (["crm.Client.mobile"], ["crm.Client.phone"])
    after = numbers()
    number, slot, _ = after.pop("crm.Client.mobile")
    assert number > max(n for n, _, _ in before.values())
    assert slot == max(s for label, (_, s, _) in before.items() if label.startswith("crm.Client.")) + 1
    assert after.pop("crm.Client.phone") == (*before.pop("crm.Client.phone")[:2], True)
    assert after == before
    assert version() > was


@pytest.mark.django_db
def test_a_field_that_comes_back_has_its_old_number(change: Any) -> None:
    before = numbers()
    change("crm.Client", without("phone"))
    catalogue.refresh()
    assert numbers()["crm.Client.phone"][2]
    change("crm.Client", lambda d: d)
    assert catalogue.refresh().returned == ["crm.Client.phone"]
    assert numbers() == before


@pytest.mark.django_db
def test_a_model_that_goes_and_comes_back_has_its_old_numbers() -> None:
    before, tables = numbers(), dict(Table.objects.values_list("label", "number"))
    with override_settings(SYNCAPP_TABLES=["crm.*", "!crm.Tag"]):
        changes = catalogue.refresh()
        assert "crm.Tag" in changes.retired
        assert Table.objects.get(label="crm.Tag").retired
        assert "crm.Tag" not in catalogue.tables()
        assert tables["crm.Tag"] not in catalogue.load_setup().tables
        # A relation to a table that is not on offer has no target.
        client = catalogue.bindings()[tables["crm.Client"]]
        assert client.by_name()["tags"].target == 0
    assert "crm.Tag" in catalogue.refresh().returned
    assert numbers() == before
    assert dict(Table.objects.values_list("label", "number")) == tables


@pytest.mark.django_db
def test_a_column_that_is_not_in_the_database_yet_gets_no_number(change: Any) -> None:
    def ahead(description: ModelDescription) -> ModelDescription:
        first = description.fields[0]
        return replace(description, fields=(*description.fields, replace(first, name="soon", column="soon")))

    change("crm.Client", ahead)
    assert not catalogue.refresh()
    assert "soon" not in catalogue.tables()["crm.Client"].fields


@pytest.mark.django_db
def test_a_table_that_is_not_in_the_database_yet_gets_no_number() -> None:
    with override_settings(SYNCAPP_TABLES=["crm.*", "testapp.View"]):
        catalogue.refresh()
    assert not Table.objects.filter(label="testapp.View").exists()


@pytest.mark.django_db
def test_a_field_that_takes_the_place_of_a_system_field_keeps_the_number(change: Any) -> None:
    before = numbers()["crm.Client.creator"]

    def own(d: ModelDescription) -> ModelDescription:
        fields = tuple(replace(f, system=False) if f.name == "creator" else f for f in d.fields)
        return replace(d, fields=fields)

    change("crm.Client", own)
    assert catalogue.refresh().changed == ["crm.Client.creator"]
    assert numbers()["crm.Client.creator"] == before
    assert not Field.objects.get(number=before[0]).system


@pytest.mark.django_db
def test_a_deleted_number_is_not_used_again() -> None:
    most = max(number for number, _, _ in numbers().values())
    Field.objects.all().delete()
    catalogue.refresh()
    assert min(number for number, _, _ in numbers().values()) > most


@pytest.mark.django_db(transaction=True)
def test_processes_that_start_together_agree() -> None:
    Table.objects.all().delete()
    Instance.objects.all().delete()

    def start(_: int) -> tuple[bytes, dict[str, tuple[int, int, bool]]]:
        try:
            catalogue.refresh()
            return bytes(Instance.objects.get().instance), numbers()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(start, range(4)))
    assert seen == [seen[0]] * 4
    assert seen[0][1] == numbers()


@pytest.mark.django_db
def test_a_version_that_was_rolled_back_does_not_return() -> None:
    seen = set()
    for _ in range(3):
        with transaction.atomic():
            seen.add(catalogue.bump("default"))
            transaction.set_rollback(True)
    assert len(seen) == 3


# -- bindings -----------------------------------------------------------------------------------------------


def table(label: str) -> int:
    return Table.objects.get(label=label).number


@pytest.mark.django_db
def test_bindings_say_where_things_are() -> None:
    client = catalogue.bindings()[table("crm.Client")]
    assert (client.quoted, client.pk_quoted, client.pk_kind) == ('"crm_client"', '"id"', Kind.INTEGER)
    assert client.pk_number == 0
    by_name = client.by_name()
    assert by_name["manager"].column == "manager_id"
    assert by_name["manager"].kind is Kind.USER
    assert by_name["created_at"].column == by_name["time_added"].column
    assert by_name["record_status"].column == ""
    assert by_name["record_status"].django_field is None
    assert client.by_slot()[by_name["phone"].slot] is by_name["phone"]
    through = by_name["tags"].through
    assert through is not None
    assert (through.table, through.source_column, through.target_column) == (
        "crm_client_tags",
        "client_id",
        "tag_id",
    )
    assert through.target == by_name["tags"].target == table("crm.Tag")
    order = catalogue.bindings()[table("crm.Order")].by_name()
    assert order["client"].target == client.number


@pytest.mark.django_db
def test_bindings_of_keys_that_are_fields_too() -> None:
    country = catalogue.bindings()[table("testapp.Country")]
    assert country.fields[country.pk_number].name == "code"
    restaurant = catalogue.bindings()[table("testapp.Restaurant")]
    parent = restaurant.fields[restaurant.pk_number]
    assert (parent.name, parent.column, parent.target) == (
        "place_ptr",
        "place_ptr_id",
        table("testapp.Place"),
    )


# -- the setup ----------------------------------------------------------------------------------------------


def field(label: str) -> Field:
    model, _, name = label.rpartition(".")
    return Field.objects.get(table__label=model, name=name)


@pytest.fixture
def link(db: None) -> Link:
    link = Link.objects.create(name="Office", mode="passive", code="A" * 26, log=True)
    LinkState.objects.create(link=link)
    return link


def test_the_setup_of_a_link(link: Link) -> None:
    for label, direction in {
        "crm.Client.name": "both",
        "crm.Client.phone": "upload",
        "crm.Client.email": "download",
        "crm.Client.note": "off",
        "crm.Order.client": "both",
    }.items():
        Mapping.objects.create(link=link, field=field(label), direction=direction)
    LinkTable.objects.create(link=link, table_id=table("crm.Client"), match_by=["tax_id", "name"])
    catalogue.bump("default")
    setup = catalogue.load_setup()
    tax_id, name = field("crm.Client.tax_id").number, field("crm.Client.name").number
    phone, email = field("crm.Client.phone").number, field("crm.Client.email").number
    order = field("crm.Order.client").number
    assert setup.version == version()
    assert setup.captured == {name, phone, email, order, tax_id}
    assert setup.logged == {link.pk: {name, phone, order}}
    assert setup.links == {
        link.pk: LinkInfo(link.pk, "Office", True, {table("crm.Client"): (tax_id, name)}, {order: "hold"})
    }
    info = setup.tables[table("crm.Client")]
    assert info.fields[name].type == FieldType(Kind.TEXT, length=200)
    assert (info.fields[name].required, info.fields[phone].required) == (True, False)
    assert setup.tables[table("crm.Order")].fields[order].target == info.number


def test_a_setup_is_kept_until_the_configuration_changes(link: Link, django_assert_num_queries: Any) -> None:
    first = catalogue.load_setup()
    catalogue.bindings()
    with django_assert_num_queries(2):
        assert catalogue.load_setup() is first
        catalogue.bindings()
    Link.objects.filter(pk=link.pk).update(log=False)
    assert catalogue.load_setup() is first
    catalogue.bump("default")
    assert catalogue.load_setup().links[link.pk].log is False


def test_another_identity_is_another_setup(link: Link) -> None:
    first = catalogue.load_setup()
    Instance.objects.update(instance=b"another identity")
    assert catalogue.load_setup() is not first


def test_a_match_rule_with_a_field_that_is_gone_counts_for_nothing(link: Link, change: Any) -> None:
    LinkTable.objects.create(link=link, table_id=table("crm.Client"), match_by=["tax_id", "name"])
    change("crm.Client", without("tax_id"))
    catalogue.refresh()
    assert catalogue.load_setup().links[link.pk].match_by == {}


def test_mappings_of_fields_that_are_gone_are_not_captured(link: Link, change: Any) -> None:
    phone = field("crm.Client.phone")
    Mapping.objects.create(link=link, field=phone, direction="both")
    catalogue.bump("default")
    assert phone.number in catalogue.load_setup().captured
    change("crm.Client", without("phone"))
    catalogue.refresh()
    assert catalogue.load_setup().captured == frozenset()


# -- what the peer is told ----------------------------------------------------------------------------------


def test_everything_on_offer_is_announced_with_its_flow(link: Link) -> None:
    rows = {
        "crm.Client.name": {"direction": "both"},
        "crm.Client.phone": {"direction": "upload", "peer_number": 17},
        "crm.Client.note": {"direction": "download", "peer_name": "shop.Buyer.text", "lossy": True},
        "crm.Client.email": {"direction": "off", "peer_number": 5},
    }
    for label, values in rows.items():
        Mapping.objects.create(link=link, field=field(label), **values)
    announced = {t.label: t for t in catalogue.link_catalogue(link.pk)}
    assert set(announced) == set(catalogue.tables())
    client = {f.name: f for f in announced["crm.Client"].fields}
    assert (client["name"].sends, client["name"].receives, client["name"].peer) == (True, True, None)
    assert (client["phone"].sends, client["phone"].receives, client["phone"].peer) == (True, False, 17)
    assert (client["note"].sends, client["note"].receives) == (False, True)
    assert (client["note"].peer, client["note"].lossy) == ("shop.Buyer.text", True)
    assert (client["email"].sends, client["email"].receives) == (False, False)
    assert (client["address"].sends, client["address"].receives) == (False, False)
    assert client["record_status"].system
    assert client["name"].title == "name"
    assert client["name"].number == field("crm.Client.name").number
