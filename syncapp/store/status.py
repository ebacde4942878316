"""The state of each link: the one source of what the command line, the API and the panel show.

It reads the database only. `read_facts` asks a fixed number of questions, however many links there are;
`statuses` derives what people see from the answers at a given time, in the active language.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils.translation import gettext

from syncapp import conf
from syncapp.core.mapping import Direction
from syncapp.errors import render, sentence
from syncapp.models import Conflict, Instance, Journal, Link, LinkState, Mapping, Problem
from syncapp.store import texts
from syncapp.store.base import ASK
from syncapp.store.locking import BUSY
from syncapp.store.waiting import Outgoing, count_deletions, count_waiting

DAY = 86_400 * 1_000_000
#: A link that has been connecting for longer counts as offline; attempts go on.
CONNECTING_LIMIT = 60_000_000
#: After how long a record that somebody is changing is a problem to look at.
BUSY_SHOWN = 60_000_000
#: So long people are told of what happened to a link, µs; the log keeps it longer.
NOTICE_FOR = 7 * DAY
#: Pending journal rows are counted up to here: beyond it the exact number says nothing more.
JOURNAL_LIMIT = 5_000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(microseconds: int) -> datetime | None:
    """A stored time (µs since 1970, 0 = none) in UTC; exact, as conversion by way of floats is not."""
    return _EPOCH + timedelta(microseconds=microseconds) if microseconds else None


def now_us() -> int:
    """The wall clock as the database stores times: µs since 1970."""
    return time.time_ns() // 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspendedField:
    """A mapped field that does not flow, and why."""

    field: str
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkReport:
    """What people and scripts see of one link.

    The names down to ``reason`` are what ``syncstatus --json`` promises.
    """

    link: str
    mode: str
    transport: str
    state: str
    peer: str
    peer_instance: str
    last_exchange: datetime | None
    waiting_out: int
    waiting_in: int
    problems: int
    conflicts: int
    sent: int
    applied: int
    superseded: int
    duplicate: int
    parked: int
    lag_ms: float
    clock_offset_ms: int
    reason: str
    id: int
    received: int
    peer_applied: int
    peer_superseded: int
    peer_duplicate: int
    peer_parked: int
    state_word: str
    state_since: datetime | None
    attempt: int
    next_attempt: datetime | None
    peer_version: str
    peer_url: str
    address: str
    code: str
    log: bool
    reason_code: str
    #: Deletions that the peer knows the records of and has not acknowledged.
    deletions_waiting: int
    suspended: list[SuspendedField] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the database said about all links at one moment."""

    links: list[Link]
    #: link id → field number → (``app.Model.field``, direction)
    mapped: dict[int, dict[int, tuple[str, Direction]]]
    problems: dict[int, int]
    #: Lost values that nobody has looked at yet, and open questions.
    conflicts: dict[int, int]
    waiting_out: dict[int, int]
    #: Deletions that each link's peer has not acknowledged.
    deletions: dict[int, int]


def link_statuses(now: int, using: str = "default") -> list[LinkReport]:
    """The status of every link by name, as of ``now`` (µs), in the active language."""
    return statuses(read_facts(using), now)


def statuses(facts: Facts, now: int) -> list[LinkReport]:
    """The statuses that follow from ``facts`` at ``now`` (µs)."""
    return [_status(link, facts, now) for link in facts.links]


# -- reading ------------------------------------------------------------------------------------------------


def read_facts(using: str = "default") -> Facts:
    """Ask the database about all links: a fixed number of queries."""
    links = list(Link.objects.using(using).select_related("state").order_by("name", "id"))
    mapped, outgoing = _mappings(links, using)
    problems, questions = _parked(using)
    head = Instance.objects.using(using).values_list("head_seq", flat=True).first() or 0
    return Facts(
        links=links,
        mapped=mapped,
        problems=problems,
        conflicts=_per_link(Conflict.objects.using(using).filter(resolved="")) + questions,
        waiting_out=count_waiting(outgoing, head, _journal(using), using),
        deletions=count_deletions(using),
    )


def _mappings(
    links: list[Link], using: str
) -> tuple[dict[int, dict[int, tuple[str, Direction]]], list[Outgoing]]:
    rows = Mapping.objects.using(using).exclude(direction=Direction.OFF).values_list(
        "link_id", "field_id", "direction", "field__table_id", "field__name", "field__table__label"
    )  # fmt: skip
    mapped: dict[int, dict[int, tuple[str, Direction]]] = defaultdict(dict)
    sending: dict[int, dict[int, int]] = defaultdict(dict)
    for link, number, direction, table, name, label in rows:
        mapped[link][number] = (f"{label}.{name}", Direction(direction))
        if Direction(direction).sends:
            sending[link][number] = table
    outgoing = []
    for link_row in links:
        state = _state_of(link_row)
        outgoing.append(Outgoing(link_row.pk, state.acked_seq, state.scanned_seq, sending[link_row.pk]))
    return mapped, outgoing


def _per_link(rows: Any) -> Counter[int]:
    return Counter(dict(rows.values_list("link_id").annotate(count=Count("pk")).order_by()))


def worth_showing(problems: QuerySet[Problem], now: int) -> QuerySet[Problem]:
    """Without what is busy only for the moment."""
    return problems.exclude(code=BUSY, created_at__gt=now - BUSY_SHOWN)


def _parked(using: str) -> tuple[Counter[int], Counter[int]]:
    """(problems, open questions) by link."""
    asked = Count("pk", filter=Q(code=ASK))
    rows = (
        worth_showing(Problem.objects.using(using).all(), now_us())
        .values_list("link_id")
        .annotate(count=Count("pk"), asked=asked)
        .order_by()
    )
    problems, questions = Counter[int](), Counter[int]()
    for link, count, waiting in rows:
        problems[link], questions[link] = count - waiting, waiting
    return problems, questions


def _journal(using: str) -> dict[int, int]:
    """Pending journal rows by table number, counted within the first `JOURNAL_LIMIT`."""
    counts: dict[int, int] = defaultdict(int)
    for table in (
        Journal.objects.using(using).order_by("id").values_list("table_no", flat=True)[:JOURNAL_LIMIT]
    ):
        counts[table] += 1
    return counts


def _state_of(link: Link) -> LinkState:
    """The link's state row; an untouched one where the engine has not written any yet."""
    try:
        return link.state
    except LinkState.DoesNotExist:
        return LinkState(link=link)


# -- deriving -----------------------------------------------------------------------------------------------


def _status(link: Link, facts: Facts, now: int) -> LinkReport:
    row = _state_of(link)
    state, reason = _state(link, row, now)
    return LinkReport(
        link=link.name,
        mode=link.mode,
        transport=link.transport,
        state=state,
        peer=texts.inert(row.peer_title, 200),
        peer_instance=bytes(row.peer_instance or b"").hex(),
        last_exchange=moment(row.last_exchange),
        waiting_out=facts.waiting_out.get(link.pk, 0),
        waiting_in=max(0, row.peer_head - row.applied_seq) if state == "connected" else 0,
        problems=facts.problems.get(link.pk, 0),
        conflicts=facts.conflicts.get(link.pk, 0),
        sent=row.sent,
        applied=row.applied,
        superseded=row.superseded,
        duplicate=row.duplicate,
        parked=row.parked,
        lag_ms=round(row.lag / 1000, 1),
        clock_offset_ms=round(row.clock_offset / 1000),
        reason=reason,
        id=link.pk,
        received=row.received,
        peer_applied=row.peer_applied,
        peer_superseded=row.peer_superseded,
        peer_duplicate=row.peer_duplicate,
        peer_parked=row.peer_parked,
        state_word=texts.state_word(state),
        state_since=moment(row.state_since),
        attempt=row.attempt,
        next_attempt=moment(row.next_attempt),
        peer_version=texts.inert(row.peer_software, 100),
        peer_url=row.peer_url,
        address=link.address,
        code=link.code if link.mode == Link.Mode.PASSIVE else "",
        log=link.log,
        reason_code=row.reason_code if state == row.state else "",
        deletions_waiting=facts.deletions.get(link.pk, 0),
        suspended=_suspended(row, facts.mapped.get(link.pk, {})),
        warnings=_warnings(row, facts.deletions.get(link.pk, 0), now),
    )


def _state(link: Link, row: LinkState, now: int) -> tuple[str, str]:
    """The state that people see, and the sentence that goes with it (none while all is well)."""
    if link.paused:
        return "paused", _plain("paused")
    if row.state in ("connected", "connecting") and row.lease_until < now and _driven(row):
        return "offline", gettext(texts.CUT_OFF if link.mode == Link.Mode.PASSIVE else texts.NOT_RUNNING)
    if (
        row.state == "paused" and not row.reason_code
    ):  # resumed here a moment ago; the engine has not looked yet
        return "connecting", _plain("connecting")
    late = row.state == "connecting" and row.state_since and now - row.state_since > CONNECTING_LIMIT
    state = "offline" if late else row.state
    return state, _reason(link, row, state)


def _driven(row: LinkState) -> bool:
    """Whether some process held the lease once: a connecting link that nobody ever drove is only new."""
    return row.state == "connected" or row.lease_until > 0


def _reason(link: Link, row: LinkState, state: str) -> str:
    if state == "connected":
        return ""
    if row.reason_code:
        params = {key: _param(value) for key, value in row.reason_params.items()}
        return texts.inert(sentence(row.reason_code, params, gettext))
    if state == "never":
        return gettext(texts.NEVER_PASSIVE if link.mode == Link.Mode.PASSIVE else texts.NEVER_ACTIVE)
    return _plain(state)


def _plain(state: str) -> str:
    return gettext(texts.PLAIN_REASONS.get(state, texts.PLAIN_REASONS["attention"]))


def _param(value: Any) -> Any:
    """A parameter of a sentence: it may come from the peer, so it is cut and made harmless."""
    return texts.inert(value, 300) if isinstance(value, str) else value


def _suspended(row: LinkState, mapped: dict[int, tuple[str, Direction]]) -> list[SuspendedField]:
    found = []
    for number, code, params in row.suspended:
        name = mapped[number][0] if number in mapped else str(params.get("field", number))
        cleaned = {key: _param(value) for key, value in params.items()}
        found.append(SuspendedField(field=name, sentence=texts.suspended_sentence(code, cleaned)))
    return found


def _warnings(row: LinkState, deletions: int, now: int) -> list[str]:
    settings, found = conf.current(), []
    if abs(row.clock_offset) > settings.clock_warn:
        found.append(render(gettext(texts.CLOCKS_DIFFER), {"offset": texts.duration(row.clock_offset)}))
    if row.notice_code in texts.NOTICES and now - row.notice_at < NOTICE_FOR:
        params = {key: _param(value) for key, value in row.notice_params.items()}
        found.append(render(gettext(texts.NOTICES[row.notice_code]), params))
    if deletions and now - row.last_exchange > settings.tombstone_days * DAY:
        found.append(render(gettext(texts.DELETIONS_WAIT), {"count": deletions}))
    return found
