"""What the tests of the configuration share."""

from typing import Any

import pytest

from syncapp.errors import ConfigRefused
from syncapp.models import Field, Instance, Link, LinkState, LinkTable, Mapping
from syncapp.store import config, triggers

ENV = {"LINK_PASSWORD": "swordfish", "OTHER": "mackerel"}

ACTIVE = """
[[link]]
name = "Head office"
mode = "active"
remote_access = true
address = "https://office.example.com"
password = "env:LINK_PASSWORD"
log = true
interval = 2.5
user_matching = "full_name"
large_file_bytes = 1000
proxy = "http://proxy:3128"
plain_text = true
fallback_after = 60
upload_folder = "/srv/up"
ftp = { host = "ftp.example.com", port = 2121, user = "u", password = "tuna", tls = true }

[[link.table]]
table = "crm.Tag"
[link.table.fields]
name = "both"

[[link.table]]
table = "crm.client"
match_by = ["tax_id"]
[link.table.fields]
name = "both"
tax_id = "both"
phone = { direction = "upload", peer = 17 }
note = { direction = "download", peer = "shop.Buyer.text", lossy = true }
email = "off"
tags = { direction = "both", missing = "hold" }
record_status = "both"
"""

PASSIVE = """
[[link]]
name = "Branch"
mode = "passive"
password = "swordfish"
[[link.table]]
table = "crm.Client"
[link.table.fields]
name = "both"
"""


def apply(text: str, env: dict[str, str] | None = None) -> list[str]:
    """Apply a configuration in the environment `ENV`."""
    return config.apply(text, env=ENV if env is None else env)


def mappings(link: str = "Head office") -> dict[str, str]:
    """Label of every mapped field of a link → direction."""
    rows = Mapping.objects.filter(link__name=link).select_related("field__table")
    return {str(row.field): row.direction for row in rows}


def number(label: str) -> int:
    """Number of the field ``app.Model.field``."""
    model, _, name = label.rpartition(".")
    return Field.objects.get(table__label=model, name=name).number


def snapshot() -> dict[str, list[Any]]:
    """Everything that a configuration writes."""
    models = (Link, LinkTable, LinkState, Mapping, Instance)
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in models}


def refused(text: str, env: dict[str, str] | None = None) -> list[str]:
    """The errors of a configuration, which must change nothing."""
    before, installed = snapshot(), triggers.verify()
    with pytest.raises(ConfigRefused) as caught:
        apply(text, env)
    assert snapshot() == before
    assert triggers.verify() == installed
    assert str(caught.value) == "\n".join(str(error) for error in caught.value.errors)
    return [str(error) for error in caught.value.errors]
