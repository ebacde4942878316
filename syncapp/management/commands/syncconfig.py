"""``syncconfig``: links and mappings as TOML, and the identity of this program."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from syncapp.errors import ConfigRefused
from syncapp.management.base import SyncCommand
from syncapp.store import config

_EXPORT = "python manage.py syncconfig export > branch.toml"
_FORK = "python manage.py syncconfig fork"
_REBIND = 'python manage.py syncconfig rebind "Head office"'


class Command(SyncCommand):
    help = (
        "Applies or exports the configuration of links and fields (TOML), or renews this program's identity."
    )
    example = "python manage.py syncconfig apply branch.toml"

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        apply = self.add_action(
            actions, "apply", "make links and fields as a file says; a second time changes nothing"
        )
        apply.add_argument("file", metavar="FILE", help="the TOML file; - reads standard input")
        self.add_action(actions, "export", "print the configuration, without passwords", _EXPORT)
        self.add_action(actions, "fork", "give a cloned database an identity of its own", _FORK)
        rebind = self.add_action(actions, "rebind", "forget which program a link is bound to", _REBIND)
        rebind.add_argument("link", metavar="LINK", help="name of the link")

    def run(self, **options: Any) -> None:
        self.require_migrated()
        if options["action"] == "export":
            self._export()
            return
        if options["action"] == "apply":
            changes = self._apply(options["file"])
        elif options["action"] == "fork":
            changes = config.fork()
        else:
            changes = config.rebind(options["link"])
        for sentence in changes or ["Nothing to change."]:
            self.say(sentence)
        self.answer({"changed": changes})

    def _apply(self, file: str) -> list[str]:
        try:
            return config.apply(self._read(file))
        except ConfigRefused as error:
            raise self.fail(f"{error}\nNothing was changed.") from error

    def _read(self, file: str) -> str:
        try:
            return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        except OSError as error:
            raise self.fail(f"{file} cannot be read: {error.strerror}. Check the path.") from error
        except UnicodeDecodeError as error:
            raise self.fail(f"{file} is not UTF-8 text. Save it as UTF-8.") from error

    def _export(self) -> None:
        text = config.export()
        if self.as_json:
            self.answer(tomllib.loads(text))
        else:
            self.stdout.write(text, ending="")
