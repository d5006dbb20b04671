"""What goes wrong around the demo's page, against real processes: it is said in words, and no message is lost."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import anyio
import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import PATIENCE, Complaints
from tests.support.stack import BACKEND, Stack, running_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # Slow enough for something to happen in the middle of an answer, on a busy machine too.
    with running_stack(tmp_path_factory.mktemp("demo"), word_delay=0.03) as stack:
        yield stack


@pytest.fixture
def chat(stack: Stack, page: Page) -> ChatPage:
    return ChatPage(page, stack)


@pytest.fixture
async def patient_chat(chat: ChatPage, complaints: Complaints) -> AsyncIterator[ChatPage]:
    """Where refusals are the point: the browser writes each on its console."""
    yield chat
    assert [text for text in complaints if "Failed to load resource" not in text] == []
    complaints.clear()


async def end_session(chat: ChatPage, user: str) -> None:
    """Its time is over, and the browser has dropped the cookie. One of a second, so that nothing hurries before it."""
    await chat.sign_in(user, lifetime="1")
    await until(lambda: no_cookie(chat.page))


async def no_cookie(page: Page) -> bool:
    return await page.context.cookies() == []


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """What nothing tells us of is looked for, again and again."""
    with anyio.fail_after(PATIENCE / 1000):
        while not await is_so():  # noqa: ASYNC110  a log file and a cookie jar tell nobody
            await anyio.sleep(0.05)


async def test_stop_ends_the_answer_at_the_backend(chat: ChatPage) -> None:
    """The backend's log says that the client left; half an answer is kept, and is what there is after a reload."""
    await chat.open()
    await chat.ask("What can you show?")
    whole = await chat.messages("assistant").last.locator(".text").inner_text()
    async with chat.operation("threads.add_user_message") as exchange:
        await chat.say("What can you show?")
        await expect(chat.messages("assistant").nth(1).locator(".text")).to_contain_text("offline")
        await chat.stop_button.click()
    await expect(chat.messages("note")).to_contain_text("stopped the answer")
    await expect(chat.box).to_be_focused()

    request_id = await exchange.response.header_value("x-request-id")

    async def is_logged() -> bool:
        return request_id in {line["request_id"] for line in chat.stack.backend_lines("threads.add_user_message")}

    await until(is_logged)
    (line,) = [
        line for line in chat.stack.backend_lines("threads.add_user_message") if line["request_id"] == request_id
    ]
    assert line["ended_by"] == "client"

    await chat.page.reload()
    half = await chat.messages("assistant").nth(1).locator(".text").inner_text()
    assert half
    assert whole.startswith(half)
    assert len(half) < len(whole)


async def test_a_session_that_ends_shows_the_way_back_and_loses_no_message(patient_chat: ChatPage) -> None:
    """The message is in its box, through the sign-in too, and goes from there into the same conversation."""
    chat = patient_chat
    await chat.open("bob")
    await chat.ask("The first one.")
    await end_session(chat, "bob")
    await chat.box.fill("The second one.")
    await chat.box.press("Enter")

    await expect(chat.page.get_by_role("alert")).to_contain_text("Your session has ended")
    await expect(chat.page.get_by_role("link", name="Sign in again")).to_be_focused()
    await expect(chat.box).to_have_value("The second one.")
    await expect(chat.messages("user")).to_have_text(["Bob SampleThe first one."])

    await chat.page.keyboard.press("Enter")
    await chat.page.get_by_role("button", name="Bob Sample").click()
    await expect(chat.box).to_have_value("The second one.")
    await chat.box.press("Enter")
    await expect(chat.messages("assistant").last).to_contain_text("Before this you said: “The first one.”")


async def test_signing_in_again_in_another_tab_is_enough(patient_chat: ChatPage) -> None:
    """Whoever comes back to the page finds it as it was, and can send; somebody else finds their own."""
    chat = patient_chat
    await chat.open("alice")
    await end_session(chat, "alice")
    for answer in ("Kept, once.", "Kept, twice."):
        await chat.box.fill(answer)
        await chat.box.press("Enter")
        await expect(chat.page.get_by_role("alert")).to_be_visible()
        await chat.sign_in("alice")
        await chat.page.evaluate("window.dispatchEvent(new Event('focus'))")
        await expect(chat.page.get_by_role("alert")).to_be_hidden()
        await expect(chat.box).to_have_value(answer)
        await chat.page.context.clear_cookies()

    await chat.box.press("Enter")
    await expect(chat.page.get_by_role("alert")).to_be_visible()
    await chat.sign_in("carol")
    await chat.page.evaluate("window.dispatchEvent(new Event('focus'))")
    await expect(chat.page.get_by_role("banner")).to_contain_text("Carol Admin")
    await expect(chat.box).to_have_value("")


async def test_a_backend_killed_in_mid_answer_is_asked_again(chat: ChatPage) -> None:
    """What came stays readable beside the reason; the retry gives the whole answer to the one question."""
    await chat.open("carol")
    await chat.say("What can you show?")
    await expect(chat.messages("assistant").locator(".text")).to_contain_text("offline")
    chat.stack.kill(BACKEND)
    problem = chat.messages("problem")
    await expect(problem).to_contain_text("Error")
    await expect(chat.messages("assistant").locator(".text")).to_contain_text("I am the offline")

    chat.stack.start(BACKEND)
    await problem.get_by_role("button", name="Try again").click()
    await expect(chat.messages("assistant").locator(".text")).to_contain_text("ask me some questions")
    await chat.answered()
    await chat.page.reload()
    await expect(chat.messages("user")).to_have_text(["Carol AdminWhat can you show?"])
    await expect(chat.messages("assistant")).to_have_count(1)


async def test_a_message_to_a_backend_that_is_down_goes_when_it_is_back(chat: ChatPage) -> None:
    """It is in its box meanwhile, where it can be changed; sent once in the end."""
    await chat.open("bob")
    chat.stack.kill(BACKEND)
    await chat.box.fill("Are you there")
    await chat.box.press("Enter")
    await expect(chat.messages("problem")).to_be_visible()
    await expect(chat.box).to_have_value("Are you there")
    await expect(chat.messages("user").filter(has_text="Are you there")).to_have_count(0)

    chat.stack.start(BACKEND)
    await chat.box.press("End")
    await chat.box.press_sequentially("?")
    await chat.messages("problem").get_by_role("button", name="Try again").click()
    await expect(chat.messages("assistant").last).to_contain_text("I am the offline model")
    await expect(chat.messages("user").filter(has_text="Are you there?")).to_have_count(1)
    await expect(chat.messages("problem")).to_have_count(0)


async def test_a_lost_network_is_said_and_the_message_kept(patient_chat: ChatPage) -> None:
    """No answer at all: the words for it, the message in its box, and a button that works when the network does."""
    chat = patient_chat
    await chat.open()
    await chat.page.context.set_offline(True)
    await chat.box.fill("Hello?")
    await chat.box.press("Enter")
    await expect(chat.messages("problem")).to_contain_text("Connection lost")
    await expect(chat.box).to_have_value("Hello?")
    await chat.page.context.set_offline(False)
    await chat.messages("problem").get_by_role("button", name="Try again").click()
    await expect(chat.messages("user").last).to_contain_text("Hello?")
    await chat.answered()


@pytest.mark.parametrize(
    ("status", "headers", "body", "said", "can_retry"),
    [
        (429, {"retry-after": "20"}, "", "Too many requests at once. Try again in 20 seconds.", True),
        (503, {}, "<html>", "The service is not available right now. Try again in a moment.", True),
        (403, {}, '{"message": "You do not have permission to do this."}', "You do not have permission", False),
    ],
)
async def test_a_refusal_is_readable_and_the_message_comes_back(
    patient_chat: ChatPage, status: int, headers: dict[str, str], body: str, said: str, can_retry: bool
) -> None:
    """Whatever stands in front of the gateway may refuse; another try is offered where it may help."""
    chat = patient_chat
    await chat.open()

    async def refuse(route: Route) -> None:
        await route.fulfill(status=status, headers={"content-type": "application/json", **headers}, body=body)

    await chat.page.route("**/chatkit", refuse)
    await chat.box.fill("Please.")
    await chat.box.press("Enter")

    await expect(chat.messages("problem")).to_contain_text(said)
    await expect(chat.messages("problem").get_by_role("button", name="Try again")).to_have_count(int(can_retry))
    await expect(chat.box).to_have_value("Please.")


async def test_notices_and_removed_items_are_shown_as_the_protocol_says(chat: ChatPage) -> None:
    """A notice stands in the conversation; what the backend takes back is gone."""
    await chat.open("alice")
    item = {"id": "msg_1", "thread_id": "thr_1", "created_at": "2026-01-01T00:00:00Z", "type": "assistant_message"}
    events = [
        {"type": "thread.item.added", "item": {**item, "content": [{"type": "output_text", "text": "Taken back."}]}},
        {"type": "notice", "level": "warning", "title": "Nearly full", "message": "Ten messages left today."},
        {"type": "thread.item.removed", "item_id": "msg_1"},
        {"type": "an event of tomorrow"},
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)

    async def answer(route: Route) -> None:
        await route.fulfill(content_type="text/event-stream", body=body)

    await chat.page.route("**/chatkit", answer)
    await chat.box.fill("How many?")
    await chat.box.press("Enter")

    await expect(chat.page.locator("#log .notice")).to_have_text("Nearly fullTen messages left today.")
    await expect(chat.messages("assistant").filter(has_text="Taken back.")).to_have_count(0)
