"""What all commands of syncapp share: ``--json``, an example in ``--help``, errors that say what to do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from rich.console import Console
from rich.table import Table

from syncapp.errors import SyncError
from syncapp.store import catalogue


class SyncCommand(BaseCommand):
    """Base of the commands. A subclass sets ``help`` and ``example`` and implements `run`.

    `run` may print with `say` (sentences for people), `table` (rows for people) and `answer` (``--json``). A
    `SyncError` that leaves it is printed to stderr as its sentence and ends the program with 1, as does
    `fail`; wrong use ends it with 2 (argparse's own way; `misuse` for what argparse cannot see).
    """

    #: Printed at the end of ``--help``; start it with ``python manage.py``.
    example: ClassVar[str] = ""
    #: Whether the command takes ``--json``.
    json_output: ClassVar[bool] = True
    #: Set from ``--json``.
    as_json: bool = False

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs.setdefault("formatter_class", _HelpFormatter)
        if self.example:
            kwargs.setdefault("epilog", f"example:\n  {self.example}")
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if self.json_output:
            self.add_json(parser)
        return parser

    def add_json(self, parser: CommandParser) -> None:
        """Let ``parser``, the command's own or an action's, take ``--json``."""
        # Not False by default: an action's parser would undo what stood in front of the action.
        parser.add_argument(
            "--json",
            action="store_true",
            dest="as_json",
            default=argparse.SUPPRESS,
            help="machine-readable output",
        )

    def add_action(self, actions: Any, name: str, text: str, example: str = "") -> CommandParser:
        """Add an action (``syncconfig apply``) to what ``add_subparsers`` returned."""
        epilog = f"example:\n  {example or self.example}"
        parser: CommandParser = actions.add_parser(
            name, help=text, description=text, epilog=epilog, formatter_class=_HelpFormatter
        )
        if self.json_output:
            self.add_json(parser)
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        self.as_json = bool(options.get("as_json"))
        try:
            self.run(**options)
        except SyncError as error:
            raise CommandError(str(error)) from error

    def run(self, **options: Any) -> None:
        """Do the work; override."""
        raise NotImplementedError

    def require_migrated(self, using: str = "default") -> None:
        """Fail with what to do when the database has not been set up yet."""
        if not catalogue.usable(using):
            raise self.fail("The database is not set up yet. Run first: python manage.py migrate")

    # -- output --

    def say(self, text: str) -> None:
        """Print a line for people; nothing with ``--json``."""
        if not self.as_json:
            self.stdout.write(text)

    def answer(self, value: Any) -> None:
        """Print ``value`` as JSON when ``--json`` was given."""
        if self.as_json:
            self.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
        """Print rows for people; nothing with ``--json``. Cells are plain text: brackets are not markup."""
        if self.as_json:
            return
        table = Table(title=title or None, title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(_plain(cell) for cell in row))
        self.console().print(table)

    def console(self) -> Console:
        """A rich console that writes where the command writes; wide where that is no terminal."""
        out = self.stdout
        return Console(
            file=out,  # type: ignore[arg-type]  # OutputWrapper passes everything on to the real file
            width=None if out.isatty() else 200,
            highlight=False,
            markup=False,
            emoji=False,
        )

    # -- failures --

    def fail(self, text: str) -> CommandError:
        """An error to raise: printed to stderr, exit code 1."""
        return CommandError(text)

    def misuse(self, text: str) -> CommandError:
        """An error to raise for wrong use: printed to stderr, exit code 2."""
        return CommandError(text, returncode=2)


class _HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the example's lines as they are; Django's own options come last."""


def _plain(cell: Any) -> str:
    return "" if cell is None else str(cell)
