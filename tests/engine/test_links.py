"""The links as configured, and what is noted of one that nobody drives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from syncapp import conf, errors
from syncapp.engine import links
from syncapp.models import Field, Link, LinkState, LinkTable, Mapping
from syncapp.store import catalogue, control
from syncapp.store.sql import SqlBackend
from syncapp.store.status import link_statuses
from syncapp.store.store import Store
from syncapp.store.texts import STATES
from tests import rows
from tests.store.linked import Linked, link_fields

CODE, OTHER_CODE = "0" * 25 + "1", "0" * 25 + "2"


@pytest.fixture
def store(db: None) -> Store:
    return Store(SqlBackend())


# -- what an error makes of a link --------------------------------------------------------------------------

REFUSED = {
    errors.RefusedError,
    errors.WrongPassword,
    errors.UnknownLinkCode,
    errors.NoPassiveLink,
    errors.AmbiguousLink,
    errors.Impostor,
    errors.VersionMismatch,
    errors.VersionTooOldHere,
    errors.VersionTooOldThere,
    errors.ClockTooFar,
    errors.NotSyncapp,
}
ATTENTION = {
    errors.OtherInstance,
    errors.OtherInstanceThere,
    errors.SameInstance,
    errors.Twin,
    errors.TwinHere,
    errors.TwinThere,
    errors.TwinSaid,
    errors.BehindDeletions,
    errors.BehindDeletionsHere,
    errors.SecretUnreadable,
    errors.BadAddress,
    errors.BadCertificate,
    errors.PlainTextRefused,
}


def made(cls: type[errors.SyncError]) -> errors.SyncError:
    return errors.ConfigRefused([]) if cls is errors.ConfigRefused else cls()


def expected(cls: type[errors.SyncError], going_on: bool) -> str:
    if issubclass(cls, errors.LinkPaused):
        return "paused"
    if cls in REFUSED:
        return "refused"
    if cls in ATTENTION or issubclass(cls, errors.ConfigError):
        return "attention"
    return "connecting" if going_on else "offline"


@pytest.mark.parametrize("going_on", [True, False])
@pytest.mark.parametrize("cls", sorted(errors.BY_CODE.values(), key=lambda cls: cls.code))
def test_every_error_leads_to_a_state_that_people_know(cls: type[errors.SyncError], going_on: bool) -> None:
    status = links.status_of(made(cls), 3 if going_on else 0, 99 if going_on else 0)
    assert status.state == expected(cls, going_on)
    assert status.state in STATES
    assert status.code == ("" if cls is errors.LinkPausedHere else cls.code)
    assert (status.attempt, status.next_attempt) == ((3, 99) if going_on else (0, 0))


#: What a person asked for and cannot have: told to that person, no link ends with it.
ASKED = errors.DecisionError


@pytest.mark.parametrize(
    "cls", [cls for cls in errors.BY_CODE.values() if cls.permanent and not issubclass(cls, ASKED)]
)
def test_what_a_person_must_heal_is_never_shown_as_a_mere_interruption(cls: type[errors.SyncError]) -> None:
    assert links.status_of(made(cls), 1, 1).state in ("refused", "attention")


def test_what_a_sentence_names_is_kept_as_plain_values() -> None:
    error = errors.TooLarge(size=5, limit=b"\xff", at=None, part=0.5, name="x")
    params = links.status_of(error).params
    assert params == {"size": 5, "limit": "b'\\xff'", "at": "None", "part": 0.5, "name": "x"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.WrongPassword(), True),
        (errors.ClockTooFar(), True),
        (errors.OtherInstance(), True),
        (errors.Locked(), False),
        (errors.Superseded(), False),
        (errors.LinkPaused(), False),
        (errors.Malformed(), False),
        (errors.TimedOut(), False),
        (errors.ConnectionClosed(), False),
    ],
)
def test_refusals_are_worth_showing_and_noise_is_not(error: errors.SyncError, told: bool) -> None:
    assert links.tells(error) is told


# -- passive links that may be meant ------------------------------------------------------------------------


def passive(name: str = "Office", code: str = CODE, **values: Any) -> Link:
    values = {"mode": "passive", "secret": conf.encrypt("swordfish"), "address": "", **values}
    return rows.link(name, code=code, **values)


def test_all_passive_links_may_be_meant_where_no_code_is_given(store: Store) -> None:
    first, second = passive(), passive("Shop", OTHER_CODE)
    rows.link("Active")
    passive("Paused", "c" * 26, paused=True)
    assert {found.id for found in links.candidates(store, "")} == {first.pk, second.pk}


@pytest.mark.parametrize("written", [CODE, CODE.lower(), CODE.replace("0", "O"), f"{CODE[:5]}-{CODE[5:]}"])
def test_a_code_names_one_link_however_it_is_written(store: Store, written: str) -> None:
    link = passive()
    passive("Shop", OTHER_CODE)
    (found,) = links.candidates(store, written)
    assert (found.id, found.name) == (link.pk, "Office")


@pytest.mark.parametrize("code", ["0" * 25 + "3", "no code", "", " "])
def test_nobody_is_meant(store: Store, code: str) -> None:
    if code:
        passive()
    rows.link("Active", code=OTHER_CODE)
    assert links.candidates(store, code) == []
    assert links.candidates(store, OTHER_CODE) == []


def test_a_paused_link_says_so(store: Store) -> None:
    passive(paused=True)
    for code in (CODE, ""):
        with pytest.raises(errors.LinkPaused):
            links.candidates(store, code)
    passive("Shop", OTHER_CODE)
    with pytest.raises(errors.LinkPaused):
        links.candidates(store, CODE)
    assert [found.name for found in links.candidates(store, "")] == ["Shop"]


def test_one_link_is_loaded_as_it_is_now(store: Store) -> None:
    link = passive()
    assert links.load_one(store, link.pk) == links.load(store)[link.pk]
    control.set_paused(link.pk, True)
    for number in (link.pk, link.pk + 1):
        with pytest.raises(errors.LinkPaused):
            links.load_one(store, number)


# -- failed attempts ----------------------------------------------------------------------------------------


def shown(link: Link) -> tuple[str, str]:
    state = LinkState.objects.get(pk=link.pk)
    return state.state, state.reason_code


def test_a_failed_attempt_shows_on_the_only_link_that_is_idle(store: Store) -> None:
    now = store.backend.now()
    idle = passive(state={"state": "never", "lease_until": 0})
    live = passive("Shop", OTHER_CODE, state={"state": "connected", "lease_until": now + 10**9})
    links.note_failure(store, "", errors.WrongPassword())
    assert shown(idle) == ("refused", "wrong_password")
    assert shown(live) == ("connected", "")


def test_a_failed_attempt_shows_on_the_link_that_it_names(store: Store) -> None:
    first = passive(state={"state": "never", "lease_until": 0})
    second = passive("Shop", OTHER_CODE, state={"state": "never", "lease_until": 0})
    links.note_failure(store, "", errors.WrongPassword())
    assert shown(first) == shown(second) == ("never", "")
    links.note_failure(store, OTHER_CODE, errors.WrongPassword())
    assert shown(first) == ("never", "")
    assert shown(second) == ("refused", "wrong_password")


def test_a_failed_attempt_does_not_disturb_a_link_that_is_connected(store: Store) -> None:
    now = store.backend.now()
    live = passive(state={"state": "connected", "lease_until": now + 10**9})
    links.note_failure(store, CODE, errors.WrongPassword())
    assert shown(live) == ("connected", "")
    LinkState.objects.update(lease_until=now - 1)  # whoever drove it is gone
    links.note_failure(store, CODE, errors.WrongPassword())
    assert shown(live) == ("refused", "wrong_password")


@pytest.mark.parametrize("code", ["0" * 25 + "3", "nonsense"])
def test_an_attempt_that_means_nobody_shows_nowhere(store: Store, code: str) -> None:
    link = passive(state={"state": "never", "lease_until": 0})
    links.note_failure(store, code, errors.UnknownLinkCode())
    assert shown(link) == ("never", "")


def test_a_paused_link_stays_paused(store: Store) -> None:
    link = passive(paused=True, state={"state": "paused", "lease_until": 0})
    links.note_failure(store, CODE, errors.WrongPassword())
    assert shown(link) == ("paused", "")


def test_a_state_keeps_its_beginning_while_it_lasts(store: Store) -> None:
    link = passive(state={"state": "refused", "state_since": 5})
    links.note(store, link.pk, links.status_of(errors.WrongPassword()))
    assert LinkState.objects.get().state_since == 5
    links.note(store, link.pk, links.status_of(errors.TimedOut(seconds=3), 2, 77))
    state = LinkState.objects.get()
    assert state.state_since > 5
    assert (state.attempt, state.next_attempt, state.reason_params) == (2, 77, {"seconds": 3})


def test_a_link_that_was_removed_meanwhile_is_no_error(store: Store) -> None:
    links.note(store, 999, links.status_of(errors.TimedOut()))


def test_a_link_that_was_paused_here_has_no_reason_left_when_it_is_resumed(store: Store) -> None:
    link = passive(state={"state": "connected"})
    control.set_paused(link.pk, True)
    links.note(store, link.pk, links.status_of(errors.LinkPausedHere()))
    assert link_statuses(store.backend.now())[0].state == "paused"
    control.set_paused(link.pk, False)
    (status,) = link_statuses(store.backend.now())
    assert (status.state, status.reason_code) == ("connecting", "")
    assert "other program" not in status.reason


# -- what a running conversation rests on -------------------------------------------------------------------


@pytest.fixture
def linked(db: None) -> Linked:
    linked = link_fields(
        {"crm.Client": ["name", "phone"], "crm.Order": ["number"]}, match_by={"crm.Client": ["name"]}
    )
    Mapping.objects.filter(field__name="phone").update(peer_number=17)
    catalogue.bump("default")
    return linked


def change_mapping(change: Callable[[Any], Any]) -> Callable[[Linked], None]:
    def apply(linked: Linked) -> None:
        change(Mapping.objects.filter(link_id=linked.link, field__name="phone"))

    return apply


def change_link(**values: Any) -> Callable[[Linked], None]:
    def apply(linked: Linked) -> None:
        Link.objects.filter(pk=linked.link).update(**values)

    return apply


def map_another(linked: Linked) -> None:
    field = Field.objects.get(table__label="crm.Client", name="email")
    Mapping.objects.create(link_id=linked.link, field=field, direction="both")


CHANGES: dict[str, Callable[[Linked], None]] = {
    "mapping added": map_another,
    "mapping removed": change_mapping(lambda rows: rows.delete()),
    "direction": change_mapping(lambda rows: rows.update(direction="upload")),
    "off": change_mapping(lambda rows: rows.update(direction="off")),
    "peer field": change_mapping(lambda rows: rows.update(peer_number=18)),
    "lossy": change_mapping(lambda rows: rows.update(lossy=True)),
    "match_by": lambda linked: (
        LinkTable.objects.filter(table__label="crm.Client").update(match_by=["phone"]) and None
    ),
    "address": change_link(address="http://elsewhere.example"),
    "secret": change_link(secret="another"),
    "paused": change_link(paused=True),
    "name": change_link(name="Another"),
    "mode": change_link(mode="passive"),
    "log": change_link(log=True),
    "interval": change_link(interval=5.0),
    "user matching": change_link(user_matching="full_name"),
    "options": change_link(options={"proxy": "http://proxy:3128"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whatever_a_conversation_rests_on_changes_the_fingerprint(
    store: Store, linked: Linked, change: Callable[[Linked], None]
) -> None:
    before = links.load(store)[linked.link]
    change(linked)
    catalogue.bump("default")
    assert links.load(store)[linked.link].print != before.print


def test_anything_else_leaves_the_fingerprint_alone(store: Store, linked: Linked) -> None:
    before = links.load(store)[linked.link]
    other = rows.link("Another", code=OTHER_CODE, secret="x")
    rows.mapping(other, Field.objects.get(table__label="crm.Client", name="email"))
    with store.backend.transaction():
        store.backend.cursors(linked.link)
    LinkState.objects.update(state="connected", acked_seq=7, peer_title="Office", attempt=3)
    Mapping.objects.filter(link_id=linked.link).update(flowing=True, resume_seq=5)
    catalogue.refresh()
    catalogue.bump("default")
    assert links.config_version(store) > 0
    assert links.load(store)[linked.link] == before
    assert links.load(Store(SqlBackend()))[linked.link] == before


def test_only_the_link_that_changed_has_another_fingerprint(store: Store, linked: Linked) -> None:
    other = rows.link("Another", code=OTHER_CODE)
    before = links.load(store)
    change_mapping(lambda rows: rows.update(direction="download"))(linked)
    catalogue.bump("default")
    after = links.load(store)
    assert after[linked.link].print != before[linked.link].print
    assert after[other.pk] == before[other.pk]


def test_every_configured_link_is_there(store: Store) -> None:
    active, waiting = rows.link("A"), passive("B", paused=True)
    found = links.load(store)
    assert list(found) == [active.pk, waiting.pk]
    assert (found[active.pk].active, found[waiting.pk].active) == (True, False)
    assert (found[active.pk].paused, found[waiting.pk].paused) == (False, True)
    assert found[active.pk].address == "http://office.example"


# -- passwords ----------------------------------------------------------------------------------------------


def test_a_password_is_read_with_the_key_that_it_was_written_with(store: Store) -> None:
    link = passive(secret=conf.encrypt("рыба-меч"))
    config = links.load(store)[link.pk]
    assert config.password() == "рыба-меч"
    with (
        override_settings(SYNCAPP_SECRET_KEY="another key"),
        pytest.raises(errors.SecretUnreadable, match=r'link "Office" cannot be decrypted'),
    ):
        config.password()


def test_a_verifier_is_derived_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    passive()
    (candidate,) = links.candidates(store, "")
    salt = links.scram_salt(store)
    first = links.verifier(candidate, salt)
    monkeypatch.setattr(links, "derive", lambda *args: pytest.fail("derived again"))
    assert links.verifier(candidate, salt) is first
    assert links.verifiers(store, [candidate]) == [(candidate.id, first)]


def test_a_password_that_cannot_be_read_shuts_out_nobody_else(store: Store) -> None:
    broken = passive(secret="not a secret", state={"state": "never", "lease_until": 0})
    sound = passive("Shop", OTHER_CODE, state={"state": "never", "lease_until": 0})
    found = links.verifiers(store, links.candidates(store, ""))
    assert [link for link, _ in found] == [sound.pk]
    assert shown(broken) == ("attention", "secret")
    with pytest.raises(errors.SecretUnreadable):
        links.verifiers(store, links.candidates(store, CODE))
    assert links.verifiers(store, []) == []


def test_who_holds_a_lease(store: Store) -> None:
    link = passive()
    assert links.lease_owner(store, link.pk) == ""
    store.claim(link.pk, "someone", 10**6)
    assert links.lease_owner(store, link.pk) == "someone"
