"""Migrations while fields are mapped: triggers come back, and what was written meanwhile is found or counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from django.apps import apps
from django.db import connection, migrations
from django.db import models as django_models
from django.db.migrations.state import ProjectState

from project.crm.models import Client, Tag
from syncapp import models
from syncapp.apps import _after_migrate, _before_migrate
from syncapp.store import catalogue, migrating, triggers
from tests.store.linked import Linked, journal, link_fields

pytestmark = pytest.mark.django_db(transaction=True)

Operation = migrations.operations.base.Operation


@pytest.fixture
def linked() -> Iterator[Linked]:
    for name in ("a", "b"):
        Client.objects.create(name=name)
    yield link_fields({"crm.Client": ["name", "phone", "tags"], "crm.Tag": ["name"]})
    triggers.remove_all()


def migrate(*operations: Operation, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Run operations as ``migrate`` does, and undo them (outside of the signals, so that the models fit again)."""
    before = ProjectState.from_apps(apps)
    migration = migrations.Migration("probe", "crm")
    migration.operations = list(operations)
    after = before.clone()
    migration.mutate_state(after, preserve=False)
    _before_migrate(using="default", plan=[(migration, False)])
    with connection.schema_editor(atomic=True) as editor:
        migration.apply(before.clone(), editor)
    with connection.schema_editor(atomic=True) as editor:
        migration.unapply(before.clone(), editor)
    meanwhile()
    _after_migrate(using="default")


WIDER = migrations.AlterField("Client", "name", django_models.CharField(max_length=250, default=""))
OPERATIONS = {
    "nothing of ours": [],
    "AddField": [migrations.AddField("Client", "extra", django_models.CharField(max_length=9, default="x"))],
    "AlterField": [WIDER],
    "RemoveField": [migrations.RemoveField("Client", "note")],
    "RenameField": [migrations.RenameField("Client", "phone", "telephone")],
    "CreateModel": [migrations.CreateModel("Extra", [("id", django_models.BigAutoField(primary_key=True))])],
    "RenameModel": [migrations.RenameModel("Tag", "Label")],
    "AlterModelTable": [migrations.AlterModelTable("Tag", "crm_label")],
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_triggers_are_back_after(linked: Linked, name: str) -> None:
    assert triggers.verify() == []
    migrate(*OPERATIONS[name])
    assert triggers.verify() == []
    Client.objects.filter(name="a").update(phone="1")
    Tag.objects.create(name="t")
    assert [(op, fields) for op, _, fields in journal(linked)] == [("UPDATE", ["phone"]), ("INSERT", [])]


def test_rows_that_are_added_meanwhile_are_found(linked: Linked) -> None:
    """By the migration itself, or by somebody else."""
    added: list[str] = []
    migrate(WIDER, meanwhile=lambda: added.append(str(Client.objects.create(name="c").pk)))
    assert [(op, pk) for op, pk, _ in journal(linked)] == [("INSERT", added[0])]
    migrate(WIDER)
    assert journal(linked) == [], "once"


def test_rows_that_a_peer_brought_meanwhile_are_known(linked: Linked) -> None:
    def bring() -> None:
        pk = Client.objects.create(name="c").pk
        table = models.Table.objects.get(label="crm.Client")
        models.Record.objects.create(table=table, pk_text=str(pk), uid=b"u" * 16, seq=1)

    migrate(WIDER, meanwhile=bring)
    assert journal(linked) == []


def test_rows_that_are_removed_meanwhile_are_counted(
    linked: Linked, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        migrate(WIDER, meanwhile=lambda: Client.objects.filter(name="a").delete())
    assert "crm.Client: 1 rows were removed by a migration" in caplog.text


def test_the_first_rows_of_an_empty_table_are_found(linked: Linked) -> None:
    migrate(WIDER, meanwhile=lambda: Tag.objects.create(name="first"))
    assert [op for op, _, _ in journal(linked)] == ["INSERT"]


def test_a_table_that_comes_back_empty_takes_no_old_record_for_a_new_row(linked: Linked) -> None:
    table = models.Table.objects.get(label="crm.Tag")
    models.Record.objects.create(table=table, pk_text="1", uid=b"u" * 16, seq=1)
    dead = models.Record.objects.create(table=table, pk_text="2", uid=b"d" * 16, seq=2, alive=False)
    kept = models.Record.objects.create(
        table=models.Table.objects.get(label="crm.Client"), pk_text="1", uid=b"k" * 16, seq=3
    )
    models.Table.objects.filter(label="crm.Tag").update(retired=True)
    catalogue.bump("default")
    _after_migrate(using="default")
    assert set(models.Record.objects.values_list("pk", flat=True)) == {dead.pk, kept.pk}


def test_a_table_that_was_only_not_on_offer_keeps_its_records(linked: Linked) -> None:
    tag = Tag.objects.create(name="still here")
    table = models.Table.objects.get(label="crm.Tag")
    models.Record.objects.create(table=table, pk_text=str(tag.pk), uid=b"u" * 16, seq=1)
    models.Table.objects.filter(label="crm.Tag").update(retired=True)
    catalogue.bump("default")
    _after_migrate(using="default")
    assert models.Record.objects.count() == 1


def test_a_table_that_is_about_to_be_renamed_stops_no_migration(
    linked: Linked, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program's models know its new name before the database does."""
    monkeypatch.setattr(Tag._meta, "db_table", "crm_label")
    migrating.mark("default")
    monkeypatch.undo()
    assert "crm.Tag: rows that this migration adds will not be noticed" in caplog.text
    Client.objects.create(name="c")
    assert "crm.Client" in migrating.find("default")


def test_our_own_migrations_are_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our tables may be older than our models then."""
    monkeypatch.setattr(migrating, "mark", lambda using: pytest.fail("too early"))
    _before_migrate(using="default", plan=[(migrations.Migration("0002", "syncapp"), False)])
    triggers.install_all()
