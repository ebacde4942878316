"""Names of processes tell whether their bearer still lives, and never claim more than can be known."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from syncapp.engine import process
from syncapp.engine.process import is_dead, owner_name
from syncapp.models import LinkState

NAME = "from syncapp.engine.process import owner_name; print(owner_name(), flush=True)"


def test_a_process_knows_itself_alive() -> None:
    assert not is_dead(owner_name())


def test_a_name_fits_its_column_and_is_never_given_twice() -> None:
    assert len(owner_name()) <= (LinkState._meta.get_field("lease_owner").max_length or 0)
    assert owner_name() != owner_name()


def test_another_process_lives_until_it_is_gone() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", f"{NAME}; input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        assert not is_dead(name)
        child.kill()
        child.wait()
        assert is_dead(name)


def test_a_number_that_another_process_has_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, pid, started, rest = owner_name().split("-")
    assert is_dead(f"{machine}-{pid}-{int(started) + 1}-{rest}")
    assert not is_dead(f"{machine}-{pid}-{started}-ffff")


def test_a_process_of_another_machine_is_never_called_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, started, rest = owner_name().split("-")
    assert not is_dead(f"00000000-999999999-{started}-{rest}")
    mine = owner_name()
    monkeypatch.setattr(process.socket, "gethostname", lambda: "elsewhere")
    assert owner_name().split("-")[0] != mine.split("-")[0]
    assert not is_dead(mine)


@pytest.mark.parametrize(
    "name", ["", "sync", "a-b-c", "a-b-c-d", "a-1-2-3-4", "{machine}-x-1-2", "{machine}--1-2"]
)
def test_a_name_that_says_nothing(name: str) -> None:
    assert not is_dead(name.format(machine=owner_name().split("-")[0]))


def test_a_process_of_somebody_else_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(process.os, "kill", refuse)
    assert not is_dead(owner_name())


def test_without_proc_a_living_number_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*args: object, **options: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(process.Path, "read_text", nothing)
    monkeypatch.setattr(process.Path, "readlink", nothing)
    name = owner_name()
    assert name.split("-")[1:3] == [str(os.getpid()), "0"]
    assert not is_dead(name)
