"""A PostgreSQL server of the tests' own, in a temporary folder, on a free port.

`shared()` starts one server for all processes of a test run (pytest-xdist's workers), or joins the one that runs; each
makes databases of its own in it. `Cluster.make()` starts a further server, for tests that stop, restore or break it.

Nobody has to remember to stop the shared one: a guard process does, as soon as the last process that uses it is gone,
however it went.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

USER = "syncapp"
ENGINE = "django.db.backends.postgresql"

#: Nothing here has to survive a power cut. Enough connections for several workers with several threads each.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "listen_addresses": "127.0.0.1",
    # Deadlocks are part of what is tested: no test should wait a second for each.
    "deadlock_timeout": "100ms",
    "log_min_messages": "warning",
    "autovacuum": "off",
}


# -- what is on this machine --------------------------------------------------------------------------------


@cache
def binaries() -> Path | None:
    """The folder of the newest server's programs; None where there is no server."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _version(path.parent.name), reverse=True
    )
    on_path = shutil.which("initdb")
    folders = [*found, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def _version(name: str) -> int:
    return int(name) if name.isdigit() else 0


def missing() -> str:
    """Why no server can be started here; empty if one can."""
    if binaries() is None:
        return "no PostgreSQL server is installed (tests/provision.sh postgresql)"
    if os.geteuid() == 0 and _account() is None:
        return "a PostgreSQL server does not run as root, and there is no user postgres or nobody"
    return ""


def _account() -> pwd.struct_passwd | None:
    """As whom the server runs: it refuses to be root."""
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    return None


# -- one server ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """A server. ``folder`` holds its data and its socket; ``password`` is asked for over TCP only."""

    folder: Path
    port: int
    password: str

    @classmethod
    def make(cls, **settings: str) -> Cluster:
        """Create and start a server with ``settings`` besides the usual ones."""
        if reason := missing():
            raise RuntimeError(reason)
        folder = Path(tempfile.mkdtemp(prefix="syncapp-pg-"))
        cluster = cls(folder, _free_port(), secrets.token_hex(8))
        account = _account()
        if os.geteuid() == 0 and account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        password = folder / "password"
        password.write_text(cluster.password)
        password.chmod(0o644)  # within a folder that is its owner's alone
        auth = ["--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile", str(password)]
        _program("initdb", "-D", str(cluster.data), "-U", USER, *auth, "-E", "UTF8", "--locale=C.UTF-8", "-N")
        lines = [f"{name} = '{value}'" for name, value in {**SETTINGS, **settings}.items()]
        lines += [f"port = {cluster.port}", f"unix_socket_directories = '{folder}'"]
        with (cluster.data / "postgresql.conf").open("a") as file:
            file.write("\n".join(lines) + "\n")
        cluster.start()
        return cluster

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        _program("pg_ctl", "-D", str(self.data), "-l", str(self.log), "-w", "-t", "60", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; ``immediate`` is a crash, after which it recovers."""
        _program("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-t", "60", "stop")

    def running(self) -> bool:
        """Whether the server is up."""
        return (
            _program("pg_ctl", "-D", str(self.data), "status", check=False, capture_output=True).returncode
            == 0
        )

    def remove(self) -> None:
        """Stop it and delete everything."""
        if self.running():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- databases --

    def create(self, name: str, template: str = "template0") -> None:
        """Create a database; one of that name is replaced."""
        self.drop(name)
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(
        self, sql: str, params: Sequence[Any] | None = None, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement by itself; its rows."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder), port=self.port, user=USER, dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    def settings(self, database: str) -> dict[str, Any]:
        """The database in Django's ``DATABASES``."""
        return {
            "ENGINE": ENGINE,
            "NAME": database,
            "USER": USER,
            "HOST": str(self.folder),
            "PORT": str(self.port),
        }

    def url(self, database: str) -> str:
        """The database as ``DATABASE_URL``, over TCP."""
        return f"postgres://{USER}:{self.password}@127.0.0.1:{self.port}/{quote(database)}"

    def socket_url(self, database: str) -> str:
        """The database as ``DATABASE_URL``, over the unix socket; no password."""
        return f"postgres://{USER}@/{quote(database)}?host={self.folder}&port={self.port}"

    def program(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs (``pg_dump``, ``pg_restore``, …) against this server."""
        _program(name, "-h", str(self.folder), "-p", str(self.port), "-U", USER, *arguments)


def _program(
    name: str, *arguments: str, check: bool = True, **options: Any
) -> subprocess.CompletedProcess[Any]:
    folder, account = binaries(), _account()
    assert folder is not None
    if os.geteuid() == 0 and account is not None:
        options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    options = {"stdout": subprocess.DEVNULL} | options if "capture_output" not in options else options
    # From "/": the account may not be allowed to be where the tests run. No environment of libpq's.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return subprocess.run(
        [str(folder / name), *arguments],
        check=check,
        cwd="/",
        stdin=subprocess.DEVNULL,
        env={**environment, "LC_MESSAGES": "C"},
        **options,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- one server for all processes of a test run -------------------------------------------------------------

_joined: tuple[Cluster, IO[str]] | None = None


def shared() -> Cluster:
    """The run's server: started by the first process that asks."""
    global _joined
    if _joined is not None:
        return _joined[0]
    place = _place()
    while True:
        place.mkdir(mode=0o700, exist_ok=True)
        with (place / "start").open("a") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            # Held for as long as this process lives; waits while a guard is clearing up.
            users = (place / "users").open("a")
            fcntl.flock(users, fcntl.LOCK_SH)
            if place.exists():
                _joined = _start_or_join(place), users
                atexit.register(users.close)
                return _joined[0]


def _start_or_join(place: Path) -> Cluster:
    known = place / "cluster.json"
    if known.exists():
        return _known(place)
    cluster = Cluster.make()
    known.write_text(json.dumps(asdict(cluster), default=str))
    _guard(place)
    return cluster


def _known(place: Path) -> Cluster:
    values = json.loads((place / "cluster.json").read_text())
    return Cluster(Path(values["folder"]), values["port"], values["password"])


def _place() -> Path:
    """A folder that the processes of one run have in common, and nobody else."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"{os.getpid()}"
    return Path(tempfile.gettempdir()) / f"syncapp-pg-run-{run}"


def _guard(place: Path) -> None:
    """Start the process that stops the server when nobody uses it any more."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres", str(place)],
        cwd=Path(__file__).resolve().parent.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    guard.returncode = 0  # it outlives us: nobody here waits for it, and nothing should warn of that


def _watch(place: Path) -> None:
    with (place / "users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_EX)  # granted when the last user is gone, killed ones too
        _known(place).remove()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    _watch(Path(sys.argv[1]))
