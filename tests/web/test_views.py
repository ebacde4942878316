"""The panel's page, and the health check."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.db.migrations.recorder import MigrationRecorder

from syncapp.web import build, health
from tests.web import people

pytestmark = pytest.mark.django_db


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A built panel."""
    entry = {"src/main.tsx": {"file": "assets/main-1.js", "css": ["assets/main-1.css"], "isEntry": True}}
    (tmp_path / "manifest.json").write_text(json.dumps(entry))
    monkeypatch.setattr(build.entry, "__defaults__", (tmp_path,))
    return tmp_path


@pytest.fixture
def not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.entry, "__defaults__", (tmp_path,))


def test_strangers_are_sent_to_log_in(built: Path) -> None:
    response = people.browser().get("/sync/?a=1")
    assert (response.status_code, response["Location"]) == (302, "/admin/login/?next=/sync/%3Fa%3D1")


def test_people_who_are_not_staff_are_sent_to_log_in(built: Path) -> None:
    client = people.browser(people.user("eve", "view_link", staff=False))
    assert client.get("/sync/").status_code == 302


def test_staff_without_the_permission_get_nothing(built: Path) -> None:
    assert people.browser(people.user("eve")).get("/sync/").status_code == 403


def test_page_carries_the_program(built: Path) -> None:
    response = people.browser(people.keeper()).get("/sync/")
    html = response.content.decode()
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", response["Content-Security-Policy"])
    assert nonce
    assert f'src="/static/syncapp/assets/main-1.js" nonce="{nonce[1]}"' in html
    assert f'href="/static/syncapp/assets/main-1.css" nonce="{nonce[1]}"' in html
    assert html.count("<script") == 2  # the program, and data that no browser runs
    assert '<html lang="en">' in html


def test_page_hands_over_what_the_program_needs(built: Path) -> None:
    html = people.browser(people.viewer("olga")).get("/sync/").content.decode()
    data = re.search(r'<script id="page" type="application/json">(.*?)</script>', html)
    assert data
    page = json.loads(data[1])
    assert (page["user"], page["mayConfigure"], page["languages"]) == ("olga", False, ["en", "ru"])
    assert page["urls"] == {
        "api": "/sync/api",
        "live": "/sync/live/",
        "peer": "/sync/peer/",
        "language": "/i18n/setlang/",
        "program": "/admin/",
        "login": "/admin/login/?next=/sync/",
    }


def test_names_cannot_break_out_of_the_page(built: Path, settings: Any) -> None:
    settings.SYNCAPP_TITLE = "</script><script>alert(1)</script>"
    html = people.browser(people.viewer()).get("/sync/").content.decode()
    assert "<script>alert" not in html


def test_security_headers(built: Path) -> None:
    response = people.browser(people.viewer()).get("/sync/")
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response["X-Frame-Options"] == "DENY"
    assert "no-store" in response["Cache-Control"]


def test_each_page_has_a_nonce_of_its_own(built: Path) -> None:
    client = people.browser(people.viewer())
    policies = {client.get("/sync/")["Content-Security-Policy"] for _ in range(2)}
    assert len(policies) == 2


def test_a_missing_build_says_what_to_run(not_built: None) -> None:
    response = people.browser(people.viewer()).get("/sync/")
    assert response.status_code == 503
    assert "make setup" in response.content.decode()


def test_a_new_build_counts_at_once(built: Path) -> None:
    before = build.entry()
    (built / "manifest.json").write_text(json.dumps({"src/main.tsx": {"file": "assets/main-22.js"}}))
    after = build.entry()
    assert before != after
    assert after == build.Entry("syncapp/assets/main-22.js", ())


def test_page_speaks_the_readers_language(built: Path) -> None:
    html = people.browser(people.viewer()).get("/sync/", headers={"Accept-Language": "ru"}).content.decode()
    assert '<html lang="ru">' in html
    assert "<title>Синхронизация" in html


@pytest.mark.parametrize(("permissions", "shown"), [((), False), (("view_link",), True)])
def test_admin_shows_the_way(permissions: tuple[str, ...], shown: bool) -> None:
    html = people.browser(people.user("anna", *permissions)).get("/admin/").content.decode()
    assert ('id="content-syncapp"' in html) is shown
    assert ("what is exchanged with other programs" in html) is shown


class TestHealth:
    """``/healthz``."""

    def get(self) -> tuple[int, dict[str, Any]]:
        response = people.browser().get("/healthz")
        return response.status_code, response.json()

    def test_able(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health.triggers, "verify", lambda using: [])
        checks = {"database": "ok", "migrations": "ok", "triggers": "ok"}
        assert self.get() == (200, {"status": "ok", "checks": checks})

    def test_migrations_missing(self) -> None:
        MigrationRecorder.Migration.objects.filter(app="syncapp").delete()
        status, answer = self.get()
        assert (status, answer["status"]) == (503, "failing")
        assert "manage.py migrate" in answer["checks"]["migrations"]

    def test_triggers_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health.triggers, "verify", lambda using: ["one"])
        status, answer = self.get()
        assert status == 503
        assert answer["checks"]["triggers"].startswith("1 change triggers missing")

    def test_causes_stay_in_the_log(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken() -> str:
            raise OSError("password of db.internal")

        monkeypatch.setitem(health.CHECKS, "database", broken)
        status, answer = self.get()
        assert status == 503
        assert "db.internal" not in json.dumps(answer)
        assert "db.internal" in caplog.text
        assert list(answer["checks"]) == ["database"]
