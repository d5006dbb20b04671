"""A Chromium for all tests of this folder, and a fresh profile for each.

The browser is the machine's own: `CHROMIUM`, or the first of its usual names on the path. Without one the tests are
skipped, and the run says so in its last line; where `CI` is set they fail instead. A page that writes an error on its
console, or throws one that nobody catches, fails its test unless the test says that it expects it.
"""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tests.browser.nextjs import install_example

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# As root there is no sandbox to be had; the rest keeps the browser from calling home.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Milliseconds that a page has for what a test awaits: three interpreters answer it on a busy machine.
PATIENCE = 20_000


def find_chromium() -> str | None:
    """The path of the browser to use."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a browser: skipped here, failed in CI (by the fixture)."""
    if find_chromium() is None and "CI" not in os.environ:
        for item in items:
            if item.path.is_relative_to(os.path.dirname(__file__)):
                item.add_marker(pytest.mark.skip(reason="no Chromium on this machine (Debian: apt install chromium)"))


@pytest.fixture(scope="package")
def anyio_backend() -> str:
    """One loop for the folder, since the browser lives in it; other folders' tests must not find themselves in it."""
    return "asyncio"


@pytest.fixture(scope="package")
async def chromium(anyio_backend: str) -> AsyncIterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.fail("no Chromium: install Debian's `chromium`, or set CHROMIUM to its path")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def profile(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """Cookies and storage of one person; nothing is left for the next test."""
    context = await chromium.new_context()
    context.set_default_timeout(PATIENCE)
    yield context
    await context.close()


class Complaints(list[str]):
    """What pages wrote as errors; a test empties it when it expected them."""

    def listen(self, page: Page) -> None:
        page.on("console", self._take_console)
        page.on("pageerror", lambda error: self.append(f"uncaught: {error}"))

    def _take_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.append(message.text)


@pytest.fixture
async def complaints(profile: BrowserContext) -> AsyncIterator[Complaints]:
    """Errors of every page of the profile. Not empty at the end: the test fails."""
    heard = Complaints()
    profile.on("page", heard.listen)
    yield heard
    assert heard == []


@pytest.fixture
async def page(profile: BrowserContext, complaints: Complaints) -> Page:
    """A page that must not complain."""
    return await profile.new_page()


@pytest.fixture(scope="session")
def nextjs_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Next.js example with its packages, not built yet; installed once, for whoever needs a part of it."""
    return install_example(tmp_path_factory.mktemp("nextjs"))
