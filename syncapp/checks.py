"""System checks: what an administrator forgot, with what to do about it. They look at settings, never at the
database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.urls import URLResolver, get_resolver

from syncapp import conf
from syncapp.store import introspect

#: Databases whose changes can be captured.
SUPPORTED_VENDORS = ("sqlite", "postgresql")
#: `psycopg.IsolationLevel`, which need not be installed.
READ_COMMITTED = 2

_WAL = re.compile(r"journal_mode\s*=\s*['\"]?wal\b", re.IGNORECASE)
_SYNCHRONOUS = re.compile(r"synchronous\s*=\s*['\"]?(\w+)", re.IGNORECASE)
_SAFE_SYNCHRONOUS = ("full", "extra", "2", "3")


@register("syncapp")
def check_database(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001, E004, E005, W001 to W003, W008: can the database be captured, and is what it acknowledged kept."""
    connection = connections["default"]
    if connection.vendor not in SUPPORTED_VENDORS:
        return [
            Error(
                f"syncapp cannot capture changes in a database of type {connection.vendor}.",
                hint=f"Use one of: {', '.join(SUPPORTED_VENDORS)}.",
                id="syncapp.E001",
            )
        ]
    check = _check_sqlite if connection.vendor == "sqlite" else _check_postgresql
    return list(check(connection.settings_dict))


def _check_postgresql(database: dict[str, Any]) -> Iterator[CheckMessage]:
    if find_spec("psycopg") is None:
        yield Error(
            "psycopg 3 is not installed: syncapp does not work with psycopg2.",
            hint='Install it: pip install "psycopg[binary,pool]".',
            id="syncapp.E004",
        )
    options = database.get("OPTIONS", {})
    level = options.get("isolation_level")
    if level is not None and int(level) != READ_COMMITTED:
        yield Error(
            "The database's transactions see one moment throughout (isolation_level): syncapp locks first and then has "
            "to see what others committed meanwhile.",
            hint="Take isolation_level out of OPTIONS of the database.",
            id="syncapp.E005",
        )
    if re.search(
        r"synchronous_commit\s*=\s*(off|false|no|0)", str(options.get("options", "")), re.IGNORECASE
    ):
        yield Warning(
            "PostgreSQL commits with synchronous_commit=off: after a crash of its server, changes that count as "
            "delivered may be gone.",
            hint='Take it out of OPTIONS["options"] of the database.',
            id="syncapp.W008",
        )


def _check_sqlite(database: dict[str, Any]) -> Iterator[CheckMessage]:
    options = database.get("OPTIONS", {})
    commands = str(options.get("init_command") or "")
    if not _WAL.search(commands):
        yield Warning(
            "SQLite is not set to write-ahead logging: people who save would wait for the synchronisation.",
            hint='Put "PRAGMA journal_mode=WAL;" into OPTIONS["init_command"] of the database.',
            id="syncapp.W001",
        )
    if str(options.get("transaction_mode") or "").upper() != "IMMEDIATE":
        yield Warning(
            "SQLite transactions do not start IMMEDIATE: one that reads before it writes may fail with "
            '"database is locked".',
            hint='Set OPTIONS["transaction_mode"] of the database to "IMMEDIATE".',
            id="syncapp.W002",
        )
    chosen = _SYNCHRONOUS.search(commands)
    if chosen and chosen[1].lower() not in _SAFE_SYNCHRONOUS:
        yield Warning(
            f"SQLite writes with synchronous={chosen[1]}: after a power cut, changes that count as "
            "may be gone.",
            hint='Put "PRAGMA synchronous=FULL;" into OPTIONS["init_command"] of the database.',
            id="syncapp.W003",
        )


@register("syncapp")
def check_web(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E002, W004, W005: can peers and people reach this program."""
    found: list[CheckMessage] = []
    if find_spec("channels") is None:
        found.append(
            Error("channels is not installed.", hint="Install it: pip install channels.", id="syncapp.E002")
        )
    if not getattr(settings, "ASGI_APPLICATION", None):
        found.append(
            Warning(
                "ASGI_APPLICATION is not set: peers and open pages have no websocket to connect to.",
                hint='Set it to the application with syncapp\'s routes, e.g. "project.asgi.application".',
                id="syncapp.W004",
            )
        )
    if getattr(settings, "ROOT_URLCONF", None) and not _includes_syncapp(get_resolver()):
        found.append(
            Warning(
                "The addresses of syncapp are not included: its panel cannot be opened.",
                hint='Add path("sync/", include("syncapp.urls")) to the urlpatterns of ROOT_URLCONF.',
                id="syncapp.W005",
            )
        )
    return found


def _includes_syncapp(resolver: URLResolver) -> bool:
    module = resolver.urlconf_name
    name = module if isinstance(module, str) else getattr(module, "__name__", "")
    if name == "syncapp" or name.startswith("syncapp."):
        return True
    return any(_includes_syncapp(item) for item in resolver.url_patterns if isinstance(item, URLResolver))


@register("syncapp")
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E003, W006: do syncapp's own settings make sense."""
    try:
        patterns = conf.current().tables
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="Correct the setting.", id="syncapp.E003")]
    models = apps.get_models()
    return [
        Warning(
            f'SYNCAPP_TABLES: "{pattern}" matches no table.',
            hint="Correct it, or take it out. A pattern looks like shop.* or shop.Order.",
            id="syncapp.W006",
        )
        for pattern in patterns
        if not any(introspect.matches(pattern.removeprefix("!"), model) for model in models)
    ]


@register("syncapp", deploy=True)
def check_secret_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W007, in ``check --deploy``: does the key of the links' passwords outlive a new SECRET_KEY."""
    if settings.DEBUG or not conf.secret_key_is_derived():
        return []
    return [
        Warning(
            "SYNCAPP_SECRET_KEY is not set, so the passwords of links are encrypted with SECRET_KEY: when "
            "that is changed, they have to be entered again.",
            hint="Set SYNCAPP_SECRET_KEY to a long random text of its own before creating links.",
            id="syncapp.W007",
        )
    ]
