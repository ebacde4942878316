"""The command ``syncconfig``."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from syncapp.models import Instance, Link, LinkState
from tests.store.configs import PASSIVE

pytestmark = pytest.mark.django_db


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("syncconfig", *args, stdout=out)
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "branch.toml"
    path.write_text(PASSIVE)
    return str(path)


def test_apply_says_what_it_changed_and_then_that_nothing_is_left(file: str) -> None:
    assert run("apply", file).splitlines() == [
        'Link "Branch": created (passive, websocket).',
        'Link "Branch": table crm.Client was added.',
        'Link "Branch": crm.Client.name is now both.',
    ]
    assert run("apply", file) == "Nothing to change.\n"


def test_apply_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSIVE))
    run("apply", "-")
    assert Link.objects.get().name == "Branch"


def test_passwords_come_from_the_environment(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "x")
    Path(file).write_text(PASSIVE.replace('"swordfish"', '"env:SOME_PASSWORD"'))
    run("apply", file)
    assert Link.objects.get().options == {"password_variable": "SOME_PASSWORD"}


@pytest.mark.parametrize("args", [("apply", "FILE", "--json"), ("--json", "apply", "FILE")])
def test_apply_as_json(args: tuple[str, ...], file: str) -> None:
    args = tuple(file if arg == "FILE" else arg for arg in args)
    assert len(json.loads(run(*args))["changed"]) == 3
    assert json.loads(run(*args)) == {"changed": []}


def test_export_is_toml_that_apply_takes(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run("apply", file)
    text = run("export")
    assert text.startswith("[[link]]\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert run("apply", "-") == "Nothing to change.\n"


def test_export_as_json(file: str) -> None:
    run("apply", file)
    assert json.loads(run("export", "--json"))["link"][0]["table"] == [
        {"table": "crm.Client", "fields": {"name": "both"}}
    ]


def test_fork(file: str) -> None:
    before = bytes(Instance.objects.get().instance)
    assert "new identity" in run("fork")
    assert bytes(Instance.objects.get().instance) != before


def test_rebind(file: str) -> None:
    run("apply", file)
    LinkState.objects.update(peer_instance=b"p" * 16)
    assert 'Link "Branch"' in run("rebind", "Branch")
    assert LinkState.objects.get().peer_instance is None


# -- failures -----------------------------------------------------------------------------------------------


def failure(*args: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(*args)
    return caught.value


def test_a_bad_file_ends_with_1_and_every_error(file: str) -> None:
    Path(file).write_text(PASSIVE.replace("crm.Client", "crm.Nothing").replace("passive", "neither"))
    error = failure("apply", file)
    lines = str(error).splitlines()
    assert len(lines) == 3
    assert 'Link "Branch": "mode" must be active or passive' in lines[0]
    assert 'Link "Branch": there is no table "crm.Nothing" here.' in lines[1]
    assert lines[2] == "Nothing was changed."
    assert error.returncode == 1
    assert not Link.objects.exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    error = failure("apply", str(tmp_path / "no.toml"))
    assert "no.toml cannot be read: No such file or directory." in str(error)
    assert error.returncode == 1


def test_a_file_in_another_encoding(file: str) -> None:
    Path(file).write_bytes("имя".encode("cp1251"))
    assert "is not UTF-8 text" in str(failure("apply", file))


def test_rebind_of_an_unknown_link() -> None:
    error = failure("rebind", "Nobody")
    assert str(error) == 'There is no link "Nobody" here. Links: none.'
    assert error.returncode == 1


def test_before_the_first_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncapp.store.catalogue.usable", lambda using: False)
    assert "python manage.py migrate" in str(failure("export"))


# -- as people call it --------------------------------------------------------------------------------------


def from_command_line(*args: str) -> int:
    """The exit code of ``manage.py syncconfig …``."""
    from syncapp.management.commands.syncconfig import Command

    try:
        Command().run_from_argv(["manage.py", "syncconfig", *args])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("args", [(), ("aply", "x"), ("apply",), ("rebind",), ("export", "--nope")])
def test_wrong_use_ends_with_2(args: tuple[str, ...], capsys: Any) -> None:
    assert from_command_line(*args) == 2
    assert "usage: manage.py syncconfig" in capsys.readouterr().err


def test_a_failure_ends_with_1_and_goes_to_standard_error(capsys: Any) -> None:
    assert from_command_line("rebind", "Nobody") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "There is no link" in err


@pytest.mark.parametrize(
    ("args", "example"),
    [
        (["--help"], "apply branch.toml"),
        (["apply", "--help"], "apply branch.toml"),
        (["export", "--help"], "export > branch.toml"),
        (["rebind", "--help"], 'rebind "Head office"'),
    ],
)
def test_help(args: list[str], example: str, capsys: Any) -> None:
    assert from_command_line(*args) == 0
    out = capsys.readouterr().out
    assert f"example:\n  python manage.py syncconfig {example}" in out
    assert "--json" in out
