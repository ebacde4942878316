"""Rows as the engine would have written them, for tests of what is shown."""

from __future__ import annotations

import itertools
from typing import Any

from syncapp.core.changes import Entry, pack_entries
from syncapp.core.clock import Version, make_origin
from syncapp.models import (
    Conflict,
    Field,
    Instance,
    Journal,
    Link,
    LinkState,
    LogEntry,
    Mapping,
    Problem,
    Record,
    Table,
)
from syncapp.store.numbering import INSTANCE_PK

NOW = 1_772_366_400_000_000  # 2026-03-01 12:00 UTC
SECOND = 1_000_000
ORIGIN = make_origin(b"i" * 16, 1)
_numbers = itertools.count(1)


def instance(head: int = 0) -> Instance:
    """This program, with ``head`` numbers given."""
    values = {"instance": b"i" * 16, "scram_salt": b"s" * 16, "head_seq": head}
    return Instance.objects.update_or_create(pk=INSTANCE_PK, defaults=values)[0]


def link(name: str = "Head office", *, state: dict[str, Any] | None = None, **values: Any) -> Link:
    """A link; with ``state``, also the row that the engine keeps of it."""
    values = {"mode": "active", "code": f"code{next(_numbers)}", "address": "http://office.example", **values}
    made = Link.objects.create(name=name, **values)
    if state is not None:
        defaults = {"lease_until": NOW + 30 * SECOND, "state_since": NOW - 5 * SECOND}
        LinkState.objects.create(link=made, **{**defaults, **state})
    return made


def field(name: str = "phone", table: str = "crm.Client") -> Field:
    """A field of the catalogue (made when missing)."""
    owner, _ = Table.objects.get_or_create(label=table)
    slot = Field.objects.filter(table=owner).count()
    return Field.objects.get_or_create(table=owner, name=name, defaults={"slot": slot})[0]


def mapping(link: Link, field: Field, direction: str = "both") -> Mapping:
    """``field`` takes part in ``link``."""
    return Mapping.objects.create(link=link, field=field, direction=direction, flowing=True)


def record(field: Field, seq: int, via: int = 0, entry_seq: int | None = None) -> Record:
    """A record whose ``field`` was changed with feed number ``seq``."""
    number = next(_numbers)
    entry = Entry(Version(NOW, ORIGIN), seq if entry_seq is None else entry_seq, via)
    return Record.objects.create(
        table=field.table,
        pk_text=str(number),
        uid=number.to_bytes(16, "big"),
        seq=seq,
        entries=pack_entries({field.number: entry}),
    )


def journal(table: int) -> Journal:
    """A change that has not been sealed."""
    return Journal.objects.create(table_no=table, pk_text="1", op=0, mask="1", at=NOW)


def problem(link: Link, field: Field, **values: Any) -> Problem:
    """A parked change of ``field``."""
    uid = next(_numbers).to_bytes(16, "big")
    values = {"code": "missing_target", "params": {}, "payload": b"", "next_try": NOW, **values}
    return Problem.objects.create(
        link=link,
        table_no=field.table.number,
        uid=uid,
        pk_text="7",
        field_no=field.number,
        created_at=NOW,
        **values,
    )


def conflict(link: Link, field: Field, resolved: str = "") -> Conflict:
    """A value that lost."""
    return Conflict.objects.create(
        link=link,
        table_no=field.table.number,
        uid=next(_numbers).to_bytes(16, "big"),
        pk_text="7",
        field_no=field.number,
        won=b"",
        lost=b"",
        won_time=NOW,
        won_origin=ORIGIN,
        lost_time=NOW,
        lost_origin=ORIGIN,
        created_at=NOW,
        resolved=resolved,
    )


def log_entry(link: Link, field: Field, **values: Any) -> LogEntry:
    """A line of the log."""
    values = {"at": NOW, "way": "in", "before": '"1"', "after": '"2"', "result": "applied", **values}
    return LogEntry.objects.create(
        link=link,
        table_no=field.table.number,
        pk_text="7",
        uid=b"u" * 16,
        field_no=field.number,
        **values,
    )
