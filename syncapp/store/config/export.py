"""The configuration as TOML, without a single password in it."""

from __future__ import annotations

import re
from typing import Any

import tomlkit
from tomlkit.items import AoT, InlineTable, Table

from syncapp import conf
from syncapp.core.address import PEER_PATH
from syncapp.core.mapping import Direction
from syncapp.models import Link, LinkTable, Mapping
from syncapp.store.config import filters, transforms
from syncapp.store.config.rules import export_rules
from syncapp.store.config.series import export_series
from syncapp.store.config.write import FTP_SECRET, PASSWORD_VARIABLE

#: Settings of `Link.options` in the order of the documentation.
_OPTIONS = (
    "plain_text",
    "proxy",
    "large_file_bytes",
    "large_files",
    "fallback_after",
    "verify_every",
    "upload_folder",
    "download_folder",
)


def export(using: str = "default") -> str:
    """All links with their tables and fields, all rules and series, ready for `apply`: here it would change nothing."""
    document = tomlkit.document()
    links = tomlkit.aot()
    for link in Link.objects.using(using).order_by("pk"):
        links.append(_link(link, using))
    if len(links):
        document.append("link", links)
    if len(rules := export_rules(using)):
        document.append("rule", rules)
    if len(series := export_series(using)):
        document.append("series", series)
    return tomlkit.dumps(document)


def _link(link: Link, using: str) -> Table:
    table = tomlkit.table()
    if link.mode == Link.Mode.PASSIVE:
        site = conf.current().public_url or "https://<this program>"
        table.add(tomlkit.comment(f"Address for the active program: {site}{PEER_PATH}{link.code}/"))
    for key in ("name", "mode", "transport"):
        table.add(key, getattr(link, key))
    if link.remote_access:
        table.add("remote_access", True)
    if link.address:
        table.add("address", link.address)
    _password(table, link)
    table.add("log", link.log)
    table.add("interval", int(link.interval) if link.interval.is_integer() else link.interval)
    table.add("user_matching", link.user_matching)
    if link.paused:
        table.add("paused", True)
    for key in _OPTIONS:
        if key in link.options:
            table.add(key, link.options[key])
    if "ftp" in link.options:
        table.add("ftp", _ftp(link.options["ftp"]))
    if len(tables := _tables(link, using)):
        table.append("table", tables)
    return table


def _password(table: Table, link: Link) -> None:
    if variable := link.options.get(PASSWORD_VARIABLE):
        table.add("password", f"env:{variable}")
        return
    # A comment, since the line as such would ask for a variable that nobody set: without it, a link that is
    # there keeps its password, and one that is not asks for it.
    table.add(
        tomlkit.comment(
            f'password = "env:{variable_for(link.name)}"  # not exported; kept where the link exists'
        )
    )


def variable_for(name: str) -> str:
    """A name for the environment variable of a link's password: letters, digits and underscores."""
    letters = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    return f"SYNCAPP_PASSWORD_{letters or 'LINK'}"


def _ftp(options: dict[str, Any]) -> InlineTable:
    table = tomlkit.inline_table()
    for key, value in options.items():
        if key == PASSWORD_VARIABLE:
            table.append("password", f"env:{value}")
        elif key != FTP_SECRET:
            table.append(key, value)
    return table


def _tables(link: Link, using: str) -> AoT:
    tables = tomlkit.aot()
    mappings: dict[int, list[Mapping]] = {}
    rows = (
        Mapping.objects.using(using).filter(link=link, field__retired=False).exclude(direction=Direction.OFF)
    )
    for mapping in rows.select_related("field").order_by("field__slot"):
        mappings.setdefault(mapping.field.table_id, []).append(mapping)
    listed = LinkTable.objects.using(using).filter(link=link, table__retired=False).select_related("table")
    for row in listed.order_by("pk"):
        table = tomlkit.table()
        table.add("table", row.table.label)
        if row.match_by:
            table.add("match_by", row.match_by)
        if filter := row.options.get("filter"):
            table.add("filter", filters.exported(filter))
        if "apply" in row.options:
            table.add("apply", row.options["apply"])
        fields = tomlkit.table()
        for mapping in mappings.get(row.table_id, ()):
            fields.add(mapping.field.name, _field(mapping))
        table.append("fields", fields)
        tables.append(table)
    return tables


def _field(mapping: Mapping) -> str | InlineTable:
    peer = mapping.peer_number or mapping.peer_name
    if not (peer or mapping.lossy or mapping.options):
        return mapping.direction
    table = tomlkit.inline_table()
    table.append("direction", mapping.direction)
    if peer:
        table.append("peer", peer)
    if mapping.lossy:
        table.append("lossy", True)
    for key, value in mapping.options.items():
        if key == "transform":
            value = transforms.exported(value)
        table.append(key, _inline(value) if isinstance(value, dict) else value)
    return table


def _inline(values: dict[str, Any]) -> InlineTable:
    table = tomlkit.inline_table()
    for key, value in values.items():
        table.append(key, value)
    return table
