"""Running the links of this program: `Host` in every process that talks to peers, `Supervisor` in the one that dials.

A `Host` holds the store's threads, waits for commits and wakes the conversations of its process. Inbound peers
come to it through the web side. The `Supervisor` adds the active links: it claims their leases, dials, and dials
again. Everything that people configure is read from the database and followed as it changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import sys
import time
from collections.abc import Callable

from syncapp import conf, details, errors
from syncapp.core.policy import Backoff
from syncapp.core.session import Role
from syncapp.engine import links
from syncapp.engine.auth import Throttle
from syncapp.engine.codec import Codec
from syncapp.engine.commits import GLANCE, open_wake
from syncapp.engine.housekeeping import housekeep, prepare
from syncapp.engine.link import LEASE, LinkDriver, new_session, now
from syncapp.engine.links import LinkConfig, status_of
from syncapp.engine.pool import StorePool
from syncapp.engine.process import is_dead, owner_name
from syncapp.engine.sides import ActiveSide, PassiveSide
from syncapp.engine.wake import Wake
from syncapp.store.store import Store
from syncapp.transports.base import Channel
from syncapp.transports.websocket import connect, parse_address

logger = logging.getLogger(__name__)

#: Configuration is looked at this often even when nothing wakes us.
LOOK_EVERY = 1.0
HOUSEKEEPING_EVERY = 60.0
#: How long a thread may keep the interpreter while another waits for it, seconds.
SWITCH = 0.0005
#: Conversations that have not logged in yet, at most; each ends by itself within the handshake's time.
MAX_NEWCOMERS = 500
#: Between two looks at the database while the store is at work, seconds.
BREATH = 0.002
#: The longest pauses between attempts, µs: while nothing answers, and while something answers but refuses.
NEAR, FAR = 4_000_000, 30_000_000
#: Seconds that conversations may take to say goodbye.
LAST_WORDS = 3.0


class Identity:
    """This program, as its peers see it."""

    def __init__(self) -> None:
        settings = conf.current()
        self.title = settings.title
        self.url = settings.public_url
        self.host = socket.gethostname()
        self.boot = os.urandom(16)


class Host:
    """What one process needs to talk to peers. Start it within the event loop with `start`."""

    def __init__(self, using: str = "default") -> None:
        self.using = using
        self.pool = StorePool(using)
        self.owner = owner_name()
        self.identity = Identity()
        self.configs: dict[int, LinkConfig] = {}
        self.on_config: Callable[[], None] = lambda: None
        self._clock_bound = conf.current().clock_refuse
        self._drivers: dict[int, LinkDriver] = {}
        self._talks: dict[LinkDriver, asyncio.Event] = {}
        self._stopped = False
        self._newcomers: set[LinkDriver] = set()
        self._throttle = Throttle()
        self._version = -1
        self._wake: Wake | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch the database; idempotent."""
        # Event loop and store take turns within a millisecond: with the default of 5 ms each turn of one could keep
        # the other waiting for longer than all its work takes.
        sys.setswitchinterval(SWITCH)
        if self._task is None or self._task.done():
            self._wake = open_wake(self.using, self.pool.busy, self.pool.sessions)
            self._task = asyncio.ensure_future(self._watch())

    async def stop(self) -> None:
        """End all conversations, telling the peers, and the threads."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._stopped = True
        for driver in list(self._talks):
            driver.end(errors.Stopping())
        try:
            async with asyncio.timeout(LAST_WORDS):
                for over in list(self._talks.values()):
                    await over.wait()
        except TimeoutError:
            pass
        if self._wake is not None:
            self._wake.close()
        await asyncio.to_thread(self.pool.close)

    def close(self) -> None:
        """Let go of threads, connections and files when the event loop has ended already."""
        self._stopped = True
        if self._wake is not None:
            self._wake.close()
        self.pool.close()

    # -- inbound --------------------------------------------------------------------------------------------

    async def accept(self, channel: Channel, code: str, remote: str) -> None:
        """Converse with a peer that dialled in, until the end."""
        if self._stopped:
            await channel.close(errors.Stopping.code)
            return
        if len(self._newcomers) >= MAX_NEWCOMERS:  # strangers must not fill our memory with half-open log-ins
            await channel.close(errors.Locked.code)
            return
        self.start()
        side = PassiveSide(self._throttle, code, remote)
        driver = self._driver(channel, Role.PASSIVE, side)
        self._newcomers.add(driver)
        try:
            error = await self._converse(driver)
        finally:
            self._newcomers.discard(driver)
        if not driver.was_live and links.tells(error):
            where = driver.config.code if driver.config else side.code
            with contextlib.suppress(errors.DatabaseAway):
                await self.pool.run(lambda store: links.note_failure(store, where, error))

    def _driver(
        self,
        channel: Channel,
        role: Role,
        side: ActiveSide | PassiveSide,
        config: LinkConfig | None = None,
        token: int = 0,
    ) -> LinkDriver:
        code = parse_address(config.address).code if config is not None and role is Role.ACTIVE else ""
        codec = Codec()
        session = new_session(role, codec, code=code, clock_bound=self._clock_bound)
        return LinkDriver(
            self.pool,
            channel,
            session,
            codec,
            side,
            self.identity,
            owner=self.owner,
            config=config,
            token=token,
            on_live=self._live,
            on_change=self._changed,
            on_numbers=self._numbers,
        )

    async def converse(
        self, channel: Channel, config: LinkConfig, side: ActiveSide, token: int
    ) -> tuple[errors.SyncError, bool]:
        """Converse as the active side; returns why it ended and whether it had been live."""
        driver = self._driver(channel, Role.ACTIVE, side, config, token)
        driver.session.start(side.first(), now())
        error = await self._converse(driver)
        return error, driver.was_live

    async def _converse(self, driver: LinkDriver) -> errors.SyncError:
        over = self._talks[driver] = asyncio.Event()
        try:
            return await driver.run()
        finally:
            del self._talks[driver]
            over.set()
            if driver.config is not None and self._drivers.get(driver.config.id) is driver:
                del self._drivers[driver.config.id]

    def _live(self, driver: LinkDriver) -> None:
        assert driver.config is not None
        self._newcomers.discard(driver)
        before = self._drivers.get(driver.config.id)
        self._drivers[driver.config.id] = driver
        if before is not None and before is not driver:
            before.end(errors.Superseded())

    def _changed(self, source: LinkDriver) -> None:
        """``source`` applied something: it may have to go on to other peers."""
        for driver in list(self._drivers.values()):
            if driver is not source:
                driver.wake()

    def _numbers(self, source: LinkDriver) -> None:
        """``source`` heard something of shared series: others may get or have to ask for numbers."""
        for driver in list(self._drivers.values()):
            if driver is not source:
                driver.want_numbers()

    # -- watching the database ------------------------------------------------------------------------------

    async def _watch(self) -> None:
        assert self._wake is not None
        await self._look()
        looked = time.monotonic()
        while True:
            try:
                woken = await self._wake.wait(LOOK_EVERY)
                if woken:
                    self._wake_drivers()
                if self.pool.busy():
                    # Under a steady writer there is always something new. What comes meanwhile shares the next batch.
                    await asyncio.sleep(BREATH)
                if not woken or time.monotonic() - looked > LOOK_EVERY:
                    looked = time.monotonic()
                    await self._look()
            except Exception:
                # Whoever watches must not die of one mistake: nothing would wake the links any more.
                logger.exception("Watching the database failed")
                await asyncio.sleep(LOOK_EVERY)

    def _wake_drivers(self) -> None:
        """Wake the conversations for which there is something: most commits are the engine's own."""
        assert self._wake is not None
        seen = self._wake.glance(GLANCE)
        for driver in list(self._drivers.values()):
            if seen is None or seen[0] or seen[1] > driver.position:
                driver.wake()
            if seen is None or seen[2]:  # a save waits for a number
                driver.want_numbers()

    async def _look(self) -> None:
        """Follow what people configured."""
        try:
            version = await self.pool.run(links.config_version)
            if version == self._version:
                return
            self.configs = await self.pool.run(links.load)
            self._version = version
        except errors.DatabaseAway:
            return  # the pool has said so
        except Exception:
            logger.exception("The configuration cannot be read")
            return
        for link, driver in list(self._drivers.items()):
            self._follow(driver, self.configs.get(link))
        self.on_config()

    def _follow(self, driver: LinkDriver, config: LinkConfig | None) -> None:
        if config is None or config.paused:
            driver.end(errors.LinkPausedHere())
        elif driver.config is not None and driver.config.print != config.print:
            driver.end(errors.Reconfigured())


class Supervisor:
    """Runs the active links of this program; one process at a time drives each, by its lease."""

    def __init__(self, host: Host | None = None) -> None:
        self._host = host or engine_host()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._prints: dict[int, str] = {}

    async def run(self) -> None:
        """Run until cancelled; then say goodbye to the peers."""
        self._host.on_config = self._follow
        self._host.start()
        try:
            await self._tidy(prepare)
            while True:
                await self._tidy(housekeep)
                await asyncio.sleep(HOUSEKEEPING_EVERY)
        finally:
            await self._end([*self._tasks.values()])
            await self._host.stop()

    async def _tidy(self, work: Callable[[Store], None]) -> None:
        """Do ``work``, however long the database is away."""
        while True:
            try:
                await self._host.pool.run(work)
                return
            except errors.DatabaseAway:
                await asyncio.sleep(LOOK_EVERY)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    def _follow(self) -> None:
        """Start, stop or restart the active links as configured now."""
        wanted = {
            config.id: config for config in self._host.configs.values() if config.active and not config.paused
        }
        for link, task in list(self._tasks.items()):
            config = wanted.get(link)
            if config is None or config.print != self._prints[link]:
                task.cancel()
                del self._tasks[link]
        for link, config in wanted.items():
            if link not in self._tasks:
                self._prints[link] = config.print
                self._tasks[link] = asyncio.ensure_future(self._drive(config))

    async def _drive(self, config: LinkConfig) -> None:
        """Dial, converse, dial again, until cancelled. The lease is kept between two attempts: the link is driven."""
        held: list[int] = []
        try:
            await self._keep_dialling(config, held)
        finally:
            if held:
                with contextlib.suppress(errors.DatabaseAway):
                    await self._host.pool.run(lambda store: store.renew(config.id, held[0], 0))

    async def _keep_dialling(self, config: LinkConfig, held: list[int]) -> None:
        backoff = Backoff(random.random)
        shown: errors.SyncError | None = None
        while True:
            token: int | None = None
            error: errors.SyncError
            try:
                token = await self._claim(config)
                if token is None:
                    await asyncio.sleep(LEASE / 3e6)
                    continue
                held[:] = [token]
                error, lived = await self._attempt(config, token)
            except errors.DatabaseAway as away:
                error, lived = away, False
            except Exception:
                logger.exception("Link %s failed", config.name)
                error, lived = errors.StoreError(detail=details.OWN_MISTAKE), False
            if lived and not error.permanent:
                backoff.reset()
            # A machine that is away costs nothing to ask; one that answers and refuses is asked less and less.
            near = isinstance(error, errors.Unreachable | errors.DatabaseAway | errors.DatabaseAwayThere)
            delay = backoff.next(NEAR if near else FAR)
            if isinstance(error, errors.Locked) and shown is not None:
                error = shown  # what it was locked for says more
            shown = error
            await self._note(config, token, error, backoff.attempt, delay)
            await asyncio.sleep(delay / 1e6)

    async def _claim(self, config: LinkConfig) -> int | None:
        owner = self._host.owner
        token = await self._host.pool.run(lambda store: store.claim(config.id, owner, LEASE))
        if token is None and is_dead(
            await self._host.pool.run(lambda store: links.lease_owner(store, config.id))
        ):
            token = await self._host.pool.run(lambda store: store.claim(config.id, owner, LEASE, force=True))
        return token

    async def _attempt(self, config: LinkConfig, token: int) -> tuple[errors.SyncError, bool]:
        try:
            side = ActiveSide(await self._host.pool.call(config.password))
            plain = bool(config.options.get("plain_text"))
            channel = await connect(
                parse_address(config.address), plain_text_ok=plain, proxy=config.options.get("proxy")
            )
        except errors.SyncError as error:
            return error, False
        return await self._host.converse(channel, config, side, token)

    async def _note(
        self, config: LinkConfig, token: int | None, error: errors.SyncError, attempt: int, delay: int
    ) -> None:
        """Show how it went and when it goes on, unless another process has taken over."""
        logger.info("Link %s: %s", config.name, error)
        if token is None:
            return
        status = status_of(error, attempt, time.time_ns() // 1000 + delay)
        try:
            await self._host.pool.run(lambda store: store.renew(config.id, token, delay + LEASE, status))
        except errors.DatabaseAway:
            pass  # the pool has said so
        except Exception:
            logger.exception("The state of link %s cannot be noted", config.name)


_host: Host | None = None


def engine_host() -> Host:
    """The host of this process."""
    global _host
    if _host is None:
        _host = Host()
    return _host
