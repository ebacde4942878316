"""Office and branch make invoices, together and apart: no number twice."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.instances.pair import MIXED, SAME, Pair, link_file
from tests.instances.program import Program
from tests.instances.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

KINDS = (SAME, MIXED)
SERIES = '\n[[series]]\nfield = "crm.Invoice.number"\nowner = "office"\nmode = "{mode}"\nformat = "{{:06}}"\n'

MAKE = """
from project.crm.models import Client, Invoice
for _ in range({many}):
    invoice = Invoice(client=Client.objects.first(), issued_on="2026-03-01", amount=1)
    invoice.save()
    print("made", invoice.number)
"""

ADMIN = """
import re
from django.test import Client as Browser
from django.contrib.auth.models import User
from project.crm.models import Client
browser = Browser()
browser.force_login(User.objects.get(username="admin"))
data = dict(client=Client.objects.first().pk, issued_on="2026-03-01", amount="1.00", number="")
answer = browser.post("/admin/crm/invoice/add/", data, HTTP_HOST="127.0.0.1", follow=True)
assert "errornote" not in answer.content.decode(), answer.content.decode()
"""


def declare(pair: Pair, mode: str) -> None:
    for program in pair.both:
        program.configure(link_file(program.name) + SERIES.format(mode=mode))
    pair.dial(pair.office.url)


def make(program: Program, many: int = 1) -> list[str]:
    """Invoices as the program's own code makes them, in another process."""
    return re.findall(r"made (\S+)", program.shell(MAKE.format(many=many)))


def numbers(program: Program) -> list[str]:
    return [row[0] for row in program.rows("SELECT number FROM crm_invoice ORDER BY number")]


def start(pair: Pair) -> int:
    """Start both; the greatest number that there is."""
    pair.start()
    pair.wait_rest()
    return int(max(number for number in numbers(pair.office) if number.isdigit()))


def listed(program: Program) -> Any:
    import json

    (found,) = json.loads(program.command("syncseries", "--json", "--skip-checks"))
    return found


def test_ranges(pair: Pair) -> None:
    declare(pair, "ranges")
    start(pair)
    wait_until(lambda: listed(pair.branch)["left"] >= 100, 60, "the branch has a range", every=0.5)
    made = make(pair.office, 3) + make(pair.branch, 3)
    pair.branch.kill()
    made += make(pair.branch, 3) + make(pair.office, 3)  # apart
    pair.branch.start()
    pair.wait_connected()
    made += make(pair.branch, 2)
    pair.assert_same()
    assert len(set(made)) == len(made) == 14
    assert set(made) <= set(numbers(pair.office))
    assert not listed(pair.office)["gaps"]


def test_contiguous(pair: Pair) -> None:
    declare(pair, "contiguous")
    last = start(pair)
    made = make(pair.branch, 3) + make(pair.office, 2) + make(pair.branch, 2)
    pair.branch.shell(ADMIN)
    made += make(pair.office)
    pair.wait_rest()
    assert made == [f"{last + n:06}" for n in (1, 2, 3, 4, 5, 6, 7, 9)]
    assert f"{last + 8:06}" in numbers(pair.branch), "saved in the admin, within its transaction"
    pair.office.kill()
    wait_until(lambda: pair.branch.state()["state"] != "connected", 30, "the branch is alone")
    (provisional,) = make(pair.branch)
    assert provisional.startswith("P-")
    ahead = make(pair.office)
    pair.office.start()
    pair.wait_connected()
    final = f"{last + 11:06}"
    wait_until(lambda: final in numbers(pair.office), 60, f"{provisional} became {final} everywhere")
    assert ahead == [f"{last + 10:06}"]
    assert make(pair.branch) == [f"{last + 12:06}"]
    pair.assert_same()
    assert not any(number.startswith("P-") for number in numbers(pair.office))
    assert not listed(pair.office)["gaps"]
    assert listed(pair.branch)["replaced"] == [{"provisional": provisional, "number": final}]
