"""System checks: each has an id, a hint, and stays silent when all is well."""

import types
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import CheckMessage, registry, run_checks
from django.db import connections
from django.test import override_settings
from django.urls import include, path
from psycopg import IsolationLevel

from syncapp import checks

GOOD = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"}


def ids(messages: list[CheckMessage]) -> list[str]:
    assert all(message.hint for message in messages)
    return [str(message.id) for message in messages]


def test_the_program_that_ships_is_set_up_well() -> None:
    assert ids(run_checks(tags=["syncapp"])) == []


def test_every_check_is_registered() -> None:
    known = registry.registry.get_checks(include_deployment_checks=True)
    for check in (checks.check_database, checks.check_web, checks.check_settings, checks.check_secret_key):
        assert check in known
    assert checks.check_secret_key not in registry.registry.get_checks()


# -- the database -------------------------------------------------------------------------------------------


class Connection:
    """As much of a connection as the check looks at."""

    def __init__(self, vendor: str, options: dict[str, Any]) -> None:
        self.vendor = vendor
        self.settings_dict = {"OPTIONS": options}


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    def check(vendor: str = "sqlite", **options: Any) -> list[str]:
        monkeypatch.setattr(checks, "connections", {"default": Connection(vendor, options)})
        return ids(checks.check_database(None))

    return check


def test_an_unsupported_database(database: Any) -> None:
    assert database("oracle") == ["syncapp.E001"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"init_command": "PRAGMA synchronous=FULL;"}, ["syncapp.W001"]),
        ({"init_command": None}, ["syncapp.W001"]),
        ({"init_command": "PRAGMA journal_mode=DELETE"}, ["syncapp.W001"]),
        ({"init_command": "pragma journal_mode = 'wal'; pragma synchronous = 2"}, []),
        ({"init_command": "PRAGMA journal_mode=WAL"}, []),
        ({"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"}, ["syncapp.W003"]),
        ({"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous = 0"}, ["syncapp.W003"]),
        ({"transaction_mode": None}, ["syncapp.W002"]),
        ({"transaction_mode": "EXCLUSIVE"}, ["syncapp.W002"]),
        ({"transaction_mode": "immediate"}, []),
    ],
)
def test_sqlite(database: Any, change: dict[str, Any], expected: list[str]) -> None:
    assert database(**{**GOOD, **change}) == expected


def test_sqlite_as_django_sets_it_up(database: Any) -> None:
    assert database() == ["syncapp.W001", "syncapp.W002"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"pool": {"max_size": 5}, "options": "-c statement_timeout=5s"}, []),
        ({"isolation_level": IsolationLevel.READ_COMMITTED}, []),
        ({"isolation_level": IsolationLevel.REPEATABLE_READ}, ["syncapp.E005"]),
        ({"isolation_level": IsolationLevel.SERIALIZABLE}, ["syncapp.E005"]),
        ({"options": "-c synchronous_commit=on"}, []),
        ({"options": "-c synchronous_commit=off"}, ["syncapp.W008"]),
    ],
)
def test_postgresql(database: Any, options: dict[str, Any], expected: list[str]) -> None:
    assert database("postgresql", **options) == expected


def test_the_old_driver_of_postgresql(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == "psycopg" else True)
    assert database("postgresql") == ["syncapp.E004"]


def test_the_tests_themselves_run_on_what_is_checked() -> None:
    assert connections["default"].vendor in checks.SUPPORTED_VENDORS


# -- the web ------------------------------------------------------------------------------------------------


def urlconf(*patterns: Any) -> types.ModuleType:
    module = types.ModuleType("urlconf_of_a_test")
    module.urlpatterns = list(patterns)  # type: ignore[attr-defined]
    return module


def test_addresses_that_are_not_included() -> None:
    with override_settings(ROOT_URLCONF=urlconf()):
        assert ids(checks.check_web(None)) == ["syncapp.W005"]


def test_addresses_that_are_included_further_down() -> None:
    inner = [path("sync/", include("syncapp.urls"))]
    with override_settings(ROOT_URLCONF=urlconf(path("more/", include(inner)))):
        assert ids(checks.check_web(None)) == []


def test_no_asgi_application() -> None:
    with override_settings(ASGI_APPLICATION=None):
        assert ids(checks.check_web(None)) == ["syncapp.W004"]


def test_no_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    assert ids(checks.check_web(None)) == ["syncapp.E002"]


# -- settings -----------------------------------------------------------------------------------------------


@override_settings(SYNCAPP_TABLES=["crm.*", "shop.*", "!crm.Nothing", "!crm.Tag"])
def test_patterns_that_match_nothing() -> None:
    found = checks.check_settings(None)
    assert ids(found) == ["syncapp.W006", "syncapp.W006"]
    assert '"shop.*"' in found[0].msg
    assert '"!crm.Nothing"' in found[1].msg


@override_settings(SYNCAPP_LOG_DAYS="soon")
def test_a_setting_that_makes_no_sense() -> None:
    found = checks.check_settings(None)
    assert ids(found) == ["syncapp.E003"]
    assert "SYNCAPP_LOG_DAYS" in found[0].msg


@pytest.mark.parametrize(
    ("debug", "key", "expected"),
    [(False, "", ["syncapp.W007"]), (True, "", []), (False, "a key of its own", [])],
)
def test_the_key_of_the_secrets(debug: bool, key: str, expected: list[str]) -> None:
    with override_settings(DEBUG=debug, SYNCAPP_SECRET_KEY=key):
        assert settings.DEBUG is debug
        assert ids(checks.check_secret_key(None)) == expected
