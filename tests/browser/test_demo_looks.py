"""How the demo's pages look and are operated: names, contrast, narrow screens, the keyboard; and the official element.

Each is looked at where it is fullest: a conversation with a widget, a form, files and an error in it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import FilePayload, Page, Route, expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import Complaints
from tests.support.stack import Stack, running_stack

PHONE, DESKTOP = (390, 844), (1280, 800)
CDN = "https://cdn.platform.openai.com/**"
# Of WCAG 2.2, 1.4.3: for text that is not large.
MIN_CONTRAST = 4.5

ALL_IS_WELL: dict[str, Any] = {"nameless": [], "faint": [], "repeated": [], "wide": []}
LOOKS = (Path(__file__).parent / "looks.js").read_text()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("demo"), word_delay=0) as stack:
        yield stack


async def full_chat(stack: Stack, page: Page) -> ChatPage:
    """A conversation with one of everything."""
    chat = await ChatPage(page, stack).open()
    await page.locator("#file").set_input_files(FilePayload(name="a.txt", mimeType="text/plain", buffer=b"text"))
    await expect(page.get_by_label("Goes with the message")).to_have_text("a.txt×")
    await chat.ask("make a checklist: milk, " + "eggs-in-a-very-long-word-" * 4)
    await chat.ask("what time is it here")
    await chat.ask("ask me some questions")

    async def fail(route: Route) -> None:
        event = {"type": "error", "message": "It went wrong.", "allow_retry": True}
        await route.fulfill(content_type="text/event-stream", body=f"data: {json.dumps(event)}\n\n")

    await page.route("**/chatkit", fail)
    await chat.box.fill("And this, with https://example.test/a/very/long/address/that/has/no/spaces/in/it/at/all")
    await chat.box.press("Enter")
    await expect(chat.messages("problem")).to_be_visible()
    return chat


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
async def test_everything_has_a_name_and_can_be_read(
    stack: Stack, page: Page, scheme: Literal["light", "dark"], size: tuple[int, int]
) -> None:
    """In each panel, in light and dark, on a phone and on a desk: names, contrast, no id twice, nothing cut off."""
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await page.emulate_media(color_scheme=scheme)
    await full_chat(stack, page)
    panels = [None, "Conversations", "What the agent sees"] if size == PHONE else [None]
    for panel in panels:
        if panel:
            await page.get_by_role("button", name=panel).click()
        assert await page.evaluate(LOOKS, MIN_CONTRAST) == ALL_IS_WELL, panel


async def test_the_looks_are_really_looked_at(page: Page) -> None:
    """Each thing that is looked for is found where it is."""
    await page.goto("data:text/html,<meta name=viewport content=width=device-width>")
    await page.set_content(
        '<p id="a" style="color: #999; background: #fff">Faint</p><button id="a"></button>'
        '<p style="width: 5000px; color: #000">Wide</p><img alt="">'
    )

    assert await page.evaluate(LOOKS, MIN_CONTRAST) == {
        "nameless": ['<button id="a"></button>'],
        "faint": ["2.85: Faint"],
        "repeated": ["a"],
        "wide": ["5008 pixels on a screen of 1280"],
    }


async def test_the_smallest_screens_do_not_scroll_sideways(stack: Stack, page: Page) -> None:
    """320 pixels, or a desk at 400 %: WCAG 2.2, 1.4.10."""
    await page.set_viewport_size({"width": 320, "height": 568})
    chat = await full_chat(stack, page)

    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    await expect(chat.send_button).to_be_in_viewport()
    await expect(chat.box).to_be_in_viewport()


async def test_the_whole_chat_works_without_a_mouse(stack: Stack, page: Page) -> None:
    """Writing, a new line, sending, the thumbs, another conversation, deleting one, signing out: keys alone."""
    chat = await ChatPage(page, stack).open("carol")
    press, name = page.keyboard.press, page.locator("*:focus")

    async def tab_to(label: str, key: str = "Tab") -> None:
        for _ in range(40):
            await press(key)
            if label == await name.evaluate("element => element.ariaLabel ?? element.textContent.trim()"):
                return
        pytest.fail(f"{label} is not reached by {key}")

    await page.keyboard.type("One line")
    await press("Shift+Enter")
    await page.keyboard.type("and another")
    await press("Enter")
    await chat.answered()
    await expect(chat.messages("user").locator(".text")).to_have_text("One line\nand another", use_inner_text=True)
    await expect(chat.box).to_be_focused()

    async with chat.operation("items.feedback"):
        await tab_to("Helpful", "Shift+Tab")
        await press("Space")
    await tab_to("New chat", "Shift+Tab")
    await press("Enter")
    await expect(chat.messages("user")).to_have_count(0)

    await tab_to("Rename or delete: One line and another", "Shift+Tab")
    await press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await press("Enter")
    await tab_to("Delete")
    await press("Enter")
    await expect(chat.conversations).to_contain_text("None yet.")
    await tab_to("Sign out", "Shift+Tab")


async def test_panels_open_and_close_by_the_keyboard_on_a_phone(stack: Stack, page: Page) -> None:
    """One at a time in place of the conversation; Escape goes back to where it was opened."""
    await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    chat = await ChatPage(page, stack).open()
    opener = page.get_by_role("button", name="What the agent sees")
    await expect(chat.inspector).to_be_hidden()
    await opener.press("Enter")
    await expect(chat.inspector).to_be_visible()
    await expect(chat.box).to_be_hidden()
    await expect(opener).to_have_attribute("aria-expanded", "true")
    await page.keyboard.press("Escape")
    await expect(chat.box).to_be_visible()
    await expect(opener).to_be_focused()


async def test_the_page_says_so_when_the_official_chatkit_cannot_be_had(
    stack: Stack, page: Page, complaints: Complaints
) -> None:
    """The kit's error in its own words, and another try that succeeds when the script is there."""
    await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    await page.route(CDN, lambda route: route.abort())
    await ChatPage(page, stack).sign_in()
    await page.goto(f"{stack.url}official")
    await expect(page.get_by_role("status")).to_contain_text("The chat could not be loaded from https://cdn.platform")
    assert await page.evaluate(LOOKS, MIN_CONTRAST) == ALL_IS_WELL
    complaints.clear()

    await page.unroute(CDN)
    await page.route(CDN, serve_element)
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("openai-chatkit")).to_have_text("200 thread.created")
    await expect(page.get_by_role("status")).to_have_text("")


async def serve_element(route: Route) -> None:
    """An element of the official name that asks by the fetch it is given, as the official one does."""
    script = """
      customElements.define("openai-chatkit", class extends HTMLElement {
        setOptions({ api }) {
          const input = { content: [{ type: "input_text", text: "Hello" }], attachments: [], inference_options: {} };
          const headers = { "content-type": "application/json" };
          const body = JSON.stringify({ type: "threads.create", params: { input } });
          api.fetch(api.url, { method: "POST", headers, body }).then(async (response) => {
            const [first] = (await response.text()).split("\\n");
            this.textContent = `${response.status} ${JSON.parse(first.slice(5)).type}`;
          });
        }
      });
    """
    await route.fulfill(content_type="text/javascript", body=script)


async def test_nobody_gets_the_official_element_without_signing_in(
    stack: Stack, page: Page, complaints: Complaints
) -> None:
    """The page asks the gateway first, loads nothing from elsewhere, and leads back to itself."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{stack.url}official")
    await page.get_by_role("link", name="Sign in").click()
    complaints.clear()

    assert [url for url in asked if "openai" in url] == []
    assert "return_to=" in page.url
    await page.route(CDN, serve_element)
    await page.get_by_role("button", name="Alice").click()
    await expect(page.locator("openai-chatkit")).to_have_text("200 thread.created")
