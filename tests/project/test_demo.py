"""The demo's two programs: their places, ports and configuration."""

import tomllib

import pytest
from django.apps import apps

from project.demo import instances as demo
from project.demo.instances import DemoError, instances
from syncapp.core.mapping import agree
from syncapp.models import Link
from syncapp.store import catalogue, config

SYSTEM = {"time_added", "record_status"}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DEMO_DIR", tmp_path)


def test_the_usual_ports_and_others() -> None:
    assert [instance.url for instance in instances("")] == ["http://127.0.0.1:8000", "http://127.0.0.1:8001"]
    assert [instance.port for instance in instances("9000,9001")] == [9000, 9001]


@pytest.mark.parametrize("ports", ["9000", "a,b", "9000,9000", "0,9000", "9000,70000", "1,2,3"])
def test_wrong_ports_are_refused(ports: str) -> None:
    with pytest.raises(DemoError, match="two different ports"):
        instances(ports)


def test_programs_share_the_link_s_password_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://the/real/one")
    head, branch = (instance.environment() for instance in instances(""))
    assert head["LINK_PASSWORD"] == branch["LINK_PASSWORD"]
    for name in ("SECRET_KEY", "DATABASE_URL", "MEDIA_ROOT", "SYNCAPP_INSTANCE", "SYNCAPP_PUBLIC_URL"):
        assert head[name] != branch[name]
    assert head["DATABASE_URL"].startswith("sqlite:")
    assert instances("")[0].environment() == head, "secrets are kept"


def test_the_branch_dials_where_the_head_office_is() -> None:
    head, branch = instances("9000,9001")
    branch.folder.mkdir()
    assert tomllib.loads(branch.write_link(head).read_text())["link"][0]["address"] == "http://127.0.0.1:9000"


def test_both_sides_map_the_same_fields_and_all_of_them_exist() -> None:
    head, branch = (
        tomllib.loads((demo.CONFIG_DIR / f"{instance.name}.toml").read_text())["link"][0]
        for instance in instances("")
    )
    assert head["table"] == branch["table"]
    assert (head["name"], head["mode"], branch["name"], branch["mode"]) == (
        "Branch",
        "passive",
        "Head office",
        "active",
    )
    for table in head["table"]:
        model = apps.get_model(table["table"])
        ways = table["fields"]
        assert {*ways.values()} == {"off"} or {"time_added", "record_status"} <= ways.keys(), (
            "what is deleted here is deleted there"
        )
        for name in [*table["fields"], *table.get("match_by", [])]:
            if name not in SYSTEM:
                model._meta.get_field(name)


@pytest.mark.django_db
def test_everything_flows_both_ways_and_deletions_with_it() -> None:
    """As both sides map the same, one program's catalogue stands for both."""
    head, _ = instances("")
    text = (demo.CONFIG_DIR / f"{head.name}.toml").read_text()
    changes = config.apply(text, env={"LINK_PASSWORD": "x"})
    assert not [change for change in changes if "not exchanged" in change]
    offers = catalogue.link_catalogue(Link.objects.get().pk)
    agreement = agree(offers, offers)
    assert agreement.suspended == []
    mapped = [table for table in tomllib.loads(text)["link"][0]["table"] if SYSTEM & table["fields"].keys()]
    statuses = {
        table.label: field.number
        for table in offers
        for field in table.fields
        if field.name == "record_status"
    }
    assert {table["table"] for table in mapped} == {
        "crm.Tag",
        "crm.Client",
        "crm.Order",
        "crm.Payment",
        "crm.Invoice",
    }
    for table in mapped:
        number = next(offer.number for offer in offers if offer.label == table["table"])
        flow = agreement.tables[number]
        assert statuses[table["table"]] in flow.out
        assert statuses[table["table"]] in flow.into.values()
