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


def on_postgres() -> bool:
    return connection.vendor == "postgresql"


def ours() -> set[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    if on_postgres():
        query = "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal"
    return {name for (name,) in execute(query)}  # type: ignore[misc]


def sql_of(name: str) -> str:
    query = "SELECT sql FROM sqlite_master WHERE name = %s"
    if on_postgres():
        query = "SELECT pg_get_functiondef(tgfoid) FROM pg_trigger WHERE tgname = %s"
    return str(execute(query, [name])[0][0])


def create(name: str, table: str = "crm_order") -> None:
    """A trigger that does nothing."""
    if on_postgres():
        execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$", None
        )
        execute(f"CREATE TRIGGER {name} AFTER UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")
    else:
        execute(f"CREATE TRIGGER {name} AFTER UPDATE ON {table} BEGIN SELECT 1; END")


def drop(name: str, table: str) -> None:
    execute(f'DROP TRIGGER "{name}" ON {table}' if on_postgres() else f'DROP TRIGGER "{name}"')


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
    changed = ("update",) if on_postgres() else ("clash", "look", "update")
    assert triggers.install_all() == [f"syncapp_{number}_{op}" for op in changed]


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
    drop(name, "crm_tag")
    assert triggers.verify() == [Missing("crm.Tag", name)]
    assert triggers.install_all() == [name]


def test_verify_notices_an_edited_trigger(linked: Linked) -> None:
    name = f"syncapp_{linked.tables['crm.Tag']}_update"
    edited = sql_of(name).replace("syncapp_journal", "syncapp_journal /* odd */")
    if not on_postgres():
        drop(name, "crm_tag")
    execute(edited, None)
    assert triggers.verify() == [Outdated("crm.Tag", name)]
    assert triggers.install_all() == [name]
    assert "odd" not in sql_of(name)
    assert triggers.verify() == []


@pytest.mark.postgres
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE crm_tag DISABLE TRIGGER {name}",
        "ALTER TABLE crm_tag ENABLE TRIGGER {name}",
        "ALTER FUNCTION {name}() SECURITY INVOKER",
        "ALTER FUNCTION {name}() RESET search_path",
        (
            "CREATE OR REPLACE TRIGGER {name} AFTER DELETE ON crm_tag REFERENCING OLD TABLE AS syncapp_old "
            "FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        ),
        "COMMENT ON FUNCTION {name}() IS NULL",
    ],
)
def test_verify_notices_what_was_changed_around_a_trigger(linked: Linked, change: str) -> None:
    name = f"syncapp_{linked.tables['crm.Tag']}_delete"
    execute(change.format(name=name))
    assert triggers.verify() == [Outdated("crm.Tag", name)]
    assert triggers.install_all() == [name]
    assert triggers.verify() == []
    Tag.objects.create(name="t").delete()
    assert [op for op, _, _ in journal(linked)] == ["INSERT", "DELETE"]


@pytest.mark.postgres
def test_another_mapping_leaves_the_tables_alone(linked: Linked) -> None:
    """A new trigger waits for all who write to its table; a new function for nobody."""
    before = execute("SELECT oid, xmin::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY oid")
    phone = models.Field.objects.get(pk=linked.numbers["crm.Client.phone"])
    models.Mapping.objects.create(link_id=linked.link, field=phone, direction="upload")
    catalogue.bump("default")
    assert triggers.install_all()
    assert execute("SELECT oid, xmin::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY oid") == before
    Client.objects.create(name="A")
    Client.objects.update(phone="1")
    assert [fields for _, _, fields in journal(linked)] == [[], ["phone"]]


def test_verify_notices_a_renamed_column(linked: Linked) -> None:
    execute("ALTER TABLE crm_tag RENAME COLUMN name TO word")
    faults = triggers.verify()
    if on_postgres():
        # A function that speaks of the old name would fail, and the write with it.
        triggers.install_all()
        execute("INSERT INTO crm_tag (word) VALUES ('t')")
        execute("UPDATE crm_tag SET word = 'u'")
    execute("ALTER TABLE crm_tag RENAME COLUMN word TO name")
    if on_postgres():
        assert [fault.name for fault in faults] == [f"syncapp_{linked.tables['crm.Tag']}_update"]
        triggers.install_all()
    else:
        assert {fault.label for fault in faults} == {"crm.Tag"}
    assert triggers.verify() == []


def test_verify_and_install_clear_what_nothing_asks_for(linked: Linked) -> None:
    create("syncapp_99_update")
    assert triggers.verify() == [Outdated("", "syncapp_99_update")]
    triggers.install_all()
    assert "syncapp_99_update" not in ours()


def test_other_triggers_are_left_alone(linked: Linked) -> None:
    create("syncapp_own")
    create("audit")
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


@pytest.mark.sqlite
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
