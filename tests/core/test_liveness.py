"""Deletions, edits and revivals of one record: every program comes to the same end, and nothing old brings it back."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncapp.core.clock import Version, edit, make_origin, sees
from syncapp.core.liveness import (
    Ruling,
    bury,
    known_together,
    on_alive,
    on_deletion,
    on_edits,
    returned,
    revival,
)
from syncapp.core.merge import merge_field

A, B, C = (make_origin(bytes([n]) * 16, 1) for n in (1, 2, 3))
NAME, PHONE = 11, 12


# -- tables ---------------------------------------------------------------------------------------------------


def test_a_deletion_has_seen_and_is_above_all_that_its_author_knew() -> None:
    known = [Version(5, A), Version(9, B, ((C, 8),)), None]
    grave = bury(3, A, known)
    assert grave.time > 9
    assert all(sees(grave, version) for version in known if version)
    assert sees(grave, Version(8, C))
    assert bury(50, A, known).time == 50
    assert bury(50, A, []) == Version(50, A)


@pytest.mark.parametrize(
    ("status", "edits", "theirs", "ruling", "lost"),
    [
        (None, {}, Version(10, A), Ruling.DELETE, ()),
        (None, {NAME: Version(5, A)}, Version(10, A), Ruling.DELETE, ()),
        (None, {NAME: Version(5, B)}, Version(10, A, ((B, 5),)), Ruling.DELETE, ()),
        # unseen, below: lost with the record
        (None, {NAME: Version(5, B), PHONE: Version(6, A)}, Version(10, A), Ruling.DELETE, (NAME,)),
        (None, {NAME: Version(6, B)}, Version(10, A, ((B, 5),)), Ruling.DELETE, (NAME,)),
        # unseen, above: alive
        (None, {NAME: Version(11, B), PHONE: Version(3, B)}, Version(10, A), Ruling.REVIVE, ()),
        (None, {NAME: Version(10, B)}, Version(10, A), Ruling.REVIVE, ()),
        (None, {NAME: Version(10, A)}, Version(10, B), Ruling.DELETE, (NAME,)),
        # a status that is known already
        (Version(12, B, ((A, 10),)), {}, Version(10, A), Ruling.SUPERSEDED, ()),
        (Version(12, B), {}, Version(10, A), Ruling.LOST, ()),
        (Version(10, A), {}, Version(10, A), Ruling.DUPLICATE, ()),
        (Version(8, B), {}, Version(10, A), Ruling.DELETE, ()),
        (Version(12, B), {NAME: Version(11, B)}, Version(20, A, ((B, 12),)), Ruling.DELETE, ()),
    ],
)
def test_a_deletion_comes(
    status: Version | None, edits: dict[int, Version], theirs: Version, ruling: Ruling, lost: tuple[int, ...]
) -> None:
    found = on_deletion(status, edits, theirs, C, revives=True)
    assert (found.ruling, found.lost) == (ruling, lost)
    assert found.version.stamp >= theirs.stamp
    assert sees(found.version, theirs)
    again = on_deletion(found.version, edits, theirs, C, revives=True)
    assert again.ruling in (Ruling.DUPLICATE, Ruling.SUPERSEDED), "redelivery decides nothing anew"


def test_a_revival_is_dated_just_above_its_edit() -> None:
    """A deletion that a person made after that edit must still win."""
    found = on_deletion(None, {NAME: Version(20, B)}, Version(10, A), B, revives=True)
    assert found.version.stamp == (21, B)
    later = bury(30, A, [Version(20, B)])
    assert on_alive(later, found.version, A, alive=False).ruling is Ruling.LOST
    assert on_deletion(found.version, {NAME: Version(20, B)}, later, B, revives=True).ruling is Ruling.DELETE


def test_where_the_status_only_comes_in_the_deletion_always_wins() -> None:
    newer = {NAME: Version(20, B)}
    found = on_deletion(None, newer, Version(10, A), C, revives=False, one_way=True)
    assert (found.ruling, found.lost) == (Ruling.DELETE, (NAME,))
    assert found.version.time > 20, "or the edit would revive the record at the next program"
    assert sees(found.version, newer[NAME])
    local = Version(30, C)
    found = on_deletion(local, newer, Version(10, A), C, revives=False, one_way=True)
    assert found.ruling is Ruling.DELETE
    assert found.version.time > 30
    decided = Version(30, C, ((A, 10),))
    assert (
        on_deletion(decided, {}, Version(10, A), C, revives=False, one_way=True).ruling is Ruling.SUPERSEDED
    )


@pytest.mark.parametrize(
    ("grave", "edits", "newer", "lost"),
    [
        (Version(10, A), {NAME: Version(5, A)}, [], ()),
        (Version(10, A), {NAME: None}, [], ()),
        (Version(10, A), {NAME: Version(5, B), PHONE: Version(5, A)}, [], (NAME,)),
        (Version(10, A, ((B, 5),)), {NAME: Version(5, B)}, [], ()),
        (Version(10, A), {NAME: Version(11, B), PHONE: Version(2, B)}, [Version(11, B)], (PHONE,)),
        (None, {NAME: Version(11, B)}, [], ()),
    ],
)
def test_edits_come_for_a_dead_record(
    grave: Version | None, edits: dict[int, Version | None], newer: list[Version], lost: tuple[int, ...]
) -> None:
    assert on_edits(grave, edits) == (newer, lost)


def test_the_word_alive() -> None:
    grave = Version(10, A)
    assert on_alive(grave, Version(12, B, ((A, 10),)), C, alive=False).ruling is Ruling.REVIVE
    assert on_alive(grave, Version(12, B), C, alive=False).ruling is Ruling.REVIVE
    assert on_alive(grave, Version(8, B), C, alive=False).ruling is Ruling.LOST
    assert on_alive(Version(10, A, ((B, 8),)), Version(8, B), C, alive=False).ruling is Ruling.SUPERSEDED
    source = on_alive(Version(20, C), Version(8, B), C, alive=False, one_way=True)
    assert source.ruling is Ruling.REVIVE
    assert source.version.time > 20
    assert on_alive(None, Version(8, B), C, alive=True) == (Ruling.REVIVE, Version(8, B), ())


@pytest.mark.parametrize(
    ("known", "theirs", "version", "anew"),
    [
        (None, None, None, False),
        (None, Version(5, B), Version(5, B), False),
        (Version(5, B), Version(5, B), Version(5, B), False),
        (Version(5, A), Version(7, B), Version(7, B, ((A, 5),)), False),
        (Version(5, A), None, Version(6, C, ((A, 5),)), True),
        (Version(5, A), Version(3, B), Version(6, C, ((A, 5), (B, 3))), True),
    ],
)
def test_fields_of_a_record_that_comes_back(
    known: Version | None, theirs: Version | None, version: Version | None, anew: bool
) -> None:
    assert returned(known, theirs, C) == (version, anew)


def test_known_together_is_the_newest_with_all_seen() -> None:
    found = known_together([Version(3, A), None, Version(9, B), Version(9, C)])
    assert found == Version(9, C, ((A, 3), (B, 9)))
    assert known_together([None]) is None


# -- any order ------------------------------------------------------------------------------------------------


class Replica:
    """One program's state of one record; `take` is what the store does with another one's."""

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self.alive = True
        self.status: Version | None = None
        self.fields: dict[int, tuple[Version, Any]] = {}

    def edit(self, at: int, field: int, value: Any) -> None:
        if self.alive:
            known = self.fields.get(field)
            self.fields[field] = (edit(at, self.origin, known[0] if known else None), value)

    def delete(self, at: int) -> None:
        if self.alive:
            versions = [version for version, _ in self.fields.values()]
            self.alive, self.status = False, bury(at, self.origin, [self.status, *versions])

    def restore(self, at: int) -> None:
        """A person takes the deletion back: an ordinary edit of the status."""
        if not self.alive and self.status is not None:
            self.alive, self.status = True, edit(at, self.origin, self.status)

    def take(self, other: Replica) -> None:
        if not other.alive:
            self._deletion(other.status)
        elif self.alive:
            self._status(other.status)
            for field, (version, value) in other.fields.items():
                self._field(field, version, value)
        else:
            self._reborn(other)

    def _deletion(self, theirs: Version | None) -> None:
        assert theirs is not None
        if not self.alive:
            self.status = merge_field(self.status, theirs, equal=True).version
            return
        edits = {field: version for field, (version, _) in self.fields.items()}
        found = on_deletion(self.status, edits, theirs, self.origin, revives=True)
        self.status = found.version
        self.alive = found.ruling is not Ruling.DELETE

    def _status(self, theirs: Version | None) -> None:
        if theirs is not None:
            self.status = merge_field(self.status, theirs, equal=True).version

    def _field(self, field: int, version: Version, value: Any) -> None:
        known = self.fields.get(field)
        merged = merge_field(known[0] if known else None, version, equal=bool(known and known[1] == value))
        assert merged.version is not None
        self.fields[field] = (merged.version, value if merged.outcome.writes or known is None else known[1])

    def _reborn(self, other: Replica) -> None:
        edits = {field: version for field, (version, _) in other.fields.items()}
        newer, _ = on_edits(self.status, edits)
        explicit = on_alive(self.status, other.status, self.origin, alive=False) if other.status else None
        if explicit is not None and explicit.ruling is Ruling.REVIVE:
            self.status = explicit.version
        elif newer:
            assert self.status is not None
            self.status = revival(self.status, newer, self.origin)
        else:
            self.status = explicit.version if explicit else self.status
            return
        self.alive = True
        for field in {*self.fields, *other.fields}:
            known, came = self.fields.get(field), other.fields.get(field)
            version, _ = returned(known[0] if known else None, came[0] if came else None, self.origin)
            if version is None or came is None:
                self.fields.pop(field, None)
                continue
            self.fields[field] = (version, came[1])


deeds = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["edit", "edit", "delete", "restore", "take", "take", "take"]),
        st.integers(1, 40),
        st.integers(0, 3),
    ),
    max_size=18,
)


@settings(max_examples=500, deadline=None)
@given(deeds, st.integers(2, 4), st.randoms(use_true_random=False))
def test_programs_agree_on_who_lives(
    steps: list[tuple[int, str, int, int]], count: int, rng: random.Random
) -> None:
    replicas = [Replica(make_origin(bytes([n + 1]) * 16, 1)) for n in range(count)]
    seed = replicas[0]
    for field in (NAME, PHONE):
        seed.edit(1, field, "first")
    for replica in replicas[1:]:
        replica.take(seed)
    last_words = [(1, b"")]
    deletions: list[tuple[int, bytes]] = []
    for number, (who, what, at, other) in enumerate(steps):
        replica = replicas[who % count]
        at = 1_000 * at + 10 * number
        was = (replica.alive, replica.status)
        if what == "edit":
            field = rng.choice((NAME, PHONE))
            replica.edit(at, field, number)
            if replica.alive:
                last_words.append(replica.fields[field][0].stamp)
        elif what == "delete":
            replica.delete(at)
        elif what == "restore":
            replica.restore(at)
        else:
            replica.take(replicas[other % count])
        if what in ("delete", "restore") and was != (replica.alive, replica.status):
            assert replica.status is not None
            (deletions if what == "delete" else last_words).append(replica.status.stamp)
    settle(replicas, rng)
    assert len({(r.alive, r.status.stamp if r.status else None) for r in replicas}) == 1
    if not deletions:
        assert replicas[0].alive
    elif max(deletions)[0] > max(last_words)[0] + 50:  # a consequence is dated a little above its cause
        assert not replicas[0].alive, "nothing was said after the last deletion, so nothing may undo it"
    elif replicas[0].alive:
        values = [{f: (v.stamp, value) for f, (v, value) in r.fields.items()} for r in replicas]
        assert all(found == values[0] for found in values)


def settle(replicas: list[Replica], rng: random.Random) -> None:
    """Everybody tells everybody, in any order, until nothing changes."""
    for _ in range(12):
        before = [(r.alive, r.status, dict(r.fields)) for r in replicas]
        pairs = [(a, b) for a in replicas for b in replicas if a is not b]
        rng.shuffle(pairs)
        for one, other in pairs:
            one.take(other)
        if [(r.alive, r.status, dict(r.fields)) for r in replicas] == before:
            return
    raise AssertionError("no rest")
