"""What has to be tidied now and then: the log within its bounds, tags of seals that nobody asks for any more."""

from __future__ import annotations

import logging

from django.db.models import Min

from syncapp import conf
from syncapp.models import Link, LinkState, LogEntry, Seal, SeriesRequest
from syncapp.store import catalogue, triggers
from syncapp.store.store import Store

logger = logging.getLogger(__name__)

DAY = 86_400 * 1_000_000
#: Tags of this many recent seals are kept in any case.
SEALS_KEPT = 10_000
#: Rows removed in one go, so that a writer never waits long.
CHUNK = 5_000


def prepare(store: Store) -> None:
    """Before the engine works: the catalogue as the models are now, the triggers as the mappings want them."""
    catalogue.refresh(store.using)
    _mend_triggers(store)


def housekeep(store: Store) -> None:
    """Tidy up, in bounded pieces."""
    _mend_triggers(store)
    _trim_log(store)
    _trim_seals(store)
    _drop_requests(store)
    _forget_deletions(store)


def _mend_triggers(store: Store) -> None:
    """Put back triggers that somebody removed, and say so: writes meanwhile were not noticed."""
    faults = triggers.verify(store.using)
    if not faults:
        return
    tables = sorted({fault.label for fault in faults if fault.label})
    logger.warning(
        "Change triggers were missing or outdated and are put back (%s). Writes since they went were not noticed.",
        ", ".join(tables) or "none is wanted any more",
    )
    triggers.install_all(store.using)


def _trim_log(store: Store) -> None:
    settings = conf.current()
    rows = LogEntry.objects.using(store.using)
    oldest = store.backend.now() - settings.log_days * DAY
    _delete(rows.filter(at__lt=oldest))
    for link in Link.objects.using(store.using).values_list("pk", flat=True):
        mine = rows.filter(link_id=link).order_by("-id")
        last = mine.values_list("id", flat=True)[settings.log_rows : settings.log_rows + 1]
        if last:
            _delete(rows.filter(link_id=link, id__lte=last[0]))


def _drop_requests(store: Store) -> None:
    """Saves that waited for a number when their process was killed."""
    SeriesRequest.objects.using(store.using).filter(until__lt=store.backend.now()).delete()


def _delete(rows: object) -> None:
    while True:
        ids = list(rows.values_list("id", flat=True)[:CHUNK])  # type: ignore[attr-defined]
        if not ids:
            return
        rows.filter(id__in=ids).delete()  # type: ignore[attr-defined]


def _trim_seals(store: Store) -> None:
    """Tags below every peer's acknowledgement are never compared again; the newest are kept all the same."""
    seals = Seal.objects.using(store.using)
    acked = LinkState.objects.using(store.using).aggregate(low=Min("acked_seq"))["low"]
    kept = list(seals.order_by("-last_seq").values_list("last_seq", flat=True)[SEALS_KEPT : SEALS_KEPT + 1])
    if acked is None or not kept:
        return
    boundary = seals.filter(last_seq__lt=min(acked, kept[0])).order_by("-last_seq").first()
    if boundary is not None:
        # The boundary stays, without its tag: numbers up to it are known to be unknown.
        seals.filter(last_seq=boundary.last_seq).update(tag=b"")
        seals.filter(last_seq__lt=boundary.last_seq).delete()


def _forget_deletions(store: Store) -> None:
    """Deletions that all peers know of are forgotten after a while, and with them what is kept of the rows."""
    before = store.backend.now() - conf.current().tombstone_days * DAY
    position = 0
    while True:
        done = store.purge(before, position)
        if done.many:
            logger.info("%d deleted records are forgotten: every peer knows of them.", done.many)
        position = done.position
        if not position:
            return
