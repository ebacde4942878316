"""What people see of a link, derived from the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import translation

from syncapp.models import Pair, Record
from syncapp.store import waiting
from syncapp.store.status import LinkReport, link_statuses
from syncapp.store.texts import inert
from tests import rows
from tests.rows import NOW, SECOND

pytestmark = pytest.mark.django_db


def only(now: int = NOW) -> LinkReport:
    (status,) = link_statuses(now)
    return status


def test_promised_fields_come_first() -> None:
    promised = [
        *("link", "mode", "transport", "state", "peer", "peer_instance", "last_exchange"),
        *("waiting_out", "waiting_in", "problems", "conflicts"),
        *("sent", "applied", "superseded", "duplicate", "parked"),
        *("lag_ms", "clock_offset_ms", "reason"),
    ]
    assert list(LinkReport.__dataclass_fields__)[: len(promised)] == promised


def test_connected_link() -> None:
    state = {
        "state": "connected",
        "peer_title": "Head office",
        "peer_instance": b"\x01" * 16,
        "last_exchange": NOW - 1,
        "lag": 2_549,
        "clock_offset": -1_500_400,
        "sent": 3,
        "applied": 4,
        "peer_head": 9,
        "applied_seq": 7,
    }
    rows.link(state=state)
    status = only()
    assert (status.state, status.reason, status.warnings) == ("connected", "", [])
    assert status.peer_instance == "01" * 16
    assert status.last_exchange == datetime(2026, 3, 1, 11, 59, 59, 999_999, tzinfo=UTC)
    assert (status.lag_ms, status.clock_offset_ms) == (2.5, -1500)
    assert (status.sent, status.applied, status.waiting_in) == (3, 4, 2)


def test_link_that_the_engine_never_saw() -> None:
    rows.link(mode="passive", code="SECRETCODE")
    status = only()
    assert (status.state, status.last_exchange, status.code) == ("never", None, "SECRETCODE")
    assert "active link there" in status.reason


def test_active_links_show_no_code() -> None:
    rows.link(state={"state": "connected"})
    assert only().code == ""


@pytest.mark.parametrize(("mode", "words"), [("active", "is not running"), ("passive", "calls again")])
def test_killed_process_leaves_no_green_tick(mode: str, words: str) -> None:
    rows.link(mode=mode, state={"state": "connected", "lease_until": NOW})
    assert only(NOW).state == "connected"
    dead = only(NOW + 1)
    assert dead.state == "offline"
    assert words in dead.reason
    assert dead.waiting_in == 0


def test_pause_is_seen_before_the_engine_saw_it() -> None:
    link = rows.link(paused=True, state={"state": "connected"})
    assert only().state == "paused"
    link.paused = False
    link.save()
    link.state.state = "paused"
    link.state.save()
    assert only().state == "connecting"


def test_pause_of_the_other_side_is_told() -> None:
    rows.link(state={"state": "paused", "reason_code": "paused"})
    status = only()
    assert (status.state, status.reason) == ("paused", "The link is paused in the other program.")


@pytest.mark.parametrize(("seconds", "expected"), [(60, "connecting"), (61, "offline")])
def test_connecting_for_long_is_offline(seconds: int, expected: str) -> None:
    rows.link(state={"state": "connecting", "attempt": 7, "state_since": NOW - seconds * SECOND})
    status = only()
    assert (status.state, status.attempt) == (expected, 7)
    assert status.state_since is not None


def test_reason_speaks_the_readers_language_and_names_what_it_is_about() -> None:
    params = {"address": "http://office.example", "detail": "timed out"}
    rows.link(state={"state": "offline", "reason_code": "unreachable", "reason_params": params})
    assert only().reason.startswith("http://office.example cannot be reached (timed out).")
    with translation.override("ru"):
        reason = only().reason
    assert "http://office.example" in reason
    assert "cannot be reached" not in reason


def test_what_a_peer_says_is_inert() -> None:
    evil = "x\x1b[31m\u202e\r\ny"
    rows.link(state={"state": "connected", "peer_title": evil, "peer_software": evil})
    assert only().peer == only().peer_version == "x[31m ⏎y"


def test_inert_text() -> None:
    assert inert("a\tb\nc\x00d\x07") == "a⇥b⏎cd"
    assert inert("abcdef", 4) == "abc…"
    assert inert("Ёлка 😀 \u200bx") == "Ёлка 😀 x"


@pytest.mark.parametrize(("offset", "warned"), [(2 * SECOND, False), (-2 * SECOND - 1, True)])
def test_clock_warning(offset: int, warned: bool) -> None:
    rows.link(state={"state": "connected", "clock_offset": offset})
    assert bool(only().warnings) is warned


def test_clock_warning_says_how_much() -> None:
    rows.link(state={"state": "connected", "clock_offset": 125 * SECOND})
    assert only().warnings == ["Clocks differ by 2 min 5 s. Set the clock of both machines."]


@pytest.mark.parametrize(("days", "told"), [(0, True), (6, True), (8, False)])
def test_a_restored_program_is_told_of_for_a_week(days: int, told: bool) -> None:
    params = {"peer": "Office\x1b[31m", "at": "2026-03-01 12:00:00 UTC", "since": "2026-02-28 09:00:00 UTC"}
    notice = {"notice_code": "was_restored_there", "notice_params": params}
    rows.link(state={"state": "connected", "notice_at": NOW - days * 86_400 * SECOND, **notice})
    assert bool(only().warnings) is told
    if told:
        (warning,) = only().warnings
        assert "2026-02-28 09:00:00 UTC" in warning
        assert "\x1b" not in warning


def test_an_unknown_notice_is_left_out() -> None:
    rows.link(state={"state": "connected", "notice_code": "of_a_later_version", "notice_at": NOW})
    assert only().warnings == []


def test_deletions_that_wait_are_counted_and_told_when_the_peer_stays_away() -> None:
    field, day = rows.field(), 86_400 * SECOND
    away = rows.link("Away", state={"acked_seq": 5, "last_exchange": NOW - 31 * day})
    busy = rows.link("Busy", state={"acked_seq": 6, "last_exchange": NOW - day})
    for seq, alive in ((5, False), (6, False), (7, False), (8, True)):
        record = rows.record(field, seq)
        Record.objects.filter(pk=record.pk).update(alive=alive)
        for link in (away, busy):
            Pair.objects.create(link=link, record=record)
    reports = {report.link: report for report in link_statuses(NOW)}
    assert (reports["Away"].deletions_waiting, reports["Busy"].deletions_waiting) == (2, 1)
    assert reports["Busy"].warnings == []
    (warning,) = reports["Away"].warnings
    assert "2" in warning
    assert "remove the link" in warning


def test_suspended_fields_are_named() -> None:
    link = rows.link(state={"state": "connected"})
    field = rows.field("phone")
    rows.mapping(link, field)
    link.state.suspended = [
        [field.number, "types_differ", {"field": "phone", "here": "text", "there": "integer"}],
        [99_999, "from_the_future", {"field": "gone"}],
    ]
    link.state.save()
    known, unknown = only().suspended
    assert known.field == "crm.Client.phone"
    assert known.sentence == 'Types of "phone" differ: text ↔ integer. Choose another field.'
    assert (unknown.field, "from_the_future" in unknown.sentence) == ("gone", True)


def test_problems_and_open_conflicts_are_counted_per_link() -> None:
    one, other = rows.link("a", state={}), rows.link("b", state={})
    field = rows.field()
    for _ in range(3):
        rows.problem(one, field)
    rows.conflict(one, field)
    rows.conflict(other, field)
    rows.conflict(other, field, resolved="kept")
    assert [(s.problems, s.conflicts) for s in link_statuses(NOW)] == [(3, 1), (0, 1)]


class TestWaitingOut:
    """Changes that have not reached the peer."""

    def make(self, direction: str = "both", **state: Any) -> tuple[Any, Any]:
        link = rows.link(state={"state": "connected", **state})
        field = rows.field("phone")
        rows.mapping(link, field, direction)
        return link, field

    def test_nothing_waits_when_all_is_acknowledged(self) -> None:
        _, field = self.make(acked_seq=5)
        rows.record(field, 5)
        rows.instance(head=5)
        assert only().waiting_out == 0

    def test_changes_above_the_acknowledged_number_wait(self) -> None:
        _, field = self.make(acked_seq=4)
        for seq in (3, 4, 5, 6):
            rows.record(field, seq)
        rows.instance(head=6)
        assert only().waiting_out == 2

    def test_what_is_in_flight_still_waits(self) -> None:
        _, field = self.make(acked_seq=4, scanned_seq=6)
        rows.record(field, 6)
        rows.instance(head=6)
        assert only().waiting_out == 1

    def test_what_came_over_the_link_does_not_go_back(self) -> None:
        link, field = self.make(acked_seq=4)
        rows.record(field, 5, via=link.pk)
        rows.record(field, 6, via=link.pk + 1)
        rows.instance(head=6)
        assert only().waiting_out == 1

    def test_an_old_change_of_a_record_with_a_new_number_does_not_wait(self) -> None:
        _, field = self.make(acked_seq=4)
        rows.record(field, 6, entry_seq=2)
        rows.instance(head=6)
        assert only().waiting_out == 0

    @pytest.mark.parametrize(("direction", "waits"), [("upload", 1), ("download", 0), ("off", 0)])
    def test_only_fields_that_are_sent_wait(self, direction: str, waits: int) -> None:
        _, field = self.make(direction)
        rows.record(field, 1)
        rows.instance(head=1)
        assert only().waiting_out == waits

    def test_other_fields_do_not_wait(self) -> None:
        self.make()
        rows.record(rows.field("note"), 1)
        rows.instance(head=1)
        assert only().waiting_out == 0

    def test_unsealed_rows_of_the_links_tables_wait(self) -> None:
        _, field = self.make()
        rows.instance(head=0)
        rows.journal(field.table.number)
        rows.journal(field.table.number + 100)
        assert only().waiting_out == 1

    def test_beyond_the_examined_records_are_estimated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waiting, "EXAMINED", 3)
        _, field = self.make()
        for seq in range(1, 11):
            rows.record(field, seq)
        rows.record(rows.field("name", "crm.Tag"), 11)
        rows.instance(head=11)
        assert only().waiting_out == 10


def test_number_of_queries_does_not_grow_with_links(django_assert_num_queries: Any) -> None:
    def add(number: int) -> None:
        link = rows.link(f"link {number}", state={"state": "connected", "acked_seq": number % 3})
        rows.mapping(link, field)
        rows.problem(link, field)

    field = rows.field()
    rows.instance(head=5)
    rows.record(field, 5)
    add(0)
    with django_assert_num_queries(8):
        assert len(link_statuses(NOW)) == 1
    for number in range(1, 100):
        add(number)
    with django_assert_num_queries(8):
        assert len(link_statuses(NOW)) == 100
