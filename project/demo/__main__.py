"""Sets the two programs up, runs them, and ends both when one ends or someone says so."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from types import FrameType

from rich.console import Console
from rich.markup import escape

from project.demo.instances import BASE_DIR, DemoError, Instance, instances

READY_WITHIN = 60.0  # seconds; a slow machine needs several
STOP_WITHIN = 15.0
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec there is little that may be done

console = Console(highlight=False, soft_wrap=True)


class Stopped(Exception):
    """Someone asked the demo to end."""


class Child:
    """A process of one instance, whose output appears line by line under the instance's name."""

    def __init__(self, instance: Instance, arguments: Sequence[str]) -> None:
        self.instance = instance
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, *arguments],
            cwd=BASE_DIR,
            env=instance.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C goes to the demo alone, which then ends its children in order.
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        self.reader = threading.Thread(target=self._relay, daemon=True)
        self.reader.start()

    def _relay(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            say(self.instance, line.rstrip())

    def wait(self) -> int:
        """Wait for its end and its last line; give its exit status."""
        status = self.process.wait()
        self.reader.join(timeout=2)
        return status

    def stop(self) -> None:
        """Ask it to end; end it by force if it doesn't in time."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            say(self.instance, f"did not end within {STOP_WITHIN:.0f} s: ended by force")
            self.process.kill()
        self.wait()


def _end_with_parent() -> None:
    """Let the kernel end this child when the demo dies without a chance to do so itself."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def say(instance: Instance, line: str) -> None:
    """Print a line of an instance."""
    console.print(f"[{instance.colour}]{instance.title:<12}[/] {escape(line)}")


def check_ports(pair: Sequence[Instance]) -> None:
    """Refuse ports that something else listens on."""
    for instance in pair:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", instance.port))
            except OSError as problem:
                raise DemoError(
                    f"Port {instance.port} can't be used for {instance.title} ({problem.strerror}). "
                    "End what uses it, or choose others: make demo DEMO_PORTS=9000,9001"
                ) from problem


def prepare(pair: Sequence[Instance]) -> None:
    """Make both databases ready, at the same time."""
    head_office = pair[0]
    children = []
    for instance in pair:
        instance.folder.mkdir(parents=True, exist_ok=True)
        link = instance.write_link(head_office)
        children.append(Child(instance, ["-m", "project.demo.prepare", str(link)]))
    try:
        failed = [child.instance.title for child in children if child.wait() != 0]
    finally:
        for child in children:
            child.stop()
    if failed:
        raise DemoError(
            f"{' and '.join(failed)} could not be set up: see above. 'make demo-reset' starts over."
        )


def await_ready(child: Child) -> None:
    """Wait until the instance says that it is able to work."""
    url = f"{child.instance.url}/healthz"
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        complain_if_ended(child)
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310 - it's http
            return
        time.sleep(0.1)
    raise DemoError(f"{child.instance.title} did not become ready within {READY_WITHIN:.0f} s: see above.")


def complain_if_ended(child: Child) -> None:
    """Raise when the process is gone: nothing is restarted silently."""
    status = child.process.poll()
    if status is not None:
        child.wait()
        raise DemoError(f"{child.instance.title} ended by itself (exit status {status}): see above.")


def announce(children: Sequence[Child]) -> None:
    """Say where everything is and what to try."""
    head_office, branch = (child.instance for child in children)
    process = children[0].process.pid
    statement = "UPDATE crm_client SET note = 'by hand' WHERE id = 1"
    database = (branch.folder / "db.sqlite3").relative_to(BASE_DIR)
    console.print(
        f"""
[bold green]Both programs run and are linked.[/] User [bold]admin[/], password [bold]admin[/].

  [{head_office.colour}]{head_office.title:<12}[/] {head_office.url}   links: {head_office.url}/sync/
  [{branch.colour}]{branch.title:<12}[/] {branch.url}   links: {branch.url}/sync/

Try:
  · Change a client's phone in one program and look at the client in the other.
  · Add an order with a payment, on either side.
  · Delete a client: its orders and payments go with it, in both.
  · Write past the program, and see it arrive all the same:
    sqlite3 {database} "{statement}"
  · Freeze the head office (kill -STOP {process}), change things in the branch, then kill -CONT {process}.

Ctrl-C ends both; the data stay. 'make demo-reset' starts over.
"""
    )


def run(pair: Sequence[Instance]) -> None:
    """Run both until one ends or the demo is asked to."""
    children: list[Child] = []
    try:
        for instance in pair:
            child = Child(instance, ["manage.py", "serve", f"127.0.0.1:{instance.port}"])
            children.append(child)  # at once: whatever happens next, it is ended
        for child in children:
            await_ready(child)
        announce(children)
        while True:
            for child in children:
                complain_if_ended(child)
            time.sleep(0.2)
    finally:
        # A second Ctrl-C mustn't leave one of them behind.
        ignore_stop_signals()
        console.print("Ending both …")
        for child in children:
            child.process.terminate()
        for child in children:
            child.stop()


def on_stop_signal(number: int, frame: FrameType | None) -> None:
    """Turn the signal into an exception, so that every ``finally`` has its turn."""
    raise Stopped


def ignore_stop_signals() -> None:
    """Let the ending end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def main() -> int:
    """Run the demo; 0 when it was asked to end, 1 when it couldn't go on."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_stop_signal)
    try:
        pair = instances(os.environ.get("DEMO_PORTS", ""))
        check_ports(pair)
        prepare(pair)
        run(pair)
    except Stopped:
        console.print("Ended.")
    except DemoError as problem:
        console.print(f"[bold red]demo:[/] {escape(str(problem))}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
