"""The kit's React hook with the real React and the real `@openai/chatkit-react`, in a page without a bundler.

The hook is compiled by the example's TypeScript; React's packages are CommonJS, and some lines stand in for `require`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PATIENCE, Complaints
from tests.browser.nextjs import run
from tests.browser.site import PAGE, Site, site

PACKAGES = {
    "react": "react/cjs/react.development.js",
    "react/jsx-runtime": "react/cjs/react-jsx-runtime.development.js",
    "react-dom": "react-dom/cjs/react-dom.development.js",
    "react-dom/client": "react-dom/cjs/react-dom-client.development.js",
    "scheduler": "scheduler/cjs/scheduler.development.js",
    "@openai/chatkit-react": "@openai/chatkit-react/dist/index.cjs",
}
REQUIRE = """
const loaded = {};
export function require(name) {
  if (!loaded[name]) sources[name](loaded[name] = { exports: {} }, loaded[name].exports, require);
  return loaded[name].exports;
}
"""
REACT = 'import { require } from "/require.js"; export const { %s } = require("react");'
# What ChatKit is to the hook: an element with a frame, options, and events.
CHATKIT = """
globalThis.setups = [];
customElements.define("openai-chatkit", class extends HTMLElement {
  connectedCallback() {
    this.attachShadow({ mode: "open" }).append(document.createElement("iframe"));
  }
  setOptions(options) {
    this.options = options;
    setups.push(options);
    this.say("chatkit.ready");
  }
  say(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
});
"""
APP = """
import { require } from "/require.js";
import { useGatewayChatKit } from "/use-gateway-chatkit.js";
const { createElement, useState } = require("react");
const { ChatKit, useChatKit } = require("@openai/chatkit-react");

function App() {
  const [isOpen, setOpen] = useState(true);
  const [count, setCount] = useState(0);
  const chat = useGatewayChatKit({ domainKey: "local-dev", metadata: { count }, timeout: 5000, path: "/chatkit" });
  const { control } = useChatKit(chat.options);
  const isThere = isOpen && (chat.state === "ready" || chat.state === "expired");
  return createElement("main", null,
    createElement("p", { role: "status" }, [chat.state, chat.session?.user.id, chat.error?.code].join(" ").trim()),
    createElement("button", { onClick: chat.retry }, "Retry"),
    createElement("button", { onClick: () => setOpen(!isOpen) }, "Toggle"),
    createElement("button", { onClick: () => setCount(count + 1) }, "Count"),
    isThere && createElement(ChatKit, { control }));
}
require("react-dom/client").createRoot(document.getElementById("root")).render(createElement(App));
"""
SIGNED_IN = {
    "authenticated": True,
    "user": {"id": "ann", "name": "Ann", "email": None, "roles": []},
    "issuer": "i",
    "expires_at": "2030-01-01",
}
EXPIRED = {"code": "token_expired", "message": "Your sign-in has expired. Sign in again."}


@pytest.fixture(scope="module")
def compiled(nextjs_example: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Scripts by path."""
    out = tmp_path_factory.mktemp("hook")
    hook = next(nextjs_example.rglob("gateway-kit/use-gateway-chatkit.tsx"))
    command = ["node_modules/.bin/tsc", "--ignoreConfig", str(hook), "--outDir", str(out), "--module", "esnext"]
    run(*command, "--target", "es2022", "--moduleResolution", "bundler", "--jsx", "react-jsx", "--skipLibCheck",
        cwd=nextjs_example)  # fmt: skip
    packages = nextjs_example / "node_modules"
    sources = ",\n".join(
        f"{json.dumps(name)}: (module, exports, require) => {{\n{(packages / path).read_text()}\n}}"
        for name, path in PACKAGES.items()
    )
    return {
        "/require.js": (
            f"globalThis.process = {{ env: {{ NODE_ENV: 'development' }} }};\nconst sources = {{{sources}}};{REQUIRE}"
        ),
        "/react.js": REACT % "useCallback, useEffect, useMemo, useRef, useState",
        "/use-gateway-chatkit.js": next(out.rglob("use-gateway-chatkit.js")).read_text(),
        "/gateway-kit.js": (hook.parent / "gateway-kit.js").read_text(),
        "/app.js": APP,
    }


@pytest.fixture(scope="module")
def world(compiled: dict[str, str]) -> Iterator[Site]:
    import_map = json.dumps({"imports": {"react": "/react.js"}})
    page = (
        f'<div id="root"></div><script type="importmap">{import_map}</script>'
        '<script async src="/chatkit.js"></script><script type="module" src="/app.js"></script>'
    )
    with site() as there:
        for path, script in compiled.items():
            there.order(path, body=script, content_type="text/javascript")
        there.order("/app", body=PAGE.format(body=page), content_type="text/html")
        yield there


@pytest.fixture
def home(world: Site) -> Site:
    """Signed in, and ChatKit's script is to be had."""
    world.order("/session", 200, SIGNED_IN)
    world.order("/chatkit", 200)
    world.order("/chatkit.js", body=CHATKIT, content_type="text/javascript")
    world.take()
    return world


async def until(page: Page, state: str) -> None:
    await expect(page.get_by_role("status")).to_have_text(state, timeout=PATIENCE)


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name).click()


async def speak(page: Page) -> int:
    """What ChatKit does with a message; the status that it sees."""
    status: Any = await page.evaluate("""async () => {
        const { api } = document.querySelector("openai-chatkit").options;
        const init = { method: "POST", body: '{"type": "threads.list"}' };
        return (await api.fetch(api.url, init)).status;
    }""")
    return int(status)


async def test_who_is_signed_in_chats(home: Site, page: Page) -> None:
    """The options are set once, whatever the page renders; metadata is that of the last render."""
    await page.goto(f"{home.url}/app")
    await until(page, "ready ann")
    await press(page, "Count")
    home.take()

    assert await speak(page) == 200
    assert home.take()[0].json["metadata"]["count"] == 1
    assert await page.evaluate("setups.length") == 1


async def test_the_thread_is_there_after_a_reload(home: Site, page: Page) -> None:
    """As ChatKit reports it, and as ChatKit is told at the start."""
    await page.goto(f"{home.url}/app")
    await until(page, "ready ann")
    await page.evaluate("document.querySelector('openai-chatkit').say('chatkit.thread.change', { threadId: 'thr_1' })")
    await page.reload()
    await until(page, "ready ann")

    assert await page.evaluate("setups.map(({ initialThread }) => initialThread)") == ["thr_1"]


async def test_nobody_is_signed_in_until_somebody_is(home: Site, page: Page, complaints: Complaints) -> None:
    """The page asks again when it has a reason to; an outage is no sign-out."""
    home.order("/session", 401, EXPIRED)
    await page.goto(f"{home.url}/app")
    await until(page, "signed-out")
    home.order("/session", 503, {"code": "keys_unavailable"})
    await press(page, "Retry")
    await until(page, "error  keys_unavailable")
    home.order("/session", 200, SIGNED_IN)
    await press(page, "Retry")
    await until(page, "ready ann")
    complaints.clear()


async def test_a_session_that_ends_leaves_the_chat_where_it_is(home: Site, page: Page, complaints: Complaints) -> None:
    """The same element, with whatever was typed into it; signing in again goes on with it."""
    await page.goto(f"{home.url}/app")
    await until(page, "ready ann")
    await page.evaluate("globalThis.first = document.querySelector('openai-chatkit')")
    home.order("/chatkit", 401, EXPIRED)
    assert await speak(page) == 401
    await until(page, "expired ann")
    await press(page, "Retry")
    await until(page, "ready ann")

    assert await page.evaluate("first === document.querySelector('openai-chatkit') && setups.length") == 1
    complaints.clear()


async def test_a_refused_domain_key_is_an_error_that_can_be_retried(home: Site, page: Page) -> None:
    """The frame goes away without a word; a chat that is mounted anew is watched anew."""
    await page.goto(f"{home.url}/app")
    for _ in range(2):
        await until(page, "ready ann")
        await page.evaluate("document.querySelector('openai-chatkit').shadowRoot.replaceChildren()")
        await until(page, "error ann chatkit_unmounted")
        await press(page, "Retry")
    await until(page, "ready ann")


async def test_a_page_may_close_its_chat(home: Site, page: Page) -> None:
    """That is no failure: seconds later the state is what it was, and the chat opens again."""
    await page.clock.install()
    await page.goto(f"{home.url}/app")
    await until(page, "ready ann")
    await press(page, "Toggle")
    await page.clock.run_for(6000)
    await until(page, "ready ann")
    await press(page, "Toggle")

    await expect(page.locator("openai-chatkit")).to_be_attached()


async def test_a_script_that_failed_is_loaded_again(home: Site, page: Page, complaints: Complaints) -> None:
    """The button "Try again" of a page whose network was away."""
    home.order("/chatkit.js", 503)
    await page.goto(f"{home.url}/app")
    # At once, or after the timeout where it failed before the hook was there to hear it.
    await expect(page.get_by_role("status")).to_contain_text("error ann chatkit_", timeout=PATIENCE)
    home.order("/chatkit.js", body=CHATKIT, content_type="text/javascript")
    await press(page, "Retry")
    await until(page, "ready ann")
    complaints.clear()
