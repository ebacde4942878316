"""What people read of conflicts: open questions (policy ask), and the values that lost.

Everything is shown as inert text, and by name: records as their program calls them, values that are relations as what
they refer to, origins as the programs that they are.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from django.db.models import QuerySet
from django.utils.translation import gettext

from syncapp import conf
from syncapp.core.changes import unpack_entries
from syncapp.core.clock import instance_of
from syncapp.errors import NoQuestion
from syncapp.models import Alias, Conflict, Instance, LinkState, Problem, Record
from syncapp.store import catalogue, texts
from syncapp.store.base import ASK, BadValue, FieldInfo
from syncapp.store.conflicts import is_relation
from syncapp.store.history import Names, life_word, of_link
from syncapp.store.parked import unpack
from syncapp.store.sql import SqlBackend
from syncapp.store.status import moment

VALUE_LIMIT = 2_000
LABEL_LIMIT = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two values: when it was written, and in which program. ``value`` None: it cannot be read."""

    value: str | None
    at: datetime | None
    program: str
    instance: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """The field of a record that a conflict or a question is about."""

    id: int
    link: str
    table: str
    record: str
    key: str
    uid: str
    field: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ConflictLine(_Line):
    """A conflict. ``won`` is the value that was taken, ``lost`` the other one.

    ``resolved``: empty while nobody has looked at it; restored (the loser), kept (the winner), decided (the answer to
    a question).
    """

    won: Side
    lost: Side
    resolved: str
    created_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionLine(_Line):
    """A question that waits for a decision: ``ours`` stands here, ``theirs`` came over the link."""

    ours: Side
    theirs: Side
    created_at: datetime | None


def conflict_lines(
    link: int | None = None,
    limit: int = 50,
    before: int = 0,
    *,
    open_only: bool = False,
    using: str = "default",
) -> list[ConflictLine]:
    """The newest ``limit`` conflicts, newest first: ids below ``before`` (0: from the end)."""
    rows = of_link(Conflict.objects.using(using).select_related("link").order_by("-id"), link)
    if before:
        rows = rows.filter(id__lt=before)
    if open_only:
        rows = rows.filter(resolved="")
    return _conflicts(list(rows[:limit]), using)


def conflict_line(number: int, using: str = "default") -> ConflictLine | None:
    """One conflict."""
    rows = Conflict.objects.using(using).select_related("link").filter(pk=number)
    return next(iter(_conflicts(list(rows), using)), None)


def question_lines(
    link: int | None = None, limit: int = 50, after: int = 0, using: str = "default"
) -> list[QuestionLine]:
    """The oldest ``limit`` questions with ids above ``after``."""
    rows = of_link(_asked(using).order_by("id"), link).filter(id__gt=after)
    return _questions(list(rows[:limit]), using)


def question_line(number: int, using: str = "default") -> QuestionLine | None:
    """One question."""
    return next(iter(_questions(list(_asked(using).filter(pk=number)), using)), None)


def question_field(number: int, using: str = "default") -> tuple[str, FieldInfo]:
    """The label of the table, and the field, that a question is about.

    Raises:
        NoQuestion: there is none of this number, or its field is no longer on offer.
    """
    row = _asked(using).filter(pk=number).first()
    table = catalogue.load_setup(using).tables.get(row.table_no) if row else None
    if row is None or table is None or row.field_no not in table.fields:
        raise NoQuestion(number=number)
    return table.label, table.fields[row.field_no]


def _asked(using: str) -> QuerySet[Problem]:
    return Problem.objects.using(using).filter(code=ASK, way="in").select_related("link")


# -- lines --------------------------------------------------------------------------------------------------


def _conflicts(rows: list[Conflict], using: str) -> list[ConflictLine]:
    shown = _Shown(rows, using)
    values = {(row.pk, name): _unpacked(getattr(row, name)) for row in rows for name in ("won", "lost")}
    shown.learn(
        (row.table_no, row.field_no, values[row.pk, name]) for row in rows for name in ("won", "lost")
    )
    return [
        ConflictLine(
            id=row.pk,
            link=row.link.name,
            **shown.place(row),
            won=shown.side(row, values[row.pk, "won"], row.won_time, bytes(row.won_origin)),
            lost=shown.side(row, values[row.pk, "lost"], row.lost_time, bytes(row.lost_origin)),
            resolved=row.resolved,
            created_at=moment(row.created_at),
        )
        for row in rows
    ]


def _unpacked(packed: bytes | memoryview) -> Any:
    try:
        return msgspec.msgpack.decode(packed)
    except msgspec.MsgspecError:
        return BadValue("written by another version of this program")


def _questions(rows: list[Problem], using: str) -> list[QuestionLine]:
    shown = _Shown(rows, using)
    cells = {
        row.pk: unpack(bytes(row.uid), row.table_no, bytes(row.payload)).cells[row.field_no] for row in rows
    }
    standing = shown.standing(rows)
    shown.learn((row.table_no, row.field_no, cells[row.pk].value) for row in rows)
    shown.learn_keys((row.table_no, row.field_no, standing.get(row.pk)) for row in rows)
    lines = []
    for row in rows:
        theirs, entry = cells[row.pk].version, shown.entry(row)
        ours = shown.side(
            row,
            standing.get(row.pk),
            entry.version.time if entry else 0,
            entry.version.origin if entry else b"",
            local=True,
        )
        lines.append(
            QuestionLine(
                id=row.pk,
                link=row.link.name,
                **shown.place(row),
                ours=ours,
                theirs=shown.side(
                    row, cells[row.pk].value, theirs.time if theirs else 0, theirs.origin if theirs else b""
                ),
                created_at=moment(row.created_at),
            )
        )
    return lines


class _Shown:
    """Names for what some rows mention: a fixed number of queries, and one for each table whose records are named."""

    def __init__(self, rows: Iterable[Any], using: str) -> None:
        rows = list(rows)
        self._using = using
        self._names = Names(rows, using)
        self._setup = catalogue.load_setup(using)
        self._records: dict[bytes, Record] = {}
        self._labels: dict[tuple[int, str], str] = {}
        self._programs = _programs(using)
        self._look_up({bytes(row.uid) for row in rows})
        self._label((record.table_id, record.pk_text) for record in self._records.values())

    # -- learning --

    def _look_up(self, uids: set[bytes]) -> None:
        unknown = uids - self._records.keys()
        if not unknown:
            return
        for record in Record.objects.using(self._using).filter(uid__in=unknown):
            self._records[bytes(record.uid)] = record
        aliases = Alias.objects.using(self._using).filter(uid__in=unknown - self._records.keys())
        for alias in aliases.select_related("record"):
            self._records[bytes(alias.uid)] = alias.record

    def learn(self, values: Iterable[tuple[int, int, Any]]) -> None:
        """Look up what portable values of (table, field) refer to."""
        uids = {
            uid
            for table, field, value in values
            if self._relation(table, field)
            for uid in _listed(value)
            if isinstance(uid, bytes)
        }
        self._look_up(uids)
        self._label((r.table_id, r.pk_text) for uid in uids if (r := self._records.get(uid)) is not None)

    def learn_keys(self, values: Iterable[tuple[int, int, Any]]) -> None:
        """The same for values in local terms."""
        found = [(self._relation(table, field), value) for table, field, value in values]
        self._label((info.target, key) for info, value in found if info for key in _listed(value))

    def _label(self, wanted: Iterable[tuple[int, str]]) -> None:
        by_table: dict[int, set[str]] = defaultdict(set)
        for table, key in wanted:
            if (table, key) not in self._labels:
                by_table[table].add(key)
        bindings = catalogue.bindings(self._using)
        for table, keys in by_table.items():
            if table in bindings:
                rows = bindings[table].model._base_manager.using(self._using).filter(pk__in=keys)
                self._labels |= {(table, str(row.pk)): _called(row) for row in rows}

    # -- telling --

    def entry(self, row: Any) -> Any:
        """What the row's record remembers of the row's field."""
        record = self._records.get(bytes(row.uid))
        return unpack_entries(bytes(record.entries)).get(row.field_no) if record else None

    def standing(self, rows: list[Problem]) -> dict[int, Any]:
        """Problem → the value that stands in the record, in local terms."""
        wanted: dict[tuple[int, int], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            record = self._records.get(bytes(row.uid))
            table = self._setup.tables.get(row.table_no)
            if record is not None and table is not None and row.field_no in table.fields:
                wanted[row.table_no, row.field_no][record.pk_text].append(row.pk)
        found: dict[int, Any] = {}
        backend = SqlBackend(self._using)
        for (number, field), keys in wanted.items():
            for key, (value,) in backend.rows(number, list(keys), [field]).items():
                found |= dict.fromkeys(keys[key], value)
        return found

    def place(self, row: Any) -> dict[str, str]:
        """Table, record and field of a row, by name."""
        record = self._records.get(bytes(row.uid))
        key = record.pk_text if record else row.pk_text
        return {
            "table": self._names.table(row.table_no),
            "record": self._labels.get((row.table_no, key), key),
            "key": texts.inert(key),
            "uid": bytes(row.uid).hex(),
            "field": self._names.field(row.field_no),
        }

    def side(self, row: Any, value: Any, at: int, origin: bytes, *, local: bool = False) -> Side:
        instance = instance_of(origin)
        return Side(
            value=self._told(row, value, local=local),
            at=moment(at),
            program=self._programs.get(instance) or instance.hex()[:8],
            instance=instance.hex(),
        )

    def _told(self, row: Any, value: Any, *, local: bool) -> str | None:
        if self._names.is_status(row.field_no):
            if isinstance(value, dict):  # the edits that were lost with the record
                lost = "; ".join(
                    f"{name}: {self._value(None, part, local=True)}" for name, part in value.items()
                )
                return texts.inert(lost, VALUE_LIMIT)
            return life_word(value is not False)
        return self._value(self._relation(row.table_no, row.field_no), value, local=local)

    def _value(self, relation: FieldInfo | None, value: Any, *, local: bool) -> str | None:
        if isinstance(value, BadValue):
            return None
        if value is None or value == []:
            return gettext("(empty)")
        if relation is not None:
            shown = [self._referred(relation, part, local=local) for part in _listed(value)]
            return texts.inert(", ".join(sorted(shown)), VALUE_LIMIT)
        if isinstance(value, bytes):
            return texts.inert(value.hex(), VALUE_LIMIT)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        return texts.inert(text, VALUE_LIMIT)

    def _referred(self, relation: FieldInfo, part: Any, *, local: bool) -> str:
        if local or not isinstance(part, bytes):
            return self._labels.get((relation.target, str(part)), str(part))
        record = self._records.get(part)
        if record is None:
            return part.hex()
        return self._labels.get((record.table_id, record.pk_text), record.pk_text)

    def _relation(self, table: int, field: int) -> FieldInfo | None:
        """The field, if it refers to records."""
        info = self._setup.tables[table].fields.get(field) if table in self._setup.tables else None
        return info if info is not None and is_relation(info) else None


def _listed(value: Any) -> list[Any]:
    if value is None or isinstance(value, BadValue):
        return []
    return value if isinstance(value, list) else [value]


def _called(row: Any) -> str:
    """A row as its program calls it. What it calls itself is the host's code, which may fail."""
    try:
        return texts.inert(str(row), LABEL_LIMIT)
    except Exception:
        return texts.inert(str(row.pk))


def _programs(using: str) -> dict[bytes, str]:
    """Instance id → title of the programs that are known: this one, and its peers."""
    found = {
        bytes(instance): texts.inert(title, LABEL_LIMIT)
        for instance, title in LinkState.objects.using(using).values_list("peer_instance", "peer_title")
        if instance and title
    }
    own = Instance.objects.using(using).values_list("instance", flat=True).first()
    return {**found, bytes(own): conf.current().title} if own else found
