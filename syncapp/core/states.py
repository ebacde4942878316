"""The states of a session, and what is allowed in each: the tables that `docs/protocol.md` is drawn from."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from syncapp.core.messages import (
    Ack,
    Bye,
    Challenge,
    Changes,
    Hello,
    Lease,
    Leased,
    Open,
    Ping,
    Pong,
    Proof,
    Proved,
)
from syncapp.core.policy import SECOND


class Now(NamedTuple):
    """A moment: ``mono`` for timers, ``wall`` for clocks that are compared; both in µs."""

    mono: int
    wall: int


class Role(StrEnum):
    ACTIVE = "active"
    PASSIVE = "passive"


class State(StrEnum):
    """Where a session stands. The active side goes through the first column, the passive through the second."""

    START = "start"
    AWAIT_CHALLENGE = "await challenge"
    PROVING = "proving"
    AWAIT_PROVED = "await proved"
    CHECKING = "checking"

    AWAIT_OPEN = "await open"
    FINDING = "finding"
    AWAIT_PROOF = "await proof"
    VERIFYING = "verifying"

    GREETING = "greeting"
    AGREEING = "agreeing"
    LIVE = "live"
    CLOSED = "closed"


#: (state, message) → the method that takes it. `docs/protocol.md` draws this table.
TRANSITIONS: dict[tuple[State, type[Any]], str] = {
    (State.AWAIT_OPEN, Open): "_on_open",
    (State.AWAIT_CHALLENGE, Challenge): "_on_challenge",
    (State.AWAIT_PROOF, Proof): "_on_proof",
    (State.AWAIT_PROVED, Proved): "_on_proved",
    (State.CHECKING, Hello): "_on_hello",  # kept until the passive side's proof has been checked
    (State.GREETING, Hello): "_on_hello",
    (State.AGREEING, Changes): "_on_changes",
    (State.LIVE, Changes): "_on_changes",
    (State.AGREEING, Ack): "_on_ack",
    (State.LIVE, Ack): "_on_ack",
    (State.AGREEING, Ping): "_on_ping",
    (State.LIVE, Ping): "_on_ping",
    (State.AGREEING, Pong): "_on_pong",
    (State.LIVE, Pong): "_on_pong",
    (State.AGREEING, Lease): "_on_numbers",
    (State.LIVE, Lease): "_on_numbers",
    (State.AGREEING, Leased): "_on_numbers",
    (State.LIVE, Leased): "_on_numbers",
    **{(state, Bye): "_on_bye" for state in State if state not in (State.CLOSED, State.START)},
}

#: Where each transition leads, for the diagram: (state, message) → next state.
LEADS_TO: dict[tuple[State, type[Any]], State] = {
    (State.AWAIT_OPEN, Open): State.FINDING,
    (State.AWAIT_CHALLENGE, Challenge): State.PROVING,
    (State.AWAIT_PROOF, Proof): State.VERIFYING,
    (State.AWAIT_PROVED, Proved): State.CHECKING,
    (State.GREETING, Hello): State.AGREEING,
}

#: What the shell's answers lead to: (state, answer) → next state.
ANSWERS: dict[tuple[State, str], State] = {
    (State.START, "start"): State.AWAIT_CHALLENGE,
    (State.FINDING, "challenge"): State.AWAIT_PROOF,
    (State.PROVING, "proof"): State.AWAIT_PROVED,
    (State.VERIFYING, "proved"): State.GREETING,
    (State.CHECKING, "peer proved"): State.GREETING,
    (State.AGREEING, "go"): State.LIVE,
}


class Timing(msgspec.Struct, frozen=True):
    """Durations of a session, µs.

    The active side pings after ``heartbeat`` of silence towards the peer and gives it ``grace`` to show life; the
    passive side waits ``silence``. ``handshake`` bounds everything before LIVE.
    """

    heartbeat: int = 8 * SECOND
    grace: int = 5 * SECOND
    silence: int = 25 * SECOND
    handshake: int = 20 * SECOND
    interval: int = 0
    linger: int = 3_000
    advance: int = 2 * SECOND
