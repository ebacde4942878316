"""Tests of the engine that are about PostgreSQL use the fixture `vendor`."""

from tests import vendors

pytest_generate_tests = vendors.generate_tests
