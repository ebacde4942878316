"""What records are recognised by when they arrive: the receiver's match fields, and how they come along.

A match field that flows to the receiver is among the values. One that does not flow comes with whole records as a key,
which is compared and never written, if the sender lists it as a match field as well: so both have said that records
are known by it. Where a match field comes neither way, records could not be told from those that are there, and would
come as duplicates.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from syncapp.core.kinds import Kind

if TYPE_CHECKING:
    from syncapp.core.mapping import FieldOffer, TableOffer

#: Code of fields that do not flow, since a match field does not come along.
NO_MATCH_VALUE = "match_missing"
#: Values that mean something only together with other records: no keys by themselves.
_BOUND = frozenset({Kind.RELATION, Kind.RELATIONS, Kind.USER, Kind.STATUS, Kind.KEY})


class Keys(NamedTuple):
    """``fields``: sender's number → receiver's, of the match fields that come as keys; ``lacking``: the name of one
    that does not come at all, or an empty text."""

    fields: dict[int, int]
    lacking: str


def keys_between(sender: TableOffer, receiver: TableOffer, received: Collection[int]) -> Keys:
    """How ``receiver`` gets the match fields of its table. ``received``: its fields that flow to it."""
    known = {field.number: field for field in receiver.fields}
    found: dict[int, int] = {}
    for number in receiver.match_by:
        if number in received:
            continue
        field = known.get(number)
        other = _counterpart(field, sender) if field else None
        if field is None or other is None:
            return Keys({}, field.name if field else str(number))
        found[other.number] = number
    return Keys(found, "")


def _counterpart(field: FieldOffer, sender: TableOffer) -> FieldOffer | None:
    """The sender's match field that is the receiver's ``field``: the one it names as its peer, or of the same name."""
    for other in sender.fields:
        named = (
            other.number == field.peer
            if isinstance(field.peer, int)
            else other.name == (field.peer or field.name).rpartition(".")[2]
        )
        if named and other.number in sender.match_by:
            fits = other.type.kind == field.type.kind and other.type.kind not in _BOUND
            return other if fits else None
    return None
