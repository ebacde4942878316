"""``syncusers``."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from syncapp.models import Link, Problem, UserMatch
from syncapp.store.people import Names, digest_of
from tests import rows

pytestmark = pytest.mark.django_db


def run(*arguments: Any) -> str:
    out = StringIO()
    call_command("syncusers", *(str(one) for one in arguments), stdout=out)
    return out.getvalue()


def came(link: Link, login: str, full_name: str = "", waiting: int = 0, **values: Any) -> UserMatch:
    """A user of the peer who came along, for whom some records wait."""
    digest = digest_of(link.user_matching, Names(login, full_name, "1"))
    for _ in range(waiting):
        rows.problem(link, rows.field("manager"), code="unknown_user", waits_for=digest)
    return UserMatch.objects.create(
        link=link,
        digest=digest,
        matching=link.user_matching,
        login=login,
        full_name=full_name,
        peer_id="1",
        **values,
    )


@pytest.fixture
def link() -> Link:
    return rows.link("Office")


def user(login: str, **values: Any) -> Any:
    return get_user_model().objects.create(username=login, **values)


def test_list(link: Link) -> None:
    anna, clara = user("anna"), user("clara")
    user("BORIS")
    user("boris ")
    came(link, "anna")
    came(link, "Boris")
    came(link, "dora", "Dora D", waiting=2)
    came(link, "clerk", user=str(clara.pk), manual=True)
    came(rows.link("other"), "somebody")
    lines = json.loads(run("Office", "--json"))
    assert [(one["login"], one["state"], one["user"], one["several"], one["waiting"]) for one in lines] == [
        ("dora", "unmatched", "", 0, 2),
        ("Boris", "ambiguous", "", 2, 0),
        ("anna", "matched", "anna", 0, 0),
        ("clerk", "manual", "clara", 0, 0),
    ]
    assert lines[2]["user_id"] == str(anna.pk)
    shown = run("Office")
    assert "not found" in shown
    assert "2 users may be it" in shown
    assert "matched by hand" in shown


def test_a_match_by_hand_to_somebody_who_is_gone_counts_no_more(link: Link) -> None:
    came(link, "clerk", user="4711", manual=True)
    (line,) = json.loads(run("Office", "--json"))
    assert (line["state"], line["user"]) == ("unmatched", "")


def test_users_of_another_setting_are_not_listed(link: Link) -> None:
    came(link, "anna")
    Link.objects.update(user_matching="id")
    assert json.loads(run("Office", "--json")) == []
    assert run("Office") == "No user of the other program has come along yet.\n"


def test_match_and_unmatch(link: Link) -> None:
    local, row = user("a.smith"), came(link, "anna", waiting=3)
    came(link, "other", waiting=1)
    assert run("Office", "match", "anna", "a.smith") == "3 problems are due now.\n"
    row.refresh_from_db()
    assert (row.user, row.manual) == (str(local.pk), True)
    assert Problem.objects.filter(next_try=0).count() == 3
    assert json.loads(run("Office", "unmatch", row.pk, "--json")) == {"due": 3}
    row.refresh_from_db()
    assert (row.user, row.manual) == ("", False)


def test_a_user_who_has_not_come_along_yet(link: Link) -> None:
    user("a.smith")
    run("Office", "match", "anna", "a.smith")
    assert bytes(UserMatch.objects.get().digest) == digest_of("login", Names("Anna", "Any", "5"))
    Link.objects.update(user_matching="id")
    with pytest.raises(CommandError, match=r'no user "zoe" of the other program .* Those who have: –\.'):
        run("Office", "match", "zoe", "a.smith")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("Nowhere",), 1, 'There is no link "Nowhere"'),
        (("Office", "match", "anna", "nobody"), 1, 'There is no user "nobody" here'),
        (("Office", "match", "anna"), 2, "Name a user of the other program and the one here."),
        (("Office", "unmatch"), 2, "Name a user of the other program."),
        (("Office", "match", "99", "a.smith"), 1, 'no user "99"'),
    ],
)
def test_wrong_use(link: Link, arguments: tuple[str, ...], code: int, text: str) -> None:
    user("a.smith")
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert text in str(caught.value)
    assert caught.value.returncode == code


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("syncusers", "--help")
    assert 'syncusers "Head office" match anna.k anna' in capsys.readouterr().out
