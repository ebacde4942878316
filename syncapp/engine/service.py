"""Running an instance: Daphne and the sync engine in one event loop (`serve`), or the engine alone
(`run_engine`).

Both end cleanly on SIGTERM and SIGINT: the engine is cancelled first, so that what it has in hand is finished
or rolled back and its peers are told; then what is left of the web side goes.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

from syncapp.store.triggers import install

logger = logging.getLogger(__name__)

Engine = Callable[[], Coroutine[Any, Any, None]]

#: The largest websocket message, and frame of one, that is taken from anybody.
MAX_MESSAGE = 1024 * 1024
#: How long the engine may take to finish or roll back what it has in hand.
GOODBYE = 10.0


class CannotRun(Exception):
    """Why an instance cannot be run here and now; its text is for whoever started it."""


def check_free(host: str, port: int) -> None:
    """Raise `CannotRun` when nothing can listen there. Before anything is migrated or started."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except OSError as error:
        raise _cannot_listen(host, port, error.strerror or str(error)) from error


def _cannot_listen(host: str, port: int, detail: str) -> CannotRun:
    return CannotRun(
        f"Nothing can listen on {host}:{port}: {detail.lower()}. Stop the program that uses it, "
        "or choose another port."
    )


def prepare(*, migrate: bool) -> None:
    """Bring the database up to date (``migrate``), or raise `CannotRun` if it is not; put missing triggers
    back.
    """
    if migrate:
        # Ends with catalogue and triggers in step, by the app's signals.
        call_command("migrate", interactive=False, verbosity=0)
        return
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CannotRun("The database is not up to date. Run: python manage.py migrate")
    install.install_all()


def serve(
    application: Any,
    host: str,
    port: int,
    engine: Engine,
    *,
    ready: Callable[[str], None],
    behind_proxy: bool = False,
) -> bool:
    """Run until a signal. ``ready`` is called with the address once it listens; False when the engine failed.

    ``behind_proxy``: believe the ``X-Forwarded-…`` headers; only where a proxy of ours sets them.
    """
    from daphne.endpoints import build_endpoint_description_strings

    server_class = _server_class()
    server: Any = server_class(
        engine,
        lambda: ready(_address(server.listening_addresses)),
        application=application,
        endpoints=build_endpoint_description_strings(host=host, port=port),
        websocket_max_message_size=MAX_MESSAGE,
        websocket_max_frame_size=MAX_MESSAGE,
        proxy_forwarded_address_header="X-Forwarded-For" if behind_proxy else None,
        proxy_forwarded_port_header="X-Forwarded-Port" if behind_proxy else None,
        proxy_forwarded_proto_header="X-Forwarded-Proto" if behind_proxy else None,
        server_name="",
    )
    server.run()
    if not server.listening_addresses:
        # Daphne only logs this and returns as if all were well.
        raise _cannot_listen(host, port, "the address is taken")
    return not server.engine_failed


def _address(listening: list[tuple[str, int]]) -> str:
    host, port = listening[0]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _server_class() -> Any:
    # Imported late: it installs Twisted's reactor on an event loop, which only `serve` wants.
    from daphne.server import Server, reactor, twisted_loop
    from twisted.internet.defer import Deferred

    class InstanceServer(Server):
        """Daphne with the engine beside it, and with an end in the right order."""

        def __init__(self, engine: Engine, listening: Callable[[], None], **options: Any) -> None:
            super().__init__(ready_callable=self._start, **options)
            self.engine_failed = False
            self._engine = engine
            self._listening = listening
            self._task: asyncio.Task[None] | None = None

        def _start(self) -> None:
            self._task = twisted_loop.create_task(self._engine())
            self._task.add_done_callback(self._engine_ended)
            # Not before: until the reactor runs, a signal would kill rather than end.
            reactor.callWhenRunning(self._listening)

        def _engine_ended(self, task: asyncio.Task[None]) -> None:
            if task.cancelled():
                return
            # An instance that serves pages but syncs nothing would go unnoticed: whoever supervises it
            # restarts it.
            self.engine_failed = True
            logger.critical("The sync engine has ended; the program stops", exc_info=task.exception())
            self.stop()

        def kill_all_applications(self) -> Any:
            """What Daphne does before it ends: the engine's part comes first."""
            return Deferred.fromFuture(asyncio.ensure_future(self._end(), loop=twisted_loop))

        async def _end(self) -> None:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task], timeout=GOODBYE)
            rest = super().kill_all_applications().asFuture(twisted_loop)
            if not (await asyncio.wait([rest], timeout=GOODBYE))[0]:
                # Daphne would wait for ever for a request that does not hear that it is to end.
                logger.warning("Some requests do not end; the program stops without them")

    return InstanceServer


def run_engine(engine: Engine) -> None:
    """Run the engine alone until SIGTERM or SIGINT."""
    asyncio.run(_run_engine(engine))


async def _run_engine(engine: Engine) -> None:
    task = asyncio.ensure_future(engine())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass  # by a signal, which is how it is meant to end
