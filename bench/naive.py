"""The naive way, for comparison: a signal after each save, a JSON message, ``update_or_create`` at the other end.

What many programs do, done well: a websocket that stays open, the table's own key on both sides, database
connections that stay open, the same SQLite settings as ours. It needs no triggers, but sees nothing that is not saved
through Django, loses what happens while the peer is away, and knows no conflicts.

``python -m bench.naive serve PORT DATABASE [PEER_PORT]``: a program under Daphne. With a peer's port it dials; both
ways it sends what its own people save and stores what comes in. ``GET /drive/?rate=…&count=…`` saves rows in its
process, as an admin page would, and answers with the moments of the commits.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench import processes, sample
from bench.processes import Meter
from bench.programs import folder

GROUP = "changes"


def configure(database: Path, synchronous: str) -> None:
    """The smallest Django program that can do it."""
    import django
    from django.conf import settings

    pragmas = f"PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous};"
    settings.configure(
        SECRET_KEY="bench",
        ALLOWED_HOSTS=["127.0.0.1"],
        INSTALLED_APPS=["bench.tables", "channels"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        ROOT_URLCONF="bench.naive_urls",
        USE_TZ=True,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(database),
                "CONN_MAX_AGE": None,  # one that is opened anew for each message would be unfair
                "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": pragmas},
            }
        },
        # The usual capacity of 100 drops messages silently under load.
        CHANNEL_LAYERS={
            "default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1_000_000}}
        },
    )
    django.setup()


_applying = threading.local()


class Driver:
    """Saves rows in the program's own process, one after the other."""

    def __init__(self) -> None:
        self.committed: list[int] = []

    def drive(self, rate: float, count: int, rows: int, first: int) -> dict[str, list[int]]:
        from bench.tables.models import Sample

        self.committed = []
        submitted: list[int] = []
        by_number = {item.number: item for item in Sample.objects.order_by("number")[:rows]}
        begin = time.monotonic()
        for i in range(count):
            marker, phone, amount, number = sample.change(first + i, rows)
            item = by_number[number]
            item.marker, item.phone, item.amount = marker, phone, Decimal(str(amount))
            if rate:
                time.sleep(max(0.0, begin + i / rate - time.monotonic()))
            submitted.append(time.monotonic_ns())
            item.save()
        return {"submitted": submitted, "committed": self.committed, "done": [time.monotonic_ns()]}


driver = Driver()


def on_save(sender: Any, instance: Any, **_: Any) -> None:
    """The heart of the naive way: tell the peer after each save."""
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    if getattr(_applying, "on", False):
        return
    driver.committed.append(time.monotonic_ns())
    values = {name: getattr(instance, name) for name in sample.FIELDS}
    text = json.dumps({"pk": instance.pk, "values": values}, default=str)
    async_to_sync(get_channel_layer().group_send)(GROUP, {"type": "changed", "text": text})


def store(text: str) -> None:
    """Store what the peer saved."""
    from bench.tables.models import Sample

    message = json.loads(text)
    _applying.on = True
    try:
        Sample.objects.update_or_create(pk=message["pk"], defaults=message["values"])
    finally:
        _applying.on = False


def application() -> Any:
    """The ASGI application: a page that drives, a websocket for the peer."""
    from channels.db import database_sync_to_async
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import ProtocolTypeRouter
    from django.core.asgi import get_asgi_application

    class Peer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
        async def connect(self) -> None:
            await self.channel_layer.group_add(GROUP, self.channel_name)
            await self.accept()

        async def receive(self, text_data: str = "", bytes_data: bytes = b"") -> None:
            await database_sync_to_async(store)(text_data)

        async def changed(self, event: dict[str, Any]) -> None:
            await self.send(event["text"])

    return ProtocolTypeRouter({"http": get_asgi_application(), "websocket": Peer.as_asgi()})


async def dial(port: int) -> None:
    """The dialling side: what `Peer` is at the other end."""
    from channels.db import database_sync_to_async
    from channels.layers import get_channel_layer
    from websockets.asyncio.client import connect

    layer = get_channel_layer()
    assert layer is not None
    name = await layer.new_channel()
    await layer.group_add(GROUP, name)
    async with connect(f"ws://127.0.0.1:{port}/", compression=None) as connection:

        async def send() -> None:
            while True:
                event = await layer.receive(name)
                await connection.send(event["text"])

        sending = asyncio.ensure_future(send())
        Path(os.environ["NAIVE_READY"]).touch()
        async for text in connection:
            await database_sync_to_async(store)(text)
        sending.cancel()


def serve(port: int, peer: int) -> None:
    from daphne.server import Server, twisted_loop
    from django.db.models.signals import post_save

    post_save.connect(on_save)
    tasks = []

    def ready() -> None:
        if peer:
            tasks.append(twisted_loop.create_task(dial(peer)))

    Server(
        application=application(),
        endpoints=[f"tcp:port={port}:interface=127.0.0.1"],
        ready_callable=ready,
        websocket_timeout=-1,
        http_timeout=None,
    ).run()


def main() -> None:
    command, port, database, *peer = sys.argv[1:]
    # As a module of its own name: the page that drives imports it too.
    from bench import naive

    if command == "serve":
        import daphne.server  # noqa: F401 - chooses Twisted's reactor, before anything else does
    naive.configure(Path(database), os.environ.get("NAIVE_SYNCHRONOUS", "FULL"))
    if command == "prepare":
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
    else:
        naive.serve(int(port), int(peer[0]) if peer else 0)


# -- for whoever runs a benchmark ---------------------------------------------------------------------------


class NaiveProgram:
    """One of the two programs."""

    def __init__(self, path: Path, name: str, synchronous: str) -> None:
        self.name = name
        self.folder = path / name
        self.folder.mkdir(parents=True)
        self.database = self.folder / "db.sqlite3"
        self.port = processes.free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = processes.base_environment() | {
            "NAIVE_SYNCHRONOUS": synchronous,
            "NAIVE_READY": str(self.folder / "ready"),
        }

    def start(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        words = ["-m", "bench.naive", command, str(self.port), str(self.database), *arguments]
        return processes.start(words, self.environment, self.folder / "log.txt")

    def meter(self) -> Meter:
        assert self.process is not None
        return Meter(self.name, self.process.pid)

    def drive(self, rate: float, count: int, rows: int, first: int) -> dict[str, list[int]]:
        """Let it save ``count`` rows; the moments, in monotonic ns."""
        query = f"rate={rate}&count={count}&rows={rows}&first={first}"
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/drive/?{query}", timeout=600) as answer:
            return dict(json.load(answer))


@contextmanager
def linked(rows: int, synchronous: str = "FULL") -> Iterator[tuple[NaiveProgram, NaiveProgram]]:
    """Two programs, the second one dialling the first, that hold the same ``rows``."""
    with folder("naive") as path:
        head, branch = (NaiveProgram(path, name, synchronous) for name in ("head", "branch"))
        for setting_up in [program.start("prepare") for program in (head, branch)]:
            if setting_up.wait() != 0:
                raise processes.BenchError((head.folder / "log.txt").read_text())
        try:
            for program in (head, branch):
                sample.fill(program.database, rows)
            head.process = head.start("serve")
            processes.wait_until(lambda: _answers(head), "starting the naive program")
            branch.process = branch.start("serve", str(head.port))
            processes.wait_until((branch.folder / "ready").exists, "linking the naive programs")
            processes.wait_until(lambda: _answers(branch), "starting the naive program")
            yield head, branch
        finally:
            for program in (head, branch):
                if program.process is not None:
                    processes.stop(program.process)


def _answers(program: NaiveProgram) -> bool:
    try:
        program.drive(0, 0, 1, 1)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
