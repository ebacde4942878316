"""The boundary between the store's logic and a database: a `Backend` of set-based primitives.

All values that cross it are in *wire form* (see `store.values`), except that relations are local primary keys as
text (``str(pk)``), many-to-many a sorted list of such texts. The store turns them into uids and back.

Everything but `transaction` and `savepoint` is called within a transaction. Lists are handled in a handful of
statements, however long (backends split at their parameter limits).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from syncapp.core.changes import Cursor, JournalRow, Record, Totals
from syncapp.core.mapping import Catalogue, FieldType, Suspended
from syncapp.core.rules import Merge, Policy
from syncapp.core.transforms import Step
from syncapp.store.deletionbase import DeletionBackend
from syncapp.store.hostbase import HostBackend
from syncapp.store.people import UserTables
from syncapp.store.seriesbase import SeriesBackend, SeriesInfo


class FieldInfo(msgspec.Struct, frozen=True):
    """A field as the store's logic sees it. ``target``: the related table's number (0: none or not on offer).

    ``required``: neither null nor a default, so that a record cannot be created without a value. ``policy`` and
    ``merge``: the field's rule. ``stored``: whether the table itself holds it; some system fields it does not.
    ``auto``: its model sets it to the current time by itself.
    """

    number: int
    name: str
    type: FieldType
    target: int = 0
    required: bool = False
    system: bool = False
    policy: Policy = Policy.LATEST
    merge: Merge = Merge.VALUE
    stored: bool = True
    auto: bool = False


class Soft(msgspec.Struct, frozen=True):
    """How rows of a table say whether they count as deleted: field → wire value (see `store.softly`)."""

    deleted: dict[int, Any]
    alive: dict[int, Any]


class TableInfo(msgspec.Struct, frozen=True):
    """A table as the store's logic sees it, with all its fields by number.

    ``status``: the number of *record status*, or 0. ``soft``: its rows stay when they are deleted.
    """

    number: int
    label: str
    title: str
    fields: dict[int, FieldInfo]
    status: int = 0
    soft: Soft | None = None


class LinkInfo(msgspec.Struct, frozen=True):
    """A link as the store's logic sees it.

    ``match_by``: table → field numbers by which existing records are recognised. ``missing``: relation field →
    ``hold | match | empty``. ``user_matching``: the name by which users are found. ``active``: whether this program is
    the active side. ``filters``: table → its row filter (see `store.filters`). ``shut``: table → the column because of
    which its filter cannot be told any more; nothing of such a table is sent. ``transforms``: one-way field → what is
    done to its values on this side. ``maps``: field → the peer's option values, as the configuration writes them, and
    ours. ``saved``: tables that are written through their models' own code.
    """

    id: int
    name: str
    log: bool = False
    match_by: dict[int, tuple[int, ...]] = {}
    missing: dict[int, str] = {}
    user_matching: str = "login"
    active: bool = False
    filters: dict[int, dict[int, tuple[Any, ...]]] = {}
    shut: dict[int, str] = {}
    transforms: dict[int, tuple[Step, ...]] = {}
    maps: dict[int, dict[str, Any]] = {}
    saved: frozenset[int] = frozenset()


class Setup(msgspec.Struct, frozen=True):
    """Everything configured, as one immutable value; read anew when ``version`` changes.

    ``captured``: field numbers with triggers (mapped in any link, any direction). ``logged``: link id → the field
    numbers it sends, for links whose log is on. ``zone``: the time zone in which this program's days begin and end.
    ``series``: fields with a shared series of numbers.
    """

    version: int
    tables: dict[int, TableInfo]
    links: dict[int, LinkInfo]
    captured: frozenset[int]
    logged: dict[int, frozenset[int]] = {}
    zone: str = "UTC"
    series: dict[int, SeriesInfo] = {}


class InstanceState(msgspec.Struct):
    """This program's identity and the head of its feed. ``origin`` names its edits."""

    origin: bytes
    head: Cursor


class LinkCursors(msgspec.Struct):
    """The durable state of an exchange over one link (see `models.LinkState`).

    ``base``: where the link began in our feed. ``again``: up to there the feed goes to the peer whoever it came from;
    ``again_parked``: so does what was parked up to that moment, once it is applied.
    ``offered``: records up to this id may have been sent; ``floor``: up to here tombstones were forgotten.
    """

    link: int
    acked: Cursor
    applied: Cursor
    scanned: int
    totals: Totals  # received here
    peer_totals: Totals  # what the peer says it received from us
    peer_instance: bytes
    lease_token: int
    peer_head: int = 0
    last_exchange: int = 0
    lag: int = 0
    base: int = 0
    again: int = 0
    again_parked: int = 0
    offered: int = 0
    floor: int = 0


class Holder(msgspec.Struct, frozen=True, array_like=True):
    """A process of a peer: what its hello said, when, and from where. ``left``: its database was replaced since."""

    boot: bytes
    token: int
    at: int
    title: str
    host: str
    left: bool = False


class Contacts(msgspec.Struct):
    """What a link remembers of its contacts (see `store.meeting`).

    ``meets`` counts them, ``proofs`` those that prove this database whole; ``epoch`` and ``token``: the newest of the
    peer's; ``floor``: our own next token is above it; ``refused_until``: the peer is refused so long, because there are
    two of it.
    """

    link: int
    meets: int = 0
    proofs: int = 0
    epoch: int = 0
    token: int = 0
    floor: int = 0
    holders: tuple[Holder, ...] = ()
    refused_until: int = 0


class ProblemRow(msgspec.Struct):
    """A parked change; see `models.Problem`. ``id`` 0 = not stored yet."""

    id: int
    link: int
    way: str
    table: int
    uid: bytes
    pk: str
    field: int
    code: str
    params: dict[str, Any]
    waits_for: bytes | None
    payload: bytes
    created_at: int
    tries: int = 0
    next_try: int = 0


class ConflictRow(msgspec.Struct, frozen=True):
    """A value that lost a conflict; see `models.Conflict`. Values are in wire form, relations as uids.

    ``id`` 0 = not stored yet. ``resolved``: nothing, ``restored`` (the loser), ``kept`` (the winner), ``decided`` (the
    answer to a question).
    """

    link: int
    table: int
    uid: bytes
    pk: str
    field: int
    won: Any
    lost: Any
    won_time: int
    won_origin: bytes
    lost_time: int
    lost_origin: bytes
    created_at: int
    resolved: str = ""
    id: int = 0


class LogRow(msgspec.Struct, frozen=True):
    """A log entry; see `models.LogEntry`. Values are in wire form; ``before`` is UNKNOWN where not known."""

    link: int
    at: int
    way: str
    table: int
    pk: str
    uid: bytes
    field: int
    before: Any
    after: Any
    result: str
    detail: str = ""
    seq: int = 0


class PeerInfo(msgspec.Struct, frozen=True):
    """What a peer said of itself, and which mapped fields do not flow to or from it."""

    instance: bytes
    epoch: int
    title: str
    software: str
    url: str
    catalogue: Catalogue
    suspended: tuple[Suspended, ...]
    clock_offset: int
    head: int


class FlowState(msgspec.Struct, frozen=True):
    """Whether a mapped field is sent at present; ``resume``: up to which feed number it was, when suspended."""

    flowing: bool = False
    resume: int | None = None


class Refilter(msgspec.Struct, frozen=True):
    """A row filter was changed: records with feed numbers in (after, until] are still to be looked through."""

    after: int
    until: int


class LinkStatus(msgspec.Struct, frozen=True):
    """What the engine shows of a link: a state of the contract, and the reason as a code of `errors`."""

    state: str
    code: str = ""
    params: dict[str, Any] = {}
    attempt: int = 0
    next_attempt: int = 0


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()

#: Code of a parked change that waits for a person's decision: both programs keep what they have until then.
ASK = "ask"
#: Code of a parked change of a sum that would leave the field's range.
SUM_RANGE = "sum_range"

#: Code of a parked change whose record may be several rows here, until people have decided which.
AMBIGUOUS = "ambiguous"

#: Longer texts are kept cut to this many characters in the log.
LOGGED_TEXT = 1000

#: When a problem is tried again that only an edit or a person can solve.
NEVER = 2**62

Key = tuple[Any, ...]
Values = dict[int, Any]


class RowRefused(Exception):
    """The database refused rows as a whole (unique, check, not null, type). ``detail`` is its own message.

    ``fields``: where the fault lies with some fields alone, their numbers, and what is wrong with each.
    """

    def __init__(
        self, detail: str, code: str = "not_unique", fields: Mapping[int, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.fields = dict(fields or {})


class BadValue(Exception):
    """A stored or received value is not of its field's type. Says what is wrong."""

    #: The code of the problem that it becomes.
    code = "value"


class Backend(DeletionBackend, UserTables, HostBackend, SeriesBackend, Protocol):
    """A database. One instance per thread; not safe for concurrent use."""

    # -- units of work --
    def transaction(self, *, snapshot: bool = False) -> AbstractContextManager[None]:
        """A write transaction: holds the instance's sealing lock from its start; commits or rolls back whole.

        ``snapshot``: versions, values and journal are all read as of one moment. Not for writing users' rows, which
        have to be seen as they are when they are written.
        """
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """Within a transaction: undoes its writes when an exception leaves it. Constraints are checked at its end."""
        ...

    def glance(self) -> tuple[bool, Cursor]:
        """Whether the journal has rows, and the head of the feed. Takes no lock; may be called on its own."""
        ...

    def now(self) -> int:
        """The database's clock, µs."""
        ...

    def setup(self) -> Setup: ...

    # -- instance and seals --
    def instance(self) -> InstanceState: ...

    def set_head(self, head: Cursor) -> None:
        """Store the new head and its seal's tag."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """A new life of this program begins; conversations of all its links begin anew."""
        ...

    def seal_tag(self, seq: int) -> bytes | None:
        """The tag of the seal that gave number ``seq``; None when it is no longer (or not) known."""
        ...

    # -- journal --
    def drain(self, limit: int) -> list[JournalRow]:
        """Take up to ``limit`` journal rows away, oldest first."""
        ...

    def drain_rows(self, table: int, pks: Collection[str]) -> list[JournalRow]:
        """Take away all journal rows of these local rows, in order."""
        ...

    def inserts(self, table: int, pks: Collection[str]) -> list[JournalRow]:
        """The journal's rows of inserts of these local rows; they stay."""
        ...

    def journal_size(self) -> int: ...

    # -- records --
    def records_by_pk(self, table: int, pks: Collection[str]) -> dict[str, Record]:
        """The *alive* records of these local rows."""
        ...

    def records_by_uid(self, uids: Collection[bytes]) -> dict[bytes, Record]:
        """Records by uid or alias, alive or not; keys are the uids that were asked for."""
        ...

    def buried(self, table: int, pks: Collection[str]) -> dict[str, Record]:
        """The newest *dead* record of each of these local keys."""
        ...

    def records_after(self, seq: int, limit: int) -> list[Record]:
        """Records whose latest feed number is above ``seq``, in that order."""
        ...

    def save_records(self, records: Iterable[Record]) -> None:
        """Insert (``id`` 0; sets it) or update records."""
        ...

    def rename(self, record: Record, uid: bytes) -> None:
        """Let a stored record be known by ``uid`` too.

        One that has never travelled (no pair on any link) simply takes it. Else the smaller of both names stays its
        uid and the other one becomes an alias: `records_by_uid` finds it by either. Sets ``record.uid``.
        """
        ...

    def aliases(self, records: Collection[int]) -> dict[int, list[bytes]]:
        """The other names of those of these record ids that have some, in order."""
        ...

    # -- rows of the user's tables --
    @property
    def alone(self) -> bool:
        """Whether nobody else writes during a transaction anyway, so that nothing need be locked."""
        ...

    def lock_rows(self, table: int, pks: Collection[str], *, strong: bool = False) -> set[str]:
        """Keep these rows from others until the transaction ends; those that others have now, which are not waited for.

        ``strong``: nobody may come to refer to them either.
        """
        ...

    def existing(self, table: int, pks: Collection[str]) -> set[str]: ...

    def creators(self, table: int, pks: Collection[str]) -> dict[str, str]:
        """The users who made these rows, by local key, as far as the program's own history tells."""
        ...

    def rows(self, table: int, pks: Collection[str], fields: Sequence[int]) -> dict[str, list[Any]]:
        """Values of ``fields`` by local key, in their order. One that cannot be read is a `BadValue` in its place."""
        ...

    def match(self, table: int, fields: Sequence[int], keys: Collection[Key]) -> dict[Key, list[str]]:
        """Local keys of the rows whose ``fields`` equal each of ``keys`` (normalised); only keys that have some.

        Raises nothing for odd values; a key with a None in it matches nothing.
        """
        ...

    def check(self, table: int, field: int, value: Any) -> str:
        """Why ``value`` cannot be stored in ``field``, or an empty text."""
        ...

    def insert_rows(self, table: int, rows: Sequence[Values]) -> list[str]:
        """Create rows with their defaults, echo suppressed; returns their keys. Raises `RowRefused`."""
        ...

    def update_rows(
        self, table: int, fields: Sequence[int], rows: Sequence[tuple[str, Sequence[Any]]]
    ) -> None:
        """Set ``fields`` of existing rows, echo suppressed. Raises `RowRefused`."""
        ...

    # -- links --
    def cursors(self, link: int) -> LinkCursors: ...

    def save_cursors(self, cursors: LinkCursors) -> bool:
        """Write them back if ``lease_token`` is still the stored one; False if the lease was lost."""
        ...

    def paired(self, link: int, records: Collection[int]) -> set[int]:
        """Which of these record ids exist on both sides of the link."""
        ...

    # -- peers (see `store.peers`) --
    def catalogue(self, link: int) -> Catalogue:
        """What this program announces on the link."""
        ...

    def save_peer(self, link: int, peer: PeerInfo) -> None: ...

    def contacts(self, link: int) -> Contacts: ...

    def save_contacts(self, contacts: Contacts) -> None:
        """Write them back, but for ``epoch``, which `save_peer` writes."""
        ...

    def proofs(self) -> dict[int, int]:
        """How many contacts of each link have proved this database whole."""
        ...

    def set_notice(self, link: int, code: str, params: dict[str, Any], at: int) -> None:
        """What people should know of the link, as a code of `errors` with its params."""
        ...

    def flows(self, link: int) -> dict[int, FlowState]:
        """The flow state of every field that is or was mapped on the link."""
        ...

    def save_flows(self, link: int, flows: Mapping[int, FlowState]) -> None: ...

    def claim(self, link: int, owner: str, until: int, *, force: bool = False) -> int | None:
        """Take the lease of the link: its new token; None while another owner holds it (unless ``force``)."""
        ...

    def renew(self, link: int, token: int, until: int, state: LinkStatus | None = None) -> bool:
        """Prolong a lease that is still ours and note the link's status; False if it was lost."""
        ...

    # -- pairs --
    def add_pairs(self, link: int, records: Collection[int], whole: int = 0) -> None:
        """These records exist on both sides; ``whole``: the peer has them as they stood at this number or later."""
        ...

    def pairs(self, link: int, records: Collection[int]) -> dict[int, int]:
        """Those of these record ids that exist on both sides → 0, or the newest number that was kept from the peer."""
        ...

    def mark_left(self, link: int, records: Mapping[int, int]) -> None:
        """Pairs of records outside the row filter: record id → the feed number that is kept from the peer."""
        ...

    def refilters(self, link: int) -> dict[int, Refilter]:
        """Tables whose filter was changed and whose records have not all been looked through since, by table number."""
        ...

    def save_refilter(self, link: int, table: int, state: Refilter | None) -> None:
        """How far a table was looked through; None: it is done."""
        ...

    def doubt_pairs(self, link: int) -> None:
        """The peer may lack any of them, or have it as it was long ago: each goes whole once more."""
        ...

    def drop_pairs(self, link: int, records: Collection[int]) -> None: ...

    # -- problems, conflicts, log --
    def problems_waiting(self, link: int, uids: Collection[bytes]) -> list[ProblemRow]:
        """Parked incoming changes of the link that wait for one of these records."""
        ...

    def problems_of(self, link: int, uids: Collection[bytes]) -> list[ProblemRow]:
        """Parked incoming changes of these records."""
        ...

    def problems_due(self, link: int, now: int, limit: int) -> list[ProblemRow]: ...

    def problems_out(self, link: int, now: int, limit: int) -> list[ProblemRow]:
        """Parked outgoing values of the link that are to be tried again by ``now``."""
        ...

    def problems_by_id(self, ids: Collection[int]) -> list[ProblemRow]: ...

    def last_parked(self, link: int) -> int:
        """When the newest of the link's parked changes was parked; 0 if there are none."""
        ...

    def save_problems(self, problems: Sequence[ProblemRow]) -> None:
        """Insert or, by (link, way, uid, field), replace."""
        ...

    def drop_problems(self, ids: Collection[int]) -> None: ...

    def standing(self, uids: Collection[bytes]) -> list[ProblemRow]:
        """Parked changes of these records that wait for an edit here (codes `ASK`, `SUM_RANGE`), over all links."""
        ...

    def doubles(self, table: int) -> list[ProblemRow]:
        """Parked changes of records of ``table`` that may be several rows here (`AMBIGUOUS`), over all links."""
        ...

    def add_conflicts(self, rows: Sequence[ConflictRow]) -> None: ...

    def conflicts_by_id(self, ids: Collection[int]) -> list[ConflictRow]: ...

    def resolve_conflicts(self, ids: Collection[int], resolved: str) -> None: ...

    def add_log(self, rows: Sequence[LogRow]) -> None: ...

    def clear_unsendable(self, link: int, keys: Collection[tuple[bytes, int]]) -> None:
        """Drop outgoing problems of these (uid, field): the value can be sent now. Cheap when there are none."""
        ...

    def log_replaced(self, link: int, keys: Sequence[tuple[bytes, int]]) -> None:
        """Mark queued log rows of these (uid, field) as replaced by a later edit."""
        ...

    def log_filtered(self, link: int, uids: Collection[bytes]) -> None:
        """Mark queued log rows of these records as kept here by the row filter."""
        ...

    def log_sent(
        self, link: int, after: int, until: int, at: int, fates: Mapping[tuple[bytes, int], str]
    ) -> None:
        """Mark queued log rows of feed numbers in (after, until] as sent, or with the fate that the peer named."""
        ...
