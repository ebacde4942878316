"""Conflicts and questions as they come about: a link, and batches of its peer against edits of this program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from syncapp import models
from syncapp.core.changes import Batch, Cursor, Row, RowKind, Section, WireVersion
from syncapp.core.clock import make_origin
from syncapp.core.mapping import Agreement, Flow
from syncapp.store import catalogue, config
from syncapp.store.sql import SqlBackend
from syncapp.store.store import Store

PEER = make_origin(b"p" * 16, 1)
THIRD = make_origin(b"t" * 16, 1)
CONFIG = """
[[link]]
name = "Branch"
mode = "passive"
password = "x"
[[link.table]]
table = "crm.Tag"
[link.table.fields]
name = "both"
[[link.table]]
table = "crm.Client"
[link.table.fields]
name = "both"
phone = "both"
tags = "both"
[[rule]]
field = "crm.Client.phone"
policy = "ask"
[[rule]]
field = "crm.Client.tags"
policy = "ask"
"""


@dataclass
class Disputed:
    """This program with one link; `comes` is what its peer sends."""

    link: int
    store: Store
    token: int
    agreement: Agreement
    seq: int = 0

    def number(self, table: str, field: str = "") -> int:
        found = catalogue.tables()[table]
        return found.fields[field].number if field else found.number

    def uid(self, table: str, pk: Any) -> bytes:
        self.store.seal()
        return self.store.backend.records_by_pk(self.number(table), [str(pk)])[str(pk)].uid

    def comes(self, table: str, uid: bytes, field: str, value: Any, origin: bytes = PEER) -> None:
        """The peer has written ``value`` just now, without knowing of our edits."""
        now = self.store.backend.now()
        self.seq += 1
        row = Row(uid, int(RowKind.FIELDS), [WireVersion(now, 0)], [value])
        section = Section(self.number(table), [self.number(table, field)], [row])
        start = self.store.backend.cursors(self.link).applied
        batch = Batch(start, Cursor(self.seq, b"t"), [origin], [section])
        self.store.apply(self.link, batch, self.agreement, self.token)


def disputed() -> Disputed:
    """A link to a program called Branch, with clients and tags; phone and tags of clients are asked about."""
    catalogue.refresh()
    config.apply(CONFIG, env={})
    link = models.Link.objects.get()
    models.LinkState.objects.filter(link=link).update(peer_instance=PEER[:16], peer_title="Branch office")
    store = Store(SqlBackend())
    token = store.claim(link.pk, "test", 10**15)
    assert token
    flows = {}
    for label in ("crm.Client", "crm.Tag"):
        table = catalogue.tables()[label]
        mapped = ("name", "phone", "tags") if label == "crm.Client" else ("name",)
        same = {table.fields[name].number: table.fields[name].number for name in mapped}
        flows[table.number] = Flow(table.number, table.number, dict(same), dict(same))
    return Disputed(link.pk, store, token, Agreement(dict(flows), dict(flows), []))
