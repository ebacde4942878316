"""System fields without a column: in memory, and with either program in the test database."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from tests.store.deletion_contract import TAG, Make
from tests.store.mortals import Party, Ways, world
from tests.store.system_contract import MatchedSystemContract, SystemContract

Edges = tuple[tuple[int, int], ...]
MATCH_BY = {TAG: ["name"]}


class TestMemory(SystemContract):
    @pytest.fixture
    def make(self) -> Make:
        return world


class TestMatchedMemory(MatchedSystemContract):
    @pytest.fixture
    def make(self) -> Make:
        return partial(world, match_by=MATCH_BY)


@pytest.mark.django_db
class TestSql(SystemContract):
    @pytest.fixture(params=[0, 1], ids=["first", "second"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def made(edges: Edges = ((0, 1),), ways: Mapping[int, Ways] | None = None) -> list[Party]:
            return world(edges, ways, sql=request.param)

        return made


@pytest.mark.django_db
class TestMatchedSql(MatchedSystemContract):
    @pytest.fixture(params=[0, 1], ids=["first", "second"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        return partial(world, match_by=MATCH_BY, sql=request.param)
