"""The store's threads on PostgreSQL: deadlocks, sessions that are ended, connections past Django's pool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from django.db import connection, connections, transaction

from project.crm.models import Tag
from syncapp.engine import pool as module
from syncapp.engine.pool import StorePool
from syncapp.store.store import Store
from tests.store.linked import session

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.usefixtures("vendor"),
]


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorePool]:
    monkeypatch.setattr(module, "PAUSES", (0.01,))
    pool = StorePool(threads=2)
    yield pool
    pool.close()


async def test_a_deadlock_is_tried_again(pool: StorePool) -> None:
    """Two units take the same two rows in opposite order: the one that the server ends comes again."""
    made = [tag.pk for tag in await asyncio.to_thread(_tags)]
    both, tries = threading.Barrier(2), []

    def unit(order: list[int], mark: str) -> None:
        first = len([name for name in tries if name == mark]) == 0
        tries.append(mark)
        with transaction.atomic():
            Tag.objects.filter(pk=order[0]).update(name=f"{mark} {order[0]}")
            if first:
                both.wait(20)
            Tag.objects.filter(pk=order[1]).update(name=f"{mark} {order[1]}")

    async with asyncio.timeout(60):
        await asyncio.gather(
            pool.run(lambda store: unit(made, "one")), pool.run(lambda store: unit(made[::-1], "other"))
        )
    assert len(tries) == 3, "one of them was the victim, once"
    names = await pool.call(lambda: sorted(Tag.objects.values_list("name", flat=True)))
    assert len({name.split()[0] for name in names}) == 1, "the last one wrote both"


def _tags() -> list[Tag]:
    try:
        return Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    finally:
        connections.close_all()


async def test_sessions_that_are_ended_come_back(pool: StorePool) -> None:
    def pid(store: Store) -> int:
        store.seal()
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    before = await pool.run(pid)
    assert before in pool.sessions()

    def end() -> None:
        with session() as other:
            for number in pool.sessions():
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [number])

    await asyncio.to_thread(end)
    after = await pool.run(pid)
    assert after != before
    assert before not in pool.sessions()
    assert not pool.away


async def test_threads_take_nothing_out_of_the_pool_for_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = connection.settings_dict
    options = {**settings["OPTIONS"], "pool": {"min_size": 0, "max_size": 1, "timeout": 1}}
    monkeypatch.setitem(connections.settings, "default", {**settings, "OPTIONS": options, "CONN_MAX_AGE": 0})
    pool = StorePool(threads=2)
    try:
        used = await pool.run(lambda store: connections["default"])
        assert used.settings_dict["OPTIONS"]["pool"] is None
        assert used.settings_dict["CONN_MAX_AGE"] is None
        assert options["pool"], "the settings themselves are as they were"
    finally:
        await asyncio.to_thread(pool.close)
