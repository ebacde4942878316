"""The list of links in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Open, log_in
from tests.browser.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOOKS = [
    (language, theme, width)
    for language in ("en", "ru")
    for theme in ("light", "dark")
    for width in (320, 1280)
]
#: Elements whose text or box reaches beyond the page or is cut off.
CLIPPED = """() => [...document.querySelectorAll('#app *')].filter(element => {
  const style = getComputedStyle(element);
  if (element.closest('.hidden, thead, .exact, svg') || style.visibility === 'hidden') return false;
  const box = element.getBoundingClientRect();
  const cut = style.overflow !== 'visible' && element.scrollWidth > element.clientWidth + 1;
  return cut || (box.width > 0 && (box.right > innerWidth + 1 || box.left < -1));
}).map(element => element.outerHTML.slice(0, 120))"""
TARGETS = "#app button, #app a, #app summary"
SMALL = """targets => [...document.querySelectorAll(targets)].filter(element => {
  const box = element.getBoundingClientRect();
  return box.width < 24 || box.height < 24;
}).map(element => element.outerHTML.slice(0, 120))"""


def colours(page: Page) -> set[str]:
    """The colours of all marks."""
    script = """() => [...document.querySelectorAll('.mark *')].flatMap(
      part => [getComputedStyle(part).fill, getComputedStyle(part).stroke])"""
    return set(page.evaluate(script)) - {"none"}


@pytest.mark.parametrize(("language", "theme", "width"), LOOKS)
def test_looks(panel: Open, axe: str, language: str, theme: str, width: int) -> None:
    """Nothing clipped, targets large enough, axe content: both languages and themes, narrow and wide."""
    page = panel(language, width, theme)
    if folder := os.environ.get("SYNCAPP_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"links-{language}-{theme}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(SMALL, TARGETS) == []
    page.evaluate(axe)
    results = page.evaluate("() => axe.run()")
    serious = [v for v in results["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in serious] == []


@pytest.mark.parametrize("language", ["en", "ru"])
def test_nothing_is_clipped_at_double_zoom(panel: Open, language: str) -> None:
    page = panel(language, 640, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
    assert page.evaluate(CLIPPED) == []


def test_states_in_words(panel: Open) -> None:
    page = panel()
    words = {
        "Head office": "Connected",
        "Omsk": "Reconnecting, attempt 3",
        "Perm": "Offline since",
        "Samara": "Paused",
        "Tomsk": "Refused",
        "Ufa": "Action required",
        "Yakutsk": "Waiting for first contact",
    }
    for name, expected in words.items():
        row = page.locator(".link", has=page.get_by_role("rowheader", name=name, exact=True))
        expect(row.locator(".state")).to_contain_text(expected)


def test_changes_arrive_without_a_reload_and_leave_focus_alone(panel: Open, site: Site) -> None:
    page = panel()
    row = page.locator(".link", has_text="Samara")
    button = row.get_by_role("button")
    button.focus()
    site.link("Samara", sent=777_001)
    expect(row.locator(".sent")).to_contain_text("777,001", timeout=2_000)
    expect(button).to_be_focused()


def test_a_lost_peer_turns_the_tick_and_its_return_turns_it_back(panel: Open, site: Site) -> None:
    page = panel()
    row = page.locator(".link", has_text="Head office")
    expect(row).to_have_attribute("data-state", "connected")
    site.link("Head office", state="offline")
    expect(row).to_have_attribute("data-state", "offline", timeout=2_000)
    expect(page.locator("#announcer")).to_contain_text("Head office: Offline since")
    site.link("Head office", state="connected")
    expect(row).to_have_attribute("data-state", "connected", timeout=2_000)


def test_exact_times_are_there_for_the_keyboard(panel: Open) -> None:
    page = panel()
    moment = page.locator(".link", has_text="Perm").locator(".state .moment")
    expect(moment.locator(".exact")).not_to_be_visible()
    moment.focus()
    expect(moment.locator(".exact")).to_be_visible()


def test_pausing_and_resuming(panel: Open) -> None:
    page = panel()
    row = page.locator(".link", has=page.get_by_role("rowheader", name="Kazan"))
    page.get_by_role("button", name="Pause link “Kazan – warehouse”").click()
    expect(row).to_have_attribute("data-state", "paused")
    page.get_by_role("button", name="Resume link “Kazan – warehouse”").press("Enter")
    expect(row).to_have_attribute("data-state", "connected")


def test_language_switches_in_place_and_stays(panel: Open) -> None:
    page = panel()
    page.evaluate("window.stayed = true")
    with page.expect_response("**/i18n/setlang/"):
        page.get_by_role("button", name="Русский").click()
    expect(page.locator("h1")).to_have_text("Синхронизация")
    expect(page.locator(".link", has_text="Tomsk").locator(".reason")).to_contain_text("Неверный пароль")
    assert page.evaluate("window.stayed && document.documentElement.lang") == "ru"
    page.reload()
    expect(page.locator("h1")).to_have_text("Синхронизация")


def test_no_tick_stays_green_when_our_server_dies(panel: Open, site: Site) -> None:
    page = panel()
    page.evaluate("window.stayed = true")
    alive = colours(page)
    strip = page.locator(".strip")
    place = page.locator(".links").bounding_box()
    site.kill()
    try:
        expect(strip).to_contain_text("Page lost contact with the server; data as of", timeout=10_000)
        assert len(colours(page)) < len(alive)
        green = "rgb(23, 122, 76)"
        assert green in alive
        assert green not in colours(page)
        after = page.locator(".links").bounding_box()
        assert place
        assert after
        assert after["y"] == place["y"]
        site.link("Samara", sent=777_002)
    finally:
        site.start()
    expect(strip).to_have_text("", timeout=15_000)
    expect(page.locator(".link", has_text="Samara").locator(".sent")).to_contain_text("777,002")
    assert page.evaluate("window.stayed")
    assert green in colours(page)


def test_stuck_server_is_noticed_as_well(panel: Open, site: Site) -> None:
    """A process that hangs keeps its sockets open: only the missing beat tells."""
    page = panel()
    assert site.process
    site.process.send_signal(19)  # SIGSTOP
    try:
        expect(page.locator(".strip")).to_contain_text("Page lost contact", timeout=13_000)
    finally:
        site.process.send_signal(18)  # SIGCONT
    expect(page.locator(".strip")).to_have_text("", timeout=15_000)


def test_log_out_ends_the_page(panel: Open, site: Site, chromium: Browser) -> None:
    cookies = log_in(chromium, site)
    (session,) = [one["value"] for one in cookies["cookies"] if one["name"].startswith("sessionid")]
    page = panel(cookies=cookies)
    site.sql("DELETE FROM django_session WHERE session_key = ?", session)
    expect(page.locator(".strip a")).to_have_text("Log in again", timeout=30_000)
