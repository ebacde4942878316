"""The compiled text of triggers, exactly, and what each kind of write leaves in the journal."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction

from project.crm.models import Client, Invoice, Order, Tag
from syncapp import models
from syncapp.core.changes import Op
from syncapp.core.mapping import Kind
from syncapp.store import catalogue
from syncapp.store.bindings import FieldBinding, TableBinding
from syncapp.store.triggers import base, sqlite
from tests.store.linked import Linked, drain, execute, journal, link_fields

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite]

NOW = "CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER) * 1000"
INTO = 'INSERT INTO "syncapp_journal" ("table_no", "pk_text", "op", "mask", "at", "before")'


def compiled(label: str, fields: list[str], log: list[str] | None = None) -> dict[str, str]:
    """name → text, with the numbers that this database gave replaced by T and by the fields' names."""
    catalogue.refresh()
    binding = next(b for b in catalogue.bindings().values() if b.label == label)
    by_name = binding.by_name()
    logged = [by_name[name].number for name in log or []]
    found = sqlite.compile_table(binding, [by_name[name].number for name in fields], logged)
    for trigger in found:
        assert f"BEGIN /* syncapp:{trigger.hash} */" in trigger.sql
    texts = {}
    for trigger in found:
        text = trigger.sql.replace(f" /* syncapp:{trigger.hash} */", "")
        number = f"syncapp_{binding.number}_"
        text = text.replace(number, "syncapp_T_").replace(f"({binding.number}, ", "(T, ")
        texts[trigger.name.replace(number, "")] = text.replace(f"SELECT {binding.number}, ", "SELECT T, ")
    return texts


# -- the text -----------------------------------------------------------------------------------------------


def test_update_trigger_text() -> None:
    assert compiled("crm.Tag", ["name"])["update"] == (
        'CREATE TRIGGER "syncapp_T_update" AFTER UPDATE OF "name" ON "crm_tag"\n'
        'FOR EACH ROW WHEN NOT EXISTS (SELECT 1 FROM "syncapp_applying") AND OLD."id" IS NEW."id" '
        'AND (OLD."name" IS NOT NEW."name" COLLATE BINARY)\n'
        "BEGIN\n"
        f'  {INTO} VALUES (T, CAST(NEW."id" AS TEXT), 0, '
        f'((OLD."name" IS NOT NEW."name" COLLATE BINARY) << 0), {NOW}, NULL);\n'
        "END"
    )


def test_insert_and_delete_trigger_text() -> None:
    texts = compiled("crm.Tag", ["name"])
    when = 'FOR EACH ROW WHEN NOT EXISTS (SELECT 1 FROM "syncapp_applying")\nBEGIN\n'
    assert texts["insert"] == (
        f'CREATE TRIGGER "syncapp_T_insert" AFTER INSERT ON "crm_tag"\n{when}'
        f"  {INTO} VALUES (T, CAST(NEW.\"id\" AS TEXT), 1, '0', {NOW}, NULL);\nEND"
    )
    assert texts["delete"] == (
        f'CREATE TRIGGER "syncapp_T_delete" AFTER DELETE ON "crm_tag"\n{when}'
        f"  {INTO} VALUES (T, CAST(OLD.\"id\" AS TEXT), 2, '0', {NOW}, NULL);\nEND"
    )


def test_look_trigger_text() -> None:
    assert compiled("crm.Tag", ["name"])["look"] == (
        'CREATE TRIGGER "syncapp_T_look" BEFORE INSERT ON "crm_tag"\n'
        'FOR EACH ROW WHEN NOT EXISTS (SELECT 1 FROM "syncapp_applying")\nBEGIN\n'
        f'  {INTO} SELECT T, CAST(t."id" AS TEXT), 3, ((t."name" IS NOT NEW."name" COLLATE BINARY) << 0), '
        f'{NOW}, NULL FROM "crm_tag" AS t WHERE t."id" = NEW."id";\n'
        f'  {INTO} SELECT T, CAST(t."id" AS TEXT), 3, NULL, {NOW}, NULL FROM "crm_tag" AS t '
        'WHERE t."name" = NEW."name" AND t."id" IS NOT NEW."id" COLLATE BINARY;\nEND'
    )


def test_through_trigger_text() -> None:
    texts = compiled("crm.Client", ["tags"])
    name = next(name for name in texts if name.endswith("_insert"))
    mask = base.encode_mask([catalogue.tables()["crm.Client"].fields["tags"].slot])
    assert texts[name] == (
        f'CREATE TRIGGER "syncapp_T_{name}" AFTER INSERT ON "crm_client_tags"\n'
        'FOR EACH ROW WHEN NOT EXISTS (SELECT 1 FROM "syncapp_applying")\nBEGIN\n'
        f"  {INTO} VALUES (T, CAST(NEW.\"client_id\" AS TEXT), 0, '{mask}', {NOW}, NULL);\nEND"
    )


def test_no_triggers_without_captured_fields() -> None:
    assert compiled("crm.Tag", []) == {}


def test_status_alone_captures_rows_but_no_updates() -> None:
    assert set(compiled("crm.Tag", ["record_status"])) == {"insert", "delete", "move", "look", "clash"}


def test_hash_follows_the_text() -> None:
    catalogue.refresh()
    binding = next(b for b in catalogue.bindings().values() if b.label == "crm.Client")
    by_name = binding.by_name()
    name, phone = by_name["name"].number, by_name["phone"].number

    def hashes(*captured: int) -> dict[str, str]:
        return {t.name.rpartition("_")[2]: t.hash for t in sqlite.compile_table(binding, captured)}

    assert hashes(name) == hashes(name)
    assert hashes(name)["insert"] == hashes(name, phone)["insert"]
    assert hashes(name)["update"] != hashes(name, phone)["update"]


@pytest.mark.parametrize("slots", [[], [0], [3, 7], [59], [60], [0, 59, 60, 119, 120, 200]])
def test_masks_come_back(slots: list[int]) -> None:
    assert list(base.decode_mask(base.encode_mask(slots))) == slots


def test_empty_masks() -> None:
    assert base.decode_mask(None) == base.decode_mask("0") == base.decode_mask("0:0") == ()


# -- every writer -------------------------------------------------------------------------------------------


def test_orm_save_names_the_changed_fields_only(linked: Linked) -> None:
    client = Client.objects.create(name="Ann", phone="1")
    client.name, client.address = "Anna", "not mapped"
    client.save()
    assert journal(linked) == [
        ("INSERT", str(client.pk), []),
        ("UPDATE", str(client.pk), ["name"]),
    ]


def test_updates_that_change_nothing_write_nothing(linked: Linked) -> None:
    client = Client.objects.create(name="Ann")
    drain()
    client.save()
    Client.objects.update(name="Ann", note="not mapped")
    assert journal(linked) == []


def test_bulk_writes(linked: Linked) -> None:
    clients = Client.objects.bulk_create([Client(name="A"), Client(name="B")])
    for client in clients:
        client.phone = "7"
    Client.objects.bulk_update(clients, ["phone", "name"])
    Client.objects.filter(name="A").update(name="C", phone="8")
    a, b = (str(client.pk) for client in clients)
    assert journal(linked) == [
        ("INSERT", a, []),
        ("INSERT", b, []),
        ("UPDATE", a, ["phone"]),
        ("UPDATE", b, ["phone"]),
        ("UPDATE", a, ["name", "phone"]),
    ]


def test_null_to_value_and_back(linked: Linked) -> None:
    order = Order.objects.create(number="1", client=Client.objects.create(name="A"))
    drain()
    execute("UPDATE crm_order SET amount = amount + 1")
    execute("UPDATE crm_order SET amount = 1.0")  # 1 and 1.0 are one value to SQLite
    assert journal(linked) == [("UPDATE", str(order.pk), ["amount"])]


def test_replace_by_key_is_an_update_of_what_differs(linked: Linked) -> None:
    tag = Tag.objects.create(name="old")
    drain()
    execute("INSERT OR REPLACE INTO crm_tag (id, name) VALUES (%s, 'new')", [tag.pk])
    execute("REPLACE INTO crm_tag (id, name) VALUES (%s, 'new')", [tag.pk])
    assert journal(linked) == [("UPDATE", str(tag.pk), ["name"]), ("UPDATE", str(tag.pk), [])]


def test_replace_by_unique_column_names_the_row_that_vanished(linked: Linked) -> None:
    gone = Tag.objects.create(name="one")
    drain()
    execute("INSERT OR REPLACE INTO crm_tag (id, name) VALUES (77, 'one')")
    assert not Tag.objects.filter(pk=gone.pk).exists()
    assert journal(linked) == [("LOOK", str(gone.pk), []), ("INSERT", "77", [])]


def test_replaced_rows_key_used_again_is_a_new_row(linked: Linked) -> None:
    gone = Tag.objects.create(name="one")
    drain()
    execute("INSERT OR REPLACE INTO crm_tag (id, name) VALUES (77, 'one')")
    execute("INSERT INTO crm_tag (id, name) VALUES (%s, 'other')", [gone.pk])
    assert journal(linked) == [("INSERT", "77", []), ("INSERT", str(gone.pk), [])]


def test_replace_with_recursive_triggers(linked: Linked) -> None:
    tag = Tag.objects.create(name="old")
    drain()
    execute("PRAGMA recursive_triggers = ON")
    try:
        execute("INSERT OR REPLACE INTO crm_tag (id, name) VALUES (%s, 'new')", [tag.pk])
    finally:
        execute("PRAGMA recursive_triggers = OFF")
    assert journal(linked) == [("DELETE", str(tag.pk), []), ("INSERT", str(tag.pk), [])]


def test_update_or_replace_names_the_row_that_vanished(linked: Linked) -> None:
    stays, goes = Tag.objects.create(name="a"), Tag.objects.create(name="b")
    drain()
    execute("UPDATE OR REPLACE crm_tag SET name = 'b' WHERE id = %s", [stays.pk])
    assert not Tag.objects.filter(pk=goes.pk).exists()
    assert journal(linked) == [("LOOK", str(goes.pk), []), ("UPDATE", str(stays.pk), ["name"])]


def test_upsert_names_only_what_it_changed(linked: Linked) -> None:
    client = Client.objects.create(name="A")
    Invoice.objects.create(number="1", client=client, amount=5, issued_on="2026-01-01")
    invoice = Invoice.objects.get()
    drain()
    execute(
        "INSERT INTO crm_invoice (number, client_id, amount, issued_on) VALUES ('1', %s, 9, '2026-02-02') "
        "ON CONFLICT (number) DO UPDATE SET amount = excluded.amount",
        [client.pk],
    )
    assert journal(linked) == [("LOOK", str(invoice.pk), []), ("UPDATE", str(invoice.pk), ["amount"])]


@pytest.mark.parametrize("how", ["OR IGNORE INTO crm_tag (id, name) VALUES (%s, 'x')", "do nothing"])
def test_ignored_inserts_only_ask_for_a_look(linked: Linked, how: str) -> None:
    tag = Tag.objects.create(name="t")
    drain()
    if how == "do nothing":
        how = "INTO crm_tag (id, name) VALUES (%s, 'x') ON CONFLICT DO NOTHING"
    execute(f"INSERT {how}", [tag.pk])
    assert journal(linked) == [("LOOK", str(tag.pk), [])]


def test_failed_insert_leaves_no_trace(linked: Linked) -> None:
    Tag.objects.create(name="t")
    drain()
    with pytest.raises(IntegrityError), transaction.atomic():
        execute("INSERT INTO crm_tag (name) VALUES ('t')")
    assert journal(linked) == []


def test_cascade(linked: Linked) -> None:
    client = Client.objects.create(name="A")
    tag = Tag.objects.create(name="t")
    client.tags.add(tag)
    order = Order.objects.create(number="1", client=client)
    pk = str(client.pk)
    drain()
    client.delete()
    rows = journal(linked)
    assert ("DELETE", str(order.pk), []) in rows
    assert rows[-1] == ("DELETE", pk, [])
    assert ("UPDATE", pk, ["tags"]) in rows


def test_cascade_by_the_database(linked: Linked) -> None:
    execute(
        "CREATE TABLE crm_probe (id integer PRIMARY KEY, tag integer REFERENCES crm_tag ON DELETE CASCADE)"
    )
    tag = Tag.objects.create(name="t")
    execute("INSERT INTO crm_probe VALUES (1, %s)", [tag.pk])
    execute("CREATE TRIGGER probe AFTER DELETE ON crm_probe BEGIN UPDATE crm_client SET phone = 'gone'; END")
    client = Client.objects.create(name="A")
    drain()
    execute("DELETE FROM crm_tag")
    assert journal(linked) == [("UPDATE", str(client.pk), ["phone"]), ("DELETE", str(tag.pk), [])]


def test_many_to_many(linked: Linked) -> None:
    client = Client.objects.create(name="A")
    one, two = Tag.objects.create(name="1"), Tag.objects.create(name="2")
    changed = [("UPDATE", str(client.pk), ["tags"])]
    drain()
    client.tags.add(one)
    assert journal(linked) == changed
    client.tags.add(one)
    assert journal(linked) == []
    client.tags.set([two])
    assert journal(linked) == changed * 2
    client.tags.remove(two)
    assert journal(linked) == changed
    client.tags.add(one, two)
    assert journal(linked) == changed * 2
    client.tags.clear()
    assert journal(linked) == changed * 2


def test_many_to_many_changes_on_the_other_side(linked: Linked) -> None:
    client, tag = Client.objects.create(name="A"), Tag.objects.create(name="t")
    tag.clients.add(client)
    drain()
    tag_pk = str(tag.pk)
    tag.delete()
    assert journal(linked) == [("UPDATE", str(client.pk), ["tags"]), ("DELETE", tag_pk, [])]


def test_many_to_many_row_rewritten_in_place(linked: Linked) -> None:
    one, two = Client.objects.create(name="1"), Client.objects.create(name="2")
    tag = Tag.objects.create(name="t")
    one.tags.add(tag)
    drain()
    execute("UPDATE crm_client_tags SET client_id = %s", [two.pk])
    assert journal(linked) == [("UPDATE", str(two.pk), ["tags"]), ("UPDATE", str(one.pk), ["tags"])]
    execute(
        "INSERT OR REPLACE INTO crm_client_tags (id, client_id, tag_id) SELECT id, %s, tag_id FROM crm_client_tags",
        [one.pk],
    )
    assert journal(linked) == [("UPDATE", str(two.pk), ["tags"]), ("UPDATE", str(one.pk), ["tags"])]


def test_key_change_is_a_delete_and_an_insert(linked: Linked) -> None:
    tag = Tag.objects.create(name="t")
    drain()
    execute("UPDATE crm_tag SET id = 500, name = 'u' WHERE id = %s", [tag.pk])
    assert journal(linked) == [("DELETE", str(tag.pk), []), ("INSERT", "500", [])]


def test_key_change_onto_a_row_that_it_replaces(linked: Linked) -> None:
    moves, target = Tag.objects.create(name="m"), Tag.objects.create(name="t")
    drain()
    execute("UPDATE OR REPLACE crm_tag SET id = %s WHERE id = %s", [target.pk, moves.pk])
    assert journal(linked) == [("UPDATE", str(target.pk), ["name"]), ("DELETE", str(moves.pk), [])]


def test_echo_flag_silences_everything(linked: Linked) -> None:
    client, tag = Client.objects.create(name="A"), Tag.objects.create(name="t")
    drain()
    models.Applying.objects.create(pk=1)
    client.name = "B"
    client.save()
    client.tags.add(tag)
    execute("REPLACE INTO crm_tag (id, name) VALUES (%s, 'u')", [tag.pk])
    execute("UPDATE crm_tag SET id = 9 WHERE id = %s", [tag.pk])
    Client.objects.all().delete()
    assert models.Journal.objects.count() == 0
    models.Applying.objects.all().delete()
    Tag.objects.create(name="v")
    assert [row[0] for row in journal(linked)] == ["INSERT"]


def test_time_is_the_statements_own(linked: Linked) -> None:
    before = datetime.now(UTC).timestamp() * 1e6
    tag = Tag.objects.create(name="t")
    (row,) = drain()
    assert before - 1000 <= row.at <= datetime.now(UTC).timestamp() * 1e6 + 1000
    assert row.at % 1000 == 0
    assert row.pk == str(tag.pk)


def test_sequences_of_the_session_are_undisturbed(linked: Linked) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO crm_tag (id, name) VALUES (321, 't')")
        assert cursor.lastrowid == 321
        cursor.execute("UPDATE crm_tag SET name = 'u'")
        assert cursor.rowcount == 1


# -- old values ---------------------------------------------------------------------------------------------


def test_old_values_of_logged_fields(logged: Linked) -> None:
    user = get_user_model().objects.create(username="u")
    client = Client.objects.create(name='A "quoted"\n', manager=user)
    Client.objects.update(name="B", phone="1", manager=None)
    _insert, update = drain()
    old = {logged.name(number).rpartition(".")[2]: value for number, value in (update.before or {}).items()}
    assert old == {"name": 'A "quoted"\n', "phone": "", "manager": str(user.pk)}
    assert update.pk == str(client.pk)


def test_unlogged_links_keep_no_old_values(linked: Linked) -> None:
    Client.objects.create(name="A")
    Client.objects.update(name="B")
    assert [row.before for row in drain()] == [None, None]


def test_odd_old_values_never_fail_the_write(logged: Linked) -> None:
    client = Client.objects.create(name="A")
    execute("UPDATE crm_client SET name = x'ff00', phone = CAST(x'ff' AS TEXT)")
    execute("UPDATE crm_client SET name = 'B', phone = '2'")
    execute("UPDATE crm_client SET phone = 9e999")
    execute("UPDATE crm_client SET phone = '3'")
    assert {row.pk for row in drain()} == {str(client.pk)}


# -- odd tables ---------------------------------------------------------------------------------------------


def plain_binding(table: str, columns: list[str], first_slot: int = 0) -> TableBinding:
    """A binding for a table of integers that no model describes."""
    fields = {
        100 + i: FieldBinding(100 + i, column, first_slot + i, Kind.INTEGER, column, None)
        for i, column in enumerate(columns)
    }
    return TableBinding(
        number=9,
        label="x.Wide",
        model=Tag,
        db_table=table,
        quoted=f'"{table}"',
        pk_column="id",
        pk_quoted='"id"',
        pk_kind=Kind.INTEGER,
        pk_field=Tag._meta.pk,
        fields=fields,
    )


def install(binding: TableBinding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "unique_sets", lambda binding: [])
    for trigger in sqlite.compile_table(binding, binding.fields):
        sqlite.create(connection, trigger)


def test_more_than_sixty_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [f"c{i}" for i in range(130)]
    execute(f"CREATE TABLE wide (id integer PRIMARY KEY, {', '.join(columns)})")
    install(plain_binding("wide", columns), monkeypatch)
    execute("INSERT INTO wide (id) VALUES (1)")
    execute("UPDATE wide SET c0 = 1, c59 = 1, c60 = 1, c125 = 1")
    execute("UPDATE wide SET c3 = 1")
    rows = execute("SELECT op, mask FROM syncapp_journal ORDER BY id")
    assert [(op, base.decode_mask(mask)) for op, mask in rows] == [
        (Op.INSERT, ()),
        (Op.UPDATE, (0, 59, 60, 125)),
        (Op.UPDATE, (3,)),
    ]


def test_nocase_column_notices_a_change_of_case(monkeypatch: pytest.MonkeyPatch) -> None:
    execute("CREATE TABLE nocase (id integer PRIMARY KEY, word text COLLATE NOCASE)")
    install(plain_binding("nocase", ["word"], first_slot=5), monkeypatch)
    execute("INSERT INTO nocase VALUES (1, 'word')")
    execute("UPDATE nocase SET word = 'Word'")
    assert execute("SELECT op, mask FROM syncapp_journal") == [(1, "0"), (0, "32")]


def test_odd_names(monkeypatch: pytest.MonkeyPatch) -> None:
    column = 'odd "name", 100%'
    execute('CREATE TABLE "an odd 100%% table" (id integer PRIMARY KEY, "odd ""name"", 100%%")', [])
    install(plain_binding("an odd 100% table", [column]), monkeypatch)
    execute('INSERT INTO "an odd 100%% table" VALUES (1, 1)', [])
    execute('UPDATE "an odd 100%% table" SET "odd ""name"", 100%%" = 2', [])
    assert execute("SELECT op, mask FROM syncapp_journal") == [(1, "0"), (0, "1")]


# -- other programs -----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_another_programs_writes_are_captured() -> None:
    """A process of its own, with nothing but SQLite."""
    linked = link_fields({"crm.Client": ["name", "phone"]})
    Client.objects.create(name="A")
    drain()
    script = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "db.execute(\"UPDATE crm_client SET phone = '5'\")\n"
        "db.execute(\"INSERT INTO crm_client (name) VALUES ('B')\")\n"
        "db.commit()\n"
    )
    path = connection.settings_dict["NAME"]
    subprocess.run([sys.executable, "-I", "-c", script, str(path)], check=True, timeout=30)
    assert [(op, names) for op, _, names in journal(linked)] == [("UPDATE", ["phone"]), ("INSERT", [])]


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_write_is_not_captured() -> None:
    linked = link_fields({"crm.Client": ["name"]})
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO crm_client (name) VALUES ('B')")
        assert other.execute("SELECT count(*) FROM syncapp_journal").fetchone() == (1,)
        other.execute("ROLLBACK")
    assert journal(linked) == []
