"""Two linked programs, made in a moment from databases that were set up once."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from project.demo.instances import CONFIG_DIR, WRITTEN_ADDRESS
from tests import postgres
from tests.instances.databases import POSTGRESQL, SQLITE, Database, PostgresDatabase, SqliteFile
from tests.instances.program import Program
from tests.instances.waiting import wait_until
from tests.pgbouncer import PgBouncer
from tests.postgres import Cluster

OFFICE, BRANCH = "office", "branch"
CLIENTS = 20
MAPPED = {
    "tags": "SELECT name FROM crm_tag",
    "clients": "SELECT tax_id, name, address, phone, email, note FROM crm_client",
    "client tags": "SELECT c.tax_id, t.name FROM crm_client_tags x "
    "JOIN crm_client c ON c.id = x.client_id JOIN crm_tag t ON t.id = x.tag_id",
    "orders": "SELECT o.number, c.tax_id, o.subject, o.status, round(o.amount, 2) FROM crm_order o "
    "JOIN crm_client c ON c.id = o.client_id",
    "payments": "SELECT o.number, p.paid_on, round(p.amount, 2), p.method, p.comment FROM crm_payment p "
    "JOIN crm_order o ON o.id = p.order_id",
    "invoices": "SELECT i.number, c.tax_id, round(i.amount, 2), i.issued_on, i.paid FROM crm_invoice i "
    "JOIN crm_client c ON c.id = i.client_id",
}


class Pair:
    """*office* waits (passive), *branch* dials (active)."""

    def __init__(self, office: Program, branch: Program) -> None:
        self.office = office
        self.branch = branch
        self.both = (office, branch)

    def other(self, side: Program) -> Program:
        return self.branch if side is self.office else self.office

    def start(self) -> None:
        """Start both; they are connected on return."""
        for program in self.both:
            program.start(wait=False)
        for program in self.both:
            program.wait_ready()
        self.wait_connected()

    def wait_connected(self, timeout: float = 60) -> None:
        wait_until(self.connected, timeout, f"both are connected: {[p.state() for p in self.both]}")

    def connected(self) -> bool:
        return all(program.state()["state"] == "connected" for program in self.both)

    def dial(self, url: str) -> None:
        """Let the branch call the office at ``url``."""
        dial(self.branch, url)

    def at_rest(self) -> bool:
        """Whether everything that was written has been exchanged and accounted for on both sides."""
        return all(_at_rest(program, self.other(program)) for program in self.both)

    def wait_rest(self, timeout: float = 60) -> None:
        wait_until(self.at_rest, timeout, "everything is exchanged", every=0.1)

    def data(self, side: Program) -> dict[str, list[tuple[object, ...]]]:
        """The mapped fields by what names a record on both sides."""
        return {name: sorted(side.rows(sql), key=repr) for name, sql in MAPPED.items()}

    def same(self) -> bool:
        return self.data(self.office) == self.data(self.branch)

    def assert_same(self) -> None:
        """Equal, once at rest; says where not."""
        self.wait_rest()
        here, there = self.data(self.office), self.data(self.branch)
        for name in MAPPED:
            assert here[name] == there[name], name


def _at_rest(sender: Program, receiver: Program) -> bool:
    if sender.pending():
        return False
    head = sender.value("SELECT head_seq FROM syncapp_instance")
    out, received = sender.state(), receiver.state()
    if out["state"] != "connected" or received["state"] != "connected":
        return False
    fates = ("applied", "superseded", "duplicate", "parked")
    told = all(out[f"peer_{fate}"] == received[fate] for fate in fates)
    # Rows that came from the peer are looked through without a word to it.
    return told and out["scanned_seq"] >= head and out["sent"] == sum(received[fate] for fate in fates)


def dial(program: Program, url: str) -> None:
    """Change the address of the active link as the panel would: the engine follows the version."""
    with program.connection() as connection:
        connection.execute("UPDATE syncapp_link SET address = ?", (url,))
        connection.execute("UPDATE syncapp_instance SET config_version = config_version + 1")


def link_file(side: str) -> str:
    """The configuration of the demo for ``side``: what ships is what is tested."""
    return (CONFIG_DIR / f"{'head-office' if side == OFFICE else 'branch'}.toml").read_text()


def make_templates(folder: Path, kind: str) -> None:
    """In ``folder``, once for all processes of a test run: databases of two linked programs that never met."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{kind} lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / f"{kind} done").exists():
            _make(folder, kind)
            (folder / f"{kind} done").touch()


def _template(folder: Path, kind: str, name: str) -> Database:
    if kind == SQLITE:
        return SqliteFile(folder / name)
    return PostgresDatabase(postgres.shared(), f"template_{name}")


def _make(folder: Path, kind: str) -> None:
    office, branch = (
        Program(folder / name, name, database=_template(folder, kind, name)) for name in (OFFICE, BRANCH)
    )
    if isinstance(office.database, PostgresDatabase):
        office.database.cluster.create(office.database.name)
    office.shell(_calls(("migrate", "-v0"), ("demodata", "--clients", str(CLIENTS))) + ADMIN)
    office.database.copy_to(branch.database)
    for program in (office, branch):
        file = program.folder / "link.toml"
        file.write_text(link_file(program.name))
        fork = [("syncconfig", "fork")] if program is branch else []
        program.shell(_calls(*fork, ("syncconfig", "apply", str(file))))


def _calls(*commands: tuple[str, ...]) -> str:
    """Commands as Python, to run several in one process: each start takes seconds."""
    calls = "".join(f"call_command{command}\n" for command in commands)
    return f"from django.core.management import call_command\n{calls}"


ADMIN = (
    "from django.contrib.auth.models import User\n"
    "User.objects.create_superuser('admin', 'admin@example.com', 'admin')\n"
)


Kinds = tuple[str, str]
SAME: Kinds = (SQLITE, SQLITE)
MIXED: Kinds = (POSTGRESQL, SQLITE)
BOTH_POSTGRESQL: Kinds = (POSTGRESQL, POSTGRESQL)


@contextmanager
def pair(
    templates: Path,
    folder: Path,
    *,
    kinds: Kinds = SAME,
    apart: bool = False,
    cluster: Cluster | None = None,
    behind: PgBouncer | None = None,
) -> Iterator[Pair]:
    """Two linked programs that don't run yet; ended with the block, their logs printed.

    ``kinds``: of the office's and the branch's databases. Those of PostgreSQL are in ``cluster`` (else the shared one),
    and ``behind`` a pooler.
    """
    made = []
    for name, kind in zip((OFFICE, BRANCH), kinds, strict=True):
        make_templates(templates, kind)
        program = Program(
            folder / name, name, apart=apart, database=_database(folder / name, kind, cluster, behind)
        )
        _template(templates, kind, name).copy_to(program.database)
        made.append(program)
    both = Pair(*made)
    assert WRITTEN_ADDRESS in both.branch.value("SELECT address FROM syncapp_link")
    both.dial(both.office.url)
    try:
        yield both
    finally:
        for program in both.both:
            program.thaw()
            program.kill()
            program.database.remove()
            print(f"--- {program.name}\n{program.tail()}")


def _database(folder: Path, kind: str, cluster: Cluster | None, behind: PgBouncer | None) -> Database:
    if kind == SQLITE:
        folder.mkdir(parents=True, exist_ok=True)
        return SqliteFile(folder)
    name = f"{folder.name}_{secrets.token_hex(4)}"
    return PostgresDatabase(cluster or postgres.shared(), name, behind.url if behind else None)
