"""A contact: whether a database went back in time since the last one, and where both feeds go on.

What each side remembers of the other is compared: cursors with the tags of the seals that gave them, epochs, and the
tokens of the conversations (`store.twins`). What does not fit means that a database was restored from a backup, or
that there are two copies of it. The restored program finds out itself, since its peer says what it remembers of it
(`messages.Known`). It takes a new epoch, once, and connects again:

- to the restored program everything goes that is above its own cursor, also what once came from it (`cursors.again`),
  records whole, since it may have lost them (`Backend.doubt_pairs`);
- its own feed begins anew for each link: cursors of an older epoch count as the beginning.

Merging makes all of that idempotent. Edits made in between are in no danger: see `store.runs`.

That nothing here is ever mistaken rests on an order: each side takes its lease before it says anything of its database
(the passive side's proof and hello leave together), and looks at the other's hello only while its lease is good. So
what two conversations of one link say is judged in the order in which their tokens were given.
"""

from __future__ import annotations

from typing import NamedTuple

from syncapp import errors
from syncapp.core.changes import START, Cursor, Totals
from syncapp.core.clock import LAST_EPOCH, epoch_of, instance_of, next_epoch
from syncapp.core.messages import Hello
from syncapp.store import twins
from syncapp.store.base import UNKNOWN, Backend, FlowState, LinkCursors, LogRow
from syncapp.store.runs import Run
from syncapp.store.twins import at_text


class Terms(NamedTuple):
    """Where the feeds go on: ours after ``position``.

    The peer has ours up to ``peer_has``, and we have its up to ``have``.
    """

    position: Cursor
    peer_has: Cursor
    have: Cursor


class Meeting:
    """One contact of a link, within the transaction that decides on it. First `refusal`, then perhaps `accept`."""

    def __init__(
        self, backend: Backend, run: Run, cursors: LinkCursors, hello: Hello, remote: str = ""
    ) -> None:
        self._backend = backend
        self._run = run
        self._cursors = cursors
        self._hello = hello
        self._remote = remote
        self._state = backend.instance()
        self._epoch = epoch_of(self._state.origin)
        self._contacts = backend.contacts(cursors.link)
        run.begin(backend)

    @property
    def first(self) -> bool:
        """Whether the link has not been in contact since the process started."""
        return not self._run.met(self._contacts)

    # -- may they talk? -------------------------------------------------------------------------------------

    def refusal(self) -> errors.SyncError | None:
        """Why they may not talk now; what has to be remembered of that is written.

        Raises:
            SameInstance, OtherInstance: who the peer is forbids the exchange.
        """
        self._check_identity()
        mine = self._look_at_ourselves()
        theirs = twins.judge(self._contacts, self._hello, self._backend.now(), self._remote)
        if mine is None and theirs is None:
            theirs = self._look_at_peer()
        if mine is None and theirs is None:
            return None
        self._backend.save_contacts(self._contacts)
        return theirs if isinstance(theirs, errors.Twin) else mine or theirs

    def _check_identity(self) -> None:
        hello, known = self._hello, self._cursors.peer_instance
        if hello.instance == instance_of(self._state.origin):
            raise errors.SameInstance()
        if known and known != hello.instance:
            raise errors.OtherInstance(
                known=known.hex()[:8], found=f"{hello.title} ({hello.instance.hex()[:8]})"
            )
        if not (0 <= hello.epoch <= LAST_EPOCH and 0 <= hello.knows.epoch < LAST_EPOCH):
            raise errors.Malformed(detail="an epoch beyond all epochs")

    def _look_at_ourselves(self) -> errors.SyncError | None:
        """The peer remembers more of us than we do: our database went back."""
        knows = self._hello.knows
        older = knows.token >= max(1, self._cursors.lease_token)
        if not older and not self._lost_feed():
            return None
        self._contacts.floor = max(self._contacts.floor, knows.token)
        if older and not self.first:
            # Not ours: this process has been in contact since it started. Somebody else speaks in our name.
            return errors.TwinHere(peer=self._hello.title[:100])
        if not 0 < knows.epoch < self._epoch:  # else it was noticed before, on another link
            self._backend.set_epoch(next_epoch(self._backend.now(), max(self._epoch, knows.epoch)))
        return errors.RestoredHere()

    def _lost_feed(self) -> bool:
        """Whether the peer knows a later part of our feed, or of our lives, than there is."""
        if self._hello.knows.epoch > self._epoch:
            return True
        return self._same_life() and not self._fits(self._hello.have)

    def _same_life(self) -> bool:
        """Whether the peer's cursor of our feed belongs to our present epoch. (One that does not tell means it so.)"""
        return self._hello.knows.epoch in (0, self._epoch)

    def _fits(self, have: Cursor) -> bool:
        if not have.seq:
            return True
        # Of a tag that is forgotten by now nobody can say more than that its number was given.
        return have.seq <= self._state.head.seq and self._backend.seal_tag(have.seq) in (have.tag, None)

    def _look_at_peer(self) -> errors.SyncError | None:
        """It lacks what we have from it, which it is about to notice itself."""
        hello, known = self._hello, self._contacts.epoch
        if hello.epoch == known and self._cursors.applied.seq > hello.head.seq:
            return errors.RestoredThere()
        return None

    # -- where do they go on? -------------------------------------------------------------------------------

    def accept(self) -> Terms:
        """Both talk: set the cursors right and remember the contact. The caller saves cursors and peer."""
        cursors, hello, now = self._cursors, self._hello, self._backend.now()
        has = hello.have if self._same_life() else START
        position = has if has.seq else Cursor(cursors.base, self._backend.seal_tag(cursors.base) or b"")
        self._check_floor()
        last, lost = cursors.last_exchange, position.seq < cursors.acked.seq
        renewed = self._contacts.epoch not in (0, hello.epoch)
        if renewed:
            cursors.applied = START
            cursors.again = max(1, self._state.head.seq)  # 0: never restored
            cursors.again_parked = max(now, self._backend.last_parked(cursors.link))
            self._backend.doubt_pairs(cursors.link)
        if renewed or lost:
            cursors.peer_totals = Totals()  # its own went back as well; its next words tell them
        if lost:
            cursors.scanned = min(cursors.scanned, cursors.base)
            self._send_suspended_again(position.seq)
        if not self._same_life():
            self._tell("was_restored_here", last, now)
        elif renewed or (lost and hello.knows.epoch):
            self._tell("was_restored_there", hello.knows.at, now)
        cursors.acked = position
        cursors.last_exchange = now
        self._contacts.meets += 1
        # One that was restored itself may have forgotten what it had from here.
        self._contacts.proofs += hello.sure and not renewed and not lost
        self._contacts.refused_until = 0
        self._backend.save_contacts(self._contacts)
        return Terms(position, has, cursors.applied)

    def _check_floor(self) -> None:
        """Deletions that the peer may lack must not be forgotten yet: else it would bring the records back.

        A cursor of an older epoch still tells how far the peer had come, in the part of the feed that both lives share.
        """
        reached = max(self._hello.have.seq, self._cursors.base)
        if self._contacts.epoch and reached < self._cursors.floor:
            raise errors.BehindDeletions()

    def _send_suspended_again(self, position: int) -> None:
        """Fields that do not flow at present go again from ``position`` on, once they do."""
        flows = self._backend.flows(self._cursors.link)
        lost = {
            field: FlowState(False, position)
            for field, state in flows.items()
            if not state.flowing and state.resume is not None and state.resume > position
        }
        if lost:
            self._backend.save_flows(self._cursors.link, lost)

    def _tell(self, code: str, since: int, now: int) -> None:
        """Let people know, in the link's status and in its log."""
        params = {
            "peer": self._hello.title[:100],
            "at": at_text(now),
            "since": at_text(since) if since else "–",
        }
        link = self._cursors.link
        self._backend.set_notice(link, code, params, now)
        self._backend.add_log(
            [LogRow(link, now, "in", 0, "", b"", 0, UNKNOWN, UNKNOWN, "restored", code)],
        )
