"""`SqlBackend` keeps the contract; and what only a real database can show."""

import datetime as dt
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from project.crm.models import Client, Invoice, Order, Tag
from syncapp import models
from syncapp.core.changes import Record
from syncapp.store import catalogue, triggers
from syncapp.store.base import BadValue, RowRefused, Values
from syncapp.store.sql import SqlBackend, database, links, memories, records
from tests.store.backend_contract import BackendContract, World, uid
from tests.store.linked import Linked, drain, execute, link_fields
from tests.testapp.models import Country, Everything, Place, Restaurant, Token

pytestmark = pytest.mark.django_db


@pytest.fixture
def linked() -> Linked:
    return link_fields(
        {
            "crm.Client": ["name", "phone", "tags", "manager"],
            "crm.Order": ["number", "client"],
            "crm.Tag": ["name"],
            "testapp.Everything": ["*"],
            "testapp.Country": ["code", "name"],
            "testapp.Place": ["name", "parent", "near", "countries"],
            "testapp.Restaurant": ["place_ptr", "stars"],
            "testapp.Token": ["country"],
        }
    )


class TestContract(BackendContract):
    @pytest.fixture
    def world(self, linked: Linked) -> World:
        numbers, tables = linked.numbers, linked.tables
        columns = {
            numbers["crm.Client.name"]: "name",
            numbers["crm.Client.phone"]: "phone",
            numbers["crm.Order.number"]: "number",
            numbers["crm.Order.client"]: "client_id",
        }
        by_table = {tables["crm.Client"]: Client, tables["crm.Order"]: Order}

        def named(values: Values) -> dict[str, Any]:
            return {columns[number]: value for number, value in values.items()}

        return World(
            backend=SqlBackend(),
            link=linked.link,
            clients=tables["crm.Client"],
            orders=tables["crm.Order"],
            tags=tables["crm.Tag"],
            name=numbers["crm.Client.name"],
            phone=numbers["crm.Client.phone"],
            client_tags=numbers["crm.Client.tags"],
            number=numbers["crm.Order.number"],
            client=numbers["crm.Order.client"],
            tag_name=numbers["crm.Tag.name"],
            create=lambda table, values: str(by_table[table].objects.create(**named(values)).pk),
            write=lambda table, pk, values: (
                by_table[table].objects.filter(pk=pk).update(**named(values)) and None
            ),
            remove=lambda table, pk: by_table[table].objects.filter(pk=pk).delete() and None,
        )

    def results(self, world: World) -> dict[int, str]:
        return dict(models.LogEntry.objects.values_list("seq", "result"))


@pytest.fixture
def backend(linked: Linked) -> Iterator[SqlBackend]:
    backend = SqlBackend()
    with backend.transaction():
        yield backend


# -- creating rows ------------------------------------------------------------------------------------------


def test_new_rows_get_the_models_defaults(linked: Linked, backend: SqlBackend) -> None:
    n = linked.numbers
    table = linked.tables["testapp.Everything"]
    rows = [{n["testapp.Everything.char"]: "c", n["testapp.Everything.integer"]: i} for i in (1, 2)]
    keys = backend.insert_rows(table, rows)
    first, second = Everything.objects.order_by("integer")
    assert [str(first.pk), str(second.pk)] == keys
    assert (first.blank_char, first.default_char, first.null_char, first.choice) == ("", "", None, "a")
    assert (first.flag, first.json, first.double, first.bounded) == (False, {}, 0, 1)
    assert first.key != second.key
    assert abs(first.added - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert first.changed.tzinfo is dt.UTC


def test_a_sent_creation_time_is_kept(linked: Linked, backend: SqlBackend) -> None:
    n = linked.numbers
    for name in ("added", "time_added"):
        row = {n["testapp.Everything.char"]: name, n["testapp.Everything.integer"]: 1}
        backend.insert_rows(
            linked.tables["testapp.Everything"],
            [{**row, n[f"testapp.Everything.{name}"]: "2001-02-03T04:05:06Z"}],
        )
        added = Everything.objects.get(char=name).added
        assert added == dt.datetime(2001, 2, 3, 4, 5, 6, tzinfo=dt.UTC)


def test_a_missing_required_column_is_named(linked: Linked, backend: SqlBackend) -> None:
    with pytest.raises(RowRefused) as refused:
        backend.insert_rows(
            linked.tables["testapp.Everything"], [{linked.numbers["testapp.Everything.char"]: "c"}]
        )
    assert (refused.value.code, refused.value.detail) == ("cannot_create", "integer")


def test_natural_keys_come_with_the_row(linked: Linked, backend: SqlBackend) -> None:
    n, table = linked.numbers, linked.tables["testapp.Country"]
    (key,) = backend.insert_rows(
        table, [{n["testapp.Country.code"]: "FI", n["testapp.Country.name"]: "Suomi"}]
    )
    assert key == "FI"
    assert Country.objects.get().name == "Suomi"
    with pytest.raises(RowRefused) as refused:
        backend.insert_rows(table, [{n["testapp.Country.name"]: "Nowhere"}])
    assert (refused.value.code, refused.value.detail) == ("cannot_create", "code")


def test_a_child_of_a_parent_table_takes_the_parents_key(linked: Linked, backend: SqlBackend) -> None:
    n = linked.numbers
    (place,) = backend.insert_rows(linked.tables["testapp.Place"], [{n["testapp.Place.name"]: "Bar"}])
    rows = [{n["testapp.Restaurant.place_ptr"]: place, n["testapp.Restaurant.stars"]: 3}]
    assert backend.insert_rows(linked.tables["testapp.Restaurant"], rows) == [place]
    restaurant = Restaurant.objects.get()
    assert (restaurant.name, restaurant.stars) == ("Bar", 3)


def test_uuid_keys_are_made_by_their_default(linked: Linked, backend: SqlBackend) -> None:
    n, table = linked.numbers, linked.tables["testapp.Token"]
    Country.objects.create(code="FI", name="Suomi")
    first, second = backend.insert_rows(table, [{n["testapp.Token.country"]: "FI"}] * 2)
    assert {uuid.UUID(first), uuid.UUID(second)} == {token.pk for token in Token.objects.all()}
    assert backend.existing(table, [first, second]) == {first, second}
    assert backend.rows(table, [first], [n["testapp.Token.country"]]) == {first: ["FI"]}


def test_uuid_keys_are_the_databases_text_everywhere(linked: Linked) -> None:
    Country.objects.create(code="FI", name="Suomi")
    token = Token.objects.create(country_id="FI")
    (row,) = [row for row in drain() if row.table == linked.tables["testapp.Token"]]
    backend, country = SqlBackend(), linked.numbers["testapp.Token.country"]
    with backend.transaction():
        assert uuid.UUID(row.pk) == token.pk
        assert backend.rows(row.table, [row.pk], [country]) == {row.pk: ["FI"]}


def test_a_key_that_was_sent_is_taken(linked: Linked, backend: SqlBackend) -> None:
    n = linked.numbers
    row = {n["crm.Tag.id"]: "500", n["crm.Tag.name"]: "t"}
    assert backend.insert_rows(linked.tables["crm.Tag"], [row]) == ["500"]
    assert backend.insert_rows(linked.tables["crm.Tag"], [{n["crm.Tag.name"]: "u"}]) == ["501"]


def test_keys_of_deleted_rows_are_not_given_again(linked: Linked, backend: SqlBackend) -> None:
    last = Tag.objects.create(name="t").pk
    Tag.objects.all().delete()
    assert backend.insert_rows(linked.tables["crm.Tag"], [{linked.numbers["crm.Tag.name"]: "u"}]) == [
        str(last + 1)
    ]


def test_whole_table_of_types_survives(linked: Linked, backend: SqlBackend) -> None:
    row = Everything.objects.create(
        char="ы",
        integer=-5,
        decimal="12.5",
        floating=0.1,
        maybe=True,
        json={"a": [1]},
        day="2026-01-02",
        hour="03:04:05",
        moment=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        span=dt.timedelta(seconds=1),
        binary=b"\x00",
        file="a.txt",
        renamed="odd",
    )
    table = linked.tables["testapp.Everything"]
    names = [name for name in linked.numbers if name.startswith("testapp.Everything.")]
    numbers = [linked.numbers[name] for name in names]
    (before,) = backend.rows(table, [str(row.pk)], numbers).values()
    shown = dict(zip((name.rpartition(".")[2] for name in names), before, strict=True))
    assert (shown["decimal"], shown["moment"], shown["span"]) == ("12.50", "2026-01-02T00:00:00Z", 1_000_000)
    assert (shown["id"], shown["record_status"], shown["creator"]) == (str(row.pk), None, None)
    key = linked.numbers["testapp.Everything.id"]
    sent = {n: v for n, v in zip(numbers, before, strict=True) if v is not None and n != key}
    (copy,) = backend.insert_rows(table, [sent])
    (after,) = backend.rows(table, [copy], list(sent)).values()
    assert after == list(sent.values())


# -- relations ----------------------------------------------------------------------------------------------


def test_a_relation_to_nowhere_refuses_its_savepoint_alone(linked: Linked, backend: SqlBackend) -> None:
    n = linked.numbers
    good = Client.objects.create(name="A")
    with pytest.raises(RowRefused) as refused, backend.savepoint():
        backend.insert_rows(
            linked.tables["crm.Order"], [{n["crm.Order.number"]: "1", n["crm.Order.client"]: "4711"}]
        )
    assert refused.value.code == "missing_target"
    with backend.savepoint():
        backend.insert_rows(
            linked.tables["crm.Order"], [{n["crm.Order.number"]: "1", n["crm.Order.client"]: str(good.pk)}]
        )
    with pytest.raises(RowRefused), backend.savepoint():
        backend.update_rows(
            linked.tables["crm.Client"], [n["crm.Client.manager"]], [(str(good.pk), ["4711"])]
        )
    with pytest.raises(RowRefused), backend.savepoint():
        backend.update_rows(linked.tables["crm.Client"], [n["crm.Client.tags"]], [(str(good.pk), [["4711"]])])
    connection.check_constraints()


def test_a_child_may_be_written_before_its_parent(linked: Linked, backend: SqlBackend) -> None:
    n = linked.numbers
    with backend.savepoint():
        order = {n["crm.Order.number"]: "1", n["crm.Order.client"]: "900"}
        backend.insert_rows(linked.tables["crm.Order"], [order])
        backend.insert_rows(
            linked.tables["crm.Client"], [{n["crm.Client.id"]: "900", n["crm.Client.name"]: "A"}]
        )
    assert Order.objects.get().client.name == "A"


@pytest.mark.django_db(transaction=True)
def test_a_relation_to_nowhere_outside_savepoints_refuses_the_transaction() -> None:
    linked = link_fields({"crm.Order": ["number", "client"]})
    n, backend = linked.numbers, SqlBackend()
    order = {n["crm.Order.number"]: "1", n["crm.Order.client"]: "900"}
    with pytest.raises(RowRefused), backend.transaction():
        backend.insert_rows(linked.tables["crm.Order"], [order])
    assert Order.objects.count() == 0


def test_a_user_relation_is_the_users_key(linked: Linked, backend: SqlBackend) -> None:
    user = get_user_model().objects.create(username="u")
    client = Client.objects.create(name="A")
    field, table, pk = linked.numbers["crm.Client.manager"], linked.tables["crm.Client"], str(client.pk)
    backend.update_rows(table, [field], [(pk, [str(user.pk)])])
    client.refresh_from_db()
    assert client.manager == user
    assert backend.rows(table, [pk], [field]) == {pk: [str(user.pk)]}
    backend.update_rows(table, [field], [(pk, [None])])
    assert backend.rows(table, [pk], [field]) == {pk: [None]}


def test_rows_that_others_refer_to_are_not_deleted(linked: Linked, backend: SqlBackend) -> None:
    client = Client.objects.create(name="A")
    Invoice.objects.create(number="1", client=client, issued_on="2026-01-01")
    with pytest.raises(RowRefused) as refused, backend.savepoint():
        backend.delete_rows([("crm.Client", [str(client.pk)])])
    assert "crm_invoice" in refused.value.detail
    Invoice.objects.all().delete()
    with backend.savepoint():
        backend.delete_rows([("crm.Client", [str(client.pk)])])
    assert Client.objects.count() == 0


def test_deleting_takes_many_to_many_rows_of_both_sides(linked: Linked, backend: SqlBackend) -> None:
    one, two, tag = (
        Client.objects.create(name="1"),
        Client.objects.create(name="2"),
        Tag.objects.create(name="t"),
    )
    one.tags.add(tag)
    two.tags.add(tag)
    with backend.savepoint():
        backend.delete_rows([("crm.Client", [str(one.pk)])])
        assert execute("SELECT client_id FROM crm_client_tags") == [(two.pk,)]
        backend.delete_rows([("crm.Tag", [str(tag.pk)])])
    assert execute("SELECT * FROM crm_client_tags") == []


def test_many_to_many_rows_that_stay_are_not_touched(linked: Linked, backend: SqlBackend) -> None:
    client = Client.objects.create(name="A")
    one, two, three = (Tag.objects.create(name=n) for n in "123")
    client.tags.add(one, two)
    kept = execute("SELECT id FROM crm_client_tags WHERE tag_id = %s", [two.pk])
    backend.update_rows(
        linked.tables["crm.Client"],
        [linked.numbers["crm.Client.tags"]],
        [(str(client.pk), [sorted([str(two.pk), str(three.pk)])])],
    )
    assert set(client.tags.all()) == {two, three}
    assert execute("SELECT id FROM crm_client_tags WHERE tag_id = %s", [two.pk]) == kept


def test_self_relations(linked: Linked, backend: SqlBackend) -> None:
    n, table = linked.numbers, linked.tables["testapp.Place"]
    (home,) = backend.insert_rows(table, [{n["testapp.Place.name"]: "home"}])
    (room,) = backend.insert_rows(table, [{n["testapp.Place.name"]: "room", n["testapp.Place.parent"]: home}])
    backend.update_rows(table, [n["testapp.Place.near"]], [(home, [[room]])])
    assert backend.rows(table, [home], [n["testapp.Place.near"]]) == {home: [[room]]}
    assert Place.objects.get(pk=room).parent == Place.objects.get(pk=home)


def test_unique_values_may_swap(linked: Linked, backend: SqlBackend) -> None:
    client = Client.objects.create(name="A")
    keys = [str(Order.objects.create(number=number, client=client).pk) for number in "123"]
    field, table = linked.numbers["crm.Order.number"], linked.tables["crm.Order"]
    backend.update_rows(table, [field], list(zip(keys, (["2"], ["3"], ["1"]), strict=True)))
    assert backend.rows(table, keys, [field]) == {keys[0]: ["2"], keys[1]: ["3"], keys[2]: ["1"]}
    other = Order.objects.create(number="4", client=client)
    with pytest.raises(RowRefused):
        backend.update_rows(table, [field], list(zip(keys, (["4"], ["5"], ["6"]), strict=True)))
    assert backend.rows(table, [keys[0], str(other.pk)], [field]) == {keys[0]: ["2"], str(other.pk): ["4"]}


def test_unique_numbers_may_swap(linked: Linked, backend: SqlBackend) -> None:
    for code, number in (("FI", 1), ("SE", 2)):
        Country.objects.create(code=code, name=code, iso_number=number)
    field = linked.numbers["testapp.Country.iso_number"]
    backend.update_rows(linked.tables["testapp.Country"], [field], [("FI", [2]), ("SE", [1])])
    assert dict(Country.objects.values_list("code", "iso_number")) == {"FI": 2, "SE": 1}


# -- odd data -----------------------------------------------------------------------------------------------


@pytest.mark.sqlite
def test_stored_nonsense_is_a_bad_value_in_its_place(linked: Linked, backend: SqlBackend) -> None:
    n, table = linked.numbers, linked.tables["testapp.Everything"]
    good, bad = (str(Everything.objects.create(char=c, integer=1).pk) for c in "ab")
    execute(
        "UPDATE testapp_everything SET integer = 'x', day = 'soon', char = CAST(x'ff41' AS TEXT) WHERE id = %s",
        [bad],
    )
    numbers = [n[f"testapp.Everything.{name}"] for name in ("char", "integer", "day", "decimal", "json")]
    found = backend.rows(table, [good, bad], numbers)
    assert found[good] == ["a", 1, None, "0.00", {}]
    assert [isinstance(value, BadValue) for value in found[bad]] == [True, True, True, False, False]
    assert "UTF-8" in str(found[bad][0])


def test_values_that_only_the_driver_refuses(linked: Linked, backend: SqlBackend) -> None:
    n, table = linked.numbers, linked.tables["testapp.Everything"]
    row = {n["testapp.Everything.char"]: "\ud800", n["testapp.Everything.integer"]: 1}
    with pytest.raises(RowRefused), backend.savepoint():
        backend.insert_rows(table, [row])
    with pytest.raises(RowRefused), backend.savepoint():
        backend.insert_rows(
            table, [{**row, n["testapp.Everything.char"]: "c", n["testapp.Everything.integer"]: 2**64}]
        )
    assert Everything.objects.count() == 0


@pytest.mark.sqlite
def test_damaged_old_values_do_not_stop_the_journal() -> None:
    linked = link_fields({"crm.Client": ["name", "phone"]}, log=True)
    Client.objects.create(name="A")
    execute("UPDATE crm_client SET name = CAST(x'ff41' AS TEXT)")
    execute("UPDATE crm_client SET name = 'B', phone = '1'")
    rows = drain()
    assert [row.fields for row in rows][1:] == [
        (linked.numbers["crm.Client.name"],),
        (linked.numbers["crm.Client.name"], linked.numbers["crm.Client.phone"]),
    ]
    assert rows[2].before is None


def test_match_to_the_letter_wins(linked: Linked, backend: SqlBackend) -> None:
    exact, _other = (str(Client.objects.create(name=name).pk) for name in ("ann", "ANN"))
    found = backend.match(linked.tables["crm.Client"], [linked.numbers["crm.Client.name"]], [("ann",)])
    assert found == {("ann",): [exact]}


def test_match_by_relation_and_odd_keys(linked: Linked, backend: SqlBackend) -> None:
    n, client = linked.numbers, Client.objects.create(name="A")
    order = Order.objects.create(number="N 1", client=client)
    fields = [n["crm.Order.number"], n["crm.Order.client"]]
    keys = [("n 1", str(client.pk)), ("n 1", "4711"), (5, "1"), ("x" * 1000, "1"), ("n 1", None)]
    assert backend.match(linked.tables["crm.Order"], fields, keys) == {keys[0]: [str(order.pk)]}


def test_match_passes_over_the_table_once(linked: Linked, backend: SqlBackend) -> None:
    """From then on it reads the rows that have the keys, and those that were changed."""
    Client.objects.bulk_create(Client(name=f"Client {i}") for i in range(50))
    Client.objects.bulk_create(Client(name=f"Other {i}") for i in range(50))
    fields = [linked.numbers["crm.Client.name"]]
    assert len(backend.match(linked.tables["crm.Client"], fields, [("CLIENT 7",)])) == 1
    backend.drain(1000)
    keys = [(f"CLIENT {i}",) for i in range(2000)]
    read: list[str] = []
    rows = backend._reader.rows

    def watched(layout: Any, pks: Any, fields: Any) -> Any:
        read.extend(pks)
        return rows(layout, pks, fields)

    backend._reader.rows = watched  # type: ignore[method-assign]
    for expected in (100 + 50, 50):  # the first time, the rows that were in the journal are marked
        read.clear()
        assert len(backend.match(linked.tables["crm.Client"], fields, keys)) == 50
        assert len(read) == expected


def test_match_keys_are_made_anew_after_the_triggers_were_away(linked: Linked, backend: SqlBackend) -> None:
    fields, asked = [linked.numbers["crm.Client.name"]], [("ann lee",)]
    assert backend.match(linked.tables["crm.Client"], fields, asked) == {}
    triggers.remove_all()
    unseen = str(Client.objects.create(name="ANN LEE").pk)
    connection.check_constraints()  # PostgreSQL alters no table that has some to check still
    triggers.install_all()
    assert backend.match(linked.tables["crm.Client"], fields, asked) == {asked[0]: [unseen]}


def test_journal_rows_of_unknown_tables_are_dropped(linked: Linked) -> None:
    models.Journal.objects.create(table_no=9999, pk_text="1", op=0, mask="1", at=1)
    Client.objects.create(name="A")
    assert [row.table for row in drain()] == [linked.tables["crm.Client"]]


def test_bits_of_unknown_fields_are_dropped(linked: Linked) -> None:
    models.Journal.objects.create(
        table_no=linked.tables["crm.Tag"], pk_text="1", op=0, mask=str(1 | 1 << 50), at=1
    )
    (row,) = drain()
    assert row.fields == (linked.numbers["crm.Tag.name"],)


@pytest.mark.sqlite
def test_drain_never_parts_a_replaced_row_from_its_insert(linked: Linked) -> None:
    tag = Tag.objects.create(name="t")
    drain()
    execute("REPLACE INTO crm_tag (id, name) VALUES (%s, 'u')", [tag.pk])
    backend = SqlBackend()
    with backend.transaction():
        (row,) = backend.drain(1)
        assert (row.pk, row.fields) == (str(tag.pk), (linked.numbers["crm.Tag.name"],))
        assert backend.drain(1) == []


# -- transactions -------------------------------------------------------------------------------------------


def test_a_new_configuration_is_noticed(linked: Linked) -> None:
    backend = SqlBackend()
    with backend.transaction():
        before = backend.setup()
        assert backend.setup() is before
    catalogue.bump("default")
    with backend.transaction():
        assert backend.setup().version > before.version


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_one_transaction_writes_at_a_time() -> None:
    """The write lock is taken at the beginning: what was read stays true until the end."""
    link_fields({"crm.Client": ["name"]})
    backend, path = SqlBackend(), connection.settings_dict["NAME"]
    with backend.transaction():
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_a_deferred_connection_takes_the_write_lock_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    link_fields({"crm.Client": ["name"]})
    monkeypatch.setattr(connections["default"], "transaction_mode", None)
    backend, path = SqlBackend(), connection.settings_dict["NAME"]
    with backend.transaction():
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_a_locked_database_is_tried_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    link_fields({"crm.Client": ["name"]})
    execute("PRAGMA busy_timeout = 1")
    tries: list[None] = []
    real = transaction.Atomic.__enter__

    def counted(self: transaction.Atomic) -> None:
        tries.append(None)
        real(self)

    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(transaction.Atomic, "__enter__", counted)
    try:
        with pytest.raises(OperationalError, match="locked"), SqlBackend().transaction():
            pytest.fail("the lock is held by another")
        assert len(tries) == database.BEGIN_TRIES
        other.execute("ROLLBACK")
        with SqlBackend().transaction():
            assert connection.in_atomic_block
    finally:
        other.close()
        connection.close()


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_the_echo_flag_is_never_visible_to_others() -> None:
    linked = link_fields({"crm.Client": ["name"]})
    backend = SqlBackend()
    seen: list[int] = []

    def look() -> None:
        other = sqlite3.connect(connection.settings_dict["NAME"])
        seen.append(other.execute("SELECT count(*) FROM syncapp_applying").fetchone()[0])
        other.close()

    with backend.transaction():
        backend.insert_rows(linked.tables["crm.Client"], [{linked.numbers["crm.Client.name"]: "A"}])
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    look()
    assert seen == [0, 0]


def test_statements_do_not_grow_with_the_batch(linked: Linked) -> None:
    """Set-based: as many statements for 400 rows as for 5."""
    n, table, backend = linked.numbers, linked.tables["crm.Client"], SqlBackend()

    def statements(count: int) -> int:
        with CaptureQueriesContext(connection) as queries, backend.transaction():
            keys = backend.insert_rows(table, [{n["crm.Client.name"]: "A"}] * count)
            backend.update_rows(table, [n["crm.Client.phone"]], [(key, ["1"]) for key in keys])
            backend.rows(table, keys, [n["crm.Client.name"], n["crm.Client.tags"]])
            records = [Record(0, table, key, uid(int(key)), entries={}) for key in keys]
            backend.save_records(records)
            backend.records_by_pk(table, keys)
            backend.add_pairs(linked.link, [record.id for record in records])
        return len(queries)

    statements(2)  # reads the configuration
    assert statements(5) == statements(400)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (records._BY_PK, "syncapp_record_row"),
        (records._BY_UID, "sqlite_autoindex_syncapp_record"),
        (records._AFTER, "syncapp_record_seq"),
        (records._SEAL_OF, "sqlite_autoindex_syncapp_seal"),
        (links._PAIRED, "sqlite_autoindex_syncapp_pair"),
        (memories._WAITING, "syncapp_problem_waits_for"),
        (memories._OF, "sqlite_autoindex_syncapp_problem"),
        (memories._SENT, "syncapp_log_queue"),
    ],
)
def test_frequent_statements_use_an_index(sql: str, index: str) -> None:
    sql = sql.format("(%s, %s)")
    plan = [str(row[3]) for row in execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("%s"))]
    assert any(line.startswith("SEARCH") and index in line for line in plan), plan
