"""Compares a configuration with this program's tables, its environment and what is known of its peers.

`validate` gives a `Plan` in which every name is resolved, and all errors. A plan is worth something without
errors only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import msgspec

from syncapp.core.address import parse_address
from syncapp.core.mapping import Catalogue, Direction, FieldOffer, Kind, TableOffer
from syncapp.core.relations import EMPTY, MATCH, UNMATCHABLE
from syncapp.errors import (
    BadAddress,
    BadMatchField,
    DuplicateLink,
    DuplicatePeerField,
    DuplicateTable,
    EmptyRequired,
    LinkAddress,
    MatchNeedsFields,
    MissingAddress,
    MissingPassword,
    NotAvailable,
    SameColumn,
    SyncError,
    TargetNotLinked,
    UnconfirmedKey,
    UnknownField,
    UnknownNumber,
    UnknownPeerField,
    UnknownTable,
    UnsetVariable,
    WrongSetting,
)
from syncapp.models import Link, LinkState
from syncapp.store.catalogue import CatalogueField, CatalogueTable, tables
from syncapp.store.config import filters, softly, transforms
from syncapp.store.config.fits import check_map, check_types
from syncapp.store.config.rules import RulePlan, plan_rules, two_way_links
from syncapp.store.config.series import SeriesPlan, plan_series
from syncapp.store.config.spec import ConfigSpec, FieldSpec, LinkSpec, PasswordSpec, TableSpec

#: Most names that an error lists.
_OFFER = 30
#: Kinds whose values cannot be compared when records are matched.
_UNMATCHABLE = frozenset({Kind.RELATIONS, Kind.STATUS, Kind.FILE, Kind.JSON, Kind.BINARY})
_RELATIONS = frozenset({Kind.RELATION, Kind.RELATIONS})


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """A field to be mapped, found in the catalogue."""

    entry: CatalogueField
    spec: FieldSpec
    #: As `models.Mapping.options` keeps it.
    transform: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class TablePlan:
    """A table of a link, found in the catalogue."""

    table: CatalogueTable
    match_by: tuple[str, ...]
    fields: tuple[FieldPlan, ...]
    #: As `models.LinkTable.options` keeps them.
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A link as it is to become. ``existing`` is what it is now; passwords of None stay as they are."""

    spec: LinkSpec
    existing: Link | None
    tables: tuple[TablePlan, ...]
    password: str | None = field(default=None, repr=False)
    ftp_password: str | None = field(default=None, repr=False)


def validate(
    spec: ConfigSpec, env: Mapping[str, str], using: str = "default"
) -> tuple[list[LinkPlan], list[RulePlan], list[SeriesPlan], list[SyncError]]:
    """Resolve every name of ``spec``; report whatever does not fit."""
    errors: list[SyncError] = []
    catalogue = {label.lower(): table for label, table in tables(using).items()}
    links = {link.name: link for link in Link.objects.using(using).all()}
    peers = _peer_catalogues(using)
    errors += [DuplicateLink(link=name) for name in _twice(link.name for link in spec.links)]
    plans = []
    for link in spec.links:
        existing = links.get(link.name)
        peer = peers.get(existing.pk, ()) if existing else ()
        plans.append(_Validator(link, existing, catalogue, peer, env, errors).plan())
    known = {name: _Peer(peers.get(link.pk, ())) for name, link in links.items()}

    def offer(link: str, peer: int | str | None, label: str, name: str) -> FieldOffer | None:
        return known[link].find(peer, label, name) if link in known else None

    elsewhere = softly.mapped_elsewhere(using, [link.name for link in spec.links]) if spec.rules else []
    two_way = two_way_links(plans, offer, using)
    rules, found = plan_rules(spec.rules, catalogue, two_way, plans, elsewhere)
    series, wrong = plan_series(spec.series, catalogue)
    return plans, rules, series, errors + found + wrong


def _peer_catalogues(using: str) -> dict[int, Catalogue]:
    found = {}
    for link, packed in LinkState.objects.using(using).values_list("link_id", "peer_catalogue"):
        try:
            found[link] = msgspec.msgpack.decode(packed, type=Catalogue) if packed else ()
        except msgspec.MsgspecError:
            # A peer of another version announced something unknown: nothing can be checked ahead; the session
            # will.
            found[link] = ()
    return found


def _twice(names: Iterable[str]) -> Iterator[str]:
    """Names that occur more than once, whatever the case of letters; each once."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name.casefold()] = seen.get(name.casefold(), 0) + 1
        if seen[name.casefold()] == 2:
            yield name


def _offer(name: str, names: Iterable[str]) -> str:
    """What to show instead of the unknown ``name``: similar names if there are any, else the first of all."""
    known = list(names)
    similar = get_close_matches(name, known, n=5, cutoff=0.5)
    shown = similar or known[:_OFFER]
    return ", ".join(shown) + ("…" if len(shown) < len(known) else "") if shown else "none"


class _Validator:
    """Validates one link."""

    def __init__(
        self,
        spec: LinkSpec,
        existing: Link | None,
        catalogue: Mapping[str, CatalogueTable],
        peer: Catalogue,
        env: Mapping[str, str],
        errors: list[SyncError],
    ) -> None:
        self.spec = spec
        self.existing = existing
        self.catalogue = catalogue
        self.env = env
        self.errors = errors
        self.peer = _Peer(peer)
        self.listed = {table.label.lower(): table for table in spec.tables}

    def plan(self) -> LinkPlan:
        self._check_address()
        for label in _twice(table.label for table in self.spec.tables):
            self.errors.append(DuplicateTable(link=self.spec.name, table=label))
        planned = [table for spec in self.spec.tables if (table := self._table(spec)) is not None]
        self._check_peers_once(planned)
        return LinkPlan(
            spec=self.spec,
            existing=self.existing,
            tables=tuple(planned),
            password=self._link_password(),
            ftp_password=self._password(self.spec.ftp_password, "ftp.password"),
        )

    # -- the link itself --

    def _check_address(self) -> None:
        link = self.spec
        if not link.address:
            if link.mode == Link.Mode.ACTIVE:
                self.errors.append(MissingAddress(link=link.name))
            return
        try:
            parse_address(link.address)
        except BadAddress as error:
            self.errors.append(LinkAddress(link=link.name, **error.params))

    def _link_password(self) -> str | None:
        if self.spec.password is None and not (self.existing and self.existing.secret):
            self.errors.append(MissingPassword(link=self.spec.name))
        return self._password(self.spec.password, "password")

    def _password(self, password: PasswordSpec | None, key: str) -> str | None:
        """The password itself; None where none was written, so that the stored one stays."""
        if password is None or not password.variable:
            return (password.literal or None) if password else None
        value = self.env.get(password.variable)
        if not value:
            place = f'Link "{self.spec.name}"'
            self.errors.append(UnsetVariable(place=place, name=password.variable, key=key))
        return value

    # -- its tables --

    def _table(self, spec: TableSpec) -> TablePlan | None:
        table = self.catalogue.get(spec.label.lower())
        if table is None:
            if spec.label:  # a missing name was reported already
                offer = _offer(spec.label, (t.label for t in self.catalogue.values()))
                self.errors.append(UnknownTable(link=self.spec.name, table=spec.label, offer=offer))
            return None
        fields = tuple(plan for f in spec.fields if (plan := self._field(table, f)) is not None)
        self._check_match_by(table, spec.match_by)
        self._check_columns(table, fields)
        return TablePlan(table, spec.match_by, fields, self._table_options(table, spec))

    def _table_options(self, table: CatalogueTable, spec: TableSpec) -> dict[str, Any]:
        filter, errors = filters.check(
            self.spec.name, table, spec.filter, lambda name: self._find(table, name)
        )
        self.errors += errors
        options: dict[str, Any] = {"filter": filter} if filter else {}
        if spec.apply == "save":
            options["apply"] = spec.apply
        return options

    def _find(self, table: CatalogueTable, name: str) -> CatalogueField | None:
        entry = table.fields.get(name)
        if entry is None:
            offer = _offer(name, table.fields)
            self.errors.append(UnknownField(link=self.spec.name, table=table.label, field=name, offer=offer))
        return entry

    def _check_match_by(self, table: CatalogueTable, names: Iterable[str]) -> None:
        for name in names:
            entry = self._find(table, name)
            if entry and (entry.type.kind in _UNMATCHABLE or not entry.description.column):
                self.errors.append(
                    BadMatchField(
                        link=self.spec.name, table=table.label, field=name, kind=entry.type.kind.value
                    )
                )

    def _check_columns(self, table: CatalogueTable, fields: Iterable[FieldPlan]) -> None:
        """Report two fields with one column, as time added and the model's own field for it: who wins?"""
        owners: dict[str, str] = {}
        for plan in fields:
            column = plan.entry.description.column
            if not column or plan.spec.direction is Direction.OFF:
                continue
            if column in owners:
                params = {
                    "field": f"{table.label}.{plan.entry.name}",
                    "other": f"{table.label}.{owners[column]}",
                }
                self.errors.append(SameColumn(link=self.spec.name, **params))
            owners[column] = plan.entry.name

    # -- its fields --

    def _field(self, table: CatalogueTable, spec: FieldSpec) -> FieldPlan | None:
        entry = self._find(table, spec.name)
        if entry is None:
            return None
        full = f"{table.label}.{spec.name}"
        kind = entry.type.kind
        if spec.missing and kind not in _RELATIONS:
            self.errors.append(
                WrongSetting(
                    place=f'Link "{self.spec.name}", field "{full}"',
                    key="missing",
                    expected="left out (it is for relations)",
                    found=f'"{spec.missing}"',
                )
            )
        if spec.map:
            self.errors += check_map(self.spec.name, entry, spec, full)
        if spec.direction is not Direction.OFF:
            self._check_kind(entry, spec, full)
            self._check_peer(table, entry, spec, full)
        return FieldPlan(entry, spec, self._transform(entry, spec, full))

    def _transform(self, entry: CatalogueField, spec: FieldSpec, full: str) -> tuple[Any, ...]:
        if spec.direction is Direction.OFF:
            return ()
        kept, errors = transforms.check(self.spec.name, full, entry, spec.direction, spec.transform)
        self.errors += errors
        return tuple(kept)

    def _check_kind(self, entry: CatalogueField, spec: FieldSpec, full: str) -> None:
        link, kind = self.spec.name, entry.type.kind
        if kind is Kind.KEY and not spec.confirm:
            self.errors.append(UnconfirmedKey(link=link, field=full, direction=spec.direction.value))
        if kind is Kind.FILE:
            # Without its content a file's name would point to nothing at the peer.
            self.errors.append(NotAvailable(place=f'Link "{link}", field "{full}"', what="a file field"))
        if kind in _RELATIONS:
            self._check_target(entry, spec, full)

    def _check_target(self, entry: CatalogueField, spec: FieldSpec, full: str) -> None:
        """A relation leads somewhere: to a table of the link, or it is said what else is to become of it."""
        params = {"link": self.spec.name, "field": full, "target": entry.type.target}
        listed = self.listed.get(entry.type.target.lower())
        if spec.missing not in (MATCH, EMPTY):
            if listed is None:
                self.errors.append(TargetNotLinked(**params))
            return
        if not spec.direction.receives:
            return
        if spec.missing == EMPTY and entry.type.kind is Kind.RELATION and not entry.type.null:
            self.errors.append(EmptyRequired(**params))
        table = self.catalogue.get(entry.type.target.lower())
        kinds = (
            [table.fields[n].type.kind for n in listed.match_by if n in table.fields]
            if table and listed
            else []
        )
        if spec.missing == MATCH and (not kinds or UNMATCHABLE & set(kinds)):
            self.errors.append(MatchNeedsFields(**params))

    def _check_peer(self, table: CatalogueTable, entry: CatalogueField, spec: FieldSpec, full: str) -> None:
        """Compare with the peer's field, where the peer's catalogue is known from an earlier contact."""
        if not self.peer.known:
            return
        other = self.peer.find(spec.peer, table.label, spec.name)
        if other is None:
            if isinstance(spec.peer, int):
                self.errors.append(UnknownNumber(link=self.spec.name, field=full, number=spec.peer))
            elif spec.peer:
                self.errors.append(UnknownPeerField(link=self.spec.name, field=full, peer=spec.peer))
            # Without a choice of ours the other program may still name this field as the peer of one of its
            # own.
            return
        self.errors += check_types(self.spec.name, entry.type, other, spec, full)

    def _check_peers_once(self, planned: Iterable[TablePlan]) -> None:
        owners: dict[int | str, str] = {}
        for table in planned:
            for plan in table.fields:
                if plan.spec.direction is Direction.OFF or plan.spec.peer is None:
                    continue
                other = self.peer.find(plan.spec.peer, table.table.label, plan.spec.name)
                key = other.number if other else _peer_key(plan.spec.peer)
                full = f"{table.table.label}.{plan.entry.name}"
                if key in owners:
                    params = {"field": owners[key], "other": full, "peer": plan.spec.peer}
                    self.errors.append(DuplicatePeerField(link=self.spec.name, **params))
                owners.setdefault(key, full)


def _peer_key(peer: int | str) -> int | str:
    return peer.lower() if isinstance(peer, str) else peer


class _Peer:
    """The other program's fields, as far as they are known."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.known = bool(catalogue)
        self._by_number = {offer.number: offer for table in catalogue for offer in table.fields}
        self._by_name = {_name(table, offer): offer for table in catalogue for offer in table.fields}

    def find(self, peer: int | str | None, label: str, name: str) -> FieldOffer | None:
        """The field that ``peer`` names; with None the one of the same name."""
        if isinstance(peer, int):
            return self._by_number.get(peer)
        if peer:
            label, _, name = peer.rpartition(".")
        return self._by_name.get((label.lower(), name))


def _name(table: TableOffer, offer: FieldOffer) -> tuple[str, str]:
    return table.label.lower(), offer.name
