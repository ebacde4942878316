# ruff: noqa: S608 - statements are made of constants, values are parameters
"""Links: cursors, leases, what is known of the peer, flow states, pairs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from syncapp.core.changes import Cursor, Totals
from syncapp.models import first_token
from syncapp.store.base import Contacts, FlowState, Holder, LinkCursors, LinkStatus, PeerInfo, Refilter
from syncapp.store.sql.database import Database
from syncapp.store.sql.plain import json_text, plain

_TOTALS = ("received", "applied", "superseded", "duplicate", "parked")
_PEER_TOTALS = ("sent", "peer_applied", "peer_superseded", "peer_duplicate", "peer_parked")
_CURSORS = (
    "acked_seq",
    "acked_tag",
    "applied_seq",
    "applied_tag",
    "scanned_seq",
    "peer_head",
    "last_exchange",
    "lag",
    "base_seq",
    "again_seq",
    "again_parked",
    "offered_id",
    "floor_seq",
    "peer_instance",
    *_TOTALS,
    *_PEER_TOTALS,
)
_PEER = (
    "peer_instance",
    "peer_epoch",
    "peer_title",
    "peer_software",
    "peer_url",
    "peer_catalogue",
    "suspended",
    "clock_offset",
    "peer_head",
)
_CONTACT = ("meets", "proofs", "peer_token", "token_floor", "refused_until", "peer_holders")
#: Columns with nothing in them yet: the database has no defaults of its own for Django's.
_EMPTY: dict[str, Any] = {
    **dict.fromkeys((*_CURSORS, "state_since", "attempt", "next_attempt"), 0),
    **dict.fromkeys(("peer_epoch", "clock_offset", "lease_until", "failures", "locked_until"), 0),
    **dict.fromkeys(("meets", "proofs", "peer_token", "token_floor", "refused_until", "notice_at"), 0),
    **dict.fromkeys(("acked_tag", "applied_tag", "peer_catalogue"), b""),
    **dict.fromkeys(("reason_code", "peer_title", "peer_software", "peer_url", "lease_owner"), ""),
    "notice_code": "",
    "state": "never",
    "reason_params": "{}",
    "notice_params": "{}",
    "peer_holders": "[]",
    "suspended": "[]",
    "peer_instance": None,
}


def _settings(columns: Collection[str]) -> str:
    return ", ".join(f'"{column}" = %s' for column in columns)


def _list(columns: Collection[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


_STATE = '"syncapp_linkstate"'
_NEW = (
    f'INSERT INTO {_STATE} ("link_id", "lease_token", {_list(_EMPTY)}) VALUES (%s, %s{", %s" * len(_EMPTY)}) '
    'ON CONFLICT ("link_id") DO NOTHING'
)
_READ = f'SELECT {_list(_CURSORS)}, "lease_token" FROM {_STATE} WHERE "link_id" = %s'
_SAVE = f'UPDATE {_STATE} SET {_settings(_CURSORS)} WHERE "link_id" = %s AND "lease_token" = %s'
_SAVE_PEER = f'UPDATE {_STATE} SET {_settings(_PEER)} WHERE "link_id" = %s'
_CLAIM = (
    f'UPDATE {_STATE} SET "lease_owner" = %s, "lease_token" = 1 + CASE WHEN "lease_token" < "token_floor" '
    'THEN "token_floor" ELSE "lease_token" END, "lease_until" = %s '
    'WHERE "link_id" = %s AND (%s OR "lease_owner" IN (%s, \'\') OR "lease_until" < %s)'
)
_TOKEN = f'SELECT "lease_token" FROM {_STATE} WHERE "link_id" = %s'
_RENEW = f'UPDATE {_STATE} SET "lease_until" = %s WHERE "link_id" = %s AND "lease_token" = %s'
_STATUS = (
    f'UPDATE {_STATE} SET "state_since" = CASE WHEN "state" = %s THEN "state_since" ELSE %s END, '
    '"state" = %s, "reason_code" = %s, "reason_params" = %s, "attempt" = %s, "next_attempt" = %s WHERE "link_id" = %s'
)
_CONTACTS = f'SELECT {_list(_CONTACT)}, "peer_epoch" FROM {_STATE} WHERE "link_id" = %s'
_SAVE_CONTACTS = f'UPDATE {_STATE} SET {_settings(_CONTACT)} WHERE "link_id" = %s'
_PROOFS = f'SELECT "link_id", "proofs" FROM {_STATE}'
_NOTICE = (
    f'UPDATE {_STATE} SET "notice_code" = %s, "notice_params" = %s, "notice_at" = %s WHERE "link_id" = %s'
)
# Those that are off as well: they remember how far they had been sent.
_FLOWS = 'SELECT "field_id", "flowing", "resume_seq" FROM "syncapp_mapping" WHERE "link_id" = %s'
_SAVE_FLOW = (
    'UPDATE "syncapp_mapping" SET "flowing" = %s, "resume_seq" = %s WHERE "link_id" = %s AND "field_id" = %s'
)
_PAIRED = 'SELECT "record_id" FROM "syncapp_pair" WHERE "link_id" = %s AND "record_id" IN {}'
_PAIRS = 'SELECT "record_id", "left" FROM "syncapp_pair" WHERE "link_id" = %s AND "record_id" IN {}'
_PAIR = (
    'INSERT INTO "syncapp_pair" ("link_id", "record_id", "left") VALUES (%s, %s, 0) '
    'ON CONFLICT ("link_id", "record_id") DO UPDATE SET "left" = 0 '
    'WHERE "syncapp_pair"."left" > 0 AND "syncapp_pair"."left" <= %s'
)
_LEFT = 'UPDATE "syncapp_pair" SET "left" = %s WHERE "link_id" = %s AND "record_id" = %s'
_REFILTERS = (
    'SELECT "table_id", "refilter_after", "refilter_until" FROM "syncapp_linktable" '
    'WHERE "link_id" = %s AND "refilter_after" IS NOT NULL'
)
_SAVE_REFILTER = (
    'UPDATE "syncapp_linktable" SET "refilter_after" = %s, "refilter_until" = %s '
    'WHERE "link_id" = %s AND "table_id" = %s'
)
_DOUBT = 'UPDATE "syncapp_pair" SET "left" = 1 WHERE "link_id" = %s AND "left" = 0'
_UNPAIR = 'DELETE FROM "syncapp_pair" WHERE "link_id" = %s AND "record_id" IN {}'


class LinkTables:
    """The tables of links, as the store writes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- cursors --

    def cursors(self, link: int) -> LinkCursors:
        rows = self._database.query(_READ, [link])
        if not rows:
            self._create(link)
            rows = self._database.query(_READ, [link])
        row = dict(zip((*_CURSORS, "lease_token"), rows[0], strict=True))
        return LinkCursors(
            link=link,
            acked=Cursor(row["acked_seq"], bytes(row["acked_tag"])),
            applied=Cursor(row["applied_seq"], bytes(row["applied_tag"])),
            scanned=row["scanned_seq"],
            totals=Totals(*(row[name] for name in _TOTALS)),
            peer_totals=Totals(*(row[name] for name in _PEER_TOTALS)),
            peer_instance=bytes(row["peer_instance"] or b""),
            lease_token=row["lease_token"],
            peer_head=row["peer_head"],
            last_exchange=row["last_exchange"],
            lag=row["lag"],
            base=row["base_seq"],
            again=row["again_seq"],
            again_parked=row["again_parked"],
            offered=row["offered_id"],
            floor=row["floor_seq"],
        )

    def save_cursors(self, cursors: LinkCursors) -> bool:
        values = (
            *(cursors.acked.seq, cursors.acked.tag, cursors.applied.seq, cursors.applied.tag),
            *(cursors.scanned, cursors.peer_head, cursors.last_exchange, cursors.lag),
            *(cursors.base, cursors.again, cursors.again_parked),
            *(cursors.offered, cursors.floor),
            cursors.peer_instance or None,
            *msgspec.structs.astuple(cursors.totals),
            *msgspec.structs.astuple(cursors.peer_totals),
        )
        return self._database.run(_SAVE, [*values, cursors.link, cursors.lease_token]) == 1

    def _create(self, link: int) -> None:
        self._database.run(_NEW, [link, first_token(), *_EMPTY.values()])

    # -- the peer --

    def save_peer(self, link: int, peer: PeerInfo) -> None:
        self._create(link)
        suspended = [[item.field, item.code, item.params] for item in peer.suspended]
        values = (
            *(
                peer.instance,
                peer.epoch,
                plain(peer.title, 200),
                plain(peer.software, 100),
                plain(peer.url, 500),
            ),
            *(msgspec.msgpack.encode(peer.catalogue), json_text(suspended), peer.clock_offset, peer.head),
        )
        self._database.run(_SAVE_PEER, [*values, link])

    def contacts(self, link: int) -> Contacts:
        rows = self._database.query(_CONTACTS, [link])
        if not rows:
            return Contacts(link)
        meets, proofs, token, floor, until, holders, epoch = rows[0]
        return Contacts(link, meets, proofs, epoch, token, floor, _read_holders(holders), until)

    def save_contacts(self, contacts: Contacts) -> None:
        self._create(contacts.link)
        holders = json_text([[h.boot.hex(), *msgspec.structs.astuple(h)[1:]] for h in contacts.holders])
        c = contacts
        values = [c.meets, c.proofs, c.token, c.floor, c.refused_until, holders]
        self._database.run(_SAVE_CONTACTS, [*values, c.link])

    def proofs(self) -> dict[int, int]:
        return dict(self._database.query(_PROOFS))

    def set_notice(self, link: int, code: str, params: dict[str, Any], at: int) -> None:
        self._database.run(_NOTICE, [code, json_text(params), at, link])

    def flows(self, link: int) -> dict[int, FlowState]:
        rows = self._database.query(_FLOWS, [link])
        return {field: FlowState(bool(flowing), resume) for field, flowing, resume in rows}

    def save_flows(self, link: int, flows: Mapping[int, FlowState]) -> None:
        rows = [(state.flowing, state.resume, link, field) for field, state in flows.items()]
        self._database.many(_SAVE_FLOW, rows)

    # -- the lease --

    def claim(self, link: int, owner: str, now: int, until: int, *, force: bool) -> int | None:
        """The new token if the lease is free, ours, expired by ``now``, or taken by ``force``."""
        self._create(link)
        if self._database.run(_CLAIM, [owner, until, link, force, owner, now]) == 0:
            return None
        return int(self._database.query(_TOKEN, [link])[0][0])

    def renew(self, link: int, token: int, now: int, until: int, status: LinkStatus | None) -> bool:
        if self._database.run(_RENEW, [until, link, token]) == 0:
            return False
        if status is not None:
            params = json_text(status.params)
            values = [
                status.state,
                now,
                status.state,
                status.code,
                params,
                status.attempt,
                status.next_attempt,
            ]
            self._database.run(_STATUS, [*values, link])
        return True

    # -- pairs --

    def paired(self, link: int, records: Collection[int]) -> set[int]:
        return {row[0] for row in self._database.query_in(_PAIRED, records, [link])}

    def add_pairs(self, link: int, records: Collection[int], whole: int = 0) -> None:
        self._database.many(_PAIR, [(link, record, whole) for record in records])

    def pairs(self, link: int, records: Collection[int]) -> dict[int, int]:
        return dict(self._database.query_in(_PAIRS, records, [link]))

    def mark_left(self, link: int, records: Mapping[int, int]) -> None:
        self._database.many(_LEFT, [(seq, link, record) for record, seq in records.items()])

    def refilters(self, link: int) -> dict[int, Refilter]:
        rows = self._database.query(_REFILTERS, [link])
        return {table: Refilter(after, until) for table, after, until in rows}

    def save_refilter(self, link: int, table: int, state: Refilter | None) -> None:
        after, until = (None, 0) if state is None else (state.after, state.until)
        self._database.run(_SAVE_REFILTER, [after, until, link, table])

    def doubt_pairs(self, link: int) -> None:
        self._database.run(_DOUBT, [link])

    def drop_pairs(self, link: int, records: Collection[int]) -> None:
        self._database.run_in(_UNPAIR, records, [link])


def _read_holders(stored: Any) -> tuple[Holder, ...]:
    rows = json.loads(stored) if isinstance(stored, str | bytes) else stored
    return tuple(Holder(bytes.fromhex(boot), *rest) for boot, *rest in rows)
