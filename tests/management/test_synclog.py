"""``synclog``."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import translation

from syncapp.management.commands import synclog
from syncapp.models import Field
from tests import rows

pytestmark = pytest.mark.django_db


def run(*arguments: Any) -> str:
    out = StringIO()
    call_command("synclog", *arguments, stdout=out)
    return out.getvalue()


def test_newest_come_last() -> None:
    link = rows.link("Omsk", log=True)
    for number in range(3):
        rows.log_entry(link, rows.field("phone"), after=f'"{number}"')
    assert [line["after"] for line in json.loads(run("--json", "--limit", "2"))] == ["1", "2"]


def test_table_for_people() -> None:
    link = rows.link("Omsk", log=True, state={"peer_title": "Branch"})
    rows.log_entry(link, rows.field("phone"), before=None, after='"+7"', detail="later")
    shown = run()
    for part in ("Branch", "crm.Client", "phone", "? → +7", "applied (later)"):
        assert part in shown


def test_deletions_are_told_in_words() -> None:
    status = rows.field("record_status")
    Field.objects.filter(pk=status.pk).update(system=True)
    rows.log_entry(rows.link("Omsk", log=True), status, before="true", after="false")
    assert "alive → deleted" in run()
    with translation.override("ru"):
        assert "есть → удалена" in run()


def test_values_cannot_steer_the_terminal() -> None:
    link = rows.link("Omsk", log=True)
    rows.log_entry(link, rows.field("phone"), after=json.dumps("\x1b[2J\r\n\u202e[bold]x"))
    shown = run("Omsk")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "⏎[bold]x" in shown


def test_long_values_are_cut_for_people_not_for_programs() -> None:
    link = rows.link("Omsk", log=True)
    rows.log_entry(link, rows.field("phone"), after=json.dumps("x" * 500))
    assert "x" * 100 not in run()
    assert json.loads(run("--json"))[0]["after"] == "x" * 500


def test_says_how_to_switch_it_on() -> None:
    rows.link("Omsk")
    assert "log = true" in run()


def test_wrong_use() -> None:
    with pytest.raises(CommandError) as error:
        run("--limit", "0")
    assert error.value.returncode == 2


def test_following_prints_new_lines_once(monkeypatch: pytest.MonkeyPatch) -> None:
    link, field = rows.link("Omsk", log=True), rows.field("phone")
    rows.log_entry(link, field, after='"old"')
    steps = iter([lambda: rows.log_entry(link, field, after='"new"'), lambda: None])

    def next_step(seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(synclog.time, "sleep", next_step)
    lines = [json.loads(line) for line in run("--follow", "--json").splitlines()]
    assert [line["after"] for line in lines] == ["old", "new"]
