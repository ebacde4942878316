"""``syncconflicts``."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import translation

from project.crm.models import Client
from syncapp.models import Conflict, Problem
from tests.disputes import Disputed, disputed

pytestmark = pytest.mark.django_db


def run(*arguments: Any) -> str:
    out = StringIO()
    call_command("syncconflicts", *(str(one) for one in arguments), stdout=out)
    return out.getvalue()


@pytest.fixture
def scene(db: None) -> Disputed:
    """One client with a question about its phone, and a conflict about its name."""
    scene = disputed()
    made = Client.objects.create(name="Ivanov", phone="1")
    uid = scene.uid("crm.Client", made.pk)
    scene.comes("crm.Client", uid, "phone", "2")
    scene.comes("crm.Client", uid, "name", "Petrov")
    return scene


def question() -> int:
    return Problem.objects.get().pk


def conflict() -> int:
    return Conflict.objects.earliest("pk").pk


def test_list(scene: Disputed) -> None:
    text = run()
    assert f"Q{question()}" in text
    assert f"C{conflict()}" in text
    assert "Branch office" in text
    found = json.loads(run("list", "--json"))
    assert [q["theirs"]["value"] for q in found["questions"]] == ["2"]
    assert [c["lost"]["value"] for c in found["conflicts"]] == ["Ivanov"]
    assert json.loads(run("list", "--link", "Branch", "--json")) == found
    with pytest.raises(CommandError, match="There is no link"):
        run("list", "--link", "x")


def test_nothing_to_list() -> None:
    disputed()
    assert run() == "No conflicts.\n"
    assert json.loads(run("--json")) == {"questions": [], "conflicts": []}


def test_show(scene: Disputed) -> None:
    assert json.loads(run("show", f"q{question()}", "--json"))["ours"]["value"] == "1"
    assert json.loads(run("show", f"C{conflict()}", "--json"))["won"]["value"] == "Petrov"
    with pytest.raises(CommandError, match=r"no conflict No\. 99"):
        run("show", "C99")
    with pytest.raises(CommandError, match="Name a question") as error:
        run("show", "99")
    assert error.value.returncode == 2


def test_restore_and_keep(scene: Disputed) -> None:
    run("restore", f"C{conflict()}")
    assert Client.objects.get().name == "Ivanov"
    assert f"C{conflict()}" not in run("list")
    assert "loser restored" in run("list", "--all")
    with pytest.raises(CommandError, match="settled so already") as error:
        run("restore", conflict())
    assert error.value.returncode == 1
    assert json.loads(run("keep", conflict(), "--json")) == {"settled": [conflict()]}
    assert Client.objects.get().name == "Petrov"


@pytest.mark.parametrize(
    ("said", "phone"),
    [(["--take", "ours"], "1"), (["--take", "theirs"], "2"), (["--value", "3"], "3"), (["--empty"], None)],
)
def test_decide(scene: Disputed, said: list[str], phone: str | None) -> None:
    if phone is None:
        with pytest.raises(CommandError, match="cannot be empty"):
            run("decide", question(), *said)
        return
    assert "1 question is decided" in run("decide", f"Q{question()}", *said)
    assert Client.objects.get().phone == phone
    assert not Problem.objects.exists()


def test_wrong_use(scene: Disputed) -> None:
    for arguments in (["decide", "C1", "--take", "ours"], ["decide", "1"], ["restore", "x"], ["restore"]):
        with pytest.raises((CommandError, SystemExit)):
            run(*arguments)
    with pytest.raises(CommandError, match=r"no open question No\. 99"):
        run("decide", "99", "--take", "ours")
    with pytest.raises(CommandError, match=r"no open question No\. 99"):
        run("decide", "99", "--value", "x")


def test_in_russian(scene: Disputed) -> None:
    with translation.override("ru"):
        assert "Вопросы" in run()
