"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from syncapp.engine import links, supervisor
from syncapp.store import catalogue
from tests import pgbouncer, postgres, vendors
from tests.simulation.budget import summary as simulated


@pytest.fixture(scope="session")
def vendor(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """The database that the test runs on; see `tests.vendors`."""
    with django_db_blocker.unblock():
        unit = vendors.on(getattr(request, "param", vendors.native()))
        name = unit.__enter__()
    yield name
    with django_db_blocker.unblock():
        unit.__exit__(None, None, None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture: a test that did not ask for a database of its own runs on the run's."""
    vendors.suspend("vendor" not in getattr(item, "fixturenames", ()))


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    """What a process keeps for its lifetime ends with each test.

    The catalogue's values are kept by the configuration's version, which a test that is rolled back gives again.
    """
    catalogue._kept.clear()
    yield
    links._verifiers.clear()
    host, supervisor._host = supervisor._host, None
    if host is not None:
        host.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the soak runs out of an ordinary run: they last as long as one asks for."""
    if os.environ.get("SYNCAPP_SOAK_SECONDS"):
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in soak]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was simulated, and loudly what could not run here (``tests/provision.sh`` says what and why)."""
    for line in simulated(terminalreporter.stats.get("passed", ())):
        terminalreporter.line(line)
    missing = os.environ.get("SYNCAPP_MISSING_PARTS", "").split("\n")
    for part, reason in (("postgresql", postgres.missing()), ("pgbouncer", pgbouncer.missing())):
        if reason and not any(line.startswith(part) for line in missing):
            missing.append(f"{part}: {reason}")
    missing = [line for line in missing if line.strip()]
    if missing:
        terminalreporter.section("NOT RUN: PARTS MISSING ON THIS MACHINE", sep="!", red=True, bold=True)
        for line in missing:
            terminalreporter.line(line, red=True)
