# ruff: noqa: S608 - triggers take no parameters: what is put into them are quoted names and numbers
"""Compiles the change triggers of a table for PostgreSQL (pure: bindings in, SQL text out).

Each trigger has a function of its own name. For table 3 with field 17, a many-to-many:

======================  =====================  ===================================================================
``syncapp_3_update``    AFTER UPDATE           which fields differ, for all rows of the statement at once
``syncapp_3_insert``    AFTER INSERT           new rows
``syncapp_3_delete``    AFTER DELETE           rows that are gone
``syncapp_3_move``      AFTER UPDATE, per row  where the primary key changed: a row that is gone and a new one
``syncapp_3_truncate``  AFTER TRUNCATE         every record of the table that has a history
``syncapp_3_17_…``      on the table behind    the owner's field has changed
                        field 17
======================  =====================  ===================================================================

*Statement triggers with transition tables*: on a statement of 5000 rows they cost 6 µs a row for an update and 3 µs for
an insert, row triggers 16 and 15; on a statement of one row both cost the same. They see what upserts, MERGE, COPY and
cascades do. Partitioned tables have row triggers, since a statement may name a partition. Rows that logical
replication brings fire no statement triggers: they are found by verification only.

*The functions run as their owner* (SECURITY DEFINER), since whoever writes to the table – another program, with a role
of its own – need not be allowed to write to the journal, nor know its schema; and with a fixed ``search_path``,
without which that writer could put its own operators in the way. All names in them are in full. The triggers fire
ALWAYS: also in sessions that pose as a replica to pass over foreign keys.

Nothing in a function may fail, for the write would fail with it. A column that somebody renames or drops behind
Django's back would be such a case: triggers are removed before migrations, and put back without a missing column when
they are verified next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from syncapp.core.changes import Op
from syncapp.core.mapping import Kind
from syncapp.store.base import LOGGED_TEXT
from syncapp.store.bindings import FieldBinding, TableBinding, ThroughBinding
from syncapp.store.sql.hints import FROM_TRIGGER
from syncapp.store.sql.pgcodecs import expression
from syncapp.store.triggers.base import WORD, TriggerSql, by_slot, digest, encode_mask, unbounded

_LOCAL = "current_setting('syncapp.applying', true) IS DISTINCT FROM '1'"
#: Where the rows of before and after a statement come from.
_OLD, _NEW = "\0old\0", "\0new\0"
_AT = "syncapp_at bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
#: Types that compare as they are.
_COMPARED = frozenset(
    {
        *(
            "smallint",
            "integer",
            "bigint",
            "numeric",
            "real",
            "double precision",
            "boolean",
            "bytea",
            "uuid",
            "jsonb",
        ),
        *("date", "time without time zone", "time with time zone", "timestamp without time zone"),
        *("timestamp with time zone", "interval", "inet", "cidr"),
    }
)
_TEXTS = frozenset({"text", "character varying", "character"})


class Place(NamedTuple):
    """What the compiler has to know of the database. ``schema``: of our own tables, quoted.

    ``types``: column → type of the table; ``partitioned``: whether it has partitions; ``full``: the names of the tables
    behind its many-to-many fields, with their schemas.
    """

    schema: str
    types: Mapping[str, str]
    partitioned: bool = False
    full: Mapping[str, str] = {}


class Function(NamedTuple):
    """A compiled trigger in its two parts; ``ddl`` tells one trigger from another, whatever its function does."""

    function: str
    trigger: str

    @property
    def ddl(self) -> str:
        return digest(self.trigger)


_SEPARATOR = "\n-- trigger\n"


def parts(trigger: TriggerSql) -> Function:
    """The statements that make the function and the trigger."""
    function, _, ddl = trigger.sql.partition(_SEPARATOR)
    return Function(function, ddl)


def compile_table(
    binding: TableBinding,
    place: Place,
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
    return _Compiler(binding, place, fields, frozenset(log_fields), frozenset(joined)).triggers()


class _Compiler:
    def __init__(
        self,
        binding: TableBinding,
        place: Place,
        fields: Sequence[FieldBinding],
        log_fields: frozenset[int],
        joined: frozenset[int],
    ) -> None:
        self.binding = binding
        self.place = place
        self.number = binding.number
        self.pk = binding.pk_quoted
        # A column that is not there (any more) must not break every write to the table.
        self.columns = [f for f in fields if f.column in place.types and f.column != binding.pk_column]
        self.kept = [
            f
            for f in self.columns
            if f.number in joined or (f.number in log_fields and f.kind is not Kind.BINARY)
        ]
        self.unions = frozenset(field.number for field in fields if field.through and field.number in joined)
        self.throughs = [(field, field.through) for field in fields if field.through is not None]

    def triggers(self) -> list[TriggerSql]:
        found = [self.insert(), self.delete(), self.move(), self.truncate()]
        if self.columns:
            found.insert(0, self.update())
        for field, through in self.throughs:
            found += self.through(field, through)
        return found

    # -- the table itself --

    def update(self) -> TriggerSql:
        changed = " OR ".join(self.differs(field) for field in self.columns)
        mask = _words({field.slot: self.differs(field) for field in self.columns})
        body = self.journal(f"n.{self.pk}::text", Op.UPDATE, mask, self.before())
        source = f"FROM {_OLD} AS o JOIN {_NEW} AS n ON {self.same('o', 'n')} WHERE {changed}"
        return self.rows("update", "UPDATE", f"{body} {source}")

    def insert(self) -> TriggerSql:
        return self.rows(
            "insert", "INSERT", self.journal(f"n.{self.pk}::text", Op.INSERT) + f" FROM {_NEW} AS n"
        )

    def delete(self) -> TriggerSql:
        return self.rows(
            "delete", "DELETE", self.journal(f"o.{self.pk}::text", Op.DELETE) + f" FROM {_OLD} AS o"
        )

    def move(self) -> TriggerSql:
        body = [
            self.journal(f"OLD.{self.pk}::text", Op.DELETE),
            self.journal(f"NEW.{self.pk}::text", Op.INSERT),
        ]
        when = f"{_LOCAL} AND NOT ({self.same('OLD', 'NEW')})"
        return self.trigger("move", f"AFTER UPDATE ON {self.binding.quoted} FOR EACH ROW WHEN ({when})", body)

    def truncate(self) -> TriggerSql:
        records = (
            f'FROM {self.place.schema}."syncapp_record" AS r WHERE r."table_id" = {self.number} AND r."alive"'
        )
        body = self.journal('r."pk_text"', Op.DELETE) + f" {records}"
        return self.statement("truncate", f"AFTER TRUNCATE ON {self.binding.quoted}", [body])

    # -- the table behind a many-to-many --

    def through(self, field: FieldBinding, through: ThroughBinding) -> list[TriggerSql]:
        """Triggers that name the owner of each membership; of a union also the target, see `triggers.base`."""
        source, target = _quote(through.source_column), _quote(through.target_column)
        table, name = _quote(through.table), str(field.number)
        full = self.place.full.get(through.table, table)
        mask, union = f"'{encode_mask([field.slot])}'", field.number in self.unions

        def changed(row: str, was: str) -> str:
            """A journal row about ``row``, whose membership ``was`` there before, or not."""
            before = "NULL"
            if union:
                before = f"'{{\"{name}\":{{' || to_json({row}.{target}::text)::text || ':{was}}}}}'"
            return self.journal(f"{row}.{source}::text", Op.UPDATE, mask, before)

        def all_of(rows: str, was: str) -> str:
            if union:
                return f"{changed('r', was)} FROM {rows} AS r"
            # Each owner once, however many of its rows were touched.
            return f"{changed('r', was)} FROM (SELECT DISTINCT {source} FROM {rows}) AS r"

        # A union has to hear of both targets, even where the owner is one.
        other_owner = "" if union else f" WHERE OLD.{source} IS DISTINCT FROM NEW.{source}"
        both = [changed("NEW", "false"), changed("OLD", "true") + other_owner]
        moved = f"OLD.{source} IS DISTINCT FROM NEW.{source} OR OLD.{target} IS DISTINCT FROM NEW.{target}"
        new, old = "NEW TABLE AS syncapp_new", "OLD TABLE AS syncapp_old"
        return [
            self.statement(
                f"{name}_insert",
                f"AFTER INSERT ON {table} REFERENCING {new}",
                [all_of("syncapp_new", "false")],
            ),
            self.statement(
                f"{name}_delete",
                f"AFTER DELETE ON {table} REFERENCING {old}",
                [all_of("syncapp_old", "true")],
            ),
            self.trigger(
                f"{name}_update", f"AFTER UPDATE ON {table} FOR EACH ROW WHEN ({_LOCAL} AND ({moved}))", both
            ),
            # Before: afterwards nobody could say who had members. The lock is taken already.
            self.statement(f"{name}_truncate", f"BEFORE TRUNCATE ON {table}", [all_of(full, "true")]),
        ]

    # -- parts --

    def rows(self, op: str, event: str, body: str) -> TriggerSql:
        """A trigger on what a statement did to rows; `_OLD` and `_NEW` in ``body`` stand for their tables."""
        head = f"AFTER {event} ON {self.binding.quoted}"
        if self.place.partitioned:
            body = body.replace(_OLD, "(SELECT OLD.*)").replace(_NEW, "(SELECT NEW.*)")
            return self.trigger(op, f"{head} FOR EACH ROW WHEN ({_LOCAL})", [body])
        old = "OLD TABLE AS syncapp_old" if event != "INSERT" else ""
        new = "NEW TABLE AS syncapp_new" if event != "DELETE" else ""
        tables = " ".join(part for part in (old, new) if part)
        body = body.replace(_OLD, "syncapp_old").replace(_NEW, "syncapp_new")
        return self.statement(op, f"{head} REFERENCING {tables}", [body])

    def statement(self, op: str, head: str, body: Sequence[str]) -> TriggerSql:
        return self.trigger(op, f"{head} FOR EACH STATEMENT WHEN ({_LOCAL})", body)

    def trigger(self, op: str, event: str, body: Sequence[str]) -> TriggerSql:
        name = f"syncapp_{self.number}_{op}"
        full = f"{self.place.schema}.{_quote(name)}"
        # Old values are written as texts, dates among them.
        style = " SET datestyle = 'ISO, YMD'" if op == "update" and self.kept else ""
        # Most statements tell whether there was anything to note; two of them always have something.
        hint = f"IF FOUND THEN {FROM_TRIGGER}; END IF" if len(body) == 1 else FROM_TRIGGER
        lines = "".join(f"\n  {statement};" for statement in (*body, hint))
        # Names may hold anything, and so also what ends the text.
        end = f"$syncapp_{digest(lines)}$"
        function = (
            f"CREATE OR REPLACE FUNCTION {full}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n"
            f"SET search_path = pg_catalog, pg_temp{style} AS {end}\n"
            f"DECLARE {_AT};\nBEGIN{lines}\n  RETURN NULL;\nEND {end}"
        )
        table = event.split(" ON ", 1)[1].split(" FOR EACH ", 1)[0].split(" REFERENCING ", 1)[0]
        ddl = f"CREATE OR REPLACE TRIGGER {_quote(name)} {event} EXECUTE FUNCTION {full}()"
        sql = f"{function}{_SEPARATOR}{ddl}"
        return TriggerSql(name, table, sql, digest(sql))

    def journal(self, pk: str, op: Op, mask: str = "'0'", before: str = "NULL") -> str:
        """The start of a statement that writes journal rows."""
        into = '("table_no", "pk_text", "op", "mask", "at", "before")'
        values = f"{self.number}, {pk}, {op:d}, {mask}, syncapp_at, {before}"
        return f'INSERT INTO {self.place.schema}."syncapp_journal" {into} SELECT {values}'

    def same(self, one: str, other: str) -> str:
        """Whether two rows have one key. To the letter: a collation may think otherwise."""
        stored = self.place.types.get(self.binding.pk_column, "")
        return f"{_exact(f'{one}.{self.pk}', stored)} = {_exact(f'{other}.{self.pk}', stored)}"

    def differs(self, field: FieldBinding) -> str:
        column, stored = _quote(field.column), self.place.types[field.column]
        return f"{_exact(f'o.{column}', stored)} IS DISTINCT FROM {_exact(f'n.{column}', stored)}"

    def before(self) -> str:
        """JSON text of the old values that are kept and change; NULL where there are none."""
        if not self.kept:
            return "NULL"
        changed = []
        for field in self.kept:
            old = expression(f"o.{_quote(field.column)}", field.kind, self.place.types[field.column])
            if unbounded(field):
                # Old values are kept for the log alone: a long text must not be copied with each change of it.
                old = f"CASE WHEN length({old}) > {LOGGED_TEXT} THEN left({old}, {LOGGED_TEXT}) || '…' ELSE {old} END"
            value = f"coalesce(to_json({old})::text, 'null')"
            changed.append(
                f"CASE WHEN {self.differs(field)} THEN ',\"{field.number}\":' || {value} ELSE '' END"
            )
        return "'{' || substr(" + " || ".join(changed) + ", 2) || '}'"


def _exact(column: str, stored: str) -> str:
    """``column`` as it is compared: to the letter, and by operators that are always there."""
    if stored in _COMPARED:
        return column
    return f'{column} COLLATE "C"' if stored in _TEXTS else f'{column}::text COLLATE "C"'


def _words(bits: Mapping[int, str]) -> str:
    """An expression of the mask in which slot → truth; one word, or several joined by ``:``."""
    words: list[list[str]] = [[] for _ in range(max(bits, default=0) // WORD + 1)]
    for slot, bit in sorted(bits.items()):
        words[slot // WORD].append(f"(({bit})::int::bigint << {slot % WORD})")
    texts = [f"({' | '.join(word) or '0'})::text" for word in words]
    return " || ':' || ".join(texts)


def _quote(name: str) -> str:
    return name if name.startswith('"') and name.endswith('"') else '"' + name.replace('"', '""') + '"'
