"""Random lives with backups, put back at any moment: afterwards all are equal and nothing that survived is lost."""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from typing import Any

import pytest

from tests.store.programs import SECOND
from tests.store.restoring import CHAIN, PAIR, RING, STAR, Edges, Node, Talk, World

SHAPES: dict[str, Edges] = {"pair": PAIR, "star": STAR, "chain": CHAIN, "ring": RING}
SEEDS = range(60)
#: The texts that people write, each of them once. (table, field)
TEXTS = (("client", "name"), ("client", "note"), ("tag", "title"))
KEYS = {"client": "code", "tag": "label"}


class Story:
    """What people and administrators do, and the account of it.

    A text is accounted for when it stands somewhere in the end, or is kept as the loser of a conflict or in a problem,
    or somebody has seen and replaced it and the text that came in its place is accounted for.
    """

    def __init__(self, seed: int, edges: Edges) -> None:
        self.rng = random.Random(seed)
        self.world = World(edges)
        self.backups: list[tuple[Node, dict[str, Any]]] = []
        self.talks: dict[int, Talk] = {}
        self.count = 0
        self.instead: dict[str, set[str]] = defaultdict(set)
        self.owed: set[str] = set()
        self.made: set[str] = set()
        self.restores = 0

    def live(self, steps: int) -> None:
        deeds = (
            (self.edit, 12),
            (self.create, 4),
            (self.relate, 2),
            (self.talk, 8),
            (self.seal, 3),
            (self.restart, 2),
            (self.back_up, 3),
            (self.put_back, 2),
        )
        kinds, weights = zip(*deeds, strict=True)
        for _ in range(steps):
            self.rng.choices(kinds, weights)[0](self.rng.choice(self.world.nodes))
            self.check_stamps()
        if not self.restores:
            self.back_up(self.world.nodes[0])
            self.edit(self.world.nodes[0])
            self.put_back(self.world.nodes[0])

    # -- people --

    def text(self, node: Node, old: str | None = None) -> str:
        self.count += 1
        value = f"{node.label}{self.count};"
        self.owed.add(value)
        if old:
            self.instead[old].add(value)
        return value

    def create(self, node: Node) -> None:
        table = self.rng.choice(list(KEYS))
        names = {name: self.text(node) for t, name in TEXTS if t == table and self.rng.random() < 0.7}
        self.count += 1
        key = f"k{self.count}{node.label}"
        node.create(table, **names, **{KEYS[table]: key})
        self.made.add(key)

    def edit(self, node: Node) -> None:
        table, name = self.rng.choice(TEXTS)
        rows = node.database.tables[node.numbers.table[table]]
        if not rows:
            return self.create(node)
        pk = self.rng.choice(list(rows))
        old = rows[pk][node.numbers.field[table, name]]
        node.write(table, pk, **{name: self.text(node, old)})
        return None

    def relate(self, node: Node) -> None:
        clients = list(node.database.tables[node.numbers.table["client"]])
        tags = list(node.database.tables[node.numbers.table["tag"]])
        if clients:
            pk = self.rng.choice(clients)
            chosen = sorted(self.rng.sample(tags, min(len(tags), self.rng.randrange(3))))
            node.write("client", pk, tags=chosen, parent=self.rng.choice([None, *clients]))

    # -- the engine --

    def talk(self, node: Node) -> None:
        link = self.rng.choice(list(node.links))
        found = self.world.contact(link)
        if isinstance(found, Talk):
            self.talks[link] = found
            found.run(self.rng.choice((1, 2, 5, 1000)), lose=self.rng)
        self.world.clock.now += self.rng.randrange(SECOND)

    def seal(self, node: Node) -> None:
        node.seal()

    def restart(self, node: Node) -> None:
        node.restart()

    # -- administrators --

    def back_up(self, node: Node) -> None:
        self.backups.append((node, node.back_up()))

    def put_back(self, node: Node) -> None:
        """Sometimes an older backup, sometimes a second program as well."""
        mine = [(n, backup) for n, backup in self.backups if n is node]
        if not mine:
            return
        for conflict in node.database.conflicts:
            # The loser was kept here, and goes with the database; to the winner, wherever it went since, it is known.
            if isinstance(conflict.lost, str):
                self.instead[conflict.lost].add(conflict.won)
        node.put_back(self.rng.choice(mine)[1])
        self.restores += 1
        self.owed &= self.standing()

    # -- the account --

    def standing(self) -> set[str]:
        """The texts that are accounted for by what stands in the databases now."""
        found = {text for node in self.world.nodes for text in self.stored(node)}
        while True:
            more = {old for old, new in self.instead.items() if old not in found and new & found}
            if not more:
                return found
            found |= more

    def stored(self, node: Node) -> set[str]:
        texts = {value for table, name in TEXTS for value in node.rows(table, name) if value}
        texts |= {value for value in node.lost if isinstance(value, str)}
        for problem in node.database.problems.values():
            texts |= {t for t in self.owed if t.encode() in problem.payload}
        return texts

    def check_stamps(self) -> None:
        """One stamp never names two values."""
        named: dict[Any, set[Any]] = defaultdict(set)
        for node in self.world.nodes:
            pending = {(row.table, row.pk) for row in node.database.journal}
            for record in node.database.records.values():
                row = node.database.tables[record.table].get(record.pk)
                if row is None or (record.table, record.pk) in pending:
                    continue
                for table, name in TEXTS:
                    field = node.numbers.field[table, name]
                    if field in record.entries:
                        stamp = record.entries[field].version.stamp
                        named[record.uid, table, name, stamp].add(row[field])
        assert all(len(values) == 1 for values in named.values()), named

    def judge(self) -> None:
        first = self.state(self.world.nodes[0])
        for node in self.world.nodes:
            assert self.state(node) == first, f"{node.label} differs from A"
            for table, key in KEYS.items():
                twice = [k for k, n in Counter(node.rows(table, key)).items() if n > 1]
                assert not twice, f"{node.label} has {twice} twice"
        missing = self.owed - self.standing()
        assert not missing, f"lost: {sorted(missing)}"
        for link in self.world.links:
            here, there = (node.database.cursors[link] for node in self.world.ends(link))
            assert here.totals == there.peer_totals
            assert there.totals == here.peer_totals

    def state(self, node: Node) -> dict[str, Any]:
        """Everything that is shared, by what names it everywhere."""
        database, numbers = node.database, node.numbers
        found: dict[str, Any] = {}
        codes = {
            pk: row[numbers.field["client", "code"]]
            for pk, row in database.tables[numbers.table["client"]].items()
        }
        labels = {
            pk: row[numbers.field["tag", "label"]]
            for pk, row in database.tables[numbers.table["tag"]].items()
        }
        for pk, row in database.tables[numbers.table["client"]].items():
            name, note, parent, tags = (
                row[numbers.field["client", n]] for n in ("name", "note", "parent", "tags")
            )
            found[codes[pk]] = (name, note, codes.get(parent), sorted(labels[t] for t in tags))
        for pk, row in database.tables[numbers.table["tag"]].items():
            found[labels[pk]] = row[numbers.field["tag", "title"]]
        return found


@pytest.mark.parametrize("shape", SHAPES)
def test_lives_with_backups(shape: str) -> None:
    seeds = [int(os.environ["SYNCAPP_SIM_SEED"])] if "SYNCAPP_SIM_SEED" in os.environ else SEEDS
    restores = 0
    for seed in seeds:
        story = Story(seed, SHAPES[shape])
        try:
            story.live(60)
            story.world.settle()
            story.judge()
        except Exception as error:
            raise AssertionError(f"{shape}, seed {seed}: SYNCAPP_SIM_SEED={seed}: {error}") from error
        restores += story.restores
    assert restores > len(seeds)


def test_the_account_misses_a_lost_edit() -> None:
    """The judge has teeth."""
    story = Story(1, PAIR)
    node = story.world.nodes[0]
    pk = node.create("tag", title=story.text(node), label="x")
    story.world.settle()
    assert story.owed == story.standing() & story.owed
    node.write("tag", pk, title="written past the account")
    story.world.settle()
    assert story.owed - story.standing() == story.owed
