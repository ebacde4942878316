"""Driving one link: the only module that joins a store to a transport, so that the journey of a change reads here.

    wake → Read: seal the journal, read the feed → Send frames
    frames → Apply: merge, write, move the cursor → Send the ack → the peer's Acked

`core.session` decides; this shell carries out its effects: frames to the channel, questions to the store's threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from syncapp import __version__, conf, errors
from syncapp.core import effects as fx
from syncapp.core.codec import Frame
from syncapp.core.mapping import Agreement
from syncapp.core.messages import CAPABILITIES, Limits
from syncapp.core.series import Grant, Report
from syncapp.core.session import Now, Role, Session, State
from syncapp.engine.codec import Codec
from syncapp.engine.links import LinkConfig, status_of
from syncapp.engine.numbers import NumbersTalk
from syncapp.engine.pool import StorePool
from syncapp.store.base import LinkStatus
from syncapp.store.locking import BUSY
from syncapp.store.series import Words
from syncapp.store.seriesbase import SeriesBusy
from syncapp.store.store import RETRY_ROWS, Applied, Store
from syncapp.transports.base import Channel

logger = logging.getLogger(__name__)
T = TypeVar("T")

LEASE = 15_000_000
RENEW_EVERY = 5.0
#: Seconds between two looks at what is parked; sooner where something is due before that.
RETRY_EVERY = 5.0
#: What is due at once is not tried more often than this.
RETRY_SOON = 0.05
#: Seconds between two attempts to open a book of numbers that a transaction of the program's own has.
NUMBERS_PAUSE = 0.1
#: Seconds that a goodbye may take to a peer that reads nothing.
LAST_WORDS = 1.0


def now() -> Now:
    """This moment, for a session."""
    return Now(time.monotonic_ns() // 1000, time.time_ns() // 1000)


class Authenticator(Protocol):
    """The password's part of the handshake. Methods compute for milliseconds: they run in a thread.

    A side that is never asked something may raise NotImplementedError for it.
    """

    def find(self, store: Store, code: str, client_first: str) -> str:
        """Passive: the challenge."""
        ...

    def verify(self, store: Store, client_final: str) -> tuple[LinkConfig, str]:
        """Passive: whose password it is, and our own proof."""
        ...

    def prove(self, server_first: str) -> str: ...

    def check(self, server_final: str) -> None: ...


class Identity(Protocol):
    """What a program says of itself, beside what its store knows."""

    title: str
    url: str
    host: str
    boot: bytes


class LinkDriver:
    """One conversation over one channel, until it ends.

    ``config`` is known from the start on the active side, and once the password was recognised on the passive one.
    ``on_change`` is called after each applied batch, so that other links of this process look at the feed.
    """

    def __init__(
        self,
        pool: StorePool,
        channel: Channel,
        session: Session,
        codec: Codec,
        auth: Authenticator,
        identity: Identity,
        *,
        owner: str,
        config: LinkConfig | None = None,
        token: int = 0,
        on_live: Callable[[LinkDriver], None] = lambda driver: None,
        on_change: Callable[[LinkDriver], None] = lambda driver: None,
        on_numbers: Callable[[LinkDriver], None] = lambda driver: None,
    ) -> None:
        self.channel = channel
        self.session = session
        self.config = config
        self.error: errors.SyncError | None = None
        self.live = self.was_live = False
        self._pool = pool
        self._codec = codec
        self._auth = auth
        self._identity = identity
        self._owner = owner
        self._token = token
        self._agreement = Agreement()
        self._on_live = on_live
        self._on_change = on_change
        self._on_numbers = on_numbers
        self._series: dict[int, int] = {}
        self._numbers: NumbersTalk | None = None
        self._control: deque[Frame] = deque()
        self._bulk: deque[Frame] = deque()
        self._writable = asyncio.Event()
        self._closed = asyncio.Event()
        #: Something came up before its time: a change to be tried again soon, or the end.
        self._stir = asyncio.Event()
        self._retry_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the whole conversation -----------------------------------------------------------------------------

    async def run(self) -> errors.SyncError:
        """Converse until the end; returns why it ended. Cancelled, it says goodbye first."""
        writer = asyncio.ensure_future(self._write())
        reader = asyncio.ensure_future(self._read())
        try:
            self._perform()
            await self._closed.wait()
        except asyncio.CancelledError:
            self.end(errors.Stopping())
            await self._finish(writer, reader)
            raise
        await self._finish(writer, reader)
        assert self.error is not None
        return self.error

    async def _finish(self, writer: asyncio.Future[None], reader: asyncio.Future[None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        reader.cancel()
        self._writable.set()
        if self._numbers is not None:
            self._numbers.want()  # it ends then
        try:  # the last words (Bye) may still be on their way
            async with asyncio.timeout(LAST_WORDS):
                await asyncio.shield(writer)
        except (TimeoutError, asyncio.CancelledError):
            writer.cancel()
        await self.channel.close(self.error.code if self.error else "")
        if self._tasks:  # units of work under way end whole; nothing is half applied
            await asyncio.wait(self._tasks, timeout=10)
        if self.was_live and self.config is not None and self.error is not None:
            await self._say_over()
        self.live = False

    async def _say_over(self) -> None:
        assert self.config is not None
        link, token = self.config.id, self._token
        assert self.error is not None
        status = status_of(self.error)
        with contextlib.suppress(errors.DatabaseAway):  # then the lease runs out by itself
            await self._pool.run(lambda store: store.renew(link, token, 0, status))

    @property
    def position(self) -> int:
        """How far our feed was looked through for this peer."""
        return self.session.position.seq

    def wake(self) -> None:
        """The feed may have something new."""
        if self.live:
            self.session.wake(now())
            self._perform()

    def want_numbers(self) -> None:
        """There may be something to say of shared series of numbers."""
        if self._numbers is not None:
            self._numbers.want()

    def end(self, error: errors.SyncError) -> None:
        """End the conversation for ``error``, telling the peer."""
        self.session.fail(error, now())
        self._perform()

    async def _read(self) -> None:
        try:
            while True:
                frame = await self.channel.receive()
                self.session.receive(frame, now())
                self._perform()
        except errors.TransportError as error:
            self._lost(error)
        except errors.SyncError as error:
            self.end(error)
        except Exception as error:  # a mistake of ours must not leave a conversation that nobody reads
            self._broken(error)

    def _broken(self, error: Exception) -> None:
        logger.error("Link %s: the conversation failed", self._name(), exc_info=error)
        self.end(errors.StoreError(detail=type(error).__name__))

    async def _write(self) -> None:
        try:
            while self.session.state is not State.CLOSED or self._control:
                while self._control or self._bulk:
                    frame = self._control.popleft() if self._control else self._bulk.popleft()
                    await self.channel.send(frame)
                if self.session.state is State.CLOSED:
                    return
                self._writable.clear()
                await self._writable.wait()
        except errors.TransportError as error:
            await self._hear_out()
            self._lost(error)
        except errors.SyncError as error:
            self.end(error)
        except Exception as error:
            self._broken(error)

    async def _hear_out(self) -> None:
        """The peer has closed the road: what it said before may not have been read yet, and says why."""
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self._closed.wait()
        except TimeoutError:
            pass

    def _lost(self, error: errors.SyncError) -> None:
        self.session.lost(error)
        self._perform()

    # -- carrying out effects -------------------------------------------------------------------------------

    def _perform(self) -> None:
        effects = self.session.effects
        while effects:
            effect = effects.popleft()
            if isinstance(effect, fx.Send):
                (self._bulk if effect.bulk else self._control).append(effect.frame)
                self._writable.set()
            elif isinstance(effect, fx.Closed):
                self.error = self.error or effect.error
                self._bulk.clear()
                self._writable.set()
                self._closed.set()
                self._stir.set()
            else:
                self._start(self._carry_out(effect))
        self._arm()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _arm(self) -> None:
        due = self.session.next_timer()
        if self._timer is not None:
            # A timer that fires too early does nothing and arms itself anew: cheaper than moving it each time.
            if due is not None and due >= self._due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._due = due
            delay = max(0.0, (due - now().mono) / 1e6)
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.session.on_timer(now())
        self._perform()

    async def _carry_out(self, effect: fx.Effect) -> None:
        try:
            await self._answer(effect)
        except errors.SyncError as error:
            self.session.fail(error, now())
        except Exception as error:
            logger.exception("Link %s: %s failed", self._name(), type(effect).__name__)
            self.session.fail(errors.StoreError(detail=type(error).__name__), now())
        self._perform()

    def _name(self) -> str:
        return self.config.name if self.config else self.channel.remote

    async def _answer(self, effect: fx.Effect) -> None:
        session, pool = self.session, self._pool
        match effect:
            case fx.Read():
                await self._read_feed(effect)
            case fx.Apply():
                await self._apply(effect)
            case fx.Acked():
                link, token = self._link(), self._token
                await pool.run(lambda store: store.acked(link, effect, token))
                session.acked_done(now())
            case fx.Numbers():
                await self._hear_numbers(effect)
            case fx.FindLink():
                text = await pool.run(lambda store: self._auth.find(store, effect.code, effect.client_first))
                session.challenge(text, now())
            case fx.MakeProof():
                text = await pool.call(lambda: self._auth.prove(effect.server_first))
                session.proof(text, now())
            case fx.VerifyProof():
                self.config, text = await pool.run(
                    lambda store: self._auth.verify(store, effect.client_final)
                )
                session.proved(text, now())
            case fx.CheckProof():
                await pool.call(lambda: self._auth.check(effect.server_final))
                session.peer_proved(now())
            case fx.Greet():
                await self._greet()
            case fx.Agree():
                await self._agree(effect)

    def _link(self) -> int:
        assert self.config is not None
        return self.config.id

    # -- the journey of a change ----------------------------------------------------------------------------

    async def _read_feed(self, effect: fx.Read) -> None:
        link, agreement, peer = self._link(), self._agreement, self._peer_instance()
        result = await self._pool.run(
            lambda store: store.read(link, effect.after, agreement, peer, effect.records)
        )
        self.session.read_done(result.batch, result.position, result.more, now())

    async def _apply(self, effect: fx.Apply) -> None:
        link, agreement, token = self._link(), self._agreement, self._token
        done: Applied = await self._pool.run(lambda store: store.apply(link, effect.batch, agreement, token))
        self.session.applied(done.have, done.totals, done.fates, done.want, done.gap, now(), done.passed)
        if any(fate.code == BUSY for fate in done.fates):
            self._retry_at = min(self._retry_at, time.monotonic() + RETRY_SOON)
            self._stir.set()
        self._on_change(self)

    # -- shared series of numbers ---------------------------------------------------------------------------

    def _begin_numbers(self, series: dict[int, int]) -> None:
        self._series = series
        self._numbers = NumbersTalk(self._look_at_numbers, self._say_numbers)
        self._numbers.want()
        self._start(self._talk_of_numbers(self._numbers))

    async def _talk_of_numbers(self, talk: NumbersTalk) -> None:
        try:
            await talk.run(self._closed)
        except errors.SyncError as error:
            self.end(error)
        except Exception as error:
            self._broken(error)

    async def _look_at_numbers(self) -> Words:
        link, token, peer, series = self._link(), self._token, self._peer_instance(), self._series
        return await self._pool.run(lambda store: store.numbers(link, peer, series, token))

    def _say_numbers(self, reports: list[Report], grants: list[Grant]) -> None:
        self.session.numbers(reports, grants, now())
        self._perform()

    async def _hear_numbers(self, effect: fx.Numbers) -> None:
        if self._numbers is None:
            return  # we share no series with it
        link, token, peer, series = self._link(), self._token, self._peer_instance(), self._series
        words = await self._until_free(
            lambda store: store.heard(link, peer, series, effect.reports, effect.grants, token)
        )
        self._numbers.tell(words, answer=True)
        # What came may be for those behind us, and what a holder wants may have to be asked for.
        self._on_numbers(self)
        self.wake()  # a provisional number may have been replaced

    async def _until_free(self, work: Callable[[Store], T]) -> T:
        """Do it once no transaction of the program's own has the numbers."""
        while True:
            try:
                return await self._pool.run(work)
            except SeriesBusy:
                if self._closed.is_set():
                    raise errors.Stopping() from None
                await asyncio.sleep(NUMBERS_PAUSE)

    def _peer_instance(self) -> bytes:
        return self.session.peer.instance if self.session.peer else b""

    # -- greeting -------------------------------------------------------------------------------------------

    async def _greet(self) -> None:
        assert self.config is not None
        link, owner = self.config.id, self._owner
        self.session.pace(int(self.config.interval * 1e6))
        if not self._token:  # an authenticated newcomer takes over from whoever drove the link before
            token = await self._pool.run(lambda store: store.claim(link, owner, LEASE, force=True))
            self._token = token or 0
        token = self._token
        mine = await self._pool.run(lambda store: store.greeting(link, token))
        hello = mine.hello(
            boot=self._identity.boot,
            title=self._identity.title,
            software=f"syncapp {__version__}",
            url=self._identity.url,
            host=self._identity.host,
            capabilities=CAPABILITIES,
            limits=self.session.limits,
            user_matching=self.config.user_matching,
        )
        self._codec.understand()
        self.session.greet(hello, now())

    async def _agree(self, effect: fx.Agree) -> None:
        link, token, offset = self._link(), self._token, self.session.clock_offset
        remote = self.channel.remote
        try:
            agreed = await self._until_free(
                lambda store: store.meet(link, effect.hello, offset, token, remote)
            )
        except errors.RefusedError as error:
            why = status_of(error)  # the link is ours already: what people see of it too
            await self._pool.run(lambda store: store.renew(link, token, 0, why))
            raise
        status = LinkStatus("connected")
        await self._pool.run(lambda store: store.renew(link, token, LEASE, status))
        self._agreement = agreed.agreement
        self._codec.agree(effect.hello, self.channel.remote)
        self.live = self.was_live = True
        self._on_live(self)
        self._start(self._care())
        if agreed.series:
            self._begin_numbers(agreed.series)
        self.session.go(
            agreed.position,
            now(),
            totals=agreed.totals,
            want=agreed.want,
            peer_has=agreed.peer_has,
            have=agreed.have,
        )

    async def _care(self) -> None:
        """Keep the lease, try parked changes again, while the conversation lives."""
        link, token = self._link(), self._token
        renew_at = self._retry_at = time.monotonic()
        refiltered = False
        while not self._closed.is_set():
            self._stir.clear()
            try:
                refiltered = refiltered or await self._refilter()
                if time.monotonic() >= self._retry_at:
                    self._retry_at = time.monotonic() + RETRY_EVERY
                    await self.retry()
                    due = await self._pool.run(lambda store: store.retry_in(link, int(RETRY_EVERY * 1e6)))
                    self._retry_at = min(self._retry_at, time.monotonic() + max(RETRY_SOON, due / 1e6))
                if time.monotonic() < renew_at:
                    pass
                elif await self._pool.run(lambda store: store.renew(link, token, LEASE)):
                    renew_at = time.monotonic() + RENEW_EVERY
                    self.want_numbers()
                else:
                    raise await self._pool.run(lambda store: store.lease_lost(link))
                pause = min(renew_at, self._retry_at) - time.monotonic() if refiltered else 0
                async with asyncio.timeout(max(0, pause)):
                    await self._stir.wait()
            except TimeoutError:
                continue
            except errors.SyncError as error:
                self.end(error)
            except Exception as error:  # else nobody would keep the lease, unseen
                self._broken(error)

    async def _refilter(self) -> bool:
        """After a change of row filters: look for a while for what the peer is to have now; whether all is done."""
        link, agreement, token = self._link(), self._agreement, self._token
        pause_at = time.monotonic() + RENEW_EVERY
        while more := await self._pool.run(lambda store: store.refilter(link, agreement, token)):
            self.wake()
            if time.monotonic() >= pause_at:
                break
        self.wake()
        return not more

    async def retry(self) -> None:
        """Try the parked changes that are due; a match of a user by hand, for one, may make very many due at once."""
        link, agreement, token = self._link(), self._agreement, self._token
        pause_at = time.monotonic() + RENEW_EVERY
        while tried := await self._pool.run(lambda store: store.retry(link, agreement, token)):
            self._on_change(self)
            self.wake()
            if tried < RETRY_ROWS or time.monotonic() >= pause_at:
                break


def new_session(role: Role, codec: Codec, *, code: str = "", clock_bound: int = 300_000_000) -> Session:
    """A session with this software's choices."""
    return Session(
        role,
        now(),
        software=f"syncapp {__version__}",
        code=code,
        clock_bound=clock_bound,
        limits=Limits(conf.current().max_message, conf.current().window),
        encoder=codec.encoder,
        decoder=codec.decoder,
    )
