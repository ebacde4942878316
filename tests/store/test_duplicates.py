"""Two rows that are one record: in memory, and with either program in the test database."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from tests.store.deletion_contract import CLIENT, Make
from tests.store.duplicate_contract import DuplicateContract, MatchedDuplicateContract
from tests.store.mortals import Party, Ways, world

Edges = tuple[tuple[int, int], ...]
MATCH_BY = {CLIENT: ["tax_id"]}


class TestMemory(DuplicateContract):
    @pytest.fixture
    def make(self) -> Make:
        return world


class TestMatchedMemory(MatchedDuplicateContract):
    @pytest.fixture
    def make(self) -> Make:
        return partial(world, match_by=MATCH_BY)


@pytest.mark.django_db
class TestSql(DuplicateContract):
    @pytest.fixture(params=[0, 1], ids=["first", "second"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def made(edges: Edges = ((0, 1),), ways: Mapping[int, Ways] | None = None) -> list[Party]:
            return world(edges, ways, sql=request.param)

        return made


@pytest.mark.django_db
class TestMatchedSql(MatchedDuplicateContract):
    @pytest.fixture(params=[0, 1], ids=["first", "second"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        return partial(world, match_by=MATCH_BY, sql=request.param)
