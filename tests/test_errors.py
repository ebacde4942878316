"""Every error can be shown, stored, sent, and said again by the other side."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

import pytest
from django.utils.translation import gettext, override

from syncapp import details, errors
from syncapp.core import frames
from syncapp.core.address import parse_address
from syncapp.core.messages import Bye
from syncapp.core.refusals import said
from syncapp.models import LinkState, Problem

CLASSES = sorted(errors.BY_CODE.values(), key=lambda cls: cls.code)
PARAMS = {"here": "1.0", "there": "2.0", "detail": "it", "seconds": 3}


def tree(cls: type[errors.SyncError]) -> Iterator[type[errors.SyncError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from tree(child)


def placeholders(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]


def test_each_code_names_one_error() -> None:
    classes = list(tree(errors.SyncError))
    assert len({cls.code for cls in classes}) == len(classes)
    assert {cls.code: cls for cls in classes} == errors.BY_CODE


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_is_a_code_and_a_sentence(cls: type[errors.SyncError]) -> None:
    assert re.fullmatch(r"[a-z_]+", cls.code)
    for model, name in ((LinkState, "reason_code"), (Problem, "code")):
        assert len(cls.code) <= (model._meta.get_field(name).max_length or 0)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in placeholders(cls.template))
    assert "  " not in cls.template


@pytest.mark.parametrize("cls", CLASSES)
def test_what_is_missing_in_a_sentence_is_seen_and_fails_nothing(cls: type[errors.SyncError]) -> None:
    shown = errors.sentence(cls.code, {})
    assert shown.count("…") == len(placeholders(cls.template))
    assert "{" not in shown.replace("id = { ", "")
    with override("ru"):
        assert errors.sentence(cls.code, {}, gettext).count("…") == len(placeholders(cls.template))


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not errors.ConfigRefused])
def test_an_error_reads_the_same_when_it_comes_out_of_the_database(cls: type[errors.SyncError]) -> None:
    params = {name: f"<{name}>" for name in placeholders(cls.template)}
    error = cls(**params)
    assert errors.sentence(error.code, error.params) == str(error)
    assert all(value in str(error) for value in params.values())
    again = errors.from_code(cls.code, params)
    assert (type(again), str(again)) == (cls, str(error))


@pytest.mark.parametrize("cls", CLASSES)
def test_every_sentence_is_translated(cls: type[errors.SyncError]) -> None:
    with override("ru"):
        shown = errors.sentence(cls.code, dict.fromkeys(placeholders(cls.template), "1"), gettext)
    assert cls is errors.ConfigRefused or re.search("[а-я]", shown)


def test_the_errors_of_a_configuration_are_said_together() -> None:
    error = errors.ConfigRefused([errors.DuplicateLink(link="A"), errors.MissingAddress(link="B")])
    assert str(error).splitlines() == [str(one) for one in error.errors]
    assert len(error.errors) == 2


def test_a_code_of_a_newer_peer() -> None:
    error = errors.from_code("moon_phase", {"phase": "full"})
    assert type(error) is errors.RefusedError
    assert "moon_phase" in str(error)
    assert "full" in str(error)
    assert "moon_phase" in errors.sentence("moon_phase", {})


def test_words_of_a_peer_are_not_a_template() -> None:
    sly = "{detail.__class__} {0} {"
    assert sly in errors.sentence("closed", {"detail": sly})
    assert sly in str(errors.ConnectionClosed(detail=sly))


# -- here and there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["version_here", "version_there", "restored_here", "restored_there"])
def test_what_both_sides_say_of_a_disagreement_mirrors(code: str) -> None:
    mirrored, params = errors.mirrored(code, PARAMS)
    assert mirrored != code
    assert (params["here"], params["there"]) == ("2.0", "1.0")
    assert errors.mirrored(mirrored, params) == (code, PARAMS)


@pytest.mark.parametrize("cls", CLASSES)
def test_whatever_a_peer_says_is_said_by_a_sentence_of_its_own(cls: type[errors.SyncError]) -> None:
    """A code that is sent arrives as an error of this program, and is not turned a second time."""
    error = said(Bye(cls.code, dict(PARAMS)))
    assert isinstance(error, errors.SyncError)
    assert str(error)
    code, _ = errors.mirrored(cls.code, PARAMS)
    assert code in errors.BY_CODE
    assert code in (cls.code, error.code)
    there = {"version", "restored"}
    if not any(cls.code.startswith(word) for word in there):
        assert errors.mirrored(code, PARAMS)[0] in (code, "protocol_there", "store_there")


@pytest.mark.parametrize("cls", CLASSES)
def test_a_fault_of_the_peer_is_never_shown_as_ours(cls: type[errors.SyncError]) -> None:
    """Protocol and database errors happen on one side: the other one says whose they are."""
    code, params = errors.mirrored(cls.code, {})
    if issubclass(cls, errors.ProtocolError):
        assert code == "protocol_there"
    elif cls is errors.LeaseLost:
        assert code == "replaced"
    elif cls is errors.DatabaseAway:
        assert code == "database_away_there"
    elif issubclass(cls, errors.StoreError):
        assert code == "store_there"
    assert params["detail"] == cls.code


def test_ends_that_are_told_to_the_other_side() -> None:
    told = {
        errors.Stopping: errors.StoppingThere,
        errors.TimedOut: errors.TimedOutThere,
        errors.OtherInstance: errors.OtherInstanceThere,
        errors.LinkPausedHere: errors.LinkPaused,
        errors.LinkPaused: errors.LinkPaused,
        errors.WrongPassword: errors.WrongPassword,
        errors.Locked: errors.Locked,
    }
    for mine, theirs in told.items():
        assert type(said(Bye(mine.code, {}))) is theirs


# -- details ------------------------------------------------------------------------------------------------


@pytest.fixture
def russian() -> Iterator[None]:
    with override("ru"):
        yield


@pytest.mark.parametrize("text", sorted(details.KNOWN))
def test_details_are_translated_where_they_are_shown(russian: None, text: str) -> None:
    shown = errors.sentence("closed", {"detail": text}, gettext)
    assert text not in shown
    assert re.search(r"\(.*[а-я].*\)", shown)
    assert "ё" not in shown


def test_a_detail_may_name_other_params(russian: None) -> None:
    error = errors.Unreachable(address="http://a", detail=details.NO_ANSWER, seconds="10")
    assert str(error).startswith("http://a cannot be reached (no answer within 10 s).")
    assert "(нет ответа за 10 с)" in errors.sentence(error.code, error.params, gettext)
    assert "(нет ответа за … с)" in errors.sentence(error.code, {"detail": details.NO_ANSWER}, gettext)


def test_what_is_not_known_is_shown_as_it_is(russian: None) -> None:
    assert "(HTTP 404)" in errors.sentence("unreachable", {"address": "a", "detail": "HTTP 404"}, gettext)
    assert "«Paused»" in errors.sentence("duplicate_link", {"link": "Paused"}, gettext)
    assert errors.sentence("closed", {"detail": ""}, gettext).count("(") == 1


def test_how_roads_end_is_known() -> None:
    for status in (1000, 1001, 1006, 1009, 1011, 1012):
        assert frames.closed(status=status).params["detail"] in details.KNOWN


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ftp://a",
        "office",
        "http://",
        "http://a:0",
        "http://a:",
        "http://u@a",
        "http://a?x",
        "http://a b c",
    ],
)
def test_what_is_wrong_with_an_address_is_known(address: str) -> None:
    with pytest.raises(errors.BadAddress) as caught:
        parse_address(address)
    assert caught.value.params["detail"] in details.KNOWN
