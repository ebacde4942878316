from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def daphne_thread() -> Iterator[Any]:
    """One Daphne for the whole session: its reactor cannot be started twice."""
    from tests.web.daphne_thread import running

    with running() as server:
        yield server
