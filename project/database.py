"""The database that ``DATABASE_URL`` names, with what the program needs of it.

On PostgreSQL each process has a pool of connections for requests; the engine's threads have their own beside it
(`syncapp.engine.pool`). Nothing here rests on a session of the server, so that a pooler such as PgBouncer in
transaction mode may stand in between: no prepared statements (Django's default), no server-side cursors.
"""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

SQLITE = "django.db.backends.sqlite3"
POSTGRESQL = "django.db.backends.postgresql"

SQLITE_OPTIONS: dict[str, Any] = {
    # A transaction that reads first and writes later would fail when another wrote in between.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    # FULL: what was acknowledged to a peer must survive a power cut.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}

#: Of libpq; what the address says goes before. A server that is gone without a word is noticed within seconds.
POSTGRESQL_OPTIONS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
#: The most connections that requests of one process hold at once, if the address does not say (``?pool=20``).
POOL_SIZE = 10
#: Seconds that a request waits for one of them.
POOL_TIMEOUT = 10


def database(config: dict[str, Any], instance: str) -> dict[str, Any]:
    """Complete what django-environ read from an address, for Django's ``DATABASES``."""
    if config["ENGINE"] == SQLITE:
        return config | {"OPTIONS": SQLITE_OPTIONS | config.get("OPTIONS", {})}
    if config["ENGINE"] == POSTGRESQL:
        return _postgresql(config, instance)
    return config


def _postgresql(config: dict[str, Any], instance: str) -> dict[str, Any]:
    given = dict(config.get("OPTIONS", {}))
    options = POSTGRESQL_OPTIONS | {"application_name": f"syncapp-{instance}"} | given
    options["pool"] = _pool(given.get("pool", POOL_SIZE))
    return config | {
        "OPTIONS": options,
        # Requests give their connection back at their end. (Kept ones would be a thread's, and there is a thread for
        # each request.)
        "CONN_MAX_AGE": 0,
        # One that the server closed meanwhile is not handed out.
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }


def _pool(size: Any) -> dict[str, Any] | None:
    if str(size).lower() in ("off", "false", "no", "0", "none"):
        return None
    if not str(size).isdigit():
        raise ImproperlyConfigured(
            f"DATABASE_URL: pool is {size!r}: use the largest number of connections that requests of one process may "
            'hold, e.g. "?pool=20", or "?pool=off".'
        )
    return {"min_size": 1, "max_size": int(size), "timeout": POOL_TIMEOUT, "name": "requests"}
