"""The demo's page in a browser, against the demo's own processes: what it shows works, to the end and back again."""

import json
from collections.abc import Iterator
from io import BytesIO

import anyio
import pytest
from PIL import Image
from playwright.async_api import BrowserContext, FilePayload, Page, expect

from tests.browser.chat_page import ChatPage, seen_texts, watch_texts
from tests.browser.conftest import Complaints
from tests.support.stack import Stack, running_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("demo"), word_delay=0.005) as stack:
        yield stack


@pytest.fixture
def chat(stack: Stack, page: Page) -> ChatPage:
    return ChatPage(page, stack)


async def test_people_sign_in_and_out_by_the_page(chat: ChatPage, complaints: Complaints) -> None:
    """Nobody is told so and led to the issuer; back, the gateway says who they are; out again nothing is left."""
    page = chat.page
    await page.goto(chat.stack.url)
    await expect(page.get_by_role("heading", name="Nobody is signed in")).to_be_visible()
    await expect(chat.box).to_be_hidden()
    assert complaints == ["Failed to load resource: the server responded with a status of 401 (Unauthorized)"]

    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_role("button", name="Carol Admin").click()
    await expect(page.get_by_role("banner")).to_contain_text("Signed in as Carol Admin")
    await expect(chat.box).to_be_focused()

    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Nobody is signed in")).to_be_visible()
    assert await page.context.cookies() == []
    complaints.clear()


async def test_the_cookie_is_invisible_to_scripts(chat: ChatPage) -> None:
    """The browser has it and sends it; no script of the page can read it, and no storage holds it."""
    await chat.open()
    (cookie,) = await chat.page.context.cookies()
    readable = await chat.page.evaluate(
        "[document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.body.innerHTML]"
    )

    assert (cookie.get("name"), cookie.get("httpOnly")) == ("auth_token", True)
    assert readable[0] == ""
    assert not any(str(cookie.get("value")) in text for text in readable)
    await expect(chat.inspector).to_contain_text("none: the token is in an httpOnly cookie")


async def test_an_answer_grows_before_the_readers_eyes(chat: ChatPage) -> None:
    """In many steps, each the beginning of the next; marked busy meanwhile, so that it is read out once, when whole."""
    await chat.open()
    await watch_texts(chat.page.locator("#log"))
    await chat.ask("Who am I?")

    whole = await chat.messages("assistant").last.locator(".text").inner_text()
    steps = [text.partition("Assistant")[2].strip() for text in await seen_texts(chat.page)]
    growing = [step for step in steps if step and whole.startswith(step)]
    assert "Your name is Alice Example" in whole
    assert len(set(growing)) > 5
    assert growing == sorted(growing, key=len)
    assert await chat.page.evaluate("window.seenBusy") == 1
    await expect(chat.page.locator("#log [aria-busy]")).to_have_count(0)


async def test_a_reload_keeps_the_conversation_and_what_was_being_written(chat: ChatPage) -> None:
    """Same messages in the same order, the draft in its box, and the next message goes into the same conversation."""
    await chat.open("bob")
    answer = await chat.ask("Remember the lighthouse.")
    await chat.box.fill("And what did I")
    await chat.page.reload()

    await expect(chat.messages("user")).to_contain_text("Remember the lighthouse.")
    await expect(chat.messages("assistant").locator(".text")).to_have_text(answer)
    await expect(chat.box).to_have_value("And what did I")
    await chat.box.press("End")
    await chat.box.press_sequentially(" say?")
    await chat.box.press("Enter")
    await expect(chat.messages("assistant").last).to_contain_text("Before this you said: “Remember the lighthouse.”")


async def test_somebody_else_in_the_same_browser_sees_nothing_of_it(chat: ChatPage) -> None:
    """Neither the conversation nor the draft: both are remembered per user."""
    await chat.open("alice")
    await chat.ask("For my eyes only.")
    await chat.box.fill("half a secret")
    await chat.open("carol")

    await expect(chat.messages("user")).to_have_count(0)
    await expect(chat.box).to_have_value("")
    await expect(chat.conversations).not_to_contain_text("For my eyes only.")

    await chat.open("alice")
    await expect(chat.messages("user")).to_contain_text("For my eyes only.")
    await expect(chat.box).to_have_value("half a secret")


async def test_what_the_agent_sees_is_what_the_backend_was_told(chat: ChatPage) -> None:
    """Before a question who is signed in; after it identity, page and claims of that very request, and no token."""
    await chat.open()
    await expect(chat.inspector).to_contain_text("alice@example.test")
    async with chat.operation("threads.create") as exchange:
        await chat.ask("Who am I?")
    request_id = await exchange.response.header_value("x-request-id")

    claims = json.loads(await chat.inspector.get_by_label("Claims of the gateway's assertion").inner_text())
    assert (claims["sub"], claims["request_id"], claims["aud"]) == ("alice", request_id, "assistant")
    assert claims["req"]["path"] == "/chatkit"
    for text in ("Alice Example", "Gateway demo", chat.stack.url, str(request_id), chat.stack.ports.issuer_url):
        await expect(chat.inspector).to_contain_text(text)
    (cookie,) = await chat.page.context.cookies()
    assert str(cookie.get("value")) not in await chat.page.content()


async def test_a_message_that_looks_like_markup_is_text(chat: ChatPage) -> None:
    """In the message, in the list of conversations, and told back by the assistant."""
    await chat.open("bob")
    text = "<img src=x onerror=alert(1)> <b>bold</b>"
    await chat.ask(text)
    await chat.ask("And?")

    await expect(chat.messages("user").first.locator(".text")).to_have_text(text)
    await expect(chat.messages("assistant").last).to_contain_text(text)
    assert await chat.page.locator("#log img, #log b, #threads img").count() == 0


async def test_conversations_are_listed_opened_renamed_and_deleted(chat: ChatPage) -> None:
    """The one that is open is marked; a name is kept; what is deleted is gone, from the list and from the page."""
    await chat.open("carol")
    listed = chat.conversations.get_by_role("listitem")
    before = await listed.count()
    await chat.ask("First subject")
    await chat.conversations.get_by_role("button", name="New chat").click()
    await chat.ask("Second subject")
    await expect(listed).to_have_count(before + 2)
    await expect(listed.first.get_by_role("button", name="Second subject", exact=True)).to_have_attribute(
        "aria-current", "true"
    )

    await listed.nth(1).get_by_role("button", name="First subject", exact=True).click()
    await expect(chat.messages("user")).to_have_text("Carol AdminFirst subject")

    await chat.conversations.get_by_role("button", name="Rename or delete: First subject").click()
    dialog = chat.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("A better name")
    await dialog.get_by_label("Name").press("Enter")
    await expect(listed.nth(1)).to_contain_text("A better name")

    await chat.conversations.get_by_role("button", name="Rename or delete: A better name").click()
    await dialog.get_by_role("button", name="Cancel").click()
    await chat.conversations.get_by_role("button", name="Rename or delete: A better name").click()
    await dialog.get_by_role("button", name="Delete").click()
    await expect(listed).to_have_count(before + 1)
    await expect(chat.messages("user")).to_have_count(0)
    await chat.page.reload()
    await expect(listed).to_have_count(before + 1)
    await expect(chat.conversations).not_to_contain_text("A better name")


async def test_an_opinion_of_an_answer_is_sent_and_seen(chat: ChatPage) -> None:
    """By the item it is about; the second replaces the first."""
    await chat.open()
    await chat.ask("Who am I?")
    for label, kind in (("Helpful", "positive"), ("Not helpful", "negative")):
        async with chat.operation("items.feedback") as exchange:
            await chat.messages("assistant").last.get_by_role("button", name=label, exact=True).click()
        assert exchange.response.ok
        assert exchange.sent["params"]["kind"] == kind
        await expect(chat.status).to_have_text("Thank you.")

    pressed = chat.messages("assistant").last.locator("[aria-pressed=true]")
    await expect(pressed).to_have_text(["Not helpful"])


async def test_files_go_with_a_message_and_can_be_had_again(chat: ChatPage) -> None:
    """A picture with its preview, a text by name; after a reload too; what is downloaded is what was attached."""
    await chat.open()
    png = BytesIO()
    Image.new("RGB", (40, 30), "teal").save(png, "PNG")
    await chat.page.locator("#file").set_input_files(
        [
            FilePayload(name="teal.png", mimeType="image/png", buffer=png.getvalue()),
            FilePayload(name="notes.txt", mimeType="text/plain", buffer=b"to be kept"),
            FilePayload(name="mistake.txt", mimeType="text/plain", buffer=b"not this one"),
        ]
    )
    chips = chat.page.get_by_label("Goes with the message").get_by_role("listitem")
    await chips.get_by_role("button", name="Remove mistake.txt").click()
    await expect(chips).to_have_text(["teal.png×", "notes.txt×"])
    await chat.ask("Two files.")
    await chat.page.reload()

    message = chat.messages("user").last
    await expect(message.get_by_role("listitem")).to_have_count(2)
    picture = message.locator("img")
    await expect(picture).to_have_js_property("complete", True)
    assert await picture.evaluate("image => image.naturalWidth") == 40
    async with chat.page.expect_download() as info:
        await message.get_by_role("button", name="Download notes.txt").click()
    download = await info.value
    assert download.suggested_filename == "notes.txt"
    assert (await anyio.Path(await download.path()).read_bytes()) == b"to be kept"


async def test_a_file_that_is_refused_is_named_with_the_reason(chat: ChatPage, complaints: Complaints) -> None:
    """And the message can go without it."""
    await chat.open()
    await chat.page.locator("#file").set_input_files(
        FilePayload(name="tool.exe", mimeType="application/x-msdownload", buffer=b"MZ\x00\x00")
    )

    await expect(chat.messages("problem")).to_contain_text("Not attached: tool.exe")
    await expect(chat.page.get_by_label("Goes with the message").get_by_role("listitem")).to_have_count(0)
    assert complaints == ["Failed to load resource: the server responded with a status of 415 (Unsupported Media Type)"]
    complaints.clear()
    assert await chat.ask("Then without.")


async def test_a_checklist_is_ticked_copied_and_finished(chat: ChatPage, profile: BrowserContext) -> None:
    """A tick is the server's and is there after a reload; copying is the page's; Done makes the assistant answer."""
    await profile.grant_permissions(["clipboard-read", "clipboard-write"])
    await chat.open()
    await chat.ask("make a checklist: milk, eggs")
    milk = chat.page.get_by_role("button", name="milk", exact=True)
    await expect(milk).to_have_attribute("aria-pressed", "false")
    await milk.focus()
    await milk.press("Enter")
    await expect(milk).to_have_attribute("aria-pressed", "true")
    await expect(milk).to_be_focused()
    await chat.page.reload()
    await expect(milk).to_have_attribute("aria-pressed", "true")

    await chat.page.get_by_role("button", name="Copy").click()
    await expect(chat.status).to_have_text("Copied.")
    assert await chat.page.evaluate("navigator.clipboard.readText()") == "Checklist\n[x] milk\n[ ] eggs"

    await chat.page.get_by_role("button", name="Done").click()
    await expect(chat.messages("assistant").last).to_contain_text("1 of 2 done")


async def test_questions_are_answered_or_skipped_in_a_form(chat: ChatPage) -> None:
    """What is chosen and what is written reach the model; afterwards the form is the answers."""
    await chat.open()
    await chat.ask("ask me some questions")
    form = chat.messages("assistant").last
    await form.get_by_label("An invoice").check()
    await form.get_by_label("Tell me more.").fill("It is late.")
    await form.get_by_role("button", name="Send answers").click()
    await expect(chat.messages("assistant").last).to_contain_text("What is it about?: An invoice")
    await expect(chat.page.locator(".answers dd")).to_have_text(["An invoice", "It is late."])

    await chat.ask("ask me some questions")
    await chat.messages("assistant").last.get_by_role("button", name="Skip").click()
    await expect(chat.page.get_by_text("You skipped these questions.")).to_be_visible()
    await chat.answered()


async def test_the_agent_can_ask_things_of_the_page(chat: ChatPage) -> None:
    """An effect changes its colours; a tool's result comes back and the answer goes on; progress is said meanwhile."""
    await chat.open()
    ground = await chat.page.evaluate("getComputedStyle(document.body).backgroundColor")
    await chat.ask("switch to dark mode")
    assert await chat.page.evaluate("getComputedStyle(document.body).backgroundColor") != ground

    assert "time_zone" in await chat.ask("what time is it here")
    await expect(chat.messages("note")).to_contain_text("asked your browser: get_time_zone")

    await watch_texts(chat.status)
    assert "signed in as Alice Example" in await chat.ask("check my connection")
    said = await seen_texts(chat.page)
    assert [text for text in said if text.endswith(" …")] == [
        "Looking at your sign-in …",
        "Looking at your page …",
        "Counting your conversations …",
    ]


async def test_selected_text_can_be_asked_about(chat: ChatPage) -> None:
    """It goes along as a quotation, is shown above the message's files, and stays there."""
    await chat.open()
    await chat.ask("Who am I?")
    answer = chat.messages("assistant").last.locator(".text")
    await answer.evaluate("element => getSelection().selectAllChildren(element)")
    await chat.page.get_by_role("button", name="Ask about this").click()
    await expect(chat.page.get_by_label("Goes with the message")).to_contain_text("I am the offline model")
    await expect(chat.box).to_be_focused()
    async with chat.operation("threads.add_user_message") as exchange:
        await chat.ask("What does it mean?")

    assert exchange.sent["params"]["input"]["quoted_text"].startswith("I am the offline model")
    await chat.page.reload()
    await expect(chat.messages("user").last.locator("blockquote")).to_contain_text("I am the offline model")


async def test_an_answer_can_be_given_again(chat: ChatPage) -> None:
    """In place of the one there was: one question, one answer, after a reload too."""
    await chat.open()
    await chat.conversations.get_by_role("button", name="New chat").click()
    await chat.ask("Who am I?")
    async with chat.operation("threads.retry_after_item"):
        await chat.page.get_by_role("button", name="Answer again").click()
    await chat.answered()

    for _ in range(2):
        await expect(chat.messages("user")).to_have_count(1)
        await expect(chat.messages("assistant")).to_have_count(1)
        await chat.page.reload()
