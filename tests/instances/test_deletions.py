"""Deletions between two programs as people run them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.instances.pair import Pair
from tests.instances.program import Program
from tests.instances.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def wait_value(side: Program, expected: Any, sql: str, *parameters: Any) -> None:
    wait_until(lambda: side.value(sql, parameters) == expected, 30, f"{side.name}: {sql} {parameters}")


def make(pair: Pair, name: str) -> None:
    """A client with a tag, an order and a payment, in both programs."""
    pair.office.shell(
        f"""
from project.crm.models import Client, Order, Payment, Tag
client = Client.objects.create(name={name!r}, tax_id={name!r}, phone="1")
client.tags.add(Tag.objects.create(name={name!r}))
order = Order.objects.create(number={name!r}, client=client)
Payment.objects.create(order=order, amount=1, paid_on="2026-01-02", comment={name!r})
"""
    )
    wait_value(pair.branch, 1, "SELECT count(*) FROM crm_payment WHERE comment = ?", name)
    pair.wait_rest()


def delete(side: Program, name: str) -> None:
    side.shell(f"from project.crm.models import Client; Client.objects.get(tax_id={name!r}).delete()")


COUNTS = (
    "SELECT (SELECT count(*) FROM crm_client WHERE tax_id = ?) + (SELECT count(*) FROM crm_order WHERE number = ?) "
    "+ (SELECT count(*) FROM crm_payment WHERE comment = ?)"
)


def test_deleted_here_is_gone_there(shared: Pair) -> None:
    """With what the models' relations say, in both directions."""
    for side, name in ((shared.office, "gone-1"), (shared.branch, "gone-2")):
        make(shared, name)
        delete(side, name)
        wait_value(shared.other(side), 0, COUNTS, name, name, name)
        shared.assert_same()
        other = shared.other(side)
        told = [
            (line["table"], line["before"], line["after"], line["result"])
            for line in other.synclog()
            if line["field"] == "record_status" and line["after"] == "deleted"
        ]
        assert ("crm.Client", "alive", "deleted", "applied") in told
        kept = "SELECT count(*) FROM syncapp_archive WHERE label = 'crm.Client' AND \"values\" LIKE ?"
        assert other.value(kept, (f"%{name}%",)) == 1
        tag = "SELECT count(*) FROM crm_tag WHERE name = ?"
        assert (side.value(tag, (name,)), other.value(tag, (name,))) == (1, 1)


def test_raw_deletions_and_whole_tables(shared: Pair) -> None:
    """Past Django: what the database itself has lost."""
    with shared.branch.connection() as connection:
        connection.executemany(
            "INSERT INTO crm_client (name, tax_id) VALUES (?, ?)", [(f"R{n}", f"raw-{n}") for n in range(40)]
        )
    wait_value(shared.office, 40, "SELECT count(*) FROM crm_client WHERE tax_id LIKE 'raw-%'")
    shared.wait_rest()
    shared.office.write("DELETE FROM crm_client WHERE tax_id LIKE 'raw-%'")
    wait_value(shared.branch, 0, "SELECT count(*) FROM crm_client WHERE tax_id LIKE 'raw-%'")
    shared.assert_same()


def test_edit_against_deletion_while_cut_off(live: Pair) -> None:
    """The branch is off: each side does as it likes; the later word counts, and nothing is lost unseen."""
    for name in ("later-edit", "later-deletion", "child"):
        make(live, name)
    office, branch = live.office, live.branch
    branch.stop()
    delete(office, "later-edit")
    branch.write("UPDATE crm_client SET phone = '2' WHERE tax_id = ?", ("later-edit",))
    branch.write("UPDATE crm_client SET phone = '3' WHERE tax_id = ?", ("later-deletion",))
    delete(office, "later-deletion")
    # The branch adds an order to a client that is gone at the office.
    branch.write(
        "INSERT INTO crm_order (number, client_id) SELECT 'unknown order', id FROM crm_client WHERE tax_id = ?",
        ("child",),
    )
    delete(office, "child")
    branch.start()
    live.wait_connected()
    live.wait_rest()
    live.assert_same()
    for side in live.both:
        assert side.value("SELECT phone FROM crm_client WHERE tax_id = 'later-edit'") == "2"
        assert side.value("SELECT count(*) FROM crm_client WHERE tax_id IN ('later-deletion', 'child')") == 0
        assert side.value("SELECT count(*) FROM crm_order WHERE number = 'unknown order'") == 0
        assert side.value("SELECT count(*) FROM syncapp_problem") == 0
    # The edit that was lost with its record comes back with it.
    listed = branch.command("syncconflicts", "list", "--json")
    assert "phone: 3" in listed
    number = branch.value(
        "SELECT c.id FROM syncapp_conflict c JOIN syncapp_archive a ON a.uid = c.uid "
        "WHERE a.\"values\" LIKE '%later-deletion%'"
    )
    branch.command("syncconflicts", "restore", f"C{number}")
    wait_value(office, "3", "SELECT phone FROM crm_client WHERE tax_id = 'later-deletion'")
    live.assert_same()


def test_a_row_that_cannot_go_says_why_and_stalls_nothing(live: Pair) -> None:
    """Another program's table refers to the client: the database refuses its deletion."""
    make(live, "held")
    branch = live.branch
    branch.write("CREATE TABLE outside (client_id integer REFERENCES crm_client (id))")
    branch.write("INSERT INTO outside SELECT id FROM crm_client WHERE tax_id = 'held'")
    make(live, "free")
    delete(live.office, "held")
    delete(live.office, "free")
    wait_value(branch, 0, "SELECT count(*) FROM crm_client WHERE tax_id = 'free'")
    assert branch.value("SELECT count(*) FROM crm_client WHERE tax_id = 'held'") == 1
    assert "crm.Client" in branch.command("syncproblems", "list")
    branch.write("DELETE FROM outside")
    branch.command("syncproblems", "retry", "--all")
    wait_value(branch, 0, "SELECT count(*) FROM crm_client WHERE tax_id = 'held'")
    wait_value(branch, 0, "SELECT count(*) FROM syncapp_problem")
