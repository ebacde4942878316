"""Deletions between programs: in memory, and with either of two in the test database."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.store.deletion_contract import DeletionContract, Make
from tests.store.mortals import Party, Ways, world

Edges = tuple[tuple[int, int], ...]


class TestMemory(DeletionContract):
    @pytest.fixture
    def make(self) -> Make:
        return world


@pytest.mark.django_db
class TestSql(DeletionContract):
    @pytest.fixture(params=[0, 1], ids=["first", "second"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def made(edges: Edges = ((0, 1),), ways: Mapping[int, Ways] | None = None) -> list[Party]:
            return world(edges, ways, sql=request.param)

        return made
