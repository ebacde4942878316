"""One program in a process of its own, as people run it, and what a test may do to it."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.instances.databases import Database, Outsider, Row, SqliteFile
from tests.instances.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
RUNNER = ("-m", "tests.instances.runner")
PASSWORD = "correct horse battery staple"
#: Outside the range that the system gives to outgoing connections: the port is free again after a restart.
PORTS = range(21_000, 32_000)
#: A slow machine with other work needs several seconds for what takes one.
PATIENCE = 60.0
COMMAND_PATIENCE = 90.0


def free_port() -> int:
    """A port that nothing listens on."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Program:
    """A program with its folder, database and environment. ``start`` makes a process of it.

    ``apart``: the web server and the engine are processes of their own, as in the Procfile.
    """

    def __init__(
        self, folder: Path, name: str, *, apart: bool = False, database: Database | None = None
    ) -> None:
        self.folder = folder
        self.name = name
        self.database = database or SqliteFile(folder)
        self.port = free_port()
        self.apart = apart
        #: Added to the environment of what is started next.
        self.extra: dict[str, str] = {}
        #: Whether ``serve`` is left to migrate; the templates are migrated.
        self.migrate = False
        #: Given to ``daphne``.
        self.web_options: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def environment(self) -> dict[str, str]:
        """Its own environment; of the tests' only what a process needs."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "default",
            "SYNCAPP_INSTANCE": self.name,
            "SYNCAPP_TITLE": self.name.capitalize(),
            "SYNCAPP_PUBLIC_URL": self.url,
            "DATABASE_URL": self.database.url,
            "MEDIA_ROOT": str(self.folder / "media"),
            "SECRET_KEY": f"for-tests-only-and-therefore-no-secret-{self.name}",
            "LINK_PASSWORD": PASSWORD,
            **self.extra,
        }

    # -- processes ------------------------------------------------------------------------------------------

    def start(self, *, wait: bool = True) -> None:
        """Start it; it is ready to work on return."""
        if self.apart:
            self.start_web()
            self.start_engine()
        else:
            options = () if self.migrate else ("--no-migrate",)
            self._spawn("manage.py", "serve", *options, f"127.0.0.1:{self.port}")
        if wait:
            self.wait_ready()

    def start_web(self) -> None:
        where = ("-b", "127.0.0.1", "-p", str(self.port))
        self._spawn("daphne", *where, *self.web_options, "project.asgi:application")

    def start_engine(self) -> None:
        self._spawn("manage.py", "runsync")

    def _spawn(self, *arguments: str) -> None:
        with self.log.open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, *RUNNER, *arguments],
                    cwd=ROOT,
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )

    def wait_ready(self) -> None:
        wait_until(self._ready, PATIENCE, f"{self.name} is ready", every=0.1)

    def _ready(self) -> bool:
        assert all(process.poll() is None for process in self.processes), f"{self.name} ended: {self.tail()}"
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=10):
                return True
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{self.name} isn't able to work: {error.read().decode()}") from None
        except OSError:
            return False

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self.processes[0]

    def kill(self) -> None:
        """kill -9: no goodbye, nothing finished."""
        self._signal(signal.SIGKILL)
        self._reap()

    def stop(self, timeout: float = 20) -> list[int]:
        """SIGTERM; gives the exit codes."""
        self._signal(signal.SIGTERM)
        codes = [process.wait(timeout) for process in self.processes]
        self.processes.clear()
        return codes

    def freeze(self) -> None:
        """SIGSTOP: it stays, and does nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.processes:
            process.send_signal(number)

    def _reap(self) -> None:
        for process in self.processes:
            process.wait(20)
        self.processes.clear()

    def resident(self) -> int:
        """Bytes of memory that its processes hold."""
        return sum(_resident(process.pid) for process in self.processes)

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # -- commands -------------------------------------------------------------------------------------------

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A ``manage.py`` command, whatever comes of it."""
        return subprocess.run(
            [sys.executable, *RUNNER, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_PATIENCE,
        )

    def command(self, *arguments: str, stdin: str = "") -> str:
        """The output of a ``manage.py`` command that has to succeed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def shell(self, code: str) -> str:
        """Run Python in this program, in a process of its own."""
        return self.command("shell", "--no-imports", "-c", code)

    def status(self) -> dict[str, Any]:
        """The link as ``syncstatus --json`` shows it. Starts a process: `state` is for polling."""
        found = json.loads(self.command("syncstatus", "--json", "--skip-checks"))
        assert len(found) == 1
        shown: dict[str, Any] = found[0]
        return shown

    def synclog(self, limit: int = 1000) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = json.loads(
            self.command("synclog", "--json", "--limit", str(limit), "--skip-checks")
        )
        return shown

    # -- the database, past the program ---------------------------------------------------------------------

    @contextmanager
    def connection(self, timeout: float = 30) -> Iterator[Outsider]:
        """A connection of an outsider; committed at the end of the block."""
        with self.database.connection(timeout) as made:
            yield made

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self.database.rows(sql, parameters)

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row; None without one."""
        found = self.rows(sql, parameters)
        return found[0][0] if found else None

    def write(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; gives the id of an inserted row."""
        with self.connection() as connection:
            return connection.execute(sql, parameters).lastrowid or 0

    def state(self) -> dict[str, Any]:
        """The row that the engine keeps of its link: cheap to ask for again and again."""
        found = self.database.records("SELECT * FROM syncapp_linkstate")
        return found[0] if found else {"state": ""}

    def pending(self) -> int:
        """Rows of the journal that nothing has taken up."""
        return int(self.value("SELECT count(*) FROM syncapp_journal"))

    def configure(self, text: str) -> None:
        """``syncconfig apply -``."""
        self.command("syncconfig", "apply", "-", stdin=text)


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
