"""Two programs on PostgreSQL, beside PostgreSQL's own logical replication between two plain databases of one server.

Each change is a transaction of a writer that knows nothing of syncapp. A trigger on the watched side notes it, and the
server itself says when that transaction was committed (``track_commit_timestamp``): exact to the microsecond, on the
clock that the writer looks at too.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench import processes, programs, sample
from bench.figures import percentiles, ratio
from bench.processes import BenchError, cpu_seconds
from tests import postgres
from tests.postgres import USER, Cluster

#: As a server is run whose acknowledgements have to survive a power cut.
SERVER = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "track_commit_timestamp": "on",
    "wal_level": "logical",
    "max_wal_size": "4GB",
}
INSERT = sample.INSERT.replace("?", "%s")
UPDATE = sample.UPDATE.replace("?", "%s")
BULK = f"UPDATE {sample.TABLE} SET marker = %s, phone = '+7 ' || number, amount = amount + 1"
WATCH = f"""
    CREATE TABLE IF NOT EXISTS seen (marker int);
    CREATE OR REPLACE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN INSERT INTO public.seen VALUES (NEW.marker); RETURN NULL; END$$;
    CREATE OR REPLACE TRIGGER see AFTER UPDATE ON {sample.TABLE} FOR EACH ROW EXECUTE FUNCTION see();
    ALTER TABLE {sample.TABLE} ENABLE ALWAYS TRIGGER see;
"""
SEEN = "SELECT marker, extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1e9 FROM seen"
WARM_UP = 200


class Place:
    """A database with the benchmark's table."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def connect(self) -> psycopg.Connection[Any]:
        where = {"host": str(self.cluster.folder), "port": self.cluster.port, "dbname": self.name}
        return psycopg.connect(**where, user=USER, autocommit=True)

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        return self.cluster.execute(sql, database=self.name)

    def fill(self, rows: int) -> None:
        with self.connect() as connection, connection.transaction():
            for number in range(rows):
                values = list(sample.row(number))
                values[sample.FIELDS.index("paid")] = bool(number % 2)
                connection.execute(INSERT, values)

    def count(self) -> int:
        return int(self.run(f"SELECT count(*) FROM {sample.TABLE}")[0][0])

    def contents(self) -> list[tuple[Any, ...]]:
        return self.run(f"SELECT {', '.join(sample.FIELDS)} FROM {sample.TABLE} ORDER BY number")

    def seen(self) -> dict[int, int]:
        """marker → when the newest row that has it was committed."""
        found: dict[int, int] = {}
        for marker, at in self.run(SEEN):
            found[marker] = max(int(at), found.get(marker, 0))
        return found

    def write(self, rate: float, count: int, first: int, rows: int) -> dict[str, list[int]]:
        """Change one row after the other, ``rate`` a second or (0) as fast as it goes; when, by the wall clock."""
        submitted, committed = [], []
        with self.connect() as connection:
            begin = time.monotonic()
            for i in range(count):
                pause = begin + i / rate - time.monotonic() if rate else 0.0
                if pause > 0:
                    time.sleep(pause)
                submitted.append(time.time_ns())
                connection.execute(UPDATE, sample.change(first + i, rows))
                committed.append(time.time_ns())
        return {"submitted": submitted, "committed": committed}


class Program(programs.Program):
    """A program whose database is one of the server's."""

    def __init__(self, folder: Path, name: str, cluster: Cluster) -> None:
        super().__init__(folder, name)
        cluster.create(name)
        self.place = Place(cluster, name)

    def environment(self) -> dict[str, str]:
        return super().environment() | {"DATABASE_URL": self.place.cluster.url(self.place.name)}

    def _state(self) -> str:
        found = self.place.run("SELECT state FROM syncapp_linkstate")
        return str(found[0][0]) if found else ""


@contextmanager
def linked(cluster: Cluster, rows: int) -> Iterator[tuple[Program, Program]]:
    """Two live programs that hold the same ``rows``: the one that waits, and the one that dials."""
    with programs.folder("postgresql") as folder:
        head, branch = Program(folder, "head", cluster), Program(folder, "branch", cluster)
        for program in (head, branch):
            program.manage("migrate", "-v0")
        head.link("Branch")
        branch.link("Head office", head.url)
        try:
            for program in (head, branch):
                program.serve()
            for program in (head, branch):
                processes.wait_until(program.connected, f"connecting {program.name}")
            head.place.fill(rows)
            processes.wait_until(lambda: branch.place.count() == rows, f"the first copy of {rows} rows", 120)
            for program in (head, branch):
                program.place.cluster.execute(WATCH, database=program.place.name)
            settle(head, branch)
            yield head, branch
        finally:
            for program in (head, branch):
                program.stop()


def settle(*both: Program) -> None:
    """Until neither has anything left to send."""
    quiet = "SELECT count(*) FROM syncapp_journal"
    processes.wait_until(lambda: all(p.place.run(quiet) == [(0,)] for p in both), "sending the rest")
    time.sleep(1.0)


@contextmanager
def replicated(cluster: Cluster, like: Place, rows: int) -> Iterator[tuple[Place, Place]]:
    """Two plain databases, the second of which follows the first by logical replication."""
    one, other = Place(cluster, "one"), Place(cluster, "other")
    file = cluster.folder / "table.sql"
    cluster.program("pg_dump", "--schema-only", "-t", sample.TABLE, "-f", str(file), like.name)
    # Triggers call functions that plain databases don't have.
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if " TRIGGER " not in line))
    for place in (one, other):
        cluster.create(place.name)
        cluster.program("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", place.name, "-f", str(file))
        place.fill(rows)
    other.run(WATCH)
    one.run(f"CREATE PUBLICATION changes FOR TABLE {sample.TABLE}")
    one.run("SELECT pg_create_logical_replication_slot('changes', 'pgoutput')")
    where = f"host={cluster.folder} port={cluster.port} user={USER} dbname={one.name}"
    other.run(
        f"CREATE SUBSCRIPTION changes CONNECTION '{where}' PUBLICATION changes "
        "WITH (create_slot = false, slot_name = 'changes', copy_data = false)"
    )
    try:
        yield one, other
    finally:
        other.run("DROP SUBSCRIPTION changes")


# -- what is measured ----------------------------------------------------------------------------------------


def run(
    rate: float = 200, seconds: float = 15, rows: int = 1000, changes: int = 20_000, bulk: int = 100_000
) -> dict[str, Any]:
    """Ours and logical replication: at a steady pace, as fast as one writer goes, and many rows in one transaction."""
    if reason := postgres.missing():
        raise BenchError(reason)
    found: dict[str, Any] = {"rate": rate, "seconds": seconds, "rows": rows, "changes": changes, "bulk": bulk}
    cluster = Cluster.make(**SERVER)
    try:
        found["server"] = cluster.execute("SHOW server_version")[0][0]
        with linked(cluster, rows) as (head, branch):
            ways: dict[str, tuple[Place, Place, tuple[Program, ...]]] = {
                "to passive": (branch.place, head.place, (branch, head)),
                "to active": (head.place, branch.place, (head, branch)),
            }
            last = 0
            for name, (source, target, owners) in ways.items():
                found[name], last = _paced(source, target, rate, seconds, rows, last, owners)
                settle(head, branch)
            found["stream"], last = _stream(branch.place, head.place, changes, rows, last)
            settle(head, branch)
            found["differing_rows"] = sum(
                a != b for a, b in zip(head.place.contents(), branch.place.contents(), strict=True)
            )
            found["bulk transaction"] = _bulk(branch.place, head.place, bulk, rows, last + 1)
            with replicated(cluster, head.place, rows) as (one, other):
                logical, last = _paced(one, other, rate, seconds, rows, 0, ())
                found["logical replication"] = logical
                found["logical replication, stream"], last = _stream(one, other, changes, rows, last)
                found["logical replication, bulk transaction"] = _bulk(one, other, bulk, rows, last + 1)
    finally:
        cluster.remove()
    found["ours_to_logical"] = {
        name: ratio(found["to passive"]["from_submit_ms"][name], logical["from_submit_ms"][name])
        for name in logical["from_submit_ms"]
    }
    return found


def _paced(
    source: Place,
    target: Place,
    rate: float,
    seconds: float,
    rows: int,
    last: int,
    owners: tuple[Program, ...],
) -> tuple[dict[str, Any], int]:
    warm, count = min(WARM_UP, int(rate)), int(rate * seconds)
    source.write(rate, warm, last + 1, rows)
    time.sleep(0.5)
    first = last + warm + 1
    before = [cpu_seconds(program.meter().pid) for program in owners]
    moments = source.write(rate, count, first, rows)
    cpu = [cpu_seconds(program.meter().pid) - b for program, b in zip(owners, before, strict=True)]
    seen = _wait_seen(target, first + count - 1, 30)
    there = [seen.get(marker) for marker in range(first, first + count)]
    figures: dict[str, Any] = {"changes": count, "unseen": sum(at is None for at in there)}
    for name, moment in (("from_commit_ms", "committed"), ("from_submit_ms", "submitted")):
        figures[name] = percentiles(
            [at - begun for at, begun in zip(there, moments[moment], strict=True) if at is not None]
        )
    if owners:
        figures["cpu_ms_per_change"] = dict(
            zip(("source", "target"), (round(1000 * used / count, 3) for used in cpu), strict=True)
        )
    return figures, first + count - 1


def _stream(source: Place, target: Place, count: int, rows: int, last: int) -> tuple[dict[str, Any], int]:
    first = last + 1
    moments = source.write(0, count, first, rows)
    seen = _wait_seen(target, first + count - 1, 60 + count / 100)
    begin, end = moments["submitted"][0], seen.get(first + count - 1)
    figures = {
        "written_per_second": round(count / (moments["committed"][-1] - begin) * 1e9, 1),
        "per_second": round(count / (end - begin) * 1e9, 1) if end else 0.0,
        "last_behind_ms": round((end - moments["committed"][-1]) / 1e6, 1) if end else None,
    }
    return figures, first + count - 1


def _bulk(source: Place, target: Place, count: int, rows: int, marker: int) -> dict[str, Any]:
    """Change every row of a larger table in one transaction; when the last of them was there."""
    _grow(source, target, count, rows)
    with source.connect() as connection:
        submitted = time.time_ns()
        connection.execute(BULK, (marker,))
        committed = time.time_ns()
    _wait_count(target, marker, count)
    end = target.seen()[marker]
    return {
        "write_s": round((committed - submitted) / 1e9, 2),
        "rows_per_second_after_commit": round(count / max(end - committed, 1) * 1e9),
        "rows_per_second": round(count / (end - submitted) * 1e9),
    }


def _grow(source: Place, target: Place, count: int, rows: int) -> None:
    sql = f"COPY {sample.TABLE} ({', '.join(sample.FIELDS)}) FROM STDIN"
    with source.connect() as connection, connection.cursor() as cursor, cursor.copy(sql) as copy:
        for number in range(rows, count):
            copy.write_row(sample.row(number))
    processes.wait_until(lambda: target.count() == count, "the copy of the rows", 300)


def _wait_count(target: Place, marker: int, count: int) -> None:
    sql = f"SELECT count(*) FROM {sample.TABLE} WHERE marker = {marker}"
    processes.wait_until(lambda: target.run(sql) == [(count,)], "the bulk transaction", 300)


def _wait_seen(target: Place, last: int, seconds: float) -> dict[int, int]:
    found: dict[int, int] = {}

    def there() -> bool:
        found.update(target.seen())
        return last in found

    try:
        processes.wait_until(there, "the last change", seconds)
    except BenchError:
        pass  # shown as unseen
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """The figures as Markdown."""
    text = [
        f"## PostgreSQL {found['server']}",
        "",
        (
            f"fsync on, both databases on one server. {found['rate']:g} changes/s for {found['seconds']:g} s, "
            f"{found['rows']} rows; then {found['changes']} single-row transactions of one writer as fast as it goes; "
            f"then {found['bulk']} rows changed in one transaction."
        ),
        "",
        "| | from submit p50 | p90 | p99 | from commit p50 | p99 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for who in ("to passive", "to active", "logical replication"):
        submit, commit = found[who]["from_submit_ms"], found[who]["from_commit_ms"]
        cells = [
            submit.get("p50"),
            submit.get("p90"),
            submit.get("p99"),
            commit.get("p50"),
            commit.get("p99"),
        ]
        text.append(f"| {who} | {' | '.join(str(cell) for cell in cells)} |")
    ratios = found["ours_to_logical"]
    cells = [str(ratios.get(name, "–")) for name in ("p50", "p90", "p99")]
    text += [f"| **ours ÷ logical replication** | {' | '.join(cells)} | | |", ""]
    text += ["| | ours | logical replication |", "| --- | --- | --- |"]
    rows: list[tuple[str, str, str]] = [
        ("single-row transactions/s", "stream", "per_second"),
        ("bulk rows/s after the commit", "bulk transaction", "rows_per_second_after_commit"),
    ]
    text += [
        f"| {title} | {found[name][key]} | {found[f'logical replication, {name}'][key]} |"
        for title, name, key in rows
    ]
    return [*text, ""]
