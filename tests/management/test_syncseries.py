"""``syncseries``."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.utils.translation import override

from project.crm.models import Client, Invoice
from syncapp import conf
from syncapp.core.series import Book, Neighbour
from syncapp.core.spans import Span
from syncapp.models import Instance, Link, Series, SeriesProvisional
from syncapp.store import numbering
from tests.store.configs import PASSIVE, apply, number

pytestmark = pytest.mark.django_db

LAPTOP, OTHER = b"l" * 16, b"o" * 16


def run(*arguments: Any) -> str:
    out = StringIO()
    call_command("syncseries", *arguments, stdout=out)
    return out.getvalue()


def listed() -> dict[str, Any]:
    (found,) = json.loads(run("--json"))
    assert isinstance(found, dict)
    return found


def declare(owner: str = "") -> None:
    field = f'[[series]]\nfield = "crm.Invoice.number"\nowner = "{owner or conf.current().instance}"\n'
    fields = '[[link.table]]\ntable = "crm.Invoice"\n[link.table.fields]\nnumber = "both"\n'
    apply(PASSIVE + fields + field + 'format = "{:04}"\nmode = "contiguous"')


def keep(**book: Any) -> None:
    instance = Instance.objects.get(pk=numbering.INSTANCE_PK)
    me = bytes(instance.instance) + instance.epoch.to_bytes(4, "big")
    Series.objects.update(book=msgspec.msgpack.encode(Book(**{"me": me, "sure": True, **book})))


def invoices(*numbers: str) -> None:
    client = Client.objects.create(name="A")
    for one in numbers:
        Invoice.objects.create(number=one, client=client, issued_on="2026-01-01")


def test_without_a_series() -> None:
    assert run() == "No field is a shared series here.\n"
    assert json.loads(run("--json")) == []


def test_the_owner_sees_everything() -> None:
    declare()
    invoices("0005", "0007", "old")
    link = Link.objects.get().pk
    laptop = Neighbour(title="Laptop", link=link, reported=True, holds=True, free=(Span(8, 9),), wants=3)
    keep(first=5, next=12, neighbours={LAPTOP: laptop})
    found = listed()
    assert (found["field"], found["mode"], found["owned"], found["next"]) == (
        *("crm.Invoice.number", "contiguous", True),
        12,
    )
    assert found["gaps"] == ["6", "10–11"]
    (holder,) = found["holders"]
    assert holder == {"name": "Laptop", "link": "Branch", "state": "holder", "held": ["8–9"], "wants": 3}
    shown = run()
    assert "10–11" in shown
    assert "leases from us" in shown


def test_a_holder_sees_its_own() -> None:
    declare(owner="office")
    invoices("P-1")
    field = number("crm.Invoice.number")
    for value, final in (("P-0", "0001"), ("P-1", ""), ("P-2", "")):
        SeriesProvisional.objects.create(series_id=field, value=value, final=final, created_at=1)
    link = Link.objects.get().pk
    keep(pool=(Span(3, 5),), neighbours={OTHER: Neighbour(title="Office", link=link, hops=0)})
    found = listed()
    assert (found["owned"], found["way"], found["next"], found["gaps"]) == (False, 1, None, None)
    assert (found["left"], found["held"], found["provisional"]) == (3, ["3–5"], ["P-1"])
    assert found["replaced"] == [{"provisional": "P-0", "number": "0001"}]
    assert found["holders"][0]["state"] == "owner"
    assert "P-0 → 0001" in run()


@pytest.mark.parametrize("name", ["Laptop", LAPTOP.hex()[:8]])
def test_dismiss(name: str) -> None:
    declare()
    known = {
        LAPTOP: Neighbour(title="Laptop", holds=True, free=(Span(8, 9),)),
        OTHER: Neighbour(title="Other", link=Link.objects.get().pk, reported=True),
    }
    Link.objects.get().state.__class__.objects.update(peer_instance=OTHER)
    keep(sure=False, next=12, neighbours=known)
    assert listed()["waits_for"] == ["Laptop"]
    told = run("--dismiss", name)
    assert "Laptop" in told or name in told
    found = listed()
    assert (found["waits_for"], found["gaps"]) == ([], ["1–11"])
    assert [holder["state"] for holder in found["holders"]] == ["dismissed", "holder"]


def test_dismiss_whoever_is_beyond_a_link_that_was_never_used() -> None:
    declare()
    keep(sure=False, next=12)
    assert listed()["waits_for"] == ["Branch"]
    run("--dismiss", "Branch")
    assert listed()["waits_for"] == []


def test_dismiss_nobody() -> None:
    declare()
    keep(neighbours={LAPTOP: Neighbour(title="Laptop")})
    with pytest.raises(CommandError, match=r"Lapdog.*Those that do: Branch, Laptop"):
        run("--dismiss", "Lapdog")


def test_who_knows_of_a_restore_says_so() -> None:
    declare()
    keep(next=12, pool=(Span(3, 5),))
    assert "crm.Invoice.number" in run("--restored")
    found = listed()
    assert (found["held"], found["waits_for"]) == ([], ["Branch"])


def test_in_russian() -> None:
    declare()
    with override("ru"):
        assert "Пропуски" in run()
