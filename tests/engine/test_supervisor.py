"""Active links are dialled, followed and let go as they are configured, by one process at a time."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from syncapp import conf, errors
from syncapp.core.address import Address
from syncapp.core.policy import Backoff
from syncapp.core.session import Role
from syncapp.engine import supervisor as module
from syncapp.engine.auth import PassiveAuth, derive
from syncapp.engine.codec import Codec
from syncapp.engine.link import LinkDriver, new_session
from syncapp.engine.links import LinkConfig
from syncapp.engine.supervisor import FAR, NEAR, Host, Supervisor, engine_host
from syncapp.engine.wake import LocalWake
from syncapp.models import Link, LinkState
from syncapp.store import catalogue, control
from syncapp.store.base import LinkInfo, Setup
from syncapp.store.memory import MemoryBackend, MemoryDatabase
from syncapp.store.sql import SqlBackend
from syncapp.store.status import LinkReport, link_statuses
from syncapp.store.store import Store
from syncapp.transports.base import Channel
from syncapp.transports.memory import pair
from tests import rows
from tests.engine.test_link import Pool, Self

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "swordfish"
VERIFIER = derive(PASSWORD, b"s" * 16, 4096)


class Remote:
    """The passive programs that links dial: one for each host name."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.dialled: list[str] = []
        self.running: dict[str, list[asyncio.Task[errors.SyncError]]] = {}
        self.heard: list[tuple[str, str]] = []
        self.answers: list[errors.SyncError | Exception] = []
        self.databases: dict[str, MemoryDatabase] = {}

    async def connect(self, address: Address, **options: Any) -> Channel:
        self.dialled.append(address.host)
        self.changed.set()
        if self.answers:
            raise self.answers.pop(0)
        mine, theirs = pair()
        task = asyncio.ensure_future(self._converse(address.host, theirs))
        self.running.setdefault(address.host, []).append(task)
        return mine

    async def _converse(self, name: str, channel: Channel) -> errors.SyncError:
        setup = Setup(version=1, tables={}, links={1: LinkInfo(1, name)}, captured=frozenset())
        if name not in self.databases:
            instance = name.encode().ljust(16)[:16]
            self.databases[name] = MemoryDatabase(setup, instance, lambda: 10**15, catalogues={1: ()})
        database = self.databases[name]
        codec = Codec()
        driver = LinkDriver(
            Pool(Store(MemoryBackend(database)), self.changed),  # type: ignore[arg-type]
            channel,
            new_session(Role.PASSIVE, codec),
            codec,
            Doorkeeper(name),
            Self(name),
            owner="remote",
        )
        error = await driver.run()
        self.heard.append((name, error.code))
        self.changed.set()
        return error


class Doorkeeper:
    """The passive side's password work."""

    def __init__(self, name: str) -> None:
        self.config = LinkConfig(1, name, "passive", "", "", "", False, 0, "login", {}, "")

    def find(self, store: Store, code: str, client_first: str) -> str:
        self.auth = PassiveAuth([(1, VERIFIER)], client_first)
        return self.auth.challenge()

    def verify(self, store: Store, client_final: str) -> tuple[LinkConfig, str]:
        return self.config, self.auth.verify(client_final)[1]

    def prove(self, server_first: str) -> str:
        raise NotImplementedError

    def check(self, server_final: str) -> None:
        raise NotImplementedError


class Running:
    """A supervisor at work beside the remote programs."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.host = Host()
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.ensure_future(Supervisor(self.host).run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task], timeout=20)
            assert self.task.cancelled(), self.task
            self.task = None

    async def ask(self, question: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(question)

    async def until(self, condition: Callable[[], bool], seconds: float = 15) -> None:
        """Wait for what the remote programs see."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.remote.changed.clear()
                await self.remote.changed.wait()

    async def status(self, wanted: Callable[[LinkReport], bool], name: str = "Office") -> LinkReport:
        """The link's status once it is as wanted; looked at when something was committed."""
        wake = module.open_wake("default")
        try:
            async with asyncio.timeout(15):
                while True:
                    for report in await self.ask(lambda: link_statuses(self._now())):
                        if report.link == name and wanted(report):
                            return report
                    await wake.wait(0.2)
        finally:
            wake.close()

    def _now(self) -> int:
        return module.time.time_ns() // 1000

    async def change(self, change: Callable[[], object]) -> None:
        def write() -> None:
            change()
            catalogue.bump("default")

        await self.ask(write)


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    remote = Remote()
    monkeypatch.setattr(module, "connect", remote.connect)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.05)
    running = Running(remote)
    yield running
    await running.stop()
    await running.host.stop()
    for tasks in remote.running.values():
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def link(name: str = "Office", host: str = "office", **values: Any) -> Link:
    values = {"address": f"http://{host}.example", "secret": conf.encrypt(PASSWORD), **values}
    return rows.link(name, **values)


@pytest.fixture
def office() -> Link:
    return link()


class Recorder(Backoff):
    """Asks for no pause, and writes down which it would have been."""

    made: list[Recorder] = []

    def __init__(self, rng: Callable[[], float]) -> None:
        super().__init__(lambda: 1.0)
        self.asked: list[tuple[int | None, int]] = []
        self.made.append(self)

    def next(self, most: int | None = None) -> int:
        self.asked.append((most, super().next(most)))
        return 0


@pytest.fixture
def backoff(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    monkeypatch.setattr(Recorder, "made", [])
    monkeypatch.setattr(module, "Backoff", Recorder)
    return Recorder.made


# -- dialling -----------------------------------------------------------------------------------------------


async def test_an_active_link_is_dialled_and_connects(office: Link, running: Running) -> None:
    running.start()
    report = await running.status(lambda report: report.state == "connected")
    assert running.remote.dialled == ["office.example"]
    assert report.peer == "office.example"
    assert report.reason == ""
    await running.stop()
    assert running.remote.heard == [("office.example", "stopping_there")]
    report = await running.status(lambda report: True)
    assert (report.state, report.reason_code) == ("offline", "stopping")


async def test_passive_and_paused_links_are_not_dialled(office: Link, running: Running) -> None:
    def others() -> None:
        link("Passive", "passive", mode="passive")
        link("Paused", "paused", paused=True)

    await running.ask(others)
    running.start()
    await running.status(lambda report: report.state == "connected")
    assert running.remote.dialled == ["office.example"]


async def test_only_the_link_that_changed_is_set_up_anew(office: Link, running: Running) -> None:
    shop = await running.ask(lambda: link("Shop", "shop"))
    running.start()
    for name in ("Office", "Shop"):
        await running.status(lambda report: report.state == "connected", name)
    await running.change(lambda: Link.objects.filter(pk=shop.pk).update(interval=2.0))
    await running.until(lambda: running.remote.dialled.count("shop.example") == 2)
    await running.status(lambda report: report.state == "connected", "Shop")
    assert running.remote.heard == [("shop.example", "reconfigured")]
    assert running.remote.dialled.count("office.example") == 1
    assert not running.remote.running["office.example"][0].done()


async def test_pausing_ends_it_and_resuming_begins_it(office: Link, running: Running) -> None:
    running.start()
    await running.status(lambda report: report.state == "connected")
    await running.ask(lambda: control.set_paused(office.pk, True))
    await running.until(lambda: bool(running.remote.heard))
    assert running.remote.heard == [("office.example", "paused")]
    assert (await running.status(lambda report: True)).state == "paused"
    await running.ask(lambda: control.set_paused(office.pk, False))
    await running.status(lambda report: report.state == "connected")
    assert running.remote.dialled == ["office.example"] * 2


async def test_a_link_that_is_removed_ends(office: Link, running: Running) -> None:
    running.start()
    await running.status(lambda report: report.state == "connected")
    await running.change(office.delete)
    await running.until(lambda: bool(running.remote.heard))
    assert running.remote.heard == [("office.example", "paused")]
    await running.change(lambda: link("Shop", "shop"))
    await running.status(lambda report: report.state == "connected", "Shop")


async def test_a_link_that_is_added_is_dialled(running: Running) -> None:
    running.start()
    await running.change(link)
    await running.status(lambda report: report.state == "connected")


# -- what fails ---------------------------------------------------------------------------------------------


async def test_pauses_grow_to_their_bounds(office: Link, running: Running, backoff: list[Recorder]) -> None:
    away = errors.Unreachable(address="a", detail="b")
    running.remote.answers = [away] * 10 + [errors.NotSyncapp(address="a", detail="b")] * 3 + [away]
    running.start()
    await running.status(lambda report: report.state == "connected")
    (recorder,) = backoff
    near, far = recorder.asked[:10], recorder.asked[10:13]
    assert [most for most, _ in near] == [NEAR] * 10
    assert [most for most, _ in far] == [FAR] * 3
    delays = [delay for _, delay in near]
    assert delays[:4] == [500_000, 1_000_000, 2_000_000, 4_000_000]
    assert max(delays) == NEAR
    assert [delay for _, delay in far] == [FAR] * 3
    assert recorder.asked[13] == (NEAR, NEAR)


async def test_progress_makes_the_pauses_short_again(
    office: Link, running: Running, backoff: list[Recorder]
) -> None:
    running.remote.answers = [errors.Unreachable(address="a", detail="b")] * 5
    running.start()
    await running.status(lambda report: report.state == "connected")
    running.remote.running["office.example"][0].cancel()
    await running.until(lambda: len(running.remote.running["office.example"]) == 2)
    assert backoff[0].asked[-1] == (FAR, 500_000)


async def test_what_is_shown_between_attempts(office: Link, running: Running) -> None:
    running.remote.answers = [
        errors.Unreachable(address="http://office.example", detail="nothing listens there")
    ] * 50
    running.start()
    report = await running.status(lambda report: report.attempt >= 1)
    assert (report.state, report.reason_code) == ("connecting", "unreachable")
    assert "nothing listens there" in report.reason
    assert report.next_attempt is not None
    # The lease is kept meanwhile: the link is driven, whatever the pause.
    assert await running.ask(lambda: LinkState.objects.get().lease_owner) == running.host.owner
    assert await running.ask(lambda: LinkState.objects.get().lease_until) > running._now() + 10_000_000
    await running.stop()
    report = await running.status(lambda report: True)
    assert report.state == "offline"
    assert "is not running" in report.reason


async def test_locked_out_still_shows_for_what(
    office: Link, running: Running, backoff: list[Recorder]
) -> None:
    running.remote.answers = [
        errors.WrongPassword(),
        errors.Locked(seconds=4),
        errors.Locked(seconds=8),
        *hold(),
    ]
    running.start()
    report = await running.status(lambda report: report.attempt >= 3)
    assert (report.state, report.reason_code) == ("refused", "wrong_password")


async def test_locked_out_is_shown_where_nothing_else_is_known(
    office: Link, running: Running, backoff: list[Recorder]
) -> None:
    running.remote.answers = [errors.Locked(seconds=4), *hold()]
    running.start()
    report = await running.status(lambda report: report.attempt >= 1)
    assert report.reason_code == "locked"


def hold() -> list[errors.SyncError]:
    """Enough of the same for a test's time."""
    return [errors.Locked(seconds=9)] * 100_000


async def test_a_wrong_password_is_shown(running: Running, backoff: list[Recorder]) -> None:
    await running.ask(lambda: link(secret=conf.encrypt("mackerel")))
    running.start()
    report = await running.status(lambda report: report.state == "refused")
    assert report.reason_code == "wrong_password"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"secret": "not of this key"}, "secret"),
        ({"secret": ""}, "secret"),
        ({"address": "nonsense"}, "bad_address"),
    ],
)
async def test_a_link_that_cannot_be_dialled_says_why(
    running: Running, values: dict[str, Any], code: str
) -> None:
    await running.ask(lambda: link(**values))
    await running.ask(lambda: link("Shop", "shop"))
    running.start()
    report = await running.status(lambda report: report.state == "attention")
    assert report.reason_code == code
    await running.status(lambda report: report.state == "connected", "Shop")
    assert "office.example" not in running.remote.dialled


async def test_a_mistake_of_ours_does_not_end_the_link(
    office: Link, running: Running, backoff: list[Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    running.remote.answers = [ZeroDivisionError("our own mistake")] * 2
    with caplog.at_level(logging.ERROR, module.__name__):
        running.start()
        await running.status(lambda report: report.state == "connected")
    assert caplog.text.count("ZeroDivisionError: our own mistake") == 2
    assert running.remote.dialled == ["office.example"] * 3


async def test_watching_goes_on_after_a_mistake(
    office: Link, running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running.start()
    await running.status(lambda report: report.state == "connected")
    failed = asyncio.Event()

    def boom() -> None:
        monkeypatch.undo()
        failed.set()
        raise ZeroDivisionError

    monkeypatch.setattr(running.host, "_wake_drivers", boom)
    connect = running.remote.connect
    await running.change(lambda: None)
    async with asyncio.timeout(10):
        await failed.wait()
    monkeypatch.setattr(module, "connect", connect)
    await running.change(lambda: link("Shop", "shop"))
    await running.status(lambda report: report.state == "connected", "Shop")
    assert "Watching the database failed" in caplog.text


# -- leases -------------------------------------------------------------------------------------------------

NAME = "from syncapp.engine.process import owner_name; print(owner_name())"


async def test_the_lease_of_a_dead_process_is_taken_at_once(office: Link, running: Running) -> None:
    dead = await running.ask(lambda: subprocess.check_output([sys.executable, "-c", NAME], text=True).strip())
    await running.ask(lambda: claimed(office, dead))
    running.start()
    await running.status(lambda report: report.state == "connected")
    assert await running.ask(lambda: LinkState.objects.get().lease_owner) == running.host.owner


async def test_the_lease_of_a_living_process_is_respected(
    office: Link, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await running.ask(lambda: claimed(office, "00000000-1-1-aaaa"))  # of another machine: who knows
    monkeypatch.setattr(module, "LEASE", 30_000)
    asked = asyncio.Event()

    async def claim(self: Supervisor, config: LinkConfig) -> int | None:
        token = await real(self, config)
        if token is None:
            asked.set()
        return token

    real = Supervisor._claim
    monkeypatch.setattr(Supervisor, "_claim", claim)
    running.start()
    async with asyncio.timeout(10):
        await asked.wait()
    assert running.remote.dialled == []
    await running.ask(lambda: LinkState.objects.update(lease_until=0))  # it has run out
    monkeypatch.setattr(module, "LEASE", 15_000_000)
    await running.status(lambda report: report.state == "connected")


def claimed(link: Link, owner: str) -> None:
    assert Store(SqlBackend()).claim(link.pk, owner, 3_600_000_000)


# -- the host -----------------------------------------------------------------------------------------------


async def test_a_host_that_has_stopped_takes_nobody_in(running: Running) -> None:
    await running.host.stop()
    mine, theirs = pair()
    await running.host.accept(theirs, "", "127.0.0.1")
    with pytest.raises(errors.ConnectionClosed) as caught:
        await mine.receive()
    assert caught.value.params["reason"] == "stopping"


async def test_stopping_ends_what_peers_began(running: Running) -> None:
    """A conversation that came in ends as well, and says so, before the threads go."""
    await running.ask(lambda: link("Passive", mode="passive", code="c" * 26))
    mine, theirs = pair()
    side = module.ActiveSide(PASSWORD)
    codec = Codec()
    session = new_session(Role.ACTIVE, codec)
    setup = Setup(version=1, tables={}, links={1: LinkInfo(1, "x")}, captured=frozenset())
    database = MemoryDatabase(setup, b"r" * 16, lambda: 10**15, catalogues={1: ()})
    store = Store(MemoryBackend(database))
    config = LinkConfig(1, "x", "active", "", "", "", False, 0, "login", {}, "")
    pool: Any = Pool(store, running.remote.changed)
    token = store.claim(1, "remote", 10**9) or 0
    driver = LinkDriver(
        pool, mine, session, codec, side, Self("caller"), owner="remote", config=config, token=token
    )
    session.start(side.first(), module.now())
    calling = asyncio.ensure_future(driver.run())
    accepting = asyncio.ensure_future(running.host.accept(theirs, "", "127.0.0.1"))
    report = await running.status(lambda report: report.state == "connected", "Passive")
    assert report.peer == "caller"
    await running.host.stop()
    async with asyncio.timeout(10):
        assert isinstance(await calling, errors.StoppingThere)
        await accepting
    report = await running.status(lambda report: True, "Passive")
    assert (report.state, report.reason_code) == ("offline", "stopping")


async def test_a_stranger_with_a_wrong_password_is_shown_on_the_passive_link(running: Running) -> None:
    await running.ask(lambda: link("Passive", mode="passive", code="c" * 26, state={"lease_until": 0}))
    mine, theirs = pair()
    side = module.ActiveSide("mackerel")
    codec = Codec()
    session = new_session(Role.ACTIVE, codec)
    pool: Any = Pool(None, running.remote.changed)  # type: ignore[arg-type]
    driver = LinkDriver(pool, mine, session, codec, side, Self("caller"), owner="remote")
    session.start(side.first(), module.now())
    calling = asyncio.ensure_future(driver.run())
    await running.host.accept(theirs, "", "10.0.0.1")
    assert isinstance(await calling, errors.WrongPassword)
    report = await running.status(lambda report: True, "Passive")
    assert (report.state, report.reason_code) == ("refused", "wrong_password")
    await running.host.stop()


def test_a_process_has_one_host() -> None:
    assert engine_host() is engine_host()


def test_what_wakes_the_engine() -> None:
    wake = module.open_wake("default")
    assert not isinstance(wake, LocalWake)
    wake.close()
