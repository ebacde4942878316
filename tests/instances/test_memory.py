"""Memory stays bounded while the other side takes nothing, however much waits for it."""

from __future__ import annotations

import pytest

from tests.instances.pair import BRANCH, OFFICE, Pair
from tests.instances.waiting import stays, wait_until

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

MIB = 1024 * 1024
#: What waits, and by how much less than that a process may grow.
ROWS, ROW_SIZE = 1000, 60_000
GROWTH = 40 * MIB


@pytest.mark.parametrize("name", [OFFICE, BRANCH])
def test_a_peer_that_reads_nothing(live: Pair, name: str) -> None:
    """60 MB wait for a frozen peer: the sender's memory stays flat, and so does the peer's as it catches up."""
    frozen = live.office if name == OFFICE else live.branch
    sender = live.other(frozen)
    sender.write("UPDATE crm_client SET phone = 'warm' WHERE id = 1")
    live.wait_rest()
    before = {program: program.resident() for program in live.both}
    frozen.freeze()
    with sender.connection() as connection:
        connection.executemany(
            "INSERT INTO crm_client (name, tax_id, note) VALUES ('Big', 'M-' || ?, hex(randomblob(?)))",
            [(n, ROW_SIZE // 2) for n in range(ROWS)],
        )
    wait_until(lambda: not sender.pending(), 60, "the journal is sealed")
    stays(lambda: sender.resident() - before[sender] < GROWTH, 4, "the sender's memory")
    frozen.thaw()
    peaks = dict.fromkeys(live.both, 0)

    def all_arrived() -> bool:
        for program in live.both:
            peaks[program] = max(peaks[program], program.resident() - before[program])
        return bool(frozen.value("SELECT count(*) FROM crm_client WHERE name = 'Big'") == ROWS)

    wait_until(all_arrived, 120, "everything arrives")
    live.wait_rest()
    assert {program.name: growth // MIB for program, growth in peaks.items() if growth >= GROWTH} == {}
