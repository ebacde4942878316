"""``manage.py syncstatus``: the state of each link."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from django.core.management.base import CommandParser
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from syncapp.management.base import SyncCommand
from syncapp.management.chosen import chosen_link
from syncapp.store.status import LinkReport, link_statuses, now_us

#: Colour of each state; the word beside it says the same without colour.
STYLES = {
    "connected": "green",
    "refused": "red",
    "attention": "red",
    "offline": "yellow",
    "connecting": "yellow",
}


class Command(SyncCommand):
    """Shows the state of each link, once or until Ctrl-C."""

    help = "Shows the state of each link: connection, what waits, counters, problems."
    example: ClassVar[str] = 'python manage.py syncstatus "Head office" --watch'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("link", nargs="?", help="name of a link; default: all")
        parser.add_argument("--watch", action="store_true", help="go on showing it until Ctrl-C")

    def run(self, *, link: str | None = None, watch: bool = False, **options: Any) -> None:
        """Print the table or the JSON list; with ``--watch``, JSON comes as one line per change."""
        self.require_migrated()
        chosen = chosen_link(link).pk if link else None
        if not watch:
            found = self._read(chosen)
            self.answer(msgspec.to_builtins(found))
            if not self.as_json:
                self.console().print(report(found))
            return
        try:
            self._watch_json(chosen) if self.as_json else self._watch(chosen)
        except KeyboardInterrupt:
            return

    def _read(self, chosen: int | None) -> list[LinkReport]:
        return [status for status in link_statuses(now_us()) if chosen in (None, status.id)]

    def _watch(self, chosen: int | None) -> None:
        with Live(report(self._read(chosen)), console=self.console(), auto_refresh=False) as live:
            while True:
                time.sleep(0.5)
                live.update(report(self._read(chosen)), refresh=True)

    def _watch_json(self, chosen: int | None) -> None:
        last = b""
        while True:
            line = msgspec.json.encode(self._read(chosen))
            if line != last:
                self.stdout.write(line.decode())
                self.stdout.flush()
                last = line
            time.sleep(0.5)


def report(statuses: list[LinkReport]) -> RenderableType:
    """The table, and under it every sentence that somebody should read."""
    if not statuses:
        return Text(gettext("No links yet"))
    titles = (
        gettext("State"),
        gettext("Link"),
        gettext("Mode"),
        gettext("Transport"),
        gettext("Peer"),
        gettext("Last exchange"),
        gettext("↑ waiting"),
        gettext("↓ waiting"),
        gettext("Sent"),
        gettext("Received"),
        gettext("Problems"),
        gettext("Conflicts"),
        gettext("Delay, ms"),
    )
    table = Table(pad_edge=False)
    for index, title in enumerate(titles):
        table.add_column(title, justify="right" if index > 5 else "left", overflow="fold")
    for status in statuses:
        table.add_row(*_cells(status))
    return Group(table, *(line for status in statuses for line in _sentences(status)))


def _cells(status: LinkReport) -> list[Text]:
    numbers = (
        status.waiting_out,
        status.waiting_in,
        status.sent,
        status.received,
        status.problems,
        status.conflicts,
        status.lag_ms,
    )
    return [
        Text(status.state_word, style=STYLES.get(status.state, "")),
        Text(status.link, style="bold"),
        Text(status.mode),
        Text(status.transport),
        Text(status.peer or "–"),
        Text(when(status.last_exchange)),
        *(Text(f"{number:n}") for number in numbers),
    ]


def _sentences(status: LinkReport) -> list[Text]:
    suspended = [f"{field.field}: {field.sentence}" for field in status.suspended]
    sentences = [*([status.reason] if status.reason else []), *status.warnings, *suspended]
    return [Text.assemble((f"{status.link}: ", "bold"), sentence) for sentence in sentences]


def when(moment: datetime | None) -> str:
    """A time for people in the program's time zone; a dash for none."""
    return date_format(localtime(moment), "Y-m-d H:i:s") if moment else "–"
