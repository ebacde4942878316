"""The live conversation, without input or output."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp import errors
from syncapp.core import effects as fx
from syncapp.core import messages as m
from syncapp.core.changes import START, Batch, Cursor, Row, RowKind, Section, Totals
from syncapp.core.codec import Decoder, Encoder, Form
from syncapp.core.policy import SECOND
from syncapp.core.session import ANSWERS, LEADS_TO, TRANSITIONS, Now, Role, Session, State, Timing
from tests.core.messages import CLOCK, MESSAGES

TIMING = Timing()


def at(seconds: float = 0.0) -> Now:
    return Now(10 * SECOND + int(seconds * SECOND), CLOCK + int(seconds * SECOND))


def session(role: Role, **options: Any) -> Session:
    return Session(role, at(), software=f"syncapp {role.value}", **options)


def hello(have: Cursor = START, head: Cursor = START, **changed: Any) -> m.Hello:
    return msgspec.structs.replace(MESSAGES["hello"], have=have, head=head, **changed)  # type: ignore[type-var]


def frame(message: m.Message) -> Any:
    return Encoder().frames(message)[0]


def sent(conversation: Session) -> list[m.Message]:
    """Take the messages that it wants sent; other effects stay."""
    decoder, found, rest = Decoder(64 * 1024 * 1024), [], []
    for effect in conversation.effects:
        if isinstance(effect, fx.Send):
            if (message := decoder.feed(effect.frame)) is not None:
                found.append(message)
        else:
            rest.append(effect)
    conversation.effects.clear()
    conversation.effects.extend(rest)
    return found


def take(conversation: Session, kind: type[Any]) -> Any:
    """Take the one effect of ``kind``."""
    found = [effect for effect in conversation.effects if isinstance(effect, kind)]
    assert len(found) == 1, conversation.effects
    conversation.effects.remove(found[0])
    return found[0]


def pass_on(source: Session, target: Session, now: Now) -> None:
    for message in sent(source):
        target.receive(frame(message), now)


def reach(state: State) -> Session:
    """A session in ``state``, with nothing left to do."""
    passive = state in (State.AWAIT_OPEN, State.FINDING, State.AWAIT_PROOF, State.VERIFYING)
    conversation = session(Role.PASSIVE if passive else Role.ACTIVE)
    steps: list[Any] = (
        [
            (State.FINDING, lambda: conversation.receive(frame(MESSAGES["open"]), at())),
            (State.AWAIT_PROOF, lambda: conversation.challenge("server-first", at())),
            (State.VERIFYING, lambda: conversation.receive(frame(MESSAGES["proof"]), at())),
        ]
        if passive
        else [
            (State.AWAIT_CHALLENGE, lambda: conversation.start("client-first", at())),
            (State.PROVING, lambda: conversation.receive(frame(MESSAGES["challenge"]), at())),
            (State.AWAIT_PROVED, lambda: conversation.proof("client-final", at())),
            (State.CHECKING, lambda: conversation.receive(frame(MESSAGES["proved"]), at())),
            (State.GREETING, lambda: conversation.peer_proved(at())),
            (State.AGREEING, lambda: greet(conversation)),
            (State.LIVE, lambda: conversation.go(START, at())),
            (State.CLOSED, lambda: conversation.lost(errors.ConnectionClosed(detail="x"))),
        ]
    )
    for leads, step in steps:
        if conversation.state is state:
            break
        step()
        assert conversation.state is leads
    assert conversation.state is state
    conversation.effects.clear()
    return conversation


def greet(conversation: Session) -> None:
    conversation.greet(hello(), at())
    conversation.receive(frame(hello()), at())


def live(**options: Any) -> tuple[Session, Session]:
    """Two sessions that have come to LIVE with each other; their feeds are empty so far."""
    active, passive = session(Role.ACTIVE, **options), session(Role.PASSIVE, **options)
    active.start("first", at())
    pass_on(active, passive, at())
    assert take(passive, fx.FindLink) == fx.FindLink("", "first")
    passive.challenge("challenge", at())
    pass_on(passive, active, at())
    assert take(active, fx.MakeProof).server_first == "challenge"
    active.proof("proof", at())
    pass_on(active, passive, at())
    assert take(passive, fx.VerifyProof).client_final == "proof"
    passive.proved("final", at())
    assert not sent(passive), "the proof goes out with the hello"
    take(passive, fx.Greet)
    passive.greet(hello(limits=passive.limits), at())
    pass_on(passive, active, at())
    assert take(active, fx.CheckProof).server_final == "final"
    active.peer_proved(at())
    take(active, fx.Greet)
    active.greet(hello(limits=active.limits), at())
    pass_on(active, passive, at())
    for side in (active, passive):
        take(side, fx.Agree)
        side.go(START, at())
        take(side, fx.Read)
        side.read_done(None, START, False, at())
        assert side.state is State.LIVE
    return active, passive


def cursor(seq: int) -> Cursor:
    return Cursor(seq, bytes([seq % 256]) * 8) if seq else START


def batch(start: int, end: int, *, whole: bytes = b"", size: int = 1) -> Batch:
    row = Row(whole or b"u" * 16, int(RowKind.WHOLE if whole else RowKind.FIELDS), [None], ["x" * size])
    return Batch(cursor(start), cursor(end), [], [Section(1, [2], [row])])


def stream(side: Session, start: int, end: int, now: Now, **options: Any) -> list[m.Message]:
    """The feed has something: let ``side`` read and send it."""
    side.wake(now)
    read = take(side, fx.Read)
    assert read.after.seq == start
    side.read_done(batch(start, end, **options), cursor(end), False, now)
    return sent(side)


# -- the handshake ---------------------------------------------------------------------------------------------


def test_two_sessions_come_to_life() -> None:
    active, passive = live()
    assert (active.peer_software, passive.peer_software) == ("syncapp passive", "syncapp active")
    assert not active.effects
    assert not passive.effects


def test_nothing_but_the_handshake_is_sent_before_authentication() -> None:
    before = {m.Open, m.Challenge, m.Proof, m.Bye}
    for state in State:
        conversation = reach(state)
        if state in (State.GREETING, State.AGREEING, State.LIVE, State.CLOSED):
            continue
        conversation.wake(at(1))
        conversation.on_timer(at(1))
        conversation.go(START, at(1))
        conversation.read_done(batch(0, 1), cursor(1), False, at(1))
        conversation.applied(cursor(1), Totals(), [], [], False, at(1))
        conversation.greet(hello(), at(1))
        assert {type(message) for message in sent(conversation)} <= before
        assert not [
            e for e in conversation.effects if isinstance(e, fx.Read | fx.Apply | fx.Greet | fx.Agree)
        ]


def test_a_hello_that_comes_while_the_proof_is_checked_is_kept_unread() -> None:
    active = reach(State.CHECKING)
    active.receive(frame(hello()), at())
    assert active.state is State.CHECKING
    assert not active.effects
    active.peer_proved(at())
    take(active, fx.Greet)
    active.greet(hello(), at())
    assert take(active, fx.Agree).hello == hello()


def test_big_messages_are_refused_before_authentication() -> None:
    passive = session(Role.PASSIVE)
    passive.receive(frame(m.Open((1, 1), "x", "", "y" * 70_000, CLOCK)), at())
    assert isinstance(take(passive, fx.Closed).error, errors.TooLarge)


@pytest.mark.parametrize("state", [s for s in State if s is not State.CLOSED])
@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_not_in_the_table_closes_the_session(state: State, name: str) -> None:
    message = MESSAGES[name]
    conversation = reach(state)
    conversation.receive(frame(message), at())
    closed = [effect for effect in conversation.effects if isinstance(effect, fx.Closed)]
    if (state, type(message)) in TRANSITIONS:
        assert not any(isinstance(effect.error, errors.UnexpectedMessage) for effect in closed)
        return
    assert [type(effect.error) for effect in closed] == [errors.UnexpectedMessage]
    assert conversation.state is State.CLOSED
    assert [type(message) for message in sent(conversation)] == ([m.Bye] if state is not State.START else [])


@given(st.lists(st.sampled_from(sorted(MESSAGES)), max_size=6), st.sampled_from(State))
def test_no_sequence_of_messages_does_anything_else_than_close(names: list[str], state: State) -> None:
    conversation = reach(state)
    for name in names:
        conversation.receive(frame(MESSAGES[name]), at())
        conversation.on_timer(at())
    if conversation.state is State.CLOSED and state is not State.CLOSED:
        assert len([e for e in conversation.effects if isinstance(e, fx.Closed)]) == 1


def test_the_tables_agree() -> None:
    for state, message in LEADS_TO:
        assert (state, message) in TRANSITIONS
    for (state, _), method in TRANSITIONS.items():
        assert callable(getattr(Session, method))
        assert state is not State.CLOSED
    reachable = {State.START, State.AWAIT_OPEN, *LEADS_TO.values(), *ANSWERS.values()}
    assert reachable == set(State) - {State.CLOSED}


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (errors.WrongPassword(), errors.WrongPassword),
        (errors.UnknownLinkCode(), errors.UnknownLinkCode),
        (errors.Locked(seconds=7), errors.Locked),
        (errors.LinkPaused(), errors.LinkPaused),
    ],
)
def test_a_refusal_has_the_same_name_on_both_sides(error: errors.SyncError, shown: type[Any]) -> None:
    active, passive = session(Role.ACTIVE), session(Role.PASSIVE)
    active.start("first", at())
    pass_on(active, passive, at())
    passive.fail(error, at())
    pass_on(passive, active, at())
    for side, by_peer in ((active, True), (passive, False)):
        closed = take(side, fx.Closed)
        assert (type(closed.error), closed.by_peer) == (shown, by_peer)
        assert {**closed.error.params, **error.params} == closed.error.params


def test_an_impostor_gets_nothing() -> None:
    active = reach(State.CHECKING)
    active.fail(errors.Impostor(), at())
    assert [type(message) for message in sent(active)] == [m.Bye]


@pytest.mark.parametrize(
    ("theirs", "here", "there"),
    [
        ((5, 9), errors.VersionTooOldHere, "version_there"),
        ((0, 0), errors.VersionTooOldThere, "version_here"),
    ],
)
def test_no_common_version(theirs: tuple[int, int], here: type[Any], there: str) -> None:
    passive = session(Role.PASSIVE)
    passive.receive(frame(m.Open(theirs, "theirs 9", "", "first", CLOCK)), at())
    error = take(passive, fx.Closed).error
    assert type(error) is here
    assert error.params == {"here": "syncapp passive", "there": "theirs 9"}
    active = reach(State.AWAIT_CHALLENGE)
    pass_on(passive, active, at())
    mirrored = take(active, fx.Closed).error
    assert mirrored.code == there
    assert (mirrored.params["here"], mirrored.params["there"]) == ("theirs 9", "syncapp passive")


def test_the_active_side_refuses_a_clock_that_is_too_far_off() -> None:
    active = reach(State.AWAIT_CHALLENGE)
    active.receive(frame(m.Challenge(1, "x", "first", CLOCK + 400 * SECOND)), at())
    error = take(active, fx.Closed).error
    assert error.params == {"offset": "400 s", "bound": "300 s"}
    passive = reach(State.AWAIT_PROOF)
    pass_on(active, passive, at())
    assert isinstance(take(passive, fx.Closed).error, errors.ClockTooFar)


def test_the_passive_side_refuses_it_too_once_it_knows_who_says_so() -> None:
    passive = reach(State.AWAIT_PROOF)
    passive.receive(frame(m.Proof("proof", 400 * SECOND)), at())
    take(passive, fx.VerifyProof)
    passive.proved("final", at())
    assert isinstance(take(passive, fx.Closed).error, errors.ClockTooFar)


def test_the_clocks_offset_is_measured_half_way() -> None:
    active = session(Role.ACTIVE)
    active.start("first", at(0))
    active.receive(frame(m.Challenge(1, "x", "first", CLOCK + 6 * SECOND)), at(2))
    assert active.clock_offset == 5 * SECOND


def test_a_peer_that_speaks_json_is_answered_in_json() -> None:
    passive = session(Role.PASSIVE)
    passive.receive(Encoder(Form.JSON).frames(MESSAGES["open"])[0], at())
    take(passive, fx.FindLink)
    passive.challenge("x", at())
    assert isinstance(take(passive, fx.Send).frame, str)


def test_an_answer_that_comes_too_late_is_nothing() -> None:
    conversation = reach(State.CLOSED)
    conversation.proof("x", at())
    conversation.greet(hello(), at())
    conversation.go(START, at())
    conversation.fail(errors.WrongPassword(), at())
    assert not conversation.effects


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("config_refused", {}),
        ("wrong_password", {"self": 1}),
        ("no such code", {"a": "b" * 10_000}),
        ("locked", {str(n): n for n in range(1000)}),
        ("version", {"here": {"deep": [1]}, "there": None}),
    ],
)
def test_a_strange_bye_is_survived(code: str, params: dict[str, Any]) -> None:
    conversation = reach(State.LIVE)
    conversation.receive(frame(m.Bye(code, params)), at())
    error = take(conversation, fx.Closed).error
    assert len(str(error)) < 2000
    assert len(error.params) <= 20


# -- timers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [s for s in State if s not in (State.LIVE, State.CLOSED)])
def test_a_handshake_takes_only_so_long(state: State) -> None:
    conversation = reach(state)
    due = conversation.next_timer()
    assert due == at().mono + TIMING.handshake
    conversation.on_timer(at(19))
    assert conversation.state is state
    conversation.on_timer(at(20))
    assert isinstance(take(conversation, fx.Closed).error, errors.TimedOut)
    assert conversation.next_timer() is None


def test_the_active_side_pings_a_silent_peer_and_gives_up_without_an_answer() -> None:
    active, passive = live()
    assert active.next_timer() == at(8).mono
    active.on_timer(at(8))
    pass_on(active, passive, at(8))
    pass_on(passive, active, at(8.1))
    assert active.state is State.LIVE
    assert active.next_timer() == at(16.1).mono
    active.on_timer(at(16.1))
    assert [type(message) for message in sent(active)] == [m.Ping]
    assert active.next_timer() == at(21.1).mono
    active.on_timer(at(21.1))
    assert isinstance(take(active, fx.Closed).error, errors.TimedOut)


def test_the_passive_side_waits_and_gives_up() -> None:
    _, passive = live()
    passive.on_timer(at(24))
    assert sent(passive) == []
    passive.on_timer(at(25))
    assert isinstance(take(passive, fx.Closed).error, errors.TimedOut)


def test_a_long_message_that_comes_in_is_a_sign_of_life_to_its_sender() -> None:
    active, passive = live()
    parts = Encoder().frames(m.Changes(batch(0, 1, size=3 * 256 * 1024)))
    passive.receive(parts[0], at(1))
    assert sent(passive) == []
    passive.receive(parts[1], at(3))
    answers = sent(passive)
    assert [(type(a), a.number) for a in answers] == [(m.Pong, 0)]  # type: ignore[union-attr]
    active.receive(frame(answers[0]), at(3))
    assert active.state is State.LIVE


def test_a_ping_behind_long_batches_is_given_time() -> None:
    """The ping that asks for batches queues behind them: on a slow line its answer takes longer than `grace`."""
    active, _ = live()
    stream(active, 0, 1, at(1))
    active.on_timer(at(9))
    ping = take(active, fx.Send)
    assert ping.bulk
    active.on_timer(at(16))
    assert active.state is State.LIVE
    active.on_timer(at(26))
    assert active.state is State.CLOSED


# -- streaming -------------------------------------------------------------------------------------------------


def test_a_change_travels_and_is_acknowledged() -> None:
    active, passive = live()
    (changes,) = stream(active, 0, 3, at(1), whole=b"w" * 16)
    passive.receive(frame(changes), at(1))
    assert take(passive, fx.Apply).batch == changes.batch  # type: ignore[union-attr]
    passive.applied(cursor(3), Totals(1, 1), [], [], False, at(1))
    pass_on(passive, active, at(1))
    ack = take(active, fx.Acked)
    assert (ack.start, ack.have, ack.confirmed, ack.clear) == (START, cursor(3), [b"w" * 16], 3)
    active.acked_done(at(1))
    assert active.next_timer() == at(9).mono


def test_one_batch_is_applied_at_a_time_in_order() -> None:
    _, passive = live()
    for start in range(3):
        passive.receive(frame(m.Changes(batch(start, start + 1))), at())
    assert take(passive, fx.Apply).batch.end.seq == 1
    passive.applied(cursor(1), Totals(1, 1), [], [], False, at())
    assert take(passive, fx.Apply).batch.end.seq == 2


def test_a_gap_is_told_once_and_the_sender_goes_back() -> None:
    active, passive = live()
    lost = stream(active, 0, 2, at(1))
    later = [*stream(active, 2, 4, at(2)), *stream(active, 4, 5, at(3))]
    assert len(lost) == 1
    for message in later:
        passive.receive(frame(message), at(3))
    told = sent(passive)
    assert told == [m.Ack(START, Totals(), gap=True)]
    active.receive(frame(told[0]), at(3))
    assert take(active, fx.Read).after == START
    assert take(active, fx.Acked).totals == Totals()


def test_a_read_from_before_the_rewind_is_discarded() -> None:
    active, _ = live()
    stream(active, 0, 2, at(1))
    active.wake(at(2))
    assert take(active, fx.Read).after.seq == 2
    active.receive(frame(m.Ack(START, Totals(), gap=True)), at(2))
    active.effects.clear()
    active.read_done(batch(2, 4), cursor(4), False, at(2))
    assert sent(active) == []
    assert take(active, fx.Read).after == START


def test_a_lost_batch_is_found_by_a_ping() -> None:
    active, _ = live()
    stream(active, 0, 2, at(1))
    active.on_timer(at(9))
    (ping,) = sent(active)
    active.receive(frame(m.Pong(ping.number, CLOCK, START, START)), at(9))  # type: ignore[union-attr]
    assert take(active, fx.Read).after == START


def test_a_batch_that_only_waits_is_not_sent_again() -> None:
    active, _ = live()
    stream(active, 0, 2, at(1))
    active.on_timer(at(9))
    (ping,) = sent(active)
    active.receive(frame(m.Pong(ping.number, CLOCK, START, cursor(2))), at(9))  # type: ignore[union-attr]
    assert not active.effects


def test_a_lost_acknowledgement_is_asked_for_again() -> None:
    active, _ = live()
    stream(active, 0, 2, at(1))
    active.on_timer(at(9))
    (ping,) = sent(active)
    active.receive(frame(m.Pong(ping.number, CLOCK, cursor(2), cursor(2))), at(9))  # type: ignore[union-attr]
    assert take(active, fx.Acked).have == cursor(2)
    (empty,) = sent(active)
    assert empty.batch == Batch(cursor(2), cursor(2), [], [])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "sign", [m.Ping(1, CLOCK, 3), m.Pong(0, CLOCK, START, START, 3)], ids=["ping", "pong"]
)
def test_a_lost_account_of_a_batch_that_came_twice_is_asked_for_again(sign: m.Message) -> None:
    """Its acknowledgement confirms nothing new: only the account tells that there was one."""
    for side in live():
        side.receive(frame(m.Ack(START, Totals(2, 2))), at(1))
        side.receive(frame(sign), at(2))
        asked = [message for message in sent(side) if isinstance(message, m.Changes)]
        assert [message.batch for message in asked] == [Batch(START, START, [], [])]
        side.receive(frame(m.Ack(START, Totals(3, 2, duplicate=1))), at(3))
        side.receive(frame(sign), at(4))
        assert not [message for message in sent(side) if isinstance(message, m.Changes)]


def test_an_acknowledgement_of_what_was_never_sent_is_a_protocol_error() -> None:
    active, _ = live()
    active.receive(frame(m.Ack(cursor(9), Totals())), at())
    assert isinstance(take(active, fx.Closed).error, errors.ProtocolError)


def test_the_window_closes_and_opens() -> None:
    active, _ = live(limits=m.Limits(window=300))
    stream(active, 0, 1, at(1), size=400)
    active.wake(at(2))
    assert not active.effects
    active.receive(frame(m.Ack(cursor(1), Totals(1, 1))), at(3))
    assert take(active, fx.Read).after == cursor(1)


def test_a_peer_that_ignores_the_window_is_cut_off() -> None:
    _, passive = live(limits=m.Limits(window=1000))
    for start in range(20):
        passive.receive(frame(m.Changes(batch(start, start + 1, size=900))), at())
    assert isinstance(take(passive, fx.Closed).error, errors.ProtocolError)


def test_a_skipped_stretch_is_told_after_a_while() -> None:
    active, _ = live()
    active.wake(at(1))
    take(active, fx.Read)
    active.read_done(None, cursor(50), False, at(1))
    assert sent(active) == []
    assert active.next_timer() == at(1).mono + TIMING.advance
    active.on_timer(at(3))
    (empty,) = sent(active)
    assert empty.batch == Batch(START, cursor(50), [], [])  # type: ignore[union-attr]


def test_an_interval_collects() -> None:
    active, _ = live(timing=Timing(interval=5 * SECOND))
    active.wake(at(1))
    assert not active.effects
    assert active.next_timer() == at(5).mono
    active.on_timer(at(5))
    take(active, fx.Read)


def test_wanted_records_are_read_once_they_stand_in_the_feed_again() -> None:
    active, _ = live()
    stream(active, 0, 1, at(1))
    active.receive(frame(m.Ack(cursor(1), Totals(1, 0, 0, 0, 1), [], [b"u" * 16])), at(1))
    assert take(active, fx.Acked).want == [b"u" * 16]
    active.effects.clear()
    active.acked_done(at(2))
    take(active, fx.Read)


def test_going_live_repeats_what_the_peer_may_not_have_heard() -> None:
    side = reach(State.AGREEING)
    side.go(START, at(), totals=Totals(3, 3), want=[b"u" * 16])
    assert sent(side) == [m.Ack(START, Totals(3, 3), [], [b"u" * 16])]


def test_a_new_link_starts_at_the_head_without_a_gap() -> None:
    side = reach(State.AGREEING)
    side.go(cursor(40), at())
    assert take(side, fx.Read).after == cursor(40)
    side.read_done(batch(40, 41), cursor(41), False, at())
    (changes,) = sent(side)
    assert (changes.batch.start, changes.batch.end) == (START, cursor(41))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("said", "peer_has", "position", "begins", "reads"),
    [
        pytest.param(7, None, 7, 7, 7, id="as it said"),
        pytest.param(7, 0, 0, 0, 0, id="our feed has begun anew: from its beginning"),
        pytest.param(7, 0, 3, 0, 3, id="or from where the link began"),
        pytest.param(9, 9, 4, 9, 9, id="a place before what it has is of no use"),
    ],
)
def test_where_our_feed_goes_on(
    said: int, peer_has: int | None, position: int, begins: int, reads: int
) -> None:
    side = session(Role.ACTIVE)
    side.state = State.GREETING
    side.greet(hello(), at())
    side.receive(frame(hello(have=cursor(said))), at())
    take(side, fx.Agree)
    side.go(cursor(position), at(), peer_has=None if peer_has is None else cursor(peer_has))
    assert take(side, fx.Read).after == cursor(reads)
    sent(side)
    side.read_done(batch(reads, 20), cursor(20), False, at())
    (changes,) = sent(side)
    assert isinstance(changes, m.Changes)
    assert changes.batch.start == cursor(begins)
    side.receive(frame(m.Ack(cursor(20), Totals())), at(1))
    assert side.state is State.LIVE


def test_a_peers_feed_that_has_begun_anew_is_acknowledged_anew() -> None:
    """Its batches may have come while we were still agreeing, when we believed that we had more of the old one."""
    side = session(Role.ACTIVE)
    side.state = State.GREETING
    side.greet(hello(have=cursor(50)), at())
    side.receive(frame(hello()), at())
    take(side, fx.Agree)
    side.receive(frame(m.Changes(batch(0, 5))), at())
    side.receive(frame(m.Changes(batch(5, 9))), at())
    sent(side)
    side.go(START, at(), totals=Totals(), have=START)
    assert sent(side) == [m.Ack(START, Totals(), [], [])]
    for end in (5, 9):
        assert take(side, fx.Apply).batch.end == cursor(end)
        side.applied(cursor(end), Totals(), [], [], False, at())
        assert sent(side) == [m.Ack(cursor(end), Totals())]
    side.receive(frame(m.Changes(batch(9, 12))), at())
    assert take(side, fx.Apply).batch.end == cursor(12)


def test_a_ping_while_agreeing_is_answered_without_a_word_about_feeds() -> None:
    side = reach(State.AGREEING)
    side.receive(frame(m.Ping(3, CLOCK)), at())
    assert sent(side) == [m.Pong(0, CLOCK)]


def test_a_proof_is_told_even_to_a_peer_whose_clock_is_wrong() -> None:
    """So that it knows that it may believe the goodbye."""
    passive = reach(State.VERIFYING)
    passive.clock_offset = 400 * SECOND
    passive.proved("final", at())
    proved, bye = sent(passive)
    assert proved == m.Proved("final")
    assert isinstance(bye, m.Bye)
    assert bye.code == "clock"


def test_batches_that_come_while_agreeing_wait() -> None:
    side = reach(State.AGREEING)
    side.receive(frame(m.Changes(batch(0, 1))), at())
    assert not side.effects
    side.go(START, at())
    assert take(side, fx.Apply).batch.end.seq == 1


def test_acknowledgements_that_come_together_are_stored_together() -> None:
    active, _ = live()
    for n in range(3):
        stream(active, n, n + 1, at(n + 1))
    for n in range(1, 4):
        active.receive(frame(m.Ack(cursor(n), Totals(n, n))), at(5))
    assert take(active, fx.Acked).have == cursor(1)
    active.acked_done(at(5))
    assert not [
        effect for effect in active.effects if isinstance(effect, fx.Acked)
    ]  # each one costs a commit
    due = active.next_timer()
    assert due is not None
    assert at(5).mono < due <= at(5.2).mono
    active.on_timer(at(5.2))
    second = take(active, fx.Acked)
    assert (second.start, second.have, second.totals) == (cursor(1), cursor(3), Totals(3, 3))


def test_a_record_that_went_whole_is_remembered_at_once() -> None:
    active, _ = live()
    for n in range(2):
        active.wake(at(n + 1))
        take(active, fx.Read)
        active.read_done(batch(n, n + 1, whole=b"r" * 16), cursor(n + 1), False, at(n + 1))
    for n in range(1, 3):
        active.receive(frame(m.Ack(cursor(n), Totals(n, n))), at(5))
    assert take(active, fx.Acked).confirmed
    active.acked_done(at(5))
    assert take(active, fx.Acked).confirmed


def test_what_the_peer_itself_made_the_feed_grow_by_is_not_read_to_it() -> None:
    passive = live()[1]
    before = passive.position
    passive.receive(frame(m.Changes(batch(0, 1))), at(1))
    take(passive, fx.Apply)
    passive.applied(cursor(1), Totals(1, 1), [], [], False, at(1), (before, Cursor(before.seq + 1, b"t" * 8)))
    assert passive.position == Cursor(before.seq + 1, b"t" * 8)
    passive.receive(frame(m.Changes(batch(1, 2))), at(2))
    take(passive, fx.Apply)
    unread = Cursor(before.seq + 2, b"u" * 8)
    passive.applied(cursor(2), Totals(2, 2), [], [], False, at(2), (unread, Cursor(before.seq + 3, b"v" * 8)))
    assert passive.position.seq == before.seq + 1  # something of ours came in between: it has to be read


# -- shared series of numbers -----------------------------------------------------------------------------------


def test_numbers_are_asked_for_and_given() -> None:
    active, passive = live()
    asked, given = MESSAGES["lease"], MESSAGES["leased"]
    assert isinstance(asked, m.Lease)
    assert isinstance(given, m.Leased)
    active.numbers(asked.reports, (), at())
    pass_on(active, passive, at())
    assert take(passive, fx.Numbers) == fx.Numbers(reports=asked.reports)
    passive.numbers((), given.grants, at())
    pass_on(passive, active, at())
    assert take(active, fx.Numbers) == fx.Numbers(grants=given.grants)


def test_what_is_said_of_numbers_while_agreeing_waits() -> None:
    side = reach(State.AGREEING)
    side.receive(frame(MESSAGES["lease"]), at())
    assert not side.effects
    side.go(START, at())
    take(side, fx.Numbers)


def test_a_peer_cannot_say_much_of_numbers_before_the_agreement() -> None:
    side = reach(State.AGREEING)
    while side.state is State.AGREEING:
        side.receive(frame(MESSAGES["lease"]), at())
        assert len(side._early) <= 16
    assert isinstance(take(side, fx.Closed).error, errors.ProtocolError)


def test_a_peer_that_knows_no_series_is_not_spoken_to() -> None:
    side = reach(State.GREETING)
    side.greet(hello(), at())
    side.receive(frame(hello(series=())), at())
    side.go(START, at())
    side.effects.clear()
    asked = MESSAGES["lease"]
    assert isinstance(asked, m.Lease)
    side.numbers(asked.reports, (), at())
    assert not side.effects
