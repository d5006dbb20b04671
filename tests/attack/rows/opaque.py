"""Opaque routes: what passes unread passes under a cap, and runs nowhere."""

import time
from typing import Any

from tests.attack.judge import check_refused, read_arrival
from tests.attack.marks import SUBJECT
from tests.attack.requests import LIST, ORIGIN, bearer, cookie, get
from tests.attack.row import Attack, Refused, Trial, row
from tests.attack.settings import MAX_UPLOAD
from tests.attack.wire import Answer, exchange
from tests.attack.world import World

SIGNED, CAPS, REST = "signed URLs", "opaque caps", "opaque routes"
MISSING = Refused(status=401, code="credential_missing")
LARGE = Refused(status=413, code="body_too_large")
CROSS = Refused(status=403, code="cross_site_request")


def passed(world: World, request: bytes, *, path: str, method: str = "GET") -> Answer:
    """One request at the backend, about this path, with an assertion that binds no body; the answer."""
    before = len(world.backend.exchanges)
    seen = exchange(world.services["gateway"].port, request)
    arrived = world.backend.exchanges[before:]
    assert len(arrived) == 1, f"{seen.raw[:200]!r}"
    arrival = read_arrival(world, arrived[0])
    assert arrival.request_line == f"{method} {path} HTTP/1.1", arrival.request_line
    assert arrival.claims["req"] == {"method": method, "path": path, "sha256": None}
    assert (arrival.claims["sub"], arrival.claims["user_issuer"]) == (SUBJECT, "https://main.test")
    assert not arrival.all("cookie"), "a cookie at the backend"
    assert not arrival.all("x-user-id")
    return seen.answers[0]


def _large_download(world: World) -> str:
    """Declared: an error. Turning out: broken off, so that nobody takes the part for the whole."""
    port = world.services["gateway"].port
    declared = exchange(port, _cookie_get(world, "/files/a?answer=large"), to_end=False)
    check_refused(declared, status=502, code="backend_invalid", cors=True)
    endless = exchange(port, _cookie_get(world, "/files/a?answer=endless"), to_end=True)
    assert endless.closed, "the connection stays open"
    assert not endless.raw.endswith(b"0\r\n\r\n"), "it looks whole"
    assert len(endless.raw) < 70_000, f"{len(endless.raw)} bytes"
    return "502; broken off"


def _cookie_get(world: World, target: str) -> bytes:
    return get(target, f"Cookie: auth_token={world.token()}", f"Origin: {ORIGIN}")


def _endless_upload(world: World) -> str:
    """In chunks, its length not declared: refused when it has grown too large, and cut off at the backend."""
    body = b"".join(b"400\r\n%s\r\n" % bytes(0x400) for _ in range(6)) + b"0\r\n\r\n"
    request = bearer(
        world.token(), "Transfer-Encoding: chunked", body=body, length=False, target="/files/a?answer=none"
    ).replace(b"POST", b"PUT", 1)
    open_before = world.backend.open
    seen = exchange(world.services["gateway"].port, request)
    check_refused(seen, status=413, code="body_too_large")
    deadline = time.monotonic() + 1
    while world.backend.open > open_before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert world.backend.open <= open_before, "the backend still waits for the rest"
    return "413, cut off at the backend"


def _page_is_inert(world: World) -> str:
    """A file that is a page is served from our origin, next to the cookie: it may do nothing there."""
    answer = passed(world, _cookie_get(world, "/files/a?answer=page"), path="/store/a?answer=page")
    assert answer.all("content-security-policy") == ["sandbox; default-src 'none'"], str(answer.headers)
    assert answer.all("x-content-type-options") == ["nosniff"]
    return "sandboxed"


def _redirect(world: World) -> str:
    """Handed through, not followed."""
    before = world.tripwire.visits
    path = f"a?answer=redirect&to={world.tripwire.url}/"
    answer = passed(world, _cookie_get(world, f"/files/{path}"), path=f"/store/{path}")
    assert (answer.status, world.tripwire.visits) == (302, before), f"{answer.status}"
    return "302, not followed"


def _unbound_at_chatkit(world: World) -> str:
    """An opaque route to a ChatKit backend, which takes no assertion that leaves the body open."""
    seen = exchange(world.services["gateway"].port, bearer(world.token(), target="/agent-files"))
    assert seen.answers[0].status == 401, f"{seen.answers[0].status}"
    assert seen.answers[0].json()["code"] == "assertion_unbound_body", f"{seen.answers[0].json()['code']}"
    return "401 assertion_unbound_body"


def _put(world: World, *headers: str, body: bytes = LIST, **options: Any) -> bytes:
    return bearer(world.token(), *headers, body=body, target="/files/a", **options).replace(b"POST", b"PUT", 1)


def _outside(target: str) -> Attack:
    expected = Refused(status=400, code="malformed_path")
    return row(REST, f"target {target}", lambda world: _cookie_get(world, target), expected, own=True)


OUT_OF_THE_PREFIX = (
    "/files/../chatkit",
    "/files/%2e%2e/chatkit",
    "/files/a%2f..%2fb",
    "/files//a",
    "/files/a;b",
    "/files/a%00",
    "/files/..",
)


ROWS: list[Attack] = [
    row(CAPS, "an upload declared too large", lambda world: _put(world, body=bytes(MAX_UPLOAD + 1)), LARGE, own=True),
    row(
        CAPS,
        "declared with 18 digits",
        lambda world: _put(world, "Content-Length: " + "9" * 18, length=False),
        LARGE,
        own=True,
    ),
    Trial(
        threat=CAPS,
        name="an upload in chunks, too large",
        wanted="413, cut off at the backend",
        trial=_endless_upload,
        own=True,
    ),
    Trial(
        threat=CAPS,
        name="an answer too large, declared and not",
        wanted="502; broken off",
        trial=_large_download,
        own=True,
    ),
    *(_outside(target) for target in OUT_OF_THE_PREFIX),
    row(
        REST,
        "a method that is not listed",
        lambda world: bearer(world.token(), target="/files/a"),
        Refused(status=405, code="method_not_allowed"),
        own=True,
    ),
    row(REST, "without a credential", lambda world: get("/files/a"), MISSING, own=True),
    row(
        REST,
        "another site's upload",
        lambda world: cookie(world.token(), origin="https://evil.io", target="/files/a").replace(b"POST", b"PUT", 1),
        CROSS,
        own=True,
    ),
    row(
        REST,
        "another site's image",
        lambda world: get("/files/a", f"Cookie: auth_token={world.token()}", "Sec-Fetch-Site: cross-site"),
        CROSS,
        own=True,
    ),
    Trial(threat=REST, name="a page among the files", wanted="sandboxed", trial=_page_is_inert, own=True),
    Trial(threat="backend redirects", name="through an opaque route", wanted="302, not followed", trial=_redirect),
    Trial(
        threat="null digest",
        name="an opaque route to a ChatKit backend",
        wanted="401 at the backend",
        trial=_unbound_at_chatkit,
        own=True,
    ),
]
