"""Programs on PostgreSQL: connections that end, servers that restart, transactions that stay open, poolers, backups."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import pgbouncer, postgres
from tests.instances import pair as pairs
from tests.instances.databases import PostgresDatabase
from tests.instances.editing import Stream
from tests.instances.pair import BOTH_POSTGRESQL, BRANCH, MIXED, OFFICE, Pair
from tests.instances.program import Program
from tests.instances.storm import Storm
from tests.instances.waiting import stays, wait_until
from tests.postgres import Cluster

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.slow,
    pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing()),
]

KINDS = (BOTH_POSTGRESQL,)


def database(side: Program) -> PostgresDatabase:
    assert isinstance(side.database, PostgresDatabase)
    return side.database


def wait_client(side: Program, column: str, expected: str, number: int = 1, timeout: float = 30) -> None:
    sql = f"SELECT {column} FROM crm_client WHERE id = ?"
    wait_until(lambda: side.value(sql, (number,)) == expected, timeout, f"{side.name}: {column} of {number}")


# -- connections and servers that go away --------------------------------------------------------------------


def test_connections_that_are_terminated_amid_traffic(shared: Pair) -> None:
    stream = Stream(shared, 3)
    ended = 0
    for _ in range(4):
        for side in shared.both:
            stream.go_on(10)
            ended += database(side).terminate()
    stream.finish()
    assert ended > 8
    shared.wait_connected()
    stream.assert_everything_arrived_once()
    for side in shared.both:
        assert side.process.poll() is None
        assert "Traceback" not in side.tail(500)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server for one test to break. What was committed survives its crash."""
    made = Cluster.make(synchronous_commit="on")
    yield made
    made.remove()


def test_a_server_that_crashes_amid_traffic(templates: Path, tmp_path: Path, cluster: Cluster) -> None:
    with pairs.pair(templates, tmp_path, kinds=MIXED, cluster=cluster) as pair:
        pair.start()
        stream = Stream(pair, 4)
        for pause in (0.5, 1.0):
            stream.go_on(10)
            cluster.stop("immediate")
            time.sleep(pause)  # so long it is away
            cluster.start()
        stream.go_on(10)
        stream.finish()
        pair.wait_connected()
        stream.assert_everything_arrived_once()
        assert pair.office.process.poll() is None
        assert "Traceback" not in pair.office.tail(500)


def test_a_server_that_stays_away_is_named_at_the_other_end(
    templates: Path, tmp_path: Path, cluster: Cluster
) -> None:
    """Longer than anybody waits for it: the other program says why nothing moves, and it heals by itself."""
    with pairs.pair(templates, tmp_path, kinds=MIXED, cluster=cluster) as pair:
        pair.start()
        office, branch = pair.both
        cluster.stop("immediate")
        branch.write("UPDATE crm_client SET phone = 'meanwhile' WHERE id = 1")
        wait_until(lambda: branch.state()["reason_code"] == "database_away_there", 60, "the branch says why")
        shown = branch.status()
        assert shown["state"] != "connected"
        assert "cannot use its database" in shown["reason"]
        assert office.process.poll() is None
        cluster.start()
        pair.wait_connected()
        pair.assert_same()
        assert office.value("SELECT phone FROM crm_client WHERE id = 1") == "meanwhile"
        assert branch.state()["reason_code"] == ""
        assert "Traceback" not in office.tail(500)


# -- transactions that stay open -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [OFFICE, BRANCH])
def test_a_slow_transaction_that_is_overtaken(shared: Pair, name: str) -> None:
    """The later one does not wait, and the earlier one is not skipped."""
    side, other = (shared.office, shared.branch) if name == OFFICE else (shared.branch, shared.office)
    with side.connection() as slow:
        slow.execute("UPDATE crm_client SET phone = ? WHERE id = 2", (f"slow {name}",))
        side.write("UPDATE crm_client SET phone = ? WHERE id = 3", (f"quick {name}",))
        wait_client(other, "phone", f"quick {name}", 3)
        shared.wait_rest()
        assert other.value("SELECT phone FROM crm_client WHERE id = 2") != f"slow {name}"
    wait_client(other, "phone", f"slow {name}", 2)
    shared.assert_same()


def test_an_open_transaction_in_another_database_stalls_nothing(shared: Pair) -> None:
    office, branch = shared.both
    with ExitStack() as stack:
        for side in shared.both:
            elsewhere = PostgresDatabase(database(side).cluster, "postgres")
            idle = stack.enter_context(elsewhere.connect())
            idle.execute("CREATE TEMPORARY TABLE t (x int)")
            idle.execute("INSERT INTO t VALUES (1)")  # has a transaction number, and keeps it
        office.write("UPDATE crm_client SET email = 'past@example.com' WHERE id = 4")
        wait_client(branch, "email", "past@example.com", 4)
        branch.write("UPDATE crm_client SET email = 'back@example.com' WHERE id = 4")
        wait_client(office, "email", "back@example.com", 4)
        shared.assert_same()


def test_somebody_keeps_a_record_locked_that_is_to_be_applied(shared: Pair) -> None:
    """One record waits, the link does not; and nobody's edit is overwritten."""
    office, branch = shared.both
    with office.connection() as idle:
        idle.execute("UPDATE crm_client SET address = 'being edited' WHERE id = 5")
        branch.write("UPDATE crm_client SET phone = 'for the locked one', address = 'also' WHERE id = 5")
        branch.write("UPDATE crm_client SET phone = 'for another' WHERE id = 6")
        wait_client(office, "phone", "for another", 6)
        stays(
            lambda: office.value("SELECT phone FROM crm_client WHERE id = 5") != "for the locked one",
            2,
            every=0.2,
        )
        branch.write("UPDATE crm_client SET phone = 'one more' WHERE id = 6")
        wait_client(office, "phone", "one more", 6)
        assert shared.connected()
    wait_client(office, "phone", "for the locked one", 5)
    shared.assert_same()
    # Neither side knew of the other's: one address won, the other one is kept.
    lost = [value for side in shared.both for (value,) in side.rows("SELECT lost FROM syncapp_conflict")]
    final = office.value("SELECT address FROM crm_client WHERE id = 5")
    assert final in ("being edited", "also")
    assert any(({"being edited", "also"} - {final}).pop().encode() in value for value in lost)


# -- many at once --------------------------------------------------------------------------------------------


def test_a_storm_of_writers_on_the_records_that_are_applied(live: Pair) -> None:
    """No lost update: what a peer's change replaced was known to its author, or is kept. No deadlock stays."""
    storm = Storm(live)
    wait_until(lambda: sum(len(writer.written) for writer in storm.writers) > 300, 60, "the storm goes on")
    storm.finish()
    live.assert_same()
    assert sum(len(writer.written) for writer in storm.writers) > 100
    storm.assert_everything_is_accounted_for()
    for side in live.both:
        assert side.value("SELECT count(*) FROM syncapp_problem") == 0
        assert "Traceback" not in side.tail(500)


# -- ways to write that SQLite does not have -----------------------------------------------------------------


def test_copy(shared: Pair) -> None:
    side, other = shared.both
    with (
        database(side).connect() as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY crm_client (name, tax_id) FROM STDIN") as copy,
    ):
        for number in range(500):
            copy.write_row(("Copied", f"C-{number}"))
    copied = "SELECT count(*) FROM crm_client WHERE name = 'Copied'"
    wait_until(lambda: other.value(copied) == 500, 60, "all that was copied")
    shared.assert_same()


def test_one_statement_for_several_tables(shared: Pair) -> None:
    """Data-modifying WITH, INSERT … SELECT, UPDATE … FROM."""
    side, other = shared.both
    with database(side).connect() as connection:
        connection.execute(
            "WITH made AS (INSERT INTO crm_client (name, tax_id) VALUES ('With', 'W-1') RETURNING id) "
            "INSERT INTO crm_order (number, client_id) SELECT 'W-' || n, made.id FROM made, generate_series(1, 5) n"
        )
        connection.execute(
            "UPDATE crm_order o SET subject = c.name FROM crm_client c WHERE c.id = o.client_id AND c.tax_id = 'W-1'"
        )
    subjects = "SELECT count(*) FROM crm_order WHERE subject = 'With'"
    wait_until(lambda: other.value(subjects) == 5, 60, "all of them")
    shared.assert_same()


def test_merge(shared: Pair) -> None:
    """MERGE, of PostgreSQL 15 and later."""
    side, other = shared.both
    version = int(side.value("SELECT current_setting('server_version_num')"))
    if version < 150000:
        pytest.skip("the server does not know MERGE")
    with database(side).connect() as connection:
        connection.execute(
            "MERGE INTO crm_tag t USING (VALUES ('merged'), ('merged too')) v (name) ON t.name = v.name "
            "WHEN NOT MATCHED THEN INSERT (name) VALUES (v.name)"
        )
    wait_until(
        lambda: other.value("SELECT count(*) FROM crm_tag WHERE name LIKE 'merged%'") == 2, 30, "both tags"
    )
    shared.assert_same()


def test_truncate_and_cascades(pair: Pair) -> None:
    """Deletions that name no row, and those that Django makes of one."""
    pair.start()
    office, branch = pair.both
    with database(office).connect() as connection:
        connection.execute("INSERT INTO crm_client (name, tax_id) VALUES ('Gone', 'G-1'), ('Stays', 'G-2')")
        connection.execute(
            "INSERT INTO crm_order (number, client_id) SELECT tax_id || '-' || n, id FROM crm_client, "
            "generate_series(1, 3) n WHERE tax_id LIKE 'G-%'"
        )
        connection.execute(
            "INSERT INTO crm_payment (order_id, amount, paid_on, comment) SELECT id, 1, '2026-01-02', 'G' "
            "FROM crm_order WHERE number LIKE 'G-%'"
        )
    payments = "SELECT count(*) FROM crm_payment WHERE comment = 'G'"
    orders = "SELECT count(*) FROM crm_order WHERE number LIKE 'G-%'"
    wait_until(lambda: branch.value(payments) == 6, 60, "the payments")
    pair.wait_rest()
    with database(office).connect() as connection:
        connection.execute("TRUNCATE crm_payment")
    wait_until(lambda: branch.value(payments) == 0, 60, "no payments")
    branch.shell("from project.crm.models import Client\nClient.objects.get(tax_id='G-1').delete()")
    wait_until(lambda: office.value(orders) == 3, 60, "no orders of the client that is gone")
    wait_until(
        lambda: office.value("SELECT count(*) FROM crm_client WHERE tax_id = 'G-1'") == 0, 30, "nor it"
    )
    assert branch.value(orders) == 3


# -- behind a pooler -----------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(pgbouncer.missing()), reason=pgbouncer.missing())
def test_behind_a_pooler_in_transaction_mode(templates: Path, tmp_path: Path) -> None:
    with (
        pgbouncer.pgbouncer(postgres.shared(), default_pool_size="3") as pooler,
        pairs.pair(templates, tmp_path, kinds=BOTH_POSTGRESQL, behind=pooler) as pair,
    ):
        pair.start()
        stream = Stream(pair, 5)
        stream.go_on(30)
        for side in pair.both:
            database(side).terminate("")  # the server's connections of the pooler
        stream.go_on(15)
        pooler.restart()
        stream.go_on(15)
        stream.finish()
        pair.wait_connected()
        stream.assert_everything_arrived_once()
        took = []
        for number in range(5):
            began = time.monotonic()
            pair.branch.write("UPDATE crm_client SET phone = ? WHERE id = 7", (f"polled {number}",))
            wait_client(pair.office, "phone", f"polled {number}", 7)
            took.append(time.monotonic() - began)
        assert min(took) < 1, took
        for side in pair.both:
            assert side.process.poll() is None
            assert "Traceback" not in side.tail(500)


# -- another cluster -----------------------------------------------------------------------------------------


def test_moved_to_a_new_cluster(live: Pair, cluster: Cluster) -> None:
    """A program whose database was dumped while it stood still and restored elsewhere goes on where it was."""
    office, branch = live.both
    office.write("UPDATE crm_client SET phone = 'before the move' WHERE id = 8")
    live.assert_same()
    office.stop()
    branch.write("UPDATE crm_client SET email = 'moving@example.com' WHERE id = 8")
    old = database(office)
    moved = PostgresDatabase(cluster, old.name)
    old.restore_to(moved, old.dump())
    office.database = moved
    old.remove()
    office.start()
    live.wait_connected()
    office.write("UPDATE crm_client SET phone = 'after the move' WHERE id = 8")
    live.assert_same()
    assert branch.value("SELECT phone FROM crm_client WHERE id = 8") == "after the move"
    assert office.value("SELECT email FROM crm_client WHERE id = 8") == "moving@example.com"


def test_restored_from_yesterday_into_a_new_cluster(live: Pair, cluster: Cluster) -> None:
    """It worked on after the backup, and works on after the restore: what the other one still has comes back."""
    office, branch = live.both
    live.wait_rest()
    backup = database(office).dump()
    for number in range(3):
        office.write("UPDATE crm_client SET phone = ? WHERE id = 9", (f"forgotten {number}",))
    live.assert_same()
    epoch = office.value("SELECT epoch FROM syncapp_instance")
    office.stop()
    restored = PostgresDatabase(cluster, database(office).name)
    database(office).restore_to(restored, backup)
    database(office).remove()
    office.database = restored
    office.write("UPDATE crm_client SET phone = 'after the restore' WHERE id = 10")
    branch.write("UPDATE crm_client SET email = 'meanwhile@example.com' WHERE id = 11")
    office.start()
    wait_until(lambda: office.value("SELECT epoch FROM syncapp_instance") > epoch, 60, "a new epoch begins")
    live.wait_connected()
    wait_client(office, "phone", "forgotten 2", 9)
    wait_client(branch, "phone", "after the restore", 10)
    wait_client(office, "email", "meanwhile@example.com", 11)
    wait_until(live.same, 30, "both are equal")
    office.write("UPDATE crm_client SET phone = 'on and on' WHERE id = 9")
    wait_client(branch, "phone", "on and on", 9)
