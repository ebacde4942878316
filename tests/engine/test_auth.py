"""Logging in: both prove themselves, nobody else gets in, nothing can be replayed."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp.engine import auth
from syncapp.engine.auth import ActiveAuth, PassiveAuth, Throttle, Verifier, address_key, delay, derive
from syncapp.errors import (
    AmbiguousLink,
    ConfigError,
    Impostor,
    Locked,
    NoPassiveLink,
    ProtocolError,
    SyncError,
    UnknownLinkCode,
    WrongPassword,
)

SALT = b"0123456789abcdef"


def verifier(password: str = "secret", iterations: int = auth.MIN_ITERATIONS) -> Verifier:
    return derive(password, SALT, iterations)


def log_in(password: str, candidates: list[tuple[int, Verifier]]) -> int:
    """A whole log-in; gives the link that it led to."""
    active = ActiveAuth(password)
    passive = PassiveAuth(candidates, active.first())
    link, server_final = passive.verify(active.proof(passive.challenge()))
    active.check(server_final)
    return link


@pytest.mark.parametrize("password", ["secret", "пароль", "p,=a", "with space", "x" * 200])
def test_the_same_password_on_both_sides(password: str) -> None:
    assert log_in(password, [(7, verifier(password))]) == 7


def test_the_proof_tells_which_link_it_is() -> None:
    candidates = [(number, verifier(f"password {number}")) for number in range(4)]
    for number in range(4):
        assert log_in(f"password {number}", candidates) == number


def test_wrong_password() -> None:
    with pytest.raises(WrongPassword):
        log_in("guess", [(1, verifier()), (2, verifier("other"))])


def test_two_links_with_one_password() -> None:
    with pytest.raises(AmbiguousLink):
        log_in("secret", [(1, verifier()), (2, verifier("other")), (3, verifier())])


def test_two_links_with_one_password_are_not_told_to_who_does_not_know_it() -> None:
    with pytest.raises(WrongPassword):
        log_in("guess", [(1, verifier()), (3, verifier())])


def test_nobody_to_talk_to() -> None:
    with pytest.raises(NoPassiveLink):
        PassiveAuth([], ActiveAuth("secret").first())
    with pytest.raises(UnknownLinkCode):
        PassiveAuth([], ActiveAuth("secret").first(), code="X")


def test_links_of_different_salts_cannot_share_a_challenge() -> None:
    with pytest.raises(ValueError, match="share salt"):
        PassiveAuth([(1, verifier()), (2, derive("x", b"another salt 123", 4096))], ActiveAuth("x").first())


def test_the_challenge_does_not_tell_the_number_of_links() -> None:
    one = PassiveAuth([(1, verifier())], ActiveAuth("x").first()).challenge()
    many = PassiveAuth([(n, verifier(str(n))) for n in range(3)], ActiveAuth("x").first()).challenge()
    assert len(one) == len(many)
    assert one.split(",")[1:] == many.split(",")[1:]


# -- who listens in, and who pretends -----------------------------------------------------------------------


def test_a_recorded_log_in_is_worth_nothing() -> None:
    active = ActiveAuth("secret")
    first = active.first()
    passive = PassiveAuth([(1, verifier())], first)
    proof = active.proof(passive.challenge())
    passive.verify(proof)
    again = PassiveAuth([(1, verifier())], first)
    again.challenge()
    with pytest.raises(WrongPassword):
        again.verify(proof)


def test_a_program_that_does_not_know_the_password_is_found_out() -> None:
    active = ActiveAuth("secret")
    impostor = PassiveAuth([(1, verifier("guess"))], active.first())
    active.proof(impostor.challenge())
    for answer in (
        "v=" + base64.b64encode(bytes(32)).decode(),
        "v=",
        "",
        "e=other-error",
        "e=<b>",
        "nonsense",
        "v=AAAA",
        "x" * 5000,
    ):
        copy = ActiveAuth("secret")
        copy.proof(PassiveAuth([(1, verifier("guess"))], copy.first()).challenge())
        with pytest.raises((Impostor, ProtocolError)):
            copy.check(answer)


def test_an_answer_recorded_from_the_true_program_does_not_help_an_impostor() -> None:
    recorded = ActiveAuth("secret")
    passive = PassiveAuth([(1, verifier())], recorded.first())
    _, server_final = passive.verify(recorded.proof(passive.challenge()))
    victim = ActiveAuth("secret")
    victim.proof(PassiveAuth([(1, verifier())], victim.first()).challenge())
    with pytest.raises(Impostor):
        victim.check(server_final)


def challenge(active: ActiveAuth, **changed: str) -> str:
    """A challenge of a server of our own making."""
    nonce = active.first().rpartition("r=")[2]
    parts = {"r": nonce + "server", "s": base64.b64encode(SALT).decode(), "i": "4096", **changed}
    return ",".join(f"{key}={value}" for key, value in parts.items() if value != "-")


@pytest.mark.parametrize(
    "changed",
    [
        {"i": "4095"},
        {"i": "1"},
        {"i": "0"},
        {"i": "-4096"},
        {"i": "200001"},
        {"i": "5000000"},
        {"i": "9" * 400},
        {"i": "4096.0"},
        {"i": "-"},
        {"s": "-"},
        {"s": ""},
        {"s": "AAAA"},
        {"s": "not base64!"},
        {"r": "-"},
        {"r": "anothernonce"},
        {"r": ""},
        {"m": "mandatory"},
        {"s": "A" * 5000},
    ],
)
def test_challenges_that_ask_for_too_much_or_too_little(changed: dict[str, str]) -> None:
    active = ActiveAuth("secret")
    with pytest.raises(ProtocolError):
        active.proof(challenge(active, **changed))


def test_the_bounds_themselves_are_taken() -> None:
    for iterations in (auth.MIN_ITERATIONS, auth.MAX_ITERATIONS):
        active = ActiveAuth("secret")
        assert active.proof(challenge(active, i=str(iterations)))


@pytest.mark.parametrize(
    "first",
    [
        "",
        "n,,",
        "n,,n=syncapp",
        "n,,r=abc,n=syncapp",
        "n,,n=root,r=abc",
        "n,a=root,n=syncapp,r=abc",
        "p=tls-unique,,n=syncapp,r=abc",
        "n,,n=syncapp,r=",
        "n,,n=syncapp,r=a\x00b",
        "n,,m=x,n=syncapp,r=abc",
        "n,,n=syncapp,r=" + "a" * 5000,
    ],
)
def test_openings_that_are_none(first: str) -> None:
    with pytest.raises(ProtocolError):
        PassiveAuth([(1, verifier())], first)


@given(st.data())
def test_a_changed_message_never_leads_in(data: Any) -> None:
    """Flip one character of one message under way: whoever gets it refuses, with an error of ours."""
    candidates = [(1, verifier())]
    active = ActiveAuth("secret")
    which = data.draw(st.sampled_from(["first", "challenge", "proof", "final"]))

    def under_way(name: str, message: str) -> str:
        if name != which:
            return message
        at = data.draw(st.integers(0, len(message) - 1))
        character = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
        return message[:at] + character + message[at + 1 :]

    sent: dict[str, str] = {}
    try:
        sent["first"] = active.first()
        first = under_way("first", sent["first"])
        passive = PassiveAuth(candidates, first)
        sent["challenge"] = passive.challenge()
        got = under_way("challenge", sent["challenge"])
        sent["proof"] = active.proof(got)
        proof = under_way("proof", sent["proof"])
        _, sent["final"] = passive.verify(proof)
        final = under_way("final", sent["final"])
        active.check(final)
    except SyncError:
        return
    # It may only have gone well if what was changed still means the same, such as the last bits of a base64 text.
    arrived = {"first": first, "challenge": got, "proof": proof, "final": final}
    for name, message in sent.items():
        assert _meaning(arrived[name]) == _meaning(message)


def _meaning(message: str) -> list[Any]:
    found: list[Any] = []
    for part in message.split(","):
        key, _, value = part.partition("=")
        found.append((key, base64.b64decode(value) if key in ("p", "v", "s") else value))
    return found


# -- passwords and verifiers --------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["", "\x00", "a\x07b", "\ud800", "\ue000"])
def test_passwords_that_cannot_be_used(password: str) -> None:
    with pytest.raises(ConfigError):
        ActiveAuth(password)
    with pytest.raises(ConfigError):
        derive(password, SALT)


def test_passwords_are_compared_as_people_see_them() -> None:
    assert log_in("e\u0301", [(1, verifier("é"))]) == 1


def test_a_verifier_can_be_kept_as_text() -> None:
    kept = verifier().to_text()
    assert Verifier.from_text(kept) == verifier()
    assert "secret" not in kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "SCRAM-SHA-1$4096:QQ==$QQ==:QQ==",
        "SCRAM-SHA-256$4096:QQ==$QQ==:QQ==",
        "SCRAM-SHA-256$a:b$c:d",
    ],
)
def test_other_texts_are_no_verifiers(text: str) -> None:
    with pytest.raises(ValueError, match="not a verifier"):
        Verifier.from_text(text)


def test_keys_stay_out_of_logs() -> None:
    assert repr(verifier()) == "Verifier(iterations=4096)"


# -- slowing down -------------------------------------------------------------------------------------------


def test_delays() -> None:
    assert [delay(n) for n in range(10)] == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert delay(10**6) == 60


def test_a_guesser_waits_and_others_do_not() -> None:
    throttle = Throttle()
    for _ in range(3):
        throttle.failed(["link 1", "10.0.0.1"], now=100)
    with pytest.raises(Locked) as caught:
        throttle.check(["link 2", "10.0.0.1"], now=100.5)
    assert caught.value.params["seconds"] == 2
    throttle.check(["link 2", "10.0.0.2"], now=100.5)
    throttle.check(["link 2", "10.0.0.1"], now=102)


def test_a_thousand_guesses_take_most_of_a_day() -> None:
    throttle, now = Throttle(), 0.0
    for _ in range(1000):
        now += throttle.wait("link", now)
        throttle.failed(["link"], now)
    assert now > 16 * 3600


def test_success_and_time_forgive() -> None:
    throttle = Throttle()
    for _ in range(5):
        throttle.failed(["a", "b"], now=0)
    throttle.succeeded(["a"])
    assert throttle.wait("a", now=1) == 0
    assert throttle.wait("b", now=1) > 0
    throttle.failed(["b"], now=auth.FORGET_AFTER + 1)
    assert throttle.wait("b", now=auth.FORGET_AFTER + 1) == 0


def test_memory_is_bounded() -> None:
    throttle = Throttle(most_keys=10)
    for number in range(1000):
        throttle.failed([str(number)], now=0)
    assert len(throttle._failures) == 10


@pytest.mark.parametrize(
    ("remote", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("unknown", "unknown"),
    ],
)
def test_what_an_address_counts_as(remote: str, key: str) -> None:
    assert address_key(remote) == key
