"""``manage.py syncconflicts``: values that lost, and questions that wait for a decision."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from django.core.management.base import CommandParser
from django.utils.translation import gettext, ngettext

from syncapp.errors import NoConflict, NoQuestion
from syncapp.management.base import SyncCommand
from syncapp.management.chosen import chosen_link
from syncapp.management.commands.syncstatus import when
from syncapp.store import disputes
from syncapp.store.choices import Answer
from syncapp.store.disputes import ConflictLine, QuestionLine, Side
from syncapp.store.entered import entered
from syncapp.store.sql import SqlBackend
from syncapp.store.store import Store

_NUMBER = re.compile(r"([QqCc]?)0*([1-9]\d{0,17})")
_RESOLVED = {
    "": lambda: gettext("open"),
    "restored": lambda: gettext("loser restored"),
    "kept": lambda: gettext("winner kept"),
    "decided": lambda: gettext("decided"),
}


def number(kind: str) -> Callable[[str], int]:
    """Reads the number of a question (``Q12``) or a conflict (``C12``); the letter may be left out."""

    def read(text: str) -> int:
        match = _NUMBER.fullmatch(text)
        if match is None or match[1].upper() not in ("", kind):
            raise argparse.ArgumentTypeError(f"{text!r} is no number such as {kind}12")
        return int(match[2])

    return read


class Command(SyncCommand):
    """Lists conflicts and questions, restores losers, decides."""

    help = (
        "Lists fields that were changed in two programs without knowing of each other: open questions (Q12), which a "
        "person decides, and conflicts (C12), whose losing value can be put back."
    )
    example: ClassVar[str] = (
        "python manage.py syncconflicts decide Q12 --take theirs\n  python manage.py syncconflicts restore C5"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.set_defaults(action="list", link=None, limit=50, every=False, before=0)
        actions = parser.add_subparsers(dest="action", metavar="list|show|restore|keep|decide")
        listing = self.add_action(
            actions,
            "list",
            "open questions and conflicts (default)",
            "python manage.py syncconflicts list --all",
        )
        listing.add_argument("--link", help="only those of this link")
        listing.add_argument(
            "--all", action="store_true", dest="every", help="also conflicts that were settled"
        )
        listing.add_argument("--limit", type=int, default=50, help="how many of each (50)")
        listing.add_argument("--before", type=number("C"), default=0, help="conflicts older than this one")
        show = self.add_action(
            actions,
            "show",
            "one question or conflict with both values",
            "python manage.py syncconflicts show Q12",
        )
        show.add_argument("number", help="Q12 or C5, as listed")
        restore = self.add_action(
            actions,
            "restore",
            "put losing values back, as new edits that reach all programs",
            "python manage.py syncconflicts restore C5 C6",
        )
        restore.add_argument("ids", nargs="+", type=number("C"), metavar="C5", help="conflicts, as listed")
        keep = self.add_action(
            actions,
            "keep",
            "settle conflicts with the winning values; takes them back where the loser was restored",
            "python manage.py syncconflicts keep C5",
        )
        keep.add_argument("ids", nargs="+", type=number("C"), metavar="C5", help="conflicts, as listed")
        decide = self.add_action(
            actions,
            "decide",
            "answer open questions; the answer reaches all programs",
            "python manage.py syncconflicts decide Q12 --take theirs\n"
            '  python manage.py syncconflicts decide Q13 --value "+7 495 123-45-67"',
        )
        decide.add_argument("ids", nargs="+", type=number("Q"), metavar="Q12", help="questions, as listed")
        choice = decide.add_mutually_exclusive_group(required=True)
        choice.add_argument(
            "--take", choices=("ours", "theirs"), help="the value here, or the other program's"
        )
        choice.add_argument(
            "--value", help="another value; of relations the keys of records here, with commas"
        )
        choice.add_argument("--empty", action="store_true", help="no value")

    def run(self, *, action: str | None = None, **options: Any) -> None:
        """Do ``action``."""
        self.require_migrated()
        actions = {"show": self._show, "restore": self._settle, "keep": self._settle, "decide": self._decide}
        actions.get(action or "list", self._list)(action or "list", options)

    # -- looking --

    def _list(self, action: str, options: dict[str, Any]) -> None:
        link = chosen_link(options["link"]).pk if options["link"] else None
        asked = disputes.question_lines(link, options["limit"])
        lost = disputes.conflict_lines(
            link, options["limit"], options["before"], open_only=not options["every"]
        )
        self.answer({"questions": msgspec.to_builtins(asked), "conflicts": msgspec.to_builtins(lost)})
        if not (asked or lost):
            self.say(gettext("No conflicts."))
        if asked:
            self._questions(asked)
        if lost:
            self._conflicts(lost)

    def _questions(self, lines: list[QuestionLine]) -> None:
        titles = (*_place(), gettext("Here"), gettext("There"))
        rows = [
            (f"Q{q.id}", q.link, q.table, q.record, q.field, _side(q.ours), _side(q.theirs)) for q in lines
        ]
        self.table(
            titles, rows, gettext("Questions: both programs keep their own value until somebody decides")
        )

    def _conflicts(self, lines: list[ConflictLine]) -> None:
        titles = (*_place(), gettext("Won"), gettext("Lost"), gettext("State"))
        rows = [
            (f"C{c.id}", c.link, c.table, c.record, c.field, _side(c.won), _side(c.lost), _state(c.resolved))
            for c in lines
        ]
        self.table(titles, rows, gettext("Conflicts: the losing value is kept and can be restored"))

    def _show(self, action: str, options: dict[str, Any]) -> None:
        match = _NUMBER.fullmatch(options["number"])
        if match is None or not match[1]:
            raise self.misuse(gettext("Name a question (Q12) or a conflict (C5), as listed."))
        wanted = int(match[2])
        if match[1].upper() == "Q":
            question = disputes.question_line(wanted)
            if question is None:
                raise NoQuestion(number=wanted)
            self.answer(msgspec.to_builtins(question))
            self._questions([question])
        else:
            conflict = disputes.conflict_line(wanted)
            if conflict is None:
                raise NoConflict(number=wanted)
            self.answer(msgspec.to_builtins(conflict))
            self._conflicts([conflict])

    # -- settling --

    def _settle(self, action: str, options: dict[str, Any]) -> None:
        store = Store(SqlBackend())
        for wanted in options["ids"]:
            (store.restore if action == "restore" else store.keep)(wanted)
            text = gettext("Conflict C{n} is settled: the losing value is back.")
            if action == "keep":
                text = gettext("Conflict C{n} is settled: the winning value stays.")
            self.say(text.format(n=wanted))
        self.answer({"settled": options["ids"]})

    def _decide(self, action: str, options: dict[str, Any]) -> None:
        store = Store(SqlBackend())
        for wanted in options["ids"]:
            store.answer(wanted, self._answer(wanted, options))
        count = len(options["ids"])
        self.answer({"decided": options["ids"]})
        text = ngettext(
            "{n} question is decided. The decision goes to the other programs.",
            "{n} questions are decided. The decisions go to the other programs.",
            count,
        )
        self.say(text.format(n=count))

    def _answer(self, wanted: int, options: dict[str, Any]) -> Answer:
        if options["take"]:
            return Answer(options["take"])
        table, field = disputes.question_field(wanted)
        return Answer("value", entered(table, field, options["value"]))


def _place() -> tuple[str, ...]:
    return (gettext("No."), gettext("Link"), gettext("Table"), gettext("Record"), gettext("Field"))


def _side(side: Side) -> str:
    value = gettext("(cannot be read)") if side.value is None else side.value
    return f"{value}\n{side.program}, {when(side.at)}"


def _state(resolved: str) -> str:
    return _RESOLVED[resolved]() if resolved in _RESOLVED else resolved
