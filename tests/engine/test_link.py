"""One conversation between two programs over a memory channel: the whole journey of a change, and every end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, TypeVar

import pytest

from syncapp import errors
from syncapp.core import effects as fx
from syncapp.core.codec import Frame
from syncapp.core.session import Role
from syncapp.engine import codec
from syncapp.engine import link as module
from syncapp.engine.codec import Codec, is_loopback
from syncapp.engine.link import LEASE, LinkDriver, new_session, now
from syncapp.engine.links import LinkConfig
from syncapp.store import locking
from syncapp.store.memory import MemoryBackend, MemoryDatabase
from syncapp.store.store import Store
from syncapp.transports.base import Channel
from syncapp.transports.memory import pair
from tests.simulation.schema import Numbers

T = TypeVar("T")
LINK = 1
PASSWORD = "swordfish"


class Pool:
    """Stands in for the threads: does the work at once, and tells that something was done."""

    def __init__(self, store: Store, done: asyncio.Event) -> None:
        self.store, self.done = store, done

    async def run(self, work: Callable[[Store], T]) -> T:
        await asyncio.sleep(0)
        try:
            return work(self.store)
        finally:
            self.done.set()

    async def call(self, work: Callable[[], T]) -> T:
        return await self.run(lambda store: work())


class Login:
    """Both sides' password work, in the clear."""

    def __init__(self, config: LinkConfig, password: str) -> None:
        self.config, self.password = config, password

    def find(self, store: Store, code: str, client_first: str) -> str:
        return "challenge"

    def verify(self, store: Store, client_final: str) -> tuple[LinkConfig, str]:
        if client_final != self.password:
            raise errors.WrongPassword
        return self.config, f"server {self.password}"

    def prove(self, server_first: str) -> str:
        return self.password

    def check(self, server_final: str) -> None:
        if server_final != f"server {self.password}":
            raise errors.Impostor


class Self:
    def __init__(self, title: str) -> None:
        self.title, self.url, self.boot = title, f"http://{title}.example", title.encode()
        self.host = title


class Program:
    """A program with a database in memory, whose clock can be moved."""

    def __init__(self, index: int, done: asyncio.Event, password: str = PASSWORD) -> None:
        self.ahead = 0
        self.numbers = Numbers(index)
        self.active = index == 0
        self.database = MemoryDatabase(
            self.numbers.setup((LINK,)),
            bytes([index + 1]) * 16,
            lambda: time.time_ns() // 1000 + self.ahead,
            self.numbers.unique(),
            {LINK: self.numbers.catalogue(active=self.active)},
        )
        self.store = Store(MemoryBackend(self.database))
        self.pool = Pool(self.store, done)
        mode = "active" if self.active else "passive"
        self.config = LinkConfig(LINK, "link 1", mode, "", "", "", False, 0, "login", {}, "")
        self.password = password
        self.changes = 0

    def driver(self, channel: Channel) -> LinkDriver:
        codec = Codec()
        token = self.store.claim(LINK, "me", LEASE) if self.active else 0
        made = LinkDriver(
            self.pool,  # type: ignore[arg-type]
            channel,
            new_session(Role.ACTIVE if self.active else Role.PASSIVE, codec),
            codec,
            Login(self.config, self.password),
            Self("office" if self.active else "branch"),
            owner="me",
            config=self.config if self.active else None,
            token=token or 0,
            on_change=self._changed,
        )
        if self.active:
            made.session.start("hello", now())
        return made

    def _changed(self, driver: LinkDriver) -> None:
        self.changes += 1

    def create(self, table: str, **values: Any) -> str:
        return self.database.create(self.numbers.table[table], self._fields(table, values))

    def write(self, table: str, key: str, **values: Any) -> None:
        self.database.write(self.numbers.table[table], key, self._fields(table, values))

    def _fields(self, table: str, values: dict[str, Any]) -> dict[int, Any]:
        return {self.numbers.field[table, name]: value for name, value in values.items()}

    def rows(self, table: str, *names: str) -> list[tuple[Any, ...]]:
        fields = [self.numbers.field[table, name] for name in names]
        found = self.database.tables[self.numbers.table[table]].values()
        return sorted(tuple(row.get(field) for field in fields) for row in found)


class Locked(MemoryBackend):
    """A database whose users hold all rows while ``held`` is true."""

    alone = False
    held = False

    def lock_rows(self, table: int, pks: Collection[str], *, strong: bool = False) -> set[str]:
        return set(pks) if self.held else set()


class Talk:
    """Two programs, and one conversation at a time between them."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.programs = (Program(0, self.done), Program(1, self.done))
        self.drivers: tuple[LinkDriver, LinkDriver]
        self.tasks: tuple[asyncio.Task[errors.SyncError], ...] = ()

    def start(self, wrap: Callable[[Channel], Channel] = lambda channel: channel) -> None:
        ends = pair()
        self.drivers = (self.programs[0].driver(wrap(ends[0])), self.programs[1].driver(ends[1]))
        self.tasks = tuple(asyncio.ensure_future(driver.run()) for driver in self.drivers)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.done.clear()
                await self.done.wait()

    async def live(self) -> None:
        self.start()
        await self.until(lambda: all(driver.live for driver in self.drivers))

    def wake(self) -> None:
        for driver in self.drivers:
            driver.wake()

    async def ends(self) -> list[errors.SyncError]:
        async with asyncio.timeout(10):
            return list(await asyncio.gather(*self.tasks))


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    talk = Talk()
    yield talk
    for task in talk.tasks:
        task.cancel()
    if talk.tasks:
        await asyncio.wait(talk.tasks)


# -- the journey --------------------------------------------------------------------------------------------


async def test_edits_flow_both_ways(talk: Talk) -> None:
    office, branch = talk.programs
    await talk.live()
    key = office.create("tag", title="big", label="b")
    branch.create("client", code="7", name="Anna")
    talk.wake()
    await talk.until(lambda: branch.rows("tag", "title") == [("big",)])
    await talk.until(lambda: office.rows("client", "code", "name") == [("7", "Anna")])
    office.write("tag", key, title="bigger")
    talk.wake()
    await talk.until(lambda: branch.rows("tag", "title") == [("bigger",)])
    for program in talk.programs:
        assert not program.database.problems
        assert program.database.status[LINK].state == "connected"
        assert program.changes
    assert [program.database.peers[LINK].title for program in talk.programs] == ["branch", "office"]


async def test_what_was_written_meanwhile_follows_when_they_meet_again(talk: Talk) -> None:
    office, branch = talk.programs
    await talk.live()
    office.create("tag", title="one", label="1")
    talk.wake()
    await talk.until(lambda: len(branch.rows("tag", "title")) == 1)
    talk.drivers[1].end(errors.Stopping())
    await talk.ends()
    office.create("tag", title="two", label="2")
    branch.create("tag", title="three", label="3")
    await talk.live()
    for program in talk.programs:
        await talk.until(lambda program=program: len(program.rows("tag", "title")) == 3)


async def test_other_machines_get_compressed_frames(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[int] = []

    def compress(data: bytes) -> bytes:
        packed.append(len(data))
        return real(data)

    real = codec.compress
    monkeypatch.setattr(codec, "compress", compress)
    office, branch = talk.programs
    await talk.live()
    office.create("client", code="1", name="long " * 20_000)
    talk.wake()
    await talk.until(lambda: branch.rows("client", "name") == [("long " * 20_000,)])
    assert packed


@pytest.mark.parametrize(
    ("remote", "here"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("http://localhost:8000/x", True),
        ("https://[::1]", True),
        ("192.168.1.5", False),
        ("https://office.example", False),
        ("memory", False),
        ("", False),
        ("http://", False),
    ],
)
def test_which_peer_is_on_this_machine(remote: str, here: bool) -> None:
    assert is_loopback(remote) is here


async def test_parked_changes_are_tried_again(talk: Talk) -> None:
    office, branch = talk.programs
    taken = branch.create("tag", title="mine", label="x")
    with branch.store.backend.transaction():
        branch.store.backend.drain(10)  # as if it had been there before the link
    await talk.live()
    office.create("tag", title="theirs", label="x")
    talk.wake()
    await talk.until(lambda: bool(branch.database.problems))
    (problem,) = branch.database.problems.values()
    assert problem.code == "not_unique"
    await talk.until(
        lambda: office.database.cursors[LINK].acked == office.database.state.head
    )  # it holds up nothing
    branch.write("tag", taken, label="y")
    branch.ahead = 3_600_000_000
    changes = branch.changes
    await talk.drivers[1].retry()
    assert not branch.database.problems
    assert branch.rows("tag", "title", "label") == [("mine", "y"), ("theirs", "x")]
    assert branch.changes == changes + 1
    await talk.drivers[1].retry()
    assert branch.changes == changes + 1  # nothing is due


async def test_a_record_that_somebody_is_changing_is_tried_again_soon(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_EVERY", 3600.0)
    monkeypatch.setattr(locking, "PAUSES", ())
    office, branch = talk.programs
    branch.store.backend = backend = Locked(branch.database)
    await talk.live()
    key = office.create("tag", title="one", label="1")
    talk.wake()
    await talk.until(lambda: branch.rows("tag", "title") == [("one",)])
    backend.held = True
    office.write("tag", key, title="two")
    talk.wake()
    await talk.until(lambda: any(p.tries > 1 for p in branch.database.problems.values()))
    assert branch.rows("tag", "title") == [("one",)]
    backend.held = False
    await talk.until(lambda: branch.rows("tag", "title") == [("two",)])
    assert not branch.database.problems


async def test_parked_changes_that_are_due_are_tried_when_they_meet(talk: Talk) -> None:
    office, branch = talk.programs
    taken = branch.create("tag", title="mine", label="x")
    with branch.store.backend.transaction():
        branch.store.backend.drain(10)
    await talk.live()
    office.create("tag", title="theirs", label="x")
    talk.wake()
    await talk.until(lambda: bool(branch.database.problems))
    talk.drivers[0].end(errors.Stopping())
    await talk.ends()
    branch.write("tag", taken, label="y")
    branch.ahead = office.ahead = 200_000_000
    await talk.live()
    await talk.until(lambda: not branch.database.problems)


# -- ends ---------------------------------------------------------------------------------------------------


async def test_a_wrong_password_is_said_on_both_sides(talk: Talk) -> None:
    office, branch = talk.programs
    office.password = "mackerel"
    office.create("tag", title="secret", label="s")
    talk.start()
    here, there = await talk.ends()
    assert isinstance(here, errors.WrongPassword)
    assert isinstance(there, errors.WrongPassword)
    assert not any(driver.was_live for driver in talk.drivers)
    assert not branch.rows("tag", "title")
    assert not branch.database.peers
    assert not branch.database.status  # nobody drives it: what is shown is the host's business


async def test_a_passive_side_that_cannot_prove_itself_gets_nothing(talk: Talk) -> None:
    class Liar(Login):
        def verify(self, store: Store, client_final: str) -> tuple[LinkConfig, str]:
            return self.config, "no proof"

    branch = talk.programs[1]
    talk.start()
    talk.drivers[1]._auth = Liar(branch.config, "?")
    here, there = await talk.ends()
    assert isinstance(here, errors.Impostor)
    assert isinstance(there, errors.RefusedError)
    assert not branch.database.peers


async def test_who_lost_the_lease_ends_and_changes_nothing(talk: Talk) -> None:
    office, branch = talk.programs
    await talk.live()
    other = office.store.claim(LINK, "another process", LEASE, force=True)
    acked = office.database.cursors[LINK].acked
    branch.create("tag", title="new", label="n")
    talk.wake()
    here, there = await talk.ends()
    assert isinstance(here, errors.LeaseLost)
    assert here.params["link"] == "link 1"
    assert isinstance(there, errors.Superseded)
    assert not office.rows("tag", "title")
    assert office.database.cursors[LINK].acked == acked
    assert office.database.cursors[LINK].lease_token == other
    assert office.database.leases[LINK][0] == "another process"
    assert office.database.status[LINK].state == "connected"  # the other process says how it is now


async def test_a_lost_lease_is_noticed_without_any_traffic(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY", 0.01)
    await talk.live()
    talk.programs[0].store.claim(LINK, "another process", LEASE, force=True)
    here, _ = await talk.ends()
    assert isinstance(here, errors.LeaseLost)


async def test_the_lease_is_kept_while_it_lives(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY", 0.01)
    office, _ = talk.programs
    await talk.live()
    until = office.database.leases[LINK][1]
    await talk.until(lambda: office.database.leases[LINK][1] > until)
    talk.drivers[0].end(errors.Stopping())
    await talk.ends()
    assert office.database.leases[LINK][1] <= office.database.clock()  # given back


async def test_who_is_cancelled_says_goodbye(talk: Talk) -> None:
    office, branch = talk.programs
    await talk.live()
    talk.tasks[0].cancel()
    async with asyncio.timeout(10):
        there = await talk.tasks[1]
        with pytest.raises(asyncio.CancelledError):
            await talk.tasks[0]
    assert isinstance(there, errors.StoppingThere)
    assert isinstance(talk.drivers[0].error, errors.Stopping)
    assert office.database.status[LINK].code == "stopping"
    assert branch.database.status[LINK].code == "stopping_there"
    assert not talk.drivers[0].live


@pytest.mark.parametrize(
    ("side", "own", "told"), [(0, "reconfigured", "reconfigured"), (1, "paused_here", "paused")]
)
async def test_an_end_is_told(talk: Talk, side: int, own: str, told: str) -> None:
    await talk.live()
    talk.drivers[side].end(errors.BY_CODE[own]())
    ends = await talk.ends()
    assert ends[side].code == own
    assert ends[1 - side].code == told


async def test_a_road_that_breaks(talk: Talk) -> None:
    await talk.live()
    await talk.drivers[0].channel.close("gone")
    ends = await talk.ends()
    assert [type(error) for error in ends] == [errors.ConnectionClosed] * 2
    assert [program.database.status[LINK].state for program in talk.programs] == ["offline", "offline"]


async def test_a_peer_that_breaks_the_protocol(talk: Talk) -> None:
    await talk.live()
    await talk.drivers[0].channel.send(b"\xff nonsense")
    here, there = await talk.ends()
    assert isinstance(there, errors.ProtocolError)
    assert isinstance(here, errors.ProtocolErrorThere)


# -- mistakes of ours ---------------------------------------------------------------------------------------


def boom(*args: Any, **options: Any) -> Any:
    raise ZeroDivisionError("our own mistake")


async def broken(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    """Both ends come to an end, and say that it was this program's fault and no more."""
    talk.programs[1].create("tag", title="new", label="n")
    with caplog.at_level(logging.ERROR, module.__name__):
        talk.wake()
        here, there = await talk.ends()
    assert type(here) is errors.StoreError
    assert here.params == {"detail": "ZeroDivisionError"}
    assert type(there) is errors.StoreErrorThere
    assert "our own mistake" in caplog.text
    assert "our own mistake" not in str(there)


async def test_a_mistake_in_the_session_does_not_hang(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await talk.live()
    monkeypatch.setattr(talk.drivers[0].session, "receive", boom)
    await broken(talk, caplog)


@pytest.mark.parametrize("call", ["apply", "renew"])
async def test_a_mistake_in_the_store_does_not_hang(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY", 0.01)
    await talk.live()
    real = getattr(talk.programs[0].store, call)

    def once(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(talk.programs[0].store, call, real)
        boom()

    monkeypatch.setattr(talk.programs[0].store, call, once)
    await broken(talk, caplog)


async def test_a_road_that_fails_unexpectedly_does_not_hang(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Road):
        async def send(self, frame: Frame) -> None:
            boom()

    with caplog.at_level(logging.ERROR, module.__name__):
        talk.start(Broken)
        here, there = await talk.ends()
    assert type(here) is errors.StoreError
    assert isinstance(there, errors.ConnectionClosed)


# -- sending ------------------------------------------------------------------------------------------------


class Road:
    """A channel that does what the one within does; for tests to differ from."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    @property
    def remote(self) -> str:
        return self.channel.remote

    async def send(self, frame: Frame) -> None:
        await self.channel.send(frame)

    async def receive(self) -> Frame:
        return await self.channel.receive()

    async def close(self, reason: str = "") -> None:
        await self.channel.close(reason)


class Narrow(Road):
    """Takes one frame when it is told to."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.open = asyncio.Semaphore(0)
        self.waiting = asyncio.Event()
        self.sent: list[Frame] = []

    async def send(self, frame: Frame) -> None:
        self.waiting.set()
        await self.open.acquire()
        self.sent.append(frame)


async def within(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(10):
        return await awaitable


async def test_control_frames_overtake_bulk() -> None:
    road = Narrow(pair()[0])
    driver = Program(1, asyncio.Event()).driver(road)
    running = asyncio.ensure_future(driver.run())
    for frame in (b"bulk 1", b"bulk 2", b"bulk 3"):
        driver.session.effects.append(fx.Send(frame, bulk=True))
    driver._perform()
    await within(road.waiting.wait())  # the first one is on its way
    for frame in (b"control 1", b"control 2"):
        driver.session.effects.append(fx.Send(frame, bulk=False))
    driver._perform()
    for _ in range(10):
        road.open.release()
    driver.session.effects.append(fx.Send(b"control 3", bulk=False))
    driver.end(errors.Stopping())
    assert isinstance(await within(running), errors.Stopping)
    # What is left of the bulk is of no use to a peer that is told goodbye.
    assert road.sent[:4] == [b"bulk 1", b"control 1", b"control 2", b"control 3"]
    assert b"bulk 2" not in road.sent


async def test_a_peer_that_takes_nothing_does_not_keep_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_WORDS", 0.05)
    road = Narrow(pair()[0])
    driver = Program(1, asyncio.Event()).driver(road)
    running = asyncio.ensure_future(driver.run())
    driver.session.effects.append(fx.Send(b"stuck", bulk=False))
    driver._perform()
    await within(road.waiting.wait())
    driver.end(errors.Stopping())
    assert isinstance(await within(running), errors.Stopping)
    assert road.sent == []
