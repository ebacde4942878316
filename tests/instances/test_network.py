"""A network that cuts, stalls, delays and lies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import Proxy, Way, proxy
from tests.instances import pair as pairs
from tests.instances.editing import Stream
from tests.instances.pair import Pair
from tests.instances.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

#: Bytes after which the connection is cut: within the HTTP upgrade, the log-in, the greetings, the first batches.
CUTS = (1, 150, 400, 700, 1100, 2500, 6000)
#: More than a handshake takes, so that each connection gets some way into the batches.
FURTHER = (15_000, 23_456, 40_001)


@pytest.fixture(scope="module")
def road(lasting: Pair) -> Iterator[Proxy]:
    """The proxy that the module's branch dials through."""
    with proxy(lasting.office.port) as made:
        lasting.dial(made.url)
        wait_until(lambda: made.accepted > 0, 30, "the branch dials the proxy")
        yield made


@pytest.fixture
def between(road: Proxy, lasting: Pair) -> Iterator[Proxy]:
    """A healthy network between two connected programs."""
    road.heal()
    lasting.wait_connected()
    yield road
    road.heal()


def _edit(pair: Pair, mark: str) -> None:
    for side in pair.both:
        field = "phone" if side is pair.office else "email"
        side.write(f"UPDATE crm_client SET {field} = ? || id", (mark,))


@pytest.mark.parametrize("way", ["out", "in"])
def test_cut_anywhere_in_the_handshake(lasting: Pair, between: Proxy, way: Way) -> None:
    cut = 0
    for size in CUTS:
        _edit(lasting, f"{way} {size} ")
        dialled, before = between.accepted, between.cuts
        between.cut_after = {way: size}
        between.cut()
        wait_until(lambda dialled=dialled: between.accepted > dialled, 40, f"dials again: {size} bytes")
        # The last of them may be more than a handshake takes that way.
        wait_until(lambda before=before: between.cuts > before or lasting.connected(), 40, f"{size} bytes")
        cut += between.cuts > before
        between.heal()
        between.cut()
        lasting.wait_connected()
    lasting.assert_same()
    assert cut >= len(CUTS) - 3


@pytest.mark.parametrize("size", FURTHER)
def test_cut_within_batches(lasting: Pair, between: Proxy, size: int) -> None:
    """Each connection dies after some kilobytes: what was acknowledged until then counts."""
    before = between.cuts
    between.cut_after = {"out": size, "in": size}
    for turn in range(4):
        with lasting.branch.connection() as connection:
            connection.executemany(
                "INSERT INTO crm_client (name, tax_id, note) VALUES (?, ?, ?)",
                [("Cut", f"C-{size}-{turn}-{n}", f"{n} " * 40) for n in range(60)],
            )
        _edit(lasting, f"{turn} {size} ")
        between.cut()
    wait_until(lambda: between.cuts > before, 30, "it was cut on the way")
    between.heal()
    between.cut()
    lasting.wait_connected()
    lasting.assert_same()
    assert (
        lasting.office.value("SELECT count(*) FROM crm_client WHERE tax_id LIKE ?", (f"C-{size}-%",)) == 240
    )


@pytest.mark.slow
@pytest.mark.parametrize("way", ["out", "in"])
def test_a_stall_in_one_direction(lasting: Pair, between: Proxy, way: Way) -> None:
    """Bytes go one way only: both notice, and nothing is lost."""
    between.stall = {way}
    _edit(lasting, f"stalled {way} ")
    for side in lasting.both:
        wait_until(lambda side=side: side.state()["state"] != "connected", 45, f"{side.name} notices")
    between.heal()
    between.cut()
    lasting.wait_connected()
    lasting.assert_same()


def test_a_slow_network(lasting: Pair, between: Proxy) -> None:
    between.delay = 0.05
    stream = Stream(lasting, 5)
    time.sleep(2)
    stream.finish()
    stream.assert_everything_arrived_once()


def test_a_server_that_hangs_up_at_once_is_not_hammered(lasting: Pair, between: Proxy) -> None:
    between.hang_up = True
    between.cut()
    before = between.accepted
    time.sleep(8)
    assert 2 <= between.accepted - before <= 8
    assert lasting.branch.status()["state"] in ("connecting", "offline")
    between.heal()
    lasting.wait_connected()
    lasting.assert_same()


def test_connections_that_are_closed_by_the_clock(templates: Path, tmp_path: Path) -> None:
    """Daphne ends websockets after a day; here after three seconds. It is routine: nothing lost, no alarm."""
    with pairs.pair(templates, tmp_path, apart=True) as pair:
        pair.office.web_options = ["--websocket_timeout", "3"]
        pair.start()
        tokens = pair.office.state()["lease_token"]
        stream = Stream(pair, 6)
        wait_until(
            lambda: pair.office.state()["lease_token"] >= tokens + 2, 40, "it was connected anew twice"
        )
        stream.finish()
        assert pair.branch.state()["state"] in ("connected", "connecting")
        pair.office.kill()
        pair.office.web_options = []
        pair.office.start()
        pair.wait_connected()
        stream.assert_everything_arrived_once()
