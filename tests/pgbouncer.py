"""A PgBouncer of the tests' own, in front of a cluster of theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests import postgres
from tests.instances.program import free_port
from tests.instances.runner import die_with_parent
from tests.instances.waiting import wait_until
from tests.postgres import USER, Cluster

#: Few connections to the server, so that clients share them and get another one each time.
SETTINGS = {
    "pool_mode": "transaction",
    "default_pool_size": "5",
    "max_client_conn": "200",
    "auth_type": "any",
    "unix_socket_dir": "",
    "listen_addr": "127.0.0.1",
    "server_round_robin": "1",
}


def missing() -> str:
    """Why none can be started here; empty if one can."""
    return "" if _binary() else "no PgBouncer is installed (tests/provision.sh pgbouncer)"


def _binary() -> str | None:
    return shutil.which("pgbouncer", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


class PgBouncer:
    """A running pooler."""

    def __init__(self, cluster: Cluster, folder: Path, **settings: str) -> None:
        self.cluster = cluster
        self.port = free_port()
        self.log = folder / "log"
        lines = [f"{name} = {value}" for name, value in {**SETTINGS, **settings}.items()]
        self._config = folder / "pgbouncer.ini"
        self._config.write_text(
            f"[databases]\n* = host={cluster.folder} port={cluster.port} user={USER}\n"
            f"[pgbouncer]\nlisten_port = {self.port}\n" + "\n".join(lines) + "\n"
        )
        self.process = self._start()

    def url(self, database: str) -> str:
        """The database as ``DATABASE_URL``, through the pooler."""
        return f"postgres://{USER}@127.0.0.1:{self.port}/{quote(database)}"

    def stop(self) -> None:
        """Let every client go, at once."""
        self.process.terminate()
        self.process.wait(20)

    def restart(self) -> None:
        """Every client has to come again."""
        self.stop()
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        binary, account = _binary(), postgres._account()
        assert binary is not None
        with self.log.open("ab") as log:
            # It refuses to be root, and has to be who may open the cluster's socket.
            process = subprocess.Popen(
                [binary, str(self._config)],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=account.pw_uid if account and os.geteuid() == 0 else None,
                preexec_fn=die_with_parent,
            )
        wait_until(self._answers, 20, "PgBouncer answers")
        return process

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def pgbouncer(cluster: Cluster, **settings: str) -> Iterator[PgBouncer]:
    """A pooler in front of ``cluster`` for the length of the block; in transaction mode unless told otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="syncapp-pgbouncer-"))
    folder.chmod(0o755)
    made = PgBouncer(cluster, folder, **settings)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
