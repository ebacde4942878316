"""Two programs, connected: whatever is written in one, by whatever means, stands in the other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import postgres
from tests.instances import pair as pairs
from tests.instances.databases import Database, PostgresDatabase, SqliteFile
from tests.instances.pair import BOTH_POSTGRESQL, BRANCH, MIXED, OFFICE, SAME, Kinds, Pair, link_file
from tests.instances.program import Program
from tests.instances.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

#: Both kinds of database on both sides: the tests write on one and look on the other, in either direction.
KINDS = (SAME, MIXED)
SIDES = (OFFICE, BRANCH)
FATES = ("applied", "superseded", "duplicate", "parked")


def sides(pair: Pair, name: str) -> tuple[Program, Program]:
    """The program of that name, and the other one."""
    side = pair.office if name == OFFICE else pair.branch
    return side, pair.other(side)


def wait_value(side: Program, expected: Any, sql: str, *parameters: Any) -> None:
    wait_until(lambda: side.value(sql, parameters) == expected, 30, f"{side.name}: {sql} {parameters}")


def client(side: Program, number: int) -> str:
    """The tax number of the nth client: what names it in both programs."""
    return str(side.value("SELECT tax_id FROM crm_client ORDER BY tax_id LIMIT 1 OFFSET ?", (number,)))


# -- ways to write -------------------------------------------------------------------------------------------

ORM = """
from django.db import transaction
from django.db.models import F
from project.crm.models import Client, Order, Payment, Tag
client = Client.objects.get(tax_id={tax_id!r})
client.phone = {name!r}
client.save()
Order.objects.filter(client=client).update(amount=F("amount") + 1, subject={name!r})
with transaction.atomic():
    made = Client.objects.create(name={name!r}, tax_id="T-" + {name!r}, note="новый\\nклиент 🙂")
    order = Order.objects.create(number="N-" + {name!r}, client=made, amount="12.50")
    Payment.objects.create(order=order, amount="0.10", paid_on="2026-02-28", comment={name!r})
    made.tags.set([Tag.objects.first(), Tag.objects.create(name={name!r})])
client.tags.add(*Tag.objects.all())
Client.objects.bulk_create([Client(name="Bulk", tax_id="B-%d-" % n + {name!r}) for n in range(50)])
"""


@pytest.mark.parametrize("name", SIDES)
def test_the_orm_in_another_process(shared: Pair, name: str) -> None:
    side, other = sides(shared, name)
    tax_id = client(side, 1 if name == OFFICE else 2)
    side.shell(ORM.format(tax_id=tax_id, name=name))
    wait_value(other, name, "SELECT phone FROM crm_client WHERE tax_id = ?", tax_id)
    shared.assert_same()
    found = other.rows(
        "SELECT c.note, o.amount, p.comment FROM crm_client c JOIN crm_order o ON o.client_id = c.id "
        "JOIN crm_payment p ON p.order_id = o.id WHERE c.tax_id = ?",
        (f"T-{name}",),
    )
    assert found == [("новый\nклиент 🙂", 12.5, name)]
    assert len(shared.data(other)["client tags"]) == len(shared.data(side)["client tags"])
    assert (
        other.value("SELECT count(*) FROM crm_client WHERE name = 'Bulk' AND tax_id LIKE ?", (f"%-{name}",))
        == 50
    )


@pytest.mark.parametrize("name", SIDES)
def test_raw_sql_in_one_transaction(shared: Pair, name: str) -> None:
    side, other = sides(shared, name)
    with side.connection() as connection:
        connection.execute("UPDATE crm_client SET email = 'raw-' || id || '@example.com'")
        made = connection.execute(
            "INSERT INTO crm_client (name, tax_id) VALUES ('Raw', ?)", (f"R-{name}",)
        ).lastrowid
        connection.execute("INSERT INTO crm_order (number, client_id) VALUES (?, ?)", (f"R-{name}", made))
    wait_value(
        other,
        "Raw",
        "SELECT c.name FROM crm_order o JOIN crm_client c ON c.id = o.client_id WHERE number = ?",
        f"R-{name}",
    )
    shared.assert_same()


def test_what_was_rolled_back_goes_nowhere(shared: Pair) -> None:
    side, other = shared.both
    with side.connection() as connection:
        connection.execute("UPDATE crm_client SET name = 'never'")
        connection.rollback()
    side.write("UPDATE crm_client SET address = 'after' WHERE tax_id = ?", (client(side, 0),))
    wait_value(other, "after", "SELECT address FROM crm_client WHERE tax_id = ?", client(side, 0))
    assert other.value("SELECT count(*) FROM crm_client WHERE name = 'never'") == 0


@pytest.mark.parametrize("name", SIDES)
def test_the_command_line_of_the_database(shared: Pair, name: str) -> None:
    side, other = sides(shared, name)
    tax_id = client(side, 3)
    statement = f"UPDATE crm_client SET note = 'by hand in {name}' WHERE tax_id = '{tax_id}';"
    if isinstance(side.database, SqliteFile):
        tool = shutil.which("sqlite3")
        if tool is None:
            pytest.skip("the sqlite3 command is not installed")
        file = str(side.database.path)
        subprocess.run([tool, "-cmd", ".timeout 20000", file, statement], check=True, timeout=60)
    else:
        assert isinstance(side.database, PostgresDatabase)
        side.database.cluster.program("psql", "-d", side.database.name, "-c", statement)
    wait_value(other, f"by hand in {name}", "SELECT note FROM crm_client WHERE tax_id = ?", tax_id)


@pytest.mark.parametrize("name", SIDES)
def test_relations_to_records_that_were_never_exchanged(shared: Pair, name: str) -> None:
    """Both programs have the row since long ago, but neither has told the other of it."""
    side, other = sides(shared, name)
    old = client(side, 10 if name == OFFICE else 11)
    with side.connection() as connection:
        connection.execute(
            "INSERT INTO crm_order (number, client_id) SELECT ?, id FROM crm_client WHERE tax_id = ?",
            (f"O-{name}", old),
        )
        connection.execute(
            "INSERT INTO crm_client_tags (client_id, tag_id) "
            "SELECT c.id, t.id FROM crm_client c, crm_tag t WHERE c.tax_id = ? ON CONFLICT DO NOTHING",
            (old,),
        )
    shared.assert_same()
    assert other.value("SELECT count(*) FROM crm_order WHERE number = ?", (f"O-{name}",)) == 1
    assert other.value("SELECT count(*) FROM syncapp_problem") == 0


def test_an_upsert(shared: Pair) -> None:
    side, other = shared.both
    number = side.value("SELECT number FROM crm_order ORDER BY number LIMIT 1")
    side.write(
        "INSERT INTO crm_order (number, client_id) SELECT number, client_id FROM crm_order WHERE number = ? "
        "ON CONFLICT (number) DO UPDATE SET subject = 'upserted'",
        (number,),
    )
    wait_value(other, "upserted", "SELECT subject FROM crm_order WHERE number = ?", number)
    shared.assert_same()


@pytest.mark.parametrize("name", SIDES)
def test_updates_that_change_nothing_cause_no_traffic(shared: Pair, name: str) -> None:
    side, other = sides(shared, name)
    tax_id = client(side, 4)
    side.write("UPDATE crm_client SET phone = ? WHERE tax_id = ?", (f"first {name}", tax_id))
    wait_value(other, f"first {name}", "SELECT phone FROM crm_client WHERE tax_id = ?", tax_id)
    shared.wait_rest()
    before, head = side.state(), side.value("SELECT head_seq FROM syncapp_instance")
    side.write("UPDATE crm_client SET phone = phone, name = name, note = note")
    assert side.pending() == 0
    side.write("UPDATE crm_client SET phone = ? WHERE tax_id = ?", (f"second {name}", tax_id))
    wait_value(other, f"second {name}", "SELECT phone FROM crm_client WHERE tax_id = ?", tax_id)
    shared.wait_rest()
    assert side.state()["sent"] == before["sent"] + 1
    assert side.value("SELECT head_seq FROM syncapp_instance") == head + 1


@pytest.mark.parametrize("name", SIDES)
def test_five_megabytes_in_one_value(shared: Pair, name: str) -> None:
    side, other = sides(shared, name)
    tax_id = client(side, 5)
    text = f"{name} ё " * (5 * 1024 * 1024 // len(f"{name} ё ")) + f"end of {side.port}"
    side.write("UPDATE crm_client SET note = ? WHERE tax_id = ?", (text, tax_id))
    wait_value(
        other, text[-12:], "SELECT substr(note, length(note) - 11) FROM crm_client WHERE tax_id = ?", tax_id
    )
    assert other.value("SELECT note FROM crm_client WHERE tax_id = ?", (tax_id,)) == text, "it differs"
    shared.wait_rest()


def test_both_sides_edit_different_fields_of_one_record(shared: Pair) -> None:
    office, branch = shared.both
    tax_id = client(office, 6)
    for n in range(20):
        office.write("UPDATE crm_client SET phone = ? WHERE tax_id = ?", (f"+{n}", tax_id))
        branch.write("UPDATE crm_client SET email = ? WHERE tax_id = ?", (f"{n}@example.com", tax_id))
    shared.assert_same()
    for side in shared.both:
        assert side.rows("SELECT phone, email FROM crm_client WHERE tax_id = ?", (tax_id,)) == [
            ("+19", "19@example.com")
        ]


# -- what is told about it -----------------------------------------------------------------------------------


def test_the_log_shows_before_and_after_on_both_sides(shared: Pair) -> None:
    side, other = shared.both
    tax_id = client(side, 7)
    for value in ("address before", "address after"):
        side.write("UPDATE crm_client SET address = ? WHERE tax_id = ?", (value, tax_id))
        wait_value(other, value, "SELECT address FROM crm_client WHERE tax_id = ?", tax_id)
        shared.wait_rest()
    shown = {}
    for program in shared.both:
        lines = [line for line in program.synclog() if line["after"] == "address after"]
        assert len(lines) == 1
        shown[program.name] = lines[0]
        assert lines[0]["table"] == "crm.Client"
        assert lines[0]["field"] == "address"
        assert lines[0]["at"]
    assert [shown[name]["way"] for name in SIDES] == ["out", "in"]
    assert shown[BRANCH]["before"] == shown[OFFICE]["before"] == "address before"
    assert (shown[BRANCH]["result"], shown[OFFICE]["result"]) == ("applied", "sent")
    assert shown[OFFICE]["uid"] == shown[BRANCH]["uid"]


def test_the_counters_of_both_sides_agree(shared: Pair) -> None:
    for side in shared.both:
        side.write("UPDATE crm_client SET address = ? WHERE tax_id = ?", (side.name, client(side, 8)))
    shared.assert_same()
    shown = [program.status() for program in shared.both]
    for here, there in (shown, shown[::-1]):
        assert here["sent"] == sum(here[f"peer_{fate}"] for fate in FATES)
        assert here["received"] == sum(here[fate] for fate in FATES)
        assert [here[f"peer_{fate}"] for fate in FATES] == [there[fate] for fate in FATES]
        assert here["sent"] == there["received"]
        assert (here["waiting_out"], here["waiting_in"], here["problems"]) == (0, 0, 0)
        assert (here["state"], here["reason"]) == ("connected", "")
        assert here["last_exchange"]


# -- other ways to set it up ---------------------------------------------------------------------------------


@pytest.mark.kinds(SAME)
def test_one_way_fields(pair: Pair) -> None:
    """``upload`` here is ``download`` there: what is written at the far end stays there."""
    one_way = {OFFICE: ("download", "upload"), BRANCH: ("upload", "download")}
    for side in pair.both:
        phone, email = one_way[side.name]
        text = link_file(side.name).replace('phone = "both"', f'phone = "{phone}"')
        text = text.replace('email = "both"', f'email = "{email}"').replace('note = "both"', 'note = "off"')
        side.configure(text)
    pair.dial(pair.office.url)
    pair.start()
    office, branch = pair.both
    tax_id = client(office, 0)
    change = "UPDATE crm_client SET phone = ?, email = ?, note = ? WHERE tax_id = ?"
    office.write(change, (OFFICE, OFFICE, OFFICE, tax_id))
    wait_value(branch, OFFICE, "SELECT email FROM crm_client WHERE tax_id = ?", tax_id)
    branch.write(change, (BRANCH, BRANCH, BRANCH, tax_id))
    wait_value(office, BRANCH, "SELECT phone FROM crm_client WHERE tax_id = ?", tax_id)
    pair.wait_rest()
    written = "SELECT phone, email, note FROM crm_client WHERE tax_id = ?"
    assert office.rows(written, (tax_id,)) == [(BRANCH, OFFICE, OFFICE)]
    assert branch.rows(written, (tax_id,)) == [(BRANCH, BRANCH, BRANCH)]


@pytest.mark.kinds(SAME, BOTH_POSTGRESQL)
def test_web_and_engine_in_processes_of_their_own(templates: Path, tmp_path: Path, kinds: Kinds) -> None:
    """The Procfile's layout at both ends, without Redis: the database wakes the other process."""
    with pairs.pair(templates, tmp_path, kinds=kinds, apart=True) as pair:
        pair.start()
        for side in pair.both:
            tax_id = client(side, 1)
            side.write("UPDATE crm_client SET phone = ? WHERE tax_id = ?", (side.name, tax_id))
            wait_value(pair.other(side), side.name, "SELECT phone FROM crm_client WHERE tax_id = ?", tax_id)
        pair.assert_same()
        assert [set(side.stop()) for side in pair.both[::-1]] == [{0}, {0}]


@pytest.mark.kinds(SAME, BOTH_POSTGRESQL)
def test_serve_sets_up_an_empty_database(tmp_path: Path, kinds: Kinds) -> None:
    database: Database = SqliteFile(tmp_path)
    if kinds == BOTH_POSTGRESQL:
        database = PostgresDatabase(postgres.shared(), f"fresh_{os.getpid()}")
        database.cluster.create(database.name)
    program = Program(tmp_path, "fresh", database=database)
    program.migrate = True
    try:
        program.start()
        assert json.loads(program.command("syncstatus", "--json", "--skip-checks")) == []
        assert program.value("SELECT length(instance) FROM syncapp_instance") == 16
        assert program.stop() == [0]
    finally:
        program.kill()
        database.remove()
