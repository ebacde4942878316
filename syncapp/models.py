"""The tables of syncapp: configuration, catalogue, and the memory of what was exchanged.

Configuration (Link, LinkTable, Mapping, Rule) is written by people through `store.config`. The rest is written by the
store in set-based SQL; its Django models exist for migrations and for reading.
"""

from __future__ import annotations

import time

from django.db import models
from django.utils.translation import gettext_lazy as _


def first_token() -> int:
    """The first token of a link's lease: above all those of a link that was there before it (they count from one)."""
    return time.time_ns() // 1_000_000


class Instance(models.Model):
    """This program: one row. ``head_seq``/``head_tag``: the newest number of the feed and its seal's tag."""

    instance = models.BinaryField(max_length=16)
    epoch = models.PositiveIntegerField(default=1)
    head_seq = models.BigIntegerField(default=0)
    head_tag = models.BinaryField(max_length=8, default=b"")
    scram_salt = models.BinaryField(max_length=16)
    #: Counts changes of links, mappings and catalogue; processes that drive links watch it.
    config_version = models.BigIntegerField(default=0)


class Seal(models.Model):
    """The random tag of each seal, by the last feed number that it gave."""

    last_seq = models.BigIntegerField(primary_key=True)
    tag = models.BinaryField(max_length=8)


class Table(models.Model):
    """A table of the catalogue. The number is given once and never reused; ``retired`` when its model is gone."""

    number = models.AutoField(primary_key=True)
    label = models.CharField(max_length=200, unique=True)
    retired = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.label


class Field(models.Model):
    """A field of the catalogue. ``slot`` is its place in the table's change masks; never reused either."""

    number = models.AutoField(primary_key=True)
    table = models.ForeignKey(Table, models.CASCADE, related_name="fields")
    name = models.CharField(max_length=200)
    slot = models.PositiveIntegerField()
    system = models.BooleanField(default=False)
    retired = models.BooleanField(default=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("table", "name"), name="syncapp_field_name"),
            models.UniqueConstraint(fields=("table", "slot"), name="syncapp_field_slot"),
        )

    def __str__(self) -> str:
        return f"{self.table.label}.{self.name}"


class Rule(models.Model):
    """What becomes of two edits of a field that did not know of each other (see `core.rules`); no row: the default."""

    field = models.OneToOneField(Field, models.PROTECT, primary_key=True, related_name="rule")
    policy = models.CharField(max_length=10, default="latest")
    merge = models.CharField(max_length=10, default="value")
    #: What else the rule says, as in the configuration file.
    options = models.JSONField(default=dict)


class Series(models.Model):
    """A field whose numbers are shared: no two programs use one twice (see `core.series`).

    One that is no longer declared keeps its book: should it be declared again, what was leased is still known.
    """

    field = models.OneToOneField(Field, models.PROTECT, primary_key=True, related_name="series")
    #: Short name of the program that owns it.
    owner = models.CharField(max_length=100)
    mode = models.CharField(max_length=12, default="ranges")
    format = models.CharField(max_length=100, default="{}")
    declared = models.BooleanField(default=True)
    #: MessagePack of `core.series.Book`.
    book = models.BinaryField(default=b"")


class SeriesRequest(models.Model):
    """A save that waits for a number of a contiguous series; gone when it has one, or after ``until`` (µs)."""

    id = models.BigAutoField(primary_key=True)
    series = models.ForeignKey(Series, models.CASCADE, related_name="requests")
    until = models.BigIntegerField()


class SeriesProvisional(models.Model):
    """A number given for the time being, while the owner could not be asked; ``final``: what it became."""

    id = models.BigAutoField(primary_key=True)
    series = models.ForeignKey(Series, models.CASCADE, related_name="provisional")
    value = models.CharField(max_length=100)
    final = models.CharField(max_length=100, blank=True, db_index=True)
    created_at = models.BigIntegerField()
    replaced_at = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("series", "value"), name="syncapp_seriesprovisional_value"),
        )


class Link(models.Model):
    """One configured synchronisation with one peer."""

    class Mode(models.TextChoices):
        ACTIVE = "active", _("Active")
        PASSIVE = "passive", _("Passive")

    class Transport(models.TextChoices):
        WEBSOCKET = "websocket", "WebSocket"
        HTTP = "http", "HTTP"
        LOCAL = "local", _("Local folder")
        FTP = "ftp", "FTP"

    class UserMatching(models.TextChoices):
        LOGIN = "login", _("login")
        FULL_NAME = "full_name", _("full name")
        ID = "id", "ID"

    name = models.CharField(_("name"), max_length=100, unique=True)
    mode = models.CharField(_("mode"), max_length=10, choices=Mode)
    transport = models.CharField(
        _("transport"), max_length=10, choices=Transport, default=Transport.WEBSOCKET
    )
    remote_access = models.BooleanField(_("access to the remote program"), default=False)
    address = models.CharField(_("address of the remote program"), max_length=500, blank=True)
    #: Passive links: the random code that may follow the address.
    code = models.CharField(max_length=40, unique=True)
    #: Encrypted with the instance's secret key; see `conf.encrypt`.
    secret = models.TextField(blank=True)
    log = models.BooleanField(_("log"), default=False)
    interval = models.FloatField(_("interval, s"), default=0)
    paused = models.BooleanField(default=False)
    user_matching = models.CharField(max_length=10, choices=UserMatching, default=UserMatching.LOGIN)
    #: Everything else of the configuration file that has no column of its own (folders, FTP, limits), as given.
    options = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class LinkTable(models.Model):
    """A table taking part in a link, with what is set per table."""

    link = models.ForeignKey(Link, models.CASCADE, related_name="tables")
    table = models.ForeignKey(Table, models.PROTECT)
    match_by = models.JSONField(default=list)
    #: Row filter, apply mode and the like, as in the configuration file.
    options = models.JSONField(default=dict)
    #: Where the feed stood when the table joined the link: older changes are initial sync's business.
    since_seq = models.BigIntegerField(default=0)
    #: After a change of the filter: records with feed numbers in (after, until] are still to be looked through.
    refilter_after = models.BigIntegerField(null=True)
    refilter_until = models.BigIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("link", "table"), name="syncapp_linktable_table"),)


class Mapping(models.Model):
    """A local field ↔ peer field, with a direction.

    ``resume_seq``: None while the field flows or has never flowed; else the feed number up to which it was sent
    when it was suspended, so that later versions go again.
    """

    link = models.ForeignKey(Link, models.CASCADE, related_name="mappings")
    field = models.ForeignKey(Field, models.PROTECT)
    direction = models.CharField(max_length=10)
    peer_number = models.PositiveIntegerField(null=True)
    peer_name = models.CharField(max_length=300, blank=True)
    lossy = models.BooleanField(default=False)
    #: transform, missing and the like, as in the configuration file.
    options = models.JSONField(default=dict)
    flowing = models.BooleanField(default=False)
    resume_seq = models.BigIntegerField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("link", "field"), name="syncapp_mapping_field"),)


class LinkState(models.Model):
    """What the engine knows of a link; one row a link, written by the process that holds the lease."""

    link = models.OneToOneField(Link, models.CASCADE, primary_key=True, related_name="state")
    state = models.CharField(max_length=12, default="never")
    reason_code = models.CharField(max_length=40, blank=True)
    reason_params = models.JSONField(default=dict)
    state_since = models.BigIntegerField(default=0)
    attempt = models.PositiveIntegerField(default=0)
    next_attempt = models.BigIntegerField(default=0)
    # the peer
    peer_instance = models.BinaryField(max_length=16, null=True)
    peer_epoch = models.PositiveIntegerField(default=0)
    peer_title = models.CharField(max_length=200, blank=True)
    peer_software = models.CharField(max_length=100, blank=True)
    peer_url = models.CharField(max_length=500, blank=True)
    #: The peer's catalogue as announced (MessagePack), for the panel and for checks while it is away.
    peer_catalogue = models.BinaryField(default=b"")
    #: Mapped fields that do not flow: [[field number, code, params], …].
    suspended = models.JSONField(default=list)
    clock_offset = models.BigIntegerField(default=0)
    last_exchange = models.BigIntegerField(default=0)
    lag = models.BigIntegerField(default=0)
    # cursors: acked = the peer confirmed our feed so far; scanned = up to here no change of ours was left out of what
    # it confirmed; applied = we applied the peer's feed so far
    acked_seq = models.BigIntegerField(default=0)
    acked_tag = models.BinaryField(max_length=8, default=b"")
    scanned_seq = models.BigIntegerField(default=0)
    applied_seq = models.BigIntegerField(default=0)
    applied_tag = models.BinaryField(max_length=8, default=b"")
    peer_head = models.BigIntegerField(default=0)
    # where the link began in our feed; up to where everything goes to the peer, also what came from it, and until when
    # parked changes were parked that do so, because its database was restored
    base_seq = models.BigIntegerField(default=0)
    again_seq = models.BigIntegerField(default=0)
    again_parked = models.BigIntegerField(default=0)
    # contacts: how many there were, and how many that proved this database whole; the newest of the peer's tokens, its
    # processes [[boot, token, at, title, host, left], …], until when it is refused because there are two of it
    meets = models.BigIntegerField(default=0)
    proofs = models.BigIntegerField(default=0)
    peer_token = models.BigIntegerField(default=0)
    peer_holders = models.JSONField(default=list)
    refused_until = models.BigIntegerField(default=0)
    #: What people should know of the link beside its state, as a code of `errors` with params.
    notice_code = models.CharField(max_length=40, blank=True)
    notice_params = models.JSONField(default=dict)
    notice_at = models.BigIntegerField(default=0)
    # deletions: records up to this id may have been sent to the peer; up to this number tombstones were forgotten here
    offered_id = models.BigIntegerField(default=0)
    floor_seq = models.BigIntegerField(default=0)
    # what was received here, and what the peer says it received
    received = models.BigIntegerField(default=0)
    applied = models.BigIntegerField(default=0)
    superseded = models.BigIntegerField(default=0)
    duplicate = models.BigIntegerField(default=0)
    parked = models.BigIntegerField(default=0)
    sent = models.BigIntegerField(default=0)
    peer_applied = models.BigIntegerField(default=0)
    peer_superseded = models.BigIntegerField(default=0)
    peer_duplicate = models.BigIntegerField(default=0)
    peer_parked = models.BigIntegerField(default=0)
    # the lease: who drives the link
    lease_owner = models.CharField(max_length=40, blank=True)
    lease_token = models.BigIntegerField(default=first_token)
    #: The next token is above this one: what a peer remembers of tokens that a restored database has forgotten.
    token_floor = models.BigIntegerField(default=0)
    lease_until = models.BigIntegerField(default=0)
    # failed log-ins
    failures = models.PositiveIntegerField(default=0)
    locked_until = models.BigIntegerField(default=0)


class Record(models.Model):
    """One row's identity and history: uid, local key, liveness, packed field versions, feed number."""

    id = models.BigAutoField(primary_key=True)
    table = models.ForeignKey(Table, models.PROTECT, db_index=False)
    pk_text = models.TextField()
    uid = models.BinaryField(max_length=16, unique=True)
    alive = models.BooleanField(default=True)
    seq = models.BigIntegerField(db_index=True)
    entries = models.BinaryField(default=b"")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("table", "pk_text"), condition=models.Q(alive=True), name="syncapp_record_row"
            ),
        )

        indexes = (
            models.Index(fields=("id",), condition=models.Q(alive=False), name="syncapp_record_dead"),
            # Whose row a dead record's was: it may stand (see `store.softly`).
            models.Index(
                fields=("table", "pk_text"), condition=models.Q(alive=False), name="syncapp_record_grave"
            ),
        )


class Archive(models.Model):
    """A row that a peer's deletion took away here, whole, until its tombstone is forgotten.

    ``link``: who brought the deletion; ``time`` and ``origin``: when and by whom it was made. A row that went because
    another one did has those of the other one; one that nobody had a name for has no uid.
    """

    id = models.BigAutoField(primary_key=True)
    link = models.ForeignKey(Link, models.SET_NULL, null=True)
    #: 0: a table that is not on offer; ``label`` names its model.
    table_no = models.IntegerField()
    label = models.CharField(max_length=200)
    uid = models.BinaryField(max_length=16, null=True, db_index=True)
    pk_text = models.TextField()
    #: Values by field name, in wire form as far as JSON has one (see `store.sql.removal`).
    values = models.JSONField()
    #: Relation → uids of what it referred to.
    targets = models.JSONField(default=dict)
    time = models.BigIntegerField()
    origin = models.BinaryField(max_length=20)
    created_at = models.BigIntegerField(db_index=True)


class Alias(models.Model):
    """Another uid of a record: two programs had named one record before they met."""

    uid = models.BinaryField(max_length=16, primary_key=True)
    record = models.ForeignKey(Record, models.CASCADE)


class MatchSet(models.Model):
    """Fields of a table by whose normalised values its rows are found; see `store.sql.matchkeys`."""

    table_no = models.PositiveIntegerField()
    #: Field numbers, in the order in which they make up the key.
    fields = models.CharField(max_length=300)
    #: By which rules the keys were made.
    rules = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["table_no", "fields", "rules"], name="syncapp_matchset_once"),
        ]


class MatchKey(models.Model):
    """The normalised key of a row, as a digest; null: to be made anew."""

    set = models.ForeignKey(MatchSet, models.DO_NOTHING, db_constraint=False, db_index=False)
    pk_text = models.CharField(max_length=255)
    digest = models.BinaryField(max_length=16, null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["set", "pk_text"], name="syncapp_matchkey_once")]
        indexes = [models.Index(fields=["set", "digest"], name="syncapp_matchkey_digest")]


class UserMatch(models.Model):
    """A user of the peer who was met in a value, and who it is here; see `store.people`."""

    link = models.ForeignKey(Link, models.CASCADE, related_name="users")
    #: Names the user on the link: problems that wait for a match wait for it.
    digest = models.BinaryField(max_length=16)
    matching = models.CharField(max_length=10, choices=Link.UserMatching)
    login = models.CharField(max_length=300)
    full_name = models.CharField(max_length=300)
    peer_id = models.CharField(max_length=300)
    #: Key of the local user as text; empty: nobody, or several.
    user = models.CharField(max_length=255)
    several = models.PositiveIntegerField(default=0)
    manual = models.BooleanField(default=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("link", "digest"), name="syncapp_usermatch_user"),)


class Pair(models.Model):
    """The record exists on both sides of the link."""

    pk = models.CompositePrimaryKey("link_id", "record_id")
    link = models.ForeignKey(Link, models.CASCADE, db_index=False)
    record = models.ForeignKey(Record, models.CASCADE)
    #: The record left the row filter: the newest feed number that was kept from the peer; 0 while it has everything.
    left = models.BigIntegerField(default=0)


class Alternation(models.Model):
    """The program's own code keeps changing a field that a peer's change has set; see `store.saving`."""

    pk = models.CompositePrimaryKey("record_id", "field_no")
    record = models.ForeignKey(Record, models.CASCADE, db_index=False)
    field_no = models.IntegerField()
    count = models.IntegerField()
    at = models.BigIntegerField()
    value = models.BinaryField(max_length=8)


class Journal(models.Model):
    """What the triggers wrote since the last seal. ``mask`` is an integer over slots, or text of several."""

    id = models.BigAutoField(primary_key=True)
    table_no = models.IntegerField()
    pk_text = models.TextField()
    op = models.SmallIntegerField()
    mask = models.TextField(null=True)
    at = models.BigIntegerField()
    before = models.TextField(null=True)


class Applying(models.Model):
    """On SQLite: holds a row only within the transaction that applies a batch, the triggers' echo flag.

    On PostgreSQL always empty; the lock on this table is the instance's sealing lock.
    """

    id = models.IntegerField(primary_key=True)


class Problem(models.Model):
    """A change that could not be applied, with its reason; retried by itself and by hand."""

    id = models.BigAutoField(primary_key=True)
    link = models.ForeignKey(Link, models.CASCADE, related_name="problems")
    way = models.CharField(max_length=3, default="in")  # in | out
    table_no = models.IntegerField()
    uid = models.BinaryField(max_length=16)
    pk_text = models.TextField(blank=True)
    #: 0: the whole record waits; else the local field that waits.
    field_no = models.IntegerField(default=0)
    code = models.CharField(max_length=40)
    params = models.JSONField(default=dict)
    #: uid of the record that this change waits for, if it waits for one.
    waits_for = models.BinaryField(max_length=16, null=True, db_index=True)
    #: The parked change (MessagePack of `store.parked`), enough to apply it later.
    payload = models.BinaryField()
    created_at = models.BigIntegerField()
    tries = models.PositiveIntegerField(default=0)
    next_try = models.BigIntegerField(default=0, db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("link", "way", "uid", "field_no"), name="syncapp_problem_field"),
        )
        indexes = (
            # Those that wait for an edit here, whichever link they came by.
            models.Index(
                fields=("uid",),
                condition=models.Q(code__in=("ask", "sum_range")),
                name="syncapp_problem_standing",
            ),
        )


class Conflict(models.Model):
    """Two sides changed one field without knowing of each other: the value that lost is kept here."""

    id = models.BigAutoField(primary_key=True)
    link = models.ForeignKey(Link, models.CASCADE, related_name="conflicts")
    table_no = models.IntegerField()
    uid = models.BinaryField(max_length=16)
    pk_text = models.TextField()
    field_no = models.IntegerField()
    #: MessagePack values in wire form, relations as uids.
    won = models.BinaryField()
    lost = models.BinaryField()
    won_time = models.BigIntegerField()
    won_origin = models.BinaryField(max_length=20)
    lost_time = models.BigIntegerField()
    lost_origin = models.BinaryField(max_length=20)
    created_at = models.BigIntegerField(db_index=True)
    #: Empty while it is open; restored (the loser), kept (the winner), decided (the answer to a question).
    resolved = models.CharField(max_length=20, blank=True)


class LogEntry(models.Model):
    """One applied or sent field change, for people. Written while the link's log is on; bounded by age and count."""

    id = models.BigAutoField(primary_key=True)
    link = models.ForeignKey(Link, models.CASCADE, related_name="log_entries")
    at = models.BigIntegerField(db_index=True)
    way = models.CharField(max_length=3)  # in | out
    table_no = models.IntegerField()
    pk_text = models.TextField()
    uid = models.BinaryField(max_length=16)
    field_no = models.IntegerField()
    before = models.TextField(null=True)  # JSON of the wire value; None = not known
    after = models.TextField(null=True)
    #: queued, sent, replaced (a later edit went instead), filtered (kept here by the row filter), applied,
    #: superseded, duplicate, parked
    result = models.CharField(max_length=12)
    detail = models.CharField(max_length=40, blank=True)
    seq = models.BigIntegerField(default=0)

    class Meta:
        indexes = (
            models.Index(fields=("link", "way", "result", "seq"), name="syncapp_log_queue"),
            models.Index(fields=("uid",), condition=models.Q(result="queued"), name="syncapp_log_queued"),
        )
