"""``manage.py syncusers``: who the other program's users are here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from django.core.management.base import CommandParser
from django.utils.translation import gettext, ngettext

from syncapp.management.base import SyncCommand
from syncapp.management.chosen import chosen_link
from syncapp.models import Link
from syncapp.store.usermatching import UserLine, match_user, unmatch_user, user_lines


class Command(SyncCommand):
    """Lists the users of a link's peer who came along in values, and matches them by hand."""

    help = "Lists the other program's users with who they are here, and matches them by hand."
    example: ClassVar[str] = 'python manage.py syncusers "Head office" match anna.k anna'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("link", metavar="LINK", help="the name of a link")
        parser.add_argument(
            "action",
            nargs="?",
            choices=("list", "match", "unmatch"),
            default="list",
            help="list (default); match: this user of the other program is that one here; unmatch: forget it",
        )
        parser.add_argument("who", nargs="?", metavar="PEER_USER", help="number or login, as listed")
        parser.add_argument("user", nargs="?", metavar="USER", help="match: login of the user here")

    def run(
        self,
        *,
        link: str = "",
        action: str = "list",
        who: str | None = None,
        user: str | None = None,
        **options: Any,
    ) -> None:
        """Do ``action``."""
        self.require_migrated()
        chosen = chosen_link(link)
        if action == "list":
            self._list(chosen)
        elif action == "match":
            if not (who and user):
                raise self.misuse(gettext("Name a user of the other program and the one here."))
            self._told(match_user(chosen, who, user))
        else:
            if not who:
                raise self.misuse(gettext("Name a user of the other program."))
            self._told(unmatch_user(chosen, who))

    def _list(self, link: Link) -> None:
        found = user_lines(link.pk)
        self.answer([asdict(line) for line in found])
        if not found:
            self.say(gettext("No user of the other program has come along yet."))
            return
        titles = (
            *(gettext("No."), gettext("Login"), gettext("Full name"), "ID", gettext("State")),
            *(gettext("User here"), gettext("Waiting records")),
        )
        rows = [
            (line.id, line.login, line.full_name, line.peer_id, _state(line), line.user, line.waiting or "")
            for line in found
        ]
        self.table(titles, rows)

    def _told(self, due: int) -> None:
        self.answer({"due": due})
        text = ngettext("{n} problem is due now.", "{n} problems are due now.", due)
        self.say(text.format(n=due))


def _state(line: UserLine) -> str:
    words = {
        "matched": gettext("matched"),
        "manual": gettext("matched by hand"),
        "unmatched": gettext("not found"),
        "ambiguous": ngettext("{n} user may be it", "{n} users may be it", line.several).format(
            n=line.several
        ),
    }
    return words[line.state]
