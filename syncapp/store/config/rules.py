"""The rules of fields in a configuration: validated against the tables and the links, written, exported.

Rules hold for the whole program, so a file says them all: a field whose rule it leaves out has the default again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import tomlkit
from tomlkit.items import AoT

from syncapp import models
from syncapp.core.mapping import Direction, FieldOffer, Kind, mergeable
from syncapp.core.rules import DEFAULT, Merge, Policy, Rule
from syncapp.errors import (
    DuplicateRule,
    PolicyRing,
    PolicyWithMerge,
    SumNeedsNumber,
    SyncError,
    UnionNeedsRelations,
)
from syncapp.store.catalogue import CatalogueField, CatalogueTable
from syncapp.store.config import softly
from syncapp.store.config.named import find_field, wrong
from syncapp.store.config.spec import RuleSpec

if TYPE_CHECKING:
    from syncapp.store.config.validate import LinkPlan

#: Fields that are no values of a record, but tell whether there is one and which.
_NO_VALUES = frozenset({Kind.STATUS, Kind.KEY})


OfferOf = Callable[[str, int | str | None, str, str], FieldOffer | None]
"""(link, choice of the peer's field, table, field) → what the link's peer offers there, as far as it is known."""


class RulePlan(NamedTuple):
    """A rule of a field that was found in the catalogue."""

    label: str
    entry: CatalogueField
    rule: Rule
    #: As `models.Rule.options` keeps them.
    options: dict[str, Any] = {}


class TwoWay(NamedTuple):
    """A link that shares a field both ways, and what its peer said of the field, if that is known."""

    link: str
    offer: FieldOffer | None


def plan_rules(
    specs: Iterable[RuleSpec],
    catalogue: Mapping[str, CatalogueTable],
    two_way: Mapping[int, list[TwoWay]],
    links: Collection[LinkPlan] = (),
    elsewhere: Collection[tuple[str, str, str]] = (),
) -> tuple[list[RulePlan], list[SyncError]]:
    """Resolve the fields of all rules; report what does not fit. ``two_way`` by field number.

    ``elsewhere``: see `softly.mapped_elsewhere`.
    """
    plans: list[RulePlan] = []
    errors: list[SyncError] = []
    for spec in specs:
        named = find_field(catalogue, spec.field, _place(spec), errors)
        if named is None:
            continue
        table, entry = named
        full = f"{table.label}.{entry.name}"
        if any(plan.entry.number == entry.number for plan in plans):
            errors.append(DuplicateRule(field=full))
            continue
        found = list(_faults(spec, full, entry, two_way.get(entry.number, [])))
        options, faults = softly.check(full, table, entry, spec.deleted, spec.alive)
        found += faults
        if options:
            found += softly.columns_mapped(full, options, table.label, links, elsewhere)
        errors += found
        if not found:
            plans.append(RulePlan(full, entry, spec.rule, dict(options)))
    return plans, errors


def _faults(spec: RuleSpec, full: str, entry: CatalogueField, links: list[TwoWay]) -> Iterator[SyncError]:
    policy, merge = spec.rule
    if merge is not Merge.VALUE and not mergeable(merge, entry.type):
        kind = SumNeedsNumber if merge is Merge.SUM else UnionNeedsRelations
        yield kind(field=full, kind=entry.type.text())
    if policy is not Policy.LATEST:
        if merge is not Merge.VALUE:
            yield PolicyWithMerge(field=full, policy=policy.value, merge=merge.value)
        if entry.type.kind in _NO_VALUES:
            yield wrong(_place(spec), "policy", '"latest" for this field', policy.value)
    if policy in (Policy.ACTIVE, Policy.PASSIVE) and len(links) > 1:
        for link in links:
            if link.offer is not None and link.offer.hub:
                yield PolicyRing(field=full, policy=policy.value, link=link.link)


def _place(spec: RuleSpec) -> str:
    return f'Rule of "{spec.field}"'


def two_way_links(plans: Iterable[LinkPlan], offers: OfferOf, using: str) -> dict[int, list[TwoWay]]:
    """By field number: the links that share it both ways once the file is applied."""
    found: dict[int, list[TwoWay]] = defaultdict(list)
    names = set()
    for plan in plans:
        names.add(plan.spec.name)
        for table in plan.tables:
            for field in table.fields:
                if field.spec.direction is Direction.BOTH:
                    offer = offers(plan.spec.name, field.spec.peer, table.table.label, field.entry.name)
                    found[field.entry.number].append(TwoWay(plan.spec.name, offer))
    others = (
        models.Mapping.objects.using(using).filter(direction=Direction.BOTH).exclude(link__name__in=names)
    )
    for row in others.select_related("link", "field__table"):
        peer = row.peer_number or row.peer_name or None
        offer = offers(row.link.name, peer, row.field.table.label, row.field.name)
        found[row.field_id].append(TwoWay(row.link.name, offer))
    return found


# -- writing ------------------------------------------------------------------------------------------------


def write_rules(plans: Iterable[RulePlan], using: str) -> list[str]:
    """Make the rules those of ``plans``; a sentence for each that differs from before."""
    rows = {row.field_id: row for row in models.Rule.objects.using(using).select_related("field__table")}
    before = {number: Rule(Policy(row.policy), Merge(row.merge)) for number, row in rows.items()}
    changes = []
    for plan in plans:
        number = plan.entry.number
        row = rows.pop(number, None)
        kept = row.options if row is not None else {}
        earlier = before.get(number, DEFAULT)
        if plan.options != kept:
            changes.append(softly.sentence(plan.label, plan.options))
        if plan.rule != earlier:
            changes.append(_told(plan.label, plan.rule, earlier))
            _ask_again(number, using)
        if row is not None and plan.rule == earlier == DEFAULT and not plan.options:
            row.delete(using=using)
        elif plan.rule != earlier or plan.options != kept:
            policy, merge = plan.rule.policy.value, plan.rule.merge.value
            models.Rule.objects.using(using).update_or_create(
                field_id=number, defaults={"policy": policy, "merge": merge, "options": plan.options}
            )
    for number, row in rows.items():
        if before[number] != DEFAULT:
            changes.append(_told(str(row.field), DEFAULT, before[number]))
            _ask_again(number, using)
        if row.options:
            changes.append(softly.sentence(str(row.field), {}))
        row.delete(using=using)
    return changes


def _told(label: str, rule: Rule, before: Rule) -> str:
    return f"The rule of {label} is now {rule.text()} (was {before.text()}). Set it so in every program that shares it."


def _ask_again(field: int, using: str) -> None:
    """Open questions about the field are looked at again: another rule may answer them."""
    models.Problem.objects.using(using).filter(code="ask", field_no=field).update(next_try=0)


# -- exporting ----------------------------------------------------------------------------------------------


def export_rules(using: str) -> AoT:
    """All rules that are not the default."""
    tables = tomlkit.aot()
    rows = models.Rule.objects.using(using).filter(field__retired=False).select_related("field__table")
    for row in rows.order_by("field__table__label", "field__slot"):
        table = tomlkit.table()
        table.add("field", str(row.field))
        if row.policy != DEFAULT.policy:
            table.add("policy", row.policy)
        if row.merge != DEFAULT.merge:
            table.add("merge", row.merge)
        for side in ("deleted", "alive"):
            if row.options.get(side):
                table.add(side, softly.exported(row.options[side]))
        tables.append(table)
    return tables
