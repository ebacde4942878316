"""Programs that are killed, stopped and frozen in the middle of their work."""

from __future__ import annotations

import random
import sqlite3
import time

import pytest

from tests.instances.editing import Stream
from tests.instances.pair import BOTH_POSTGRESQL, BRANCH, MIXED, OFFICE, SAME, Pair
from tests.instances.program import Program
from tests.instances.waiting import wait_until

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

ROUNDS = 3
#: Of a lease, with what a slow machine takes to notice.
TAKEN_OVER = 20


@pytest.mark.kinds(SAME, BOTH_POSTGRESQL)
@pytest.mark.parametrize("seed", [1, 2])
def test_kill_either_side_at_any_moment(live: Pair, seed: int) -> None:
    """Edits go on while a program is dead: other programs write to its database."""
    chance = random.Random(seed)
    stream = Stream(live, seed)
    for turn in range(ROUNDS):
        time.sleep(chance.uniform(0.1, 1.2))
        victims = [*live.both] if turn == ROUNDS - 1 else [live.both[(turn + seed) % 2]]
        for victim in victims:
            victim.kill()
        for victim in victims:
            victim.start(wait=False)
        for victim in victims:
            victim.wait_ready()
        live.wait_connected()
    stream.finish()
    stream.assert_everything_arrived_once()


def frozen_between_writes(side: Program) -> bool:
    """Freeze it; not while it writes, since then nobody else could."""
    side.freeze()
    try:
        with side.connection(timeout=0.5) as connection:
            connection.execute("UPDATE crm_client SET phone = phone WHERE id = 0")
    except sqlite3.OperationalError:
        side.thaw()
        return False
    return True


@pytest.mark.kinds(SAME, MIXED)
def test_killed_between_commit_and_sending(live: Pair) -> None:
    """What was committed just before the end is sent after the restart."""
    for side in live.both:
        wait_until(lambda side=side: frozen_between_writes(side), what=f"{side.name} writes nothing itself")
        side.write("UPDATE crm_client SET phone = ? WHERE id = 1", (side.name,))
        side.write("UPDATE crm_client SET email = ? WHERE id = 2", (side.name,))
        side.kill()
    for side in live.both:
        side.start()
    live.wait_connected()
    live.assert_same()
    assert live.office.value("SELECT phone FROM crm_client WHERE id = 1") == BRANCH, "the later one wins"


def test_a_lease_of_a_machine_that_is_gone_is_taken_over(live: Pair) -> None:
    live.branch.kill()
    in_15_s = time.time_ns() // 1000 + 15_000_000
    live.branch.write(
        "UPDATE syncapp_linkstate SET lease_owner = '00000000-1-1-abcd', lease_until = ?",
        (in_15_s,),
    )
    live.branch.start()
    wait_until(
        lambda: live.branch.state()["lease_owner"][:8] != "00000000", TAKEN_OVER, "the lease is taken over"
    )
    assert time.time_ns() // 1000 >= in_15_s, "not before it ran out"
    live.wait_connected()
    live.branch.write("UPDATE crm_client SET phone = 'taken over' WHERE id = 1")
    live.assert_same()


def test_a_dead_process_of_this_machine_is_followed_at_once(live: Pair) -> None:
    live.branch.kill()
    assert live.branch.state()["lease_until"] > time.time_ns() // 1000
    live.branch.start()
    wait_until(
        lambda: live.branch.state()["lease_until"] and live.connected(), 14, "connected before the lease ends"
    )


@pytest.mark.parametrize("name", [OFFICE, BRANCH])
def test_sigterm_during_traffic(live: Pair, name: str) -> None:
    side = live.office if name == OFFICE else live.branch
    other = live.other(side)
    stream = Stream(live, 7)
    time.sleep(0.5)
    began = time.monotonic()
    assert side.stop() == [0]
    assert time.monotonic() - began < 10
    wait_until(lambda: other.state()["state"] != "connected", 10, "the other one shows it")
    assert "Traceback" not in side.tail(200)
    side.start()
    live.wait_connected()
    stream.finish()
    stream.assert_everything_arrived_once()


@pytest.mark.parametrize("name", [OFFICE, BRANCH])
def test_a_frozen_program(live: Pair, name: str) -> None:
    """Its sockets stay open and it says nothing: the heartbeat tells."""
    frozen = live.office if name == OFFICE else live.branch
    other = live.other(frozen)
    frozen.freeze()
    other.write("UPDATE crm_client SET phone = 'while frozen' WHERE id = 3")
    wait_until(lambda: other.state()["state"] != "connected", 40, "silence is noticed")
    shown = other.status()
    assert shown["state"] in ("connecting", "offline")
    assert shown["reason"]
    assert shown["waiting_out"] == 1
    frozen.thaw()
    live.wait_connected()
    live.assert_same()
    assert frozen.value("SELECT phone FROM crm_client WHERE id = 3") == "while frozen"
