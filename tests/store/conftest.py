"""The store's tests run on every database."""

import pytest

from tests import vendors


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    vendors.parametrize(metafunc)
