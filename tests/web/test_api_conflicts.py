"""The JSON API of conflicts: what is listed, who may decide, what a decision does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client as Browser

from project.crm.models import Client
from syncapp.models import Conflict, Problem
from tests.disputes import Disputed, disputed
from tests.web import people

pytestmark = pytest.mark.django_db

API = "/sync/api"


@pytest.fixture
def scene(db: None) -> Disputed:
    """Three clients, each with a question about its phone and a conflict about its name."""
    scene = disputed()
    for number in range(3):
        made = Client.objects.create(name=f"c{number}", phone="1")
        uid = scene.uid("crm.Client", made.pk)
        scene.comes("crm.Client", uid, "phone", "2")
        scene.comes("crm.Client", uid, "name", "x")
    return scene


def post(browser: Browser, path: str, body: Any = None) -> Any:
    return browser.post(API + path, json.dumps(body or {}), content_type="application/json")


def test_pages(scene: Disputed) -> None:
    browser = people.browser(people.viewer())
    first = browser.get(f"{API}/conflicts?limit=2").json()
    assert len(first["entries"]) == 2
    rest = browser.get(f"{API}/conflicts?limit=2&before={first['next']}").json()
    assert (len(rest["entries"]), rest["next"]) == (1, None)
    one = first["entries"][0]
    assert browser.get(f"{API}/conflicts/{one['id']}").json() == one
    assert (one["won"]["value"], one["lost"]["value"], one["won"]["program"]) == ("x", "c2", "Branch office")
    asked = browser.get(f"{API}/questions?limit=2").json()
    more = browser.get(f"{API}/questions?limit=2&after={asked['next']}").json()
    assert [len(page["entries"]) for page in (asked, more)] == [2, 1]
    question = asked["entries"][0]
    assert browser.get(f"{API}/questions/{question['id']}").json() == question
    assert browser.get(f"{API}/questions?link={scene.link + 1}").json()["entries"] == []


@pytest.mark.parametrize("path", ["/conflicts/99999", "/questions/99999"])
def test_what_is_not_there(path: str) -> None:
    disputed()
    response = people.browser(people.viewer()).get(API + path)
    assert response.status_code == 404
    assert "99999" in response.json()["detail"]


@pytest.mark.parametrize("action", ["/conflicts/{c}/restore", "/conflicts/{c}/keep", "/questions/{q}/decide"])
def test_viewers_decide_nothing(scene: Disputed, action: str) -> None:
    path = action.format(c=Conflict.objects.earliest("pk").pk, q=Problem.objects.earliest("pk").pk)
    response = post(people.browser(people.viewer()), path, {"take": "theirs"})
    assert response.status_code == 403
    assert "administrator" in response.json()["detail"]
    assert post(people.browser(), path, {"take": "theirs"}).status_code == 401
    assert not Conflict.objects.exclude(resolved="").exists()
    assert Problem.objects.count() == 3


def test_deciding_needs_the_token(scene: Disputed) -> None:
    browser = people.browser(people.keeper(), enforce_csrf_checks=True)
    assert post(browser, f"/conflicts/{Conflict.objects.earliest('pk').pk}/restore").status_code == 403


def test_restore_keep_and_once_more(scene: Disputed) -> None:
    browser = people.browser(people.keeper())
    number = Conflict.objects.earliest("pk").pk
    answer = post(browser, f"/conflicts/{number}/restore")
    assert (answer.status_code, answer.json()["resolved"]) == (200, "restored")
    assert Client.objects.earliest("pk").name == "c0"
    again = post(browser, f"/conflicts/{number}/restore")
    assert (again.status_code, again.json()["field"]) == (409, "")
    assert post(browser, f"/conflicts/{number}/keep").json()["resolved"] == "kept"
    assert Client.objects.earliest("pk").name == "x"
    assert len(browser.get(f"{API}/conflicts?open_only=true").json()["entries"]) == 2


@pytest.mark.parametrize(
    ("body", "phone"),
    [({"take": "ours"}, "1"), ({"take": "theirs"}, "2"), ({"take": "value", "value": "3"}, "3")],
)
def test_decide(scene: Disputed, body: Any, phone: str) -> None:
    browser = people.browser(people.keeper())
    number = Problem.objects.earliest("pk").pk
    assert post(browser, f"/questions/{number}/decide", body).status_code == 204
    assert Client.objects.earliest("pk").phone == phone
    assert post(browser, f"/questions/{number}/decide", body).status_code == 404


def test_an_answer_that_cannot_be(scene: Disputed) -> None:
    browser = people.browser(people.keeper())
    number = Problem.objects.earliest("pk").pk
    long = post(browser, f"/questions/{number}/decide", {"take": "value", "value": "x" * 1000})
    assert (long.status_code, long.json()["field"]) == (422, "value")
    assert post(browser, f"/questions/{number}/decide", {"take": "mine"}).status_code == 422
    Client.objects.all().delete()
    gone = post(browser, f"/questions/{number}/decide", {"take": "ours"})
    assert gone.status_code == 409
    assert "not here any more" in gone.json()["detail"]
