"""Shared series over links of real stores: leased, used, replaced; the owner restored; disagreements named."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from django.apps import apps
from django.db import connections, transaction

from syncapp import errors, series
from syncapp.core.messages import CAPABILITIES, Hello, Limits
from syncapp.core.series import LEAST, Book, Grant
from syncapp.core.spans import Span, count
from syncapp.models import LinkState, SeriesProvisional, SeriesRequest
from syncapp.store import catalogue, config
from syncapp.store.series import Counter, Words
from syncapp.store.seriesbase import SeriesBusy, SeriesInfo, limit_of
from syncapp.store.sql import SqlBackend
from tests.store.kin import KinMaker, MemoryKin, Shared, SqlKin, make, toml
from tests.store.replicas import Network, Shelf, make_on_postgres, shelf

__all__ = ["make", "make_on_postgres", "shelf"]

TABLE, LABEL = "crm.Tag", "crm.Tag.name"
TABLES = {TABLE: Shared(["name"])}
FORMAT = "T-{:04}"


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each program is called by its letter; really a process has one program, which says its name."""
    monkeypatch.setattr(catalogue, "program_name", lambda using: using[-1])
    monkeypatch.setattr("syncapp.store.config.series.program_name", lambda using: using[-1])


def declare(replica: Any, mode: str = "ranges", owner: str = "a", format: str = FORMAT) -> None:
    if isinstance(replica, SqlKin):
        text = f'[[series]]\nfield = "{LABEL}"\nowner = "{owner}"\nmode = "{mode}"\nformat = "{format}"\n'
        config.apply(toml(replica._peers, TABLES) + "\n" + text, env={}, using=replica.alias)
        return
    assert isinstance(replica, MemoryKin)
    field = replica.number(TABLE, "name")
    type = replica.database.setup.tables[replica.number(TABLE)].fields[field].type
    info = SeriesInfo(
        *(replica.number(TABLE), field, LABEL, owner, replica.letter == owner, mode == "contiguous"),
        *(format, type, limit_of(format, type)),
    )
    replica.database.setup = msgspec.structs.replace(replica.database.setup, series={field: info})


Programs = Callable[..., Network]


@pytest.fixture
def programs(make: KinMaker) -> Programs:
    """Makes programs that share a series, owned by ``a``: ``programs("ba", "ca")``."""

    def made(*links: str, mode: str = "ranges") -> Network:
        network = make(list(links), TABLES)
        for replica in network:
            declare(replica, mode)
        return network

    return made


def info_of(replica: Any) -> SeriesInfo:
    (info,) = replica.store.backend.setup().series.values()
    return info


def take(replica: Any) -> str | None:
    """A number as the program's own code gets one, used in a record; None where there is none."""
    backend, info = replica.store.backend, info_of(replica)
    with backend.transaction():
        counter = Counter(backend, info, backend.setup().links)
        number = counter.take(backend.now())
        counter.close()
    if number is None:
        return None
    replica.create(TABLE, name=info.value(number))
    return str(info.value(number))


def book(replica: Any) -> Book:
    backend = replica.store.backend
    with backend.transaction():
        return backend.book(info_of(replica).field)


def hello(replica: Any, link: int) -> Hello:
    return replica.store.greeting(link, replica.tokens[link]).hello(
        boot=replica.identity,
        title=replica.letter,
        software="test",
        url="",
        host="host",
        capabilities=CAPABILITIES,
        limits=Limits(),
        user_matching="login",
    )


class Talk:
    """One conversation about numbers, as the engine leads it."""

    def __init__(self, network: Network, one: str, other: str) -> None:
        self.sides = [
            (network[one], network[one].link_to(other)),
            (network[other], network[other].link_to(one)),
        ]
        for replica, link in self.sides:
            replica.tokens[link] = replica.store.claim(link, "test", 10**15) or 0
        hellos = [hello(*side) for side in self.sides]
        self.shared = [
            replica.store.meet(link, said, 0, replica.tokens[link]).series
            for (replica, link), said in zip(self.sides, reversed(hellos), strict=True)
        ]
        self.refused = self.shared == [{}, {}]

    def look(self, side: int) -> Words:
        (replica, link), other = self.sides[side], self.sides[1 - side][0]
        return replica.store.numbers(link, other.identity, self.shared[side], replica.tokens[link])

    def hear(self, side: int, words: Words) -> Words:
        (replica, link), other = self.sides[side], self.sides[1 - side][0]
        return replica.store.heard(
            link, other.identity, self.shared[side], words.reports, words.grants, replica.tokens[link]
        )

    def run(self) -> None:
        """To and fro until nobody has anything new to say."""
        said: list[tuple[int, Words]] = []
        queue = [(side, self.look(side)) for side in (0, 1)]
        for _ in range(50):
            if not queue:
                return
            side, words = queue.pop(0)
            if (side, words) not in said and (words.reports or words.grants):
                said.append((side, words))
                queue += [(1 - side, self.hear(1 - side, words)), (side, self.look(side))]
        raise AssertionError("no end")


def talk(network: Network, *links: str) -> None:
    for link in links:
        Talk(network, *link).run()


def names(replica: Any) -> list[str]:
    return sorted(replica.get(TABLE, pk, "name") for pk in replica.keys(TABLE))


def restore(replica: Any, kept: Book, epoch: int) -> None:
    """The database goes back to when the book was like that, and the program has noticed it."""
    backend = replica.store.backend
    with backend.transaction():
        backend.save_book(info_of(replica).field, kept)
        backend.set_epoch(epoch)


# -- ranges -------------------------------------------------------------------------------------------------


def test_office_and_branch_work_offline(programs: Programs) -> None:
    network = programs("ba")
    talk(network, "ba")
    taken = [take(network[letter]) for letter in "abab"]
    assert taken == ["T-0101", "T-0001", "T-0102", "T-0002"]
    for _ in range(LEAST):
        take(network["b"])
    assert take(network["b"]) is None
    talk(network, "ba")
    assert take(network["b"]) == "T-0103"
    network.settle()
    assert names(network["a"]) == names(network["b"])
    assert not network["a"].codes + network["b"].codes


def test_the_series_goes_on_after_what_is_there(programs: Programs) -> None:
    network = programs("ba")
    network["a"].create(TABLE, name="T-0007")
    network["a"].create(TABLE, name="another")
    network["b"].create(TABLE, name="T-0020")
    network["b"].create(TABLE, name="T-0023")
    talk(network, "ba")
    assert take(network["b"]) == "T-0024"
    assert take(network["a"]) == "T-0124"


def test_a_number_that_a_record_has_is_not_given(programs: Programs) -> None:
    network = programs("ba")
    talk(network, "ba")
    network["b"].create(TABLE, name="T-0001")
    assert take(network["b"]) == "T-0002"


def test_a_chain_leases_on(programs: Programs) -> None:
    network = programs("ba", "cb")
    talk(network, "ba", "cb", "ba", "cb")
    taken = [take(network[letter]) for letter in "abcabc"]
    assert None not in taken
    assert len(set(taken)) == 6


def test_the_way_to_the_owner_is_found_in_the_middle_of_a_conversation(programs: Programs) -> None:
    network = programs("ba", "cb")
    behind = Talk(network, "c", "b")
    behind.run()
    assert notice(network["c"]) == "no_owner"
    talk(network, "ba")
    behind.run()
    assert notice(network["c"]) == ""
    assert take(network["c"]) is not None


def test_a_program_without_the_series_gets_nothing(programs: Programs) -> None:
    network = programs("ba")
    replica: Any = network["b"]
    if isinstance(replica, MemoryKin):
        replica.database.setup = msgspec.structs.replace(replica.database.setup, series={})
    else:
        config.apply(toml(replica._peers, TABLES), env={}, using=replica.alias)
    assert Talk(network, "b", "a").refused
    assert notice(network["a"]) == "series_not_there"


@pytest.mark.parametrize(
    ("there", "code"),
    [
        ({"mode": "contiguous"}, "series_differs"),
        ({"format": "{:05}"}, "series_differs"),
        ({"owner": "b"}, "series_differs"),
    ],
)
def test_programs_that_disagree(programs: Programs, there: dict[str, str], code: str) -> None:
    network = programs("ba")
    talk(network, "ba")
    had = count(book(network["b"]).pool)
    declare(network["b"], **there)
    one = Talk(network, "b", "a")
    assert one.refused
    assert [notice(replica) for replica in network] == [code, code]
    assert count(book(network["b"]).pool) == had
    declare(network["b"])
    talk(network, "ba")
    assert [notice(replica) for replica in network] == ["", ""]


def test_two_owners(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "program_name", lambda using: "a")
    network = programs("ba")
    for replica in network:
        if isinstance(replica, MemoryKin):
            info = msgspec.structs.replace(info_of(replica), owned=True)
            replica.database.setup = msgspec.structs.replace(
                replica.database.setup, series={info.field: info}
            )
    assert Talk(network, "b", "a").refused
    assert [notice(replica) for replica in network] == ["two_owners", "two_owners"]


def test_no_owner(programs: Programs) -> None:
    network = programs("ba")
    for replica in network:
        declare(replica, owner="z")
    talk(network, "ba")
    assert [notice(replica) for replica in network] == ["no_owner", "no_owner"]
    assert take(network["a"]) is None


def notice(replica: Any) -> str:
    (link,) = replica.links
    if isinstance(replica, MemoryKin):
        return str(replica.database.notices.get(link, ("",))[0])
    return LinkState.objects.using(replica.alias).get(link=link).notice_code


# -- contiguous ---------------------------------------------------------------------------------------------


def wait_for(replica: Any, many: int) -> None:
    """So many saves wait for a number."""
    info, until = info_of(replica), time.time_ns()
    if isinstance(replica, MemoryKin):
        replica.database.number_requests[info.field] = [2**62] * many
        return
    SeriesRequest.objects.using(replica.alias).all().delete()
    for _ in range(many):
        SeriesRequest.objects.using(replica.alias).create(series_id=info.field, until=until)


def give_provisional(replica: Any, value: str) -> None:
    info = info_of(replica)
    if isinstance(replica, MemoryKin):
        replica.database.provisional[info.field][value] = ""
    else:
        SeriesProvisional.objects.using(replica.alias).create(series_id=info.field, value=value, created_at=1)


def test_numbers_follow_each_other(programs: Programs) -> None:
    network = programs("ba", mode="contiguous")
    talk(network, "ba")
    assert take(network["b"]) is None
    taken = []
    for letter in "baabbbaab":
        if letter == "b":
            wait_for(network["b"], 1)
            talk(network, "ba")
            wait_for(network["b"], 0)
        taken.append(take(network[letter]))
    assert taken == [f"T-{number:04}" for number in range(1, 10)]
    assert book(network["b"]).pool == ()


def test_several_saves_wait_at_once(programs: Programs) -> None:
    network = programs("ba", mode="contiguous")
    wait_for(network["b"], 3)
    talk(network, "ba")
    assert book(network["b"]).pool == (Span(1, 3),)


def test_contiguous_through_a_chain(programs: Programs) -> None:
    network = programs("ba", "cb", mode="contiguous")
    talk(network, "ba", "cb")
    wait_for(network["c"], 1)
    talk(network, "cb", "ba", "cb")
    assert (take(network["c"]), take(network["a"])) == ("T-0001", "T-0002")


def test_a_provisional_number_is_replaced_on_contact(programs: Programs) -> None:
    network = programs("ba", mode="contiguous")
    talk(network, "ba")
    take(network["a"])
    pk = network["b"].create(TABLE, name="P-1")
    give_provisional(network["b"], "P-1")
    give_provisional(network["b"], "P-2")  # whose record is not saved yet, or never was
    network.settle()
    talk(network, "ba")
    assert network["b"].get(TABLE, pk, "name") == "T-0002"
    assert book(network["b"]).pool == ()
    network.settle()
    assert names(network["a"]) == ["T-0001", "T-0002"]
    assert take(network["a"]) == "T-0003"


# -- restored -----------------------------------------------------------------------------------------------


def test_a_restored_owner_waits_for_its_holders(programs: Programs) -> None:
    network = programs("ba", "ca")
    a, b, c = network
    talk(network, "ba", "ca")
    kept = book(a)
    wait = [take(c) for _ in range(LEAST)]
    assert None not in wait
    talk(network, "ca")  # which gets more, and the owner forgets it
    held = book(c).pool
    restore(a, kept, 2)
    assert take(a) is None
    talk(network, "ba")
    pool = book(b).pool
    assert take(a) is None
    talk(network, "ca")
    number = take(a)
    assert number is not None
    assert int(number[2:]) > max(span.high for span in (*held, *pool))


def test_who_leases_on_is_waited_for_until_it_has_heard_those_behind_it(programs: Programs) -> None:
    network = programs("ba", "cb")
    talk(network, "ba", "cb", "ba", "cb")
    a, b, c = network
    held = book(c).pool
    for replica in (a, b):
        restore(replica, book(replica), 2)
    up = Talk(network, "b", "a")
    up.run()
    assert take(a) is None
    talk(network, "cb")
    up.run()
    number = take(a)
    assert number is not None
    assert int(number[2:]) > held[-1].high
    assert book(c).pool == held


def test_a_link_that_was_never_used_is_waited_for_too(programs: Programs) -> None:
    """Its program may have got numbers since the backup was made."""
    network = programs("ba", "ca")
    a = network["a"]
    talk(network, "ba")
    restore(a, book(a), 2)
    talk(network, "ba")
    assert take(a) is None
    backend = a.store.backend
    with backend.transaction():
        counter = Counter(backend, info_of(a), backend.setup().links)
        (stranger,) = counter.unmet(backend.setup())
        counter.dismiss(b"", stranger)
        counter.close()
    talk(network, "ba")
    assert take(a) is not None


def test_a_restored_holder_starts_with_fresh_numbers(programs: Programs) -> None:
    network = programs("ba")
    talk(network, "ba")
    kept = book(network["b"])
    take(network["b"])
    restore(network["b"], kept, 2)
    assert take(network["b"]) is None
    talk(network, "ba")
    assert take(network["b"]) == "T-0101"


def test_who_has_lost_the_lease_gets_and_gives_nothing(programs: Programs) -> None:
    network = programs("ba")
    one = Talk(network, "b", "a")
    words = one.look(0)
    network["a"].store.claim(network["a"].link_to("b"), "another", 10**15, force=True)
    with pytest.raises(errors.LeaseLost):
        one.hear(1, words)
    assert all(not known.reported for known in book(network["a"]).neighbours.values())


# -- the program's own code ---------------------------------------------------------------------------------


#: There is no code of a program's own in memory.
of_programs = pytest.mark.parametrize("make", ["sqlite"], indirect=True)


@pytest.fixture
def shop(make: KinMaker) -> Network:
    network = make(["ba"], TABLES)
    for replica in network:
        declare(replica)
    return network


def number_of(replica: Any, **options: Any) -> Any:
    return series.next_number("CRM.tag.name", using=replica.alias, **options)


@of_programs
def test_next_number(shop: Network) -> None:
    a, b = shop
    with pytest.raises(errors.NumbersUsedUp) as refused:
        number_of(b)
    assert '"a"' in str(refused.value)
    talk(shop, "ba")
    assert [number_of(a), number_of(b), number_of(b)] == ["T-0101", "T-0001", "T-0002"]


@of_programs
def test_a_rollback_takes_the_number_back(shop: Network) -> None:
    a: Any = shop["a"]
    with transaction.atomic(using=a.alias):
        assert number_of(a) == "T-0001"
        transaction.set_rollback(True, using=a.alias)
    assert number_of(a) == "T-0001"


@of_programs
def test_a_restored_owner_says_whom_it_waits_for(shop: Network) -> None:
    talk(shop, "ba")
    restore(shop["a"], book(shop["a"]), 2)
    with pytest.raises(errors.SeriesWaits) as refused:
        number_of(shop["a"])
    assert refused.value.params["holders"] == "b"


@of_programs
def test_the_end_of_a_series(shop: Network) -> None:
    a: Any = shop["a"]
    declare(a, format="T" * 60 + "{:04}")
    a.create(TABLE, name="T" * 60 + "9998")
    assert number_of(a) == "T" * 60 + "9999"
    with pytest.raises(errors.SeriesAtEnd):
        number_of(a)


@of_programs
def test_without_a_series(shop: Network) -> None:
    a: Any = shop["a"]
    assert series.declared(LABEL, using=a.alias)
    assert not series.declared("crm.Client.name", using=a.alias)
    with pytest.raises(errors.NoSeries):
        series.next_number("crm.Client.name", using=a.alias)


@of_programs
def test_offline_a_contiguous_number_is_provisional(shop: Network) -> None:
    for replica in shop:
        declare(replica, "contiguous")
    b: Any = shop["b"]
    assert number_of(shop["a"]) == "T-0001"
    value = number_of(b)
    assert value.startswith("P-")
    assert SeriesProvisional.objects.using(b.alias).get().value == value
    b.create(TABLE, name=value)
    talk(shop, "ba")
    assert names(b) == ["T-0002"]
    row = SeriesProvisional.objects.using(b.alias).get()
    assert (row.final, row.replaced_at > 0) == ("T-0002", True)


@of_programs
def test_connected_a_save_waits_for_its_number(shop: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    for replica in shop:
        declare(replica, "contiguous")
    b: Any = shop["b"]
    talk(shop, "ba")
    ahead = SqlBackend(b.alias).now() + 10**9
    LinkState.objects.using(b.alias).update(state="connected", lease_until=ahead)
    # The engine of another process at work.
    monkeypatch.setattr("syncapp.series.time.sleep", lambda seconds: talk(shop, "ba"))
    assert number_of(b) == "T-0001"
    with series.reserve(LABEL, using=b.alias), transaction.atomic(using=b.alias):
        assert number_of(b) == "T-0002"
    assert not SeriesRequest.objects.using(b.alias).exists()
    assert book(b).pool == ()
    assert number_of(shop["a"]) == "T-0003"


@of_programs
def test_connected_a_range_that_is_used_up_is_waited_for(
    shop: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    b: Any = shop["b"]
    talk(shop, "ba")
    LinkState.objects.using(b.alias).update(state="connected", lease_until=2**62)
    monkeypatch.setattr("syncapp.series.time.sleep", lambda seconds: talk(shop, "ba"))
    taken = [number_of(b) for _ in range(LEAST + 1)]
    assert taken[-1] == "T-0101"
    left = count(book(b).pool)
    with series.reserve(LABEL, many=left + 70, using=b.alias), transaction.atomic(using=b.alias):
        taken += [number_of(b) for _ in range(left + 70)]
    assert len(set(taken)) == LEAST + 1 + left + 70
    assert not SeriesRequest.objects.using(b.alias).exists()


@of_programs
def test_several_contiguous_numbers_are_reserved_at_once(
    shop: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    for replica in shop:
        declare(replica, "contiguous")
    b: Any = shop["b"]
    talk(shop, "ba")
    LinkState.objects.using(b.alias).update(state="connected", lease_until=2**62)
    monkeypatch.setattr("syncapp.series.time.sleep", lambda seconds: talk(shop, "ba"))
    with series.reserve(LABEL, many=3, using=b.alias), transaction.atomic(using=b.alias):
        assert [number_of(b) for _ in range(3)] == ["T-0001", "T-0002", "T-0003"]
    talk(shop, "ba")
    assert book(b).pool == ()
    assert number_of(shop["a"]) == "T-0004"


@of_programs
def test_a_save_waits_no_longer_than_it_is_told(shop: Network) -> None:
    for replica in shop:
        declare(replica, "contiguous")
    b: Any = shop["b"]
    talk(shop, "ba")
    LinkState.objects.using(b.alias).update(state="connected", lease_until=2**62)
    assert number_of(b, timeout=0.05).startswith("P-")
    assert not SeriesRequest.objects.using(b.alias).exists()


def many_at_once(replica: Any, threads: int = 4, each: int = 10) -> list[str]:
    """Numbers that several threads take at once, each in a transaction of its own."""

    def work() -> list[str]:
        try:
            return [number_of(replica) for _ in range(each)]
        finally:
            connections[replica.alias].close()

    with ThreadPoolExecutor(threads) as pool:
        found = [pool.submit(work) for _ in range(threads)]
        return [number for one in found for number in one.result()]


@of_programs
def test_many_at_once(shop: Network) -> None:
    assert sorted(many_at_once(shop["a"])) == [f"T-{number:04}" for number in range(1, 41)]


def test_on_postgresql_nobody_waits_for_users(make_on_postgres: KinMaker, shelf: Shelf) -> None:
    maker = KinMaker("postgres", shelf)
    try:
        network = maker(["ba"], TABLES)
        for replica in network:
            declare(replica, "contiguous")
        a, b = network
        value = number_of(b)
        b.create(TABLE, name=value)
        one = Talk(network, "b", "a")
        one.run()
        assert names(b) == ["T-0001"]
        b.create(TABLE, name=number_of(b))
        with ThreadPoolExecutor(1) as pool, transaction.atomic(using=b.alias):
            # The record is somebody's at present, then the numbers are too.
            list(_tags(b).select_for_update())
            pool.submit(in_thread, b, one.run).result(20)
            assert book_outside(b).pool == (Span(2, 2),)
            assert number_of(b) == "T-0002"
            words = Words((), (Grant(info_of(a).field, 1, 1, 9, (Span(7, 7),)),))
            with pytest.raises(SeriesBusy):
                pool.submit(in_thread, b, lambda: one.hear(0, words)).result(20)
            assert pool.submit(in_thread, b, lambda: one.look(0)).result(20) == Words()
    finally:
        maker.close()


def _tags(replica: Any) -> Any:
    return apps.get_model(TABLE)._default_manager.using(replica.alias)


def book_outside(replica: Any) -> Book:
    """The book, past the backend's transactions."""
    return SqlBackend(replica.alias).peek(info_of(replica).field)


def in_thread(replica: Any, work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        for connection in connections.all(initialized_only=True):
            if connection.alias.startswith("replica"):
                connection.close()


def test_on_postgresql(make_on_postgres: KinMaker, shelf: Shelf) -> None:
    maker = KinMaker("postgres", shelf)
    try:
        network = maker(["ba"], TABLES)
        for replica in network:
            declare(replica, "contiguous")
        a, b = network
        value = number_of(b)
        b.create(TABLE, name=value)
        talk(network, "ba")
        assert names(b) == ["T-0001"]
        restore(a, book(a), 2)
        assert number_of(a).startswith("P-")
        talk(network, "ba")
        assert number_of(a) == "T-0002"
        assert sorted(many_at_once(a)) == [f"T-{number:04}" for number in range(3, 43)]
    finally:
        maker.close()
