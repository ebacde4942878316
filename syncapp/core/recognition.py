"""Whether records can be recognised by the match fields of those who receive them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from syncapp.core.mapping import Flow, TableOffer

#: Code of a table that is not exchanged, since a match field does not come along.
NO_MATCH_VALUE = "match_missing"


def missing_match_field(
    flow: Flow, here: Mapping[int, TableOffer], there: Mapping[int, TableOffer]
) -> str | None:
    """The name of a match field without which one of the two sides would receive records of ``flow``; None if none.

    Such records could not be told from those that are there, and would come as duplicates.
    """
    into, out = set(flow.into.values()), set(flow.out.values())
    if flow.into and (name := _lacking(here.get(flow.table), into)):
        return name
    if flow.out and (name := _lacking(there.get(flow.peer_table), out)):
        return name
    return None


def _lacking(receiver: TableOffer | None, received: Iterable[int]) -> str | None:
    if receiver is None:
        return None
    names = {field.number: field.name for field in receiver.fields}
    return next((names.get(n, str(n)) for n in receiver.match_by if n not in received), None)
