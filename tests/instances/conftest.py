"""Fixtures of the tests with real programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.instances import pair as pairs
from tests.instances.databases import POSTGRESQL
from tests.instances.pair import Kinds, Pair


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the databases are that each pair starts from; shared by pytest-xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    return shared / "templates"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on the pairs of databases that its module's ``KINDS`` or its own mark ``kinds`` name."""
    if "kinds" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("kinds")
    chosen = mark.args if mark else getattr(metafunc.module, "KINDS", (pairs.SAME,))
    metafunc.parametrize("kinds", chosen, ids="-".join, indirect=True, scope="module")


@pytest.fixture(scope="module")
def kinds(request: pytest.FixtureRequest) -> Kinds:
    """Which databases the office and the branch have."""
    chosen: Kinds = request.param
    if POSTGRESQL in chosen and postgres.missing():
        pytest.skip(postgres.missing())
    return chosen


@pytest.fixture
def pair(templates: Path, tmp_path: Path, kinds: Kinds) -> Iterator[Pair]:
    """Two linked programs; the test starts them."""
    with pairs.pair(templates, tmp_path, kinds=kinds) as made:
        yield made


@pytest.fixture
def live(pair: Pair) -> Pair:
    """Two linked programs, connected."""
    pair.start()
    return pair


@pytest.fixture(scope="module")
def lasting(templates: Path, tmp_path_factory: pytest.TempPathFactory, kinds: Kinds) -> Iterator[Pair]:
    """Two connected programs for all tests of a module that leave them connected."""
    with pairs.pair(templates, tmp_path_factory.mktemp("pair"), kinds=kinds) as made:
        made.start()
        yield made


@pytest.fixture
def shared(lasting: Pair) -> Pair:
    """The module's programs, at rest."""
    lasting.wait_connected()
    lasting.wait_rest()
    return lasting
