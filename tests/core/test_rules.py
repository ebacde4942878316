"""Policies: what they say on each side of a link, and that networks which keep them come to rest, equal."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncapp.core.clock import Version, edit, join, make_origin, sees
from syncapp.core.merge import Merged, Outcome, merge_field
from syncapp.core.rules import DEFAULT, Merge, Policy, Rule, Stance, stance

A, B, C, D = (make_origin(bytes([n]) * 16, 1) for n in (1, 2, 3, 4))


def test_what_a_policy_says_on_each_side() -> None:
    said = {(policy, active): stance(policy, active=active) for policy in Policy for active in (True, False)}
    assert said == {
        (Policy.LATEST, True): Stance.LATEST,
        (Policy.LATEST, False): Stance.LATEST,
        (Policy.ACTIVE, True): Stance.OURS,
        (Policy.ACTIVE, False): Stance.THEIRS,
        (Policy.PASSIVE, True): Stance.THEIRS,
        (Policy.PASSIVE, False): Stance.OURS,
        (Policy.ASK, True): Stance.ASK,
        (Policy.ASK, False): Stance.ASK,
    }


def test_a_rule_in_one_word() -> None:
    assert DEFAULT.text() == "latest"
    assert Rule(Policy.ASK).text() == "ask"
    assert Rule(merge=Merge.SUM).text() == "sum"


EARLY, LATE = Version(5, A), Version(7, B)


@pytest.mark.parametrize(
    ("stance", "ours", "theirs", "outcome"),
    [
        (Stance.OURS, EARLY, LATE, Outcome.CONFLICT_KEEP),
        (Stance.OURS, LATE, EARLY, Outcome.CONFLICT_KEEP),
        (Stance.THEIRS, EARLY, LATE, Outcome.CONFLICT_APPLY),
        (Stance.THEIRS, LATE, EARLY, Outcome.CONFLICT_APPLY),
        (Stance.ASK, EARLY, LATE, Outcome.ASK),
        (Stance.ASK, LATE, EARLY, Outcome.ASK),
    ],
)
def test_a_true_conflict_is_the_policys(
    stance: Stance, ours: Version, theirs: Version, outcome: Outcome
) -> None:
    merged = merge_field(ours, theirs, equal=False, stance=stance)
    assert merged.outcome is outcome
    assert outcome.conflict is (outcome is not Outcome.ASK)
    if outcome is Outcome.ASK:
        assert merged.version == ours, "nothing is joined before somebody decides"
        assert not outcome.writes
    else:
        won, lost = (theirs, ours) if outcome.writes else (ours, theirs)
        assert merged.version == join(won, lost)


@pytest.mark.parametrize("stance", Stance)
def test_an_ordinary_later_edit_is_nobodys_choice(stance: Stance) -> None:
    later = Version(9, B, ((A, 5),))
    assert merge_field(EARLY, later, equal=False, stance=stance) == Merged(Outcome.APPLY, later)
    assert merge_field(later, EARLY, equal=False, stance=stance) == Merged(Outcome.KEEP, later)
    assert merge_field(EARLY, EARLY, equal=False, stance=stance).outcome is Outcome.DUPLICATE
    assert merge_field(None, EARLY, equal=False, stance=stance).outcome is Outcome.APPLY
    assert merge_field(EARLY, None, equal=False, stance=stance).outcome is Outcome.BASELINE


@pytest.mark.parametrize("stance", Stance)
def test_equal_values_are_no_conflict_under_any_policy(stance: Stance) -> None:
    assert merge_field(EARLY, LATE, equal=True, stance=stance).outcome is Outcome.APPLY
    assert merge_field(LATE, EARLY, equal=True, stance=stance).outcome is Outcome.KEEP


# -- laws of the default ------------------------------------------------------------------------------------

moments = st.integers(1, 6)
versions = st.builds(
    lambda origin, time, seen: Version(
        time, origin, tuple(sorted((o, t) for o, t in seen.items() if o != origin and t < time))
    ),
    st.sampled_from([A, B, C]),
    moments,
    st.dictionaries(st.sampled_from([A, B, C]), moments, max_size=2),
)


def joined(one: Version, other: Version) -> Version:
    version = merge_field(one, other, equal=False).version
    assert version is not None
    return version


@given(versions, versions)
def test_latest_is_commutative(one: Version, other: Version) -> None:
    assert joined(one, other) == joined(other, one)


@given(versions, versions, versions)
def test_latest_is_associative(one: Version, two: Version, three: Version) -> None:
    assert joined(joined(one, two), three) == joined(one, joined(two, three))


@given(versions, versions)
def test_latest_is_idempotent(one: Version, other: Version) -> None:
    assert joined(one, one) == one
    assert joined(joined(one, other), other) == joined(one, other)


# -- networks -----------------------------------------------------------------------------------------------


class Replica:
    """One program's state of one field, with a stance for each neighbour."""

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self.stances: dict[bytes, Stance] = {}
        self.version: Version | None = None
        self.value: Any = None
        self.questions: dict[bytes, tuple[Version, Any]] = {}

    def edit(self, at: int, value: Any) -> None:
        self.version, self.value = edit(at, self.origin, self.version), value

    def decide(self, at: int, value: Any) -> None:
        known = self.version
        for version, _ in self.questions.values():
            known = version if known is None else join(known, version)
        self.version, self.value = edit(at, self.origin, known), value
        self._close()

    def take(self, sender: bytes, version: Version, value: Any) -> Outcome:
        merged = merge_field(self.version, version, equal=self.value == value, stance=self.stances[sender])
        if merged.outcome is Outcome.ASK:
            asked = self.questions.get(sender)
            if asked is None or not sees(asked[0], version):
                self.questions[sender] = (version, value)
        elif merged.outcome.writes:
            self.value = value
        self.version = merged.version
        self._close()
        return merged.outcome

    def _close(self) -> None:
        """A question ends with a version that has seen it, or with values that are equal."""
        for sender, (version, value) in list(self.questions.items()):
            if self.version is None:
                continue
            if not sees(self.version, version) and value == self.value:
                later, earlier = sorted((self.version, version), key=lambda v: v.stamp, reverse=True)
                self.version = join(later, earlier)
            if sees(self.version, version):
                del self.questions[sender]


class Network:
    """Replicas in a pair, a star or a ring; messages are states, which may arrive late, twice, or not at all."""

    def __init__(self, policy: Policy, links: list[tuple[bytes, bytes]]) -> None:
        """``links``: (active, passive)."""
        self.replicas = {origin: Replica(origin) for link in links for origin in link}
        self.links = links
        self.sent: list[tuple[bytes, bytes, Version, Any]] = []
        self.now = 0
        for active, passive in links:
            self.replicas[active].stances[passive] = stance(policy, active=True)
            self.replicas[passive].stances[active] = stance(policy, active=False)

    def send(self, source: bytes) -> None:
        replica = self.replicas[source]
        if replica.version is not None:
            for peer in replica.stances:
                self.sent.append((source, peer, replica.version, replica.value))

    def deliver(self, message: tuple[bytes, bytes, Version, Any]) -> Outcome:
        source, target, version, value = message
        outcome = self.replicas[target].take(source, version, value)
        if outcome.writes:
            self.send(target)
        return outcome

    def run(self, seed: int, steps: int) -> None:
        """Edits at random, while messages arrive in any order, some of them again and again."""
        rng = random.Random(seed)
        origins = sorted(self.replicas)
        for step in range(steps):
            if rng.random() < 0.4 or not self.sent:
                source = rng.choice(origins)
                self.now += rng.randrange(3)  # clocks that stand still are as good as those that go
                self.replicas[source].edit(
                    self.now, f"{origins.index(source)}.{rng.randrange(4)}.{step // 3}"
                )
                self.send(source)
            else:
                self.deliver(rng.choice(self.sent))

    def heal(self, seed: int) -> None:
        """Everybody tells everybody else until nothing changes any more."""
        rng = random.Random(seed)
        for _ in range(30):
            before = [(r.version, r.value) for r in self.replicas.values()]
            pending = [
                (source, peer, replica.version, replica.value)
                for source, replica in self.replicas.items()
                if replica.version is not None
                for peer in replica.stances
            ]
            rng.shuffle(pending)
            for message in pending:
                self.deliver(message)
            if before == [(r.version, r.value) for r in self.replicas.values()]:
                return
        raise AssertionError("it does not come to rest")

    @property
    def values(self) -> set[Any]:
        return {replica.value for replica in self.replicas.values()}


PAIR = [(A, B)]
BRANCHES = [(A, D), (B, D), (C, D)]  # each dials the office
OFFICE_DIALS = [(D, A), (D, B), (C, D)]
RING = [(A, B), (B, C), (C, D), (D, A)]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([Policy.LATEST, Policy.ACTIVE, Policy.PASSIVE]),
    st.sampled_from([PAIR, BRANCHES, OFFICE_DIALS]),
    st.integers(0, 2**32),
)
def test_pairs_and_stars_come_to_rest_equal(
    policy: Policy, links: list[tuple[bytes, bytes]], seed: int
) -> None:
    network = Network(policy, links)
    network.run(seed, 40)
    network.heal(seed)
    assert len(network.values) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_latest_comes_to_rest_in_a_ring(seed: int) -> None:
    network = Network(Policy.LATEST, RING)
    network.run(seed, 40)
    network.heal(seed)
    assert len(network.values) == 1


@pytest.mark.parametrize(("policy", "winner"), [(Policy.ACTIVE, "active"), (Policy.PASSIVE, "passive")])
@pytest.mark.parametrize("late", ["active", "passive"])
def test_in_a_pair_the_side_that_always_wins_does(policy: Policy, winner: str, late: str) -> None:
    network = Network(policy, PAIR)
    active, passive = network.replicas[A], network.replicas[B]
    active.edit(9 if late == "active" else 5, "active")
    passive.edit(9 if late == "passive" else 5, "passive")
    network.heal(1)
    assert network.values == {winner}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([PAIR, BRANCHES, RING]), st.integers(0, 2**32))
def test_asked_programs_keep_their_own_until_a_decision_reaches_everybody(
    links: list[tuple[bytes, bytes]], seed: int
) -> None:
    network = Network(Policy.ASK, links)
    network.run(seed, 30)
    network.heal(seed)
    rng = random.Random(seed)
    for _ in range(60):
        open_ones = [replica for replica in network.replicas.values() if replica.questions]
        if not open_ones:
            break
        # Whoever has a question decides; others may decide at the same moment, which asks anew.
        for replica in rng.sample(open_ones, rng.choice([1, len(open_ones)])):
            network.now += 1
            values = [replica.value, *(value for _, value in replica.questions.values())]
            replica.decide(network.now, rng.choice(values))
        network.heal(seed)
    assert len(network.values) == 1
    assert not any(replica.questions for replica in network.replicas.values())


def test_a_plain_edit_is_no_decision_and_the_question_stays() -> None:
    network = Network(Policy.ASK, PAIR)
    active, passive = network.replicas[A], network.replicas[B]
    active.edit(5, "a")
    passive.edit(6, "b")
    network.heal(1)
    active.edit(7, "a2")
    network.heal(2)
    assert (active.value, passive.value) == ("a2", "b")
    assert [value for _, value in active.questions.values()] == ["b"]
    assert [value for _, value in passive.questions.values()] == ["a2"]
    passive.edit(8, "a2")
    network.heal(3)
    assert network.values == {"a2"}
    assert active.questions == passive.questions == {}, "equal values leave nothing to decide"
