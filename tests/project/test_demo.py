"""The demo's two programs: their places, ports and configuration."""

import tomllib

import pytest
from django.apps import apps

from project.demo import instances as demo
from project.demo.instances import DemoError, instances


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
            if name not in ("time_added", "record_status"):
                model._meta.get_field(name)
