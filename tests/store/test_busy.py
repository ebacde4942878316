"""When a record is tried again that somebody was changing: soon, and ever more seldom."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from syncapp.store import locking
from syncapp.store.base import NEVER
from syncapp.store.memory import MemoryBackend
from tests.store.programs import LINK, Program, exchange, pair

MILLISECOND = 1000
SECOND = 1_000_000


class Locked(MemoryBackend):
    """A database whose users hold all rows while ``held`` is true."""

    alone = False
    held = True

    def lock_rows(self, table: int, pks: Collection[str], *, strong: bool = False) -> set[str]:
        return set(pks) if self.held else set()


def waiting(program: Program) -> int:
    return program.store.retry_in(LINK, 5 * SECOND)


def test_a_busy_record_is_due_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "PAUSES", ())
    office, branch = pair()
    pk = office.create("client", code="1", name="a")
    exchange(office, branch)
    assert waiting(branch) == 5 * SECOND, "nothing is parked"
    branch.backend = branch.store.backend = backend = Locked(branch.database)
    office.write("client", pk, name="b")
    exchange(office, branch)
    assert branch.codes == ["busy"]
    pauses = []
    for _ in range(10):
        pauses.append(waiting(branch))
        branch.offset += pauses[-1]
        assert branch.store.retry(LINK, branch.agreement, branch.token) == 1
    wanted = [50 * MILLISECOND * 2**n for n in range(7)] + 3 * [5 * SECOND]
    assert all(0 <= want - found < MILLISECOND for want, found in zip(wanted, pauses, strict=True)), pauses
    backend.held = False
    branch.offset += waiting(branch)
    branch.store.retry(LINK, branch.agreement, branch.token)
    assert (branch.codes, branch.rows("client", "name")) == ([], ["b"])


def test_what_waits_for_people_is_never_due() -> None:
    office, branch = pair()
    pk = office.create("client", code="1", name="a")
    exchange(office, branch)
    branch.create("client", code="2", name="c")
    office.write("client", pk, code="2")
    exchange(office, branch)
    problems = branch.database.problems
    assert problems
    for problem in problems.values():
        problem.next_try = NEVER
    assert waiting(branch) == 5 * SECOND
