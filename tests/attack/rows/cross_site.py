"""Other sites' pages: whose origin may use the cookie, and who may read the answer."""

from collections.abc import Callable

from tests.attack.judge import Arrival
from tests.attack.requests import ORIGIN, PUBLIC_URL, ask, bearer, cookie, get
from tests.attack.row import Attack, Refused, Row, Served, Trial, row
from tests.attack.wire import Answer, exchange
from tests.attack.world import World

CROSS = Refused(status=403, code="cross_site_request")
MEDIA = Refused(status=415, code="unsupported_media_type", cors=True)

FOREIGN = {
    "evil": "https://evil.io",
    "null": "null",
    "a sibling subdomain": "https://other.example.com",
    "a look-alike": "https://app.example.com.evil.io",
    "ours as user name": "https://app.example.com@evil.io",
    "other scheme": "http://app.example.com",
    "other port": "https://app.example.com:8443",
}
# Forms of a listed origin that no browser sends.
ODD = {
    "upper case": "https://APP.example.com",
    "default port written out": "https://app.example.com:443",
    "a slash behind": "https://app.example.com/",
    "a dot behind": "https://app.example.com.",
    "two in one": f"{ORIGIN} https://evil.io",
    "a list": f"{ORIGIN}, {ORIGIN}",
    "empty": "",
    "NUL-like": "https://app.example.com%00.evil.io",
}
FORMS = {
    "text/plain": "text/plain",
    "a beacon": "text/plain;charset=UTF-8",
    "a form": "application/x-www-form-urlencoded",
    "multipart": "multipart/form-data; boundary=x",
    "JSON as a parameter": "text/plain; application/json",
    "text/json": "text/json",
    "JSON and more": "application/json, text/plain",
}


def _foreign(threat: str, name: str, origin: str, *, own: bool = False) -> Row:
    return row(threat, f"Origin: {name}", lambda world: cookie(world.token(), origin=origin), CROSS, own=own)


def _sites(name: str, *headers: str, expected: Refused | Served = CROSS, own: bool = False) -> Row:
    """No Origin; only what Sec-Fetch-Site says."""
    return row("no Origin", name, lambda world: cookie(world.token(), *headers, origin=None), expected, own=own)


def _media(name: str, media: str) -> Row:
    return row("text/plain form multipart beacon", name, lambda world: cookie(world.token(), media=media), MEDIA)


def _may_read(world: World, arrival: Arrival, answer: Answer) -> None:
    assert answer.one("access-control-allow-origin") == ORIGIN
    assert answer.one("access-control-allow-credentials") == "true"
    assert answer.all("vary") == ["origin"]


def _may_not_read(world: World, arrival: Arrival, answer: Answer) -> None:
    assert not answer.all("access-control-allow-origin")
    assert not answer.all("access-control-allow-credentials")
    assert answer.all("vary") == ["origin"]


def _preflights(world: World) -> str:
    """Leave for the listed page and nobody else; nothing reaches a backend."""
    before = len(world.backend.exchanges)
    for origin in (ORIGIN, PUBLIC_URL, *FOREIGN.values(), *ODD.values()):
        request = ask(f"Origin: {origin}", "Access-Control-Request-Method: POST", method="OPTIONS")
        answer = exchange(world.services["gateway"].port, request).answers[0]
        listed = origin in (ORIGIN, PUBLIC_URL)
        assert answer.status == (204 if listed else 403), f"{answer.status} for {origin}"
        assert answer.all("access-control-allow-origin") == ([origin] if listed else []), f"leave for {origin}"
        assert listed or not answer.all("access-control-allow-headers")
    assert len(world.backend.exchanges) == before
    return f"204 for two, 403 for {len(FOREIGN) + len(ODD)}"


def _session(world: World) -> str:
    """The session endpoint holds to the same rule: no other site learns who is signed in."""
    port = world.services["gateway"].port
    token = f"Cookie: auth_token={world.token()}"
    cases = {
        "no headers": ((token,), 200),
        "a cross-site image": ((token, "Sec-Fetch-Site: cross-site"), 403),
        "a same-site script": ((token, "Sec-Fetch-Site: same-site"), 403),
        "an evil page": ((token, "Origin: https://evil.io"), 403),
        "the listed page": ((token, f"Origin: {ORIGIN}", "Sec-Fetch-Site: cross-site"), 200),
    }
    for name, (headers, status) in cases.items():
        answer = exchange(port, get("/session", *headers)).answers[0]
        assert answer.status == status, f"{answer.status} for {name}"
        assert status == 200 or b"mark-" not in answer.body
    return "200 403 403 403 200"


def _errors_are_readable(world: World) -> str:
    """Each refusal of the allowed page carries its permission; of another page, none."""
    port = world.services["gateway"].port
    token = world.token()
    requests: dict[int, Callable[[str], bytes]] = {
        401: lambda origin: cookie("x.y.z", origin=origin),
        400: lambda origin: cookie(token, origin=origin, body=b"{"),
        405: lambda origin: get("/chatkit", f"Origin: {origin}"),
        415: lambda origin: cookie(token, origin=origin, media="text/plain"),
        413: lambda origin: cookie(token, f"Content-Length: {10**9}", origin=origin, length=False),
        503: lambda origin: cookie(world.token("html"), origin=origin),
    }
    for status, build in requests.items():
        allowed, foreign = (exchange(port, build(origin)).answers[0] for origin in (ORIGIN, "https://evil.io"))
        assert allowed.status == status, f"{allowed.status}, wanted {status}"
        assert allowed.one("access-control-allow-origin") == ORIGIN, f"{status} cannot be read"
        assert not foreign.all("access-control-allow-origin"), f"{foreign.status} can be read by evil"
    return " ".join(map(str, requests))


ROWS: list[Attack] = [
    *(_foreign("Origin evil null sibling look-alike", name, origin) for name, origin in FOREIGN.items()),
    *(_foreign("Origin evil null sibling look-alike", name, origin, own=True) for name, origin in ODD.items()),
    row(
        "Origin evil null sibling look-alike",
        "two Origin headers",
        lambda world: cookie(world.token(), "Origin: https://evil.io"),
        CROSS,
        own=True,
    ),
    row(
        "Origin evil null sibling look-alike",
        "Host and Referer of ours beside an evil Origin",
        lambda world: cookie(world.token(), f"Referer: {ORIGIN}/", origin="https://evil.io"),
        CROSS,
        own=True,
    ),
    _sites("cross-site", "Sec-Fetch-Site: cross-site"),
    _sites("same-site", "Sec-Fetch-Site: same-site"),
    _sites("none: typed into the address bar", "Sec-Fetch-Site: none", own=True),
    _sites("Same-Origin in another case", "Sec-Fetch-Site: Same-Origin", own=True),
    _sites("same-origin and cross-site", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site", own=True),
    _sites("X-Requested-With says fetch", "X-Requested-With: XMLHttpRequest", own=True),
    _sites("same-origin", "Sec-Fetch-Site: same-origin", expected=Served()),
    row("POST with neither header", "nothing but the cookie", lambda world: cookie(world.token(), origin=None), CROSS),
    row(
        "bearer is not affected",
        "bearer with an evil origin",
        lambda world: bearer(world.token(), "Origin: https://evil.io", "Sec-Fetch-Site: cross-site"),
        Served(check=_may_not_read, note="but unreadable for it"),
    ),
    row(
        "a listed origin works",
        "listed, although Sec-Fetch-Site says cross-site",
        lambda world: cookie(world.token(), "Sec-Fetch-Site: cross-site"),
        Served(check=_may_read, note="and readable"),
    ),
    row("a listed origin works", "our own", lambda world: cookie(world.token(), origin=PUBLIC_URL), Served()),
    *(_media(name, media) for name, media in FORMS.items()),
    row(
        "text/plain form multipart beacon",
        "no content type",
        lambda world: cookie(world.token(), media=None),
        MEDIA,
        own=True,
    ),
    row(
        "text/plain form multipart beacon",
        "a beacon from an evil page",
        lambda world: cookie(world.token(), origin="https://evil.io", media="text/plain;charset=UTF-8"),
        CROSS,
    ),
    Trial(
        threat="CORS headers",
        name="errors for the allowed page",
        wanted="readable by it alone",
        trial=_errors_are_readable,
    ),
    Trial(threat="CORS headers", name="preflights", wanted="204 for listed origins alone", trial=_preflights, own=True),
    Trial(threat="no Origin", name="/session", wanted="the same rule", trial=_session, own=True),
]
