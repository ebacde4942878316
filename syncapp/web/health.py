"""``/healthz``: is this program able to work? For process managers and load balancers, so without login."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from syncapp.store import triggers

log = logging.getLogger(__name__)


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when every check passes, else 503; the body names each check and what is wrong with it.

    Causes go to the log, not to the caller: a database's messages may name hosts and users.
    """
    checks: dict[str, str] = {}
    for name, check in CHECKS.items():
        checks[name] = _outcome(name, check)
        if checks[name] != "ok":
            break  # the later ones need what failed
    able = all(outcome == "ok" for outcome in checks.values())
    return JsonResponse(
        {"status": "ok" if able else "failing", "checks": checks}, status=200 if able else 503
    )


def _outcome(name: str, check: Callable[[], str]) -> str:
    try:
        return check() or "ok"
    except Exception:
        log.exception("health check %s failed", name)
        return "failed: see the program's log"


def _database() -> str:
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT 1")
    return ""


def _migrations() -> str:
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return f"{len(pending)} migrations not applied: run manage.py migrate" if pending else ""


def _triggers() -> str:
    faults = triggers.verify(DEFAULT_DB_ALIAS)
    return (
        f"{len(faults)} change triggers missing or outdated: run manage.py syncconfig apply" if faults else ""
    )


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "triggers": _triggers,
}
