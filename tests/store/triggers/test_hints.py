"""Hints that triggers and store give on PostgreSQL: one transaction at a time, never in anybody's way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection

from project.crm.models import Tag
from syncapp.store.sql import SqlBackend, hints
from syncapp.store.store import Store
from tests import postgres
from tests.postgres import Cluster
from tests.store.linked import Linked, link_fields, session

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

Session = psycopg.Connection[Any]


@pytest.fixture
def linked() -> Linked:
    return link_fields({"crm.Client": ["name", "tags"], "crm.Tag": ["name"]})


@pytest.fixture
def listener(linked: Linked) -> Iterator[Session]:
    with session() as made:
        made.execute(f"LISTEN {hints.JOURNAL}")
        made.execute(f"LISTEN {hints.HEAD}")
        yield made


def heard(listener: Session) -> list[str]:
    """The channels of what has come in. A hint is there as soon as its commit has returned."""
    listener.execute("SELECT 1")
    return [notify.channel for notify in listener.notifies(timeout=0)]


def test_a_transaction_gives_one_hint(listener: Session) -> None:
    with session() as writer:
        writer.execute("INSERT INTO crm_tag (name) VALUES ('a'), ('b')")
        assert heard(listener) == [hints.JOURNAL]
        with writer.transaction():
            writer.execute("UPDATE crm_tag SET name = name || '!'")
            writer.execute("DELETE FROM crm_tag WHERE name = 'b!'")
            writer.execute("UPDATE crm_tag SET id = id + 1000")
            assert heard(listener) == []
        assert heard(listener) == [hints.JOURNAL]


def test_the_members_of_a_record(listener: Session) -> None:
    with session() as writer:
        writer.execute("INSERT INTO crm_client (name) VALUES ('C')")
        writer.execute("INSERT INTO crm_tag (name) VALUES ('T')")
        heard(listener)
        writer.execute(
            "INSERT INTO crm_client_tags (client_id, tag_id) SELECT c.id, t.id FROM crm_client c, crm_tag t"
        )
        assert heard(listener) == [hints.JOURNAL]
        writer.execute("DELETE FROM crm_client_tags")
        assert heard(listener) == [hints.JOURNAL]


def test_nothing_to_note_gives_none(listener: Session) -> None:
    with session() as writer:
        writer.execute("INSERT INTO crm_tag (name) VALUES ('a')")
        heard(listener)
        writer.execute("UPDATE crm_tag SET name = name")
        writer.execute("UPDATE crm_tag SET name = 'x' WHERE name = 'nobody'")
        with writer.transaction(force_rollback=True):
            writer.execute("UPDATE crm_tag SET name = 'x'")
        assert heard(listener) == []


def test_who_comes_second_leaves_it_to_the_first(listener: Session) -> None:
    """And waits for nobody."""
    with session(options="-c lock_timeout=1s") as first, session(options="-c lock_timeout=1s") as second:
        with first.transaction():
            first.execute("INSERT INTO crm_tag (name) VALUES ('first')")
            second.execute("INSERT INTO crm_tag (name) VALUES ('second')")
            assert heard(listener) == []
        assert heard(listener) == [hints.JOURNAL]
        second.execute("INSERT INTO crm_tag (name) VALUES ('third')")
        assert heard(listener) == [hints.JOURNAL]


def test_what_a_peer_sent_is_no_change_of_the_journal(listener: Session) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SET LOCAL syncapp.applying = '1'")
        cursor.execute("INSERT INTO crm_tag (name) VALUES ('applied')")
        cursor.execute("COMMIT")
    assert heard(listener) == []


def test_the_feed_has_grown(listener: Session) -> None:
    """Another process of this program may have to send it on."""
    Tag.objects.create(name="a")
    assert heard(listener) == [hints.JOURNAL]
    Store(SqlBackend()).seal()
    assert heard(listener) == [hints.HEAD]
    Store(SqlBackend()).seal()
    assert heard(listener) == []


def test_a_commit_in_two_phases() -> None:
    """No transaction that has notified can be prepared: where the server lets people prepare, nobody notifies."""
    cluster = Cluster.make(max_prepared_transactions="5")
    try:
        with psycopg.connect(
            host=str(cluster.folder),
            port=cluster.port,
            user=postgres.USER,
            dbname="postgres",
            autocommit=True,
        ) as writer:
            writer.execute("CREATE TABLE t (x int)")
            writer.execute(
                "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$BEGIN {hints.FROM_TRIGGER}; RETURN NULL; END$$"
            )
            writer.execute("CREATE TRIGGER f AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION f()")
            writer.execute("BEGIN")
            writer.execute("INSERT INTO t VALUES (1)")
            writer.execute("PREPARE TRANSACTION 'a'")
            writer.execute("COMMIT PREPARED 'a'")
            assert writer.execute("SELECT count(*) FROM t").fetchone() == (1,)
    finally:
        cluster.remove()
