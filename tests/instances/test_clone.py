"""A copy of a program's database, run beside the original."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instances import pair as pairs
from tests.instances.pair import Pair
from tests.instances.program import Program
from tests.instances.test_restore import back_up
from tests.instances.waiting import stays, wait_until

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

REFUSED_FOR = 12


@pytest.fixture
def hasty(pair: Pair) -> Pair:
    for side in pair.both:
        side.extra["TEST_REFUSED_FOR"] = str(REFUSED_FOR)
    pair.start()
    pair.wait_rest()
    return pair


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[list[Program]]:
    """Programs to end afterwards."""
    made: list[Program] = []
    yield made
    for program in made:
        program.kill()
        print(f"--- {program.name}\n{program.tail()}")


def copy_of(original: Program, copies: list[Program]) -> Program:
    """A second program with the database of ``original`` as it is now, the secret that opens its passwords included."""
    folder = original.folder.parent / f"copy-of-{original.name}"
    copy = Program(folder, original.name)
    copy.extra = {**original.extra, "SYNCAPP_TITLE": "The copy"}
    back_up(original, folder / "db.sqlite3")
    copies.append(copy)
    return copy


def refused(program: Program) -> bool:
    return str(program.state()["reason_code"]).startswith("twin")


def test_a_copy_of_the_active_program(hasty: Pair, copies: list[Program]) -> None:
    office, branch = hasty.both
    copy = copy_of(branch, copies)
    copy.start()
    wait_until(lambda: refused(office) and refused(branch) and refused(copy), 60, "all three say so")
    shown = office.status()
    assert shown["state"] == "attention"
    for word in ("Branch", "The copy", "syncconfig fork", "127.0.0.1"):
        assert word in shown["reason"]
    branch.write("UPDATE crm_client SET phone = 'kept back' WHERE id = 1")
    stays(
        lambda: office.value("SELECT phone FROM crm_client WHERE id = 1") != "kept back",
        REFUSED_FOR / 2,
        "nothing is exchanged with either",
    )
    copy.command("syncconfig", "fork")
    hasty.wait_connected(60 + 2 * REFUSED_FOR)
    hasty.assert_same()
    assert office.value("SELECT phone FROM crm_client WHERE id = 1") == "kept back"
    wait_until(lambda: "other_instance" in copy.state()["reason_code"], 60, "the copy is another program now")
    assert office.state()["state"] == "connected", "which does not disturb the original"


def test_a_copy_of_the_passive_program(hasty: Pair, copies: list[Program]) -> None:
    """The branch reaches now the one, now the other, as behind an address that was moved."""
    office, branch = hasty.both
    copy = copy_of(office, copies)
    copy.start()
    for turn in range(6):
        hasty.dial((copy, office)[turn % 2].url)
        seen = branch.state()["peer_holders"]
        wait_until(lambda seen=seen: branch.state()["peer_holders"] != seen, 60, "it has called there")
        if refused(branch):
            break
    wait_until(lambda: refused(branch), 30, "both were heard of")
    shown = branch.status()
    assert shown["state"] == "attention"
    assert "Office" in shown["reason"]
    assert "The copy" in shown["reason"]
    copy.stop()
    hasty.dial(office.url)
    hasty.wait_connected(60 + 2 * REFUSED_FOR)
    hasty.assert_same()


def test_restarts_and_take_overs_are_no_copies(hasty: Pair) -> None:
    """Killed, restarted at once, frozen and replaced: always the same database."""
    for turn in range(3):
        side = hasty.both[turn % 2]
        side.kill()
        side.start()
        hasty.wait_connected()
        side.freeze()
        hasty.other(side).write("UPDATE crm_client SET note = ? WHERE id = 1", (f"turn {turn}",))
        side.thaw()
        hasty.wait_connected()
    hasty.assert_same()
    for side in hasty.both:
        assert side.value("SELECT epoch FROM syncapp_instance") == 1
        assert side.state()["notice_code"] == ""


def test_web_and_engine_in_processes_of_their_own(templates: Path, tmp_path: Path) -> None:
    """Two processes of the office speak in turns when one of them is started anew again and again."""
    with pairs.pair(templates, tmp_path, apart=True) as pair:
        pair.start()
        for turn in range(3):
            web, engine = pair.office.processes
            (web if turn % 2 else engine).kill()
            (web if turn % 2 else engine).wait(20)
            pair.office.processes.remove(web if turn % 2 else engine)
            if turn % 2:
                pair.office.start_web()
                pair.office.processes.reverse()
            else:
                pair.office.start_engine()
            pair.office.wait_ready()
            pair.wait_connected()
        pair.branch.write("UPDATE crm_client SET phone = 'still one' WHERE id = 1")
        pair.assert_same()
        assert pair.office.value("SELECT epoch FROM syncapp_instance") == 1
