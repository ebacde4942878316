"""``syncstatus``."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import translation

from syncapp.management.commands import syncstatus
from syncapp.models import LinkState
from syncapp.store.status import now_us
from tests import rows

pytestmark = pytest.mark.django_db


def run(*arguments: Any, **options: Any) -> str:
    out = StringIO()
    call_command("syncstatus", *arguments, stdout=out, **options)
    return out.getvalue()


def connected(name: str, **state: Any) -> None:
    defaults = {"state": "connected", "lease_until": now_us() + 600 * rows.SECOND}
    rows.link(name, state={**defaults, **state})


def test_json_is_what_was_promised() -> None:
    connected("Omsk", sent=3, last_exchange=rows.NOW, peer_instance=b"\x02" * 16)
    (status,) = json.loads(run("--json"))
    assert (status["link"], status["state"], status["sent"]) == ("Omsk", "connected", 3)
    assert status["last_exchange"] == "2026-03-01T12:00:00Z"
    assert status["peer_instance"] == "02" * 16


def test_one_link() -> None:
    connected("Omsk")
    connected("Kazan")
    assert [one["link"] for one in json.loads(run("Kazan", "--json"))] == ["Kazan"]


def test_unknown_link_names_those_there_are() -> None:
    connected("Omsk")
    with pytest.raises(CommandError, match=r'no link "Tomsk"\. Links: "Omsk"') as error:
        run("Tomsk")
    assert error.value.returncode == 1


def test_table_for_people() -> None:
    connected("Omsk", peer_title="Branch [red]Omsk")
    rows.link("Kazan", state={"state": "refused", "reason_code": "wrong_password"})
    shown = run()
    assert "Connected" in shown
    assert "Branch [red]Omsk" in shown
    assert "Kazan: Wrong password" in shown


def test_no_links() -> None:
    assert run() == "No links yet\n"
    assert json.loads(run("--json")) == []


def test_russian() -> None:
    connected("Omsk")
    with translation.override("ru"):
        assert "На связи" in run()


def test_watching_prints_a_line_for_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    connected("Omsk")
    steps = iter([lambda: None, lambda: LinkState.objects.update(sent=9)])

    def next_step(seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(syncstatus.time, "sleep", next_step)
    lines = [json.loads(line) for line in run("--watch", "--json").splitlines()]
    assert [line[0]["sent"] for line in lines] == [0, 9]
