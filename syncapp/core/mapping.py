"""Fields on offer, mappings, and what two programs agree to exchange.

Each side announces its catalogue (`TableOffer`, `FieldOffer`) with the flow that its own mapping allows. Both
compute the same agreement from the two: a value flows where the sender lets it out and the receiver lets it in.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from syncapp.core import relations
from syncapp.core.kinds import FieldType as FieldType
from syncapp.core.kinds import Fit as Fit
from syncapp.core.kinds import Kind as Kind
from syncapp.core.kinds import fit as fit
from syncapp.core.kinds import loss, read_options
from syncapp.core.recognition import NO_MATCH_VALUE, Keys, keys_between
from syncapp.core.relations import RELATIONS, MatchKey, Pair, Sides, relate
from syncapp.core.rules import SIDED, Merge, Policy


class Direction(StrEnum):
    """Direction of a mapped field, as seen from this program."""

    BOTH = "both"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    OFF = "off"

    @property
    def sends(self) -> bool:
        return self in (Direction.BOTH, Direction.UPLOAD)

    @property
    def receives(self) -> bool:
        return self in (Direction.BOTH, Direction.DOWNLOAD)


#: Kinds of numbers that can be added without loss.
EXACT = frozenset({Kind.INTEGER, Kind.DECIMAL})


def mergeable(merge: Merge, type: FieldType) -> bool:
    """Whether values of ``type`` can be merged by ``merge``."""
    if merge is Merge.SUM:
        return type.kind in EXACT and not type.null
    return merge is Merge.VALUE or type.kind is Kind.RELATIONS


def same_unit(one: FieldType, other: FieldType) -> bool:
    """Whether numbers of both types count in the same unit, so that their sums agree; the range may differ."""
    return one.kind is other.kind and (one.places or 0) == (other.places or 0)


# -- what each side announces -------------------------------------------------------------------------------


class FieldOffer(msgspec.Struct, frozen=True, array_like=True):
    """One field of the catalogue with the flow that its owner's mapping on this link allows.

    ``peer`` is the owner's explicit choice of the other side's field: a number, ``table.field``, or None for
    "the field of the same name". ``policy`` and ``merge`` are the field's rule (see `core.rules`; as texts, so that
    an unknown one of a later version suspends this field and not the whole link); ``hub``: the owner shares the field
    both ways on another link too. ``transformed``: the owner changes its values on the way (see `core.transforms`).
    ``options``: the other side's option values, as texts, which the owner translates by a map; empty where it has none.
    ``missing``: how the owner takes a relation (see `core.relations`).
    """

    number: int
    name: str
    title: str
    type: FieldType
    sends: bool = False
    receives: bool = False
    peer: int | str | None = None
    lossy: bool = False
    system: bool = False
    policy: str = Policy.LATEST.value
    merge: str = Merge.VALUE.value
    hub: bool = False
    transformed: bool = False
    options: tuple[str, ...] = ()
    missing: str = relations.HOLD


class TableOffer(msgspec.Struct, frozen=True, array_like=True):
    """One table of the catalogue. ``label`` is ``app.Model``; ``match_by``: the fields by which the owner recognises
    records, in order."""

    number: int
    label: str
    title: str
    fields: tuple[FieldOffer, ...]
    match_by: tuple[int, ...] = ()


Catalogue = tuple[TableOffer, ...]


# -- what both agree on -------------------------------------------------------------------------------------


class Flow(msgspec.Struct):
    """The agreed exchange of one local table with one table of the peer.

    ``out``: local field number → peer field number (we send); ``into``: peer field number → local (we receive).
    """

    table: int
    peer_table: int
    out: dict[int, int] = {}
    into: dict[int, int] = {}
    #: Local fields that we receive and whose type is another at the peer: its kind, to adapt values from.
    adapt: dict[int, Kind] = {}
    #: Local fields that we only receive and whose values have changed on the way: they get a stamp of ours.
    restamp: set[int] = set()
    #: Local fields whose option values we translate by a map: the peer's type.
    mapped: dict[int, FieldType] = {}
    #: Local relations that travel by match fields of their targets: which, as we send, and as we receive.
    match_out: dict[int, MatchKey] = {}
    match_into: dict[int, MatchKey] = {}
    #: Match fields that come with whole records for recognition alone: the sender's number → the receiver's.
    keys_out: dict[int, int] = {}
    keys_into: dict[int, int] = {}


class Suspended(msgspec.Struct, frozen=True):
    """A mapped field that does not flow, and why (a code of `REASONS`)."""

    field: int
    code: str
    params: dict[str, Any] = {}


class Agreement(msgspec.Struct):
    """What flows over a link. ``tables`` by local table number, ``by_peer`` by the peer's table number."""

    tables: dict[int, Flow] = {}
    by_peer: dict[int, Flow] = {}
    suspended: list[Suspended] = []

    def out_fields(self, table: int) -> dict[int, int]:
        """Local number → peer number of the fields of ``table`` that we send; empty where nothing is sent."""
        flow = self.tables.get(table)
        return flow.out if flow else {}

    def shut(self, field: int) -> None:
        """Let a field that was agreed on not flow after all."""
        for flow in self.tables.values():
            flow.out.pop(field, None)
            flow.into = {there: here for there, here in flow.into.items() if here != field}


#: code → why a mapped field does not flow (English sentence; message ids of the translation).
SUSPENDED_NOT_MAPPED = "peer_not_mapped"
SUSPENDED_NO_FIELD = "peer_no_field"
SUSPENDED_DIRECTIONS = "directions"
SUSPENDED_TYPES = "types_differ"
SUSPENDED_LOSSY = "lossy"
SUSPENDED_OTHER_PAIR = "other_pair"
SUSPENDED_TWO_TABLES = "two_tables"
SUSPENDED_TWO_MAPS = "two_maps"
SUSPENDED_USERS = "user_matching"
SUSPENDED_LATER = "later"
SUSPENDED_RULES = "rules_differ"
SUSPENDED_RULE_TYPES = "rule_types"
SUSPENDED_RING = "policy_ring"
SUSPENDED_FILTER = "filter"
SUSPENDED_NEEDS_TIME_ADDED = "needs_time_added"
SUSPENDED_TRANSFORM = "transform"

#: Kinds that can be mapped but are not exchanged by this version: the content of files.
LATER = frozenset({Kind.FILE})
#: The system field that has to flow as well where deletions are to flow.
TIME_ADDED = "time_added"


class _Field(msgspec.Struct, frozen=True):
    table: TableOffer
    offer: FieldOffer

    @property
    def mapped(self) -> bool:
        return self.offer.sends or self.offer.receives


class _Index:
    """Finds the fields of a catalogue by number and by ``table.field``."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.fields = [_Field(table, offer) for table in catalogue for offer in table.fields]
        self.by_number = {field.offer.number: field for field in self.fields}
        self.by_name = {(f.table.label.lower(), f.offer.name): f for f in self.fields}

    def find(self, owner: _Field) -> _Field | None:
        """The field here that the other side's ``owner`` names as its peer."""
        peer = owner.offer.peer
        if isinstance(peer, int):
            return self.by_number.get(peer)
        if peer:
            label, _, name = peer.rpartition(".")
            return self.by_name.get((label.lower(), name)) if label else None
        return self.by_name.get((owner.table.label.lower(), owner.offer.name))


def agree(here: Catalogue, there: Catalogue, users: tuple[str, str] = ("", "")) -> Agreement:
    """What flows between two programs whose announced catalogues are ``here`` and ``there``.

    ``users``: by which name each of the two finds users. Both sides compute it and must come to the same: nothing below
    may depend on which of them is ``here``.
    """
    ours, theirs = _Index(here), _Index(there)
    result = Agreement(tables={}, by_peer={}, suspended=[])
    pairs = _pairs(ours, theirs)
    dated: set[int] = set()  # tables whose time added flows
    # Statuses come last: whether they flow depends on another field of their table.
    for mine, other in sorted(pairs, key=lambda pair: pair[0].offer.type.kind is Kind.STATUS):
        reason: Suspended | None
        if mine.offer.type.kind is Kind.STATUS and mine.table.number not in dated:
            params = {"field": mine.offer.name, "table": mine.table.label}
            reason = Suspended(mine.offer.number, SUSPENDED_NEEDS_TIME_ADDED, params)
        else:
            reason = _users_reason(mine, other, users) or _admit(result, mine, other)
        if reason is not None:
            result.suspended.append(reason)
        elif TIME_ADDED in (mine.offer.name, other.offer.name):
            dated.add(mine.table.number)
    _recognise(result, here, there)
    _relate(
        result, pairs, Sides(here, there, {mine.offer.number: other.offer.number for mine, other in pairs})
    )
    paired = {mine.offer.number for mine, _ in pairs}
    lone = [field for field in ours.fields if field.mapped and field.offer.number not in paired]
    result.suspended += [_why_alone(mine, theirs) for mine in lone]
    return result


def _recognise(result: Agreement, here: Catalogue, there: Catalogue) -> None:
    """Let tables wait of which records would come without what they are recognised by."""
    ours = {table.number: table for table in here}
    theirs = {table.number: table for table in there}
    for flow in result.tables.values():
        mine, other = ours[flow.table], theirs[flow.peer_table]
        coming = keys_between(other, mine, flow.into.values()) if flow.into else Keys({}, "")
        going = keys_between(mine, other, flow.out.values()) if flow.out else Keys({}, "")
        flow.keys_into, flow.keys_out = coming.fields, going.fields
        stopped = {number: coming.lacking for number in flow.into.values() if coming.lacking}
        stopped |= {number: going.lacking for number in flow.out if going.lacking}
        for number, name in sorted(stopped.items()):
            params = {"table": mine.label, "field": name}
            result.suspended.append(Suspended(number, NO_MATCH_VALUE, params))
            result.shut(number)


def _relate(result: Agreement, pairs: Iterable[tuple[_Field, _Field]], sides: Sides) -> None:
    """Say how relations travel, once it is known which tables are exchanged with which."""
    for mine, other in pairs:
        flow = result.tables.get(mine.table.number)
        number = mine.offer.number
        if flow is None or mine.offer.type.kind not in RELATIONS:
            continue
        out, into = number in flow.out, number in flow.into.values()
        if not (out or into):
            continue
        code = relate(Pair(mine.offer, other.offer, out, into), sides, result, flow)
        if code:
            result.shut(number)
            params = {
                "field": mine.offer.name,
                "here": mine.offer.type.target,
                "there": other.offer.type.target,
            }
            result.suspended.append(Suspended(number, code, params))


def _pairs(ours: _Index, theirs: _Index) -> list[tuple[_Field, _Field]]:
    """Pair mapped fields, each once: choices that both sides name, then those of one side, then equal names."""
    ranked: dict[tuple[int, int], tuple[int, _Field, _Field]] = {}
    for mine in ours.fields:
        _rank(ranked, mine, theirs.find(mine), chosen=mine.offer.peer is not None)
    for other in theirs.fields:
        _rank(ranked, ours.find(other), other, chosen=other.offer.peer is not None)
    pairs: list[tuple[_Field, _Field]] = []
    taken: set[int] = set()
    gone: set[int] = set()
    for _, mine, other in sorted(ranked.values(), key=_order):
        if mine.offer.number not in taken and other.offer.number not in gone:
            taken.add(mine.offer.number)
            gone.add(other.offer.number)
            pairs.append((mine, other))
    return pairs


def _rank(
    ranked: dict[tuple[int, int], tuple[int, _Field, _Field]],
    mine: _Field | None,
    other: _Field | None,
    *,
    chosen: bool,
) -> None:
    """Note a possible pair: 0 = both sides name it, 1 = one does, 2 = equal names that nobody chose otherwise.

    ``chosen``: the side that looked for it names it.
    """
    if mine is None or other is None or not (mine.mapped and other.mapped):
        return
    key = (mine.offer.number, other.offer.number)
    if chosen:
        ranked[key] = (0 if key in ranked else 1, mine, other)
    elif mine.offer.peer is None and other.offer.peer is None:
        ranked[key] = (2, mine, other)


def _order(pair: tuple[int, _Field, _Field]) -> tuple[int, list[tuple[str, str]]]:
    """An order that is the same on both sides: by rank, then by the two names, whosever they are."""
    rank, mine, other = pair
    return (rank, sorted((field.table.label.lower(), field.offer.name) for field in (mine, other)))


def _why_alone(mine: _Field, theirs: _Index) -> Suspended:
    """Why a mapped field has no partner."""
    number, name = mine.offer.number, mine.offer.name
    found = theirs.find(mine)
    if found is None:
        return Suspended(number, SUSPENDED_NO_FIELD, {"field": name, "peer": str(mine.offer.peer or name)})
    if not found.mapped:
        return Suspended(number, SUSPENDED_NOT_MAPPED, {"field": name})
    return Suspended(number, SUSPENDED_OTHER_PAIR, {"field": name})


def _admit(result: Agreement, mine: _Field, other: _Field) -> Suspended | None:
    """Add the pair to the agreement, or say why it does not flow."""
    number, name = mine.offer.number, mine.offer.name
    if mine.offer.type.kind in LATER or other.offer.type.kind in LATER:
        return Suspended(number, SUSPENDED_LATER, {"field": name})
    if not other.mapped:
        return Suspended(number, SUSPENDED_NOT_MAPPED, {"field": name})
    flow = result.tables.get(mine.table.number)
    peer_flow = result.by_peer.get(other.table.number)
    if (flow and flow.peer_table != other.table.number) or (peer_flow and peer_flow is not flow):
        return Suspended(number, SUSPENDED_TWO_TABLES, {"field": name, "table": mine.table.label})
    sends = mine.offer.sends and other.offer.receives
    receives = mine.offer.receives and other.offer.sends
    if not (sends or receives):
        return Suspended(number, SUSPENDED_DIRECTIONS, {"field": name})
    both = sends and receives
    reason = (
        _type_reason(mine, other, sends, receives)
        or _rule_reason(mine, other, both=both)
        or _transform_reason(mine, other, both=both)
    )
    if reason is not None:
        return reason
    if flow is None:
        flow = Flow(mine.table.number, other.table.number)
        result.tables[flow.table] = flow
        result.by_peer[flow.peer_table] = flow
    if sends:
        flow.out[number] = other.offer.number
    if receives:
        flow.into[other.offer.number] = number
        mapped = mine.offer.options or other.offer.options
        if (
            not mapped
            and msgspec.structs.replace(other.offer.type, null=mine.offer.type.null) != mine.offer.type
        ):
            flow.adapt[number] = other.offer.type.kind
        lossy = not mapped and fit(other.offer.type, mine.offer.type) is Fit.LOSSY
        if not sends and (lossy or _transformed(mine, other)):
            flow.restamp.add(number)
    if mine.offer.options:
        flow.mapped[number] = other.offer.type
    return None


def _users_reason(mine: _Field, other: _Field, users: tuple[str, str]) -> Suspended | None:
    """Users that are found by different names on both sides would be taken for one another."""
    if users[0] == users[1] or Kind.USER not in (mine.offer.type.kind, other.offer.type.kind):
        return None
    params = {"field": mine.offer.name, "here": users[0], "there": users[1]}
    return Suspended(mine.offer.number, SUSPENDED_USERS, params)


def _type_reason(mine: _Field, other: _Field, sends: bool, receives: bool) -> Suspended | None:
    number, here, there = mine.offer.number, mine.offer.type, other.offer.type
    params: dict[str, Any] = {"field": mine.offer.name, "here": here.text(), "there": there.text()}
    if mine.offer.options and other.offer.options:
        return Suspended(number, SUSPENDED_TWO_MAPS, params)
    if mine.offer.options or other.offer.options:
        known = (
            read_options(mine.offer.options, there)
            if mine.offer.options
            else read_options(other.offer.options, here)
        )
        return Suspended(number, SUSPENDED_TYPES, params) if known is None else None
    ways = [(here, there)] * sends + [(there, here)] * receives
    if any(fit(*way) is Fit.IMPOSSIBLE for way in ways):
        return Suspended(number, SUSPENDED_TYPES, params)
    lost = next((found for way in ways if (found := loss(*way))), None)
    if lost is not None and not (mine.offer.lossy or other.offer.lossy):
        return Suspended(number, SUSPENDED_LOSSY, {**params, "loss": lost.text, **lost.params})
    return None


def _rule_reason(mine: _Field, other: _Field, *, both: bool) -> Suspended | None:
    """Why the rules of the two fields forbid the exchange; ``both``: it flows both ways."""
    number, here, there = mine.offer.number, mine.offer, other.offer
    if (here.policy, here.merge) != (there.policy, there.merge):
        params = {"field": here.name, "here": _rule_text(here), "there": _rule_text(there)}
        return Suspended(number, SUSPENDED_RULES, params)
    if here.merge == Merge.SUM and not same_unit(here.type, there.type):
        params = {"field": here.name, "here": here.type.text(), "there": there.type.text()}
        return Suspended(number, SUSPENDED_RULE_TYPES, params)
    if both and here.hub and there.hub and here.policy in SIDED:
        # Round a ring of programs each of which is overruled by the next, values would rotate for ever.
        return Suspended(number, SUSPENDED_RING, {"field": here.name, "policy": here.policy})
    return None


def _transform_reason(mine: _Field, other: _Field, *, both: bool) -> Suspended | None:
    """Two-way, a changed value would come back as an edit; and what is joined of parts cannot be changed as a whole."""
    if _transformed(mine, other) and (both or mine.offer.merge != Merge.VALUE):
        return Suspended(mine.offer.number, SUSPENDED_TRANSFORM, {"field": mine.offer.name})
    return None


def _transformed(mine: _Field, other: _Field) -> bool:
    return mine.offer.transformed or other.offer.transformed


def _rule_text(offer: FieldOffer) -> str:
    return offer.policy if offer.merge == Merge.VALUE else offer.merge
