"""Two programs that must not talk: each reason has its own state and sentence, and heals when it is put right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from syncapp.core.address import encode_code
from syncapp.core.messages import Bye, Challenge, Open, Proof
from tests.faults.proxy import Way, proxy
from tests.faults.strangers import foreign_websocket, website
from tests.faults.traffic import messages
from tests.instances import pair as pairs
from tests.instances.pair import BRANCH, OFFICE, Pair, link_file
from tests.instances.program import Program
from tests.instances.waiting import stays, wait_until

pytestmark = pytest.mark.timeout(300)

NOTICED = 30
WAYS: tuple[Way, Way] = ("out", "in")
SENTENCES = {
    "wrong_password": "Wrong password",
    "unknown_link": "no link with this code",
    "no_passive_link": "no passive link",
    "not_syncapp": "not as a synchronised program",
    "other_instance": "Another program answers",
    "other_instance_there": "The other program expects",
    "same_instance": "one database is a copy of the other",
    "clock": "Clocks differ by",
    "version_here": "Update this program",
    "version_there": "Update the other program",
    "paused": "paused",
}


@pytest.fixture(scope="module")
def keeper(templates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Keeps one connected pair from test to test; replaces it when a test left it otherwise."""
    with ExitStack() as stack:
        kept: list[Pair] = []

        def connected_pair() -> Pair:
            if kept and not kept[0].connected():
                stack.close()
                kept.clear()
            if not kept:
                kept.append(stack.enter_context(pairs.pair(templates, tmp_path_factory.mktemp("pair"))))
                kept[0].start()
            return kept[0]

        yield connected_pair


@pytest.fixture
def linked(keeper: Any) -> Pair:
    """Two connected programs; the test leaves them connected."""
    pair: Pair = keeper()
    return pair


def wait_reason(side: Program, *codes: str) -> dict[str, Any]:
    """The status of ``side`` once it shows one of these reasons; it has a sentence for it."""
    wait_until(lambda: side.state()["reason_code"] in codes, NOTICED, f"{side.name}: {codes}; {side.state()}")
    shown = side.status()
    assert shown["state"] != "connected"
    assert SENTENCES[shown["reason_code"]] in shown["reason"]
    return shown


def with_environment(pair: Pair, side: Program, **extra: str) -> None:
    """Restart ``side`` with this added to its environment."""
    side.stop()
    side.extra = extra
    side.start()


def assert_heals(pair: Pair) -> None:
    """Connected again, and what was written meanwhile has arrived."""
    pair.wait_connected()
    pair.assert_same()
    for side in pair.both:
        assert side.state()["reason_code"] == ""


# -- passwords and codes -------------------------------------------------------------------------------------


def give_password(side: Program, password: str, text: str | None = None) -> None:
    side.extra = {"LINK_PASSWORD": password}
    side.configure(text or link_file(side.name))
    side.extra = {}


def test_wrong_password(linked: Pair) -> None:
    """Both sides say so, nothing but the log-in passes, and the right password heals it."""
    office, branch = linked.both
    with proxy(office.port) as between:
        between.recording = True
        text = link_file(BRANCH).replace(pairs.WRITTEN_ADDRESS, between.url)
        give_password(branch, "something else", text)
        branch.write("UPDATE crm_client SET phone = 'secret phone'")
        office.write("UPDATE crm_client SET email = 'secret email'")
        shown = [wait_reason(side, "wrong_password") for side in linked.both]
        assert [status["state"] for status in shown] == ["refused", "refused"]
        stays(lambda: not linked.connected(), 1, "it stays refused")
        between.recording = False
        assert between.seen
        for connection in between.seen:
            sent = [{type(message) for message in messages(connection[way])} for way in WAYS]
            assert sent[0] <= {Open, Proof, Bye}
            assert sent[1] <= {Challenge, Bye}
            assert all(b"secret" not in connection[way] and len(connection[way]) < 20_000 for way in WAYS)
        assert any(Proof in map(type, messages(connection["out"])) for connection in between.seen)
        give_password(branch, "correct horse battery staple", text)
        linked.wait_connected()
        linked.dial(office.url)
        assert_heals(linked)


def test_unknown_link_code(linked: Pair) -> None:
    linked.dial(f"{linked.office.url}/{encode_code(bytes(16))}")
    assert wait_reason(linked.branch, "unknown_link")["state"] == "refused"
    assert linked.office.status()["state"] != "connected"
    linked.dial(f"{linked.office.url} {linked.office.value('SELECT code FROM syncapp_link')}")
    assert_heals(linked)
    linked.dial(linked.office.url)
    assert_heals(linked)


def test_no_passive_link(linked: Pair) -> None:
    """The office's link has become an active one: it takes nobody in."""
    office = linked.office
    active = link_file(OFFICE).replace('mode = "passive"', 'mode = "active"\naddress = "http://127.0.0.1:9"')
    office.configure(active)
    assert wait_reason(linked.branch, "no_passive_link")["state"] == "refused"
    assert office.status()["state"] in ("connecting", "offline")
    office.configure(link_file(OFFICE))
    assert_heals(linked)


# -- somebody else -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", [website, foreign_websocket])
def test_a_peer_that_is_no_syncapp(linked: Pair, stranger: Any) -> None:
    with stranger() as url:
        linked.dial(url)
        shown = wait_reason(linked.branch, "not_syncapp")
        assert shown["state"] == "refused"
        assert url in shown["reason"]
        assert linked.office.status()["state"] != "connected"
    linked.dial(linked.office.url)
    assert_heals(linked)


def test_another_program_than_before(linked: Pair) -> None:
    """The office's database was given another identity: the branch knows a different office."""
    linked.office.command("syncconfig", "fork")
    with_environment(linked, linked.office)
    shown = wait_reason(linked.branch, "other_instance")
    assert shown["state"] == "attention"
    assert "Office" in shown["reason"]
    assert wait_reason(linked.office, "other_instance_there")["state"] == "attention"
    linked.branch.write("UPDATE crm_client SET phone = 'kept back' WHERE id = 1")
    stays(lambda: linked.office.value("SELECT phone FROM crm_client WHERE id = 1") != "kept back", 1)
    linked.branch.command("syncconfig", "rebind", "Head office")
    assert_heals(linked)


def test_a_copy_of_the_same_database(linked: Pair) -> None:
    office, branch = linked.both
    own = branch.value("SELECT instance FROM syncapp_instance")
    branch.stop()
    branch.write(
        "UPDATE syncapp_instance SET instance = ?", (office.value("SELECT instance FROM syncapp_instance"),)
    )
    branch.start()
    for side in linked.both:
        assert wait_reason(side, "same_instance")["state"] == "attention"
    branch.stop()
    branch.write("UPDATE syncapp_instance SET instance = ?", (own,))
    branch.start()
    assert_heals(linked)


# -- clocks, versions, pauses --------------------------------------------------------------------------------


def test_clocks_too_far_apart(linked: Pair) -> None:
    with_environment(linked, linked.branch, TEST_CLOCK_SHIFT="400")
    for side in linked.both:
        shown = wait_reason(side, "clock")
        assert shown["state"] == "refused"
        assert "400 s" in shown["reason"] or "399 s" in shown["reason"]
    with_environment(linked, linked.branch)
    assert_heals(linked)


def test_clocks_somewhat_apart_are_warned_about(linked: Pair) -> None:
    with_environment(linked, linked.branch, TEST_CLOCK_SHIFT="-100")
    linked.wait_connected()
    for side, sign in zip(linked.both, (-1, 1), strict=True):
        shown = side.status()
        assert abs(shown["clock_offset_ms"] - sign * 100_000) < 5_000
        assert "Clocks differ by" in shown["warnings"][0]
    with_environment(linked, linked.branch)
    assert_heals(linked)


@pytest.mark.parametrize(
    ("name", "reasons"),
    [(BRANCH, ("version_here", "version_there")), (OFFICE, ("version_there", "version_here"))],
)
def test_versions_that_do_not_meet(linked: Pair, name: str, reasons: tuple[str, str]) -> None:
    """One program speaks a newer protocol only: the other one is named as the one to update."""
    newer = linked.branch if name == BRANCH else linked.office
    with_environment(linked, newer, TEST_PROTOCOL="99")
    for side, reason in zip(linked.both, reasons, strict=True):
        shown = wait_reason(side, reason)
        assert shown["state"] == "refused"
        assert "syncapp 0.1.0" in shown["reason"]
    with_environment(linked, newer)
    assert_heals(linked)


@pytest.mark.parametrize("name", [OFFICE, BRANCH])
def test_paused(linked: Pair, name: str) -> None:
    side = linked.office if name == OFFICE else linked.branch
    other = linked.other(side)
    pause = "from syncapp.store.control import set_paused; set_paused(1, {})"
    side.shell(pause.format(True))
    assert wait_reason(other, "paused")["state"] == "paused"
    shown = side.status()
    assert (shown["state"], "Paused here" in shown["reason"]) == ("paused", True)
    for program in linked.both:
        program.write("UPDATE crm_client SET note = ? WHERE tax_id = 'none' OR id = 9", (program.name,))
    stays(lambda: side.value("SELECT note FROM crm_client WHERE id = 9") == side.name, 1, "nothing flows")
    side.shell(pause.format(False))
    assert_heals(linked)
