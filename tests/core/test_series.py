"""No two programs ever use one number: any number of holders, messages lost, doubled and late, databases restored."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncapp.core.clock import make_origin
from syncapp.core.series import (
    LEAST,
    LOW,
    SPENT,
    WAITING,
    Book,
    Desk,
    Grant,
    Neighbour,
    Report,
    gaps,
)
from syncapp.core.spans import Span, count

FIELD = 7


class Program:
    """A book, the records that the program has (id → number), and a backup of both."""

    def __init__(self, index: int, contiguous: bool) -> None:
        self.id = bytes([index + 1]) * 16
        self.owner = index == 0
        self.contiguous = contiguous
        self.epoch = 1
        self.book = Desk.found(self.me, 1) if self.owner else Book()
        self.records: dict[int, int] = {}
        assert self.desk.book.me  # a book is opened when the series is declared
        self.backup = (msgspec.msgpack.encode(self.book), dict(self.records))
        self.waiting = 0
        self.gone = False

    @property
    def me(self) -> bytes:
        return make_origin(self.id, self.epoch)

    @property
    def desk(self) -> Desk:
        return Desk(self.book, self.me, owner=self.owner, contiguous=self.contiguous)

    def keep(self) -> None:
        self.backup = (msgspec.msgpack.encode(self.book), dict(self.records))

    def restore(self, epoch: int) -> None:
        book, records = self.backup
        self.book = msgspec.msgpack.decode(book, type=Book)
        self.records = dict(records)
        self.epoch = epoch

    @property
    def top(self) -> int:
        return max(self.records.values(), default=0)


def meet(one: Program, other: Program) -> None:
    """A conversation begins: both know of each other's life and distance."""
    hops = {p.id: p.desk.way(beside=q.id) for p, q in ((one, other), (other, one))}
    for here, there in ((one, other), (other, one)):
        here.desk.meet(there.id, there.epoch, hops[there.id], link=1)


def report(holder: Program, lessor: Program, *, census: bool = False) -> Report:
    top = holder.top if census else 0
    return holder.desk.report(lessor.id, FIELD, holder.waiting, top, census=census)


def converse(one: Program, other: Program, rounds: int = 4) -> None:
    """Exchange whatever there is to say, as a conversation does."""
    meet(one, other)
    for _ in range(rounds):
        for holder, lessor in ((one, other), (other, one)):
            if not (holder.desk.leads(lessor.id) or lessor.owner):
                continue
            lessor.desk.hear(holder.id, report(holder, lessor))
            grant = lessor.desk.lend(holder.id, FIELD, lessor.waiting)
            if grant is None:
                continue
            if grant.census:
                lessor.desk.hear(holder.id, report(holder, lessor, census=True))
            lessor.desk.settle(lessor.top)
            holder.desk.receive(lessor.id, grant)


def trio(contiguous: bool = False) -> list[Program]:
    return [Program(index, contiguous) for index in range(3)]


# -- by example ---------------------------------------------------------------------------------------------


def test_a_holder_leases_and_works_offline() -> None:
    office, branch, _ = trio()
    converse(office, branch)
    assert count(branch.book.pool) == LEAST
    taken = [branch.desk.take() for _ in range(LEAST)]
    assert taken == list(range(1, LEAST + 1))
    assert branch.desk.take() is None
    assert office.desk.take() == LEAST + 1


def test_more_is_asked_for_below_half_and_as_much_as_was_used() -> None:
    office, branch, _ = trio()
    converse(office, branch)
    for _ in range(LEAST // 2):
        assert branch.desk.demand(0) == 0
        branch.desk.take(day=3)
    branch.desk.take(day=4)
    assert branch.desk.demand(0) == 2 * (LEAST // 2 + 1) - branch.desk.left()
    branch.desk.take(day=30)
    assert branch.book.used == ((30, 1),)


def test_contiguous_gives_what_is_asked_for_and_no_more() -> None:
    office, branch, _ = trio(contiguous=True)
    converse(office, branch)
    assert branch.book.pool == ()
    branch.waiting = 1
    converse(office, branch)
    assert branch.book.pool == (Span(1, 1),)
    assert [branch.desk.take(), office.desk.take(), branch.desk.take()] == [1, 2, None]


@pytest.mark.parametrize("contiguous", [False, True])
def test_a_holder_leases_on(contiguous: bool) -> None:
    office, middle, far = trio(contiguous)
    far.waiting = 1
    converse(office, middle)
    converse(middle, far)
    if contiguous:
        converse(office, middle)
        converse(middle, far)
    assert far.desk.left()
    assert far.desk.way() == 2
    numbers = [p.desk.take() for p in (far, middle, office)]
    kept = [number for number in numbers if number is not None]
    assert len(set(kept)) == len(kept)
    assert numbers[0]
    assert numbers[2]


def test_a_grant_that_was_lost_is_sent_again_and_counts_once() -> None:
    office, branch, _ = trio()
    converse(office, branch, rounds=1)
    office.desk.hear(branch.id, report(branch, office))
    first = office.desk.lend(branch.id, FIELD)
    meet(office, branch)
    office.desk.hear(branch.id, report(branch, office))
    again = office.desk.lend(branch.id, FIELD)
    assert first == again
    assert first is not None
    assert branch.desk.receive(office.id, first)
    assert not branch.desk.receive(office.id, first)
    assert branch.desk.left() == LEAST


def test_a_restored_owner_waits_for_all_who_may_hold_numbers() -> None:
    office, branch, other = trio()
    converse(office, branch)
    office.keep()
    converse(office, other)
    assert [other.desk.take(), office.desk.take()] == [101, 201]
    other.records, office.records = {1: 201}, {}  # the office's own record came here, and is lost there
    office.restore(2)
    assert office.desk.take() is None
    meet(office, other)
    converse(office, branch)
    assert office.desk.missing() == [other.id]
    branch.book.pool = ()
    office.desk.hear(branch.id, report(branch, office))
    refused = office.desk.lend(branch.id, FIELD)
    assert refused is not None
    assert (refused.spans, refused.why) == ((), WAITING)
    converse(office, other)
    assert office.book.sure
    assert office.desk.take() == 202
    converse(office, branch)
    assert branch.book.pool[0].low == 203


def test_who_never_comes_back_is_dismissed() -> None:
    office, branch, other = trio()
    converse(office, branch)
    converse(office, other)
    office.keep()
    office.restore(2)
    converse(office, branch)
    assert not office.desk.settle()
    office.desk.dismiss(other.id)
    assert office.desk.settle()
    had = set(other.book.pool)
    converse(office, other)  # it does come back
    assert not had & set(other.book.pool)
    assert other.desk.left() == LEAST
    assert not office.book.neighbours[other.id].dismissed


def test_a_restored_holder_uses_nothing_of_what_it_had() -> None:
    office, branch, _ = trio()
    converse(office, branch)
    branch.keep()
    branch.desk.take()
    branch.restore(2)
    assert branch.desk.take() is None
    converse(office, branch)
    assert branch.desk.take() == LEAST + 1


def test_an_owner_that_was_restored_unnoticed_hears_it_from_a_holder() -> None:
    office, branch, _ = trio()
    converse(office, branch)
    office.restore(1)  # the same life, as far as it knows
    converse(office, branch)
    assert office.book.next == LEAST + 1
    assert office.book.sure  # nobody else may hold anything


def test_the_end_of_the_numbers() -> None:
    office, branch, _ = trio()
    desk = Desk(office.book, office.me, owner=True, limit=3)
    meet(office, branch)
    desk.hear(branch.id, report(branch, office, census=True))
    grant = desk.lend(branch.id, FIELD)
    assert grant is not None
    assert grant.spans == (Span(1, 3),)
    branch.desk.receive(office.id, grant)
    desk.hear(branch.id, report(branch, office))
    more = desk.lend(branch.id, FIELD)
    assert more is not None
    assert more.why == SPENT
    assert desk.take() is None


def test_a_holder_with_nothing_to_spare_says_so() -> None:
    _, middle, far = trio()
    meet(middle, far)
    middle.desk.meet(b"o" * 16, 1, 0, link=2)
    meet(middle, far)
    middle.desk.hear(far.id, report(far, middle))
    grant = middle.desk.lend(far.id, FIELD)
    assert grant is not None
    assert grant.why == LOW
    assert middle.desk.demand(0) >= LEAST


def test_ways_do_not_lead_in_circles() -> None:
    _, one, other = trio()
    for _ in range(40):
        meet(one, other)
    assert one.desk.way() is None
    assert not one.desk.leads(other.id)


def test_gaps() -> None:
    assert gaps(1, 10, [1, 2, 5, 11], [Span(7, 8)]) == (Span(3, 4), Span(6, 6), Span(9, 10))


def test_the_book_is_kept_whole() -> None:
    office, branch, _ = trio()
    converse(office, branch)
    for program in (office, branch):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(program.book), type=Book) == program.book
    assert isinstance(office.book.neighbours[branch.id], Neighbour)


# -- at random ----------------------------------------------------------------------------------------------


SHAPES = {
    "star": ((0, 1), (0, 2), (0, 3)),
    "chain": ((0, 1), (1, 2), (2, 3)),
    "ring": ((0, 1), (1, 2), (2, 0)),
}


class World:
    """Programs that use numbers, exchange records, lose messages and go back to backups."""

    def __init__(self, shape: str, contiguous: bool) -> None:
        self.links = SHAPES[shape]
        self.programs = [Program(index, contiguous) for index in range(1 + max(map(max, self.links)))]
        self.last_epoch = 1
        self.last_record = 0
        self.messages: list[tuple[Program, Program, Report | Grant]] = []
        self.met: set[tuple[int, int]] = set()

    def link(self, which: int) -> tuple[Program, Program]:
        one, other = self.links[which % len(self.links)]
        return self.programs[one], self.programs[other]

    def connect(self, which: int) -> None:
        meet(*self.link(which))
        self.met.add(self.links[which % len(self.links)])

    def talk(self, which: int) -> None:
        """Without a fault: so that there is something to go wrong with."""
        self.connect(which)
        converse(*self.link(which), rounds=2)

    def _way(self, which: int) -> tuple[Program, Program] | None:
        ways = sorted([*self.met, *((other, one) for one, other in self.met)])
        if not ways:
            return None
        one, other = ways[which % len(ways)]
        return self.programs[one], self.programs[other]

    def ask(self, which: int) -> None:
        if way := self._way(which):
            holder, lessor = way
            if holder.desk.leads(lessor.id) or lessor.owner:
                message = report(holder, lessor, census=which % 3 == 0)
                self.messages.append((holder, lessor, message))

    def look(self, which: int) -> None:
        if way := self._way(which):
            self._lend(*way)

    def _lend(self, lessor: Program, holder: Program) -> None:
        grant = lessor.desk.lend(holder.id, FIELD, lessor.waiting)
        if grant is not None:
            self.messages.append((lessor, holder, grant))

    def deliver(self, which: int) -> None:
        if not self.messages:
            return
        place = which // 4 % len(self.messages)
        source, target, message = self.messages[place] if which % 4 == 0 else self.messages.pop(place)
        if source.id not in target.book.neighbours:
            return  # restored to before they met
        if isinstance(message, Grant):
            target.desk.receive(source.id, message)
            return
        target.desk.hear(source.id, message)
        target.desk.settle(target.top)
        self._lend(target, source)

    def lose(self, which: int) -> None:
        if self.messages:
            self.messages.pop(which % len(self.messages))

    def use(self, which: int) -> None:
        program = self.programs[which % len(self.programs)]
        for _ in range((1, 3, 60)[which // 8 % 3]):
            number = program.desk.take()
            program.waiting = 1 if number is None and program.contiguous else 0
            if number is None:
                break
            self.last_record += 1
            program.records[self.last_record] = number

    def share(self, which: int) -> None:
        one, other = self.link(which)
        one.records |= other.records
        other.records |= one.records

    def back_up(self, which: int) -> None:
        self.programs[which % len(self.programs)].keep()

    def restore(self, which: int) -> None:
        at = which % len(self.programs)
        self.last_epoch += 1
        self.programs[at].restore(self.last_epoch)
        self.met = {link for link in self.met if at not in link}
        # The links are configured whether or not it remembers a contact: nobody is overlooked.
        for link in self.links:
            if at in link:
                there = self.programs[sum(link) - at]
                self.programs[at].book.neighbours.setdefault(there.id, Neighbour(link=1))

    def check(self) -> None:
        records: dict[int, int] = {}
        for program in self.programs:
            records |= program.records
        assert len(set(records.values())) == len(records)

    def heal(self) -> None:
        """Whatever has happened, once all are connected everybody gets numbers."""
        for program in self.programs:
            program.waiting = 1
        for _ in range(12):
            for which in range(len(self.links)):
                self.talk(which)
        assert all(program.desk.may_take() for program in self.programs)
        for which in range(len(self.programs) * 3):
            self.use(which)
        self.check()


ACTS = (
    *(World.talk, World.talk, World.connect, World.ask, World.look, World.deliver, World.deliver),
    *(World.lose, World.use, World.use, World.share, World.back_up, World.restore),
)


@pytest.mark.parametrize("contiguous", [False, True])
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_walks(shape: str, contiguous: bool) -> None:
    for seed in range(150):
        chance = random.Random(seed)
        world = World(shape, contiguous)
        for _ in range(60):
            chance.choice(ACTS)(world, chance.randrange(1000))
            world.check()
        world.heal()


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(SHAPES)),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 999)), max_size=40),
)
def test_no_number_is_used_twice(
    shape: str, contiguous: bool, acts: list[tuple[Callable[[World, int], None], int]]
) -> None:
    world = World(shape, contiguous)
    for act, which in acts:
        act(world, which)
        world.check()
    world.heal()
