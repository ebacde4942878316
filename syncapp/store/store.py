"""The store: what the engine asks of this program's database. Each call is one transaction, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from syncapp import errors
from syncapp.core.changes import Batch, Cursor, Fate, Record, Totals
from syncapp.core.clock import epoch_of, instance_of
from syncapp.core.effects import Acked
from syncapp.core.mapping import Agreement, Catalogue, agree
from syncapp.core.messages import Hello, Known
from syncapp.core.policy import BATCH_BYTES
from syncapp.core.series import Offer
from syncapp.store import drift
from syncapp.store.apply import Applier, Source
from syncapp.store.base import NEVER, Backend, FlowState, LinkCursors, LinkStatus, PeerInfo, Refilter, Setup
from syncapp.store.changing import change_in
from syncapp.store.choices import Decisions
from syncapp.store.feed import FeedReader, Peer, ReadResult
from syncapp.store.filters import RowFilters, again, arrived, withhold
from syncapp.store.ledger import reopen
from syncapp.store.meeting import Meeting
from syncapp.store.parked import translate
from syncapp.store.refeed import feed_again
from syncapp.store.revival import Reviver
from syncapp.store.runs import Run
from syncapp.store.sealing import Numbering, seal
from syncapp.store.series import Numbers, agree_series, offers
from syncapp.store.tombstones import Purged, purge, tell_again
from syncapp.store.unsendable import feed_anew

#: Journal rows of one seal: SQLite's write lock is held meanwhile, and whoever edits has to wait.
SEAL_ROWS = 1000
#: Journal rows that are sealed when a link is in contact for the first time in a run, at most.
SEAL_FIRST = 20_000
#: How many records that we lack are asked for at once.
WANT_MOST = 1000
FOREVER = 2**62
#: Tombstones looked through in one transaction.
PURGE_RECORDS = 1000
#: Parked changes that are tried again at once.
RETRY_ROWS = 200
#: Records looked through in one transaction after a change of row filters.
REFILTER_RECORDS = 500


class Applied(NamedTuple):
    """The acknowledgement of a batch; see `messages.Ack`."""

    have: Cursor
    totals: Totals
    fates: list[Fate]
    want: list[bytes]
    gap: bool
    #: From where to where our feed grew by nothing but this batch: the peer that it came from need not be read to.
    passed: tuple[Cursor, Cursor] | None = None


class Agreed(NamedTuple):
    """What two programs agreed on in the handshake, and where our feed goes on; all of it is for `Session.go`.

    ``totals`` and ``want``: the peer may have missed them when the last conversation broke off. ``peer_has`` and
    ``have``: how far each has the other's feed.
    """

    agreement: Agreement
    position: Cursor
    totals: Totals
    want: list[bytes]
    peer_has: Cursor
    have: Cursor
    #: Shared series by our field's number: the peer's.
    series: dict[int, int]


class Greeting(NamedTuple):
    """This program's part of a hello: what its database knows."""

    instance: bytes
    epoch: int
    head: Cursor
    have: Cursor
    catalogue: Catalogue
    token: int
    knows: Known
    sure: bool
    series: tuple[Offer, ...]

    def hello(self, **said: Any) -> Hello:
        """The hello, with what the process says of itself (its other elements, by name)."""
        return Hello(**self._asdict(), **said)


class Store(Decisions, Numbers):
    """Decides with `core`, speaks to a `Backend`. One per thread, like its backend."""

    def __init__(
        self,
        backend: Backend,
        random_bytes: Callable[[int], bytes] = os.urandom,
        seal_rows: int = SEAL_ROWS,
        run: Run | None = None,
    ) -> None:
        self.backend = backend
        #: This run of the process, the same for all of its stores.
        self.run = run or Run()
        self._seal_rows = seal_rows
        #: The database's alias among Django's, for what is not the backend's business.
        self.using: str = getattr(backend, "using", "default")
        self._random = random_bytes

    # -- our feed -------------------------------------------------------------------------------------------

    def seal(self, rows: int = 0) -> bool:
        """Seal up to ``rows`` journal rows (0: as many as one transaction takes); whether there may be more."""
        with self.backend.transaction():
            numbering = self._numbering()
            _, more = self._seal(self.backend.setup(), numbering, rows or self._seal_rows)
            numbering.close()
            return more

    def _numbering(self) -> Numbering:
        numbering = Numbering(self.backend, self._random)
        numbering.origin = self.run.origin(self.backend, numbering.origin)
        numbering.waited = self.run.waited
        return numbering

    def _seal(self, setup: Setup, numbering: Numbering, rows: int) -> tuple[list[Record], bool]:
        """Seal up to about ``rows`` journal rows: the records numbered, and whether rows may be left."""
        drained = self.backend.drain(rows)
        return seal(self.backend, setup, drained, numbering), len(drained) >= rows

    def read(
        self,
        link: int,
        after: Cursor,
        agreement: Agreement,
        instance: bytes,
        records: int,
        size: int = BATCH_BYTES,
    ) -> ReadResult:
        """Seal, then read the feed after ``after`` for the peer ``instance`` of ``link``.

        Raises:
            Reconfigured: the agreement speaks of fields that have gone.
        """
        pending, head = self.backend.glance()
        if not pending and head.seq <= after.seq:
            return ReadResult(None, after, more=False)
        # One snapshot: what commits meanwhile has neither its value nor its journal row in this batch.
        with self.backend.transaction(snapshot=True):
            setup = self.backend.setup()
            drift.check(agreement, setup)
            numbering = self._numbering()
            sealed, leftover = self._seal(setup, numbering, self._seal_rows)
            cursors = self.backend.cursors(link)
            restored = numbering.epoch > 1 or cursors.again > 0
            peer = Peer(link, agreement, instance, cursors.scanned, cursors.again, restored, cursors.offered)
            reader = FeedReader(self.backend, setup, peer, numbering)
            fresh = sealed if after.seq == numbering.head.seq and not leftover else None
            found = reader.gather(after, records, size, leftover=leftover, sealed=fresh)
        result = reader.build(after, found)
        return result._replace(more=result.more or leftover)

    def acked(self, link: int, ack: Acked, token: int) -> None:
        """Remember what the peer acknowledged.

        Raises:
            LeaseLost: another process drives the link now; nothing was written.
        """
        with self.backend.transaction():
            cursors = self.backend.cursors(link)
            cursors.last_exchange = self.backend.now()
            if ack.have.seq > cursors.acked.seq:
                cursors.acked = ack.have
            cursors.scanned = max(cursors.scanned, ack.clear)
            if ack.totals is not None and ack.totals.received >= cursors.peer_totals.received:
                cursors.peer_totals = ack.totals
            self._check_lease(link, self.backend.save_cursors(cursors) and cursors.lease_token == token)
            if ack.confirmed:
                confirmed = set(ack.confirmed) - set(ack.want)
                arrived(self.backend, link, self.backend.records_by_uid(confirmed).values(), ack)
            if ack.want:
                self._send_whole(link, ack.want)
            self._log_sent(link, ack, cursors.last_exchange)

    def _log_sent(self, link: int, ack: Acked, now: int) -> None:
        if ack.have.seq > ack.start.seq and self.backend.setup().links[link].log:
            fates = {(fate.uid, fate.field): fate.result for fate in ack.fates}
            self.backend.log_sent(link, ack.start.seq, ack.have.seq, now, fates)

    def _send_whole(self, link: int, uids: list[bytes]) -> None:
        """The peer does not know these records: put them into the feed again, to go whole."""
        numbering = self._numbering()
        setup, found = self.backend.setup(), self.backend.records_by_uid(set(uids)).values()
        records = list({record.id: record for record in found}.values())
        for record in records:
            if record.alive:
                feed_again(record, numbering)
            else:
                tell_again(record, setup.tables[record.table].status, numbering)
        self.backend.save_records(records)
        self.backend.drop_pairs(link, {record.id for record in records if record.alive})
        # It waits for them: should they be deleted before they are sent, it must hear of that.
        self.backend.offer(link, max((record.id for record in records), default=0))
        numbering.close()

    # -- the peer's feed ------------------------------------------------------------------------------------

    def apply(self, link: int, batch: Batch, agreement: Agreement, token: int) -> Applied:
        """Apply a batch of the peer, durably.

        Raises:
            LeaseLost: another process drives the link now; nothing was written.
            Malformed: the batch contradicts itself.
            Reconfigured: the agreement speaks of fields that have gone.
        """
        with self.backend.transaction():
            cursors = self.backend.cursors(link)
            self._check_lease(link, cursors.lease_token == token)
            if batch.start.seq > cursors.applied.seq:
                return Applied(cursors.applied, cursors.totals, [], [], gap=True)
            if (
                batch.start.seq == cursors.applied.seq
                and batch.start.tag != cursors.applied.tag
                and batch.start.seq
            ):
                raise errors.RestoredThere()
            setup = self.backend.setup()
            drift.check(agreement, setup)
            try:
                changes, refused = translate(batch, agreement.by_peer, setup.tables, ZoneInfo(setup.zone))
            except (ValueError, IndexError, TypeError) as error:
                raise errors.Malformed(detail=str(error)) from error
            change_in(setup.links[link].transforms, changes)
            numbering = self._numbering()
            before = numbering.head
            source = Source(link, agreement, again_parked=cursors.again_parked)
            result = Applier(self.backend, setup, source, numbering).run(changes)
            after = numbering.close()
            passed = None if numbering.local else (before, after)
            fates = result.fates + [Fate(uid, field, "refused", "not_shared") for uid, field in refused]
            result.totals.received += len(refused)
            result.totals.superseded += len(refused)
            _sum(cursors.totals, result.totals)
            if batch.end.seq > cursors.applied.seq:
                cursors.applied = batch.end
            cursors.peer_head = max(cursors.peer_head, batch.end.seq)
            cursors.last_exchange = self.backend.now()
            if result.lag:
                cursors.lag = result.lag
            self._check_lease(link, self.backend.save_cursors(cursors))
            return Applied(cursors.applied, cursors.totals, fates, result.want, gap=False, passed=passed)

    def _check_lease(self, link: int, ours: bool) -> None:
        if not ours:
            raise self.lease_lost(link)

    def lease_lost(self, link: int) -> errors.SyncError:
        """What it means that the lease of ``link`` is not ours.

        A link that was removed has no lease either, and that is what its peer should hear.
        """
        known = self.backend.setup().links.get(link)
        return errors.LinkPausedHere() if known is None else errors.LeaseLost(link=known.name)

    def retry(self, link: int, agreement: Agreement, token: int, ids: list[int] | None = None) -> int:
        """Try parked changes again: those due by now, or ``ids``; returns how many were tried."""
        with self.backend.transaction():
            cursors = self.backend.cursors(link)
            self._check_lease(link, cursors.lease_token == token)
            now = self.backend.now()
            rows = (
                self.backend.problems_due(link, now, RETRY_ROWS)
                if ids is None
                else self.backend.problems_by_id(ids)
            )
            if ids is None:
                rows += self.backend.problems_out(link, now, RETRY_ROWS)
            setup = self.backend.setup()
            rows = drift.of_present_tables(self.backend, setup, rows, now)
            if rows:
                drift.check(agreement, setup)
                numbering = self._numbering()
                source = Source(link, agreement, again_parked=cursors.again_parked)
                feed_anew(self.backend, agreement, rows, numbering)
                incoming = [reopen(r) for r in rows if r.way == "in"]
                Applier(self.backend, setup, source, numbering).run(incoming)
                numbering.close()
            return len(rows)

    def retry_in(self, link: int, most: int) -> int:
        """How long until a parked change is due again, µs; at most ``most``."""
        with self.backend.transaction():
            now = self.backend.now()
            due = self.backend.problems_due(link, now + most, 1)
            return max(0, due[0].next_try - now) if due else most

    # -- the peer -------------------------------------------------------------------------------------------

    def greeting(self, link: int, token: int = 0) -> Greeting:
        """Our part of the hello on this link, of a conversation with the lease's ``token``.

        Nothing is sealed for it: until the peer has said what it remembers, nobody knows whether this database was
        restored from a backup.

        Raises:
            LeaseLost: another process drives the link now.
        """
        with self.backend.transaction():
            cursors = self.backend.cursors(link)
            self._check_lease(link, token in (0, cursors.lease_token))
            state = self.backend.instance()
            sure = self.run.sure(self.backend, beside=link)
            catalogue = self.backend.catalogue(link)
            met = self.backend.contacts(link)
            series = offers(self.backend, self.backend.setup(), cursors.peer_instance)
        return Greeting(
            instance_of(state.origin),
            epoch_of(state.origin),
            state.head,
            cursors.applied,
            catalogue,
            token,
            Known(met.epoch, met.token, cursors.last_exchange),
            sure,
            series,
        )

    def meet(self, link: int, hello: Hello, clock_offset: int, token: int, remote: str = "") -> Agreed:
        """Check who the peer is and agree on what flows; remembers both. ``remote``: where it speaks from.

        Raises:
            SameInstance, OtherInstance, BehindDeletions: who it is forbids the exchange; nothing was written.
            Restored, Twin: a database is not what it was; what is to be done about it is written.
            LeaseLost: another process drives the link now.
        """
        with self.backend.transaction():
            cursors = self.backend.cursors(link)
            self._check_lease(link, cursors.lease_token == token)
            meeting = Meeting(self.backend, self.run, cursors, hello, remote)
            refusal, first = meeting.refusal(), meeting.first
            agreed = self._agree(link, hello, clock_offset, cursors, meeting) if refusal is None else None
        if agreed is None:
            assert refusal is not None
            raise refusal
        if first:
            self._seal_first()
        return agreed

    def _seal_first(self) -> None:
        """Give their names to rows that wait in the journal, before the peer brings any of them.

        It knows them where this database was restored from a backup, and nobody may have noticed that yet.
        """
        for _ in range(SEAL_FIRST // self._seal_rows):
            if not self.seal():
                return

    def _agree(
        self, link: int, hello: Hello, clock_offset: int, cursors: LinkCursors, meeting: Meeting
    ) -> Agreed:
        info = self.backend.setup().links[link]
        users = (info.user_matching, hello.user_matching)
        agreement = agree(self.backend.catalogue(link), hello.catalogue, users)
        withhold(info, agreement)
        peer = PeerInfo(
            instance=hello.instance,
            epoch=hello.epoch,
            title=hello.title[:200],
            software=hello.software[:100],
            url=hello.url[:500],
            catalogue=hello.catalogue,
            suspended=tuple(agreement.suspended),
            clock_offset=clock_offset,
            head=hello.head.seq,
        )
        terms = meeting.accept()
        self._resume(link, agreement, cursors)
        self._try_unsendable(link, agreement)
        self.backend.save_cursors(cursors)
        self.backend.save_peer(link, peer)
        return Agreed(
            agreement,
            terms.position,
            cursors.totals,
            self._wanted(link),
            terms.peer_has,
            terms.have,
            agree_series(self.backend, self.backend.setup(), link, hello, agreement),
        )

    def _try_unsendable(self, link: int, agreement: Agreement) -> None:
        """The link may have been set up anew: what could not be sent may be sent now."""
        numbering = self._numbering()
        feed_anew(self.backend, agreement, self.backend.problems_out(link, NEVER, WANT_MOST), numbering)
        numbering.close()

    def _wanted(self, link: int) -> list[bytes]:
        """Records of which we have changes but not the record."""
        rows = self.backend.problems_due(link, FOREVER, WANT_MOST)
        return sorted({row.uid for row in rows if row.code == "unknown_record"})

    def _resume(self, link: int, agreement: Agreement, cursors: LinkCursors) -> None:
        """Fields that flow again after a suspension: what was sealed since goes again."""
        sent = {field for flow in agreement.tables.values() for field in flow.out}
        changed: dict[int, FlowState] = {}
        again: dict[int, int] = {}
        for field, state in self.backend.flows(link).items():
            if field in sent and not state.flowing:
                changed[field] = FlowState(True, None)
                if state.resume is not None:
                    again[field] = state.resume
            elif field not in sent and state.flowing:
                changed[field] = FlowState(False, cursors.scanned)
        if changed:
            self.backend.save_flows(link, changed)
        if again:
            head = self._requeue(again)
            if min(again.values()) < cursors.again:  # they missed what went again meanwhile
                cursors.again = head

    def _requeue(self, fields: dict[int, int]) -> int:
        """Give new numbers to what was sealed of these fields above their numbers; the head after that."""
        numbering = self._numbering()
        last, seq = numbering.head.seq, min(fields.values())
        while records := [r for r in self.backend.records_after(seq, 1000) if r.seq <= last]:
            seq = records[-1].seq
            for record in records:
                hits = [
                    f for f, since in fields.items() if f in record.entries and record.entries[f].seq > since
                ]
                if hits:
                    record.seq = numbering.next()
                    for field in hits:
                        record.entries[field] = record.entries[field]._replace(seq=record.seq)
            self.backend.save_records(records)
        return numbering.close().seq

    def refilter(self, link: int, agreement: Agreement, token: int, records: int = REFILTER_RECORDS) -> bool:
        """After a change of row filters: feed what the peer lacks and what passes now; whether there is more to do.

        Only records that were edited since their table joined the link: older rows are initial sync's business.
        """
        with self.backend.transaction():
            self._check_lease(link, self.backend.cursors(link).lease_token == token)
            found = self.backend.refilters(link)
            pending = {table: state for table, state in found.items() if agreement.out_fields(table)}
            if not pending:
                return False
            table, state = next(iter(pending.items()))
            setup, numbering = self.backend.setup(), self._numbering()
            seen = [r for r in self.backend.records_after(state.after, records) if r.seq <= state.until]
            # Taken now: what is fed again below moves to the end.
            rest = Refilter(seen[-1].seq, state.until) if len(seen) == records else None
            filters = RowFilters(self.backend, setup, link)
            missed = again(filters, self.backend, link, agreement, [r for r in seen if r.table == table])
            for record in missed:
                feed_again(record, numbering)
            self.backend.save_records(missed)
            numbering.close()
            self.backend.save_refilter(link, table, rest)
            return rest is not None or len(pending) > 1

    # -- deletions ------------------------------------------------------------------------------------------

    def revive(self, uid: bytes) -> Record:
        """Bring a record back that a peer's deletion took away here; all programs get it again.

        Raises:
            NotDeleted, NotArchived, NotRestored: nothing was written.
        """
        with self.backend.transaction():
            numbering, setup = self._numbering(), self.backend.setup()
            record = Reviver(self.backend, setup, numbering).revive(uid)
            numbering.close()
            return record

    def purge(self, before: int, after: int = 0, limit: int = PURGE_RECORDS) -> Purged:
        """Forget deletions from before ``before`` (µs) that all peers concerned know of; a bounded piece of work."""
        with self.backend.transaction():
            return purge(self.backend, self.backend.setup(), before, after, limit)

    # -- leases ---------------------------------------------------------------------------------------------

    def claim(self, link: int, owner: str, ttl: int, *, force: bool = False) -> int | None:
        """Take the lease of ``link`` for ``ttl`` µs: a token, or None while another process holds it."""
        with self.backend.transaction():
            return self.backend.claim(link, owner, self.backend.now() + ttl, force=force)

    def renew(self, link: int, token: int, ttl: int, status: LinkStatus | None = None) -> bool:
        """Prolong the lease and note the link's status; False if it was lost."""
        with self.backend.transaction():
            return self.backend.renew(link, token, self.backend.now() + ttl, status)


def _sum(into: Totals, more: Totals) -> None:
    for name in Totals.__struct_fields__:
        setattr(into, name, getattr(into, name) + getattr(more, name))
