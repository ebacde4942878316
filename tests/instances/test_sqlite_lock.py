"""Another program holds SQLite's write lock for longer than anyone waits for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.instances.databases import SqliteFile
from tests.instances.pair import Pair
from tests.instances.waiting import stays

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

#: Longer than the 20 s after which SQLite gives up for a statement.
HELD = 25


def test_a_locked_database_is_waited_for(live: Pair) -> None:
    """Nothing is lost and nothing needs a hand: the receiver tries again until the lock is gone."""
    office, branch = live.both
    assert isinstance(office.database, SqliteFile)
    with closing(sqlite3.connect(office.database.path, isolation_level=None)) as outsider:
        outsider.execute("BEGIN IMMEDIATE")
        outsider.execute("UPDATE crm_client SET address = 'by the outsider' WHERE id = 2")
        branch.write("UPDATE crm_client SET phone = 'meanwhile' WHERE id = 1")
        stays(lambda: office.value("SELECT phone FROM crm_client WHERE id = 1") != "meanwhile", HELD, every=1)
        assert office.process.poll() is None
        outsider.execute("COMMIT")
    live.wait_connected()
    live.assert_same()
    assert office.value("SELECT phone FROM crm_client WHERE id = 1") == "meanwhile"
    assert branch.value("SELECT address FROM crm_client WHERE id = 2") == "by the outsider"
    assert "Traceback" not in office.tail(200)
