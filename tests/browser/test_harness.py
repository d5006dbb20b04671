"""The harness itself: a browser that runs scripts, and complaints that are heard."""

from playwright.async_api import Page

from tests.browser.conftest import Complaints


async def test_a_page_runs_its_scripts(page: Page) -> None:
    """Otherwise every other test here would prove nothing."""
    await page.goto("data:text/html,<h1 id=a></h1><script>a.textContent = 6 * 7</script>")
    assert await page.inner_text("h1") == "42"


async def test_an_error_on_the_console_is_heard(page: Page, complaints: Complaints) -> None:
    """Both kinds: written by a script, thrown by one."""
    await page.goto("data:text/html,<script>console.error('one')</script><script>throw new Error('two')</script>")
    await page.evaluate("0")  # whatever was said before this answer has arrived
    assert sorted(complaints) == ["one", "uncaught: two"]
    complaints.clear()
