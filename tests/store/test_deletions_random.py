"""Random lives: programs in any arrangement create, change and delete records that refer to each other; all end equal.

A failure names its seed.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from syncapp.core.changes import Batch, Record
from syncapp.core.mapping import Kind
from syncapp.store.base import RowRefused
from tests.store.mortals import LABELS, MemoryParty, send, settle, world

SHAPES = (
    ((0, 1),),
    ((0, 1), (0, 2)),
    ((0, 1), (1, 2)),
    ((0, 1), (1, 2), (2, 0)),
    ((0, 1), (0, 2), (0, 3)),
)
CLIENT, ORDER, PAYMENT, TAG, PLACE = "crm.Client", "crm.Order", "crm.Payment", "crm.Tag", "testapp.Place"
COUNTRY, TOKEN = "testapp.Country", "testapp.Token"
OWNERS = {ORDER: (CLIENT, "client"), PAYMENT: (ORDER, "order"), TOKEN: (COUNTRY, "country")}


class Lives:
    """Some programs and what happens to them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.parties = [p for p in world(self.rng.choice(SHAPES)) if isinstance(p, MemoryParty)]
        self.count = 0
        self.batches: list[tuple[MemoryParty, int, Batch]] = []

    def fresh(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def some(self, party: MemoryParty, label: str) -> str | None:
        keys = party.keys(label)
        return self.rng.choice(keys) if keys else None

    def several(self, party: MemoryParty, label: str) -> list[str]:
        keys = party.keys(label)
        return sorted(self.rng.sample(keys, min(len(keys), self.rng.randrange(3))))

    def act(self) -> None:
        party, rng = self.rng.choice(self.parties), self.rng
        party.clock.now += rng.choice((0, 0, 1_000, 1_000_000))
        deed = rng.choice(
            (self.create, self.create, self.edit, self.edit, self.edit, self.delete, self.travel, self.travel)
        )
        deed(party)

    def create(self, party: MemoryParty) -> None:
        label = self.rng.choice((CLIENT, ORDER, PAYMENT, TAG, PLACE, COUNTRY, TOKEN))
        if label == COUNTRY:
            name = self.fresh()
            party.create(COUNTRY, code=f"{self.count:02x}", name=name, iso_number=self.count)
        elif label == CLIENT:
            party.create(CLIENT, name=self.fresh(), tags=self.several(party, TAG))
        elif label == TAG:
            party.create(TAG, name=self.fresh())
        elif label == PLACE:
            parent = self.some(party, PLACE)
            party.create(PLACE, name=self.fresh(), parent=parent, near=self.several(party, PLACE))
        else:
            owner, field = OWNERS[label]
            target = self.some(party, owner)
            if target is not None:
                texts = {ORDER: "number", PAYMENT: "comment"}
                name = {texts[label]: self.fresh()} if label in texts else {}
                party.create(label, **name, **{field: target})

    def edit(self, party: MemoryParty) -> None:
        label = self.rng.choice((CLIENT, ORDER, PAYMENT, TAG, PLACE, COUNTRY, TOKEN))
        key = self.some(party, label)
        if key is None:
            return
        choices: dict[str, tuple[str, ...]] = {
            CLIENT: ("name", "phone", "tags"),
            ORDER: ("subject", "client"),
            PAYMENT: ("comment", "order"),
            TAG: ("name",),
            PLACE: ("name", "parent", "near"),
            COUNTRY: ("name",),
            TOKEN: ("country",),
        }
        name = self.rng.choice(choices[label])
        values: dict[str, Any] = {
            "tags": self.several(party, TAG),
            "near": self.several(party, PLACE),
            "client": self.some(party, CLIENT),
            "order": self.some(party, ORDER),
            "country": self.some(party, COUNTRY),
            "parent": self.rng.choice((None, self.some(party, PLACE))),
        }
        party.write(label, key, **{name: values.get(name, self.fresh()) if name in values else self.fresh()})

    def delete(self, party: MemoryParty) -> None:
        label = self.rng.choice((CLIENT, CLIENT, ORDER, PAYMENT, TAG, PLACE, COUNTRY, TOKEN))
        key = self.some(party, label)
        if key is None:
            return
        try:
            party.remove(label, key)
        except RowRefused:
            assert label == COUNTRY, "protected by a token"

    def travel(self, party: MemoryParty) -> None:
        """Mostly a batch arrives and is acknowledged; some acknowledgements are lost, some batches come twice."""
        link, records = self.rng.choice(list(party.links)), self.rng.choice((1, 2, 1000))
        fate = self.rng.random()
        if fate < 0.8:
            batch = party.read(link, records=records)
            if batch is not None:
                self.batches.append((party, link, batch))
            send(party, link, records)
        elif fate < 0.9:
            batch = party.read(link, records=records)
            if batch is not None:
                party.sent[link] = party.peers[link].apply(link, batch).have  # as the next hello tells
        elif self.batches:
            party, link, batch = self.rng.choice(self.batches)
            party.peers[link].apply(link, batch)

    def run(self) -> None:
        for _ in range(self.rng.randrange(10, 60)):
            self.act()
        for _ in range(6):
            settle(self.parties, self.rng.choice((1, 3, 1000)), self.rng)
            for party in self.parties:
                party.retry()
        settle(self.parties, rng=self.rng)

    # -- judging --------------------------------------------------------------------------------------------

    def judge(self) -> None:
        self.judge_problems()
        troubled = {problem.uid for party in self.parties for problem in party.problems}
        first = self.state(self.parties[0], troubled)
        for party in self.parties[1:]:
            other = self.state(party, troubled)
            for uid in first.keys() | other.keys():
                assert first.get(uid) == other.get(uid), _difference(
                    uid, self.parties[0].name, first.get(uid), party.name, other.get(uid)
                )
        for party in self.parties:
            with party.backend.transaction():
                for link in party.links:
                    totals = party.backend.cursors(link).totals
                    fates = totals.applied + totals.superseded + totals.duplicate + totals.parked
                    assert totals.received == fates

    def judge_problems(self) -> None:
        for party in self.parties:
            for problem in party.problems:
                assert problem.code in ("missing_target", "target_deleted", "protected"), problem
                if problem.code != "protected":
                    target = party.known(problem.waits_for or b"")
                    assert target is None or not target.alive, f"waits for what is here: {problem}"

    def state(self, party: MemoryParty, troubled: set[bytes]) -> dict[bytes, Any]:
        """uid → what the record is, by names that all programs know."""
        database = party.database
        uids = {(r.table, r.pk): r.uid for r in database.records.values() if r.alive}
        found: dict[bytes, Any] = {}
        for label in LABELS:
            table = party.table[label]
            for pk, row in database.tables[table].items():
                record = database.records[database.by_pk[table, pk]]
                if record.uid in troubled:
                    continue
                found[record.uid] = (label, self.values(party, record, row, uids, troubled))
        return found

    def values(
        self,
        party: MemoryParty,
        record: Record,
        row: dict[int, Any],
        uids: dict[tuple[int, str], bytes],
        troubled: set[bytes],
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for number, info in party.database.setup.tables[record.table].fields.items():
            if number not in party.database.setup.captured or info.system:
                continue
            value = row.get(number)
            if info.type.kind is Kind.RELATION and value is not None:
                value = uids[info.target, value]
            elif info.type.kind is Kind.RELATIONS:
                value = sorted({uids[info.target, key] for key in value} - troubled)
            stamp = record.entries[number].version.stamp if number in record.entries else None
            values[info.name] = (value, stamp)
        return values


def _difference(uid: bytes, one: str, first: Any, other: str, second: Any) -> str:
    if first is None or second is None:
        return f"{uid.hex()[-6:]} is missing at {one if first is None else other}: {first or second}"
    names = [name for name in first[1] if first[1][name] != second[1].get(name)]
    return f"{first[0]} {uid.hex()[-6:]}: " + "; ".join(
        f"{name}: {one} {first[1][name]}, {other} {second[1].get(name)}" for name in names
    )


def live(seed: int) -> Lives:
    lives = Lives(seed)
    try:
        lives.run()
        lives.judge()
    except Exception as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    return lives


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_all_end_equal(first: int) -> None:
    buried = revived = 0
    for seed in range(first, first + 50):
        for party in live(seed).parties:
            buried += len(party.archive)
            revived += sum(1 for _, won, _ in party.conflicts if won is True)
    assert buried > 10
    assert revived
