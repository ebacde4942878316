"""``manage.py synclog``: what was exchanged, newest last."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import msgspec
from django.core.management.base import CommandParser
from django.utils.translation import gettext

from syncapp.management.base import SyncCommand
from syncapp.management.chosen import chosen_link
from syncapp.management.commands.syncstatus import when
from syncapp.models import Link
from syncapp.store import texts
from syncapp.store.history import LogLine, log_lines

CELL = 60


class Command(SyncCommand):
    """Shows the log, once or as it grows."""

    help = "Shows the log of links that keep one: when, from where, table, record, field, before → after."
    example: ClassVar[str] = 'python manage.py synclog "Head office" --follow'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("link", nargs="?", help="name of a link; default: all")
        parser.add_argument("--limit", type=int, default=50, help="how many lines (50)")
        parser.add_argument("--follow", action="store_true", help="go on with new lines until Ctrl-C")

    def run(self, *, link: str | None = None, limit: int = 50, follow: bool = False, **options: Any) -> None:
        """Print the newest lines in the order of time; with ``--follow``, JSON comes as one object a line."""
        self.require_migrated()
        if limit < 1:
            raise self.misuse(gettext("--limit must be at least 1."))
        chosen = chosen_link(link).pk if link else None
        lines = log_lines(chosen, limit)[::-1]
        if not follow:
            self.answer(msgspec.to_builtins(lines))
            self.table(_titles(), [_cells(line) for line in lines])
            self._hint(lines)
            return
        self._hint(lines)
        try:
            self._follow(chosen, lines)
        except KeyboardInterrupt:
            return

    def _hint(self, lines: list[LogLine]) -> None:
        if not lines and not Link.objects.filter(log=True).exists():
            self.say(gettext("No link keeps a log. Switch it on in the link's settings: log = true."))

    def _follow(self, chosen: int | None, lines: list[LogLine]) -> None:
        last = 0
        while True:
            for line in lines:
                last = line.id
                self.stdout.write(self._line(line))
            self.stdout.flush()
            time.sleep(0.3)
            lines = log_lines(chosen, 1_000, after=last)[::-1]

    def _line(self, line: LogLine) -> str:
        if self.as_json:
            return msgspec.json.encode(line).decode()
        return "  ".join(_cells(line))


def _titles() -> list[str]:
    return [
        gettext("Time"),
        gettext("Link"),
        gettext("From"),
        gettext("Table"),
        gettext("Record"),
        gettext("Field"),
        gettext("Before → after"),
        gettext("Result"),
    ]


def _cells(line: LogLine) -> list[str]:
    before = "?" if line.before is None else texts.inert(line.before, CELL)
    after = "?" if line.after is None else texts.inert(line.after, CELL)
    result = f"{line.result} ({line.detail})" if line.detail else line.result
    return [
        when(line.at),
        line.link,
        line.source,
        line.table,
        texts.inert(line.record, CELL),
        line.field,
        f"{before} → {after}",
        result,
    ]
