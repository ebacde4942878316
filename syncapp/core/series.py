"""A shared series of numbers: who may use which, so that no two programs ever use one twice.

One program owns the series. The others, its *holders*, lease ranges from a neighbour that is nearer to the owner: from
the owner itself, or from a holder that leases parts of its own ranges on. Whoever leases keeps a `Book`. A number is in
one place only: not given out yet (``Book.next``, at the owner), in one program's pool, on its way to one holder
(``pending``), or used. `Desk` is all that may be done with a book.

Messages may be lost, doubled and late. A grant has a serial number, and the next one is not made before the holder has
said that it has stored the last: until then that one is sent again.

A database that is restored from a backup forgets what it gave and used. Its program has a new epoch then, and with it
the book begins a new *life*. What a holder had in its pool is void: nobody can say what of it was used. An owner gives
and uses nothing until everybody who may hold numbers has told the greatest that it knows; who leases on has to hear
those behind it first.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from syncapp.core.clock import epoch_of
from syncapp.core.serieswire import Grant as Grant
from syncapp.core.serieswire import Offer as Offer
from syncapp.core.serieswire import Report as Report
from syncapp.core.spans import Span, Spans, count, cut, normal, of, top, without

#: A program farther from the owner than this is not on the way to it: the ways lead in a circle.
FARTHEST = 15
#: The most numbers of one grant.
MOST = 100_000
#: What a holder has in stock at least, when it is full: half of it is left when it asks for more.
LEAST = 100
#: For so many days of work the stock lasts, as far as the last of these days tell.
DAYS = 7

#: Why nothing (more) is given.
WAITING = "waiting"  # the owner was restored: it waits for the reports of holders
SPENT = "spent"  # the series has no more numbers
LOW = "low"  # a holder has none to spare


# -- kept ---------------------------------------------------------------------------------------------------


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """A grant that the holder has not confirmed."""

    serial: int
    spans: Spans
    void: bool = False


class Neighbour(msgspec.Struct, omit_defaults=True):
    """What is known of a program beyond one of our links, in both roles.

    As a holder: ``life``: its epoch, which ``pending`` and ``free`` (as reported last) belong to; ``wants``: numbers
    that it asked for and did not get; ``reported``: it has told all since our life began; ``holds``: it has been given
    something, once; ``dismissed``: nobody waits for it any more; ``told``: our hops, as it has heard them.
    As a lessor: ``hops``, see `Offer`; ``epoch`` and ``got``: its epoch, and the newest grant of it that we have;
    ``asked``: it wants a census, which it has not got; ``why``: what it said last. ``trouble``: a code of `errors`;
    while there is one, nothing is given either way.
    """

    title: str = ""
    link: int = 0
    life: int = 0
    serial: int = 0
    pending: Pending | None = None
    wants: int = 0
    free: Spans = ()
    reported: bool = False
    holds: bool = False
    dismissed: bool = False
    told: int | None = None
    hops: int | None = None
    epoch: int = 0
    got: int = 0
    asked: bool = False
    why: str = ""
    trouble: str = ""


class Book(msgspec.Struct, omit_defaults=True):
    """Everything that a program keeps of one series.

    ``me``: instance and epoch of the life that it belongs to. ``sure``: nobody is missing who may have got numbers in
    an earlier one. ``first``: where the series began; ``next``: the owner's next number. ``top``: the greatest that
    we know to be given. ``owner``: the instance of the owner, as far as known. ``used``: (day, numbers used) of late.
    """

    me: bytes = b""
    sure: bool = False
    first: int = 1
    next: int = 1
    pool: Spans = ()
    top: int = 0
    owner: bytes = b""
    neighbours: dict[bytes, Neighbour] = {}
    used: tuple[tuple[int, int], ...] = ()


# -- what may be done with it -------------------------------------------------------------------------------


class Desk:
    """A program's book, opened. Every change of the book goes through here.

    ``me``: this program's instance and epoch. ``limit``: the greatest number that the field takes.
    """

    def __init__(
        self, book: Book, me: bytes, *, owner: bool, contiguous: bool = False, limit: int = 2**63 - 1
    ) -> None:
        self.book = book
        self.owner = owner
        self.contiguous = contiguous
        self.epoch = epoch_of(me)
        self._limit = limit
        if book.me != me:
            if book.me:
                self.doubt()
            else:
                book.sure = not owner or book.sure
            book.me = me
            for known in book.neighbours.values():
                known.serial = 0
        if owner or book.owner == me[:16]:
            book.owner = me[:16] if owner else b""

    @classmethod
    def found(cls, me: bytes, first: int, limit: int = 2**63 - 1) -> Book:
        """The book of an owner whose series begins now, with ``first``."""
        return Book(me=me, sure=True, first=first, next=first, owner=me[:16])

    def doubt(self) -> None:
        """The database was restored: nobody knows what of the pool was used, or what was given from it."""
        self.book.pool, self.book.sure = (), False
        for known in self.book.neighbours.values():
            known.pending, known.reported, known.wants = None, False, 0
            known.dismissed = False  # it may have come back, in what is forgotten

    # -- using numbers --

    def left(self) -> int:
        """How many numbers are in the pool."""
        return count(self.book.pool)

    def may_take(self) -> bool:
        """Whether there is a number for this program."""
        return bool(self.book.pool) or (self.owner and self.book.sure and self.book.next <= self._limit)

    def take(self, day: int = 0) -> int | None:
        """The smallest number that this program may use; it is used from now on. None where there is none."""
        book = self.book
        if not self.may_take():
            return None
        if book.pool:
            taken, book.pool = cut(book.pool, 1)
            number = taken[0].low
        else:
            number = book.next
            book.next += 1
        book.top = max(book.top, number)
        recent = dict(book.used)
        recent[day] = recent.get(day, 0) + 1
        book.used = tuple((when, many) for when, many in sorted(recent.items()) if when > day - DAYS)
        return number

    def put_back(self, number: int) -> None:
        """What was taken was not used after all."""
        self.book.pool = normal((*self.book.pool, Span(number, number)))

    def heed(self, number: int) -> None:
        """A record has ``number``, however it came by it: the owner gives only greater ones."""
        if self.owner and number <= self._limit:
            self.book.next = max(self.book.next, number + 1)

    # -- with a lessor --

    def way(self, beside: bytes = b"") -> int | None:
        """How far the owner is, by neighbours other than ``beside``."""
        if self.owner:
            return 0
        ways = [
            known.hops
            for who, known in self.book.neighbours.items()
            if who != beside and known.hops is not None and known.link
        ]
        return min(ways) + 1 if ways and min(ways) < FARTHEST else None

    def leads(self, who: bytes) -> bool:
        """Whether this neighbour is on the (shortest) way to the owner, so that it is asked for numbers."""
        known = self.book.neighbours.get(who)
        return (
            not self.owner
            and known is not None
            and known.hops is not None
            and known.hops + 1 == self.way()
            and bool(known.link)
        )

    def demand(self, waiting: int) -> int:
        """How many numbers to ask for. ``waiting``: saves that wait for one, and numbers that are to be replaced."""
        behind = sum(known.wants for known in self.book.neighbours.values() if not known.dismissed)
        if self.contiguous:
            return max(0, waiting + behind - self.left())
        full = max(LEAST, 2 * sum(many for _, many in self.book.used)) + 2 * (behind + waiting)
        return full - self.left() if self.left() < (full + 1) // 2 else 0

    def report(self, who: bytes, field: int, waiting: int, top: int = 0, *, census: bool = False) -> Report:
        """What to tell the lessor ``who``. ``top``: the greatest number among the records."""
        known = self.book.neighbours[who]
        census = census and self.settle(top)
        known.asked = known.asked and not census
        want = min(self.demand(waiting), MOST)
        free = self.outstanding()
        return Report(field, self.epoch, known.epoch, known.got, want, free, self._greatest(top), census)

    def _greatest(self, seen: int) -> int:
        return max(self.book.top, seen, top(self.outstanding()))

    def outstanding(self) -> Spans:
        """Numbers that are here or behind us, and not used as far as we know."""
        spans = list(self.book.pool)
        for known in self.book.neighbours.values():
            spans += known.free
            spans += known.pending.spans if known.pending else ()
        return normal(spans)

    def receive(self, who: bytes, grant: Grant) -> bool:
        """Take what a lessor gives; whether anything was new."""
        known, book = self.book.neighbours[who], self.book
        if grant.life != self.epoch or grant.epoch != known.epoch:
            return False  # to or from an earlier life
        known.why, known.hops = grant.why, grant.hops
        known.asked = known.asked or grant.census
        if grant.serial <= known.got:
            return False
        known.got = grant.serial
        if grant.void:
            book.pool = ()
        spans = without(grant.spans, (Span(self._limit + 1, 2**63),))
        book.pool = normal((*book.pool, *spans))
        book.top = max(book.top, top(spans))
        return True

    # -- with anybody --

    def meet(self, who: bytes, epoch: int, hops: int | None, *, title: str = "", link: int = 0) -> Neighbour:
        """A conversation with a neighbour begins; ``epoch``: its own, ``hops``: as it says."""
        known = self.book.neighbours.setdefault(who, Neighbour())
        if known.life != epoch:
            known.life, known.pending, known.free, known.wants = epoch, None, (), 0
        if known.epoch != epoch:
            known.epoch, known.got = epoch, 0
        known.title, known.link, known.hops = title or known.title, link, hops
        known.told = None  # told once more at first: our hello may have been written before we knew
        return known

    # -- with a holder --

    def hear(self, who: bytes, report: Report) -> None:
        """Take down what a holder reports."""
        known, book = self.book.neighbours[who], self.book
        if report.life != known.life or report.epoch != self.epoch:
            return  # from or for an earlier life
        if report.got > known.serial or (self.owner and book.sure and top(report.free) >= book.next):
            # It has more from us than we gave: this database went back, and nobody has noticed yet.
            self.doubt()
            known.serial = max(known.serial, report.got)
        if known.pending is not None and report.got >= known.pending.serial:
            known.dismissed = known.dismissed and not known.pending.void
            known.pending = None
        known.free, known.wants = normal(report.free), max(0, min(report.want, MOST))
        known.reported = known.reported or report.census
        known.holds = known.holds or bool(report.free)
        known_top = max(report.top, top(report.free))
        if known_top <= self._limit:  # else the holder's field takes greater numbers, which are none of ours
            book.top = max(book.top, known_top)
            self.heed(book.top)

    def behind(self, who: bytes) -> bool:
        """Whether a neighbour reaches the owner over us, and so reports to us."""
        ours, theirs = self.way(beside=who), self.book.neighbours[who].hops
        return ours is not None and (theirs is None or ours + 1 <= theirs)

    def missing(self) -> list[bytes]:
        """Who may hold numbers and has not told of them since our life began."""
        return [
            who
            for who, known in self.book.neighbours.items()
            if not (known.reported or known.dismissed) and (known.holds or known.link) and self.behind(who)
        ]

    def settle(self, seen: int = 0) -> bool:
        """Once nobody is missing, what is given and used here is known again; whether it is.

        ``seen``: the greatest number among our own records, which may have come back from others.
        """
        if not self.book.sure and self.way() is not None and not self.missing():
            self.book.sure = True
            self.heed(seen)
        return self.book.sure

    def lend(self, who: bytes, field: int, waiting: int = 0) -> Grant | None:
        """What to tell the holder ``who`` now: what it has not confirmed, a new grant, or why there is none."""
        known = self.book.neighbours[who]
        if known.dismissed and known.pending is None:
            known.serial += 1
            known.pending = Pending(known.serial, (), void=True)
            known.free = ()
        census = not known.reported and (self.owner or (not self.book.sure and self.behind(who)))
        if known.pending is None and known.wants and not census:
            self._grant(known, waiting)
        last, hops = known.pending, self.way(beside=who)
        why = self._why() if known.wants and last is None else ""
        if last is None and not why and not census and hops == known.told:
            return None
        known.told = hops
        last = last or Pending(0, ())
        return Grant(
            *(field, known.life, self.epoch, last.serial, last.spans, last.void, census), why=why, hops=hops
        )

    def _grant(self, known: Neighbour, waiting: int) -> None:
        book, wanted = self.book, min(known.wants, MOST)
        spans: Spans = ()
        if self.owner:
            if book.sure and book.next <= self._limit:
                spans = (Span(book.next, min(self._limit, book.next + wanted - 1)),)
                book.next = spans[0].high + 1
        else:
            spare = self.left() - waiting if self.contiguous else self.left() // 2
            spans, book.pool = cut(book.pool, min(spare, wanted))
        if spans:
            known.serial += 1
            known.pending = Pending(known.serial, spans)
            known.wants -= count(spans)
            known.holds = True

    def _why(self) -> str:
        if not self.owner:
            return LOW
        return SPENT if self.book.sure else WAITING

    def dismiss(self, who: bytes) -> None:
        """Give up on a neighbour for good: what it holds is lost, and nobody waits for it.

        Should it come back, what it has left is taken from it.
        """
        known = self.book.neighbours.setdefault(who, Neighbour())
        known.dismissed, known.pending, known.wants = True, None, 0
        known.free, known.hops = (), None
        if self.book.owner == who:
            self.book.owner = b""


def gaps(first: int, last: int, present: Iterable[int], held: Iterable[Span]) -> Spans:
    """The numbers from ``first`` to ``last`` that no record has and nobody holds."""
    return without((Span(first, last),), (*of(present), *held))
