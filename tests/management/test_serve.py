"""`serve` and `runsync` as people and process managers run them: real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from syncapp.engine import service

ROOT = Path(__file__).resolve().parents[2]


class Program:
    """``manage.py`` with a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SYNCAPP_")},
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "SECRET_KEY": "for-tests-only",
            "DEBUG": "0",
            "SYNCAPP_INSTANCE": "test",
            "SYNCAPP_TITLE": "Head office",
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "MEDIA_ROOT": str(folder),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
        }
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and standard error of a command that ends by itself."""
        process = self.start(*arguments)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def serve(self, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        """A running `serve` and its address."""
        process = self.start("serve", *(arguments or ("0",)))
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        title, _, address = line.strip().partition(": ")
        assert title == "Head office"
        return process, address

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    program.end()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, subprocess.Popen[str], str]]:
    """One instance for the tests that only look."""
    program = Program(tmp_path_factory.mktemp("served"))
    yield (program, *program.serve())
    program.end()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def dial(address: str, path: str, **options: Any) -> Any:
    url = address.replace("http:", "ws:") + path
    return connect(url, compression=None, proxy=None, **options)


def closing(connection: Any) -> Any:
    """Read on until the other side closes; its close frame."""
    try:
        while True:
            connection.recv(timeout=20)
    except ConnectionClosed as error:
        return error.rcvd


def stop(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # PYTHONFAULTHANDLER: it says where it hangs
        _, errors = process.communicate(timeout=30)
    return process.returncode, errors


def test_a_whole_instance_from_one_command(served: tuple[Program, Any, str]) -> None:
    _, _, address = served
    assert address.startswith("http://127.0.0.1:")
    status, body = get(address + "healthz")
    assert status == 200, body
    assert get(address + "admin/login/")[0] == 200
    assert get(address + "no/such/page/")[0] == 404


def test_peers_are_let_in_and_browsers_are_not(served: tuple[Program, Any, str]) -> None:
    _, _, address = served
    with dial(address, "sync/peer/", subprotocols=["syncapp"]) as peer:
        assert peer.subprotocol == "syncapp"
    with dial(address, "sync/peer/SOMECODE/", subprotocols=["syncapp"]) as peer:
        assert peer.subprotocol == "syncapp"
    for path in ("sync/peer/", "sync/live/", "sync/other/", ""):
        with pytest.raises(Exception, match="403"):
            dial(address, path)


def test_the_live_socket_is_for_pages_of_this_site(served: tuple[Program, Any, str]) -> None:
    _, _, address = served
    with (
        dial(address, "sync/live/", origin=address.rstrip("/")) as page,
        pytest.raises(ConnectionClosed) as caught,
    ):
        page.recv(timeout=20)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 4403  # let in by its origin, sent away for want of a login
    port = int(address.rstrip("/").rpartition(":")[2])
    for origin in (
        f"http://127.0.0.1:{port + 1}",
        f"https://127.0.0.1:{port}",
        "https://evil.example",
        "null",
    ):
        with pytest.raises(Exception, match="403"):
            dial(address, "sync/live/", origin=origin)


def test_a_port_in_use(served: tuple[Program, Any, str]) -> None:
    program, _, address = served
    port = address.rstrip("/").rpartition(":")[2]
    code, errors = program.run("serve", port)
    assert code == 1
    assert f"Nothing can listen on 127.0.0.1:{port}: address already in use." in errors
    assert "Traceback" not in errors


def test_two_megabytes_of_a_stranger(served: tuple[Program, Any, str]) -> None:
    _, _, address = served
    with dial(address, "sync/peer/", subprotocols=["syncapp"]) as peer:
        try:
            peer.send(b"x" * 2 * 1024 * 1024)
        except ConnectionClosed:
            pass  # it was closed half-way
        assert closing(peer).code == 1009
    assert get(address + "healthz")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_peers_are_told(program: Program, number: int) -> None:
    process, address = program.serve()
    with dial(address, "sync/peer/", subprotocols=["syncapp"]) as peer:
        code, errors = stop(process, number)
        assert closing(peer).reason == "stopping"
    assert code == 0
    assert "Traceback" not in errors


def test_it_can_be_started_again_at_once(program: Program) -> None:
    process, address = program.serve()
    port = address.rstrip("/").rpartition(":")[2]
    assert stop(process, signal.SIGTERM)[0] == 0
    process, again = program.serve(port)
    assert again == address
    assert get(address + "healthz")[0] == 200
    assert stop(process, signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("address", ["x", "host:", "127.0.0.1:99999", "8000:", "-1", "٨٠٠٠"])
def test_wrong_use(address: str) -> None:
    with pytest.raises(CommandError, match=r"is not \[HOST:\]PORT") as caught:
        call_command("serve", "--", address)
    assert caught.value.returncode == 2


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(CommandError, match=r"Nothing can listen on 192\.0\.2\.1:8000"):
        call_command("serve", "192.0.2.1:8000")


def test_a_database_that_is_not_up_to_date(program: Program) -> None:
    code, errors = program.run("runsync")
    assert code == 1
    assert "python manage.py migrate" in errors
    assert "Traceback" not in errors


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="sees in /proc when signals are caught")
def test_runsync_ends_cleanly(program: Program) -> None:
    assert program.run("migrate", "-v", "0")[0] == 0
    process = program.start("runsync")
    while not catches(process, signal.SIGTERM):
        assert process.poll() is None, process.communicate()[1]
    code, errors = stop(process, signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in errors


def catches(process: subprocess.Popen[str], number: int) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


# -- within the test's own process --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_engine_ends_with_a_signal_and_finishes_what_it_does(number: int) -> None:
    done: list[str] = []

    async def engine() -> None:
        threading.Timer(0, os.kill, (os.getpid(), number)).start()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append("rolled back")

    service.run_engine(engine)
    assert done == ["rolled back"]


def test_an_engine_that_fails_is_not_swallowed() -> None:
    async def engine() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        service.run_engine(engine)


def _taken() -> tuple[str, int, Callable[[], None]]:
    listener = socket.create_server(("127.0.0.1", 0))
    return "127.0.0.1", listener.getsockname()[1], listener.close


def test_checking_a_port() -> None:
    host, port, close = _taken()
    with pytest.raises(service.CannotRun, match="already in use"):
        service.check_free(host, port)
    close()
    service.check_free(host, port)
    with pytest.raises(service.CannotRun):
        service.check_free("no-such-host.invalid", port)
