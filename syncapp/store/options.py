"""Option values (choices) that two programs call differently, translated by a table in the mapping.

The table names the peer's values and ours: ``map = { paid = "оплачен" }``. The side whose mapping has it translates in
both directions, so that only the peer's values travel. Values are sent by the inverse, which a table that is sent must
have. What the table does not name is no value of the peer, or none of ours: a problem that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from syncapp import details
from syncapp.core.kinds import read_options
from syncapp.core.mapping import Agreement
from syncapp.core.transforms import ValueMap
from syncapp.errors import UnmappedValue
from syncapp.store.base import BadValue, LinkInfo
from syncapp.store.faults import fault, shown


class OptionMap(NamedTuple):
    """``into``: the peer's value → ours; ``out``: ours → the peer's, empty where the table cannot be turned round."""

    into: ValueMap
    out: ValueMap


class Unmapped(BadValue):
    """A value that the map does not name."""

    code = UnmappedValue.code


def option_maps(link: LinkInfo, agreement: Agreement) -> dict[int, OptionMap]:
    """The maps of the fields that flow over a link, by local field number."""
    if not link.maps:
        return {}
    found: dict[int, OptionMap] = {}
    for flow in agreement.tables.values():
        for field, theirs in flow.mapped.items():
            written = link.maps.get(field, {})
            keys = read_options(list(written), theirs) or {}
            into = ValueMap((keys[text], value) for text, value in written.items() if text in keys)
            found[field] = OptionMap(into, into.back() or ValueMap(()))
    return found


def translated(table: ValueMap, value: Any) -> Any:
    """``value`` by one side of a map; `Unmapped` where it has none. NULL needs none."""
    if value is None or isinstance(value, BadValue):
        return value
    if not table.lists(value):
        return Unmapped(fault(details.NOT_MAPPED, shown=shown(value)))
    return table.get(value)


def translate_row(maps: Mapping[int, OptionMap], values: dict[int, Any]) -> None:
    """Put the values of a row that is to be sent into the peer's terms."""
    for field, map in maps.items():
        if field in values:
            values[field] = translated(map.out, values[field])
