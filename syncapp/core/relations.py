"""What the agreement says of relations: whether their targets are the same on both sides, and how they are found.

A relation travels as the uid of its target (*hold*, *empty*), or by the match fields of the target's table (*match*):
as the receiver of the value has set it. Both sides must come to the same, like all of an agreement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from syncapp.core.kinds import FieldType, Fit, Kind, fit
from syncapp.core.rules import Merge

if TYPE_CHECKING:
    from syncapp.core.mapping import Agreement, Catalogue, FieldOffer, Flow, TableOffer

HOLD, MATCH, EMPTY = "hold", "match", "empty"

RELATIONS = frozenset({Kind.RELATION, Kind.RELATIONS})
#: Kinds whose values cannot tell records apart, or mean something in one program only.
UNMATCHABLE = frozenset({*RELATIONS, Kind.USER, Kind.STATUS, Kind.KEY, Kind.FILE, Kind.JSON, Kind.BINARY})

NO_TARGET = "target_not_shared"
NO_MATCH_FIELDS = "no_match_fields"


class MatchKey(msgspec.Struct, frozen=True):
    """The match fields by which a relation travels: numbers in our target table, and their types at the peer."""

    fields: tuple[int, ...]
    there: tuple[FieldType, ...]


class Pair(NamedTuple):
    """A relation here and the peer's; whether values flow out of here and in."""

    mine: FieldOffer
    other: FieldOffer
    out: bool
    into: bool


class Sides:
    """Both catalogues, and which field is which."""

    def __init__(self, here: Catalogue, there: Catalogue, pairs: Mapping[int, int]) -> None:
        self.here = {table.label.lower(): table for table in here}
        self.there = {table.label.lower(): table for table in there}
        self.pairs = pairs  # our field number → the peer's

    def turned(self) -> Sides:
        """As the peer sees it."""
        sides = Sides((), (), {other: mine for mine, other in self.pairs.items()})
        sides.here, sides.there = self.there, self.here
        return sides


def relate(pair: Pair, sides: Sides, agreement: Agreement, flow: Flow) -> str:
    """Note in ``flow`` how values of a relation travel; or say why it cannot: a code."""
    mine, other = pair.mine, pair.other
    if not (mine.type.target or other.type.target):
        return ""  # nobody says where it leads: that of the same name
    target, peer_target = sides.here.get(mine.type.target.lower()), sides.there.get(other.type.target.lower())
    if target is None or peer_target is None:
        return NO_TARGET
    out = pair.out and other.missing == MATCH
    into = pair.into and mine.missing == MATCH
    by_uid = (pair.out and not out) or (pair.into and not into)
    if by_uid and not _same_table(agreement, target, peer_target):
        return NO_TARGET
    if (out or into) and Merge.UNION.value in (mine.merge, other.merge):
        return NO_MATCH_FIELDS
    sent = _key(peer_target, target, sides.turned()) if out else None
    received = _key(target, peer_target, sides) if into else None
    if (out and sent is None) or (into and received is None):
        return NO_MATCH_FIELDS
    if sent is not None:
        # As the peer looks for it: its fields in their order, as we have them.
        flow.match_out[mine.number] = sent[1]
    if received is not None:
        flow.match_into[mine.number] = received[0]
    return ""


def _same_table(agreement: Agreement, target: TableOffer, peer_target: TableOffer) -> bool:
    """Whether records of the two are the same records: exchanged with each other, or at least not with others."""
    flow = agreement.tables.get(target.number)
    back = agreement.by_peer.get(peer_target.number)
    if flow is None and back is None:
        return target.label.lower() == peer_target.label.lower()
    return flow is not None and flow.peer_table == peer_target.number


def _key(receiver: TableOffer, sender: TableOffer, sides: Sides) -> tuple[MatchKey, MatchKey] | None:
    """The receiver's match fields as the receiver has them, and as the sender does. ``sides``: the receiver's view."""
    known = {field.number: field for field in receiver.fields}
    theirs = {field.number: field for field in sender.fields}
    named = {field.name: field for field in sender.fields}
    found = []
    for number in receiver.match_by:
        field = known.get(number)
        other = theirs.get(sides.pairs.get(number, 0)) or (named.get(field.name) if field else None)
        if field is None or other is None or field.type.kind in UNMATCHABLE:
            return None
        if fit(other.type, field.type) is Fit.IMPOSSIBLE:
            return None
        found.append((field, other))
    if not found:
        return None
    at_receiver = MatchKey(tuple(f.number for f, _ in found), tuple(o.type for _, o in found))
    at_sender = MatchKey(tuple(o.number for _, o in found), tuple(f.type for f, _ in found))
    return at_receiver, at_sender
