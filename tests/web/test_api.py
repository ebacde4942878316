"""The JSON API: who may, what comes, how errors look."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from syncapp.models import Instance, Link, UserMatch
from syncapp.store.people import Names, digest_of
from tests import rows
from tests.web import people

pytestmark = pytest.mark.django_db

API = "/sync/api"
GETS = [
    "/links",
    "/links/1",
    "/links/1/users",
    "/log",
    "/problems",
    "/me",
    "/questions",
    "/questions/1",
    "/conflicts",
    "/conflicts/1",
]


@pytest.mark.parametrize("path", GETS)
def test_nothing_without_a_session(path: str) -> None:
    response = people.browser().get(API + path)
    assert (response.status_code, response.json()) == (401, {"detail": "Log in first.", "field": ""})


@pytest.mark.parametrize("path", GETS)
@pytest.mark.parametrize("who", [{"staff": False}, {"staff": True}])
def test_nothing_without_the_permission(path: str, who: dict[str, bool]) -> None:
    permissions = () if who["staff"] else ("view_link",)
    response = people.browser(people.user("eve", *permissions, **who)).get(API + path)
    assert response.status_code == 403
    assert "administrator" in response.json()["detail"]


def test_superusers_need_no_permission() -> None:
    root = people.user("root", is_superuser=True)
    assert people.browser(root).get(f"{API}/links").status_code == 200


def test_links() -> None:
    rows.link("b", state={"state": "refused", "reason_code": "wrong_password"})
    rows.link("a", mode="passive", code="SECRETCODE")
    client = people.browser(people.viewer())
    answer = client.get(f"{API}/links").json()
    assert [(one["link"], one["state"]) for one in answer] == [("a", "never"), ("b", "refused")]
    assert answer[1]["reason"].startswith("Wrong password")
    assert client.get(f"{API}/links/{answer[1]['id']}").json() == answer[1]


def test_codes_and_secrets_are_for_those_who_configure() -> None:
    rows.link(mode="passive", code="SECRETCODE", secret="encrypted-password")
    seen = people.browser(people.viewer()).get(f"{API}/links").content
    configured = people.browser(people.keeper()).get(f"{API}/links").content
    assert b"SECRETCODE" not in seen
    assert b"SECRETCODE" in configured
    assert b"encrypted-password" not in configured


def test_unknown_link() -> None:
    response = people.browser(people.viewer()).get(f"{API}/links/99")
    assert (response.status_code, set(response.json())) == (404, {"detail", "field"})


def test_pause_and_resume() -> None:
    link = rows.link(state={"state": "connected"})
    rows.instance()
    version = Instance.objects.get().config_version
    client = people.browser(people.keeper())
    answer = client.post(f"{API}/links/{link.pk}/pause")
    assert (answer.status_code, answer.json()["state"]) == (200, "paused")
    assert Link.objects.get().paused
    assert Instance.objects.get().config_version > version
    assert client.post(f"{API}/links/{link.pk}/resume").status_code == 200
    assert not Link.objects.get().paused
    assert client.post(f"{API}/links/99/pause").status_code == 404


def test_users_are_listed_and_matched() -> None:
    link, local = rows.link(), people.user("a.smith")
    row = UserMatch.objects.create(
        link=link, digest=digest_of("login", Names("anna", "", "")), matching="login", login="anna"
    )
    assert (
        people.browser(people.viewer()).get(f"{API}/links/{link.pk}/users").json()[0]["state"] == "unmatched"
    )
    client = people.browser(people.keeper())
    answer = client.post(
        f"{API}/links/{link.pk}/users/match",
        {"peer_user": "anna", "user": "a.smith"},
        content_type="application/json",
    )
    assert answer.status_code == 200
    assert (answer.json()[0]["state"], answer.json()[0]["user_id"]) == ("manual", str(local.pk))
    answer = client.post(
        f"{API}/links/{link.pk}/users/match", {"peer_user": str(row.pk)}, content_type="application/json"
    )
    assert answer.json()[0]["state"] == "unmatched"
    for choice, field in (({"peer_user": "99"}, "peer_user"), ({"peer_user": "anna", "user": "zoe"}, "user")):
        answer = client.post(f"{API}/links/{link.pk}/users/match", choice, content_type="application/json")
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert answer.json()["detail"]
    assert (
        client.post(
            f"{API}/links/99/users/match", {"peer_user": "anna"}, content_type="application/json"
        ).status_code
        == 404
    )
    assert client.get(f"{API}/links/99/users").status_code == 404


def test_viewers_change_nothing() -> None:
    link = rows.link()
    client = people.browser(people.viewer())
    refused = client.post(
        f"{API}/links/{link.pk}/users/match",
        {"peer_user": "anna", "user": "viewer"},
        content_type="application/json",
    )
    assert refused.status_code == 403
    assert not UserMatch.objects.exists()
    response = client.post(f"{API}/links/{link.pk}/pause")
    assert response.status_code == 403
    assert not Link.objects.get().paused


def test_changes_need_the_csrf_token() -> None:
    link = rows.link()
    client = people.browser(people.keeper(), enforce_csrf_checks=True)
    url = f"{API}/links/{link.pk}/pause"
    assert client.post(url).status_code == 403
    assert not Link.objects.get().paused
    token = re.search(r'"csrf": "(\w+)"', client.get("/sync/").content.decode())
    if token is None:
        pytest.skip("the panel has not been built")
    assert client.post(url, headers={"X-CSRFToken": token[1]}).status_code == 200
    assert Link.objects.get().paused


def test_reading_changes_nothing_by_get() -> None:
    link = rows.link()
    assert people.browser(people.keeper()).get(f"{API}/links/{link.pk}/pause").status_code == 405


def test_log_pages() -> None:
    link = rows.link()
    field = rows.field("phone")
    ids = [rows.log_entry(link, field).pk for _ in range(3)]
    client = people.browser(people.viewer())
    first = client.get(f"{API}/log?limit=2&link={link.pk}").json()
    assert [entry["id"] for entry in first["entries"]] == [ids[2], ids[1]]
    assert first["entries"][0]["field"] == "phone"
    rest = client.get(f"{API}/log?limit=2&before={first['next']}").json()
    assert ([entry["id"] for entry in rest["entries"]], rest["next"]) == ([ids[0]], None)
    assert client.get(f"{API}/log?link=99").json() == {"entries": [], "next": None}


@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=501", "limit"), ("link=x", "link")]
)
def test_bad_parameters_are_named(query: str, field: str) -> None:
    response = people.browser(people.viewer()).get(f"{API}/log?{query}")
    assert (response.status_code, response.json()["field"]) == (422, field)
    assert response.json()["detail"]


def test_problems() -> None:
    link, other = rows.link("a"), rows.link("b")
    parked = rows.problem(link, rows.field("phone"))
    rows.problem(other, rows.field("phone"))
    (one,) = people.browser(people.viewer()).get(f"{API}/problems?link={link.pk}").json()
    assert (one["id"], one["field"], one["code"]) == (parked.pk, "phone", "missing_target")


def test_me(settings: Any) -> None:
    settings.SYNCAPP_TITLE = "Branch"
    client = people.browser(people.viewer("olga"))
    me = client.get(f"{API}/me", headers={"Accept-Language": "ru"}).json()
    assert me == {"user": "olga", "language": "ru", "title": "Branch", "may_configure": False}


def test_openapi_describes_what_the_panel_reads() -> None:
    document = people.browser().get(f"{API}/openapi.json").json()
    assert f"{API}/links/{{link_id}}/pause" in document["paths"]
    source = (Path(__file__).parents[2] / "frontend" / "src" / "types.ts").read_text()
    for name in ("LinkReport", "SuspendedField", "Fault"):
        body = re.search(rf"export interface {name} {{(.*?)\n}}", source, re.DOTALL)
        assert body, name
        written = re.findall(r"^  (\w+):", body[1], re.MULTILINE)
        assert written == list(document["components"]["schemas"][name]["properties"]), name
