"""What a configuration says of one field's values: whether the types fit, whether a map of option values is whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from syncapp.core.kinds import OPTION_KINDS, FieldType, Fit, fit, loss, read_options
from syncapp.core.mapping import FieldOffer
from syncapp.errors import IncompatibleTypes, LossyTypes, MapNotOneToOne, SyncError, TwoMaps, WrongSetting
from syncapp.store.catalogue import CatalogueField
from syncapp.store.config.reader import describe
from syncapp.store.config.spec import FieldSpec
from syncapp.store.values import checker


def check_types(
    link: str, here: FieldType, other: FieldOffer, spec: FieldSpec, full: str
) -> Iterator[SyncError]:
    """Compare with the field of the other program; ``full``: ``app.Model.field``."""
    params: dict[str, Any] = {"link": link, "field": full, "here": here.text(), "there": other.type.text()}
    if spec.map and other.options:
        yield TwoMaps(link=link, field=full)
        return
    if spec.map:
        if read_options(list(spec.map), other.type) is None:
            yield IncompatibleTypes(**params)
        return
    if other.options:
        return  # the other program translates, and has checked its table against our type
    ways = [(here, other.type)] * spec.direction.sends + [(other.type, here)] * spec.direction.receives
    if any(fit(*way) is Fit.IMPOSSIBLE for way in ways):
        yield IncompatibleTypes(**params)
        return
    lost = next((found for way in ways if (found := loss(*way))), None)
    if lost is not None and not (spec.lossy or other.lossy):
        yield LossyTypes(**params, loss=lost.text, **lost.params)


def check_map(link: str, entry: CatalogueField, spec: FieldSpec, full: str) -> Iterator[SyncError]:
    """Whether the map of a field gives values that the field takes, each once if it is sent."""
    place = f'Link "{link}", field "{full}"'
    if entry.type.kind not in OPTION_KINDS:
        expected = "left out (it is for texts, whole numbers and truth values)"
        yield WrongSetting(place=place, key="map", expected=expected, found=entry.type.kind.value)
        return
    check, choices = checker(entry.type), _choices(entry)
    for value in spec.map.values():
        reason = check(value)
        if reason or (choices and value not in choices):
            expected = f"a table to values of {full}" + (
                f" ({', '.join(map(str, choices))})" if choices else ""
            )
            yield WrongSetting(place=place, key="map", expected=expected, found=reason or describe(value))
    values = list(spec.map.values())
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None and spec.direction.sends:
        yield MapNotOneToOne(link=link, field=full, value=describe(twice))


def _choices(entry: CatalogueField) -> list[Any]:
    field = entry.description.field
    return [value for value, _ in field.flatchoices] if field is not None and field.choices else []
