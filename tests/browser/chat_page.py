"""The demo's page as a person uses it: what they see by its name, what they press, what they type."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Locator, Page, Response, expect

from tests.browser.conftest import PATIENCE
from tests.support.stack import Stack

# As long as everything else in a browser's test may take.
expect.set_options(timeout=PATIENCE)


class ChatPage:
    """One tab with the demo's page in it."""

    def __init__(self, page: Page, stack: Stack) -> None:
        self.page = page
        self.stack = stack
        self.box = page.get_by_role("textbox", name="Message", exact=True)
        self.send_button = page.get_by_role("button", name="Send", exact=True)
        self.stop_button = page.get_by_role("button", name="Stop")
        self.status = page.locator("#status")
        self.conversations = page.get_by_role("navigation", name="Conversations")
        self.inspector = page.get_by_role("complementary", name="What the agent sees")

    async def open(self, user: str = "alice") -> "ChatPage":
        """Signed in as this user, on the page."""
        await self.sign_in(user)
        await self.page.goto(self.stack.url)
        await expect(self.box).to_be_focused()
        return self

    async def sign_in(self, user: str = "alice", **form: str) -> None:
        """The cookie alone, as the login page gives it."""
        answer = await self.page.request.post(
            self.stack.login_url, form={"user": user, **form}, max_redirects=0, fail_on_status_code=False
        )
        assert answer.status == 303

    def messages(self, kind: str) -> Locator:
        """Of ``kind`` user, assistant, note, problem."""
        return self.page.locator(f"#log .message.{kind}")

    async def say(self, text: str) -> None:
        """And see the answer begin; it must be slow enough for that."""
        await self.box.fill(text)
        await self.box.press("Enter")
        await expect(self.stop_button).to_be_visible()

    async def ask(self, text: str) -> str:
        """When the one before has ended; and see the answer end. Returns what was answered last."""
        await self.answered()
        await self.box.fill(text)
        # The page has taken the message when this returns: from then on there is no Send until the answer has ended.
        await self.box.press("Enter")
        await self.answered()
        return await self.messages("assistant").last.locator(".text").inner_text()

    async def answered(self) -> None:
        await expect(self.send_button).to_be_visible()

    @asynccontextmanager
    async def operation(self, kind: str) -> AsyncIterator["Seen"]:
        """What is done in the block sends this ChatKit request; its answer is there afterwards."""
        seen = Seen()

        def is_it(response: Response) -> bool:
            return response.url.endswith("/chatkit") and f'"type":"{kind}"' in (response.request.post_data or "")

        async with self.page.expect_response(is_it) as info:
            yield seen
        seen.response = await info.value


class Seen:
    """One exchange with the gateway."""

    response: Response

    @property
    def sent(self) -> Any:
        return self.response.request.post_data_json


async def watch_texts(locator: Locator) -> None:
    """Keep every text that the element comes to have, for `seen_texts`, and how much in it was busy at a time."""
    await locator.evaluate(
        """element => {
          window.seenTexts = [];
          window.seenBusy = 0;
          const note = () => {
            window.seenTexts.push(element.innerText);
            window.seenBusy = Math.max(window.seenBusy, element.querySelectorAll("[aria-busy=true]").length);
          };
          new MutationObserver(note).observe(element, { childList: true, characterData: true, subtree: true });
        }"""
    )


async def seen_texts(page: Page) -> list[str]:
    """In order, each once in a row."""
    texts: list[str] = await page.evaluate("window.seenTexts")
    return [text for index, text in enumerate(texts) if index == 0 or text != texts[index - 1]]
