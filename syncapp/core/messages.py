"""The messages of a session: typed structs, arrays on the wire with their name in front.

`docs/protocol.md` describes each for writers of other peers. Times are µs since 1970 UTC.
"""

from __future__ import annotations

from typing import Any

import msgspec

from syncapp.core.changes import START, Batch, Cursor, Fate, Totals
from syncapp.core.mapping import TableOffer
from syncapp.core.series import Grant, Offer, Report

#: The protocol versions that this software speaks, oldest and newest.
PROTOCOL = (1, 1)
#: What this software can do beyond the protocol's base; unknown names are ignored.
CAPABILITIES: tuple[str, ...] = ("zstd",)


class Open(msgspec.Struct, frozen=True, array_like=True, tag="open"):
    """Active → passive, first: who may we talk to? ``code``: the link's code or empty; ``scram``: client-first."""

    versions: tuple[int, int]
    software: str
    code: str
    scram: str
    clock: int


class Challenge(msgspec.Struct, frozen=True, array_like=True, tag="challenge"):
    """Passive → active: the protocol version taken, SCRAM server-first, the clock."""

    version: int
    software: str
    scram: str
    clock: int


class Proof(msgspec.Struct, frozen=True, array_like=True, tag="proof"):
    """Active → passive: SCRAM client-final; ``offset``: how far the passive clock is ahead, as measured."""

    scram: str
    offset: int


class Proved(msgspec.Struct, frozen=True, array_like=True, tag="proved"):
    """Passive → active: SCRAM server-final; from here on both are authenticated."""

    scram: str


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """What a side accepts: bytes of one message, bytes of batches that it has not acknowledged."""

    max_message: int = 64 * 1024 * 1024
    window: int = 4 * 1024 * 1024


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What the sender of a hello remembers of the receiver from their last contact; zeros where it knows nothing.

    ``epoch``: the receiver's epoch, which ``Hello.have`` belongs to; ``token``: the newest of the receiver's tokens;
    ``at``: when that was, by the sender's database.
    """

    epoch: int = 0
    token: int = 0
    at: int = 0


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """Both ways, once, after authentication.

    ``head``: the newest number of the sender's feed; ``have``: how far it has applied the receiver's feed.
    ``boot`` is drawn at each start of the process, ``host`` is the machine that it runs on. ``token`` grows with each
    conversation of the link, over all processes of a program: its database counts it. ``sure``: since the process
    started, every other link has been in contact, so that the database has not been restored unnoticed. ``series``: the
    shared series of numbers.
    """

    instance: bytes
    epoch: int
    boot: bytes
    title: str
    software: str
    url: str
    capabilities: tuple[str, ...]
    limits: Limits
    user_matching: str
    catalogue: tuple[TableOffer, ...]
    head: Cursor
    have: Cursor
    host: str = ""
    token: int = 0
    knows: Known = Known()
    sure: bool = True
    series: tuple[Offer, ...] = ()


class Changes(msgspec.Struct, frozen=True, array_like=True, tag="changes"):
    """A batch of the sender's feed."""

    batch: Batch


class Ack(msgspec.Struct, frozen=True, array_like=True, tag="ack"):
    """``have``: our feed is durably applied (or parked) up to there; everything else explains it.

    ``gap``: the batch started above ``have``; send again from there. ``want``: records that the receiver does not
    know; they are to be sent whole.
    """

    have: Cursor
    totals: Totals
    fates: list[Fate] = []
    want: list[bytes] = []
    gap: bool = False


class Ping(msgspec.Struct, frozen=True, array_like=True, tag="ping"):
    """``account``: how many field changes its newest `Ack` has accounted for (`Totals.received`); 0: no word of it."""

    number: int
    clock: int
    account: int = 0


class Pong(msgspec.Struct, frozen=True, array_like=True, tag="pong"):
    """``received``: the end of the newest batch that arrived (applied or waiting); ``have``: as in `Ack`.

    ``account``: as in `Ping`.
    Number 0: a sign of life that answers no ping.
    """

    number: int
    clock: int
    have: Cursor = START
    received: Cursor = START
    account: int = 0


class Lease(msgspec.Struct, frozen=True, array_like=True, tag="lease"):
    """Holder → lessor: what it has of shared series, and what it needs (see `core.series`)."""

    reports: tuple[Report, ...]


class Leased(msgspec.Struct, frozen=True, array_like=True, tag="leased"):
    """Lessor → holder: numbers of shared series. The next `Lease` says that they are stored."""

    grants: tuple[Grant, ...]


class Bye(msgspec.Struct, frozen=True, array_like=True, tag="bye"):
    """The sender ends the session: a code of `syncapp.errors` and its params, from the sender's point of view."""

    code: str
    params: dict[str, Any] = {}


Message = Open | Challenge | Proof | Proved | Hello | Changes | Ack | Ping | Pong | Lease | Leased | Bye
