"""One of each message, for tests of the codec, the session and the vectors."""

from syncapp.core.changes import Batch, Cursor, Fate, Row, RowKind, Section, Totals, WireVersion
from syncapp.core.clock import make_origin
from syncapp.core.mapping import FieldOffer, FieldType, Kind, TableOffer
from syncapp.core.messages import (
    Ack,
    Bye,
    Challenge,
    Changes,
    Hello,
    Known,
    Lease,
    Leased,
    Limits,
    Message,
    Open,
    Ping,
    Pong,
    Proof,
    Proved,
)
from syncapp.core.series import Grant, Offer, Report
from syncapp.core.spans import Span

OFFICE, BRANCH = make_origin(bytes(range(16)), 1), make_origin(bytes(range(16, 32)), 1)
UID, OTHER_UID = (
    bytes.fromhex("018f2d6b8c007abc8def000000000001"),
    bytes.fromhex("018f2d6b8c007abc8def000000000002"),
)
CLOCK = 1_764_000_000_000_000

CATALOGUE = (
    TableOffer(
        1,
        "crm.Client",
        "client",
        (
            FieldOffer(11, "name", "name", FieldType(Kind.TEXT, length=200), True, True),
            FieldOffer(
                12,
                "manager",
                "manager",
                FieldType(Kind.RELATION, null=True, target="auth.User"),
                True,
                True,
                31,
            ),
            FieldOffer(13, "visits", "visits", FieldType(Kind.INTEGER), True, True, merge="sum", hub=True),
            FieldOffer(
                14, "tags", "tags", FieldType(Kind.RELATIONS, target="crm.Tag"), True, True, merge="union"
            ),
            FieldOffer(15, "status", "status", FieldType(Kind.TEXT, length=20), True, True, policy="ask"),
        ),
    ),
)

BATCH = Batch(
    Cursor(40, b"\x01" * 8),
    Cursor(42, b"\x02" * 8),
    [BRANCH, OFFICE, b""],
    [
        Section(
            1,
            [11, 12],
            [
                Row(UID, int(RowKind.WHOLE), [WireVersion(CLOCK, 0), None], ["Северный ветер", None]),
                Row(
                    OTHER_UID,
                    int(RowKind.FIELDS),
                    [WireVersion(CLOCK + 1, 0, ((1, CLOCK),))],
                    ["A", UID],
                    [UID],
                ),
            ],
        ),
        Section(
            1,
            [13, 14],
            [
                Row(
                    UID,
                    int(RowKind.FIELDS),
                    [WireVersion(CLOCK + 2, 0)],
                    [[[2, CLOCK, 5], [0, CLOCK + 2, -1]], [[OTHER_UID, CLOCK + 2, 0, True]]],
                ),
            ],
        ),
    ],
)

MESSAGES: dict[str, Message] = {
    "open": Open((1, 1), "syncapp 0.1.0", "", "n,,n=,r=fyko+d2lbbFgONRv9qkxdawL", CLOCK),
    "challenge": Challenge(1, "syncapp 0.1.0", "r=fyko…,s=QSXCR+Q6sek8bf92,i=4096", CLOCK),
    "proof": Proof("c=biws,r=fyko…,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", -1500),
    "proved": Proved("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="),
    "hello": Hello(
        OFFICE[:16],
        1,
        b"\x09" * 8,
        "Head office",
        "syncapp 0.1.0",
        "https://office.example.com",
        ("zstd",),
        Limits(),
        "login",
        CATALOGUE,
        Cursor(42, b"\x02" * 8),
        Cursor(7, b"\x03" * 8),
        "office-1",
        1_764_000_000_021,
        Known(1, 1_763_000_000_007, CLOCK - 60_000_000),
        False,
        (Offer(21, "contiguous", "INV-{:06}", "office", OFFICE[:16], 0),),
    ),
    "changes": Changes(BATCH),
    "ack": Ack(
        Cursor(42, b"\x02" * 8),
        Totals(10, 6, 2, 1, 1),
        [Fate(UID, 11, "superseded"), Fate(OTHER_UID, 0, "parked", "not_unique")],
        [OTHER_UID],
    ),
    "ping": Ping(3, CLOCK),
    "pong": Pong(3, CLOCK, Cursor(42, b"\x02" * 8), Cursor(45, b"\x04" * 8)),
    "lease": Lease((Report(22, 1, 1, 3, 51, (Span(151, 199),), 200),)),
    "leased": Leased((Grant(21, 1, 1, 4, (Span(301, 351),)),)),
    "bye": Bye("clock", {"offset": "400 s", "bound": "300 s"}),
}
