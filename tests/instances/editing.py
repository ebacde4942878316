"""A stream of edits in one program, and the account of what has to be everywhere afterwards."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import psycopg

from tests.instances.databases import Outsider
from tests.instances.pair import BRANCH, Pair
from tests.instances.program import Program
from tests.instances.waiting import wait_until


class Worker(threading.Thread):
    """Somebody at work in one program's database until `finish`, which raises what went wrong meanwhile."""

    def __init__(self, side: Program, chance: str, pause: float) -> None:
        super().__init__(daemon=True)
        self.side = side
        self._chance = random.Random(chance)
        self._pause = pause
        self._over = threading.Event()
        self._failure: BaseException | None = None

    def work(self) -> None:
        """Work until it is over; override."""
        raise NotImplementedError

    def run(self) -> None:
        try:
            self.work()
        except BaseException as failure:
            self._failure = failure

    def finish(self) -> None:
        self._over.set()
        self.join(60)
        if self._failure is not None:
            raise self._failure


class Editor(Worker):
    """Edits one program's database past it, transaction by transaction, until `finish`.

    Each side has a field of its own, so that its last value is known; ``address`` is everybody's.
    """

    def __init__(self, side: Program, seed: int, pause: float = 0.03) -> None:
        super().__init__(side, f"{side.name} {seed}", pause)
        self.field = "email" if side.name == BRANCH else "phone"
        self.count = 0
        self.last: dict[str, str] = {}
        self.made: list[str] = []
        self._known = [row[0] for row in side.rows("SELECT tax_id FROM crm_client ORDER BY tax_id")]

    def work(self) -> None:
        while not self._over.wait(self._pause):
            count = self.count + 1
            self._make(count) if self._chance.random() < 0.2 else self._edit(count)
            self.count = count

    def _edit(self, count: int) -> None:
        tax_id = self._chance.choice(self._known)
        value = f"{self.side.name} {count}"
        sql = f"UPDATE crm_client SET {self.field} = ?, address = ? WHERE tax_id = ?"
        self._surely(lambda connection: connection.execute(sql, (value, value, tax_id)), value)
        self.last[tax_id] = value

    def _make(self, count: int) -> None:
        name = f"{self.side.name}-{count}"
        self._surely(lambda connection: _make_client(connection, name, count), name)
        self.made.append(name)

    def _surely(self, write: Callable[[Outsider], object], mark: str) -> None:
        """Commit ``write`` once, whatever becomes of the server: ``mark`` is what it leaves in the database."""
        done = f"SELECT 1 FROM crm_client WHERE {self.field} = ? OR tax_id = ?"
        deadline = time.monotonic() + 60
        while True:
            try:
                with self.side.connection() as connection:
                    if connection.execute(done, (mark, mark)).fetchone() is None:
                        write(connection)
                return
            except psycopg.OperationalError:  # nobody can know whether it was committed
                if time.monotonic() > deadline:
                    raise
                self._over.wait(0.1)


def _make_client(connection: Outsider, name: str, count: int) -> None:
    client = connection.execute("INSERT INTO crm_client (name, tax_id) VALUES (?, ?)", (name, name)).lastrowid
    order = connection.execute(
        "INSERT INTO crm_order (number, client_id, amount) VALUES (?, ?, ?)", (name, client, count)
    ).lastrowid
    connection.execute(
        "INSERT INTO crm_payment (order_id, amount, paid_on, comment) VALUES (?, ?, '2026-01-02', ?)",
        (order, count, name),
    )


class Stream:
    """Edits on both sides of a pair at once."""

    def __init__(self, pair: Pair, seed: int, pause: float = 0.03) -> None:
        self.pair = pair
        self._counts = [_counts(pair.office), _counts(pair.branch)]
        self._editors = [Editor(side, seed, pause) for side in pair.both]
        for editor in self._editors:
            editor.start()

    def go_on(self, edits: int) -> None:
        """Wait until each side has made ``edits`` more of them."""
        goals = [(editor, editor.count + edits) for editor in self._editors]
        wait_until(lambda: all(editor.count >= goal for editor, goal in goals), 60, "the editors go on")

    def finish(self) -> None:
        """No more edits."""
        for editor in self._editors:
            editor.finish()

    def assert_everything_arrived_once(self) -> None:
        """Nothing lost, nothing twice, both equal."""
        self.pair.assert_same()
        made = [name for editor in self._editors for name in editor.made]
        for side, before in zip(self.pair.both, self._counts, strict=True):
            expected = {table: count + len(made) for table, count in before.items()}
            assert _counts(side) == expected, side.name
            for sql in (
                "SELECT tax_id FROM crm_client",
                "SELECT comment FROM crm_payment WHERE comment LIKE '%-%'",
            ):
                names = Counter(name for (name,) in side.rows(sql))
                assert [name for name, count in names.items() if count > 1 and name in made] == []
                assert set(made) <= set(names)
            for editor in self._editors:
                found = dict(side.rows(f"SELECT tax_id, {editor.field} FROM crm_client"))
                assert {name: found[name] for name in editor.last} == editor.last
            assert side.value("SELECT count(*) FROM syncapp_problem") == 0


def _counts(side: Program) -> dict[str, int]:
    tables = ("crm_client", "crm_order", "crm_payment")
    return {table: int(side.value(f"SELECT count(*) FROM {table}")) for table in tables}
