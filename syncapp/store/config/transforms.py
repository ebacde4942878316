"""The transform of a one-way field: from the file to steps in wire values, and back.

In the file it is a list of ``"strip"``, ``"upper"``, ``"lower"``, ``"phone"``, ``"default:…"`` or ``{ default = … }``,
and ``"map:{…}"`` (JSON) or ``{ map = { … } }``. In `models.Mapping.options` it is a list of names, and of dictionaries
``{"default": value}`` and ``{"map": [[from, to], …]}`` with values in wire form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import tomlkit
from tomlkit.items import Array

from syncapp.core.mapping import Direction
from syncapp.core.transforms import KINDS, PLAIN
from syncapp.errors import SyncError, TransformBothWays, TransformKind, TransformValue
from syncapp.store.catalogue import CatalogueField
from syncapp.store.config.reader import Reader, describe
from syncapp.store.config.wirevalues import wire_value

_EXPECTED = "a list of strip, upper, lower, phone, default:… and map:{…}"


class Written(NamedTuple):
    """A step as written: its name, and the value of a default or the table of a map."""

    name: str
    argument: Any = None


# -- from the file ------------------------------------------------------------------------------------------


def read(reader: Reader) -> tuple[Written, ...]:
    """The steps as written, none if they cannot be read."""
    value = reader.take("transform")
    if value is None:
        return ()
    steps = [_step(item) for item in (value if isinstance(value, list) else [value])]
    found = tuple(step for step in steps if step is not None)
    if not steps or len(found) < len(steps):
        reader.wrong("transform", _EXPECTED)
        return ()
    return found


def _step(item: Any) -> Written | None:
    if isinstance(item, str):
        name, colon, rest = item.partition(":")
        item = {name: _argument(name, rest) if colon else None}
    if not isinstance(item, dict) or len(item) != 1:
        return None
    ((name, argument),) = item.items()
    if name in PLAIN:
        return Written(name) if argument is None else None
    if name == "default":
        return None if argument is None or isinstance(argument, list | dict) else Written(name, argument)
    good = name == "map" and isinstance(argument, dict) and argument
    return Written(name, argument) if good else None


def _argument(name: str, text: str) -> Any:
    if name != "map":
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


# -- compared with the field --------------------------------------------------------------------------------


def check(
    link: str, full: str, entry: CatalogueField, direction: Direction, written: Iterable[Written]
) -> tuple[list[Any], list[SyncError]]:
    """The steps as `models.Mapping.options` keeps them, and what is wrong with them.

    Done on the way out, a step gives values of the other program's field; on the way in, it takes them.
    """
    written = list(written)
    if not written:
        return [], []
    if direction is Direction.BOTH:
        return [], [TransformBothWays(link=link, field=full)]
    errors: list[SyncError] = []
    kept: list[Any] = []
    for step in written:
        kind = entry.type.kind
        if kind not in KINDS[step.name] or entry.description.system or not entry.description.column:
            errors.append(TransformKind(link=link, field=full, step=step.name, kind=kind.value))
        elif step.name in PLAIN:
            kept.append(step.name)
        else:
            kept.append({step.name: _wire(link, full, entry, direction, step, errors)})
    return kept, errors


def _wire(
    link: str,
    full: str,
    entry: CatalogueField,
    direction: Direction,
    step: Written,
    errors: list[SyncError],
) -> Any:
    def wire(value: Any, *, there: bool) -> Any:
        found, detail = wire_value(value, entry, there=there, spelt=True)
        if value is None:
            detail = "null is no value here"
        if detail:
            params = {"link": link, "field": full, "step": step.name, "value": describe(value)}
            errors.append(TransformValue(**params, detail=detail))
        return found

    out = direction is Direction.UPLOAD
    if step.name == "default":
        return wire(step.argument, there=out)
    return [[wire(one, there=not out), wire(other, there=out)] for one, other in step.argument.items()]


# -- back into a file ---------------------------------------------------------------------------


def exported(kept: Iterable[Any]) -> Array:
    """The steps as they stand in a file."""
    found = tomlkit.array()
    found.extend(_exported(kept))
    return found


def _exported(kept: Iterable[Any]) -> Iterator[Any]:
    for step in kept:
        if isinstance(step, dict) and "map" in step:
            table = tomlkit.inline_table()
            for here, there in step["map"]:
                table.append(_spelt(here), there)
            whole = tomlkit.inline_table()
            whole.append("map", table)
            yield whole
        elif isinstance(step, dict):
            whole = tomlkit.inline_table()
            whole.append("default", step["default"])
            yield whole
        else:
            yield step


def _spelt(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
