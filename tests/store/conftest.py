"""The store's tests run on every database."""

from tests import vendors

pytest_pycollect_makeitem = vendors.makeitem
pytest_generate_tests = vendors.generate_tests
