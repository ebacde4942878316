"""Running tests on several databases: the same test once on each.

A folder's tests run on all of them when its ``conftest.py`` has ::

    pytest_pycollect_makeitem = vendors.makeitem
    pytest_generate_tests = vendors.generate_tests

Then each test that is marked ``django_db`` gets the session's fixture `vendor` (see ``tests/conftest.py``), which makes
Django's default connection one to that database. Tests about one database alone are marked ``sqlite`` or ``postgres``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from tests import postgres

SQLITE, POSTGRES = "sqlite", "postgresql"
_MARKS = {"sqlite": SQLITE, "postgres": POSTGRES}
_TEMPLATE = "syncapp_template"


def native() -> str:
    """The database that the run was started with."""
    engine = settings.DATABASES["default"]["ENGINE"]
    return POSTGRES if engine == postgres.ENGINE else SQLITE


def makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    """Let the tests of a module that are marked ``django_db`` use the fixture, as if they said so themselves."""
    if isinstance(collector, pytest.Module) and (
        name.startswith("Test") if isinstance(obj, type) else name.startswith("test_") and callable(obj)
    ):
        marks = {mark.name for mark in [*collector.iter_markers(), *getattr(obj, "pytestmark", [])]}
        if "django_db" in marks:
            pytest.mark.usefixtures("vendor")(obj)


def generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses the fixture on every database that it is about."""
    if "vendor" not in metafunc.fixturenames:
        return
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    wanted = [_MARKS[name] for name in _MARKS if name in marks] or [SQLITE, POSTGRES]
    if native() != SQLITE:
        wanted = [name for name in wanted if name == native()]
    metafunc.parametrize("vendor", [_param(name) for name in wanted], indirect=True, scope="session")


def _param(name: str) -> Any:
    reason = postgres.missing() if name == POSTGRES and native() != POSTGRES else ""
    return pytest.param(name, marks=[pytest.mark.skip(reason=f"PostgreSQL: {reason}")] if reason else [])


@contextmanager
def on(name: str) -> Iterator[str]:
    """Make the default connection of all threads one to the database ``name``."""
    if name == native():
        yield name
        return
    before, kept = connections.settings["default"], connections["default"]
    config = connections.configure_settings({"default": _database().settings(_own())})["default"]
    _switch(config)
    _units.append(_Unit((before, kept), (config, connections["default"])))
    try:
        yield name
    finally:
        suspend(False)
        _units.pop()
        connections["default"].close()
        connections.settings["default"] = before
        connections["default"] = kept


class _Unit(NamedTuple):
    """The default database of the run and the one that stands in for it: each with its connection."""

    native: tuple[dict[str, Any], Any]
    other: tuple[dict[str, Any], Any]


#: The one that `on` made, if any: the fixture lives for the session, beyond the tests that asked for it.
_units: list[_Unit] = []


def suspend(suspended: bool) -> None:
    """Let tests that did not ask for another database have the run's own meanwhile."""
    for unit in _units:
        config, made = unit.native if suspended else unit.other
        connections.settings["default"], connections["default"] = config, made


def _switch(config: dict[str, Any]) -> None:
    connections.settings["default"] = config
    # Threads that have a connection already keep it; those that start from now on get one of the new kind.
    connections["default"] = connections.create_connection("default")


def copied(alias: str, source: str = "") -> None:
    """A PostgreSQL database under the alias ``alias``: a copy of the one under ``source``, or a fresh, migrated one."""
    cluster, name = _database(), f"{_own()}_{alias}"
    cluster.create(name, f"{_own()}_{source}" if source else _TEMPLATE)
    connections.settings[alias] = connections.configure_settings({"default": cluster.settings(name)})[
        "default"
    ]


def dropped(alias: str) -> None:
    """The end of what `copied` made."""
    connections[alias].close()
    del connections[alias]
    del connections.settings[alias]
    postgres.shared().drop(f"{_own()}_{alias}")


_made: set[str] = set()


def _own() -> str:
    return f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


def _database() -> postgres.Cluster:
    """The run's server, with this process's own database in it."""
    cluster = postgres.shared()
    if _own() not in _made:
        with (cluster.folder / "template.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = cluster.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_TEMPLATE])
            if not found:
                _make_template(cluster)
            cluster.create(_own(), _TEMPLATE)
        _made.add(_own())
    return cluster


def _make_template(cluster: postgres.Cluster) -> None:
    """Migrate once for all processes: a copy of the outcome takes a tenth of the time."""
    unfinished = f"{_TEMPLATE}_unfinished"
    cluster.create(unfinished)
    before, kept = connections.settings["default"], connections["default"]
    _switch(connections.configure_settings({"default": cluster.settings(unfinished)})["default"])
    try:
        # In two steps: the tables of apps without migrations refer to those of apps that have some.
        call_command("migrate", verbosity=0, interactive=False)
        call_command("migrate", run_syncdb=True, verbosity=0, interactive=False)
    finally:
        connections["default"].close()
        connections.settings["default"] = before
        connections["default"] = kept
    cluster.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{_TEMPLATE}"')
