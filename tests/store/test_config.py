"""Applying and exporting the configuration."""

import tomllib

import pytest
from django.test import override_settings

from syncapp import conf
from syncapp.core.address import normal_code, parse_address
from syncapp.errors import UnknownLink
from syncapp.models import Instance, Link, LinkState, LinkTable, Mapping, Pair, Problem
from syncapp.store import catalogue, config, triggers
from tests import rows
from tests.store.configs import ACTIVE, PASSIVE, apply, mappings, number, refused, snapshot

pytestmark = pytest.mark.django_db


# -- what is written ----------------------------------------------------------------------------------------


def test_a_link_with_everything() -> None:
    changes = apply(ACTIVE)
    link = Link.objects.get()
    assert (link.name, link.mode, link.transport) == ("Head office", "active", "websocket")
    assert (link.remote_access, link.address, link.log) == (True, "https://office.example.com", True)
    assert (link.interval, link.user_matching, link.paused) == (2.5, "full_name", False)
    assert conf.decrypt(link.secret) == "swordfish"
    assert normal_code(link.code) == link.code
    assert link.options["large_file_bytes"] == 1000
    assert (link.options["plain_text"], link.options["proxy"]) == (True, "http://proxy:3128")
    assert link.options["upload_folder"] == "/srv/up"
    assert conf.decrypt(link.options["ftp"]["secret"]) == "tuna"
    assert "tuna" not in str(link.options)
    assert mappings() == {
        "crm.Tag.name": "both",
        "crm.Client.name": "both",
        "crm.Client.tax_id": "both",
        "crm.Client.phone": "upload",
        "crm.Client.note": "download",
        "crm.Client.tags": "both",
        "crm.Client.record_status": "both",
    }
    rows = {row.field.name: row for row in Mapping.objects.select_related("field")}
    assert (rows["phone"].peer_number, rows["phone"].peer_name) == (17, "")
    assert (rows["note"].peer_number, rows["note"].peer_name, rows["note"].lossy) == (
        None,
        "shop.Buyer.text",
        True,
    )
    assert rows["tags"].options == {"missing": "hold"}
    tables = {row.table.label: row.match_by for row in LinkTable.objects.select_related("table")}
    assert tables == {"crm.Tag": [], "crm.Client": ["tax_id"]}
    assert changes[0] == 'Link "Head office": created (active, websocket).'
    assert 'Link "Head office": crm.Client.phone is now upload.' in changes


def test_applying_installs_the_triggers_and_changes_the_version() -> None:
    before = Instance.objects.get().config_version
    apply(ACTIVE)
    assert Instance.objects.get().config_version > before
    assert number("crm.Client.phone") in catalogue.load_setup().captured
    assert triggers.verify() == []


def test_applying_puts_back_triggers_that_somebody_removed() -> None:
    apply(ACTIVE)
    assert triggers.remove_all()
    assert triggers.verify() != []
    assert apply(ACTIVE) == []
    assert triggers.verify() == []


def test_a_table_that_the_settings_have_come_to_offer() -> None:
    text = PASSIVE.replace("crm.Client", "auth.Group")
    refused(text)
    with override_settings(SYNCAPP_TABLES=["crm.*", "auth.Group"]):
        apply(text)
        assert mappings("Branch") == {"auth.Group.name": "both"}
        assert triggers.verify() == []


def test_a_second_time_changes_nothing() -> None:
    apply(ACTIVE + PASSIVE)
    before, version = snapshot(), Instance.objects.get().config_version
    assert apply(ACTIVE + PASSIVE) == []
    assert snapshot() == before
    assert Instance.objects.get().config_version == version


def test_a_link_starts_at_the_head_of_the_feed() -> None:
    Instance.objects.update(head_seq=41, head_tag=b"sealtag.")
    apply(PASSIVE)
    state = LinkState.objects.get()
    assert (state.acked_seq, bytes(state.acked_tag), state.scanned_seq) == (41, b"sealtag.", 41)
    assert (state.applied_seq, bytes(state.applied_tag)) == (0, b"")
    Instance.objects.update(head_seq=50)
    apply(PASSIVE.replace("swordfish", "trout"))
    assert LinkState.objects.get().acked_seq == 41


def test_a_link_that_is_not_in_the_file_stays_as_it_is() -> None:
    apply(ACTIVE)
    before = snapshot()["Link"], mappings()
    apply(PASSIVE)
    assert snapshot()["Link"][:1] == before[0]
    assert mappings() == before[1]
    assert apply("") == []


def test_what_is_not_listed_becomes_off_and_keeps_its_row() -> None:
    apply(ACTIVE)
    Mapping.objects.filter(field__name="phone").update(resume_seq=7)
    shorter = ACTIVE.replace('phone = { direction = "upload", peer = 17 }\n', "")
    assert apply(shorter)[0] == 'Link "Head office": crm.Client.phone is now off (was upload).'
    assert Mapping.objects.get(field__name="phone").resume_seq == 7
    assert number("crm.Client.phone") not in catalogue.load_setup().captured
    start = shorter.index("[[link.table]]")
    end = shorter.index("[[link.table]]", start + 1)
    without_tag = (shorter[:start] + shorter[end:]).replace(
        'tags = { direction = "both", missing = "hold" }\n', ""
    )
    assert apply(without_tag)[:3] == [
        'Link "Head office": table crm.Tag was taken out.',
        'Link "Head office": crm.Tag.name is now off (was both).',
        'Link "Head office": crm.Client.tags is now off (was both).',
    ]
    assert apply(ACTIVE)[:-1] == [
        'Link "Head office": table crm.Tag was added.',
        'Link "Head office": crm.Tag.name is now both (was off).',
        'Link "Head office": crm.Client.phone is now upload (was off).',
        'Link "Head office": crm.Client.tags is now both (was off).',
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("remote_access = true", "", "access to the remote program is now off (was on)."),
        (
            "https://office",
            "https://hq",
            "address is now https://hq.example.com (was https://office.example.com).",
        ),
        ("interval = 2.5", "interval = 0", "interval is now 0 (was 2.5)."),
        ("log = true", "log = true\npaused = true", "paused is now on (was off)."),
        ("env:LINK_PASSWORD", "env:OTHER", "the password was changed."),
        ("fallback_after = 60", "fallback_after = 61", "fallback_after was changed."),
        ("fallback_after = 60", "", "fallback_after was removed."),
        ("fallback_after = 60", "fallback_after = 60\nverify_every = 4", "verify_every was set."),
        ('password = "tuna"', 'password = "eel"', "ftp was changed."),
        ("peer = 17", "peer = 18", "crm.Client.phone now belongs to 18 of the other program."),
        (
            ", peer = 17",
            "",
            "crm.Client.phone now belongs to the field of the same name of the other program.",
        ),
        (", lossy = true", "", "the settings of crm.Client.note were changed."),
        (
            'match_by = ["tax_id"]',
            'match_by = ["tax_id", "name"]',
            "records of crm.Client are now matched by tax_id, name.",
        ),
        ('match_by = ["tax_id"]', "", "records of crm.Client are now matched by nothing."),
        ('email = "off"', 'email = "download"', "crm.Client.email is now download."),
    ],
)
def test_a_change_is_told_in_a_sentence_and_done(old: str, new: str, sentence: str) -> None:
    apply(ACTIVE)
    assert old in ACTIVE
    changed = ACTIVE.replace(old, new)
    assert f'Link "Head office": {sentence}' in apply(changed)
    assert apply(changed) == []


def test_a_link_whose_pause_is_not_mentioned_stays_paused() -> None:
    apply(ACTIVE)
    Link.objects.update(paused=True)
    assert apply(ACTIVE) == []
    assert Link.objects.get().paused


def test_without_a_password_line_the_stored_one_stays() -> None:
    apply(ACTIVE)
    token = Link.objects.get().secret
    assert apply(ACTIVE.replace('password = "env:LINK_PASSWORD"\n', ""), env={}) == []
    assert Link.objects.get().secret == token


def test_a_password_encrypted_with_a_lost_key_is_replaced() -> None:
    apply(ACTIVE)
    with override_settings(SYNCAPP_SECRET_KEY="another key"):
        changes = apply(ACTIVE)
        assert 'Link "Head office": the password was changed.' in changes
        assert conf.decrypt(Link.objects.get().secret) == "swordfish"


def test_a_required_field_that_is_not_received_is_pointed_out() -> None:
    changes = apply(PASSIVE.replace('name = "both"', 'phone = "both"'))
    assert any(
        "new records of crm.Client cannot be created here" in line and line.endswith(": name.")
        for line in changes
    )
    assert not any("cannot be created" in line for line in apply(ACTIVE))


def test_mapping_the_key_when_it_is_confirmed() -> None:
    text = PASSIVE.replace('name = "both"', 'name = "both"\nid = { direction = "download", confirm = true }')
    apply(text)
    assert mappings("Branch")["crm.Client.id"] == "download"
    assert apply(text) == []


def test_default_rules_are_accepted() -> None:
    apply(PASSIVE + '[[rule]]\nfield = "crm.Client.phone"\npolicy = "latest"\nmerge = "value"\n')


def test_a_map_of_option_values() -> None:
    text = PASSIVE.replace(
        'name = "both"', 'name = { direction = "both", map = { paid = "оплачен", new = "" } }'
    )
    apply(text)
    assert Mapping.objects.get(field__name="name").options == {"map": {"paid": "оплачен", "new": ""}}
    setup = catalogue.load_setup()
    (link,) = setup.links.values()
    assert link.maps == {number("crm.Client.name"): {"paid": "оплачен", "new": ""}}
    (offer,) = [
        field
        for table in catalogue.link_catalogue(link.id)
        for field in table.fields
        if field.number == number("crm.Client.name")
    ]
    assert offer.options == ("new", "paid")
    assert apply(config.export()) == []


def test_a_map_gives_choices_of_the_field() -> None:
    text = PASSIVE.replace("crm.Client", "crm.Order").replace('name = "both"', 'status = "both"')
    apply(text.replace('"both"', '{ direction = "both", map = { done = "paid" } }'))
    (error,) = refused(text.replace('"both"', '{ direction = "both", map = { done = "pajd" } }'))
    assert '(new, in_progress, shipped, paid, cancelled), not "pajd"' in error


def test_what_waits_is_tried_again_after_a_change() -> None:
    apply(PASSIVE)
    rows.problem(Link.objects.get(), rows.field("name"), next_try=10**18)
    apply(PASSIVE.replace('"both"', '"download"'))
    assert Problem.objects.get().next_try == 0


def test_a_map_that_is_not_one_to_one_may_be_received() -> None:
    apply(PASSIVE.replace('name = "both"', 'name = { direction = "download", map = { a = "x", b = "x" } }'))


def test_targets_found_by_match_fields_need_no_fields_of_their_own() -> None:
    tag = '[[link.table]]\ntable = "crm.Tag"\nmatch_by = ["name"]\n'
    text = PASSIVE + 'tags = { direction = "both", missing = "match" }\n' + tag
    apply(text)
    catalogued = catalogue.link_catalogue(Link.objects.get().pk)
    offers = {table.label: table for table in catalogued}
    assert offers["crm.Tag"].match_by == (number("crm.Tag.name"),)
    assert [f.missing for f in offers["crm.Client"].fields if f.name == "tags"] == ["match"]
    assert apply(config.export()) == []


def test_a_relation_that_must_be_filled_in_cannot_be_left_empty() -> None:
    text = PASSIVE.replace("crm.Client", "crm.Order").replace('name = "both"', 'client = "off"')
    (error,) = refused(text.replace('"off"', '{ direction = "both", missing = "empty" }'))
    assert 'field "crm.Order.client" must be filled in, so missing = "empty" cannot be' in error
    apply(text.replace('"off"', '{ direction = "upload", missing = "empty" }'))


# -- export -------------------------------------------------------------------------------------------------


def test_what_is_exported_can_be_applied_and_changes_nothing() -> None:
    apply(ACTIVE + PASSIVE)
    assert apply(config.export()) == []


def test_an_export_makes_the_same_links_elsewhere() -> None:
    apply(ACTIVE)
    text, before = config.export(), mappings()
    Link.objects.all().delete()
    apply(text.replace("tls = true", 'tls = true, password = "tuna"'))
    assert mappings() == before
    assert config.export() == text


def test_the_form_of_an_export() -> None:
    apply(ACTIVE)
    link = tomllib.loads(config.export())["link"][0]
    tables = link.pop("table")
    assert link == {
        "name": "Head office",
        "mode": "active",
        "transport": "websocket",
        "remote_access": True,
        "address": "https://office.example.com",
        "password": "env:LINK_PASSWORD",
        "log": True,
        "interval": 2.5,
        "user_matching": "full_name",
        "plain_text": True,
        "proxy": "http://proxy:3128",
        "large_file_bytes": 1000,
        "fallback_after": 60,
        "upload_folder": "/srv/up",
        "ftp": {"host": "ftp.example.com", "port": 2121, "user": "u", "tls": True},
    }
    assert tables == [
        {"table": "crm.Tag", "fields": {"name": "both"}},
        {
            "table": "crm.Client",
            "match_by": ["tax_id"],
            "fields": {
                "name": "both",
                "tax_id": "both",
                "phone": {"direction": "upload", "peer": 17},
                "note": {"direction": "download", "peer": "shop.Buyer.text", "lossy": True},
                "tags": {"direction": "both", "missing": "hold"},
                "record_status": "both",
            },
        },
    ]


def test_a_literal_password_is_not_exported_but_where_to_put_it_is() -> None:
    apply(PASSIVE + ACTIVE)
    text = config.export()
    assert "swordfish" not in text
    assert "tuna" not in text
    assert '# password = "env:SYNCAPP_PASSWORD_BRANCH"' in text
    Link.objects.all().delete()
    assert any('Link "Branch" has no password' in error for error in refused(text))


@override_settings(SYNCAPP_PUBLIC_URL="https://office.example.com/")
def test_a_passive_link_tells_its_address() -> None:
    apply(PASSIVE)
    line = next(line for line in config.export().splitlines() if "Address" in line)
    assert line.startswith("# ")
    address = parse_address(line.partition(": ")[2])
    assert (address.site, address.code) == ("https://office.example.com", Link.objects.get().code)


def test_nothing_configured_exports_nothing() -> None:
    assert tomllib.loads(config.export()) == {}


@pytest.mark.parametrize(
    ("name", "variable"),
    [("Head office", "HEAD_OFFICE"), ("Филиал № 2", "2"), ("Филиал", "LINK"), ("a--b", "A_B")],
)
def test_the_name_of_the_variable(name: str, variable: str) -> None:
    apply(PASSIVE.replace("Branch", name))
    assert f'"env:SYNCAPP_PASSWORD_{variable}"' in config.export()


# -- identity -----------------------------------------------------------------------------------------------


def test_rebind_forgets_the_other_program() -> None:
    apply(ACTIVE + PASSIVE)
    known = {"peer_instance": b"p" * 16, "peer_epoch": 4, "peer_token": 9, "peer_catalogue": b"x"}
    LinkState.objects.update(applied_seq=9, applied_tag=b"t", acked_seq=8, scanned_seq=8, base_seq=3, **known)
    Instance.objects.update(head_seq=10)
    link = Link.objects.get(name="Branch")
    pair = Pair.objects.create(link=link, record=rows.record(rows.field(), 5))
    mapping = Mapping.objects.filter(link=link).first() or rows.mapping(link, rows.field())
    Mapping.objects.filter(pk=mapping.pk).update(resume_seq=7)
    version = Instance.objects.get().config_version
    config.rebind("Branch")
    state = LinkState.objects.get(link__name="Branch")
    assert (state.peer_instance, state.applied_seq, bytes(state.applied_tag)) == (None, 0, b"")
    assert bytes(state.peer_catalogue) == b""
    assert (state.peer_epoch, state.peer_token) == (0, 0)
    assert (state.acked_seq, state.scanned_seq, state.again_seq) == (3, 3, 10), (
        "the next one needs everything"
    )
    pair.refresh_from_db()
    assert pair.left == 1
    mapping.refresh_from_db()
    assert mapping.resume_seq == 3
    assert LinkState.objects.get(link__name="Head office").peer_instance is not None
    assert Instance.objects.get().config_version > version


def test_rebind_of_an_unknown_link() -> None:
    apply(PASSIVE)
    with pytest.raises(UnknownLink, match=r'There is no link "X" here\. Links: Branch\.'):
        config.rebind("X")


def test_fork_gives_a_new_identity() -> None:
    Instance.objects.update(epoch=3)
    before = Instance.objects.get()
    config.fork()
    after = Instance.objects.get()
    assert bytes(after.instance) != bytes(before.instance)
    assert len(after.instance) == 16
    assert after.epoch == 1
    assert after.config_version > before.config_version


def test_fork_forgets_what_the_links_knew() -> None:
    apply(ACTIVE + PASSIVE)
    LinkState.objects.update(
        peer_instance=b"p" * 16, applied_seq=9, acked_seq=5, lease_owner="x", lease_until=9
    )
    config.fork()
    for state in LinkState.objects.all():
        assert (state.peer_instance, state.applied_seq, state.acked_seq) == (None, 0, 0)
        assert (state.lease_owner, state.lease_until) == ("", 0)


def test_how_a_table_is_applied() -> None:
    through = PASSIVE.replace('table = "crm.Client"', 'table = "crm.Client"\napply = "save"')
    told = 'Link "Branch": changes of crm.Client are now written '
    assert f"{told}through its model's own save()." in apply(through)
    table = number("crm.Client.name")
    (info,) = catalogue.load_setup().links.values()
    assert [table in catalogue.load_setup().tables[saved].fields for saved in info.saved] == [True]
    assert apply(config.export()) == apply(through) == []
    assert apply(PASSIVE) == [f"{told}in bulk."]
    (info,) = catalogue.load_setup().links.values()
    assert info.saved == frozenset()
