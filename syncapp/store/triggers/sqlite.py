# ruff: noqa: S608 - triggers take no parameters: what is put into them are quoted names and numbers
"""Compiles the change triggers of a table for SQLite (pure: bindings in, SQL text out), and knows where they are.

The triggers use built-in functions only, since any program may write to the file, and never make the write that
fires them fail. For table 3 with field 17, a many-to-many:

====================  ===========================  =======================================================
``syncapp_3_update``  AFTER UPDATE OF mapped       which fields differ
``syncapp_3_insert``  AFTER INSERT                 a new row
``syncapp_3_delete``  AFTER DELETE                 a row that is gone
``syncapp_3_move``    AFTER UPDATE OF primary key  a row that is gone and a new one
``syncapp_3_look``    BEFORE INSERT                rows that ``INSERT OR REPLACE`` may remove or rewrite
``syncapp_3_clash``   BEFORE UPDATE OF unique      rows that ``UPDATE OR REPLACE`` may remove or rewrite
``syncapp_3_17_…``    on the table behind field    the owner's field has changed
====================  ===========================  =======================================================

SQLite's REPLACE deletes without firing delete triggers (unless ``recursive_triggers`` is on), so the two BEFORE
triggers note in advance which rows hold a unique value that the new row brings. Whether these were then replaced
is not known at that point – ``INSERT OR IGNORE`` and ``ON CONFLICT`` look the same – so such a row says only
"look": its mask, the differences between the standing row and the new one, counts only if the insert of that key
follows (see `syncapp.store.sql.journal`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper

from syncapp.core.changes import Op
from syncapp.core.mapping import Kind
from syncapp.store.base import LOGGED_TEXT
from syncapp.store.bindings import FieldBinding, TableBinding, ThroughBinding
from syncapp.store.triggers.base import (
    NAME,
    WORD,
    TriggerSql,
    by_slot,
    digest,
    encode_mask,
    unbounded,
    unique_sets,
)

_JOURNAL = 'INSERT INTO "syncapp_journal" ("table_no", "pk_text", "op", "mask", "at", "before")'
_LOCAL = 'NOT EXISTS (SELECT 1 FROM "syncapp_applying")'
#: The clock in µs, exact to the millisecond that it is kept in: julianday() alone is a hair below it half the time.
_NOW = "CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER) * 1000"
#: Keys are read as text everywhere.
_KEYS = frozenset({Kind.RELATION, Kind.USER, Kind.KEY})
_COMMENT = "/* syncapp:{} */"
_COMMENTED = re.compile(r" /\* syncapp:([0-9a-f]+) \*/")


def compile_table(
    binding: TableBinding,
    captured: Collection[int],
    log_fields: Collection[int] = (),
    joined: Collection[int] = (),
) -> list[TriggerSql]:
    """The triggers that capture the fields numbered ``captured``; none if the table has none of them.

    Old values are kept for those in ``log_fields`` and in ``joined`` (sums and unions); see `triggers.base`.
    """
    fields = by_slot(binding, captured)
    if not fields:
        return []
    return _Compiler(binding, fields, frozenset(log_fields), frozenset(joined)).triggers()


def installed(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """name → hash of the triggers of ours in the database; an empty hash: the text is not what it was."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
        rows = cursor.fetchall()
    return {name: _stored_hash(sql) for name, sql in rows if NAME.fullmatch(name)}


def _stored_hash(sql: str) -> str:
    """The hash in the trigger's comment, if it is still that of the text: renaming a column rewrites triggers."""
    comment = _COMMENTED.search(sql)
    if comment is None or digest(sql.replace(comment[0], "", 1)) != comment[1]:
        return ""
    return comment[1]


def create(connection: BaseDatabaseWrapper, trigger: TriggerSql) -> None:
    """Put a compiled trigger into the database."""
    _execute(connection, trigger.sql)


def drop(connection: BaseDatabaseWrapper, name: str) -> None:
    """Remove a trigger by name; it may be gone already."""
    _execute(connection, f"DROP TRIGGER IF EXISTS {_quote(name)}")


def _execute(connection: BaseDatabaseWrapper, sql: str) -> None:
    with connection.cursor() as cursor:
        # No parameters at all, so that a "%" in the text stays one.
        cursor.execute(sql, None)


class _Compiler:
    def __init__(
        self,
        binding: TableBinding,
        fields: Sequence[FieldBinding],
        log_fields: frozenset[int],
        joined: frozenset[int],
    ) -> None:
        self.binding = binding
        self.table = binding.db_table
        self.pk = binding.pk_quoted
        self.columns = [field for field in fields if field.column and field.column != binding.pk_column]
        self.sums = [f for f in self.columns if f.number in joined]
        self.kept = [
            f
            for f in self.columns
            if f in self.sums or (f.number in log_fields and f.kind is not Kind.BINARY)
        ]
        self.unions = frozenset(field.number for field in fields if field.through and field.number in joined)
        self.throughs = [(field, field.through) for field in fields if field.through is not None]
        self.uniques = unique_sets(binding)

    def triggers(self) -> list[TriggerSql]:
        found = [self.insert(), self.delete(), self.move(), self.look(), self.clash()]
        if self.columns:
            found.insert(0, self.update())
        for field, through in self.throughs:
            found += self.through(field, through)
        return found

    # -- the table itself --

    def update(self) -> TriggerSql:
        changed = " OR ".join(_differs(column, "OLD") for column in _distinct(f.column for f in self.columns))
        when = f"{_LOCAL} AND OLD.{self.pk} IS NEW.{self.pk} AND ({changed})"
        values = self.row("NEW", Op.UPDATE, self.mask("OLD"), self.before(self.kept, "OLD"))
        event = f"AFTER UPDATE OF {_columns(_distinct(f.column for f in self.columns))}"
        return self.trigger("update", event, when, [f"{_JOURNAL} VALUES ({values})"])

    def insert(self) -> TriggerSql:
        values = self.row("NEW", Op.INSERT)
        return self.trigger("insert", "AFTER INSERT", _LOCAL, [f"{_JOURNAL} VALUES ({values})"])

    def delete(self) -> TriggerSql:
        values = self.row("OLD", Op.DELETE)
        return self.trigger("delete", "AFTER DELETE", _LOCAL, [f"{_JOURNAL} VALUES ({values})"])

    def move(self) -> TriggerSql:
        gone, new = self.row("OLD", Op.DELETE), self.row("NEW", Op.INSERT)
        when = f"{_LOCAL} AND OLD.{self.pk} IS NOT NEW.{self.pk} COLLATE BINARY"
        body = [f"{_JOURNAL} VALUES ({gone})", f"{_JOURNAL} VALUES ({new})"]
        return self.trigger("move", f"AFTER UPDATE OF {self.pk}", when, body)

    def look(self) -> TriggerSql:
        body = [self.rewritten()]
        for unique in self.uniques:
            where = f"{_same(unique)} AND t.{self.pk} IS NOT NEW.{self.pk} COLLATE BINARY"
            body.append(self.vanishing(where))
        return self.trigger("look", "BEFORE INSERT", _LOCAL, body)

    def clash(self) -> TriggerSql:
        watched = _distinct(
            [self.binding.pk_column, *(column for unique in self.uniques for column in unique)]
        )
        changed = " OR ".join(_differs(column, "OLD") for column in watched)
        body = [self.rewritten(f" AND OLD.{self.pk} IS NOT NEW.{self.pk} COLLATE BINARY")]
        for unique in self.uniques:
            where = f"{_same(unique)} AND t.{self.pk} IS NOT OLD.{self.pk} COLLATE BINARY"
            body.append(self.vanishing(where))
        event = f"BEFORE UPDATE OF {_columns(watched)}"
        return self.trigger("clash", event, f"{_LOCAL} AND ({changed})", body)

    def rewritten(self, condition: str = "") -> str:
        """Note the row that stands where NEW's primary key belongs, with its differences from NEW."""
        values = self.row("t", Op.LOOK, self.mask(), self.before(self.sums, "t"))
        source = f"FROM {self.binding.quoted} AS t WHERE t.{self.pk} = NEW.{self.pk}{condition}"
        return f"{_JOURNAL} SELECT {values} {source}"

    def vanishing(self, where: str) -> str:
        """Note the rows of ``where``: their unique value is NEW's, so they can't both stay."""
        return f"{_JOURNAL} SELECT {self.row('t', Op.LOOK, 'NULL')} FROM {self.binding.quoted} AS t WHERE {where}"

    # -- the table behind a many-to-many --

    def through(self, field: FieldBinding, through: ThroughBinding) -> list[TriggerSql]:
        source, target = _quote(through.source_column), _quote(through.target_column)
        pk = _quote(str(through.model._meta.pk.column))
        mask = f"'{encode_mask([field.slot])}'"

        kept = field.number in self.unions

        def changed(row: str, was: str) -> str:
            """The values of a journal row about ``row``, whose membership ``was`` there before, or not."""
            before = "NULL"
            if kept:
                key = f"json_quote(CAST({row}.{target} AS TEXT))"
                before = f"'{{\"{field.number}\":{{' || {key} || ':{was}}}}}'"
            owner = f"CAST({row}.{source} AS TEXT)"
            return f"{self.binding.number}, {owner}, {Op.UPDATE:d}, {mask}, {_NOW}, {before}"

        other_pair = f"(OLD.{source} IS NOT NEW.{source} OR OLD.{target} IS NOT NEW.{target})"
        replaced = f"(t.{source} IS NOT NEW.{source} OR t.{target} IS NOT NEW.{target})"
        # A union has to hear of both targets, even where the owner is one.
        other_owner = "" if kept else f" WHERE OLD.{source} IS NOT NEW.{source}"
        update = [
            f"{_JOURNAL} VALUES ({changed('NEW', 'false')})",
            f"{_JOURNAL} SELECT {changed('OLD', 'true')}{other_owner}",
        ]
        rewritten = f"FROM {_quote(through.table)} AS t WHERE t.{pk} = NEW.{pk} AND {replaced}"
        events = [
            ("insert", "AFTER INSERT", _LOCAL, [f"{_JOURNAL} VALUES ({changed('NEW', 'false')})"]),
            ("delete", "AFTER DELETE", _LOCAL, [f"{_JOURNAL} VALUES ({changed('OLD', 'true')})"]),
            ("update", f"AFTER UPDATE OF {source}, {target}", f"{_LOCAL} AND {other_pair}", update),
            ("look", "BEFORE INSERT", _LOCAL, [f"{_JOURNAL} SELECT {changed('t', 'true')} {rewritten}"]),
        ]
        return [
            self.trigger(f"{field.number}_{op}", event, when, body, through.table)
            for op, event, when, body in events
        ]

    # -- parts --

    def trigger(self, op: str, event: str, when: str, body: Sequence[str], table: str = "") -> TriggerSql:
        table = table or self.table
        name = f"syncapp_{self.binding.number}_{op}"
        head = f"CREATE TRIGGER {_quote(name)} {event} ON {_quote(table)}\nFOR EACH ROW WHEN {when}\nBEGIN"
        tail = "".join(f"\n  {statement};" for statement in body) + "\nEND"
        hash = digest(head + tail)
        return TriggerSql(name, table, f"{head} {_COMMENT.format(hash)}{tail}", hash)

    def row(self, row: str, op: Op, mask: str = "'0'", before: str = "NULL") -> str:
        """The values of a journal row about ``row`` (NEW, OLD, or a row ``t`` of the table)."""
        return f"{self.binding.number}, CAST({row}.{self.pk} AS TEXT), {op:d}, {mask}, {_NOW}, {before}"

    def mask(self, row: str = "t") -> str:
        """The slots of the mapped columns in which ``row`` and NEW differ."""
        return _words({field.slot: f"({_differs(field.column, row)})" for field in self.columns})

    def before(self, fields: Sequence[FieldBinding], row: str) -> str:
        """JSON text of the old values in ``row`` of those of ``fields`` that change; NULL where there are none."""
        if not fields:
            return "NULL"
        parts = []
        for field in fields:
            column = f"{row}.{_quote(field.column)}"
            # json_quote() fails on a BLOB, which SQLite lets into any column: the user's write must not fail for it.
            when = f"{_differs(field.column, row)} AND typeof({column}) <> 'blob'"
            old = f"CAST({column} AS TEXT)" if field.kind in _KEYS else column
            if unbounded(field):
                # Old values are kept for the log alone: a long text must not be copied with each change of it.
                cut = f"substr({column}, 1, {LOGGED_TEXT}) || '…'"
                old = f"CASE WHEN length({column}) > {LOGGED_TEXT} THEN {cut} ELSE {column} END"
            parts.append(f"CASE WHEN {when} THEN ',\"{field.number}\":' || json_quote({old}) ELSE '' END")
        return "'{' || substr(" + " || ".join(parts) + ", 2) || '}'"


def _words(bits: dict[int, str]) -> str:
    """An expression of the mask in which slot → 0/1 expression; one word, or several joined by ``:``."""
    words: list[list[str]] = [[] for _ in range(max(bits, default=0) // WORD + 1)]
    for slot, bit in sorted(bits.items()):
        words[slot // WORD].append(f"{bit} << {slot % WORD}")
    texts = [" | ".join(f"({part})" for part in parts) or "0" for parts in words]
    return texts[0] if len(texts) == 1 else " || ':' || ".join(f"({text})" for text in texts)


def _differs(column: str, row: str) -> str:
    """Binary comparison: in a NOCASE column a change of case alone is a change too."""
    return f"{row}.{_quote(column)} IS NOT NEW.{_quote(column)} COLLATE BINARY"


def _same(columns: Sequence[str]) -> str:
    """Equal as the unique index sees it: by the column's own collation, NULLs never."""
    return " AND ".join(f"t.{_quote(column)} = NEW.{_quote(column)}" for column in columns)


def _distinct(columns: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(columns))


def _columns(names: Sequence[str]) -> str:
    return ", ".join(_quote(name) for name in names)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
