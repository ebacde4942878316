"""How many changes wait to be sent over each link, counted for all links at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.db.models import Count, F, Q

from syncapp.core.changes import unpack_entries
from syncapp.models import Pair, Record

#: The newest records are looked into; older ones are only counted.
EXAMINED = 2_000


class Outgoing(NamedTuple):
    """What a link sends, and how far it got. ``fields``: number of each field that it sends → its table."""

    link: int
    acked: int
    scanned: int
    fields: Mapping[int, int]


class _Changed(NamedTuple):
    table: int
    seq: int
    entries: bytes | memoryview


def count_waiting(
    links: Iterable[Outgoing], head: int, journal: Mapping[int, int], using: str = "default"
) -> dict[int, int]:
    """Records that wait for each link: journal rows not sealed yet, and sealed changes not acknowledged.

    Exact within the newest `EXAMINED` records of the feed; beyond them the records of the link's tables are
    counted without looking at their fields. ``journal``: table → pending rows.
    """
    senders = [link for link in links if link.fields]
    counts = {
        link.link: sum(journal.get(table, 0) for table in set(link.fields.values())) for link in senders
    }
    behind = [link for link in senders if link.acked < head]
    if not behind:
        return counts
    records = _newest(
        min(link.acked for link in behind), {t for link in behind for t in link.fields.values()}, using
    )
    for link, number in _examine(behind, records).items():
        counts[link] += number
    if len(records) == EXAMINED:
        for link, number in _estimate(behind, records[-1].seq, using).items():
            counts[link] += number
    return counts


def count_deletions(using: str = "default") -> dict[int, int]:
    """Link → deletions of records that its peer has, and has not acknowledged."""
    rows = Pair.objects.using(using).filter(record__alive=False, record__seq__gt=F("link__state__acked_seq"))
    return dict(rows.values_list("link_id").annotate(count=Count("record_id")).order_by())


def _newest(after: int, tables: set[int], using: str) -> list[_Changed]:
    rows = Record.objects.using(using).filter(seq__gt=after, table_id__in=tables).order_by("-seq")
    return [_Changed(*row) for row in rows.values_list("table_id", "seq", "entries")[:EXAMINED]]


def _examine(links: list[Outgoing], records: list[_Changed]) -> dict[int, int]:
    """How many of ``records`` hold a change for each link.

    That is: of a field that the link sends, not acknowledged yet, and not brought by the link itself.
    """
    by_field: dict[int, list[Outgoing]] = defaultdict(list)
    for link in links:
        for number in link.fields:
            by_field[number].append(link)
    counts: dict[int, int] = defaultdict(int)
    for record in records:
        wanted = set()
        for number, entry in unpack_entries(record.entries).items():
            for link in by_field.get(number, ()):
                if entry.seq > link.acked and entry.via != link.link:
                    wanted.add(link.link)
        for waiting in wanted:
            counts[waiting] += 1
    return counts


def _estimate(links: list[Outgoing], below: int, using: str) -> dict[int, int]:
    """Records older than ``below`` that no one looked into for each link: one query for all links."""
    unseen = [link for link in links if max(link.acked, link.scanned) < below - 1]
    if not unseen:
        return {}
    columns = {
        f"link{link.link}": Count(
            "pk",
            filter=Q(seq__gt=max(link.acked, link.scanned), table_id__in=set(link.fields.values())),
        )
        for link in unseen
    }
    first = min(max(link.acked, link.scanned) for link in unseen)
    totals = Record.objects.using(using).filter(seq__gt=first, seq__lt=below).aggregate(**columns)
    return {link.link: totals[f"link{link.link}"] for link in unseen}
