"""What a session wants done. The shell does it and answers with the method that each effect names."""

from __future__ import annotations

import msgspec

from syncapp.core.changes import Batch, Cursor, Fate, Totals
from syncapp.core.codec import Frame
from syncapp.core.messages import Hello
from syncapp.core.series import Grant, Report
from syncapp.errors import SyncError


class Send(msgspec.Struct, frozen=True):
    """Send a frame. Frames of one kind keep their order; others may overtake ``bulk`` ones."""

    frame: Frame
    bulk: bool


class FindLink(msgspec.Struct, frozen=True):
    """Passive: find the link (by code, or by whose password it is) → `Session.challenge` or `Session.fail`."""

    code: str
    client_first: str


class MakeProof(msgspec.Struct, frozen=True):
    """Active: compute the proof → `Session.proof`. Takes milliseconds of CPU: off the event loop."""

    server_first: str


class VerifyProof(msgspec.Struct, frozen=True):
    """Passive: check the proof → `Session.proved` or `Session.fail`."""

    client_final: str


class CheckProof(msgspec.Struct, frozen=True):
    """Active: check that the passive side knows the password → `Session.peer_proved` or `Session.fail`."""

    server_final: str


class Greet(msgspec.Struct, frozen=True):
    """Both are authenticated: gather our hello → `Session.greet`."""


class Agree(msgspec.Struct, frozen=True):
    """The peer's hello is here: check it, agree on the flow, store it → `Session.go` or `Session.fail`."""

    hello: Hello


class Read(msgspec.Struct, frozen=True):
    """Seal and read our feed after ``after`` → `Session.read_done`."""

    after: Cursor
    records: int


class Apply(msgspec.Struct, frozen=True):
    """Apply the peer's batch → `Session.applied`."""

    batch: Batch


class Acked(msgspec.Struct, frozen=True):
    """Store what the peer acknowledged → `Session.acked_done`.

    ``start``: where the previous acknowledgement ended; ``have``: where this one ends; ``confirmed``: records that
    went whole and are now on both sides. ``clear``: 0, or up to where no change is left out (see `store.feed`).
    ``whole``: the earliest end of a batch that brought one of the confirmed records; 0: none, or not known.
    """

    start: Cursor
    have: Cursor
    totals: Totals | None
    fates: list[Fate]
    want: list[bytes]
    confirmed: list[bytes]
    clear: int = 0
    whole: int = 0


class Numbers(msgspec.Struct, frozen=True):
    """What the peer says of shared series: take it down, durably → `Session.numbers` with what there is to say."""

    reports: tuple[Report, ...] = ()
    grants: tuple[Grant, ...] = ()


class Closed(msgspec.Struct, frozen=True):
    """The session is over: close the road and show ``error``."""

    error: SyncError
    by_peer: bool


Effect = (
    Send
    | FindLink
    | MakeProof
    | VerifyProof
    | CheckProof
    | Greet
    | Agree
    | Read
    | Apply
    | Acked
    | Numbers
    | Closed
)
