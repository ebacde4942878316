"""A configuration as values: what a file says, before it is compared with the program's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as _field
from typing import Any

from syncapp.core.mapping import Direction
from syncapp.core.rules import Rule


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field of a link table. ``peer``: number, ``table.field``, or None: the field of the same name."""

    name: str
    direction: Direction
    peer: int | str | None = None
    lossy: bool = False
    #: For the field ID: local keys are mapped on purpose.
    confirm: bool = False
    #: For relations: what happens while the target is missing; empty: as usual (hold).
    missing: str = ""
    #: For one-way fields: the steps as written (`config.transforms.Written`).
    transform: tuple[Any, ...] = ()
    #: The other program's option values and ours.
    map: Mapping[str, Any] = _field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table of a link, as written: its label may be in any case of letters."""

    label: str
    match_by: tuple[str, ...] = ()
    fields: tuple[FieldSpec, ...] = ()
    #: The row filter: column → the values that pass, as written; None for null.
    filter: Mapping[str, tuple[Any, ...]] = _field(default_factory=dict)
    #: ``bulk``, or ``save``: through the models' own code.
    apply: str = "bulk"


@dataclass(frozen=True, slots=True)
class PasswordSpec:
    """A password as written. ``variable``: it stands in this environment variable; else ``literal`` is it."""

    literal: str = _field(default="", repr=False)
    variable: str = ""


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """One link. None: not said, so an existing link keeps what it has."""

    name: str
    mode: str
    transport: str = "websocket"
    remote_access: bool = False
    address: str = ""
    password: PasswordSpec | None = None
    log: bool = False
    interval: float = 0.0
    user_matching: str = "login"
    paused: bool | None = None
    #: Settings without a column of their own, as written; passwords are not among them.
    options: dict[str, Any] = _field(default_factory=dict)
    ftp_password: PasswordSpec | None = None
    tables: tuple[TableSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """The rule of one field, which is named as ``crm.Client.phone``."""

    field: str
    rule: Rule
    #: Of a record status: the columns that say that a row is deleted, and that it lives; None for null.
    deleted: Mapping[str, Any] = _field(default_factory=dict)
    alive: Mapping[str, Any] = _field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """A shared series of numbers; ``format`` is empty where none is written."""

    field: str
    owner: str
    mode: str = "ranges"
    format: str = ""


@dataclass(frozen=True, slots=True)
class ConfigSpec:
    """A whole file."""

    links: tuple[LinkSpec, ...] = ()
    rules: tuple[RuleSpec, ...] = ()
    series: tuple[SeriesSpec, ...] = ()
