# ruff: noqa: S608 - statements are made of constants, values are parameters
"""What is remembered for people: problems, conflicts, the log."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from syncapp.store.base import (
    AMBIGUOUS,
    ASK,
    LOGGED_TEXT,
    SUM_RANGE,
    UNKNOWN,
    BadValue,
    ConflictRow,
    LogRow,
    ProblemRow,
)
from syncapp.store.sql.database import Database, Row
from syncapp.store.sql.plain import json_text

_PROBLEM = (
    '"link_id", "way", "table_no", "uid", "pk_text", "field_no", "code", "params", "waits_for", "payload", '
    '"created_at", "tries", "next_try"'
)
_READ = f'SELECT "id", {_PROBLEM} FROM "syncapp_problem" WHERE '
_INCOMING = f'{_READ} "link_id" = %s AND "way" = \'in\' AND '
# The link is compared in Python: a planner without statistics would take its index, and read all problems of the link.
_WAITING = f'{_READ} "waits_for" IN {{}}'
_OF = f'{_INCOMING} "uid" IN {{}}'
_DUE = f'{_INCOMING} "next_try" <= %s ORDER BY "next_try", "id" LIMIT %s'
_OUT = f'{_READ} "link_id" = %s AND "way" = \'out\' AND "next_try" <= %s ORDER BY "id" LIMIT %s'
_BY_ID = f'{_READ} "id" IN {{}}'
# As the partial index has it, so that the index serves.
_STANDING = f"{_READ} \"code\" IN ('{ASK}', '{SUM_RANGE}') AND \"uid\" IN {{}}"
_DOUBLES = f'{_READ} "code" = \'{AMBIGUOUS}\' AND "way" = \'in\' AND "table_no" = %s ORDER BY "id"'
_SAVE = (
    f'INSERT INTO "syncapp_problem" ({_PROBLEM}) VALUES ({", ".join(["%s"] * 13)}) '
    'ON CONFLICT ("link_id", "way", "uid", "field_no") DO UPDATE SET '
    + ", ".join(
        f'"{column}" = excluded."{column}"'
        for column in (
            *(
                "table_no",
                "pk_text",
                "code",
                "params",
                "waits_for",
                "payload",
                "created_at",
                "tries",
                "next_try",
            ),
        )
    )
)
_DROP = 'DELETE FROM "syncapp_problem" WHERE "id" IN {}'
_OUTGOING = 'SELECT "id", "uid", "field_no" FROM "syncapp_problem" WHERE "link_id" = %s AND "way" = \'out\''

_CONFLICT_COLUMNS = (
    '"link_id", "table_no", "uid", "pk_text", "field_no", "won", "lost", "won_time", "won_origin", "lost_time", '
    '"lost_origin", "created_at", "resolved"'
)
_CONFLICT = f'INSERT INTO "syncapp_conflict" ({_CONFLICT_COLUMNS}) VALUES ({", ".join(["%s"] * 13)})'
_CONFLICTS = f'SELECT {_CONFLICT_COLUMNS}, "id" FROM "syncapp_conflict" WHERE "id" IN {{}}'
_RESOLVED = 'UPDATE "syncapp_conflict" SET "resolved" = %s WHERE "id" IN {}'

_LOG = (
    'INSERT INTO "syncapp_logentry" ("link_id", "at", "way", "table_no", "pk_text", "uid", "field_no", "before", '
    f'"after", "result", "detail", "seq") VALUES ({", ".join(["%s"] * 12)})'
)
_QUEUE = (
    'SELECT "id", "uid", "field_no" FROM "syncapp_logentry" '
    'WHERE "link_id" = %s AND "way" = \'out\' AND "result" = \'queued\''
)
_QUEUE_OF = f'{_QUEUE} AND "uid" IN {{}}'
_SENT = f'{_QUEUE} AND "seq" > %s AND "seq" <= %s'
_REPLACED = 'UPDATE "syncapp_logentry" SET "result" = \'replaced\' WHERE "id" IN {}'
_FILTERED = 'UPDATE "syncapp_logentry" SET "result" = \'filtered\' WHERE "id" IN {}'
_RESULT = 'UPDATE "syncapp_logentry" SET "result" = %s, "at" = %s WHERE "id" IN {}'


_LAST = 'SELECT max("created_at") FROM "syncapp_problem" WHERE "link_id" = %s AND "way" = \'in\''


class Problems:
    """Parked changes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self, link: int, uids: Collection[bytes]) -> list[ProblemRow]:
        found = map(_problem, sorted(self._database.query_in(_WAITING, uids)))
        return [problem for problem in found if problem.link == link and problem.way == "in"]

    def of(self, link: int, uids: Collection[bytes]) -> list[ProblemRow]:
        return [_problem(row) for row in sorted(self._database.query_in(_OF, uids, [link]))]

    def due(self, link: int, now: int, limit: int) -> list[ProblemRow]:
        return [_problem(row) for row in self._database.query(_DUE, [link, now, limit])]

    def out(self, link: int, now: int, limit: int) -> list[ProblemRow]:
        return [_problem(row) for row in self._database.query(_OUT, [link, now, limit])]

    def by_id(self, ids: Collection[int]) -> list[ProblemRow]:
        return [_problem(row) for row in sorted(self._database.query_in(_BY_ID, ids))]

    def last(self, link: int) -> int:
        return int(self._database.query(_LAST, [link])[0][0] or 0)

    def standing(self, uids: Collection[bytes]) -> list[ProblemRow]:
        found = map(_problem, sorted(self._database.query_in(_STANDING, uids)))
        return [problem for problem in found if problem.way == "in"]

    def doubles(self, table: int) -> list[ProblemRow]:
        return [_problem(row) for row in self._database.query(_DOUBLES, [table])]

    def save(self, problems: Sequence[ProblemRow]) -> None:
        self._database.many(_SAVE, map(_values, problems))

    def drop(self, ids: Collection[int]) -> None:
        self._database.run_in(_DROP, ids)

    def clear_unsendable(self, link: int, keys: Collection[tuple[bytes, int]]) -> None:
        standing = self._database.query(_OUTGOING, [link])
        if standing:
            wanted = set(keys)
            self.drop([id for id, uid, field in standing if (bytes(uid), field) in wanted])


def _problem(row: Row) -> ProblemRow:
    id, link, way, table, uid, pk, field, code, params, waits_for, payload, created_at, tries, next_try = row
    return ProblemRow(
        *(id, link, way, table, bytes(uid), pk, field, code, json.loads(params)),
        *(None if waits_for is None else bytes(waits_for), bytes(payload), created_at, tries, next_try),
    )


def _values(problem: ProblemRow) -> tuple[Any, ...]:
    p = problem
    params = json_text(p.params)
    return (
        *(p.link, p.way, p.table, p.uid, p.pk, p.field, p.code, params),
        *(p.waits_for, p.payload, p.created_at, p.tries, p.next_try),
    )


class Memories:
    """Conflicts and the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_conflicts(self, rows: Sequence[ConflictRow]) -> None:
        pack = msgspec.msgpack.encode
        self._database.many(
            _CONFLICT,
            (
                (
                    *(row.link, row.table, row.uid, row.pk, row.field, pack(row.won), pack(row.lost)),
                    *(
                        row.won_time,
                        row.won_origin,
                        row.lost_time,
                        row.lost_origin,
                        row.created_at,
                        row.resolved,
                    ),
                )
                for row in rows
            ),
        )

    def conflicts_by_id(self, ids: Collection[int]) -> list[ConflictRow]:
        return [_conflict(row) for row in self._database.query_in(_CONFLICTS, ids)]

    def resolve_conflicts(self, ids: Collection[int], resolved: str) -> None:
        self._database.run_in(_RESOLVED, ids, [resolved])

    def add_log(self, rows: Sequence[LogRow]) -> None:
        self._database.many(
            _LOG,
            (
                (
                    *(row.link, row.at, row.way, row.table, row.pk, row.uid, row.field),
                    *(_shown(row.before), _shown(row.after), row.result, row.detail, row.seq),
                )
                for row in rows
            ),
        )

    def log_replaced(self, link: int, keys: Sequence[tuple[bytes, int]]) -> None:
        wanted = set(keys)
        queued = self._database.query_in(_QUEUE_OF, {uid for uid, _ in wanted}, [link])
        self._database.run_in(_REPLACED, [id for id, uid, field in queued if (bytes(uid), field) in wanted])

    def log_filtered(self, link: int, uids: Collection[bytes]) -> None:
        queued = self._database.query_in(_QUEUE_OF, uids, [link])
        self._database.run_in(_FILTERED, [row[0] for row in queued])

    def log_sent(
        self, link: int, after: int, until: int, at: int, fates: Mapping[tuple[bytes, int], str]
    ) -> None:
        results: dict[str, list[int]] = {}
        for id, uid, field in self._database.query(_SENT, [link, after, until]):
            results.setdefault(fates.get((bytes(uid), field), "sent"), []).append(id)
        for result, ids in results.items():
            self._database.run_in(_RESULT, ids, [result, at])


def _conflict(row: Row) -> ConflictRow:
    link, table, uid, pk, field, won, lost, won_time, won_origin, lost_time, lost_origin, *rest = row
    unpack = msgspec.msgpack.decode
    return ConflictRow(
        *(link, table, bytes(uid), pk, field, unpack(won), unpack(lost)),
        *(won_time, bytes(won_origin), lost_time, bytes(lost_origin), *rest),
    )


def _shown(value: Any) -> str | None:
    """A value as the log keeps it: JSON; None where it is not known."""
    if value is UNKNOWN or isinstance(value, BadValue):
        return None
    if isinstance(value, str) and len(value) > LOGGED_TEXT:
        value = value[:LOGGED_TEXT] + "…"  # the log is for people; the value itself is in the record
    return msgspec.json.encode(value).decode()
