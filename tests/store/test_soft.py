"""Soft deletion: in memory, and with either program in the test database."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from tests.store.mortals import CONTACT, Party, world
from tests.store.soft_contract import Make, MatchedSoftContract, SoftContract

MATCH_BY = {CONTACT: ["name"]}


def maker(sql: int, match_by: dict[str, list[str]] | None = None) -> Make:
    def made(edges: Sequence[tuple[int, int]], soft: Collection[int]) -> list[Party]:
        return world(edges, sql=sql, soft=soft, match_by=match_by)

    return made


class TestMemory(SoftContract):
    @pytest.fixture
    def make(self) -> Make:
        return maker(-1)


class TestMatchedMemory(MatchedSoftContract):
    @pytest.fixture
    def make(self) -> Make:
        return maker(-1, MATCH_BY)


@pytest.mark.django_db
class TestSql(SoftContract):
    @pytest.fixture(params=[0, 1], ids=["first", "second"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        return maker(request.param)


@pytest.mark.django_db
class TestMatchedSql(MatchedSoftContract):
    @pytest.fixture(params=[0, 1], ids=["first", "second"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        return maker(request.param, MATCH_BY)
