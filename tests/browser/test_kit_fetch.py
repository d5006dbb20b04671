"""The kit's fetch in a real page: who gets cookies and page context, and what becomes of failures."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from tests.browser.conftest import Complaints
from tests.browser.site import Site, open_kit, site

MESSAGE = {"type": "threads.create", "params": {"input": {"text": "1.0 is 1 😀", "big": 9007199254740991}}}
COOKIE = "auth_token=secret"


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Site, Site]]:
    """The page's own site, and somebody else's. Cookies ignore ports: both would get the cookie if it were sent."""
    with site() as ours, site() as theirs:
        yield ours, theirs


@pytest.fixture
async def ours(sites: tuple[Site, Site], page: Page, profile: BrowserContext) -> Site:
    """The page is open, with the kit and a cookie that no script sees."""
    home, elsewhere = sites
    for place in sites:
        place.answers.clear()
        place.take()
    await profile.add_cookies([{"name": "auth_token", "value": "secret", "url": home.url, "httpOnly": True}])
    await open_kit(page, home.url, "<main><h1>Orders</h1></main>")
    await page.evaluate("theirs => { globalThis.theirs = theirs; globalThis.told = [] }", elsewhere.url)
    await make_fetch(page)
    return home


@pytest.fixture
def theirs(sites: tuple[Site, Site]) -> Site:
    return sites[1]


def forgive_statuses(complaints: Complaints) -> None:
    """The browser itself writes a line for every failed answer; everything else is still a complaint."""
    complaints[:] = [line for line in complaints if not line.startswith("Failed to load resource")]


async def make_fetch(page: Page, options: str = "{}") -> None:
    """From now on ``send`` goes through ``createChatKitFetch(options)``."""
    await page.evaluate(f"() => {{ globalThis.chatFetch = kit.createChatKitFetch({options}) }}")


async def send(page: Page, path: str = "/chatkit", message: Any = MESSAGE) -> dict[str, Any]:
    """One request as ChatKit makes it; what ChatKit sees of the answer."""
    script = """async ([path, message]) => {
        const response = await chatFetch(path, {
            method: "POST",
            headers: { "content-type": "application/json", "chatkit-frame-instance-id": "f1" },
            body: JSON.stringify(message),
        });
        return { status: response.status, body: await response.json() };
    }"""
    answer: dict[str, Any] = await page.evaluate(script, [path, message])
    return answer


# --- What is sent ---


async def test_a_message_carries_cookie_page_and_metadata_and_loses_nothing(ours: Site, page: Page) -> None:
    """The rest of the body is as it was, and so are ChatKit's headers."""
    await make_fetch(page, '{ metadata: { app: "shop", plan: "pro" } }')
    await send(page, message={**MESSAGE, "metadata": {"plan": "free"}})
    (arrived,) = ours.take()

    assert arrived.headers["cookie"] == COOKIE
    assert arrived.headers["chatkit-frame-instance-id"] == "f1"
    assert arrived.headers["content-type"] == "application/json"
    assert arrived.json == {
        **MESSAGE,
        "metadata": {
            "app": "shop",
            "plan": "free",  # the most specific wins: what was in the body
            "pageContext": {
                "url": f"{ours.url}/",
                "path": "/",
                "title": "A page",
                "description": "",
                "headings": ["Orders"],
            },
        },
    }


METADATA: list[tuple[str, object]] = [
    ("{ pageContext: false }", {}),
    ("{ pageContext: () => null }", {}),
    ("{ pageContext: () => ({ path: '/p' }) }", {"pageContext": {"path": "/p"}}),
    ("{ pageContext: false, metadata: () => ({ cart: 3 }) }", {"cart": 3}),
    ("{ pageContext: false, metadata: { a: 1, b: undefined, c() {} } }", {"a": 1}),
    ("{ pageContext: false, metadata: [1, 2] }", {}),
    ("{ pageContext: () => 'text', metadata: () => null }", {}),
]


async def test_metadata_is_what_the_page_says(ours: Site, page: Page) -> None:
    """Objects only: the gateway refuses anything else as metadata."""
    for options, _ in METADATA:
        await make_fetch(page, options)
        await send(page)

    assert [arrived.json["metadata"] for arrived in ours.take()] == [metadata for _, metadata in METADATA]


async def test_metadata_is_asked_anew_for_every_request(ours: Site, page: Page) -> None:
    """A single-page application changes its page without loading one."""
    await make_fetch(page, "{ metadata: () => ({ title: document.title }) }")
    await send(page)
    await page.evaluate("document.title = 'Another'")
    await send(page)

    assert [request.json["metadata"]["title"] for request in ours.take()] == ["A page", "Another"]


async def test_what_the_page_breaks_does_not_break_the_chat(ours: Site, page: Page, complaints: Complaints) -> None:
    """The message goes out without it; the error is on the console."""
    await make_fetch(page, "{ pageContext() { throw Error('no page') }, metadata: { big: 1n } }")
    await send(page)

    assert ours.take()[0].json == {**MESSAGE, "metadata": {}}
    assert sorted(complaints) == ["uncaught: Do not know how to serialize a BigInt", "uncaught: no page"]
    complaints.clear()


UNTOUCHED = [
    ('new Blob([\'{"type": "threads.list"}\'])', b'{"type": "threads.list"}'),
    ('new TextEncoder().encode(\'{"type": "x"}\')', b'{"type": "x"}'),
    ('\'{"type": 7,  "a": 1}\'', b'{"type": 7,  "a": 1}'),
    ('\'[{"type":  "x"}]\'', b'[{"type":  "x"}]'),
    ("'no JSON'", b"no JSON"),
    ("new URLSearchParams('a=1')", b"a=1"),
]


async def test_what_is_no_request_of_chatkit_goes_untouched(ours: Site, page: Page) -> None:
    """Uploads are somebody's bytes."""
    for body, _ in UNTOUCHED:
        await page.evaluate(f"async () => {{ await chatFetch('/files', {{ method: 'POST', body: {body} }}) }}")

    assert [(arrived.body, arrived.headers["cookie"]) for arrived in ours.take()] == [
        (arrives, COOKIE) for _, arrives in UNTOUCHED
    ]


async def test_a_form_keeps_its_boundary(ours: Site, page: Page) -> None:
    """A direct upload is a form with one file."""
    await page.evaluate("""async () => {
        const form = new FormData();
        form.append("file", new Blob(["bytes"], { type: "text/plain" }), "a.txt");
        await kit.createChatKitFetch()("/files", { method: "POST", body: form });
    }""")
    (arrived,) = ours.take()
    boundary = arrived.headers["content-type"].partition("boundary=")[2].encode()

    assert boundary in arrived.body
    assert b'filename="a.txt"' in arrived.body


async def test_every_form_of_address_will_do(ours: Site, page: Page) -> None:
    """As for fetch itself."""
    await page.evaluate("""async () => {
        const init = { method: "post", body: '{"type": "threads.list"}' };
        await chatFetch(new URL("/chatkit", location), init);
        await chatFetch(new Request("/chatkit", { method: "POST", headers: { "x-mine": "1" } }), { body: init.body });
    }""")

    assert [arrived.json["metadata"]["pageContext"]["title"] for arrived in ours.take()] == ["A page"] * 2


async def test_an_abort_is_chatkits_own(ours: Site, page: Page) -> None:
    """Stop ends the request; it is no failure of the network, so nobody complains."""
    ours.held.add("/chatkit")
    name = await page.evaluate("""async () => {
        const leaving = new AbortController();
        setTimeout(() => leaving.abort(), 50);
        const init = { method: "POST", body: '{"type": "threads.create"}', signal: leaving.signal };
        return kit.createChatKitFetch()("/chatkit", init).catch((error) => error.name);
    }""")
    ours.held.clear()

    assert name == "AbortError"


# --- Who gets it ---


async def test_a_third_party_gets_no_cookie_and_no_page(ours: Site, theirs: Site, page: Page) -> None:
    """An upload's storage, whatever ChatKit asks for; not even for what looks like a request of ChatKit."""
    for credentials in ("include", "same-origin", "omit"):
        await page.evaluate(
            """credentials => chatFetch(`${theirs}/put?signature=s`, {
                method: "POST", credentials, headers: { "x-storage": "1" }, body: '{"type": "threads.create"}',
            })""",
            credentials,
        )

    seen = [(put.headers.get("cookie"), put.headers["x-storage"], put.body) for put in theirs.take()]
    assert seen == [(None, "1", b'{"type": "threads.create"}')] * 3


async def test_an_origin_is_listed_to_the_letter(ours: Site, theirs: Site, page: Page) -> None:
    """No look-alike, no other port or scheme."""
    alike = [
        "'http://127.0.0.1.evil.test'",
        "theirs.slice(0, -1)",
        "theirs.replace('http:', 'https:')",
        "location.origin",
    ]
    for origin in alike:
        await make_fetch(page, f"{{ origins: [{origin}] }}")
        await send(page, f"{theirs.url}/put")

    assert [(put.headers.get("cookie"), put.json) for put in theirs.take()] == [(None, MESSAGE)] * len(alike)


async def test_a_base_element_moves_nothing_to_a_third_party(ours: Site, theirs: Site, page: Page) -> None:
    """A relative path then leads elsewhere, and is judged by where it leads."""
    await page.evaluate("document.head.append(Object.assign(document.createElement('base'), { href: theirs }))")
    await send(page)
    (arrived,) = theirs.take()

    assert "cookie" not in arrived.headers
    assert arrived.json == MESSAGE


async def test_what_is_no_origin_is_refused_at_once(ours: Site, page: Page) -> None:
    """A wildcard would send everybody's cookies anywhere."""
    values = ["*", "chat.example.com", "file:///etc", "data:text/html,x", "null"]
    script = "value => { try { kit.createChatKitFetch({ origins: [value] }) } catch (error) { return String(error) } }"

    assert [await page.evaluate(script, value) for value in values] == [
        f"TypeError: {value} is no origin; give scheme and host, such as https://chat.example.com" for value in values
    ]


async def test_a_message_follows_no_redirect(ours: Site, theirs: Site, page: Page, complaints: Complaints) -> None:
    """It would carry the message and the page to another address. Said in words, with a status that nobody retries."""
    ours.order("/chatkit", 307, location=f"{theirs.url}/login")
    answer = await send(page)

    assert (answer["status"], answer["body"]["code"]) == (421, "redirected")
    assert answer["body"]["message"].startswith("The chat's address leads elsewhere, as sign-in pages do.")
    assert theirs.take() == []
    (complaint,) = complaints
    assert complaint.startswith(f"gateway-kit: {ours.url}/chatkit answered with a redirect")
    complaints.clear()


async def test_an_upload_follows_its_redirect_without_the_cookie(ours: Site, theirs: Site, page: Page) -> None:
    """Storages redirect to where a file lies; the browser leaves the cookie behind."""
    ours.order("/files", 307, location=f"{theirs.url}/stored")
    await page.evaluate("kit.createChatKitFetch()('/files', { method: 'PUT', body: new Blob(['bytes']) })")
    (arrived,) = theirs.take()

    assert (arrived.path, arrived.body) == ("/stored", b"bytes")
    assert "cookie" not in arrived.headers


# --- Signed out ---

WATCHED = "{ onSignedOut: (detail) => told.push(detail) }"
LISTEN = "addEventListener('gateway:signed-out', (event) => told.push(['event', event.detail.code]))"
EXPIRED = {"code": "token_expired", "message": "Your sign-in has expired. Sign in again.", "request_id": "r1"}
DETAIL = {"status": 401, "code": "token_expired", "message": EXPIRED["message"], "requestId": "r1"}


async def test_many_401s_are_one_event_until_a_success(ours: Site, page: Page, complaints: Complaints) -> None:
    """Five requests of one expired page must not open five login windows."""
    ours.order("/chatkit", 401, EXPIRED)
    await page.evaluate(LISTEN)
    await make_fetch(page, WATCHED)
    await send(page)
    await page.evaluate("Promise.all([1, 2, 3, 4].map(() => chatFetch('/chatkit', { method: 'POST' })))")
    once = [DETAIL, ["event", "token_expired"]]
    assert await page.evaluate("told") == once

    ours.order("/chatkit", 200)
    await send(page)
    ours.order("/chatkit", 401, EXPIRED)
    await send(page)
    assert await page.evaluate("told") == once * 2
    forgive_statuses(complaints)


async def test_a_late_answer_of_before_says_nothing(ours: Site, page: Page, complaints: Complaints) -> None:
    """Neither opens a 401 of before signing in a login again, nor does a success of before the end hide one."""
    ours.order("/slow", 401, EXPIRED)
    ours.held.add("/slow")
    await make_fetch(page, WATCHED)
    ours.order("/chatkit", 401, EXPIRED)
    await send(page)
    await page.evaluate("void (globalThis.late = chatFetch('/slow', { method: 'POST' }).then(({ status }) => status))")
    ours.order("/chatkit", 200)
    await send(page)
    ours.held.clear()

    assert await page.evaluate("late") == 401
    assert await page.evaluate("told.length") == 1
    forgive_statuses(complaints)


async def test_a_third_partys_401_is_no_sign_out(ours: Site, theirs: Site, page: Page, complaints: Complaints) -> None:
    """A storage whose signature has expired says 401 too."""
    theirs.order("/put", 401)
    await page.evaluate(LISTEN)
    await make_fetch(page, WATCHED)
    await send(page, f"{theirs.url}/put")

    assert await page.evaluate("told") == []
    forgive_statuses(complaints)


async def test_a_listener_that_throws_does_not_lose_the_answer(ours: Site, page: Page, complaints: Complaints) -> None:
    """ChatKit still shows why."""
    ours.order("/chatkit", 401, EXPIRED)
    await make_fetch(page, "{ onSignedOut() { throw Error('no login page') } }")
    answer = await send(page)

    assert answer == {"status": 401, "body": EXPIRED}
    forgive_statuses(complaints)
    assert complaints == ["uncaught: no login page"]
    complaints.clear()


# --- Refusals and failures ---

HTML = "<html>503 Service Temporarily Unavailable</html>"


REFUSALS: list[tuple[int, Any, dict[str, str], str]] = [
    (403, "", {}, "You do not have permission to do this."),
    (403, {"message": "Not for guests."}, {}, "Not for guests."),
    (403, {"message": "", "detail": "Not today."}, {}, "Not today."),
    (403, {"message": {"text": "x"}, "detail": [1]}, {}, "You do not have permission to do this."),
    (413, HTML, {}, "This is too large to send."),
    (418, "null", {}, "The service answered with an error (418)."),
    (429, HTML, {}, "Too many requests at once. Try again in a moment."),
    (429, "", {"retry_after": "30"}, "Too many requests at once. Try again in 30 seconds."),
    (429, "", {"retry_after": "600"}, "Too many requests at once. Try again in 10 minutes."),
    (429, "", {"retry_after": "7200"}, "Too many requests at once. Try again in 2 hours."),
    (429, "", {"retry_after": "999999999"}, "Too many requests at once. Try again later."),
    (503, HTML, {"retry_after": "soon"}, "The service is not available right now. Try again in a moment."),
    (
        503,
        HTML,
        {"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"},
        "The service is not available right now. Try again in a moment.",
    ),
    (503, "x" * 2_000_000, {}, "The service is not available right now. Try again in a moment."),
    (503, {"message": "Sign-ins cannot be checked."}, {"retry_after": "5"}, "Sign-ins cannot be checked."),
]


async def test_a_refusal_can_be_read(ours: Site, page: Page, complaints: Complaints) -> None:
    """ChatKit shows `json.message`: there is always one, in words, and the status stays."""
    seen = []
    for status, body, headers, _ in REFUSALS:
        ours.order("/chatkit", status, body, **headers)
        answer = await send(page)
        seen.append((answer["status"], answer["body"]["message"]))

    assert seen == [(status, message) for status, _, _, message in REFUSALS]
    forgive_statuses(complaints)


async def test_a_refusal_keeps_what_else_it_said(ours: Site, page: Page, complaints: Complaints) -> None:
    """Programs branch on the code, support asks for the request id; headers stay too."""
    ours.order("/chatkit", 429, {"code": "slow_down", "limit": 5}, x_request_id="r7", retry_after="9")
    said = await page.evaluate("""async () => {
        const response = await kit.createChatKitFetch()("/chatkit", { method: "POST" });
        const { status, code, requestId, retryAfter, message } = await kit.GatewayError.from(response.clone());
        return { error: { status, code, requestId, retryAfter, message }, body: await response.json() };
    }""")

    message = "Too many requests at once. Try again in 9 seconds."
    assert said["body"] == {"code": "slow_down", "limit": 5, "message": message}
    assert said["error"] == {
        "status": 429,
        "code": "slow_down",
        "requestId": "r7",
        "retryAfter": 9,
        "message": message,
    }
    forgive_statuses(complaints)


async def test_a_refused_page_is_told_what_to_list(ours: Site, page: Page, complaints: Complaints) -> None:
    """The commonest mistake of a deployment: `public_url` is not what browsers see."""
    ours.order("/chatkit", 403, {"code": "cross_site_request", "message": "This page may not use the chat."})
    await send(page)
    await send(page)
    forgive_statuses(complaints)

    assert complaints == [
        f'gateway-kit: {ours.url} refuses this page. Check: the route\'s allowed_origins lists "{ours.url}", '
        "or server.public_url is that origin."
    ]
    complaints.clear()


async def test_no_answer_from_another_origin_says_once_what_to_check(
    ours: Site, page: Page, complaints: Complaints
) -> None:
    """The browser says `Failed to fetch` for all of it; the error itself goes on to ChatKit."""
    nobody = "http://127.0.0.1:9"
    script = """async (url) => {
        globalThis.chatFetch ??= kit.createChatKitFetch({ gatewayOrigin: url });
        return chatFetch(`${url}/chatkit`, { method: "POST", body: '{"type": "threads.list"}' }).catch(String);
    }"""
    errors = [await page.evaluate(script, nobody) for _ in range(2)]
    forgive_statuses(complaints)

    assert errors == ["TypeError: Failed to fetch"] * 2
    assert complaints == [
        f"gateway-kit: no answer from {nobody} that this page ({ours.url}) may read. Check: 1. the route's "
        f'allowed_origins at the gateway lists "{ours.url}"; 2. the gateway is up: {nobody}/livez; 3. this page\'s '
        "Content-Security-Policy allows it in connect-src; 4. the cookie is SameSite=None; Secure where page and "
        "gateway are on different sites."
    ]
    complaints.clear()


# --- Session ---


async def test_session_says_who(ours: Site, page: Page) -> None:
    """Asked with the cookie, never from a cache."""
    user: dict[str, Any] = {"id": "a", "name": "Ann", "email": None, "roles": []}
    ours.order("/session", 200, {"authenticated": True, "user": user, "issuer": "i", "expires_at": "2030-01-01"})

    assert await page.evaluate("kit.session({ route: 'a b' })") == {
        "authenticated": True,
        "user": user,
        "issuer": "i",
        "expiresAt": "2030-01-01",
    }
    (arrived,) = ours.take()
    assert (arrived.headers["cookie"], arrived.headers["cache-control"]) == (COOKIE, "no-cache")


async def test_session_of_nobody(ours: Site, page: Page, complaints: Complaints) -> None:
    """No error: the page shows its login."""
    ours.order("/session", 401, EXPIRED)

    assert await page.evaluate("kit.session()") == {
        "authenticated": False,
        "reason": EXPIRED["message"],
        "code": "token_expired",
    }
    forgive_statuses(complaints)


UNTELLABLE: list[tuple[int, Any, dict[str, str], list[Any]]] = [
    (
        503,
        {"code": "keys_unavailable", "message": "m", "request_id": "r"},
        {"retry_after": "5"},
        [503, "keys_unavailable", "m", "r", 5],
    ),
    (
        200,
        "<html>the application's own page</html>",
        {"content_type": "text/html"},
        [200, "not_the_gateway", "/session is not the gateway's: check the rewrite or proxy.", None, None],
    ),
    (
        200,
        {"authenticated": "yes"},
        {},
        [200, "not_the_gateway", "/session is not the gateway's: check the rewrite or proxy.", None, None],
    ),
    (302, "", {"location": "/login"}, [0, "redirected", "/session answers with a redirect.", None, None]),
]


async def test_session_throws_where_nobody_can_tell(ours: Site, page: Page, complaints: Complaints) -> None:
    """Signed out and out of order are different things; a single-page application answers every path with itself."""
    seen = []
    for status, body, headers, _ in UNTELLABLE:
        ours.order("/session", status, body, **headers)
        script = "kit.session().catch((e) => [e.status, e.code, e.message, e.requestId, e.retryAfter])"
        seen.append(await page.evaluate(script))

    assert seen == [error for *_, error in UNTELLABLE]
    forgive_statuses(complaints)


# --- Events ---


STREAMS = [
    ('data: {"type":"a"}\n\ndata: {"type":"b"}\n\n', ["a", "b"]),
    (':\n:\ndata: {"type":"a"}\n\n:\n\n\n', ["a"]),
    ('data:{"type":\r\ndata:"a"}\r\n\r\nid: 7\r\nevent: x\r\ndata: {"type":"b"}\r\n\r\n', ["a", "b"]),
    ('data: {"type":"a"}\r\rdata: {"type":"b"}\r\r', ["a", "b"]),
    ('\ufeffdata: {"type":"é😀"}\n\ndata: {"type":"unfinished"}\n', ["é😀"]),
    ("", []),
]


async def test_events_whatever_the_network_makes_of_them(ours: Site, page: Page) -> None:
    """In one piece or byte by byte; heartbeats are passed over, half an event is none."""
    script = """async ([text, size]) => {
        const bytes = new TextEncoder().encode(text);
        const body = new ReadableStream({ start(controller) {
            for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
            controller.close();
        } });
        const seen = [];
        const headers = { "content-type": "text/event-stream; charset=utf-8" };
        for await (const event of kit.readEvents(new Response(body, { headers }))) seen.push(event.type);
        return seen;
    }"""
    seen = [[await page.evaluate(script, [text, size]) for size in (1, 2, 3, 10_000)] for text, _ in STREAMS]

    assert seen == [[events] * 4 for _, events in STREAMS]


async def test_leaving_the_events_ends_the_request(ours: Site, page: Page) -> None:
    """Otherwise the backend would go on talking to nobody."""
    assert await page.evaluate("""async () => {
        let isCancelled = false;
        const body = new ReadableStream({
            pull: (controller) => controller.enqueue(new TextEncoder().encode('data: {"type":"a"}\\n\\n')),
            cancel: () => { isCancelled = true; },
        });
        const response = new Response(body, { headers: { "content-type": "text/event-stream" } });
        for await (const event of kit.readEvents(response)) if (event.type === "a") break;
        return isCancelled;
    }""")


async def test_what_is_no_stream_is_an_error(ours: Site, page: Page) -> None:
    """A refusal is its own error."""
    script = """status => {
        const init = { status, headers: { "content-type": "application/json" } };
        return kit.readEvents(new Response('{"code": "access_denied"}', init)).next().catch((error) => error.code);
    }"""

    assert [await page.evaluate(script, status) for status in (200, 403)] == ["not_a_stream", "access_denied"]
