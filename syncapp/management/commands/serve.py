"""``manage.py serve``: a whole instance in one process."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils.module_loading import import_string

from syncapp import conf
from syncapp.management.base import SyncCommand

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000


class Command(SyncCommand):
    help = "Run a whole instance: migrations, pages, websockets and the sync engine, until SIGTERM or Ctrl-C."
    example = "python manage.py serve 0.0.0.0:8000"
    json_output = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "address",
            nargs="?",
            default=str(DEFAULT_PORT),
            metavar="[HOST:]PORT",
            help="where to listen (default: %(default)s)",
        )
        parser.add_argument("--no-migrate", action="store_true", help="leave the database as it is")
        parser.add_argument(
            "--behind-proxy",
            action="store_true",
            help="take the client's address from X-Forwarded-For; only behind a proxy that sets it",
        )

    def run(self, **options: Any) -> None:
        # Twisted's reactor is chosen by whoever imports it first, so that this comes before the application.
        import daphne.server  # noqa: F401

        from syncapp.engine import service
        from syncapp.engine.supervisor import Supervisor

        host, port = self._split(options["address"])
        try:
            if port:
                service.check_free(host, port)
            service.prepare(migrate=not options["no_migrate"])
            healthy = service.serve(
                import_string(settings.ASGI_APPLICATION),
                host,
                port,
                lambda: Supervisor().run(),
                ready=self._announce,
                behind_proxy=options["behind_proxy"],
            )
        except service.CannotRun as error:
            raise self.fail(str(error)) from error
        if not healthy:
            raise self.fail("The sync engine has ended unexpectedly; the log says why.")

    def _announce(self, address: str) -> None:
        self.stdout.write(f"{conf.current().title}: {address}")
        self.stdout.flush()

    def _split(self, address: str) -> tuple[str, int]:
        host, _, port = address.rpartition(":")
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise self.misuse(f'"{address}" is not [HOST:]PORT, for example 8000 or 0.0.0.0:8000.')
        return host.strip("[]") or DEFAULT_HOST, int(port)
