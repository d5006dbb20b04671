"""How the kit watches ChatKit arrive.

A script of a few lines stands in for the official one, which cannot be loaded here: it defines the element, whose frame
comes and goes as a test says.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from tests.browser.conftest import Complaints
from tests.browser.site import PAGE, Site, open_kit, site

README = Path(__file__).parents[2] / "README.md"

# The frame lies in an open shadow root, as ChatKit's does.
ELEMENT = """
globalThis.times = (globalThis.times ?? 0) + 1;
customElements.define("openai-chatkit", class extends HTMLElement {
  connectedCallback() {
    this.attachShadow({ mode: "open" }).append(document.createElement("iframe"));
  }
  say(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
});
"""
# Every state that a watch goes through, for a test to wait for.
WATCH = """([call, options]) => {
    const watch = globalThis.watch = kit[call](options);
    const states = globalThis.states = [watch.state];
    watch.subscribe(({ state, error }) => states.push(error?.code ?? state));
}"""


@pytest.fixture(scope="module")
def home() -> Iterator[Site]:
    with site() as there:
        there.order("/chatkit.js", body=ELEMENT, content_type="text/javascript")
        there.order("/later/chatkit.js", body=ELEMENT, content_type="text/javascript")
        there.order("/gone/chatkit.js", 404)
        yield there


@pytest.fixture
async def kit(home: Site, page: Page) -> Page:
    await open_kit(page, home.url)
    return page


async def watch(page: Page, call: str = "whenChatKitReady", **options: Any) -> None:
    await page.evaluate(WATCH, [call, options])


async def until(page: Page, *states: str) -> None:
    """Wait for exactly these states, the first being that of the start."""
    await page.wait_for_function("expected => JSON.stringify(states) === JSON.stringify(expected)", arg=list(states))


async def add_script(page: Page, src: str) -> None:
    await page.evaluate("src => document.head.append(Object.assign(document.createElement('script'), { src }))", src)


async def test_chatkit_that_is_there_is_ready_at_once(kit: Page) -> None:
    """`beforeInteractive` scripts run before anybody can watch."""
    await kit.add_script_tag(url="/chatkit.js")
    await watch(kit)

    assert await kit.evaluate("states") == ["ready"]
    assert await kit.evaluate("watch.promise.then(() => watch.error)") is None


async def test_chatkit_that_comes_later(kit: Page) -> None:
    """Whoever awaits and whoever subscribes learns it, even behind a subscriber that throws."""
    await kit.evaluate("() => { globalThis.reportError = () => {} }")
    await watch(kit)
    await kit.evaluate(
        "() => { watch.subscribe(() => { throw Error('mine') }); watch.subscribe(() => states.push('heard')) }"
    )
    await add_script(kit, "/chatkit.js")
    await until(kit, "pending", "ready", "heard")

    assert await kit.evaluate("watch.promise.then(() => watch.state)") == "ready"


async def test_chatkit_that_does_not_come(kit: Page) -> None:
    """An error in the words of the page's user; and what comes late after all is ready."""
    await watch(kit, timeout=50)
    await until(kit, "pending", "chatkit_timeout")
    assert await kit.evaluate("watch.promise.catch((error) => [error.name, error.message])") == [
        "GatewayError",
        "The chat did not load within 0.05 seconds.",
    ]
    await add_script(kit, "/chatkit.js")
    await until(kit, "pending", "chatkit_timeout", "ready")
    assert await kit.evaluate("watch.error") is None


async def test_a_script_that_fails_is_an_error_at_once(kit: Page, home: Site, complaints: Complaints) -> None:
    """Also one that is added after the watch began; another script's failure is none of ours."""
    await watch(kit)
    await add_script(kit, "/gone/other.js?chat")
    home.order("/gone/other.js", 404)
    await add_script(kit, "/gone/chatkit.js")
    await until(kit, "pending", "chatkit_script_failed")
    message = await kit.evaluate("watch.error.message")

    assert message.startswith(f"The chat could not be loaded from {home.url}/gone/chatkit.js. Check the connection")
    complaints.clear()


async def test_a_script_that_the_policy_forbids(home: Site, page: Page, complaints: Complaints) -> None:
    """The message names the directive."""
    await page.route(
        f"{home.url}/strict",
        lambda route: route.fulfill(
            content_type="text/html",
            headers={"content-security-policy": "script-src 'self'"},
            body="<link rel=icon href='data:,'>",
        ),
    )
    await page.goto(f"{home.url}/strict")
    await page.evaluate("async (path) => { globalThis.kit = await import(path) }", "/kit/1.0.0/gateway-kit.js")
    await watch(page, "loadChatKit")
    await until(page, "pending", "chatkit_script_failed")

    assert "script-src" in await page.evaluate("watch.error.message")
    assert all("Content Security Policy" in line for line in complaints)
    complaints.clear()


async def test_a_stopped_watch_is_silent(kit: Page) -> None:
    """Neither the timeout nor the script is heard any more; one that goes on shows that both were there to hear."""
    # In one turn of the page: between two, the time could be over.
    await kit.evaluate("() => { globalThis.stopped = kit.whenChatKitReady({ timeout: 50 }); stopped.stop(); }")
    await watch(kit, timeout=60)
    await until(kit, "pending", "chatkit_timeout")
    await add_script(kit, "/chatkit.js")
    await until(kit, "pending", "chatkit_timeout", "ready")

    assert await kit.evaluate("stopped.state") == "pending"


# --- Its frame ---


async def show_element(page: Page) -> None:
    """The element on the page, its frame not yet loaded, and watched."""
    await page.add_script_tag(url="/chatkit.js")
    await page.evaluate("""() => {
        const chat = globalThis.chat = document.createElement("openai-chatkit");
        globalThis.states = [];
        globalThis.watch = kit.whenChatKitReady({ element: chat });
        watch.subscribe(({ state, error }) => states.push(error?.code ?? state));
        document.body.append(chat);
    }""")


async def test_a_frame_that_loads_is_ready(kit: Page) -> None:
    """With the element given, ready means that people see a chat."""
    await show_element(kit)
    assert await kit.evaluate("watch.state") == "pending"
    await kit.evaluate("chat.say('chatkit.ready')")
    await until(kit, "ready")


async def test_a_frame_that_silently_goes_away_is_an_error(kit: Page) -> None:
    """A domain key that is refused takes the frame away a second after it has loaded, without a word."""
    await show_element(kit)
    await kit.evaluate("chat.say('chatkit.ready')")
    await kit.evaluate("chat.shadowRoot.replaceChildren()")
    await until(kit, "ready", "chatkit_unmounted")

    assert "domain key" in await kit.evaluate("watch.error.message")
    assert "(127.0.0.1)" in await kit.evaluate("watch.error.message")


async def test_an_element_that_goes_away_is_told_from_its_frame(kit: Page) -> None:
    """The page may have done that itself."""
    await show_element(kit)
    await kit.evaluate("chat.say('chatkit.ready'); chat.remove()")
    await until(kit, "ready", "chatkit_removed")


async def test_an_error_before_the_frame_has_loaded(kit: Page) -> None:
    """ChatKit says why; once it is there it shows its errors itself."""
    await show_element(kit)
    await kit.evaluate("chat.say('chatkit.error', { error: new Error('bad options') })")
    await until(kit, "chatkit_error")
    assert await kit.evaluate("watch.error.message") == "The chat could not start: bad options."
    await kit.evaluate("chat.say('chatkit.ready'); chat.say('chatkit.error', { error: new Error('later') })")
    await until(kit, "chatkit_error", "ready")


async def test_a_frame_that_is_there_already(kit: Page) -> None:
    """Its event has been and gone."""
    await kit.add_script_tag(url="/chatkit.js")
    state = await kit.evaluate("""() => {
        const chat = document.body.appendChild(document.createElement("openai-chatkit"));
        return kit.whenChatKitReady({ element: chat }).state;
    }""")

    assert state == "ready"


# --- Loading it ---


async def test_the_script_is_inserted_once(kit: Page) -> None:
    """However many parts of a page ask for it; with a nonce where the policy asks for one."""
    ready = "kit.loadChatKit({ src: '/later/chatkit.js', nonce: 'n1' }).promise"
    await kit.evaluate(f"Promise.all([{ready}, {ready}])")
    await kit.evaluate(ready)
    seen = await kit.evaluate("[times, document.scripts.length, document.scripts[0].nonce, document.scripts[0].async]")

    assert seen == [1, 1, "n1", True]


async def test_a_script_of_another_hash_does_not_run(kit: Page, complaints: Complaints) -> None:
    """The browser compares; nothing is defined."""
    await watch(kit, "loadChatKit", src="/later/chatkit.js", integrity="sha384-" + "A" * 64)
    await until(kit, "pending", "chatkit_script_failed")

    assert await kit.evaluate("customElements.get('openai-chatkit')") is None
    complaints.clear()


async def test_a_script_that_failed_is_loaded_again_when_asked(kit: Page, home: Site, complaints: Complaints) -> None:
    """What a button "Try again" does."""
    home.order("/flaky/chatkit.js", 503)
    await watch(kit, "loadChatKit", src="/flaky/chatkit.js")
    await until(kit, "pending", "chatkit_script_failed")
    home.order("/flaky/chatkit.js", body=ELEMENT, content_type="text/javascript")
    await watch(kit, "loadChatKit", src="/flaky/chatkit.js")
    await until(kit, "pending", "ready")

    assert await kit.evaluate("document.scripts.length") == 1
    complaints.clear()


async def test_a_server_that_renders_the_page_waits_for_nothing(kit: Page) -> None:
    """Without a document nothing throws, and nothing is ever ready."""
    states = await kit.evaluate("""async () => {
        const source = await (await fetch("/kit/1.0.0/gateway-kit.js")).text();
        const test = `postMessage([
            whenChatKitReady().state, loadChatKit().state, getPageContext(), typeof createChatKitFetch(),
            askAboutSelection({ onAsk() {} }) instanceof Object,
            rememberThread({ user: { id: "a" } }).get(),
        ]);`;
        const blob = new Blob([source, test], { type: "text/javascript" });
        const worker = new Worker(URL.createObjectURL(blob), { type: "module" });
        return new Promise((told) => { worker.onmessage = ({ data }) => told(data); });
    }""")

    assert states == ["pending", "pending", None, "function", True, None]


# Enough of ChatKit for a page to set it up and speak.
OPTIONS = ELEMENT.replace("say(name", "setOptions(options) { globalThis.options = options; }\n  say(name")


async def test_the_readmes_page_works_as_it_stands(home: Site, page: Page, profile: BrowserContext) -> None:
    """Signed in, ChatKit loaded, its fetch the kit's, the thread remembered over a reload."""
    (snippet,) = re.findall(r"```html\n(<script type=\"module\">.*?)```", README.read_text(), re.DOTALL)
    user: dict[str, Any] = {"id": "a", "name": "Ann", "email": None, "roles": []}
    home.order("/session", 200, {"authenticated": True, "user": user, "issuer": "i", "expires_at": "2030-01-01"})
    home.order("/readme", body=PAGE.format(body=snippet), content_type="text/html")
    await profile.route(
        "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js",
        lambda route: route.fulfill(content_type="text/javascript", body=OPTIONS),
    )
    await page.goto(f"{home.url}/readme")
    await page.wait_for_function("globalThis.options")
    await page.evaluate("document.querySelector('openai-chatkit').say('chatkit.thread.change', { threadId: 'thr_7' })")
    await page.reload()
    await page.wait_for_function("globalThis.options")
    home.take()
    await page.evaluate("options.api.fetch(options.api.url, { method: 'POST', body: '{\"type\": \"threads.list\"}' })")

    assert await page.evaluate("options.initialThread") == "thr_7"
    assert home.take()[0].json["metadata"]["app"] == "shop"
