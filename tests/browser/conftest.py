"""A program with links in every state, and a browser in front of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from syncapp.web import build
from tests.browser.site import LINKS, PASSWORD, Site

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
NAMES = ("chromium", "chromium-browser", "google-chrome")

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium.

    Not for the whole session: while Playwright is there, its event loop counts as running, and no test of the same
    worker could run one of its own.
    """
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running program with links in every state."""
    if build.entry() is None:
        pytest.skip("the panel has not been built: make setup")
    site = Site(tmp_path_factory.mktemp("site"))
    site.manage("migrate", "-v", "0")
    site.manage("shell", "-v", "0", "-c", LINKS.format(password=PASSWORD))
    site.start()
    yield site
    site.kill()


@pytest.fixture(scope="module")
def logged_in(chromium: Browser, site: Site) -> Any:
    """The cookies of someone who may do everything."""
    return log_in(chromium, site)


def log_in(chromium: Browser, site: Site) -> Any:
    """The cookies that the log-in page gives, on the way to the panel."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site.url}/sync/")
    page.fill("#id_username", "anna")
    page.fill("#id_password", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_url(f"{site.url}/sync/")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def panel(chromium: Browser, site: Site, logged_in: Any) -> Iterator[Open]:
    """Opens the panel; at the end no page may have complained."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_panel(
        language: str = "en", width: int = 1280, theme: Any = "light", cookies: Any = None, **options: Any
    ) -> Page:
        context = chromium.new_context(
            storage_state=cookies or logged_in,
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            locale=language,
            timezone_id="Europe/Moscow",
            **options,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: _note(complaints, message))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{site.url}/sync/")
        page.wait_for_selector(".links .link")
        return page

    yield open_panel
    for context in contexts:
        context.close()
    assert complaints == []


def _note(complaints: list[str], message: Any) -> None:
    # A server that is gone on purpose is no fault of the page.
    if message.type in ("error", "warning") and "ERR_CONNECTION_REFUSED" not in message.text:
        complaints.append(message.text)


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    path = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        pytest.skip("axe-core is not installed: make setup")
    return path.read_text()
