"""The Next.js example in a browser, built and started as its README says, before real processes.

The official ChatKit script cannot be had here. `chatkit_stub.js` is served in its place: the same element, options,
events and requests; where it is not, the page shows what people see whose network has none.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio.to_thread
import httpx
import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import PATIENCE, Complaints
from tests.browser.example import EXPIRED, SCRIPT, STUB, World
from tests.browser.nextjs import next_server, running_example
from tests.support.servers import free_port

# `expect` has a time-out of its own, five seconds.
expect.set_options(timeout=PATIENCE)

# Both ways to the gateway: the rewrite, and the route handler beside it.
PATHS = ["", "/handler"]


@pytest.fixture(scope="module")
def world(nextjs_example: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_example(nextjs_example, tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
async def chat(page: Page, profile: BrowserContext, complaints: Complaints, world: World) -> Page:
    """The example's page with alice signed in and the chat there."""
    await profile.route(SCRIPT, lambda route: route.fulfill(body=STUB, content_type="text/javascript"))
    await sign_in(profile, world)
    await page.goto(world.url)
    await expect(page.get_by_label("Message")).to_be_visible()
    return page


async def sign_in(profile: BrowserContext, world: World, *, lag: float = 0) -> None:
    """The cookie alone, without the way over the login page."""
    world.clock.lag = lag
    await profile.request.post(f"{world.issuer_url}/login", form={"user": "alice"}, max_redirects=0)
    world.clock.lag = 0


async def ask(page: Page, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.get_by_role("button", name="Send").click()


async def answered(page: Page) -> None:
    """The answer that is running has come to its end."""
    await expect(page.locator("p.assistant_message").last).to_contain_text("offline model")
    await expect(page.get_by_role("button", name="Stop")).to_be_hidden()


async def test_who_signs_in_is_told_who_they_are_word_by_word(
    page: Page, profile: BrowserContext, complaints: Complaints, world: World
) -> None:
    """From the prompt over the login page and back; the answer grows in many steps and knows user and page."""
    await profile.route(SCRIPT, lambda route: route.fulfill(body=STUB, content_type="text/javascript"))
    await page.goto(world.url)
    await expect(status(page)).to_contain_text("Sign in to chat.")
    assert is_about_status(complaints, 401)
    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_role("button", name="Alice Example").click()
    await expect(status(page)).to_contain_text("Alice Example")
    await page.evaluate(
        """() => {
          window.lengths = new Set();
          const log = document.querySelector("[role=log]");
          const note = () => lengths.add(log.lastElementChild?.textContent.length);
          new MutationObserver(note).observe(log, { childList: true, subtree: true, characterData: true });
        }"""
    )
    await ask(page, "Which page am I on?")
    await answered(page)

    text = await page.locator("p.assistant_message").inner_text()
    assert await page.evaluate("lengths.size") > 10
    assert "Alice Example" in text
    assert "Orders" in text


async def test_scripts_see_no_cookie(chat: Page, profile: BrowserContext) -> None:
    """It is there, and it is the browser's alone."""
    [cookie] = await profile.cookies()

    assert (cookie["name"], cookie["httpOnly"]) == ("auth_token", True)
    assert await chat.evaluate("document.cookie") == ""


async def test_a_reload_keeps_the_thread(chat: Page) -> None:
    await ask(chat, "Remember the lighthouse.")
    await answered(chat)
    await chat.reload()

    await expect(chat.locator("p.user_message")).to_have_text("Remember the lighthouse.")
    await expect(chat.locator("p.assistant_message")).to_contain_text("offline model")


async def test_stop_reaches_the_backend(chat: Page, world: World) -> None:
    """Through the rewrite: the backend's own log says that the client left."""
    before = endings(world).count("client")
    await ask(chat, "Tell me a long story.")
    await expect(chat.locator("p.assistant_message")).to_contain_text("offline")
    await chat.get_by_role("button", name="Stop").click()

    await anyio.to_thread.run_sync(wait_for, lambda: endings(world).count("client") == before + 1)


async def test_a_session_that_ends_costs_no_message(
    chat: Page, profile: BrowserContext, complaints: Complaints, world: World
) -> None:
    """The prompt stands beside the chat; after the login the message is in the composer again, for this user."""
    await sign_in(profile, world, lag=EXPIRED)
    await ask(chat, "Where is my lamp?")
    await expect(status(chat)).to_contain_text("Your session has ended.")
    await expect(chat.get_by_label("Message")).to_be_visible()
    assert is_about_status(complaints, 401)
    await chat.get_by_role("link", name="Sign in").click()
    await chat.get_by_role("button", name="Alice Example").click()

    await expect(chat.get_by_label("Message")).to_have_value("Where is my lamp?")


async def test_a_sign_in_in_another_tab_is_noticed(
    chat: Page, profile: BrowserContext, complaints: Complaints, world: World
) -> None:
    """The chat never went away."""
    await sign_in(profile, world, lag=EXPIRED)
    await ask(chat, "Where is my lamp?")
    await expect(status(chat)).to_contain_text("Your session has ended.")
    assert is_about_status(complaints, 401)
    await sign_in(profile, world)
    await chat.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    await expect(status(chat)).to_contain_text("Alice Example")
    await expect(chat.get_by_label("Message")).to_have_value("Where is my lamp?")


async def test_another_user_is_not_shown_what_was_kept(
    chat: Page, profile: BrowserContext, complaints: Complaints, world: World
) -> None:
    """Neither the thread nor the message that was refused."""
    await ask(chat, "Mine alone.")
    await answered(chat)
    await sign_in(profile, world, lag=EXPIRED)
    await ask(chat, "And so is this.")
    await expect(status(chat)).to_contain_text("Your session has ended.")
    assert is_about_status(complaints, 401)
    await chat.get_by_role("link", name="Sign in").click()
    await chat.get_by_role("button", name="Bob Sample").click()
    await expect(status(chat)).to_contain_text("Bob Sample")

    await expect(chat.get_by_label("Message")).to_have_value("")
    assert await chat.locator("[role=log] p").count() == 0


async def test_a_backend_that_dies_in_mid_answer_leaves_a_retry_that_works(chat: Page, world: World) -> None:
    """One readable error; after the restart the same question is answered, not asked twice."""
    await ask(chat, "Tell me a long story.")
    await expect(chat.locator("p.assistant_message")).to_contain_text("offline")
    world.kill_backend()
    await expect(chat.get_by_role("button", name="Retry")).to_be_visible()
    await expect(chat.get_by_role("alert").filter(has_text=".")).to_be_visible()
    world.start_backend()
    await chat.get_by_role("button", name="Retry").click()
    await answered(chat)
    await chat.reload()

    await expect(chat.locator("p.user_message")).to_have_count(1)
    await expect(chat.locator("p.assistant_message").last).to_contain_text("Alice Example")


async def test_selected_text_is_asked_about(chat: Page) -> None:
    """The button that the kit shows beside it quotes it in the composer."""
    await chat.get_by_text("A-17, a lighthouse lamp").click(click_count=3)
    await chat.get_by_role("button", name="Ask about selection").click()

    await expect(chat.locator("blockquote")).to_have_text("A-17, a lighthouse lamp, shipped on Monday.")
    await expect(chat.get_by_label("Message")).to_be_focused()


async def test_the_assistant_can_change_the_colours(chat: Page) -> None:
    """A client effect of the default agent's, for page and chat."""
    await ask(chat, "Switch to dark mode")
    await expect(chat.locator("html")).to_have_attribute("data-theme", "dark")

    assert await chat.evaluate("document.querySelector('openai-chatkit').options.theme.colorScheme") == "dark"


async def test_without_the_script_the_page_says_so_and_asks_again(
    page: Page, profile: BrowserContext, complaints: Complaints, world: World
) -> None:
    """The kit's error state, in words; the rest of the page is there."""
    await profile.route(SCRIPT, lambda route: route.abort())
    await sign_in(profile, world)
    await page.clock.install()
    await page.goto(world.url)
    await expect(status(page)).to_contain_text("The chat is being loaded")
    await page.clock.run_for(11_000)

    await expect(status(page)).to_contain_text("The chat did not load within 10 seconds.")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    await expect(page.get_by_role("heading", name="Your orders")).to_be_visible()
    # Chromium's word for it, and Next.js's: its loader writes the event.
    assert set(complaints) <= {"Failed to load resource: net::ERR_FAILED", "Event"}
    complaints.clear()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("colours", ["light", "dark"])
async def test_nothing_is_wider_than_the_screen(chat: Page, width: int, colours: str) -> None:
    """A phone's and a desktop's width; the chat has room on both."""
    await chat.emulate_media(color_scheme="dark" if colours == "dark" else "light")
    await chat.set_viewport_size({"width": width, "height": 844})
    box = await chat.locator("openai-chatkit").bounding_box()

    assert await chat.evaluate("document.documentElement.scrollWidth") <= width
    assert box is not None
    assert min(box["width"], box["height"]) >= 300


# --- The two ways to the gateway ---


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    """A browser's cookie and Origin, without a browser."""
    with httpx.Client(base_url=world.url, headers={"origin": world.url}, trust_env=False, timeout=30) as client:
        signed_in = client.post(
            f"{world.issuer_url}/login", data={"user": "alice"}, headers={"origin": world.issuer_url}
        )
        assert signed_in.status_code == 303
        yield client


def create(text: str) -> dict[str, object]:
    content = [{"type": "input_text", "text": text}]
    return {
        "type": "threads.create",
        "params": {"input": {"content": content, "attachments": [], "inference_options": {}}},
    }


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_arrives_event_by_event(client: httpx.Client, path: str) -> None:
    """Also for who takes compressed answers, as every browser does: nothing collects them on the way."""
    headers = {"accept-encoding": "gzip, br"}
    with client.stream("POST", f"{path}/chatkit", json=create("Hello"), headers=headers) as answer:
        pieces = [piece for piece in answer.iter_raw() if piece]

    assert answer.headers["content-type"] == "text/event-stream"
    assert "content-encoding" not in answer.headers
    assert len(pieces) > 10
    assert json.loads(pieces[0].removeprefix(b"data:").split(b"\n")[0])["type"] == "thread.created"


@pytest.mark.parametrize("path", PATHS)
def test_what_the_gateway_judges_reaches_it(client: httpx.Client, path: str) -> None:
    """Cookie, Origin, request id: none is lost or made up on the way, and its refusals come back as they are."""
    ours = client.post(f"{path}/chatkit", json=create("Hello"), headers={"x-request-id": "from-the-page-1"})
    foreign = client.post(f"{path}/chatkit", json=create("Hello"), headers={"origin": "https://evil.example"})
    signed_in = client.get(f"{path}/session")
    client.cookies.clear()
    signed_out = client.get(f"{path}/session")

    assert (ours.status_code, ours.headers["x-request-id"]) == (200, "from-the-page-1")
    assert (foreign.status_code, foreign.json()["code"]) == (403, "cross_site_request")
    assert signed_in.json()["user"]["name"] == "Alice Example"
    assert (signed_out.status_code, signed_out.headers["www-authenticate"]) == (401, "Bearer")
    assert signed_out.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PATHS)
def test_who_leaves_is_gone_at_the_backend(client: httpx.Client, world: World, path: str) -> None:
    """The answer is not written on for nobody."""
    before = endings(world).count("client")
    with client.stream("POST", f"{path}/chatkit", json=create("A long story, please.")) as answer:
        assert next(answer.iter_raw())

    wait_for(lambda: endings(world).count("client") == before + 1)


def test_the_handler_reads_the_address_when_it_starts_and_says_when_nobody_is_there(world: World) -> None:
    """Readable, and no status after which ChatKit would send the message five times."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    with next_server(world, free_port(), GATEWAY_URL=nowhere) as url:
        answer = httpx.post(f"{url}/handler/chatkit", json=create("Hello"), trust_env=False, timeout=30)

    assert (answer.status_code, answer.json()["code"]) == (424, "gateway_unreachable")
    assert answer.json()["message"].startswith("The assistant cannot be reached")


# --- Looking ---


def status(page: Page) -> Locator:
    """What stands above the chat; the button beside selected text has one of its own."""
    return page.get_by_role("complementary").get_by_role("status")


def endings(world: World) -> list[str]:
    """How the backend's answers ended, as its log has it."""
    return re.findall(r" ended_by=(\w+)", world.backend_log)


def wait_for(condition: Callable[[], bool]) -> None:
    """A second is what a browser that left may be served for; more is for a busy machine."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_about_status(complaints: Complaints, status: int) -> bool:
    """Chromium writes a line for each such answer; those are taken, others stay."""
    expected = [line for line in complaints if f"status of {status}" in line]
    complaints[:] = [line for line in complaints if line not in expected]
    return expected != []
