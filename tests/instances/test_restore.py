"""Databases that are copied away and put back: files of SQLite. (For PostgreSQL see `test_postgresql`.)"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.instances.databases import SqliteFile
from tests.instances.pair import BRANCH, OFFICE, Pair
from tests.instances.program import Program
from tests.instances.waiting import wait_until

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]


def file_of(program: Program) -> Path:
    assert isinstance(program.database, SqliteFile)
    return program.database.path


def back_up(program: Program, to: Path) -> Path:
    """A copy of the database while the program works in it, as ``sqlite3 db .backup`` makes it."""
    with closing(sqlite3.connect(file_of(program))) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return to


def put_back(program: Program, backup: Path) -> None:
    """Of a program that does not run."""
    for file in file_of(program).parent.glob("db.sqlite3*"):
        file.unlink()
    file_of(program).write_bytes(backup.read_bytes())


def phone(program: Program, client: int) -> object:
    return program.value("SELECT phone FROM crm_client WHERE id = ?", (client,))


def call_up(program: Program, client: int, number: str) -> None:
    program.write("UPDATE crm_client SET phone = ? WHERE id = ?", (number, client))


@pytest.mark.parametrize("name", [OFFICE, BRANCH])
def test_put_back_from_yesterday(live: Pair, tmp_path: Path, name: str) -> None:
    """It had worked on after the backup, and was worked in after the restore before it met anybody."""
    victim = live.office if name == OFFICE else live.branch
    other = live.other(victim)
    live.wait_rest()
    backup = back_up(victim, tmp_path / "backup")
    for number in range(3):
        call_up(victim, 1, f"lost {number}")
    call_up(victim, 2, "lost")
    victim.write("INSERT INTO crm_client (name, tax_id) VALUES ('born since', 'born since')")
    other.write("UPDATE crm_client SET email = 'since@example.com' WHERE id = 3")
    live.assert_same()
    victim.stop()
    put_back(victim, backup)
    call_up(victim, 2, "after the restore")
    call_up(victim, 4, "after the restore")
    other.write("UPDATE crm_client SET email = 'meanwhile@example.com' WHERE id = 5")
    victim.start()
    live.wait_connected()
    live.assert_same()
    assert phone(victim, 1) == "lost 2", "it comes back"
    assert phone(other, 2) == phone(other, 4) == "after the restore"
    for side in live.both:
        assert side.value("SELECT count(*) FROM crm_client WHERE tax_id = 'born since'") == 1
        assert side.value("SELECT email FROM crm_client WHERE id = 3") == "since@example.com"
        assert side.value("SELECT email FROM crm_client WHERE id = 5") == "meanwhile@example.com"
        assert side.value("SELECT count(*) FROM syncapp_problem") == 0
        assert "restored from a backup" in " ".join(side.status()["warnings"])
        assert [line["detail"] for line in side.synclog() if line["result"] == "restored"] == [
            "was_restored_here" if side is victim else "was_restored_there"
        ]
    conflicts = [side.value("SELECT count(*) FROM syncapp_conflict") for side in live.both]
    assert sum(conflicts) >= 1, "the value that was lost and then overwritten is kept"
    call_up(victim, 1, "on and on")
    wait_until(lambda: phone(other, 1) == "on and on", 30, "changes flow as ever")


def test_both_put_back_from_different_days(live: Pair, tmp_path: Path) -> None:
    backups = {}
    for number, side in enumerate(live.both):
        live.wait_rest()
        backups[side.name] = back_up(side, tmp_path / f"{side.name}.backup")
        call_up(side, 6 + number, f"day {number}")
        live.assert_same()
    for side in live.both:
        side.kill()
        put_back(side, backups[side.name])
    for side in live.both:
        side.start(wait=False)
    for side in live.both:
        side.wait_ready()
    live.wait_connected()
    live.assert_same()
    # The branch's backup, the later one, has seen the office's day; its own came after it and is gone everywhere.
    assert phone(live.office, 6) == "day 0"
    assert phone(live.office, 7) != "day 1"


def test_put_back_from_before_the_link(live: Pair) -> None:
    """The other program is told plainly, and goes on once the link is there again."""
    live.wait_rest()
    live.office.stop()
    live.office.shell("from syncapp.models import Link; Link.objects.all().delete()")
    live.office.start()
    wait_until(lambda: live.branch.state()["reason_code"] == "no_passive_link", 60, "it says why")
    assert "no passive link" in live.branch.status()["reason"]
