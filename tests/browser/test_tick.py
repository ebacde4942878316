"""The tick in a real browser, in front of two real programs: it is green only while everything is well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from syncapp.web import build
from tests.instances.pair import Pair, pair

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

#: Milliseconds, as `expect` takes them. What is promised, and what a slow machine needs to start a program.
NOTICED, LOST, RETURNED = 15_000, 10_000, 90_000
WORDS = {
    "en": ("Connected", "Page lost contact with the server"),
    "ru": ("На связи", "Страница потеряла связь с сервером"),
}


@pytest.fixture
def linked(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Pair]:
    """Two connected programs."""
    if build.entry() is None:
        pytest.skip("the panel has not been built: make setup")
    with pair(tmp_path_factory.getbasetemp() / "templates", tmp_path) as made:
        made.start()
        yield made


@pytest.fixture(params=["en", "ru"])
def page(request: pytest.FixtureRequest, chromium: Browser, linked: Pair) -> Iterator[Page]:
    """The branch's panel; nothing reloads it from here on."""
    context = chromium.new_context(locale=request.param)
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{linked.branch.url}/sync/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", "admin")
    page.click("[type=submit]")
    page.wait_for_selector(".links .link")
    page.evaluate("window.samePage = true")
    yield page
    assert page.evaluate("window.samePage"), "the page was reloaded"
    context.close()


def expect_state(page: Page, state: str, timeout: float) -> None:
    expect(page.locator(f'.links .link .mark[data-state="{state}"]')).to_have_count(1, timeout=timeout)


def expect_green(page: Page, language: str, timeout: float) -> None:
    expect_state(page, "connected", timeout)
    expect(page.locator(".links .link .status")).to_contain_text(WORDS[language][0])
    assert _hue(page) == "green"


def _hue(page: Page) -> str:
    """The colour of the mark, roughly."""
    fill = page.locator(".links .link .mark .body, .links .link .mark .line").first.evaluate(
        "part => { const s = getComputedStyle(part); return s.fill === 'none' ? s.stroke : s.fill }"
    )
    red, green, blue = (float(part) for part in fill.removeprefix("rgb(").rstrip(")").split(","))
    return "green" if green > red + 20 and green > blue + 20 else "other"


def test_the_tick_follows_the_other_program_and_our_own(linked: Pair, page: Page) -> None:
    language = str(page.evaluate("document.documentElement.lang"))
    office, branch = linked.both
    expect_green(page, language, NOTICED)

    counters = page.locator(".links .link td.sent")
    before = counters.inner_text()
    office.write("UPDATE crm_client SET phone = 'counted' WHERE id = 1")
    expect(counters).not_to_have_text(before, timeout=NOTICED)

    office.kill()
    expect(page.locator('.mark[data-state="connected"]')).to_have_count(0, timeout=NOTICED)
    assert _hue(page) != "green"
    office.start()
    expect_green(page, language, RETURNED)

    branch.kill()
    expect(page.locator(".strip")).to_contain_text(WORDS[language][1], timeout=LOST)
    assert _hue(page) != "green", "what the page shows may be out of date"
    branch.start()
    expect(page.locator(".strip")).to_be_empty(timeout=RETURNED)
    expect_green(page, language, RETURNED)
