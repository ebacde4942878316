"""``manage.py syncproblems``: changes that could not be applied."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from django.core.management.base import CommandParser
from django.utils.translation import gettext, ngettext

from syncapp.management.base import SyncCommand
from syncapp.management.chosen import chosen_link
from syncapp.management.commands.syncstatus import when
from syncapp.models import Problem
from syncapp.store import control
from syncapp.store.base import ASK
from syncapp.store.history import problem_lines
from syncapp.store.status import now_us


class Command(SyncCommand):
    """Lists parked changes, makes them due, or gives them up."""

    help = "Lists changes that could not be applied, tries them again, or skips them."
    example: ClassVar[str] = "python manage.py syncproblems retry 12 13"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "action",
            nargs="?",
            choices=("list", "retry", "skip"),
            default="list",
            help="list (default); retry: make them due now; skip: give them up, the log keeps what they held",
        )
        parser.add_argument("ids", nargs="*", type=int, help="numbers of problems, as listed")
        parser.add_argument("--link", help="only problems of this link")
        parser.add_argument("--all", action="store_true", dest="every", help="retry: all problems")
        parser.add_argument("--limit", type=int, default=200, help="list: how many, oldest first (200)")

    def run(
        self,
        *,
        action: str = "list",
        ids: list[int] | None = None,
        link: str | None = None,
        every: bool = False,
        limit: int = 200,
        **options: Any,
    ) -> None:
        """Do ``action``."""
        self.require_migrated()
        chosen = chosen_link(link).pk if link else None
        if action == "list":
            self._list(chosen, limit)
        elif action == "retry":
            self._retry(ids or [], chosen, every)
        else:
            self._skip(ids or [])

    def _list(self, chosen: int | None, limit: int) -> None:
        found = problem_lines(chosen, limit)
        self.answer(msgspec.to_builtins(found))
        if not found:
            self.say(gettext("No problems."))
            return
        titles = (
            gettext("No."),
            gettext("Link"),
            gettext("Table"),
            gettext("Record"),
            gettext("Field"),
            gettext("Reason"),
            gettext("Waits since"),
            gettext("Tries"),
            gettext("Next try"),
        )
        rows = [
            (
                *(p.id, p.link, p.table, p.record or p.uid[:8], p.field, p.sentence),
                *(when(p.created_at), p.tries, when(p.next_try)),
            )
            for p in found
        ]
        self.table(titles, rows)

    def _retry(self, ids: list[int], chosen: int | None, every: bool) -> None:
        if not (ids or every or chosen):
            raise self.misuse(gettext("Name the problems to retry, or give --all or --link."))
        self._check(ids)
        count = control.retry_problems(ids or None, chosen)
        self.answer({"retried": count})
        self.say(ngettext("{n} problem is due now.", "{n} problems are due now.", count).format(n=count))

    def _skip(self, ids: list[int]) -> None:
        if not ids:
            raise self.misuse(gettext("Name the problems to skip."))
        self._check(ids)
        count = control.skip_problems(ids, now_us())
        self.answer({"skipped": count})
        text = ngettext(
            "{n} problem was skipped; the log keeps what it held.",
            "{n} problems were skipped; the log keeps what they held.",
            count,
        )
        self.say(text.format(n=count))

    def _check(self, ids: list[int]) -> None:
        known = set(Problem.objects.exclude(code=ASK).filter(pk__in=ids).values_list("pk", flat=True))
        missing = [str(number) for number in ids if number not in known]
        if missing:
            raise self.fail(gettext("There is no problem No. {numbers}.").format(numbers=", ".join(missing)))
