"""What each kind of write leaves in the journal of PostgreSQL, whoever writes; and the compiled text of a trigger."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from project.crm.models import Client, Invoice, Order, Tag
from syncapp import models
from syncapp.core.changes import Op
from syncapp.core.mapping import Kind
from syncapp.store import catalogue
from syncapp.store.bindings import FieldBinding, TableBinding
from syncapp.store.sql import SqlBackend, hints
from syncapp.store.triggers import base, pginstall, postgres
from tests.store.linked import Linked, drain, execute, journal, link_fields, session
from tests.store.triggers.test_sqlite import (  # noqa: F401 - the same on both databases
    test_failed_insert_leaves_no_trace,
    test_key_change_is_a_delete_and_an_insert,
    test_many_to_many_changes_on_the_other_side,
    test_old_values_of_logged_fields,
    test_orm_save_names_the_changed_fields_only,
    test_unlogged_links_keep_no_old_values,
    test_updates_that_change_nothing_write_nothing,
)
from tests.testapp.models import Everything

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


def ops(linked: Linked) -> list[tuple[str, str, list[str]]]:
    """The journal without regard to the order within it."""
    return sorted(journal(linked))


# -- the text -----------------------------------------------------------------------------------------------


def test_update_trigger_text() -> None:
    catalogue.refresh()
    binding = next(b for b in catalogue.bindings().values() if b.label == "crm.Tag")
    place = pginstall.place(connection, binding)
    name, number = binding.by_name()["name"].number, binding.number
    first = postgres.compile_table(binding, place, [name])[0]
    function, trigger = postgres.parts(first)
    end = function.rpartition(" ")[2]
    assert trigger == (
        f'CREATE OR REPLACE TRIGGER "syncapp_{number}_update" AFTER UPDATE ON "crm_tag" '
        "REFERENCING OLD TABLE AS syncapp_old NEW TABLE AS syncapp_new FOR EACH STATEMENT "
        "WHEN (current_setting('syncapp.applying', true) IS DISTINCT FROM '1') "
        f'EXECUTE FUNCTION public."syncapp_{number}_update"()'
    )
    differs = 'o."name" COLLATE "C" IS DISTINCT FROM n."name" COLLATE "C"'
    assert function == (
        f'CREATE OR REPLACE FUNCTION public."syncapp_{number}_update"() RETURNS trigger LANGUAGE plpgsql '
        f"SECURITY DEFINER\nSET search_path = pg_catalog, pg_temp AS {end}\n"
        "DECLARE syncapp_at bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;\n"
        "BEGIN\n"
        '  INSERT INTO public."syncapp_journal" ("table_no", "pk_text", "op", "mask", "at", "before") '
        f'SELECT {number}, n."id"::text, 0, ((({differs})::int::bigint << 0))::text, syncapp_at, NULL '
        f'FROM syncapp_old AS o JOIN syncapp_new AS n ON o."id" = n."id" WHERE {differs};\n'
        f"  IF FOUND THEN {hints.FROM_TRIGGER}; END IF;\n"
        f"  RETURN NULL;\nEND {end}"
    )


def test_status_alone_captures_rows_but_no_updates() -> None:
    catalogue.refresh()
    binding = next(b for b in catalogue.bindings().values() if b.label == "crm.Tag")
    place = pginstall.place(connection, binding)
    found = postgres.compile_table(binding, place, [binding.by_name()["record_status"].number])
    assert [t.name.rpartition("_")[2] for t in found] == ["insert", "delete", "move", "truncate"]


# -- every writer -------------------------------------------------------------------------------------------


def test_bulk_writes(linked: Linked) -> None:
    clients = Client.objects.bulk_create([Client(name="A"), Client(name="B")])
    a, b = (str(client.pk) for client in clients)
    assert journal(linked) == [("INSERT", a, []), ("INSERT", b, [])]
    for client in clients:
        client.phone = "7"
    Client.objects.bulk_update(clients, ["phone", "name"])
    assert ops(linked) == [("UPDATE", a, ["phone"]), ("UPDATE", b, ["phone"])]
    Client.objects.filter(name="A").update(name="C", phone="8")
    execute("DELETE FROM crm_client")
    assert ops(linked) == [("DELETE", a, []), ("DELETE", b, []), ("UPDATE", a, ["name", "phone"])]


def test_null_to_value_and_back(linked: Linked) -> None:
    order = Order.objects.create(number="1", client=Client.objects.create(name="A"))
    drain()
    execute("UPDATE crm_order SET amount = amount + 1")
    execute("UPDATE crm_order SET amount = 1.00")
    assert journal(linked) == [("UPDATE", str(order.pk), ["amount"])]


def test_upsert_names_only_what_it_did(linked: Linked) -> None:
    client = Client.objects.create(name="A")
    Invoice.objects.create(number="1", client=client, amount=5, issued_on="2026-01-01")
    invoice = Invoice.objects.get()
    drain()
    columns = "(number, client_id, amount, paid, issued_on)"
    execute(
        f"INSERT INTO crm_invoice {columns} VALUES ('1', %s, 9, false, '2026-02-02'), "
        "('2', %s, 9, false, '2026-02-02') ON CONFLICT (number) DO UPDATE SET amount = excluded.amount",
        [client.pk, client.pk],
    )
    new = Invoice.objects.get(number="2")
    assert ops(linked) == [("INSERT", str(new.pk), []), ("UPDATE", str(invoice.pk), ["amount"])]
    execute(
        f"INSERT INTO crm_invoice {columns} VALUES ('1', %s, 7, false, '2026-02-02') ON CONFLICT DO NOTHING",
        [client.pk],
    )
    assert journal(linked) == []


def test_merge(linked: Linked) -> None:
    one, two, three = (str(Tag.objects.create(name=name).pk) for name in ("1", "2", "3"))
    drain()
    execute(
        "MERGE INTO crm_tag t USING (VALUES ('1', 'a'), ('2', NULL), ('4', 'd')) AS v(old, new) ON t.name = v.old "
        "WHEN MATCHED AND v.new IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET name = v.new "
        "WHEN NOT MATCHED THEN INSERT (name) VALUES (v.new)"
    )
    new = str(Tag.objects.get(name="d").pk)
    assert three not in {row[1] for row in journal(linked)}
    assert {one, two, new} == {str(pk) for pk in Tag.objects.values_list("pk", flat=True)} ^ {two, three}


def test_copy(linked: Linked) -> None:
    with connection.cursor() as cursor, cursor.copy("COPY crm_tag (name) FROM STDIN") as copy:
        copy.write("a\nb\n")
    assert [op for op, _, _ in journal(linked)] == ["INSERT", "INSERT"]


def test_cascade(linked: Linked) -> None:
    client, tag = Client.objects.create(name="A"), Tag.objects.create(name="t")
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
    name = execute(
        "SELECT conname::text FROM pg_constraint WHERE conrelid = 'crm_order'::regclass AND contype = 'f' "
        "AND confrelid = 'crm_client'::regclass"
    )[0][0]
    execute(f'ALTER TABLE crm_order DROP CONSTRAINT "{name}"')
    execute("ALTER TABLE crm_order ADD FOREIGN KEY (client_id) REFERENCES crm_client ON DELETE CASCADE")
    client = Client.objects.create(name="A")
    orders = [str(Order.objects.create(number=number, client=client).pk) for number in "12"]
    drain()
    execute("DELETE FROM crm_client")
    assert ops(linked) == sorted(("DELETE", pk, []) for pk in [str(client.pk), *orders])


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
    assert journal(linked) == changed  # one statement, one owner
    client.tags.clear()
    assert journal(linked) == changed


def test_many_to_many_row_rewritten_in_place(linked: Linked) -> None:
    one, two = Client.objects.create(name="1"), Client.objects.create(name="2")
    one.tags.add(Tag.objects.create(name="t"))
    drain()
    execute("UPDATE crm_client_tags SET client_id = %s", [two.pk])
    assert journal(linked) == [("UPDATE", str(two.pk), ["tags"]), ("UPDATE", str(one.pk), ["tags"])]
    execute("UPDATE crm_client_tags SET client_id = client_id")
    assert journal(linked) == []


def test_keys_that_pass_through_a_whole_table(linked: Linked) -> None:
    """The rows of before and after have keys in common, and not the same contents under them."""
    for key in (3, 2, 1):
        Tag.objects.create(pk=key, name=str(key))
    drain()
    execute("UPDATE crm_tag SET id = -id")
    execute("UPDATE crm_tag SET id = 1 - id")
    found = journal(linked)
    assert {row[:2] for row in found if row[0] == "DELETE"} == {
        ("DELETE", key) for key in ("1", "2", "3", "-1", "-2", "-3")
    }
    assert {row[1] for row in found if row[0] == "INSERT"} == {"-1", "-2", "-3", "2", "3", "4"}


# -- TRUNCATE -----------------------------------------------------------------------------------------------


def known(linked: Linked, label: str, *pks: int) -> None:
    """Records of these rows, as sealing makes them."""
    for pk in pks:
        models.Record.objects.create(
            table_id=linked.tables[label], pk_text=str(pk), uid=bytes([pk % 256] * 16), seq=1
        )


def test_truncate_names_the_records_that_are_known(linked: Linked) -> None:
    one, two = (Tag.objects.create(name=name) for name in "12")
    known(linked, "crm.Tag", one.pk)
    known(linked, "crm.Order", 5)
    drain()
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("TRUNCATE crm_tag CASCADE")
    assert journal(linked) == [("DELETE", str(one.pk), [])]
    assert two.pk


def test_truncate_cascade_reaches_every_table_and_the_owners_of_members(linked: Linked) -> None:
    client, other = Client.objects.create(name="A"), Client.objects.create(name="B")
    tag = Tag.objects.create(name="t")
    client.tags.add(tag)
    order = Order.objects.create(number="1", client=client)
    known(linked, "crm.Client", client.pk, other.pk)
    known(linked, "crm.Order", order.pk + 1000)
    models.Record.objects.filter(table_id=linked.tables["crm.Order"]).update(pk_text=str(order.pk))
    drain()
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("TRUNCATE crm_client CASCADE")
    assert ops(linked) == sorted(
        [
            ("UPDATE", str(client.pk), ["tags"]),
            ("DELETE", str(client.pk), []),
            ("DELETE", str(other.pk), []),
            ("DELETE", str(order.pk), []),
        ]
    )


def test_truncate_of_members_names_their_owners(linked: Linked) -> None:
    one, two, three = (Client.objects.create(name=name) for name in "123")
    tag = Tag.objects.create(name="t")
    for client in (one, two):
        client.tags.add(tag)
    drain()
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("TRUNCATE crm_client_tags")
    assert ops(linked) == [("UPDATE", str(one.pk), ["tags"]), ("UPDATE", str(two.pk), ["tags"])]
    assert three.pk


def test_a_silenced_truncate_writes_nothing(linked: Linked) -> None:
    tag = Tag.objects.create(name="1")
    known(linked, "crm.Tag", tag.pk)
    drain()
    execute("SET LOCAL syncapp.applying = '1'")
    execute("TRUNCATE crm_tag CASCADE")
    execute("SET LOCAL syncapp.applying = ''")
    assert journal(linked) == []


# -- the echo flag ------------------------------------------------------------------------------------------


def test_echo_flag_silences_everything(linked: Linked) -> None:
    client, tag = Client.objects.create(name="A"), Tag.objects.create(name="t")
    drain()
    execute("SELECT set_config('syncapp.applying', '1', true)")
    client.name = "B"
    client.save()
    client.tags.add(tag)
    client.tags.through.objects.update(client_id=client.pk)
    execute("UPDATE crm_tag SET id = 9 WHERE id = %s", [Tag.objects.create(name="x").pk])
    Client.objects.all().delete()
    assert models.Journal.objects.count() == 0
    execute("SELECT set_config('syncapp.applying', '', true)")
    Tag.objects.create(name="v")
    assert [row[0] for row in journal(linked)] == ["INSERT"]


@pytest.mark.django_db(transaction=True)
def test_echo_flag_falls_with_the_transaction() -> None:
    linked = link_fields({"crm.Tag": ["name"]})
    with transaction.atomic():
        execute("SELECT set_config('syncapp.applying', '1', true)")
        Tag.objects.create(name="a")
    Tag.objects.create(name="b")
    with transaction.atomic():
        execute("SELECT set_config('syncapp.applying', '1', true)")
        transaction.set_rollback(True)
    Tag.objects.create(name="c")
    assert len(journal(linked)) == 2


@pytest.mark.django_db(transaction=True)
def test_the_echo_flag_is_never_visible_to_others() -> None:
    linked = link_fields({"crm.Client": ["name"]})
    backend = SqlBackend()
    with session() as other, backend.transaction():
        backend.insert_rows(linked.tables["crm.Client"], [{linked.numbers["crm.Client.name"]: "A"}])
        other.execute("INSERT INTO crm_client (name, created_at) VALUES ('B', now())")
    with session() as other:
        assert other.execute("SELECT current_setting('syncapp.applying', true)").fetchone() == (None,)
    written = str(Client.objects.get(name="B").pk)
    assert journal(linked) == [("INSERT", written, [])]
    assert execute("SELECT coalesce(current_setting('syncapp.applying', true), '')") == [("",)]


# -- time ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_time_is_the_statements_and_not_the_transactions() -> None:
    link_fields({"crm.Tag": ["name"]})
    with transaction.atomic():
        began = execute("SELECT (extract(epoch FROM now()) * 1000000)::bigint")[0][0]
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            pass
        Tag.objects.create(name="t")
        ended = execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")[0][0]
    (row,) = drain()
    assert isinstance(began, int)
    assert isinstance(ended, int)
    assert began + 20_000 <= row.at <= ended


# -- old values ---------------------------------------------------------------------------------------------


def test_old_values_read_as_the_rows_did() -> None:
    """Of every type, whatever the session's settings are."""
    linked = link_fields({"testapp.Everything": ["*"]}, log=True)
    table = linked.tables["testapp.Everything"]
    values: dict[str, Any] = {
        **{"char": 'ы "quoted" \\ {}', "text": "x\ny", "address": "::1", "integer": -5, "big": 2**62},
        **{
            "decimal": "-12.50",
            "floating": 0.1,
            "flag": True,
            "maybe": False,
            "json": {"a": [1.5, None, "é"]},
        },
        **{"day": "0044-03-15", "hour": "03:04:05.000100", "moment": "2026-01-02T03:04:05.120000+03:00"},
        **{"key": "12345678-1234-5678-1234-567812345678", "file": "a.txt", "renamed": "odd"},
    }
    row = Everything.objects.create(**values)
    execute("UPDATE testapp_everything SET span = '-1 year 2 mons -3 days 04:05:06.000007'")
    span, backend = Everything.objects.get().span, SqlBackend()
    names = [name for name in linked.numbers if name.startswith("testapp.Everything.")]
    numbers = [linked.numbers[name] for name in names]
    with backend.transaction():
        (before,) = backend.rows(table, [str(row.pk)], numbers).values()
    drain()
    execute("SET LOCAL datestyle = 'German, DMY'")
    execute("SET LOCAL timezone = 'Asia/Tokyo'")
    execute("SET LOCAL intervalstyle = 'iso_8601'")
    execute(
        "UPDATE testapp_everything SET char = '', text = '', address = '::2', integer = 0, big = 0, decimal = 0, "
        "floating = 0, flag = false, maybe = true, json = '{}', day = '2000-01-01', hour = '00:00', moment = now(), "
        "span = '0', key = gen_random_uuid(), file = '', \"Odd Column\" = '', changed = now()"
    )
    (update,) = drain()
    old = {linked.name(n).rpartition(".")[2]: value for n, value in (update.before or {}).items()}
    read = {name.rpartition(".")[2]: value for name, value in zip(names, before, strict=True)}
    assert len(old) == len(values) + 2
    assert old == {name: read[name] for name in old}
    assert old["span"] == span // dt.timedelta(microseconds=1)
    assert old["hour"] == "03:04:05.000100"


def test_old_values_of_long_texts_are_cut() -> None:
    linked = link_fields({"crm.Client": ["note"]}, log=True)
    Client.objects.create(name="A", note="x" * 5000)
    Client.objects.update(note="")
    assert (drain()[1].before or {})[linked.numbers["crm.Client.note"]] == "x" * 1000 + "…"


def test_numbers_that_the_wire_does_not_know_never_fail_the_write() -> None:
    link_fields({"testapp.Everything": ["*"]}, log=True)
    Everything.objects.create(char="a", integer=1)
    execute("UPDATE testapp_everything SET decimal = 'NaN', floating = 'Infinity', day = 'infinity'")
    execute(
        "UPDATE testapp_everything SET decimal = 1, floating = 'NaN', day = '20000-01-01', moment = '-infinity'"
    )
    execute(
        "UPDATE testapp_everything SET floating = 1, day = '2000-01-01', moment = now(), \"binary\" = '\\x00'"
    )
    assert [len(row.before or ()) for row in drain()] == [0, 3, 1, 0]


def test_union_rows_name_the_target(linked: Linked) -> None:
    models.Rule.objects.create(field_id=linked.numbers["crm.Client.tags"], policy="latest", merge="union")
    catalogue.bump("default")
    from syncapp.store import triggers

    triggers.install_all()
    client, tag = Client.objects.create(name="A"), Tag.objects.create(name="t")
    field, other = linked.numbers["crm.Client.tags"], Tag.objects.create(name="u")
    drain()
    client.tags.add(tag, other)
    assert sorted(map(str, [row.before for row in drain()])) == sorted(
        [str({field: {str(tag.pk): False}}), str({field: {str(other.pk): False}})]
    )
    client.tags.through.objects.filter(tag=tag).delete()
    assert [row.before for row in drain()] == [{field: {str(tag.pk): True}}]
    third = Tag.objects.create(name="v")
    drain()
    client.tags.through.objects.update(tag=third)
    assert [row.before for row in drain()] == [
        {field: {str(third.pk): False}},
        {field: {str(other.pk): True}},
    ]
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("TRUNCATE crm_client_tags")
    assert [row.before for row in drain()] == [{field: {str(third.pk): True}}]


# -- odd tables ---------------------------------------------------------------------------------------------


def plain_binding(table: str, columns: list[str], pk: str = "id") -> TableBinding:
    """A binding for a table that no model describes."""
    fields = {
        100 + i: FieldBinding(100 + i, column, i, Kind.TEXT, column, None) for i, column in enumerate(columns)
    }
    quote = connection.ops.quote_name
    return TableBinding(
        number=9,
        label="x.Wide",
        model=Tag,
        db_table=table,
        quoted=quote(table),
        pk_column=pk,
        pk_quoted=quote(pk),
        pk_kind=Kind.INTEGER,
        pk_field=Tag._meta.pk,
        fields=fields,
    )


def install(binding: TableBinding, log: bool = False) -> None:
    place = pginstall.place(connection, binding)
    for trigger in postgres.compile_table(binding, place, binding.fields, binding.fields if log else ()):
        pginstall.put(connection, trigger)


def rows() -> list[tuple[Any, ...]]:
    """What the journal holds, emptied."""
    return execute(
        "WITH d AS (DELETE FROM syncapp_journal RETURNING *) SELECT op, pk_text, mask FROM d ORDER BY id"
    )


def test_more_than_sixty_fields() -> None:
    columns = [f"c{i}" for i in range(130)]
    execute(f"CREATE TABLE wide (id integer PRIMARY KEY, {' text, '.join(columns)} text)")
    install(plain_binding("wide", columns), log=True)
    execute("INSERT INTO wide (id) VALUES (1)")
    execute("UPDATE wide SET c0 = 1, c59 = 1, c60 = 1, c125 = 1")
    execute("UPDATE wide SET c3 = 1")
    assert [(op, base.decode_mask(mask)) for op, _, mask in rows()] == [
        (Op.INSERT, ()),
        (Op.UPDATE, (0, 59, 60, 125)),
        (Op.UPDATE, (3,)),
    ]


def test_odd_names_and_types() -> None:
    """Also types that have no equality, and texts that a collation takes for equal."""
    column = 'odd "name"$syncapp$ {old}'
    execute("CREATE COLLATION ignoring (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    quoted = '"' + column.replace('"', '""') + '"'
    execute(
        'CREATE TABLE "an odd table" ("Key" varchar(20) COLLATE ignoring PRIMARY KEY, '
        f"word varchar(9) COLLATE ignoring, doc json, spot point, list int[], {quoted} int)"
    )
    install(plain_binding("an odd table", ["word", "doc", "spot", "list", column], "Key"), log=True)
    execute("INSERT INTO \"an odd table\" (\"Key\", word, doc, spot) VALUES ('a', 'x', '{}', '(1,2)')")
    execute("UPDATE \"an odd table\" SET word = 'X'")
    execute("UPDATE \"an odd table\" SET doc = '{\"a\":1}', list = '{1,2}'")
    execute('UPDATE "an odd table" SET spot = spot, doc = doc')
    execute('UPDATE "an odd table" SET "Key" = \'A\'')
    assert rows() == [(1, "a", "0"), (0, "a", "1"), (0, "a", "10"), (2, "a", "0"), (1, "A", "0")]


@pytest.fixture
def parts() -> None:
    execute("CREATE TABLE parted (id integer, word text, PRIMARY KEY (id)) PARTITION BY RANGE (id)")
    execute("CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (100)")
    execute("CREATE TABLE high PARTITION OF parted FOR VALUES FROM (100) TO (200)")
    install(plain_binding("parted", ["word"]), log=True)


@pytest.mark.usefixtures("parts")
def test_partitions() -> None:
    execute("INSERT INTO parted VALUES (1, 'a'), (101, 'b')")
    execute("INSERT INTO low VALUES (2, 'c')")
    assert rows() == [(1, "1", "0"), (1, "101", "0"), (1, "2", "0")]
    execute("UPDATE parted SET word = word || '!'")
    execute("UPDATE high SET word = 'd'")
    assert sorted(rows()) == sorted([(0, pk, "1") for pk in ("1", "101", "2", "101")])
    execute("UPDATE parted SET id = 102 WHERE id = 1")
    assert rows() == [(2, "1", "0"), (1, "102", "0")]
    execute("UPDATE parted SET id = 103 WHERE id = 101")
    assert sorted(rows()) == [(1, "103", "0"), (2, "101", "0")]
    execute("DELETE FROM high")
    assert sorted(rows()) == [(2, "102", "0"), (2, "103", "0")]
    assert pginstall.installed(connection).keys() == {
        f"syncapp_9_{op}" for op in ("update", "insert", "delete", "move", "truncate")
    }
    pginstall.drop(connection, "syncapp_9_insert")
    execute("INSERT INTO low VALUES (3, 'e')")
    assert rows() == []


# -- other programs -----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_another_program_with_rights_of_its_own() -> None:
    """A role that may write to the table and to nothing else, with a schema of its own in front."""
    linked = link_fields({"crm.Client": ["name", "tags"], "crm.Tag": ["name"]})
    execute("DROP SCHEMA IF EXISTS elsewhere CASCADE")
    execute("DROP ROLE IF EXISTS clerk")
    execute("CREATE ROLE clerk LOGIN")
    try:
        execute("CREATE SCHEMA elsewhere AUTHORIZATION clerk")
        execute("GRANT USAGE ON SCHEMA public TO clerk")
        execute("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON crm_tag, crm_client_tags TO clerk")
        execute("GRANT USAGE ON SEQUENCE crm_tag_id_seq TO clerk")
        with session(user="clerk") as other:
            other.execute("SET search_path = elsewhere")
            # Whoever finds the function's operators or tables by the writer's path finds these.
            other.execute("CREATE TABLE syncapp_journal (id int)")
            other.execute("CREATE FUNCTION liar(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true'")
            other.execute("CREATE OPERATOR = (FUNCTION = liar, LEFTARG = text, RIGHTARG = text)")
            other.execute("SET search_path = elsewhere, pg_catalog")
            other.execute("INSERT INTO public.crm_tag (name) VALUES ('a')")
            other.execute("UPDATE public.crm_tag SET name = 'b'")
            other.execute("DELETE FROM public.crm_tag")
            other.execute("TRUNCATE public.crm_tag, public.crm_client_tags")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute("SELECT * FROM public.syncapp_journal")
        assert [(op, fields) for op, _, fields in journal(linked)] == [
            ("INSERT", []),
            ("UPDATE", ["name"]),
            ("DELETE", []),
        ]
    finally:
        execute("DROP OWNED BY clerk CASCADE")
        execute("DROP ROLE clerk")


@pytest.mark.django_db(transaction=True)
def test_a_session_that_poses_as_a_replica() -> None:
    """Loaders do, to pass over foreign keys: ordinary triggers do not fire then."""
    linked = link_fields({"crm.Tag": ["name"]})
    with session() as other:
        other.execute("SET session_replication_role = replica")
        other.execute("INSERT INTO crm_tag (name) VALUES ('a')")
        other.execute("UPDATE crm_tag SET id = id + 1")
    assert [op for op, _, _ in journal(linked)] == ["INSERT", "DELETE", "INSERT"]


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_write_is_not_captured() -> None:
    linked = link_fields({"crm.Tag": ["name"]})
    with session() as other, other.transaction(force_rollback=True):
        other.execute("INSERT INTO crm_tag (name) VALUES ('a')")
        assert other.execute("SELECT count(*) FROM syncapp_journal").fetchone() == (1,)
    assert journal(linked) == []


@pytest.mark.django_db(transaction=True)
def test_a_session_that_was_there_before_uses_the_new_function() -> None:
    """Sessions keep plans of functions that they have called."""
    linked = link_fields({"crm.Client": ["name"]})
    with session() as other:
        other.execute("INSERT INTO crm_client (name, created_at) VALUES ('a', now())")
        for name in "abcdefgh":
            other.execute("UPDATE crm_client SET name = %s", [name])
        phone = models.Field.objects.get(pk=linked.numbers["crm.Client.phone"])
        models.Mapping.objects.create(link_id=linked.link, field=phone, direction="both")
        catalogue.bump("default")
        from syncapp.store import triggers

        triggers.install_all()
        drain()
        other.execute("UPDATE crm_client SET phone = '1'")
    assert [fields for _, _, fields in journal(linked)] == [["phone"]]


def test_old_values_are_json(logged: Linked) -> None:
    Client.objects.create(name="A")
    Client.objects.update(name="B", phone="\x01\u2028")
    Client.objects.update(phone="")
    texts = [row[0] for row in execute("SELECT before FROM syncapp_journal ORDER BY id")]
    assert [text and json.loads(str(text)) for text in texts][1:] == [
        {str(logged.numbers["crm.Client.name"]): "A", str(logged.numbers["crm.Client.phone"]): ""},
        {str(logged.numbers["crm.Client.phone"]): "\x01\u2028"},
    ]
