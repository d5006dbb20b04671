"""Pages on another origin than the gateway: a real gateway, real cookies, the browser's own rules.

The page's host is the gateway's with another port (same site, other origin) unless a test says otherwise; the backend
is a site that answers what it is told.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.async_api import BrowserContext, Page

from gateway.kit.command import describe_kit
from gateway.kit.files import SCRIPT, kit_path
from tests.browser.conftest import Complaints
from tests.browser.site import PAGE, Site, open_kit, site
from tests.support.issuer import Issuer
from tests.support.running import running_gateway

SETTINGS = """
[server]
port = 0
drain_delay = 0

[issuers.main]
issuer = "https://login.test"
jwks_file = "{folder}/jwks.json"
audiences = ["chat"]

[backends.support]
url = "{backend}/chatkit"

[routes.support]
path = "/chatkit"
backend = "support"
cookie = "auth_token"
allowed_origins = ["{listed}", "{other_site}"]
operations = ["threads.create", "threads.list"]
"""
EVENTS = [{"type": "thread.created", "thread": {"id": "thr_1"}}, {"type": "progress_update", "text": "Hm"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    gateway: str
    backend: Site
    listed: Site
    unlisted: Site
    issuer: Issuer

    @property
    def other_site(self) -> str:
        """The listed page's address under a name that is another site to the browser."""
        return self.listed.url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("cross-origin")
    issuer = Issuer()
    (folder / "jwks.json").write_text(json.dumps(issuer.jwks()))
    with site() as backend, site() as listed, site() as unlisted:
        stream = "".join(f"data: {json.dumps(event)}\n\n" for event in EVENTS)
        backend.order("/chatkit", body=stream, content_type="text/event-stream")
        other_site = listed.url.replace("127.0.0.1", "localhost")
        text = SETTINGS.format(folder=folder, backend=backend.url, listed=listed.url, other_site=other_site)
        with running_gateway(folder, text) as url:
            yield World(gateway=url, backend=backend, listed=listed, unlisted=unlisted, issuer=issuer)


async def sign_in(world: World, profile: BrowserContext) -> None:
    """The cookie that a login would set; scripts do not see it."""
    token = world.issuer.token("alice")
    await profile.add_cookies(
        [{"name": "auth_token", "value": token, "url": world.gateway, "httpOnly": True, "sameSite": "Lax"}]
    )


# What a page does: who is signed in, then a message; everything that it learns.
CHAT = """async ([gatewayOrigin, type]) => {
    const told = [];
    const chatFetch = kit.createChatKitFetch({ gatewayOrigin, onSignedOut: ({ code }) => told.push(code) });
    const who = await kit.session({ gatewayOrigin }).catch((error) => error.code);
    const events = [];
    const response = await chatFetch(`${gatewayOrigin}/chatkit`, {
        method: "POST",
        headers: { "content-type": "application/json", "chatkit-frame-instance-id": "f", "accept-language": "de" },
        body: JSON.stringify({ type, params: {} }),
    }).catch(String);
    if (response.ok) for await (const event of kit.readEvents(response)) events.push(event.type);
    const problem = response.status >= 400 ? await response.json() : null;
    return { who: who.user?.id ?? who.code ?? who, events, problem, told, failure: response.status ? null : response,
             cookie: document.cookie };
}"""


async def test_a_listed_page_chats_with_its_cookie(world: World, page: Page, profile: BrowserContext) -> None:
    """Signed in, streamed, and the backend is told who it is and what the page shows."""
    await sign_in(world, profile)
    await open_kit(page, world.listed.url, "<main><h1>Orders</h1></main>")
    world.backend.take()

    assert await page.evaluate(CHAT, [world.gateway, "threads.create"]) == {
        "who": "alice",
        "events": ["thread.created", "progress_update"],
        "problem": None,
        "told": [],
        "failure": None,
        "cookie": "",
    }
    (arrived,) = world.backend.take()
    assert arrived.json["metadata"]["userId"] == "alice"
    assert arrived.json["metadata"]["pageContext"]["headings"] == ["Orders"]


async def test_a_listed_page_can_read_refusals(
    world: World, page: Page, profile: BrowserContext, complaints: Complaints
) -> None:
    """Signed out, and not allowed: the gateway's own sentences, with the request id to tell support."""
    await open_kit(page, world.listed.url)
    nobody = await page.evaluate(CHAT, [world.gateway, "threads.create"])
    await sign_in(world, profile)
    forbidden = await page.evaluate(CHAT, [world.gateway, "threads.delete"])

    assert (nobody["who"], nobody["told"]) == ("credential_missing", ["credential_missing"])
    assert nobody["problem"]["message"] == "You are not signed in."
    assert (forbidden["who"], forbidden["told"]) == ("alice", [])
    assert forbidden["problem"]["message"] == "This operation is not allowed here."
    assert forbidden["problem"]["request_id"]
    assert all(line.startswith("Failed to load resource") for line in complaints)
    complaints.clear()


async def test_an_unlisted_page_is_refused_and_told_what_to_do(
    world: World, page: Page, profile: BrowserContext, complaints: Complaints
) -> None:
    """The browser keeps the answer from the page, the console says what to list; nothing reaches the backend."""
    await sign_in(world, profile)
    await open_kit(page, world.unlisted.url)
    world.backend.take()
    seen = await page.evaluate(CHAT, [world.gateway, "threads.create"])

    assert (seen["who"], seen["failure"]) == ("unreachable", "TypeError: Failed to fetch")
    assert world.backend.take() == []
    ours = [line for line in complaints if line.startswith("gateway-kit:")]
    hint = f'1. the route\'s allowed_origins at the gateway lists "{world.unlisted.url}"'
    assert [hint in line for line in ours] == [True, True]  # once for the session, once for the chat
    complaints.clear()


async def test_a_page_on_another_site_is_told_that_no_cookie_came(
    world: World, page: Page, profile: BrowserContext, complaints: Complaints
) -> None:
    """The browser keeps a SameSite=Lax cookie, and private windows keep every one: readable, and a hint what to do."""
    await sign_in(world, profile)
    warnings = []
    page.on("console", lambda message: warnings.append(message.text) if message.type == "warning" else None)
    await open_kit(page, world.other_site)
    seen = await page.evaluate(CHAT, [world.gateway, "threads.create"])

    assert (seen["who"], seen["told"]) == ("credential_missing", ["credential_missing"])
    assert seen["problem"]["message"] == "You are not signed in."
    (warning,) = warnings
    assert warning.startswith(f"gateway-kit: no cookie came with the request to {world.gateway}.")
    assert all("401" in line for line in complaints)
    complaints.clear()


async def test_the_printed_policy_and_hash_load_the_kit(world: World, page: Page, profile: BrowserContext) -> None:
    """What `gateway kit` prints works as it stands: import map, integrity, policy; and the chat through it."""
    await sign_in(world, profile)
    printed = describe_kit(world.gateway)
    (import_map,) = re.findall(r'<script type="importmap">.*</script>', printed)
    (tag,) = re.findall(r'<script type="module" src="[^"]*" integrity=.*</script>', printed)
    (policy,) = re.findall(r"Content-Security-Policy: (.*)\n", printed)
    module = (
        'import { KIT_VERSION, session } from "gateway-kit";'
        f'const who = session({{ gatewayOrigin: "{world.gateway}" }});'
        "globalThis.who = who.then(({ user }) => [KIT_VERSION, user.id]);"
    )
    world.listed.order("/chat.js", body=module, content_type="text/javascript")
    body = f'{import_map}<link rel="icon" href="data:,">{tag}<script type="module" src="/chat.js"></script>'
    world.listed.order("/strict", body=body, content_type="text/html", content_security_policy=policy)
    await page.goto(f"{world.listed.url}/strict")

    assert await page.evaluate("who") == ["1.0.0", "alice"]


async def test_a_kit_of_another_hash_does_not_run(world: World, page: Page, complaints: Complaints) -> None:
    """Whoever stands between cannot change what pages run."""
    await page.route(
        f"{world.gateway}{kit_path(SCRIPT)}",
        lambda route: route.fulfill(
            content_type="text/javascript",
            headers={"access-control-allow-origin": "*"},
            body="globalThis.isChanged = true",
        ),
    )
    (tag,) = re.findall(r'<script type="module" src="[^"]*" integrity=.*</script>', describe_kit(world.gateway))
    world.listed.order("/pinned", body=PAGE.format(body=tag), content_type="text/html")
    await page.goto(f"{world.listed.url}/pinned")

    assert await page.evaluate("globalThis.isChanged") is None
    assert "integrity" in " ".join(complaints)
    complaints.clear()
