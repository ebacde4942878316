"""TOML → `ConfigSpec`. Everything that can be judged from the file alone is judged here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from syncapp.core.mapping import Direction
from syncapp.core.rules import DEFAULT, Merge, Policy, Rule
from syncapp.errors import BadConfigFile, NotAvailable, SyncError, UnknownDirection, WrongSetting
from syncapp.store.config import filters, softly, transforms
from syncapp.store.config.reader import Reader, describe
from syncapp.store.config.series import read_series
from syncapp.store.config.spec import ConfigSpec, FieldSpec, LinkSpec, PasswordSpec, RuleSpec, TableSpec

MODES = ("active", "passive")
TRANSPORTS = ("websocket", "http", "local", "ftp")
USER_MATCHING = ("login", "full_name", "id")
LARGE_FILES = ("folder", "websocket", "wait")
MISSING = ("hold", "match", "empty")
APPLY = ("bulk", "save")
POLICIES = tuple(policy.value for policy in Policy)
MERGES = tuple(merge.value for merge in Merge)

_DIRECTIONS = frozenset(direction.value for direction in Direction)
_VARIABLE = "env:"


def parse(text: str) -> tuple[ConfigSpec, list[SyncError]]:
    """Read a configuration. With errors, the spec holds what could be read, so that more can be said about
    it.
    """
    try:
        document = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        return ConfigSpec(), [BadConfigFile(detail=str(error))]
    return parse_document(document)


def parse_document(document: dict[str, Any]) -> tuple[ConfigSpec, list[SyncError]]:
    """The same for a configuration that is already a dictionary."""
    errors: list[SyncError] = []
    reader = Reader("The configuration", document, errors)
    links = tuple(_links(reader.tables("link"), errors))
    rules = tuple(_rules(reader.tables("rule"), errors))
    series = [
        read_series(Reader(f"Series {number}", table, errors))
        for number, table in enumerate(reader.tables("series"), 1)
    ]
    reader.finish()
    return ConfigSpec(links, rules, tuple(spec for spec in series if spec is not None)), errors


# -- links --------------------------------------------------------------------------------------------------


def _links(tables: list[dict[str, Any]], errors: list[SyncError]) -> Iterator[LinkSpec]:
    for number, table in enumerate(tables, 1):
        reader = Reader(f"Link {number}", table, errors)
        reader.required("name")
        name = reader.text("name", most=100)
        if isinstance(table.get("name"), str) and not table["name"].strip():
            reader.wrong("name", "a text that is not empty")
        if name:
            reader.place = f'Link "{name}"'
        # Without a name nothing could be said about the rest; it is read for its errors all the same.
        link = _link(name, reader)
        if name:
            yield link


def _link(name: str, reader: Reader) -> LinkSpec:
    reader.required("mode")
    transport = reader.choice("transport", TRANSPORTS, "websocket")
    if transport != "websocket":
        reader.errors.append(NotAvailable(place=reader.place, what=f'transport = "{transport}"'))
    options, ftp_password = _options(reader)
    link = LinkSpec(
        name=name,
        mode=reader.choice("mode", MODES),
        transport=transport,
        remote_access=reader.flag("remote_access"),
        address=reader.text("address"),
        password=_password(reader, "password"),
        log=reader.flag("log"),
        interval=reader.number("interval", high=7 * 86400),
        user_matching=reader.choice("user_matching", USER_MATCHING, "login"),
        paused=reader.flag("paused") if reader.take("paused") is not None else None,
        options=options,
        ftp_password=ftp_password,
        tables=tuple(_table(name, table, reader) for table in reader.tables("table")),
    )
    reader.finish()
    return link


def _password(reader: Reader, key: str) -> PasswordSpec | None:
    """A password; empty in both ways if what was written is none, which is reported here."""
    value = reader.take(key)
    if value is None:
        return None
    written = value if isinstance(value, str) and "\0" not in value else ""
    spec = PasswordSpec(literal=written)
    if written.startswith(_VARIABLE):
        spec = PasswordSpec(variable=written.removeprefix(_VARIABLE).strip())
    if not (spec.literal.strip() or spec.variable):
        # Without the value itself: it must not get into an error message.
        expected = 'a text or "env:NAME"'
        reader.errors.append(
            WrongSetting(place=reader.place, key=key, expected=expected, found="empty or something else")
        )
    return spec


def _options(reader: Reader) -> tuple[dict[str, Any], PasswordSpec | None]:
    """The settings that have no column of their own: only those that are written, as written."""
    options: dict[str, Any] = {}

    def keep(key: str, value: Any) -> None:
        if reader.has(key):
            options[key] = value

    keep("plain_text", reader.flag("plain_text"))
    if proxy := _proxy(reader):
        options["proxy"] = proxy
    keep("large_file_bytes", int(reader.number("large_file_bytes", whole=True)))
    keep("large_files", reader.choice("large_files", LARGE_FILES))
    keep("fallback_after", reader.number("fallback_after"))
    keep("verify_every", reader.number("verify_every"))
    keep("upload_folder", reader.text("upload_folder"))
    keep("download_folder", reader.text("download_folder"))
    written = reader.table("ftp")
    if not written:
        return options, None
    options["ftp"], password = _ftp(Reader(f"{reader.place}, ftp", written, reader.errors))
    return options, password


def _proxy(reader: Reader) -> str:
    """The HTTP proxy on the way to the other program. It has no password: it is exported as it is."""
    proxy = reader.text("proxy")
    if proxy and ("@" in proxy or not proxy.startswith(("http://", "https://"))):
        expected = "the address of a proxy (http://host:port) without name and password"
        # Not the value: there may be a password in it.
        error = WrongSetting(place=reader.place, key="proxy", expected=expected, found="something else")
        reader.errors.append(error)
    return proxy


def _ftp(reader: Reader) -> tuple[dict[str, Any], PasswordSpec | None]:
    settings = {
        "host": reader.text("host"),
        "port": int(reader.number("port", 1, 65535, whole=True)) or 21,
        "user": reader.text("user"),
        "tls": reader.flag("tls"),
    }
    # Empty means none: an anonymous server wants none, and the file's example shows it so.
    password = _password(reader, "password") if reader.take("password") != "" else None
    reader.finish()
    return settings, password


# -- tables and fields --------------------------------------------------------------------------------------


def _table(link: str, table: dict[str, Any], parent: Reader) -> TableSpec:
    reader = Reader(f"{parent.place}, a table", table, parent.errors)
    reader.required("table")
    label = reader.text("table")
    if label:
        reader.place = f'{parent.place}, table "{label}"'
    match_by = reader.texts("match_by")
    filter = filters.read(reader)
    apply = reader.choice("apply", APPLY, "bulk")
    fields = tuple(
        _field(name, f"{label}.{name}", value, link, parent) for name, value in reader.table("fields").items()
    )
    reader.finish()
    return TableSpec(label, match_by, fields, filter, apply)


def _field(name: str, full: str, value: Any, link: str, parent: Reader) -> FieldSpec:
    if not isinstance(value, dict):
        return FieldSpec(name, _direction(value, full, link, parent.errors))
    reader = Reader(f'{parent.place}, field "{full}"', value, parent.errors)
    reader.required("direction")
    written = reader.take("direction")
    direction = _direction(written, full, link, parent.errors) if reader.has("direction") else Direction.OFF
    transform = transforms.read(reader)
    missing = reader.choice("missing", MISSING)
    spec = FieldSpec(
        name=name,
        direction=direction,
        peer=_peer(reader, full),
        lossy=reader.flag("lossy"),
        confirm=reader.flag("confirm"),
        missing=missing,
        transform=transform,
        map=_map(reader),
    )
    reader.finish()
    return spec


def _map(reader: Reader) -> dict[str, Any]:
    """Option values: the other program's, which TOML writes as texts, and ours."""
    written = reader.table("map")
    if all(isinstance(value, str | int) for value in written.values()):
        return written
    reader.wrong("map", 'a table of option values, such as { paid = "settled" }')
    return {}


def _direction(value: Any, full: str, link: str, errors: list[SyncError]) -> Direction:
    if isinstance(value, str) and value in _DIRECTIONS:
        return Direction(value)
    errors.append(UnknownDirection(link=link, field=full, direction=describe(value).strip('"')))
    return Direction.OFF


def _peer(reader: Reader, full: str) -> int | str | None:
    """A number, or ``table.field``; a bare name means that field of the table of the same name."""
    value = reader.take("peer")
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31:
        return value
    if isinstance(value, str) and value and not value.startswith(".") and not value.endswith("."):
        return value if "." in value else f"{full.rpartition('.')[0]}.{value}"
    reader.wrong("peer", 'the number of a field or "table.field"')
    return None


# -- rules ---------------------------------------------------------------------------------------


def _rules(tables: list[dict[str, Any]], errors: list[SyncError]) -> Iterator[RuleSpec]:
    for number, table in enumerate(tables, 1):
        reader = Reader(f"Rule {number}", table, errors)
        reader.required("field")
        field = reader.text("field")
        if field:
            reader.place = f'Rule of "{field}"'
        policy = reader.choice("policy", POLICIES, DEFAULT.policy.value)
        merge = reader.choice("merge", MERGES, DEFAULT.merge.value)
        deleted, alive = softly.read(reader, "deleted"), softly.read(reader, "alive")
        reader.finish()
        if field:
            yield RuleSpec(field, Rule(Policy(policy), Merge(merge)), deleted, alive)
