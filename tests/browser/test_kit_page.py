"""What the kit reads off a page and keeps for it: page context, the thread a user was in, the selection button."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.conftest import Complaints
from tests.browser.site import Site, open_kit, site


@pytest.fixture(scope="module")
def home() -> Iterator[Site]:
    with site() as there:
        yield there


async def context_of(page: Page, options: str = "{}") -> Any:
    return await page.evaluate(f"kit.getPageContext({options})")


# --- Page context ---

SHOP = """
<header><h1>The shop</h1></header>
<main>
  <h1>Orders
      of   May</h1>
  <h2 hidden>Hidden</h2>
  <h2>Open</h2><h3> </h3><h3>Late &amp; <b>lost</b></h3><h4>Not this</h4>
  <h2>Four</h2><h2>Five</h2><h2>Six</h2>
  <p id="text">Where is order 17?</p>
</main>"""


async def test_a_page_in_a_few_lines(home: Site, page: Page) -> None:
    """Headings of the main part, as they are read; nothing hidden; no user name, password or fragment in the URL."""
    await open_kit(page, home.url, SHOP)
    await page.evaluate("""() => {
        const meta = Object.assign(document.createElement("meta"), { name: "description", content: " All  orders. " });
        document.head.append(meta);
        history.replaceState(null, "", "/orders?month=5#access_token=secret");
        getSelection().selectAllChildren(text);
    }""")
    expected = {
        "url": f"{home.url}/orders?month=5",
        "path": "/orders",
        "title": "A page",
        "description": "All orders.",
        "headings": ["Orders of May", "Open", "Late & lost", "Four", "Five"],
    }

    assert await context_of(page) == expected
    assert await context_of(page, "{ selection: true }") == {**expected, "selection": "Where is order 17?"}


async def test_the_article_comes_before_the_main_part_and_the_body(home: Site, page: Page) -> None:
    """A page of news is about its news."""
    await open_kit(
        page, home.url, "<h1>Body</h1><div id=main><h2>Main</h2><div id=article><h3>Article</h3></div></div>"
    )
    seen = []
    for kind in ("", "main", "article"):
        if kind:
            await page.evaluate(
                "kind => { const there = document.getElementById(kind); const place = document.createElement(kind);"
                " there.replaceWith(place); place.append(...there.childNodes) }",
                kind,
            )
        seen.append((await context_of(page))["headings"])

    assert seen == [["Body", "Main", "Article"], ["Main", "Article"], ["Article"]]


async def test_another_document_and_none(home: Site, page: Page) -> None:
    """A page that a server renders has no document; one that was parsed has no window."""
    await open_kit(page, home.url)
    parsed = "new DOMParser().parseFromString('<title>T</title><h1>H</h1>', 'text/html')"

    assert await context_of(page, "{ document: null }") is None
    found = await context_of(page, f"{{ document: {parsed}, selection: true }}")
    assert (found["title"], found["selection"]) == ("T", "")


async def test_a_user_in_the_url_is_not_told(home: Site, page: Page) -> None:
    """`https://user:password@host` is a way to sign in."""
    await open_kit(page, home.url)
    document = "{ URL: 'https://me:pw@shop.test/a?b=1#c', title: 't', querySelector: () => null, body: null }"

    assert await context_of(page, f"{{ document: {document} }}") == {
        "url": "https://shop.test/a?b=1",
        "path": "/a",
        "title": "t",
        "description": "",
        "headings": [],
    }


HUGE = """
<main id=place></main>
<form name="title"></form>
"""
GROW = """() => {
    const text = '\\u{1F600}"\\\\ä\\u0001'.repeat(5_000);
    for (let at = 0; at < 50; at += 1) {
        place.append(Object.assign(document.createElement("h2"), { textContent: `${at} ${text}` }));
    }
    const meta = Object.assign(document.createElement("meta"), { name: "description", content: text });
    document.head.append(meta);
    history.replaceState(null, "", `/${"p".repeat(3000)}?${"q".repeat(9000)}`);
    getSelection().selectAllChildren(place);
}"""


async def test_a_huge_page_stays_small(home: Site, page: Page) -> None:
    """In bytes of JSON; never half a character; and what is smaller than nothing is nothing."""
    await open_kit(page, home.url, HUGE)
    await page.evaluate(GROW)
    sizes = []
    for limit in (4096, 1000, 300, 50):
        found = await context_of(page, f"{{ selection: true, maxBytes: {limit} }}")
        text = json.dumps(found, ensure_ascii=False)
        text.encode()  # a lone surrogate would be an error here
        size = await page.evaluate("found => new TextEncoder().encode(JSON.stringify(found)).length", found)
        sizes.append((limit, found is None or size <= limit, found is None))

    assert sizes == [(4096, True, False), (1000, True, False), (300, True, False), (50, True, True)]


async def test_an_element_named_title_is_no_title(home: Site, page: Page, complaints: Complaints) -> None:
    """Markup can take the place of what a document says of itself; then that is left out."""
    await open_kit(page, home.url, "<form name=title></form><img name=URL><h1>There</h1>")
    found = await context_of(page)

    assert (found["title"], found["headings"]) == ("", ["There"])
    complaints.clear()


async def test_a_broken_character_on_the_page_is_replaced(home: Site, page: Page) -> None:
    """Half a surrogate pair is no text: the gateway would refuse the message."""
    await open_kit(page, home.url, "<h1 id=heading></h1>")
    await page.evaluate("heading.textContent = 'a\\ud83d b'")

    assert (await context_of(page))["headings"] == ["a\ufffd b"]


# --- The thread ---


async def test_a_thread_is_remembered_over_a_reload_and_per_user(home: Site, page: Page) -> None:
    """The same id at another issuer is another person."""
    await open_kit(page, home.url)
    await page.evaluate("kit.rememberThread({ user: { id: 'a', issuer: 'one' } }).set('thr_1')")
    await open_kit(page, home.url)
    users = ["{ id: 'a', issuer: 'one' }", "{ id: 'a', issuer: 'two' }", "{ id: 'a' }", "{ id: 'b', issuer: 'one' }"]

    assert [await page.evaluate(f"kit.rememberThread({{ user: {user} }}).get()") for user in users] == [
        "thr_1",
        None,
        None,
        None,
    ]


async def test_a_thread_is_forgotten(home: Site, page: Page) -> None:
    """By name, or by setting none: ChatKit reports a new chat as null."""
    await open_kit(page, home.url)

    assert await page.evaluate("""() => {
        const memory = kit.rememberThread({ user: { id: "a" }, key: "mine" });
        const seen = [];
        for (const forget of [() => memory.clear(), () => memory.set(null)]) {
            memory.set("thr_1");
            forget();
            seen.push(memory.get(), localStorage.length);
        }
        return seen;
    }""") == [None, 0, None, 0]


STORES = {
    "throws": "{ getItem() { throw Error() }, setItem() { throw Error() }, removeItem() { throw Error() } }",
    "is full": "{ getItem: () => 'old', setItem() { throw Error() }, removeItem() {} }",
}


@pytest.mark.parametrize("name", STORES)
async def test_storage_that_does_not_store_is_survived(home: Site, page: Page, name: str) -> None:
    """Private windows, quotas, policies: the page then remembers as long as it lives."""
    await open_kit(page, home.url)

    assert await page.evaluate(f"""() => {{
        const memory = kit.rememberThread({{ user: {{ id: "a" }}, storage: {STORES[name]} }});
        memory.set("thr_1");
        const seen = [memory.get()];
        memory.set("thr_2");
        return [...seen, memory.get()];
    }}""") == ["thr_1", "thr_2"]


async def test_a_page_without_storage_has_a_memory(home: Site, page: Page) -> None:
    """In a sandboxed frame the very name `localStorage` throws."""
    await open_kit(page, home.url, "<iframe sandbox='allow-scripts' src='/frame'></iframe>")
    frame = page.frames[1]
    await frame.evaluate(
        "async (url) => { globalThis.kit = await import(url) }", f"{home.url}/kit/1.0.0/gateway-kit.js"
    )

    assert (
        await frame.evaluate("""() => {
        const memory = kit.rememberThread({ user: { id: "a" } });
        memory.set("thr_1");
        return memory.get();
    }""")
        == "thr_1"
    )


# --- Ask about selection ---

ASKING = """options => {
    globalThis.asked = [];
    globalThis.asking = kit.askAboutSelection({ ...options, root: globalThis.root, onAsk: (text) => asked.push(text) });
}"""
SELECT = "id => getSelection().selectAllChildren(document.getElementById(id))"


@pytest.fixture
async def shop(home: Site, page: Page) -> Page:
    body = "<article id=root><p id=text>Where is  order 17?</p></article><p id=other>Elsewhere</p><input id=field>"
    await open_kit(page, home.url, body)
    return page


async def test_selected_text_can_be_asked_about(shop: Page) -> None:
    """With the mouse: the button appears, asks once, and goes, whatever the page's style says of buttons."""
    await shop.add_style_tag(content="button { display: block }")
    await shop.evaluate(ASKING, {})
    button = shop.get_by_role("button", name="Ask about selection")
    assert not await button.is_visible()
    await shop.locator("#text").click(click_count=3)
    await button.click()

    assert await shop.evaluate("asked") == ["Where is order 17?"]
    assert not await button.is_visible()


async def test_selected_text_can_be_asked_about_with_the_keyboard(shop: Page) -> None:
    """It is announced, one Tab away, and Escape takes it back."""
    await shop.evaluate(ASKING, {"label": "Ask the assistant"})
    button = shop.get_by_role("button", name="Ask the assistant")
    await shop.evaluate(SELECT, "text")
    await button.wait_for()
    assert await shop.get_by_role("status").inner_text() == "Ask the assistant: press Tab"
    await shop.keyboard.press("Escape")
    assert not await button.is_visible()

    await shop.evaluate("getSelection().removeAllRanges()")
    await shop.evaluate(SELECT, "text")
    await button.wait_for()
    await shop.keyboard.press("Tab")
    await shop.keyboard.press("Enter")
    assert await shop.evaluate("asked") == ["Where is order 17?"]


async def test_only_what_is_selected_within_the_root(shop: Page) -> None:
    """Neither elsewhere, nor across its edge; and Tab goes on as ever."""
    await shop.evaluate(ASKING, {})
    button = shop.locator(".gateway-ask")
    await shop.evaluate(SELECT, "text")
    await button.wait_for()
    await shop.evaluate(SELECT, "other")
    await button.wait_for(state="hidden")
    await shop.evaluate("getSelection().selectAllChildren(document.body)")
    await shop.keyboard.press("Tab")

    assert await shop.evaluate("document.activeElement.id") == "field"
    assert not await button.is_visible()


async def test_a_long_selection_is_cut_and_stop_leaves_nothing(shop: Page) -> None:
    """The button stays within the window, and goes for good."""
    await shop.evaluate("text.textContent = 'word '.repeat(5000)")
    await shop.evaluate(ASKING, {"maxLength": 100})
    await shop.evaluate(SELECT, "text")
    button = shop.locator(".gateway-ask")
    await button.wait_for()
    box = await button.bounding_box()
    assert box is not None
    size = shop.viewport_size
    assert size is not None
    assert box["y"] + box["height"] <= size["height"]
    await button.click()
    await shop.evaluate("asking.stop()")

    assert await shop.evaluate("asked.map((text) => text.length)") == [100]
    assert await button.count() == 0
    assert await shop.get_by_role("status").count() == 0


async def test_the_button_needs_no_leave_of_a_strict_policy(home: Site, page: Page) -> None:
    """`style-src 'self'` forbids style attributes; a violation would be an error on the console."""
    policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:"
    await page.route(f"{home.url}/strict", lambda route: route.fulfill(
        content_type="text/html", headers={"content-security-policy": policy},
        body="<link rel=icon href='data:,'><p id=text>Text</p>"))  # fmt: skip
    await page.goto(f"{home.url}/strict")
    await page.evaluate("async (path) => { globalThis.kit = await import(path) }", "/kit/1.0.0/gateway-kit.js")
    await page.evaluate(ASKING, {})
    await page.evaluate(SELECT, "text")

    assert await page.locator(".gateway-ask").evaluate("(button) => getComputedStyle(button).position") == "fixed"
