"""PostgreSQL's many writers: local edits of the very records that are being read or applied."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg
import pytest
from django.db import OperationalError, connection, connections

from project.crm.models import Client, Order, Tag
from syncapp.core.changes import Batch, Cursor, Row, RowKind, Section, WireVersion
from syncapp.core.clock import make_origin
from syncapp.engine.pool import StorePool
from syncapp.models import Conflict, Problem
from syncapp.models import Record as RecordRow
from syncapp.store import statements, status, triggers
from syncapp.store.sql import SqlBackend, database, postgres
from syncapp.store.store import Applied, Store
from syncapp.store.triggers import pginstall
from tests.instances.waiting import wait_until
from tests.store.linked import execute, session
from tests.store.senders import PEER, SqlSender

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


@pytest.fixture
def program() -> Iterator[SqlSender]:
    yield SqlSender()
    triggers.remove_all()


@pytest.fixture
def known(program: SqlSender) -> tuple[str, bytes]:
    """A client that the peer has: its key and uid."""
    return shared(program, "A")


def shared(program: SqlSender, name: str) -> tuple[str, bytes]:
    pk = program.create("client", name=name, code=name)
    program.send()
    return pk, program.uid("client", pk)


@contextmanager
def between(action: Callable[[int], None]) -> Iterator[None]:
    """Call ``action`` with their number before each statement of this thread."""
    real, here, count = statements._execute, threading.get_ident(), iter(range(1_000_000))

    def counted(connection: Any, driver: Any, sql: str, params: Any) -> Any:
        if threading.get_ident() == here:
            action(next(count))
        return real(connection, driver, sql, params)

    statements._execute = counted  # type: ignore[assignment]
    try:
        yield
    finally:
        statements._execute = real


class Writer:
    """A user at another session: each statement commits, or waits for its turn in a thread of its own."""

    def __init__(self) -> None:
        self.session = session()
        self.pid = self.session.info.backend_pid
        self.look = session()
        self.thread: threading.Thread | None = None

    def start(self, sql: str, *params: object) -> None:
        """Begin the statement; returns when it is done or waits for somebody."""
        self.thread = threading.Thread(target=lambda: self.session.execute(sql, params))
        self.thread.start()
        alive = self.thread.is_alive
        wait_until(lambda: not alive() or self.waits(), every=0.001)

    def waits(self) -> bool:
        row = self.look.execute(
            "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", [self.pid]
        )
        return bool((row.fetchone() or (False,))[0])

    def end(self) -> None:
        if self.thread is not None:
            self.thread.join(10)
            assert not self.thread.is_alive()
        self.session.close()
        self.look.close()


def at(moment: int, reached: list[int], user: Writer, sql: str, *params: object) -> Callable[[int], None]:
    """An action for `between`: ``user`` executes ``sql`` before the statement of that number."""

    def act(number: int) -> None:
        if number == moment:
            reached.append(number)
            user.start(sql, *params)

    return act


# -- reading ------------------------------------------------------------------------------------------------


def test_a_read_is_of_one_moment(program: SqlSender, known: tuple[str, bytes]) -> None:
    """A value never travels under a stamp older than itself, whatever commits between two statements."""
    pk, _ = known
    program.write("client", pk, name="first")
    written: dict[str, int] = {}
    sql = (
        "UPDATE crm_client SET name = %s WHERE id = %s "
        "RETURNING (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    )
    with session() as other:

        def commit(number: int) -> None:
            value = f"later {number}"
            written[value] = (other.execute(sql, [value, pk]).fetchone() or (0,))[0]

        with between(commit):
            batch = program.read()
    assert batch is not None
    (told,) = program.told(batch)
    # The first statement, which looks whether there is anything, and those that take the lock come before the snapshot.
    sent, version = told.values["name"], batch.sections[0].rows[0].versions[0]
    journal = execute("SELECT count(*) FROM syncapp_journal")[0][0]
    assert journal, "what came later waits for the next seal"
    assert version is not None
    assert written[sent] <= version.time
    program.ack(batch)
    last = str(Client.objects.get().name)
    assert sent != last
    (next_told,) = program.send()
    assert next_told.values["name"] == last
    assert program.version("client", pk, "name").time > version.time


def test_what_is_read_is_what_was_stamped(program: SqlSender, known: tuple[str, bytes]) -> None:
    """The same, with the writer between sealing and reading in particular."""
    pk, _ = known
    program.write("client", pk, name="stamped")
    backend = program.backend
    real = type(backend).rows

    def late(self: SqlBackend, *arguments: Any) -> Any:
        with session() as other:
            other.execute("UPDATE crm_client SET name = 'too late'")
        return real(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlBackend, "rows", late)
        (told,) = program.told(program.look().batch)
    assert told.values["name"] == "stamped"
    (told,) = program.send()
    assert told.values["name"] == "too late"


def test_numbers_become_visible_in_their_order(program: SqlSender) -> None:
    """Whoever sees a number sees everything below it, with several at work."""
    stop = threading.Event()
    faults: list[object] = []

    def work(index: int) -> None:
        store = Store(SqlBackend())
        try:
            for number in range(15):
                Tag.objects.create(name=f"{index} {number}")
                store.seal()
        except Exception as error:  # a thread's failure is the test's
            faults.append(error)
        finally:
            connections["default"].close()

    def look() -> None:
        with session() as other:
            while not stop.is_set():
                head, below = other.execute(
                    "SELECT head_seq, (SELECT count(*) FROM syncapp_record WHERE seq <= head_seq) FROM syncapp_instance"
                ).fetchone() or (0, 0)
                if head != below:
                    faults.append((head, below))

    reader = threading.Thread(target=look)
    reader.start()
    threads = [threading.Thread(target=work, args=[index]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    reader.join()
    assert faults == []
    program.store.seal()
    assert program.store.backend.glance()[1].seq == 60 == RecordRow.objects.count()


# -- applying -----------------------------------------------------------------------------------------------


def retry(program: SqlSender) -> None:
    """Try everything parked again, as it happens by itself a little later."""
    ids = list(Problem.objects.values_list("pk", flat=True))
    program.store.retry(program.link, program.agreement, program.token, ids)


def lost_values() -> set[Any]:
    return {msgspec.msgpack.decode(bytes(row)) for row in Conflict.objects.values_list("lost", flat=True)}


def test_a_local_edit_at_any_moment_of_an_apply_is_not_lost(program: SqlSender) -> None:
    """Between any two statements somebody writes to the record that is being applied."""
    moments = 0
    while True:
        pk, uid = shared(program, f"record {moments}")
        mine, theirs = f"mine {moments}", f"theirs {moments}"
        user, reached = Writer(), list[int]()

        sql = "UPDATE crm_client SET name = %s WHERE id = %s"
        with between(at(moments, reached, user, sql, mine, pk)):
            done = program.receive("client", uid, name=theirs)
        user.end()
        if not reached:
            break
        if done.totals.parked:
            retry(program)
        program.store.seal()
        assert not Problem.objects.exists()
        stands = Client.objects.get(pk=pk).name
        assert stands in (mine, theirs)
        assert mine in {stands, *lost_values()}, f"lost at statement {moments}"
        told = {value for row in program.send() for value in row.values.values()}
        assert stands == theirs or mine in told
        moments += 1
    assert moments > 10


def test_members_that_come_at_any_moment_are_not_lost(program: SqlSender) -> None:
    """A many-to-many has no row of its own that could be locked: its owner is, and nobody comes to refer to it."""
    one, two, three = (program.create("tag", title=title) for title in ("one", "two", "three"))
    program.send()
    uids = [program.uid("tag", pk) for pk in (one, two)]
    moments = 0
    while True:
        pk, uid = shared(program, f"record {moments}")
        user, reached = Writer(), list[int]()

        sql = "INSERT INTO crm_client_tags (client_id, tag_id) VALUES (%s, %s)"
        with between(at(moments, reached, user, sql, pk, three)):
            program.receive("client", uid, tags=sorted(uids))
        user.end()
        if not reached:
            break
        retry(program)
        program.store.seal()
        assert not Problem.objects.exists()
        stands = sorted(Client.objects.get(pk=pk).tags.values_list("name", flat=True))
        lost = [row for row in lost_values_of(pk) if three in row or program.uid("tag", three) in row]
        assert "three" in stands or lost, f"lost at statement {moments}"
        moments += 1
    assert moments > 10


def lost_values_of(pk: str) -> list[Any]:
    rows = Conflict.objects.filter(pk_text=pk).values_list("lost", flat=True)
    return [msgspec.msgpack.decode(bytes(row)) for row in rows]


@contextmanager
def holding(sql: str, *params: object) -> Iterator[psycopg.Connection[Any]]:
    """A user who did this and has gone for lunch, with the transaction open."""
    with session() as other:
        other.execute("BEGIN")
        other.execute(sql, params)
        yield other


def batch(program: SqlSender, *rows: tuple[str, bytes, RowKind, dict[str, Any]]) -> Batch:
    with program.backend.transaction():
        start = program.backend.cursors(program.link).applied
        now = program.backend.now()
    sections = [
        Section(
            program.tables[table],
            [program.fields[table, name] for name in values],
            [Row(uid, int(kind), [WireVersion(now, 0)], list(values.values()))],
        )
        for table, uid, kind, values in rows
    ]
    return Batch(start, Cursor(start.seq + 1, b"t" * 8), [make_origin(PEER, 1)], sections)


def apply(program: SqlSender, *rows: tuple[str, bytes, RowKind, dict[str, Any]]) -> Applied:
    return program.store.apply(program.link, batch(program, *rows), program.agreement, program.token)


def test_an_open_transaction_stalls_one_record_and_not_the_link(program: SqlSender) -> None:
    (held, held_uid), (other, other_uid) = shared(program, "held"), shared(program, "other")
    with holding("UPDATE crm_client SET name = 'lunch' WHERE id = %s", held) as user:
        began = time.monotonic()
        done = apply(
            program,
            ("client", held_uid, RowKind.FIELDS, {"name": "theirs"}),
            ("client", other_uid, RowKind.FIELDS, {"name": "theirs too"}),
        )
        assert time.monotonic() - began < 2
        assert (done.totals.parked, done.totals.applied) == (1, 1)
        assert Client.objects.get(pk=other).name == "theirs too"
        problem = Problem.objects.get()
        assert (problem.code, problem.next_try - problem.created_at) == ("busy", 50_000)
        (report,) = status.link_statuses(status.now_us())
        assert report.problems == 0, "nothing to worry about yet"
        Problem.objects.update(created_at=problem.created_at - 61_000_000)
        (report,) = status.link_statuses(status.now_us())
        assert report.problems == 1
        retry(program)
        assert Problem.objects.get().tries == 1
        user.execute("COMMIT")
    retry(program)
    assert not Problem.objects.exists()
    assert {Client.objects.get(pk=held).name, *lost_values_of(held)} == {"lunch", "theirs"}


def test_a_newer_change_of_a_busy_record_joins_the_parked_one(program: SqlSender) -> None:
    pk, uid = shared(program, "held")
    with holding("SELECT 1 FROM crm_client WHERE id = %s FOR UPDATE", pk):
        program.receive("client", uid, name="first")
        program.receive("client", uid, note="second")
    retry(program)
    found = Client.objects.get(pk=pk)
    assert (found.name, found.note) == ("first", "second")
    assert not Problem.objects.exists()


@pytest.mark.parametrize("ending", ["ROLLBACK", "COMMIT"])
def test_a_unique_value_that_somebody_has_not_committed(program: SqlSender, ending: str) -> None:
    """That is no lock of a row: the server waits for the other transaction, and we do not for long."""
    client, client_uid = shared(program, "client")
    insert = (
        "INSERT INTO crm_order (number, client_id, subject, created_at, amount, status) "
        "VALUES ('7', %s, '', now(), 0, 'new')"
    )
    orders = [(str(number), bytes([number]) * 16) for number in (6, 7, 8, 9)]
    with holding(insert, client) as user:
        began = time.monotonic()
        done = apply(
            program,
            *(
                ("order", uid, RowKind.WHOLE, {"number": number, "subject": "s", "client": client_uid})
                for number, uid in orders
            ),
        )
        assert time.monotonic() - began < 4
        assert sorted(Order.objects.values_list("number", flat=True)) == ["6", "8", "9"]
        assert done.totals.parked == 3  # the fields of one record
        assert Problem.objects.get().code == "busy"
        user.execute(ending)
    retry(program)
    codes = list(Problem.objects.values_list("code", flat=True))
    assert codes == ([] if ending == "ROLLBACK" else ["not_unique"])
    assert Order.objects.get(number="7").subject == ("s" if ending == "ROLLBACK" else "")


def test_a_matched_row_is_locked_before_it_is_taken(program: SqlSender) -> None:
    from syncapp.models import LinkTable
    from syncapp.store import catalogue

    LinkTable.objects.filter(table=program.tables["client"]).update(match_by=["tax_id"])
    catalogue.bump("default")
    pk = program.create("client", name="ours", code="5")
    uid, values = b"n" * 16, {"name": "theirs", "note": "n", "code": "5", "tags": []}
    with holding("UPDATE crm_client SET tax_id = '6' WHERE id = %s", pk) as user:
        program.receive("client", uid, kind=RowKind.WHOLE, **values)
        assert Problem.objects.get().code == "busy"
        user.execute("COMMIT")
    retry(program)
    assert not Problem.objects.exists()
    # It is another one now.
    assert sorted(Client.objects.values_list("name", "tax_id")) == [("ours", "6"), ("theirs", "5")]


def test_two_links_bring_one_new_record_at_once(program: SqlSender) -> None:
    second = program.second_link()
    token = program.store.claim(second, "test", 10**15)
    assert token is not None
    faults: list[BaseException] = []
    for number in range(8):
        uid = bytes([number + 1]) * 16
        values = {"name": f"n {number}", "note": "", "code": str(number), "tags": []}
        one = batch(program, ("client", uid, RowKind.WHOLE, values))
        with program.backend.transaction():
            start = program.backend.cursors(second).applied
        two = msgspec.structs.replace(one, start=start, end=Cursor(start.seq + 1, b"t" * 8))
        barrier = threading.Barrier(2)

        def work(link: int, token: int, batch: Batch, barrier: threading.Barrier = barrier) -> None:
            store = Store(SqlBackend())
            try:
                store.backend.now()
                barrier.wait(10)
                store.apply(link, batch, program.agreement, token)
            except Exception as error:  # a thread's failure is the test's
                faults.append(error)
            finally:
                connections["default"].close()

        threads = [
            threading.Thread(target=work, args=arguments)
            for arguments in ((program.link, program.token, one), (second, token, two))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        assert Client.objects.filter(name=f"n {number}").count() == 1
        record = RecordRow.objects.get(uid=uid)
        with program.backend.transaction():
            assert program.backend.paired(program.link, [record.pk]) == {record.pk}
            assert program.backend.paired(second, [record.pk]) == {record.pk}
    assert not Problem.objects.exists()


# -- what the server ends -----------------------------------------------------------------------------------


def test_a_deadlock_is_tried_again(program: SqlSender) -> None:
    """We wait for a unique value of theirs, they for a row of ours."""
    client, client_uid = shared(program, "client")
    number, uid = "7", b"o" * 16
    one = batch(
        program,
        ("client", client_uid, RowKind.FIELDS, {"name": "theirs"}),
        ("order", uid, RowKind.WHOLE, {"number": number, "subject": "s", "client": client_uid}),
    )
    pool = StorePool()
    user = session()
    user.execute("BEGIN")
    user.execute(
        "INSERT INTO crm_order (number, client_id, subject, created_at, amount, status) "
        "SELECT '7', id, '', now(), 0, 'new' FROM crm_client WHERE id = %s",
        [shared(program, "another")[0]],
    )
    ended: list[str] = []

    def cross() -> None:
        """As soon as we wait for it, it wants what we have."""
        with session() as look:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            wait_until(lambda: look.execute(waiting).fetchone(), every=0.001)
        try:
            user.execute("UPDATE crm_client SET note = 'mine' WHERE id = %s", [client])
            user.execute("ROLLBACK")
            ended.append("ours")
        except psycopg.errors.DeadlockDetected:
            user.execute("ROLLBACK")
            ended.append("theirs")

    crossing = threading.Thread(target=cross)
    crossing.start()

    async def run() -> Applied:
        return await pool.run(lambda store: store.apply(program.link, one, program.agreement, program.token))

    try:
        done = asyncio.run(run())
    finally:
        crossing.join(20)
        pool.close()
        user.close()
    assert ended
    if done.totals.parked:
        retry(program)
    assert not Problem.objects.exists()
    assert (Order.objects.get().number, Client.objects.get(pk=client).name) == ("7", "theirs")


def test_whoever_waits_too_long_for_the_lock_tries_again(
    program: SqlSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_TURN", "20ms")
    tries: list[None] = []
    real = postgres.PostgresDialect.begin

    def counted(self: Any, *arguments: Any, **options: Any) -> int:
        tries.append(None)
        return real(self, *arguments, **options)

    monkeypatch.setattr(postgres.PostgresDialect, "begin", counted)
    with holding('LOCK TABLE "syncapp_applying" IN SHARE UPDATE EXCLUSIVE MODE'):
        with pytest.raises(OperationalError, match="lock timeout"), program.backend.transaction():
            pytest.fail("the lock is held by another")
        assert len(tries) == database.BEGIN_TRIES
        assert program.backend.glance()[0] is False, "looking takes no lock"
    with program.backend.transaction():
        assert connection.in_atomic_block


def test_users_never_wait_for_the_sealing_lock(program: SqlSender) -> None:
    with program.backend.transaction(), session() as other:
        other.execute("SET lock_timeout = '10ms'")
        other.execute("INSERT INTO crm_tag (name) VALUES ('t')")
        other.execute("UPDATE crm_tag SET name = 'u'")
        other.execute("VACUUM syncapp_journal")


def test_a_new_trigger_gives_way_to_a_long_transaction(
    program: SqlSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody who writes to the table would queue behind it."""
    monkeypatch.setattr(pginstall, "_PATIENCE", "20ms")
    triggers.remove_all()
    with (
        holding("INSERT INTO crm_tag (name) VALUES ('t')"),
        pytest.raises(OperationalError, match="lock timeout"),
    ):
        triggers.install_all()
    assert triggers.install_all()


# -- all at once --------------------------------------------------------------------------------------------


def test_a_storm_loses_nothing(program: SqlSender) -> None:
    """Local writers and a peer at the same few records: what an apply overwrites is in the conflict list.

    An audit of the test's own notes what each write found, and whether it was an apply.
    """
    records = [shared(program, f"r{number}") for number in range(4)]
    execute("DROP TABLE IF EXISTS audit")
    execute("CREATE TABLE audit (id serial, applying bool, old text, new text)")
    execute(
        "CREATE OR REPLACE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO audit (applying, old, new) VALUES (coalesce(current_setting('syncapp.applying', true), '') = '1', "
        "OLD.name, NEW.name); RETURN NULL; END $$",
        None,
    )
    execute("CREATE TRIGGER audit AFTER UPDATE OF name ON crm_client FOR EACH ROW EXECUTE FUNCTION audit()")
    stop = threading.Event()

    def edit(index: int) -> None:
        chance, number = random.Random(index), 0
        with session() as other:
            while not stop.is_set():
                number += 1
                pk, _ = chance.choice(records)
                with other.transaction():
                    other.execute(
                        "UPDATE crm_client SET name = %s WHERE id = %s", [f"local {index} {number}", pk]
                    )
                    if chance.random() < 0.2:
                        other.execute("SELECT pg_sleep(%s)", [chance.random() / 50])

    writers = [threading.Thread(target=edit, args=[index]) for index in range(3)]
    for thread in writers:
        thread.start()
    try:
        for number in range(60):
            uid = records[number % len(records)][1]
            program.receive("client", uid, name=f"peer {number}")
            if number % 7 == 0:
                program.send()
                retry(program)
    finally:
        stop.set()
        for thread in writers:
            thread.join()
    retry(program)
    program.store.seal()
    execute("DROP TRIGGER audit ON crm_client")
    overwritten = execute("SELECT old FROM audit WHERE applying AND old LIKE 'local%%'", [])
    assert overwritten, "nothing met"
    assert {old for (old,) in overwritten} <= lost_values()
    assert not Problem.objects.exists()
    program.send()
    assert program.look().batch is None
