"""One program run by Daphne as its users meet it: a process of its own, with its own database."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a long password"
#: Links in every state, made by this script in the program's own process.
LINKS = """
from django.contrib.auth.models import Permission, User
from syncapp.models import LinkState
from syncapp.store.status import now_us
from tests import rows

root = User.objects.create_superuser("anna", password={password!r})
viewer = User.objects.create_user("olga", password={password!r}, is_staff=True)
viewer.user_permissions.add(Permission.objects.get(codename="view_link"))
now, minute = now_us(), 60 * rows.SECOND
phone = rows.field("phone")

def link(name, mode="active", transport="websocket", **state):
    defaults = {{"state_since": now - 7 * minute, "lease_until": now + 10_000 * minute,
        "last_exchange": now - 3 * rows.SECOND, "peer_title": name, "peer_software": "syncapp 0.1.0"}}
    made = rows.link(name, mode=mode, transport=transport, paused=state.get("state") == "paused",
        state={{**defaults, **state}})
    rows.mapping(made, phone)
    return made

link("Head office", state="connected", sent=48_210, received=1_204, clock_offset=125 * rows.SECOND)
busy = link("Kazan – warehouse", state="connected", sent=12, received=7_301_455, peer_head=90, applied_seq=56,
    suspended=[[phone.number, "types_differ", {{"field": "phone", "here": "text(40)", "there": "integer"}}]])
rows.problem(busy, phone); rows.problem(busy, phone); rows.conflict(busy, phone)
link("Omsk", state="connecting", attempt=3, state_since=now + 60 * minute, reason_code="unreachable",
    reason_params={{"address": "http://omsk.example", "detail": "timed out"}})
link("Perm", state="offline", attempt=40, reason_code="unreachable",
    reason_params={{"address": "http://perm.example", "detail": "connection refused"}})
link("Samara", state="paused")
link("Tomsk", state="refused", reason_code="wrong_password")
link("Ufa", state="attention", reason_code="same_instance")
link("Yakutsk", mode="passive", state="never", last_exchange=0, peer_title="", peer_software="")
"""


def free_port() -> int:
    """A port that nothing listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """The program; `kill` and `start` it again as often as needed, on the same port with the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.database = folder / "db.sqlite3"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "DATABASE_URL": f"sqlite:///{self.database}",
            "SECRET_KEY": "for-browser-tests-only",
            "SYNCAPP_INSTANCE": "browser",
            "SYNCAPP_TITLE": "Branch",
            "SYNCAPP_PUBLIC_URL": self.url,
            "MEDIA_ROOT": str(self.folder / "media"),
            "LANGUAGE_CODE": "en",
            "DEBUG": "0",
        }

    def manage(self, *arguments: str) -> None:
        """Run a command of ``manage.py`` to its end."""
        command = [sys.executable, "manage.py", *arguments]
        subprocess.run(command, cwd=ROOT, env=self.environment(), check=True, capture_output=True, timeout=60)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port)]
        with (self.folder / "daphne.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "project.asgi:application"],
                cwd=ROOT,
                env=self.environment(),
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/admin/login/", timeout=5):
                    return
            except OSError:
                assert self.process.poll() is None, (self.folder / "daphne.log").read_text()
                time.sleep(0.1)
        raise AssertionError("the program does not answer")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def sql(self, statement: str, *values: object) -> None:
        """Write to the database behind the program's back, as the engine in another process does."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute(statement, values)

    def link(self, name: str, **values: object) -> None:
        """Change what the engine knows of a link."""
        columns = ", ".join(f"{column} = ?" for column in values)
        where = "link_id = (SELECT id FROM syncapp_link WHERE name = ?)"
        self.sql(f"UPDATE syncapp_linkstate SET {columns} WHERE {where}", *values.values(), name)
