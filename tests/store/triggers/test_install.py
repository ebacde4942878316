"""Installing, verifying and removing triggers, and their life through migrations."""

from collections.abc import Iterator

import pytest
from django.db import connection, migrations, transaction
from django.db import models as django_models
from django.db.migrations.state import ProjectState

from project.crm.models import Client, Tag
from syncapp import models
from syncapp.store import catalogue, triggers
from syncapp.store.triggers import Missing, Outdated, install
from tests.store.linked import Linked, drain, execute, journal, link_fields

pytestmark = pytest.mark.django_db


@pytest.fixture
def linked() -> Linked:
    return link_fields({"crm.Client": ["name", "tags"], "crm.Tag": ["name"]})


def ours() -> set[str]:
    return {name for (name,) in execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}  # type: ignore[misc]


def sql_of(name: str) -> str:
    return str(execute("SELECT sql FROM sqlite_master WHERE name = %s", [name])[0][0])


def test_installs_for_mapped_tables_only(linked: Linked) -> None:
    prefixes = {name.split("_")[1] for name in ours()}
    assert prefixes == {str(linked.tables["crm.Client"]), str(linked.tables["crm.Tag"])}
    assert triggers.verify() == []


def test_a_second_run_touches_nothing(linked: Linked) -> None:
    assert triggers.install_all() == []


def test_only_what_changed_is_touched(linked: Linked) -> None:
    phone = models.Field.objects.get(pk=linked.numbers["crm.Client.phone"])
    models.Mapping.objects.create(link_id=linked.link, field=phone, direction="upload")
    catalogue.bump("default")
    number = linked.tables["crm.Client"]
    assert triggers.install_all() == [f"syncapp_{number}_{op}" for op in ("clash", "look", "update")]


def test_fields_switched_off_are_captured_no_more(linked: Linked) -> None:
    models.Mapping.objects.filter(field_id=linked.numbers["crm.Tag.name"]).update(direction="off")
    catalogue.bump("default")
    triggers.install_all()
    Tag.objects.create(name="t")
    assert journal(linked) == []
    assert triggers.verify() == []


def test_match_fields_are_captured(linked: Linked) -> None:
    models.LinkTable.objects.filter(table__label="crm.Client").update(match_by=["tax_id"])
    catalogue.bump("default")
    triggers.install_all()
    Client.objects.create(name="A")
    Client.objects.update(tax_id="7")
    assert [fields for _, _, fields in journal(linked)] == [[], ["tax_id"]]


def test_verify_names_what_is_missing(linked: Linked) -> None:
    name = f"syncapp_{linked.tables['crm.Tag']}_delete"
    execute(f'DROP TRIGGER "{name}"')
    assert triggers.verify() == [Missing("crm.Tag", name)]
    assert triggers.install_all() == [name]


def test_verify_notices_an_edited_trigger(linked: Linked) -> None:
    name = f"syncapp_{linked.tables['crm.Tag']}_update"
    edited = sql_of(name).replace("COLLATE BINARY", "COLLATE NOCASE")
    execute(f'DROP TRIGGER "{name}"')
    execute(edited)
    assert triggers.verify() == [Outdated("crm.Tag", name)]
    assert triggers.install_all() == [name]
    assert "NOCASE" not in sql_of(name)


def test_verify_notices_a_renamed_column(linked: Linked) -> None:
    execute("ALTER TABLE crm_tag RENAME COLUMN name TO word")
    faults = triggers.verify()
    execute("ALTER TABLE crm_tag RENAME COLUMN word TO name")
    assert {fault.label for fault in faults} == {"crm.Tag"}
    assert triggers.verify() == []


def test_verify_and_install_clear_what_nothing_asks_for(linked: Linked) -> None:
    execute("CREATE TRIGGER syncapp_99_update AFTER UPDATE ON crm_order BEGIN SELECT 1; END")
    assert triggers.verify() == [Outdated("", "syncapp_99_update")]
    triggers.install_all()
    assert "syncapp_99_update" not in ours()


def test_other_triggers_are_left_alone(linked: Linked) -> None:
    execute("CREATE TRIGGER syncapp_own AFTER UPDATE ON crm_order BEGIN SELECT 1; END")
    execute("CREATE TRIGGER audit AFTER UPDATE ON crm_order BEGIN SELECT 1; END")
    triggers.remove_all()
    assert ours() == {"syncapp_own", "audit"}


def test_remove_all(linked: Linked) -> None:
    removed = triggers.remove_all()
    assert removed
    assert ours() == set()
    assert {fault.name for fault in triggers.verify()} == set(removed)


def test_installation_rolls_back_with_the_callers_transaction(linked: Linked) -> None:
    before = ours()
    with transaction.atomic():
        assert triggers.remove_all()
        transaction.set_rollback(True)
    assert ours() == before


def test_after_migrate_waits_for_our_own_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.introspection, "table_names", lambda cursor=None: ["crm_client"])
    monkeypatch.setattr(install, "install_all", lambda using: pytest.fail("too early"))
    triggers.after_migrate()


# -- migrations ---------------------------------------------------------------------------------------------


@pytest.fixture
def migrated() -> Iterator[Linked]:
    yield link_fields({"crm.Client": ["name", "phone"], "crm.Tag": ["name"]})
    triggers.remove_all()


def tag_state() -> ProjectState:
    from django.apps import apps

    return ProjectState.from_apps(apps)


def run(*operations: migrations.operations.base.Operation, app: str = "crm") -> None:
    """Run operations as a migration would, and undo them on the way back."""
    before = tag_state()
    migration = migrations.Migration("probe", app)
    migration.operations = list(operations)
    after = before.clone()
    migration.mutate_state(after, preserve=False)
    with connection.schema_editor(atomic=True) as editor:
        migration.apply(before.clone(), editor)
    with connection.schema_editor(atomic=True) as editor:
        migration.unapply(before.clone(), editor)


@pytest.mark.django_db(transaction=True)
def test_a_rebuilt_table_loses_its_triggers_and_gets_them_back(migrated: Linked) -> None:
    wider = migrations.AlterField(
        "Tag", "name", django_models.CharField(max_length=99, unique=True, default="x")
    )
    run(wider)
    missing = {fault.label for fault in triggers.verify()}
    assert missing == {"crm.Tag"}, "Django rebuilds the table, which drops its triggers"
    triggers.before_migrate()
    run(wider)
    triggers.after_migrate()
    assert triggers.verify() == []
    Tag.objects.create(name="t")
    Tag.objects.update(name="u")
    assert [op for op, _, _ in journal(migrated)] == ["INSERT", "UPDATE"]


@pytest.mark.django_db(transaction=True)
def test_our_own_journal_can_be_altered(migrated: Linked) -> None:
    triggers.before_migrate()
    assert ours() == set()
    run(migrations.AlterField("Journal", "at", django_models.BigIntegerField(default=0)), app="syncapp")
    triggers.after_migrate()
    Client.objects.create(name="A")
    assert len(drain()) == 1


@pytest.mark.django_db(transaction=True)
def test_a_mapped_column_can_be_removed(migrated: Linked) -> None:
    triggers.before_migrate()
    run(migrations.RemoveField("Client", "phone"))
    triggers.after_migrate()
    Client.objects.create(name="A")
    Client.objects.update(phone="1")
    assert [fields for _, _, fields in journal(migrated)] == [[], ["phone"]]
