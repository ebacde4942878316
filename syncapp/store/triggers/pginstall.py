# ruff: noqa: S608 - what is put into statements are constants, names and hashes
"""Putting compiled triggers into a PostgreSQL database, and telling whether they are still what was put there.

A comment on each function keeps the hash of what was wanted and fingerprints of what the database made of it. So a
trigger or a function that somebody edited, switched off or moved is noticed, and only what differs is touched: another
mapping changes a function alone, for which nobody has to wait, whereas a new trigger waits for all who write to its
table.
"""

from __future__ import annotations

from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from syncapp.store import statements
from syncapp.store.bindings import TableBinding
from syncapp.store.triggers import postgres
from syncapp.store.triggers.base import TriggerSql

#: How long a new trigger waits for those who write to its table. All who come after it wait with it meanwhile.
_PATIENCE = "3s"
_OURS = (
    "t.tgname ~ '^syncapp_[0-9]+_' AND NOT t.tgisinternal AND t.tgparentid = 0 "
    "AND p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('syncapp_journal'))"
)
# The definition's end names the function, with its schema or without, depending on the session's path.
_FOUND = (
    "SELECT t.tgname::text, obj_description(p.oid, 'pg_proc'), "
    "md5(split_part(pg_get_triggerdef(t.oid), ' EXECUTE FUNCTION ', 1) || t.tgenabled::text || p.proname::text), "
    "md5(p.prosrc || p.prosecdef::text || coalesce(p.proconfig::text, '')), t.tgrelid::regclass::text "
    f"FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE {_OURS}"
)


class _Found(NamedTuple):
    """A trigger in the database. ``hash`` is empty where it is not what was put there."""

    name: str
    table: str
    hash: str
    ddl: str


def lock(connection: BaseDatabaseWrapper) -> None:
    """One process at a time, none while a batch is applied; and nobody waits for us for long."""
    statements.script(
        connection,
        f"SET LOCAL lock_timeout = '{_PATIENCE}'; LOCK TABLE \"syncapp_applying\" IN SHARE UPDATE EXCLUSIVE MODE",
    )


def place(connection: BaseDatabaseWrapper, binding: TableBinding) -> postgres.Place:
    """What of the database the compiler needs for a table."""
    rows = statements.query(
        connection,
        "SELECT quote_ident(n.nspname), c.relkind = 'p' FROM pg_class c, pg_class j JOIN pg_namespace n "
        "ON n.oid = j.relnamespace WHERE c.oid = to_regclass(%s) AND j.oid = to_regclass('syncapp_journal')",
        [binding.quoted],
    )
    if not rows:
        return postgres.Place("", {})
    types = statements.query(
        connection,
        "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        [binding.quoted],
    )
    throughs = {field.through.table for field in binding.fields.values() if field.through}
    return postgres.Place(
        rows[0][0], dict(types), rows[0][1], {name: _full(connection, name) for name in sorted(throughs)}
    )


def _full(connection: BaseDatabaseWrapper, table: str) -> str:
    quoted = connection.ops.quote_name(table)
    sql = (
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)"
    )
    rows = statements.query(connection, sql, [quoted])
    return str(rows[0][0]) if rows else str(quoted)


def installed(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """name → hash of the triggers of ours in the database; an empty hash: it is not what it was."""
    return {found.name: found.hash for found in _all(connection)}


def _all(connection: BaseDatabaseWrapper, name: str = "") -> list[_Found]:
    sql = f"{_FOUND} AND t.tgname = %s" if name else f"{_FOUND} ORDER BY t.tgname"
    found = []
    for trigger, comment, made, function, table in statements.query(connection, sql, [name] if name else ()):
        hash, ddl, was_made, was_function = (*(comment or "").split(" "), "", "", "", "")[:4]
        same = made == was_made
        found.append(
            _Found(trigger, table, hash if same and function == was_function else "", ddl if same else "")
        )
    return found


def put(connection: BaseDatabaseWrapper, trigger: TriggerSql) -> None:
    """Put a compiled trigger into the database, in place of one of that name."""
    wanted = postgres.parts(trigger)
    before = _all(connection, trigger.name)
    statements.run(connection, wanted.function)
    if [found.ddl for found in before] != [wanted.ddl]:
        for found in before:
            if found.table != before[0].table:
                statements.run(connection, f'DROP TRIGGER "{found.name}" ON {found.table}')
        statements.run(connection, wanted.trigger)
        statements.run(connection, f'ALTER TABLE {trigger.table} ENABLE ALWAYS TRIGGER "{trigger.name}"')
    sql = _FOUND + " AND t.tgname = %s"
    _, _, made, function, _ = statements.query(connection, sql, [trigger.name])[0]
    comment = f"{trigger.hash} {wanted.ddl} {made} {function}"
    name = wanted.function.split("FUNCTION ", 1)[1].split("(", 1)[0]
    statements.run(connection, f"COMMENT ON FUNCTION {name}() IS '{comment}'")


def drop(connection: BaseDatabaseWrapper, name: str) -> None:
    """Remove a trigger and its function by name; they may be gone already."""
    for found in _all(connection, name):
        statements.run(connection, f'DROP TRIGGER "{name}" ON {found.table}')
    schema = "(SELECT relnamespace FROM pg_class WHERE oid = to_regclass('syncapp_journal'))"
    sql = f"SELECT oid::regprocedure::text FROM pg_proc WHERE proname = %s AND pronamespace = {schema}"
    for (function,) in statements.query(connection, sql, [name]):
        statements.run(connection, f"DROP FUNCTION IF EXISTS {function}")
