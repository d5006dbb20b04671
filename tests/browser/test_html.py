"""The plain HTML example in a browser: the page on one origin, the gateway on another, the kit loaded from there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tests.attack.processes import ROOT
from tests.browser.conftest import PATIENCE, Complaints
from tests.browser.example import EXAMPLES, EXPIRED, SCRIPT, STUB, World, running_services
from tests.support.servers import serve

# `expect` has a time-out of its own, five seconds.
expect.set_options(timeout=PATIENCE)

FILES = ("index.html", "chat.js", "style.css")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(folder=tmp_path_factory.mktemp("html"), example=ROOT / EXAMPLES / "html")
    with running_services(world):
        world.processes.enter_context(serve(site(world), port=world.page_port))
        yield world


def site(world: World) -> Starlette:
    """The page's own server, which knows files and nothing else."""
    folder: Path = world.folder / "site"
    folder.mkdir()
    for name in FILES:
        world.fill(name).rename(folder / name)
    return Starlette(routes=[Mount("/", StaticFiles(directory=folder, html=True))])


@pytest.fixture
async def open_page(page: Page, profile: BrowserContext, world: World) -> Page:
    """The page as a stranger sees it."""
    await profile.route(SCRIPT, lambda route: route.fulfill(body=STUB, content_type="text/javascript"))
    await page.goto(world.url)
    return page


async def sign_in(page: Page) -> None:
    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_role("button", name="Alice Example").click()
    await expect(page.get_by_role("status")).to_have_text("Alice Example")


async def ask(page: Page, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.get_by_role("button", name="Send").click()


async def test_a_page_elsewhere_chats_with_the_cookie(open_page: Page, complaints: Complaints) -> None:
    """From the sign-in to an answer that knows user and page, and is there again after a reload."""
    await expect(open_page.get_by_role("status")).to_contain_text("Sign in to chat.")
    assert take(complaints, "status of 401")
    await sign_in(open_page)
    await ask(open_page, "Which page am I on?")
    answer = open_page.locator("p.assistant_message")
    await expect(answer).to_contain_text("Alice Example")
    await expect(answer).to_contain_text("Opening hours")
    await expect(open_page.get_by_role("button", name="Stop")).to_be_hidden()
    await open_page.reload()

    await expect(open_page.locator("p.user_message")).to_have_text("Which page am I on?")
    assert await open_page.evaluate("document.cookie") == ""


async def test_a_session_that_ends_leaves_the_chat_and_offers_the_login(
    open_page: Page, profile: BrowserContext, complaints: Complaints, world: World
) -> None:
    """What the gateway says is shown where ChatKit shows errors; what has been typed stays."""
    await sign_in(open_page)
    take(complaints, "status of 401")
    world.clock.lag = EXPIRED
    await profile.request.post(f"{world.issuer_url}/login", form={"user": "alice"}, max_redirects=0)
    world.clock.lag = 0
    await ask(open_page, "Hello?")

    await expect(open_page.get_by_role("status")).to_contain_text("Your session has ended.")
    await expect(open_page.get_by_role("link", name="Sign in")).to_be_visible()
    await expect(open_page.get_by_label("Message")).to_be_visible()
    assert take(complaints, "status of 401")


async def test_the_policy_names_all_that_the_page_needs(open_page: Page, complaints: Complaints) -> None:
    """And lets nothing else in: an inline script is refused, and the browser says so."""
    await expect(open_page.get_by_role("status")).to_contain_text("Sign in to chat.")
    assert not take(complaints, "Content Security Policy")
    await open_page.evaluate("document.head.append(Object.assign(document.createElement('script'), {text: 'x = 1'}))")

    assert await open_page.evaluate("typeof x") == "undefined"
    assert take(complaints, "Content Security Policy")
    take(complaints, "status of 401")


async def test_without_the_script_the_page_says_so(page: Page, profile: BrowserContext, world: World) -> None:
    """After the time that a script may take; with a way to try again."""
    await profile.request.post(f"{world.issuer_url}/login", form={"user": "alice"}, max_redirects=0)
    # It arrives, and brings no chat: one that fails is an error at once, if anybody listens yet.
    await profile.route(SCRIPT, lambda route: route.fulfill(content_type="text/javascript", body=""))
    await page.clock.install()
    async with page.expect_response("**/session"):
        await page.goto(world.url)
    again = page.get_by_role("button", name="Try again")
    # The time runs from when the answer has been read.
    while not await again.is_visible():
        await page.clock.run_for(1_000)

    await expect(page.get_by_role("status")).to_contain_text("The chat did not load within 10 seconds.")


def take(complaints: Complaints, text: str) -> bool:
    """Was there a complaint of this kind? It is expected then, and others stay."""
    expected = [line for line in complaints if text in line]
    complaints[:] = [line for line in complaints if line not in expected]
    return expected != []
