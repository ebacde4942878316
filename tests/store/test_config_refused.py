"""Configurations that are refused: each mistake in one sentence, and nothing changed."""

import pytest

from syncapp.models import Link
from syncapp.store import triggers
from tests.store.configs import ACTIVE, PASSIVE, apply, refused, snapshot

pytestmark = pytest.mark.django_db

LINK = 'Link "Branch"'
NAME = 'Link "Branch", field "crm.Client.name"'
FIELD = 'name = "both"'
TIME = "crm.Client.time_added"
TABLE = 'table = "crm.Client"'
MODE = 'mode = "passive"'

Cases = dict[str, tuple[str, list[str]]]

#: Instead of the one field of PASSIVE, and (parts of) the errors.
FIELDS: Cases = {
    "unknown field": ('nmae = "both"', [f'{LINK}: table "crm.Client" has no field "nmae". Its fields: name']),
    "unknown direction": ('name = "up"', [f'{NAME}: "up" is not a direction.']),
    "direction in upper case": ('name = "BOTH"', [f'{NAME}: "BOTH" is not a direction.']),
    "direction as a number": ("name = 1", [f'{NAME}: "1" is not a direction.']),
    "direction missing": ("name = { peer = 1 }", [f'{NAME}: "direction" is missing.']),
    "peer as a boolean": (
        'name = { direction = "both", peer = true }',
        [f'{NAME}: "peer" must be the number'],
    ),
    "peer zero": ('name = { direction = "both", peer = 0 }', [f'{NAME}: "peer" must be the number']),
    "lossy as text": (
        'name = { direction = "both", lossy = "yes" }',
        [f'{NAME}: "lossy" must be true or false'],
    ),
    "unknown key of a field": (
        'name = { direction = "both", pere = 1 }',
        [f'{NAME}: there is no setting "pere". Did you mean "peer"?'],
    ),
    "two fields with one peer": (
        'name = { direction = "both", peer = 5 }\nnote = { direction = "both", peer = 5 }',
        [f'{LINK}: fields "crm.Client.name" and "crm.Client.note" name the same field of the other'],
    ),
    "two fields with one peer by name": (
        'name = { direction = "both", peer = "a.B.c" }\nnote = { direction = "both", peer = "A.b.c" }',
        ["name the same field of the other program, A.b.c."],
    ),
    "two fields with one column": (
        'time_added = "both"\ncreated_at = "both"',
        [f'{LINK}: fields "crm.Client.created_at" and "crm.Client.time_added" are one column'],
    ),
    "key without confirmation": ('id = "both"', [f'{LINK}, field "crm.Client.id": local record numbers']),
    "relation to a table outside": (
        'tags = "both"',
        [f'{LINK}, field "crm.Client.tags" refers to table "crm.Tag"'],
    ),
    "missing on a plain field": (
        'name = { direction = "both", missing = "hold" }',
        [f'{NAME}: "missing" must be left out'],
    ),
    "map that is not a table": (
        'name = { direction = "both", map = "paid" }',
        [f'{NAME}: "map" must be a table, not "paid".'],
    ),
    "map with a list": (
        'name = { direction = "both", map = { paid = ["x"] } }',
        [f'{NAME}: "map" must be a table of option values'],
    ),
    "map of a date": (
        'time_added = { direction = "both", map = { a = "b" } }',
        [
            f'field "{TIME}": "map" must be left out (it is for texts, whole numbers and truth values), not datetime'
        ],
    ),
    "map to another type": (
        'name = { direction = "both", map = { a = 5 } }',
        [f'{NAME}: "map" must be a table to values of crm.Client.name, not 5 is not a text'],
    ),
    "map that cannot be turned round": (
        'name = { direction = "both", map = { a = "x", b = "x" } }',
        [f'{NAME}: the map gives "x" for more than one value'],
    ),
    "missing on a user": (
        'manager = { direction = "both", missing = "match" }',
        ['field "crm.Client.manager": "missing" must be left out'],
    ),
    "match without match fields": (
        'tags = { direction = "both", missing = "match" }',
        ['field "crm.Client.tags": its target "crm.Tag" is to be found by match fields, but has none'],
    ),
    "unknown value of missing": (
        'name = { direction = "both", missing = "wait" }',
        [f'{NAME}: "missing" must be hold or match or empty'],
    ),
    "table twice": (
        'name = "both"\n[[link.table]]\ntable = "CRM.client"',
        [f'{LINK}: table "CRM.client" is listed twice.'],
    ),
}

#: Added to its table.
TABLES: Cases = {
    "unknown apply": ('apply = "all"', [f'{LINK}, table "crm.Client": "apply" must be bulk or save']),
    "unknown match field": ('match_by = ["inn"]', [f'{LINK}: table "crm.Client" has no field "inn"']),
    "match by a list": (
        'match_by = ["tags"]',
        [f'{LINK}, table "crm.Client": records cannot be matched by "tags"'],
    ),
    "match by what syncapp keeps": ('match_by = ["creator"]', ['matched by "creator"']),
    "match_by as text": ('match_by = "tax_id"', ['"match_by" must be a list of different texts']),
    "match_by doubled": ('match_by = ["name", "name"]', ['"match_by" must be a list of different texts']),
    "unknown key of a table": ("matchby = []", ['there is no setting "matchby". Did you mean "match_by"?']),
}

#: Added to its link.
LINKS: Cases = {
    "unknown key of a link": (
        "intervall = 1",
        [f'{LINK}: there is no setting "intervall". Did you mean "interval"?'],
    ),
    "a key like no other": ("zzz = 1", [f'{LINK}: there is no setting "zzz". Possible here: name,']),
    "unknown transport": (
        'transport = "pigeon"',
        [f'{LINK}: "transport" must be websocket or http or local or ftp'],
    ),
    "http": ('transport = "http"', [f'{LINK}: transport = "http" is not available in this version.']),
    "folder": ('transport = "local"', [f'{LINK}: transport = "local" is not available in this version.']),
    "ftp": ('transport = "ftp"', [f'{LINK}: transport = "ftp" is not available in this version.']),
    "negative interval": (
        "interval = -1",
        [f'{LINK}: "interval" must be a number from 0 to 604800, not -1.'],
    ),
    "interval that is no number": ("interval = nan", [f'{LINK}: "interval" must be a number']),
    "interval as text": ('interval = "1"', [f'{LINK}: "interval" must be a number', 'not "1".']),
    "log as a number": ("log = 1", [f'{LINK}: "log" must be true or false, not 1.']),
    "unknown user matching": ('user_matching = "email"', [f'{LINK}: "user_matching" must be login or']),
    "half a byte": ("large_file_bytes = 1.5", [f'{LINK}: "large_file_bytes" must be a whole number']),
    "proxy with a password": (
        'proxy = "http://u:secret@proxy:3128"',
        [f'{LINK}: "proxy" must be the address of a proxy'],
    ),
    "proxy of another kind": ('proxy = "proxy"', [f'{LINK}: "proxy" must be the address of a proxy']),
    "unknown large_files": ('large_files = "no"', [f'{LINK}: "large_files" must be folder or']),
    "port out of range": (
        'ftp = { host = "x", port = 70000 }',
        [f'{LINK}, ftp: "port" must be a whole number from 1 to 65535'],
    ),
    "unknown key of ftp": (
        'ftp = { hots = "x" }',
        [f'{LINK}, ftp: there is no setting "hots". Did you mean "host"?'],
    ),
    "a key twice": ('mode = "passive"', ["The configuration is not valid TOML: "]),
}

#: In front of its link.
RULES: Cases = {
    "unknown key of the file": (
        "[[links]]",
        ['The configuration: there is no setting "links". Did you mean "link"?'],
    ),
    "sum of a text": (
        '[[rule]]\nfield = "crm.Client.name"\nmerge = "sum"',
        ['Rule of "crm.Client.name": only whole numbers and decimals', "not text(200)"],
    ),
    "union of a number": (
        '[[rule]]\nfield = "crm.Payment.amount"\nmerge = "union"',
        ['Rule of "crm.Payment.amount": only many-to-many relations can be united, not decimal(12,2)'],
    ),
    "policy beside a sum": (
        '[[rule]]\nfield = "crm.Payment.amount"\nmerge = "sum"\npolicy = "ask"',
        ['Rule of "crm.Payment.amount": with merge = "sum" nothing loses'],
    ),
    "policy of the record status": (
        '[[rule]]\nfield = "crm.Client.record_status"\npolicy = "ask"',
        ['Rule of "crm.Client.record_status": "policy" must be "latest" for this field, not "ask".'],
    ),
    "two rules of one field": (
        '[[rule]]\nfield = "crm.Client.name"\n[[rule]]\nfield = "CRM.client.name"',
        ['Two rules are about "crm.Client.name".'],
    ),
    "rule with an unknown policy": (
        '[[rule]]\nfield = "crm.Client.name"\npolicy = "first"',
        ['"policy" must be latest or active'],
    ),
    "rule of an unknown field": (
        '[[rule]]\nfield = "crm.Client.nmae"',
        ['Rule of "crm.Client.nmae": "field" must be the name of a field here'],
    ),
    "rule without a field": ('[[rule]]\npolicy = "latest"', ['Rule 1: "field" is missing.']),
}

SERIES: dict[str, tuple[str, list[str]]] = {
    "without an owner": ("", ['Series of "crm.Invoice.number": "owner" is missing.']),
    "mode": ('owner = "office"\nmode = "leased"', ['"mode" must be ranges or contiguous, not "leased"']),
    "format": ('owner = "office"\nformat = "{.__class__}"', ['"format" must be a text with one place']),
    "too long": (
        'owner = "office"\nformat = "INVOICE-NUMBER-OF-THIS-COMPANY-{:06}"',
        ['"format" must be a format whose numbers fit into text(32)'],
    ),
    "unknown key": ('owner = "office"\nstart = 7', ['"start"']),
    "twice": (
        'owner = "office"\n[[series]]\nfield = "CRM.invoice.number"\nowner = "office"',
        ['"field" must be a field without another series'],
    ),
    "another field": (
        'owner = "office"\n[[series]]\nfield = "crm.Invoice.numbr"\nowner = "office"',
        ['Series of "crm.Invoice.numbr": "field" must be the name of a field here'],
    ),
    "a date": (
        'owner = "office"\n[[series]]\nfield = "crm.Invoice.issued_on"\nowner = "office"',
        ['"field" must be a field of texts or whole numbers, not "date"'],
    ),
}

#: A part of PASSIVE, and what stands there instead.
OTHERS: dict[str, tuple[str, str, list[str]]] = {
    "unknown table": (
        "crm.Client",
        "crm.Cleint",
        [f'{LINK}: there is no table "crm.Cleint" here. Tables on offer: crm.Client'],
    ),
    "table not on offer": ("crm.Client", "auth.User", [f'{LINK}: there is no table "auth.User" here.']),
    "fields as a list": (
        '[link.table.fields]\nname = "both"',
        "fields = 1",
        [f'{LINK}, table "crm.Client": "fields" must be a table, not 1.'],
    ),
    "table without a name": ('table = "crm.Client"', "", [f'{LINK}, a table: "table" is missing.']),
    "link without a name": ('name = "Branch"', "", ['Link 1: "name" is missing.']),
    "link with an empty name": (
        'name = "Branch"',
        'name = " "',
        ['Link 1: "name" must be a text that is not empty'],
    ),
    "link with a number for a name": (
        'name = "Branch"',
        "name = 5",
        ['Link 1: "name" must be a text, not 5.'],
    ),
    "link with a control character": (
        'name = "Branch"',
        'name = "a\\u0007b"',
        ['Link 1: "name" must be a text of at most 100 printable characters'],
    ),
    "link with a long name": (
        'name = "Branch"',
        f'name = "{"x" * 101}"',
        ['Link 1: "name" must be a text of at most 100 printable characters'],
    ),
    "link without a mode": ('mode = "passive"', "", [f'{LINK}: "mode" is missing.']),
    "unknown mode": (
        'mode = "passive"',
        'mode = "pasive"',
        [f'{LINK}: "mode" must be active or passive, not "pasive".'],
    ),
    "active without an address": (
        'mode = "passive"',
        'mode = "active"',
        [f"{LINK} is active but has no address."],
    ),
    "address without a scheme": (
        'mode = "passive"',
        'mode = "active"\naddress = "office"',
        [f'{LINK}: "office" is not an address of a program'],
    ),
    "address with a password": (
        'mode = "passive"',
        'mode = "active"\naddress = "https://u:p@x"',
        [f"{LINK}: ", "a name or password"],
    ),
    "no password": ('password = "swordfish"', "", [f"{LINK} has no password."]),
    "empty password": (
        'password = "swordfish"',
        'password = ""',
        [f'{LINK}: "password" must be a text or "env:NAME"'],
    ),
    "variable that is not set": (
        '"swordfish"',
        '"env:NOT_SET"',
        [f"{LINK}: the environment variable NOT_SET is not set or empty."],
    ),
    "variable without a name": (
        '"swordfish"',
        '"env:"',
        [f'{LINK}: "password" must be a text or "env:NAME"'],
    ),
    "link as a table": (
        "[[link]]",
        "[link]",
        ['The configuration: "link" must be a list of tables, each starting with [[link]]'],
    ),
    "no TOML": ("[[link]]", "[[link", ["The configuration is not valid TOML: ", "line 2"]),
}


@pytest.mark.parametrize("case", FIELDS)
def test_a_bad_field(case: str) -> None:
    new, parts = FIELDS[case]
    check(FIELD, new, parts)


@pytest.mark.parametrize("case", TABLES)
def test_a_bad_table(case: str) -> None:
    new, parts = TABLES[case]
    check(TABLE, f"{TABLE}\n{new}", parts)


@pytest.mark.parametrize("case", LINKS)
def test_a_bad_link(case: str) -> None:
    new, parts = LINKS[case]
    check(MODE, f"{MODE}\n{new}", parts)


@pytest.mark.parametrize("case", RULES)
def test_a_bad_rule(case: str) -> None:
    new, parts = RULES[case]
    check("[[link]]", f"{new}\n[[link]]", parts)


@pytest.mark.parametrize("case", SERIES)
def test_a_bad_series(case: str) -> None:
    new, parts = SERIES[case]
    check("[[link]]", f'[[series]]\nfield = "crm.Invoice.number"\n{new}\n[[link]]', parts)


@pytest.mark.parametrize("case", OTHERS)
def test_another_mistake(case: str) -> None:
    check(*OTHERS[case])


def check(old: str, new: str, parts: list[str]) -> None:
    """Make the mistake; each of ``parts`` must be in an error, and each error must have one of them."""
    assert PASSIVE.count(old) == 1
    apply(ACTIVE)
    errors = refused(PASSIVE.replace(old, new))
    for part in parts:
        assert any(part in error for error in errors), errors
    for error in errors:
        assert any(part in error for part in parts), error


def test_file_fields_wait_for_a_later_version() -> None:
    text = PASSIVE.replace("crm.Client", "testapp.Everything").replace(FIELD, 'file = "both"')
    (error,) = refused(text)
    assert error.startswith('Link "Branch", field "testapp.Everything.file": a file field is not available')


def test_all_errors_are_told_at_once() -> None:
    text = PASSIVE.replace('mode = "passive"', 'mode = "active"\nlogg = true').replace(
        FIELD, 'a = "both"\nphone = "x"'
    )
    assert [error.partition(":")[0] for error in refused(text)] == [
        'Link "Branch", field "crm.Client.phone"',
        'Link "Branch"',
        'Link "Branch" is active but has no address. Add the address of the other program.',
        'Link "Branch"',
    ]


def test_duplicate_link_names() -> None:
    errors = refused(PASSIVE + PASSIVE.replace("Branch", "branch"))
    assert errors == ['Two links are called "branch". Give each link a name of its own.']


def test_a_good_link_is_not_written_beside_a_bad_one() -> None:
    assert len(refused(ACTIVE + PASSIVE.replace("crm.Client", "crm.Nothing"))) == 1
    assert not Link.objects.exists()


def test_errors_never_show_a_password() -> None:
    text = PASSIVE.replace('password = "swordfish"', 'password = ["swordfish"]').replace(
        'mode = "passive"', 'mode = "x"'
    )
    assert "swordfish" not in "\n".join(refused(text))


def test_a_failure_while_writing_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(using: str) -> list[str]:
        raise RuntimeError("no triggers today")

    before = snapshot()
    monkeypatch.setattr(triggers, "install_all", fail)
    with pytest.raises(RuntimeError):
        apply(ACTIVE)
    assert snapshot() == before
