"""Rules in a configuration: set, changed, taken back, exported; refused where they cannot be kept."""

from __future__ import annotations

import msgspec
import pytest

from syncapp.core.mapping import FieldOffer, FieldType, Kind, TableOffer
from syncapp.core.rules import Merge, Policy, Rule
from syncapp.errors import ConfigRefused
from syncapp.models import Instance, Link, LinkState, Problem
from syncapp.models import Rule as RuleRow
from syncapp.store import catalogue, config
from tests.store.configs import PASSIVE, apply, number

pytestmark = pytest.mark.django_db

RULES = """
[[rule]]
field = "crm.Client.phone"
policy = "ask"
[[rule]]
field = "CRM.payment.amount"
merge = "sum"
[[rule]]
field = "crm.Client.tags"
merge = "union"
[[rule]]
field = "crm.Client.note"
policy = "passive"
"""


def version() -> int:
    return Instance.objects.get().config_version


def test_rules_are_set_and_reach_the_setup_and_the_catalogue() -> None:
    changes = apply(PASSIVE + RULES)
    told = "The rule of crm.Client.phone is now ask (was latest). Set it so in every program that shares it."
    assert told in changes
    assert catalogue.rules() == {
        number("crm.Client.phone"): Rule(Policy.ASK),
        number("crm.Payment.amount"): Rule(merge=Merge.SUM),
        number("crm.Client.tags"): Rule(merge=Merge.UNION),
        number("crm.Client.note"): Rule(Policy.PASSIVE),
    }
    fields = {f.name: f for t in catalogue.load_setup().tables.values() for f in t.fields.values()}
    assert (fields["phone"].policy, fields["tags"].merge) == (Policy.ASK, Merge.UNION)
    offers = {f.number: f for t in catalogue.link_catalogue(Link.objects.get().pk) for f in t.fields}
    assert offers[number("crm.Payment.amount")].merge == "sum"
    assert offers[number("crm.Client.phone")].policy == "ask"
    assert offers[number("crm.Client.name")].policy == "latest"


def test_the_same_rules_again_change_nothing() -> None:
    apply(PASSIVE + RULES)
    before = version()
    assert apply(PASSIVE + RULES) == []
    assert version() == before, "links stay connected"


def test_a_changed_rule_and_one_that_is_left_out() -> None:
    apply(PASSIVE + RULES)
    before = version()
    changes = apply(PASSIVE + '[[rule]]\nfield = "crm.Client.phone"\npolicy = "active"\n')
    assert {line.split(".", 2)[2].partition(" Set")[0] for line in changes} == {
        "phone is now active (was ask).",
        "amount is now latest (was sum).",
        "tags is now latest (was union).",
        "note is now latest (was passive).",
    }
    assert version() > before, "links connect anew"
    assert catalogue.rules() == {number("crm.Client.phone"): Rule(Policy.ACTIVE)}


def test_the_default_written_out_is_no_rule() -> None:
    text = PASSIVE + '[[rule]]\nfield = "crm.Client.phone"\npolicy = "latest"\nmerge = "value"\n'
    apply(PASSIVE)
    assert apply(text) == []
    assert not RuleRow.objects.exists()


def test_rules_are_exported_and_can_be_applied_elsewhere() -> None:
    apply(PASSIVE + RULES)
    text = config.export()
    assert apply(text) == []
    before = catalogue.rules()
    apply(PASSIVE)
    assert catalogue.rules() == {}
    apply(text)
    assert catalogue.rules() == before


def test_open_questions_are_looked_at_again_under_a_new_rule() -> None:
    apply(PASSIVE + RULES)
    link = Link.objects.get()
    for field, name in enumerate(["crm.Client.phone", "crm.Client.note"]):
        Problem.objects.create(
            link=link, table_no=1, uid=bytes([field]) * 16, field_no=number(name), code="ask", payload=b"",
            created_at=1, next_try=2**62,
        )  # fmt: skip
    apply(PASSIVE + RULES.replace('"ask"', '"latest"'))
    due = set(Problem.objects.filter(next_try=0).values_list("field_no", flat=True))
    assert due == {number("crm.Client.phone")}


# -- rings --------------------------------------------------------------------------------------------------

SECOND = PASSIVE.replace('"Branch"', '"Shop"').replace('"swordfish"', '"mackerel"')
NAME_RULE = '[[rule]]\nfield = "crm.Client.name"\npolicy = "{}"\n'


def peers_say(*, hub: bool) -> None:
    """Both peers have been met; that of Branch shares the name with others, or does not."""
    for link in Link.objects.all():
        offer = FieldOffer(
            8, "name", "", FieldType(Kind.TEXT, length=200), True, True, hub=hub and link.name == "Branch"
        )
        packed = msgspec.msgpack.encode((TableOffer(7, "crm.Client", "", (offer,)),))
        LinkState.objects.filter(link=link).update(peer_catalogue=packed)


@pytest.mark.parametrize("policy", ["active", "passive"])
def test_no_side_always_wins_between_two_hubs(policy: str) -> None:
    apply(PASSIVE + SECOND)
    peers_say(hub=True)
    with pytest.raises(ConfigRefused) as caught:
        apply(PASSIVE + SECOND + NAME_RULE.format(policy))
    (error,) = caught.value.errors
    assert error.code == "policy_ring_here"
    assert "Branch" in str(error)
    # A link that the file does not name counts too.
    with pytest.raises(ConfigRefused):
        apply(PASSIVE + NAME_RULE.format(policy))
    assert catalogue.rules() == {}


def test_a_hub_among_leaves_and_a_leaf_may_have_any_policy() -> None:
    apply(PASSIVE + SECOND)
    apply(PASSIVE + SECOND + NAME_RULE.format("active"))
    peers_say(hub=False)
    apply(PASSIVE + SECOND + NAME_RULE.format("passive"))
    peers_say(hub=True)
    apply(PASSIVE + SECOND + NAME_RULE.format("ask"))
    # One-way on the other link: no ring any more.
    apply(PASSIVE + SECOND.replace('"both"', '"upload"') + NAME_RULE.format("active"))


def test_a_field_that_is_shared_on_two_links_says_so_on_both() -> None:
    apply(PASSIVE + SECOND.replace('name = "both"', 'name = "both"\nphone = "both"\nemail = "upload"'))
    hubs = {
        (link.name, field.name)
        for link in Link.objects.all()
        for table in catalogue.link_catalogue(link.pk)
        for field in table.fields
        if field.hub and table.label == "crm.Client"
    }
    assert hubs == {("Branch", "name"), ("Shop", "name"), ("Branch", "phone")}
