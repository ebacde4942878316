"""Shared series of numbers over a link: what two programs agree on, tell each other and take down.

`core.series` says who may use which number. Every step here is one transaction: what is told is stored before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from syncapp import errors
from syncapp.core.clock import instance_of
from syncapp.core.mapping import Agreement
from syncapp.core.messages import Hello
from syncapp.core.series import Book, Desk, Grant, Neighbour, Offer, Report
from syncapp.store.base import Backend, Setup
from syncapp.store.seriesbase import SeriesBusy, SeriesInfo

DAY = 86_400_000_000


class Words(NamedTuple):
    """What there is to say to a peer."""

    reports: tuple[Report, ...] = ()
    grants: tuple[Grant, ...] = ()


class Counter:
    """One series, opened within a transaction; `close` keeps what has changed. ``peek``: only to look at.

    Raises `SeriesBusy`.
    """

    def __init__(
        self, backend: Backend, info: SeriesInfo, links: Collection[int], *, peek: bool = False
    ) -> None:
        self.backend = backend
        self.info = info
        book = backend.peek(info.field) if peek else backend.book(info.field)
        self._before = _packed(book)
        me = backend.instance().origin
        if info.owned and not book.me:
            book = Desk.found(me, self._seen(backend, info) + 1, info.limit)
        for known in book.neighbours.values():
            if known.link not in links:
                known.link = 0  # the link was removed
        self.desk = Desk(book, me, owner=info.owned, contiguous=info.contiguous, limit=info.limit)

    @staticmethod
    def _seen(backend: Backend, info: SeriesInfo) -> int:
        numbers = map(info.number, backend.field_values(info))
        return max((number for number in numbers if number is not None and number <= info.limit), default=0)

    def seen(self) -> int:
        """The greatest number among the records. One pass over the table."""
        return self._seen(self.backend, self.info)

    def close(self) -> None:
        if _packed(self.desk.book) != self._before:
            self.backend.save_book(self.info.field, self.desk.book)

    def take(self, now: int) -> int | None:
        """A number that no record here has."""
        while (number := self.desk.take(now // DAY)) is not None:
            if not self.backend.has_value(self.info, self.info.value(number)):
                return number
        return None

    def settle(self, setup: Setup) -> bool:
        """After a restore: go on where nobody is missing any more."""
        book = self.desk.book
        if book.sure:
            return True
        if self.unmet(setup):
            return False
        return self.desk.settle(self.seen() if self.desk.owner and not self.desk.missing() else 0)

    def unmet(self, setup: Setup) -> list[int]:
        """Links that share the field and whose programs this database does not know; notes those that it does know.

        What it has forgotten, it may have been told by any of them.
        """
        book, found = self.desk.book, []
        for link in setup.links:
            offers = (field for table in self.backend.catalogue(link) for field in table.fields)
            if not any(f.number == self.info.field and (f.sends or f.receives) for f in offers):
                continue
            peer = self.backend.cursors(link).peer_instance
            if peer:
                book.neighbours.setdefault(peer, Neighbour(link=link))
            elif self.desk.owner and not book.neighbours.get(_stranger(link), Neighbour()).dismissed:
                found.append(link)
        return found

    def dismiss(self, who: bytes, link: int) -> None:
        """Give up on a neighbour, or on whoever is beyond ``link`` and has never been met."""
        self.desk.dismiss(who or _stranger(link))

    def waiting(self, now: int) -> int:
        """How many numbers are wanted here at once."""
        return self.backend.requests(self.info.field, now) + len(self.backend.provisional(self.info))

    def replace(self, now: int) -> int:
        """Give records with provisional numbers their own, as far as there are numbers; how many."""
        done = 0
        if not self.desk.may_take():
            return done
        for value in self.backend.provisional(self.info):
            number = self.take(now)
            if number is None:
                break
            if self.backend.finish(self.info, value, number, now):
                done += 1
            else:
                self.desk.put_back(number)
        return done


def _packed(book: Book) -> bytes:
    return msgspec.msgpack.encode(book)


def _stranger(link: int) -> bytes:
    """What stands in a book for a program that has never been met."""
    return b"link %d" % link


# -- the handshake ------------------------------------------------------------------------------------------


def offers(backend: Backend, setup: Setup, peer: bytes) -> tuple[Offer, ...]:
    """What a hello to ``peer`` declares."""
    found = []
    for info in setup.series.values():
        desk = Counter(backend, info, setup.links, peek=True).desk
        found.append(
            Offer(info.field, info.mode, info.pattern, info.owner, desk.book.owner, desk.way(beside=peer))
        )
    return tuple(found)


def agree_series(
    backend: Backend, setup: Setup, link: int, hello: Hello, agreement: Agreement
) -> dict[int, int]:
    """The series that both have, by our field number: the peer's. What is wrong with others is noted."""
    theirs = {offer.field: offer for offer in hello.series}
    shared: dict[int, int] = {}
    troubles: dict[str, errors.SeriesError] = {}
    healed = False
    for info in setup.series.values():
        partner = _partner(agreement, info)
        if partner is None:
            continue
        counter = Counter(backend, info, setup.links)
        desk, offer = counter.desk, theirs.get(partner)
        error = _trouble(desk, info, hello, offer)
        usable = error is None or isinstance(error, errors.NoOwner)
        hops = offer.hops if offer and usable else None
        # Before the trouble is judged it is known who is there: who may hold numbers has to be waited for.
        known = desk.meet(
            hello.instance, hello.epoch, hops, title=hello.title[:100], link=link if usable else 0
        )
        healed = healed or bool(known.trouble and error is None)
        known.trouble = error.code if error else ""
        if error is not None:
            troubles[info.label] = error
        if offer and usable:
            shared[info.field] = partner
            desk.book.owner = desk.book.owner or offer.owner_id
        counter.close()
    if troubles:
        first = troubles[min(troubles)]
        backend.set_notice(link, first.code, first.params, backend.now())
    elif healed:
        backend.set_notice(link, "", {}, 0)
    return shared


def _partner(agreement: Agreement, info: SeriesInfo) -> int | None:
    """The peer's field that ours is exchanged with."""
    flow = agreement.tables.get(info.table)
    if flow is None:
        return None
    back = {here: there for there, here in flow.into.items()}
    return flow.out.get(info.field, back.get(info.field))


def _trouble(desk: Desk, info: SeriesInfo, hello: Hello, offer: Offer | None) -> errors.SeriesError | None:
    params = {"field": info.label, "peer": hello.title[:100]}
    if offer is None:
        return errors.SeriesNotThere(**params)
    here, there = (info.mode, info.pattern, info.owner), (offer.mode, offer.format, offer.owner)
    if here != there:
        return errors.SeriesDiffers(**params, here=", ".join(here), there=", ".join(there)[:300])
    ours = desk.book.owner
    if (desk.owner and offer.hops == 0) or (ours and offer.owner_id and ours != offer.owner_id):
        return errors.TwoOwners(**params)
    if desk.way() is None and offer.hops is None:
        return errors.NoOwner(**params, owner=info.owner)
    return None


# -- the conversation ---------------------------------------------------------------------------------------


class Numbers:
    """The part of `store.Store` for shared series. Each call is one transaction."""

    backend: Backend

    def _check_lease(self, link: int, ours: bool) -> None: ...

    def numbers(self, link: int, peer: bytes, shared: dict[int, int], token: int) -> Words:
        """What there is to say to the peer now, of each series that nobody has at present."""
        with self.backend.transaction():
            self._check_lease(link, self.backend.cursors(link).lease_token == token)
            return self._say(peer, shared.keys())

    def heard(
        self,
        link: int,
        peer: bytes,
        shared: dict[int, int],
        reports: Sequence[Report],
        grants: Sequence[Grant],
        token: int,
    ) -> Words:
        """Take down what the peer says; what there is to answer.

        Raises:
            LeaseLost: another process drives the link now; nothing was written.
            SeriesBusy: nothing was written either; to be tried again.
        """
        ours = {there: here for here, there in shared.items()}
        with self.backend.transaction():
            self._check_lease(link, self.backend.cursors(link).lease_token == token)
            for report in reports:
                self._take_down(peer, ours.get(report.field, 0), partial(Desk.hear, who=peer, report=report))
            for grant in grants:
                self._take_down(peer, ours.get(grant.field, 0), partial(Desk.receive, who=peer, grant=grant))
            said = {report.field for report in reports} | {grant.field for grant in grants}
            return self._say(peer, {ours[field] for field in said if field in ours})

    def _take_down(self, peer: bytes, field: int, what: Callable[[Desk], object]) -> None:
        """Do ``what`` with the book of the series of ``field``, if the peer is known there."""
        setup = self.backend.setup()
        info = setup.series.get(field)
        if info is None:
            return
        counter = Counter(self.backend, info, setup.links)
        if peer in counter.desk.book.neighbours:
            what(counter.desk)
        counter.close()

    def _say(self, peer: bytes, fields: Iterable[int]) -> Words:
        setup, now = self.backend.setup(), self.backend.now()
        reports, grants = [], []
        for field in sorted(fields):
            if (info := setup.series.get(field)) is None:
                continue
            try:
                counter = Counter(self.backend, info, setup.links)
            except SeriesBusy:
                continue
            desk = counter.desk
            if peer not in desk.book.neighbours:
                continue
            _find_owner(self.backend, desk, peer)
            counter.settle(setup)
            counter.replace(now)
            waiting = counter.waiting(now)
            # What was asked for may have to wait for those behind us.
            if desk.book.neighbours[peer].asked and desk.book.sure:
                reports.append(desk.report(peer, field, waiting, counter.seen(), census=True))
            elif desk.leads(peer):
                reports.append(desk.report(peer, field, waiting))
            if not desk.leads(peer):
                grant = desk.lend(peer, field, waiting)
                grants += [grant] if grant else []
            counter.close()
        return Words(tuple(reports), tuple(grants))


def _find_owner(backend: Backend, desk: Desk, peer: bytes) -> None:
    """The way to the owner may have been found in the middle of the conversation: then that is no trouble any more."""
    known = desk.book.neighbours[peer]
    if known.trouble == errors.NoOwner.code and desk.way() is not None:
        known.trouble = ""
        backend.set_notice(known.link, "", {}, 0)


def title_of(book: Book, who: bytes) -> str:
    """A neighbour's name for people."""
    known = book.neighbours.get(who)
    return known.title if known and known.title else instance_of(who).hex()[:8]


def waited_for(counter: Counter, setup: Setup, links: Mapping[int, str]) -> tuple[list[bytes], list[str]]:
    """After a restore: the programs that have to report, and what people call all that is waited for.

    ``links``: the names of links, for programs that were never met.
    """
    unmet = [links.get(link, str(link)) for link in counter.unmet(setup)]
    missing = sorted(counter.desk.missing())
    return missing, [title_of(counter.desk.book, who) for who in missing] + unmet
