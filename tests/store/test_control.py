"""Pause, resume, retry, skip."""

from __future__ import annotations

import json

import pytest

from syncapp.core.clock import Version
from syncapp.models import Instance, Link, LogEntry, Problem
from syncapp.store import control
from syncapp.store.parked import Cell, Incoming, pack
from tests import rows
from tests.rows import NOW

pytestmark = pytest.mark.django_db


def version() -> int:
    return Instance.objects.get().config_version


def test_pausing_tells_the_engine() -> None:
    link = rows.link()
    rows.instance()
    before = version()
    assert control.set_paused(link.pk, True)
    assert Link.objects.get().paused
    assert version() > before


def test_pausing_nothing_changes_nothing() -> None:
    rows.instance()
    before = version()
    assert not control.set_paused(12345, True)
    assert version() == before


def test_retry_makes_chosen_problems_due() -> None:
    link, other = rows.link("a"), rows.link("b")
    field = rows.field()
    first, second, third = rows.problem(link, field), rows.problem(link, field), rows.problem(other, field)
    assert control.retry_problems([first.pk]) == 1
    due = set(Problem.objects.filter(next_try=0).values_list("pk", flat=True))
    assert due == {first.pk}
    assert control.retry_problems(None, link.pk) == 2
    assert control.retry_problems(None) == 3
    assert {second.pk, third.pk} <= set(Problem.objects.filter(next_try=0).values_list("pk", flat=True))


def test_skipping_keeps_the_values_in_the_log() -> None:
    field, other = rows.field("phone"), rows.field("note")
    cells = {
        field.number: Cell(Version(NOW, rows.ORIGIN), "+7 900", 5),
        other.number: Cell(Version(NOW, rows.ORIGIN), None, 6),
    }
    parked = pack(Incoming(b"u" * 16, field.table.number, 0, cells))
    kept = rows.problem(rows.link("a"), field)
    skipped = rows.problem(rows.link("b"), field, payload=parked)
    assert control.skip_problems([skipped.pk], NOW) == 1
    assert list(Problem.objects.all()) == [kept]
    entries = LogEntry.objects.order_by("field_no")
    assert [(e.field_no, json.loads(e.after or ""), e.result, e.detail) for e in entries] == [
        (field.number, "+7 900", "skipped", "missing_target"),
        (other.number, None, "skipped", "missing_target"),
    ]


@pytest.mark.parametrize("payload", [b"", b"\xc1 not readable"])
def test_skipping_what_cannot_be_read_keeps_its_bytes(payload: bytes) -> None:
    skipped = rows.problem(rows.link(), rows.field(), payload=payload)
    control.skip_problems([skipped.pk], NOW)
    entry = LogEntry.objects.get()
    assert entry.field_no == skipped.field_no
    assert set(json.loads(entry.after or "")) == {"payload"}
