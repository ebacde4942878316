"""``syncproblems``."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from syncapp.models import LogEntry, Problem
from tests import rows

pytestmark = pytest.mark.django_db


def run(*arguments: Any) -> str:
    out = StringIO()
    call_command("syncproblems", *(str(one) for one in arguments), stdout=out)
    return out.getvalue()


def due() -> set[int]:
    return set(Problem.objects.filter(next_try=0).values_list("pk", flat=True))


def test_list() -> None:
    link, other = rows.link("a"), rows.link("b")
    parked = rows.problem(link, rows.field("phone"), tries=3)
    rows.problem(other, rows.field("phone"))
    (line,) = json.loads(run("list", "--link", "a", "--json"))
    assert (line["id"], line["code"], line["tries"]) == (parked.pk, "missing_target", 3)
    listed = run()
    assert "has not arrived yet" in listed
    assert {"Waits", "since"} <= set(listed.split())


def test_no_problems() -> None:
    assert run() == "No problems.\n"
    assert json.loads(run("--json")) == []


def test_retry_some_or_all() -> None:
    link, field = rows.link(), rows.field()
    first, second = rows.problem(link, field), rows.problem(link, field)
    assert run("retry", first.pk) == "1 problem is due now.\n"
    assert due() == {first.pk}
    assert json.loads(run("retry", "--all", "--json")) == {"retried": 2}
    assert due() == {first.pk, second.pk}


def test_skip_leaves_a_trace() -> None:
    parked = rows.problem(rows.link(), rows.field("phone"))
    assert "1 problem was skipped" in run("skip", parked.pk)
    assert not Problem.objects.exists()
    assert LogEntry.objects.get().result == "skipped"


@pytest.mark.parametrize("action", ["retry", "skip"])
def test_nothing_happens_without_a_choice(action: str) -> None:
    rows.problem(rows.link(), rows.field())
    with pytest.raises(CommandError) as error:
        run(action)
    assert error.value.returncode == 2
    assert Problem.objects.filter(next_try=rows.NOW).count() == 1


@pytest.mark.parametrize("action", ["retry", "skip"])
def test_one_unknown_number_stops_all(action: str) -> None:
    parked = rows.problem(rows.link(), rows.field())
    with pytest.raises(CommandError, match=r"no problem No\. 99") as error:
        run(action, parked.pk, 99)
    assert error.value.returncode == 1
    assert Problem.objects.filter(next_try=rows.NOW).count() == 1
