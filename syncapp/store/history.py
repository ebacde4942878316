"""What people read of the past: log lines, and problems that wait."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext

from syncapp.errors import sentence
from syncapp.models import Field, LogEntry, Problem, Table
from syncapp.store import texts
from syncapp.store.base import ASK
from syncapp.store.introspect import RECORD_STATUS
from syncapp.store.status import moment, now_us, worth_showing

VALUE_LIMIT = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One line of the log. ``before`` is None where it is not known; values are inert text."""

    id: int
    at: datetime | None
    link: str
    way: str
    #: Which program the change came from.
    source: str
    table: str
    record: str
    uid: str
    field: str
    before: str | None
    after: str | None
    result: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemLine:
    """One parked change and its reason, in the active language."""

    id: int
    link: str
    way: str
    table: str
    record: str
    uid: str
    #: Empty: the whole record waits.
    field: str
    code: str
    sentence: str
    waits_for: str
    created_at: datetime | None
    tries: int
    next_try: datetime | None


def log_lines(
    link: int | None = None, limit: int = 50, before: int = 0, after: int = 0, using: str = "default"
) -> list[LogLine]:
    """The newest ``limit`` lines, newest first: ids below ``before`` (0: from the end), above ``after``."""
    rows = LogEntry.objects.using(using).select_related("link__state").order_by("-id")
    rows = of_link(rows, link)
    if before:
        rows = rows.filter(id__lt=before)
    if after:
        rows = rows.filter(id__gt=after)
    found = list(rows[:limit])
    names = Names(found, using)
    return [_log_line(row, names) for row in found]


def problem_lines(link: int | None = None, limit: int = 200, using: str = "default") -> list[ProblemLine]:
    """The oldest ``limit`` problems; questions that wait for a decision are not among them (see `store.disputes`)."""
    shown = worth_showing(Problem.objects.using(using).exclude(code=ASK), now_us())
    rows = of_link(shown.select_related("link").order_by("id"), link)
    found = list(rows[:limit])
    names = Names(found, using)
    return [_problem_line(row, names) for row in found]


def of_link(rows: QuerySet[Any], link: int | None) -> QuerySet[Any]:
    """``rows`` of one link, or of all."""
    return rows if link is None else rows.filter(link_id=link)


class Names:
    """Names of the tables and fields that some rows mention: two queries for all of them."""

    def __init__(self, rows: Iterable[Any], using: str) -> None:
        rows = list(rows)
        tables = {row.table_no for row in rows}
        fields = {row.field_no for row in rows}
        self._tables = dict(
            Table.objects.using(using).filter(number__in=tables).values_list("number", "label")
        )
        found = Field.objects.using(using).filter(number__in=fields)
        self._fields = dict(found.values_list("number", "name"))
        self._statuses = set(found.filter(system=True, name=RECORD_STATUS).values_list("number", flat=True))

    def table(self, number: int) -> str:
        return self._tables.get(number, f"#{number}" if number else "")

    def field(self, number: int) -> str:
        return self._fields.get(number, f"#{number}" if number else "")

    def is_status(self, number: int) -> bool:
        """Whether the field is a table's *record status*."""
        return number in self._statuses


def _log_line(row: LogEntry, names: Names) -> LogLine:
    return LogLine(
        id=row.pk,
        at=moment(row.at),
        link=row.link.name,
        way=row.way,
        source=_source(row),
        table=names.table(row.table_no),
        record=texts.inert(row.pk_text),
        uid=bytes(row.uid).hex(),
        field=names.field(row.field_no),
        before=_shown_in(row.field_no, row.before, names) if row.table_no else "",
        after=_shown_in(row.field_no, row.after, names) if row.table_no else "",
        result=row.result,
        detail=row.detail,
    )


def _source(row: LogEntry) -> str:
    if row.way == "out":
        return gettext("here")
    state = getattr(row.link, "state", None)
    return texts.inert(state.peer_title, 200) if state and state.peer_title else row.link.name


def _shown_in(field: int, stored: str | None, names: Names) -> str | None:
    if names.is_status(field) and stored in ("true", "false"):
        return life_word(stored == "true")
    return shown(stored)


def life_word(alive: bool) -> str:
    """A record status for people."""
    return gettext("alive") if alive else gettext("deleted")


def shown(stored: str | None) -> str | None:
    """A stored value (JSON) as inert text for people; None where it is not known."""
    if stored is None:
        return None
    try:
        value = json.loads(stored)
    except ValueError:
        value = stored
    if value is None:
        return gettext("(empty)")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return texts.inert(text, VALUE_LIMIT)


def _problem_line(row: Problem, names: Names) -> ProblemLine:
    params = {key: texts.inert(str(value), 300) for key, value in row.params.items()}
    return ProblemLine(
        id=row.pk,
        link=row.link.name,
        way=row.way,
        table=names.table(row.table_no),
        record=texts.inert(row.pk_text),
        uid=bytes(row.uid).hex(),
        field=names.field(row.field_no),
        code=row.code,
        sentence=texts.inert(sentence(row.code, params, gettext)),
        waits_for=bytes(row.waits_for or b"").hex(),
        created_at=moment(row.created_at),
        tries=row.tries,
        next_try=moment(row.next_try),
    )
