"""``manage.py syncseries``: shared series of numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from django.core.management.base import CommandParser
from django.utils.translation import gettext

from syncapp import errors
from syncapp.management.base import SyncCommand
from syncapp.store.serieslist import HolderLine, SeriesLine, dismiss, doubt, series_lines


class Command(SyncCommand):
    """Lists shared series of numbers: who owns them, who holds which numbers, what is missing."""

    help = (
        "Lists shared series of numbers, with who holds which and with gaps; gives up on a holder for good."
    )
    example: ClassVar[str] = 'python manage.py syncseries --dismiss "Old laptop"'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dismiss",
            metavar="HOLDER",
            help="a program (or the link to it) that never comes back: nobody waits for it, its numbers are lost",
        )

        parser.add_argument(
            "--restored",
            action="store_true",
            help="this program's database was just put back from a backup: use no numbers of before. (Noticed by "
            "itself at the next contact; say it where the program is used before that.)",
        )

    def run(self, *, dismiss: str | None = None, restored: bool = False, **options: Any) -> None:
        """List, dismiss, or doubt."""
        self.require_migrated()
        if restored:
            self._doubt()
            return
        if dismiss:
            self._dismiss(dismiss)
            return
        found = series_lines()
        self.answer([asdict(line) for line in found])
        if not found:
            self.say(gettext("No field is a shared series here."))
        for line in found:
            self._show(line)

    def _dismiss(self, name: str) -> None:
        done = dismiss(name)
        self.answer({"dismissed": name, "series": done})
        for label in done:
            text = gettext('"{name}" takes no part in {field} any more. What it held is a gap now.')
            self.say(text.format(name=name, field=label))

    def _doubt(self) -> None:
        done = doubt()
        self.answer({"doubted": done})
        for label in done:
            text = gettext("{field}: what this program had is not used any more.")
            self.say(text.format(field=label))

    def _show(self, line: SeriesLine) -> None:
        none = "–"
        owner = gettext("{owner} (this program)") if line.owned else "{owner}"
        rows = [
            (gettext("Mode"), _MODES[line.mode]()),
            (gettext("Written"), line.format),
            (gettext("Owner"), owner.format(owner=line.owner)),
            (gettext("Links to the owner"), none if line.way is None else line.way),
            (gettext("Next number"), none if line.next is None else line.next),
            (gettext("Held here"), ", ".join(line.held) or none),
            (gettext("Left"), line.left),
            (gettext("Waits for"), ", ".join(line.waits_for) or none),
            (gettext("Provisional"), ", ".join(line.provisional) or none),
            (
                gettext("Replaced"),
                ", ".join(f"{one['provisional']} → {one['number']}" for one in line.replaced) or none,
            ),
        ]
        if line.gaps is not None:
            rows.append((gettext("Gaps"), ", ".join(line.gaps) or none))
        self.table((line.field, ""), rows)
        if line.holders:
            titles = (
                gettext("Program"),
                gettext("Link"),
                gettext("State"),
                gettext("Holds"),
                gettext("Wants"),
            )
            self.table(titles, [_holder(one) for one in line.holders])


def _holder(line: HolderLine) -> tuple[Any, ...]:
    return (line.name, line.link, _state(line.state), ", ".join(line.held), line.wants or "")


def _state(state: str) -> str:
    words = {
        "owner": gettext("owns the series"),
        "lessor": gettext("leases to us"),
        "holder": gettext("leases from us"),
        "missing": gettext("waited for"),
        "dismissed": gettext("dismissed"),
        errors.SeriesNotThere.code: gettext("has not declared it"),
        errors.SeriesDiffers.code: gettext("has declared it differently"),
        errors.TwoOwners.code: gettext("knows of another owner"),
        errors.NoOwner.code: gettext("does not know the owner either"),
    }
    return words.get(state, state)


_MODES = {
    "ranges": lambda: gettext("ranges"),
    "contiguous": lambda: gettext("contiguous"),
}
