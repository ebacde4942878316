"""Two programs as people run them, linked and live, with the benchmark's rows on both sides."""

import shutil
import sqlite3
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import processes, sample
from bench.processes import ROOT, BenchError, Meter

#: Databases of benchmarks belong on a disk: on a memory file system a flush costs nothing.
FOLDER = ROOT / "var" / "bench"
PASSWORD = "correct-horse-battery-staple"


class Program:
    """One program: its folder, its database, its process."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.database = self.folder / "db.sqlite3"
        self.log = self.folder / "log.txt"
        self.port = processes.free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return processes.base_environment() | {
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "SYNCAPP_INSTANCE": self.name,
            "SYNCAPP_PUBLIC_URL": self.url,
            "DATABASE_URL": f"sqlite:///{self.database}",
            "MEDIA_ROOT": str(self.folder / "media"),
            "SECRET_KEY": f"bench-{self.name}",
            "LINK_PASSWORD": PASSWORD,
        }

    def start_manage(self, *arguments: str) -> subprocess.Popen[bytes]:
        return processes.start(["manage.py", *arguments], self.environment(), self.log)

    def manage(self, *arguments: str) -> None:
        process = self.start_manage(*arguments)
        if process.wait() != 0:
            raise BenchError(f"{self.name}: manage.py {' '.join(arguments)} failed:\n{self.log.read_text()}")

    def link(self, peer: str, address: str = "", *, log: bool = False) -> None:
        """Configure the link to ``peer``: dialling ``address``, or waiting for it."""
        mode = f'mode = "active"\naddress = "{address}"' if address else 'mode = "passive"'
        fields = "".join(f'{name} = "both"\n' for name in sample.FIELDS)
        text = f"""
            [[link]]
            name = "{peer}"
            {mode.replace(chr(10), chr(10) + " " * 12)}
            transport = "websocket"
            password = "env:LINK_PASSWORD"
            log = {str(log).lower()}
            interval = 0

            [[link.table]]
            table = "{sample.LABEL}"
            match_by = ["number"]
            [link.table.fields]
        """
        path = self.folder / "link.toml"
        path.write_text(textwrap.dedent(text) + fields)
        self.manage("syncconfig", "apply", str(path))

    def serve(self) -> None:
        self.process = self.start_manage("serve", f"127.0.0.1:{self.port}", "--no-migrate")

    def meter(self) -> Meter:
        assert self.process is not None
        return Meter(self.name, self.process.pid)

    def connected(self) -> bool:
        self.check_running()
        return self._state() == "connected"

    def _state(self) -> str:
        connection = sqlite3.connect(self.database, timeout=5)
        try:
            return str(connection.execute("SELECT state FROM syncapp_linkstate").fetchone()[0])
        except (sqlite3.OperationalError, TypeError):
            return ""
        finally:
            connection.close()

    def check_running(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            raise BenchError(f"{self.name} ended by itself:\n{self.log.read_text()[-4000:]}")

    def stop(self) -> None:
        if self.process is not None:
            processes.stop(self.process)
            self.process = None


class Pair:
    """Head office (passive) and branch (active)."""

    def __init__(self, folder: Path) -> None:
        self.head = Program(folder, "head")
        self.branch = Program(folder, "branch")
        self.both = (self.head, self.branch)

    def prepare(self, *, log: bool) -> None:
        for setting_up in [program.start_manage("migrate", "-v0") for program in self.both]:
            setting_up.wait()
        self.head.link("Branch", log=log)
        self.branch.link("Head office", self.head.url, log=log)

    def go(self, rows: int) -> None:
        """Start both; wait until they are live and hold the same ``rows``, made in the head office."""
        for program in self.both:
            program.serve()
        for program in self.both:
            processes.wait_until(program.connected, f"connecting {program.name}")
        sample.fill(self.head.database, rows)
        processes.wait_until(
            lambda: sample.count(self.branch.database) == rows,
            f"the first copy of {rows} rows",
            60 + rows / 200,
        )
        self.settle()

    def settle(self) -> None:
        """Wait until neither has anything left to send, and the last acknowledgements are stored."""
        processes.wait_until(
            lambda: all(_journal(program.database) == 0 for program in self.both), "sending the rest"
        )
        time.sleep(1.0)

    def stop(self) -> None:
        for program in self.both:
            if program.process is not None:
                program.process.terminate()
        for program in self.both:
            program.stop()


def _journal(database: Path) -> int:
    """How many changes are not sealed yet."""
    connection = sqlite3.connect(database, timeout=5)
    try:
        return int(connection.execute("SELECT count(*) FROM syncapp_journal").fetchone()[0])
    finally:
        connection.close()


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """A folder for one benchmark, gone afterwards."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=FOLDER))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def linked(rows: int, *, log: bool = False) -> Iterator[Pair]:
    """Two live programs that hold the same ``rows``."""
    with folder("linked") as path:
        pair = Pair(path)
        pair.prepare(log=log)
        try:
            pair.go(rows)
            yield pair
        finally:
            pair.stop()
