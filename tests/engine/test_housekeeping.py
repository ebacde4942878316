"""What is tidied now and then: bounded, and never what is still needed."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from django.test import override_settings

from syncapp import conf
from syncapp.core.changes import Entry, pack_entries
from syncapp.core.clock import Version
from syncapp.engine import housekeeping
from syncapp.engine.housekeeping import housekeep, prepare
from syncapp.models import Archive, Field, Link, LinkState, LogEntry, Mapping, Pair, Record, Seal
from syncapp.store import catalogue, triggers
from syncapp.store.sql import SqlBackend
from syncapp.store.store import Store
from tests import rows
from tests.store.linked import Linked, link_fields

pytestmark = pytest.mark.django_db


@pytest.fixture
def store() -> Store:
    return Store(SqlBackend())


# -- the log ------------------------------------------------------------------------------------------------


def test_old_log_rows_go(store: Store) -> None:
    link, field = rows.link(), rows.field()
    now, day = store.backend.now(), 86_400_000_000
    days = conf.current().log_days
    kept = [rows.log_entry(link, field, at=now - age).pk for age in (0, day, days * day - 60_000_000)]
    for age in (days * day + 60_000_000, 400 * day):
        rows.log_entry(link, field, at=now - age)
    housekeep(store)
    assert set(LogEntry.objects.values_list("pk", flat=True)) == set(kept)
    with override_settings(SYNCAPP_LOG_DAYS=1):
        housekeep(store)
    assert LogEntry.objects.get().pk == kept[0]


@override_settings(SYNCAPP_LOG_ROWS=5)
def test_each_link_keeps_its_newest_rows(store: Store) -> None:
    field, now = rows.field(), store.backend.now()
    busy, calm = rows.link("Busy"), rows.link("Calm")
    busy_rows = [rows.log_entry(busy, field, at=now).pk for _ in range(8)]
    calm_rows = [rows.log_entry(calm, field, at=now).pk for _ in range(5)]
    housekeep(store)
    assert list(busy.log_entries.order_by("pk").values_list("pk", flat=True)) == busy_rows[3:]
    assert list(calm.log_entries.order_by("pk").values_list("pk", flat=True)) == calm_rows


@override_settings(SYNCAPP_LOG_ROWS=1)
def test_many_rows_go_in_bounded_pieces(store: Store) -> None:
    link, field, now = rows.link(), rows.field(), store.backend.now()
    first = rows.log_entry(link, field, at=now)
    LogEntry.objects.bulk_create(
        LogEntry(
            link=link, at=now, way="in", table_no=field.table_id, pk_text="7", uid=b"u", field_no=field.pk
        )
        for _ in range(housekeeping.CHUNK + 10)
    )
    housekeep(store)
    assert LogEntry.objects.get().pk == first.pk + housekeeping.CHUNK + 10


# -- tags of seals ------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "SEALS_KEPT", 3)


def seals() -> dict[int, bytes]:
    return {seal.last_seq: bytes(seal.tag) for seal in Seal.objects.order_by("last_seq")}


def made(*numbers: int) -> None:
    Seal.objects.all().delete()
    for number in numbers:
        Seal.objects.create(last_seq=number, tag=b"tag%05d" % number)


@pytest.mark.usefixtures("few")
def test_tags_that_every_peer_has_passed_go_but_for_their_boundary(store: Store) -> None:
    made(*range(10, 101, 10))
    rows.link("A", state={"acked_seq": 100})
    rows.link("B", state={"acked_seq": 50})
    housekeep(store)
    assert list(seals()) == [40, 50, 60, 70, 80, 90, 100]
    assert seals()[40] == b""
    known = store.backend.seal_tag
    assert [known(seq) for seq in (1, 10, 39, 40)] == [None] * 4
    assert known(50) == b"tag00050"
    assert known(41) == b"tag00050"
    assert known(100) == b"tag00100"
    before = seals()
    housekeep(store)
    assert seals() == before


@pytest.mark.usefixtures("few")
def test_the_boundary_moves_on(store: Store) -> None:
    made(*range(10, 101, 10))
    rows.link("A", state={"acked_seq": 50})
    housekeep(store)
    LinkState.objects.update(acked_seq=70)
    housekeep(store)
    assert list(seals()) == [60, 70, 80, 90, 100]
    assert seals()[60] == b""


@pytest.mark.usefixtures("few")
def test_the_newest_tags_stay_whatever_was_acknowledged(store: Store) -> None:
    made(*range(10, 101, 10))
    rows.link("A", state={"acked_seq": 1000})
    housekeep(store)
    assert [seq for seq, tag in seals().items() if tag] == [70, 80, 90, 100]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("acked", [None, 0, 10])
def test_tags_that_a_peer_may_still_name_stay(store: Store, acked: int | None) -> None:
    made(*range(10, 101, 10))
    if acked is not None:
        rows.link("A", state={"acked_seq": acked})
        rows.link("B", state={"acked_seq": 100})
    before = seals()
    housekeep(store)
    assert seals() == before
    assert len(before) == 10


# -- triggers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tidy", [prepare, housekeep])
def test_triggers_that_somebody_removed_are_put_back_with_a_warning(
    store: Store, tidy: Callable[[Store], None], caplog: pytest.LogCaptureFixture
) -> None:
    link_fields({"crm.Client": ["name", "phone"]})
    assert triggers.verify() == []
    triggers.remove_all()
    assert triggers.verify() != []
    with caplog.at_level(logging.WARNING):
        tidy(store)
    assert triggers.verify() == []
    (record,) = [r for r in caplog.records if r.name == housekeeping.__name__]
    assert record.levelno == logging.WARNING
    assert "crm.Client" in record.getMessage()


def test_whole_triggers_are_left_alone(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    link_fields({"crm.Client": ["name"]})
    with caplog.at_level(logging.WARNING):
        housekeep(store)
    assert not caplog.records


def test_triggers_that_nobody_wants_any_more_go(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    linked = link_fields({"crm.Client": ["name"]})
    Mapping.objects.filter(link_id=linked.link).delete()
    catalogue.bump("default")
    with caplog.at_level(logging.WARNING):
        housekeep(store)
    assert triggers.verify() == []
    assert "none is wanted any more" in caplog.text


def test_preparing_takes_the_tables_into_the_catalogue(store: Store) -> None:
    Field.objects.update(retired=True)
    prepare(store)
    assert Field.objects.filter(retired=False, table__label="crm.Client", name="name").exists()


# -- deletions ----------------------------------------------------------------------------------------------


def dead(linked: Linked, number: int, at: int, seq: int) -> Record:
    """A record that was deleted at ``at``, and is known to the link's peer."""
    status = linked.numbers["crm.Client.record_status"]
    entries = pack_entries({status: Entry(Version(at, rows.ORIGIN), seq)})
    uid = number.to_bytes(16, "big")
    record = Record.objects.create(
        table_id=linked.tables["crm.Client"],
        pk_text=str(number),
        uid=uid,
        alive=False,
        seq=seq,
        entries=entries,
    )
    Pair.objects.create(link_id=linked.link, record=record)
    return record


def test_deletions_are_forgotten_once_they_are_old_and_told(store: Store) -> None:
    linked = link_fields({"crm.Client": ["name", "time_added", "record_status"]})
    with store.backend.transaction():
        store.backend.cursors(linked.link)
    LinkState.objects.update(acked_seq=10)
    now, day = store.backend.now(), 86_400_000_000
    old, young, untold = (
        dead(linked, number, now - age * day, seq)
        for number, age, seq in ((1, 31, 5), (2, 29, 6), (3, 99, 11))
    )
    Archive.objects.create(
        label="crm.Client",
        table_no=1,
        uid=bytes(old.uid),
        pk_text="1",
        values={},
        time=1,
        origin=b"",
        created_at=1,
    )
    housekeep(store)
    assert set(Record.objects.values_list("pk", flat=True)) == {young.pk, untold.pk}
    assert not Archive.objects.exists()
    assert LinkState.objects.get().floor_seq == 5
    with override_settings(SYNCAPP_TOMBSTONE_DAYS=28):
        housekeep(store)
    assert Record.objects.get() == untold
    # Without the link nobody waits for it any more.
    Link.objects.all().delete()
    housekeep(store)
    assert not Record.objects.exists()
