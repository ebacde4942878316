"""``manage.py runsync``: the sync engine beside a web server that runs on its own."""

from __future__ import annotations

from typing import Any

from syncapp.engine import service
from syncapp.management.base import SyncCommand


class Command(SyncCommand):
    help = "Run the sync engine alone, beside `daphne project.asgi:application`, until SIGTERM or Ctrl-C."
    example = "python manage.py runsync"
    json_output = False

    def run(self, **options: Any) -> None:
        from syncapp.engine.supervisor import Supervisor

        try:
            service.prepare(migrate=False)
        except service.CannotRun as error:
            raise self.fail(str(error)) from error
        service.run_engine(lambda: Supervisor().run())
