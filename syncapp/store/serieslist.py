"""What people see of shared series, and the one thing that they tell them: that somebody never comes back."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import transaction

from syncapp import errors
from syncapp.core.series import Neighbour, gaps
from syncapp.models import Link, SeriesProvisional
from syncapp.store.base import Setup
from syncapp.store.series import Counter, title_of, waited_for
from syncapp.store.seriesbase import SeriesInfo
from syncapp.store.sql import SqlBackend

#: So many of the newest replaced provisional numbers are shown.
REPLACED = 20


@dataclass(slots=True)
class HolderLine:
    """A program that takes part. ``state``: owner, lessor, holder, missing, dismissed; or a trouble's code."""

    name: str
    link: str
    state: str
    held: list[str] = field(default_factory=list)
    wants: int = 0


@dataclass(slots=True)
class SeriesLine:
    """A series. ``way``: how many links away its owner is, if that is known; ``next``, ``gaps``: at the owner only."""

    field: str
    mode: str
    format: str
    owner: str
    owned: bool
    way: int | None
    next: int | None
    left: int
    held: list[str]
    waits_for: list[str]
    provisional: list[str]
    replaced: list[dict[str, str]]
    gaps: list[str] | None
    holders: list[HolderLine]


def series_lines(using: str = "default") -> list[SeriesLine]:
    """All declared series. Reads their fields of all records."""
    backend = SqlBackend(using)
    with backend.transaction():
        setup = backend.setup()
        links = dict(Link.objects.using(using).values_list("pk", "name"))
        found = sorted(setup.series.values(), key=lambda info: info.label)
        return [_line(backend, setup, info, links, using) for info in found]


def _line(
    backend: SqlBackend, setup: Setup, info: SeriesInfo, links: dict[int, str], using: str
) -> SeriesLine:
    counter = Counter(backend, info, setup.links, peek=True)
    desk, book = counter.desk, counter.desk.book
    missing, waits_for = ([], []) if book.sure else waited_for(counter, setup, links)
    rows = SeriesProvisional.objects.using(using).filter(series_id=info.field).order_by("-replaced_at", "-id")
    replaced = rows.exclude(final="").values_list("value", "final")[:REPLACED]
    return SeriesLine(
        field=info.label,
        mode=info.mode,
        format=info.pattern,
        owner=info.owner,
        owned=info.owned,
        way=desk.way(),
        next=book.next if info.owned else None,
        left=desk.left(),
        held=[span.text() for span in book.pool],
        waits_for=waits_for,
        provisional=backend.provisional(info),
        replaced=[{"provisional": value, "number": final} for value, final in replaced],
        gaps=_gaps(counter) if info.owned else None,
        holders=[
            HolderLine(
                name=title_of(book, who),
                link=links.get(known.link, ""),
                state=_state(counter, who, known, missing),
                held=[span.text() for span in (*(known.pending.spans if known.pending else ()), *known.free)],
                wants=known.wants,
            )
            for who, known in book.neighbours.items()
            if len(who) == 16
        ],
    )


def _state(counter: Counter, who: bytes, known: Neighbour, missing: list[bytes]) -> str:
    if known.trouble or known.dismissed:
        return known.trouble or "dismissed"
    if who in missing:
        return "missing"
    if counter.desk.leads(who):
        return "owner" if known.hops == 0 else "lessor"
    return "holder"


def _gaps(counter: Counter) -> list[str]:
    """Numbers that no record has and nobody holds: of deleted records, of saves that failed, lost in a restore."""
    desk, info = counter.desk, counter.info
    values = map(info.number, counter.backend.field_values(info))
    present = (number for number in values if number is not None)
    found = gaps(desk.book.first, desk.book.next - 1, present, desk.outstanding())
    return [span.text() for span in found]


def dismiss(name: str, using: str = "default") -> list[str]:
    """Give up on the program or link called ``name``; the series that it took part in.

    Raises:
        UnknownHolder: there is none of that name.
    """
    backend = SqlBackend(using)
    done: list[str] = []
    known: set[str] = set()
    with transaction.atomic(using=using):
        setup = backend.setup()
        links = {row.name: row.pk for row in Link.objects.using(using).all()}
        for info in setup.series.values():
            backend.series.lock(info.field)
            counter = Counter(backend, info, setup.links)
            book = counter.desk.book
            names: dict[str, list[tuple[bytes, int]]] = {}
            for who, neighbour in book.neighbours.items():
                if len(who) == 16:
                    names.setdefault(title_of(book, who), []).append((who, neighbour.link))
                    names.setdefault(who.hex()[:8], []).append((who, neighbour.link))
            unmet = {link for link in links.values() if not backend.cursors(link).peer_instance}
            for link_name, link in links.items():
                beyond = [who for who, neighbour in book.neighbours.items() if neighbour.link == link]
                if beyond or link in unmet:
                    names.setdefault(link_name, [(who, link) for who in beyond] or [(b"", link)])
            known |= {one for one in names if not _hexadecimal(one)}
            if len(set(names.get(name, ()))) == 1:
                counter.dismiss(*names[name][0])
                counter.settle(setup)
                counter.close()
                done.append(info.label)
    if not done:
        raise errors.UnknownHolder(holder=name, offer=", ".join(sorted(known)) or "–")
    return done


def doubt(using: str = "default") -> list[str]:
    """This database was put back from a backup, and nobody may have noticed yet: use and give nothing of before.

    The series that this concerns.
    """
    backend = SqlBackend(using)
    done = []
    with transaction.atomic(using=using):
        setup = backend.setup()
        for info in setup.series.values():
            backend.series.lock(info.field)
            counter = Counter(backend, info, setup.links)
            counter.desk.doubt()
            counter.settle(setup)
            counter.close()
            done.append(info.label)
    return sorted(done)


def _hexadecimal(text: str) -> bool:
    return len(text) == 8 and all(letter in "0123456789abcdef" for letter in text)
