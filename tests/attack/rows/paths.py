"""Paths, methods and targets: one canonical form, and nothing but the path decides."""

from collections.abc import Callable

from tests.attack.judge import Arrival
from tests.attack.marks import EVIL
from tests.attack.requests import ask, bearer, get
from tests.attack.row import Attack, Refused, Row, Served, Trial, row
from tests.attack.wire import Answer, exchange
from tests.attack.world import World

PATH = Refused(status=400, code="malformed_path")
REQUEST = Refused(status=400, code="malformed_request", closed=True)
NOWHERE = Refused(status=404, code="route_not_found")
METHOD = Refused(status=405, code="method_not_allowed")

NOT_CANONICAL = (
    "//chatkit", "/chatkit//", "/public/../chatkit", "/./chatkit", "/chatkit/.", "/chatkit/..", "/%2e%2e/chatkit",
    "/%2E%2E/chatkit", "/chatkit%2f", "/chatkit%2F", "/%63hatkit", "/chatkit%00", "/chatkit%00.json", "/chatkit;x",
    "/chatkit;jsessionid=1", "/;/chatkit", "/chatkit%3Bx", "/\\chatkit", "/chatkit\\..\\private",
    "/chatkit%5C", "/chatkit%0d%0aX-Evil:1", "/chatkit%", "/chatkit%zz", "/chatkit%252e",
)  # fmt: skip
# Canonical, and not there.
ELSEWHERE = (
    "/CHATKIT",
    "/Chatkit",
    "/chatkit/",
    "/chatkit/x",
    "/chatkit.json",
    "/chatkit%20",
    "/",
    "/chatki",
    "/chatkit:80",
    "/chatkit%C0%AF",
)
# What a target of `*`, an authority or nothing is. The parser's word or ours: a 400 in any case.
NO_PATH = ("chatkit", "\\chatkit", "?x", "/chat kit", "/chatkit\x01", "/chatkit\xff")
SECOND = get("/livez")
OWN_ENDPOINTS = ("/%73ession", "/%6Civez", "/session%2F", "/.well-known/%6Awks.json", "/readyz;x", "//readyz")


def _target(target: str, expected: Refused, *, own: bool = False) -> Row:
    return row("Paths", f"target {target!r}", lambda world: bearer(world.token(), target=target), expected, own=own)


def _goes_to(path: str) -> Callable[[World, Arrival, Answer], None]:
    def check(world: World, arrival: Arrival, answer: Answer) -> None:
        assert arrival.request_line == f"POST {path} HTTP/1.1", arrival.request_line
        assert arrival.all("host") == [f"127.0.0.1:{world.backend.port}"], f"host {arrival.all('host')}"

    return check


def _host(name: str, host: str, *, own: bool = False) -> Row:
    """A strange Host: whatever it says, the same backend is asked in the same way."""

    def attack(world: World) -> bytes:
        return bearer(world.token()).replace(b"Host: chat.example.com", b"Host: " + host.encode("latin-1"))

    return row("Host", name, attack, Served(check=_goes_to("/chatkit"), note="no effect"), own=own)


def _absolute(target: str, *, own: bool = False) -> Row:
    return row(
        "Host",
        f"target {target}",
        lambda world: bearer(world.token(), target=target),
        Served(check=_goes_to("/chatkit"), note="no effect"),
        own=own,
    )


def _query(name: str, query: str) -> Row:
    return row(
        "what was matched is what is sent",
        name,
        lambda world: bearer(world.token(), target=f"/chatkit?{query}"),
        Served(check=_goes_to(f"/chatkit?{query}"), note="to the byte"),
    )


def _method(method: str, *, own: bool = False) -> Row:
    return row(
        "TRACE CONNECT Upgrade",
        f"{method} on a route",
        lambda world: ask(f"Authorization: Bearer {world.token()}", method=method),
        METHOD,
        own=own,
    )


def _own_endpoints(world: World) -> str:
    """The gateway's own paths are as strict as its routes: what a proxy in front has filtered is what is matched."""
    port = world.services["gateway"].port
    seen = {target: exchange(port, get(target)).answers[0].status for target in OWN_ENDPOINTS}
    assert set(seen.values()) == {400}, f"{seen}"
    return "400 each"


def _no_tunnel(world: World) -> str:
    before = world.tripwire.visits
    target = f"127.0.0.1:{world.tripwire.port}"
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    seen = exchange(world.services["gateway"].port, request, to_end=True)
    assert seen.closed, "the connection stays open"
    assert len(seen.answers) == 1, f"{len(seen.answers)} answers"
    assert seen.answers[0].status in (400, 405), f"{seen.answers[0].status}"
    assert world.tripwire.visits == before, "it went there"
    return f"{seen.answers[0].status}, closed, no connection"


def _upgrade(name: str, *headers: str, own: bool = False) -> Trial:
    """Not done: no 101, and the connection ends, so that nothing can be tunnelled behind it."""

    def trial(world: World) -> str:
        before = len(world.backend.exchanges)
        seen = exchange(world.services["gateway"].port, bearer(world.token(), *headers) + SECOND, to_end=True)
        arrived = len(world.backend.exchanges) - before
        assert seen.closed, "the connection stays open"
        assert [answer.status for answer in seen.answers] in ([200], [400]), f"{seen.raw[:200]!r}"
        assert arrived <= 1, f"{arrived} requests at the backend"
        return f"{seen.answers[0].status}, {arrived} at the backend, closed"

    return Trial(threat="TRACE CONNECT Upgrade", name=name, wanted="no 101, closed", trial=trial, own=own)


def _http2(world: World) -> bytes:
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)


ROWS: list[Attack] = [
    *(_target(target, PATH) for target in NOT_CANONICAL),
    *(_target(target, NOWHERE) for target in ELSEWHERE),
    *(_target(target, REQUEST, own=True) for target in NO_PATH),
    _target("*", PATH, own=True),
    _target("/" + "a" * 20_000, NOWHERE, own=True),
    Trial(threat="Paths", name="our own endpoints, encoded", wanted="400", trial=_own_endpoints, own=True),
    _query("a query with everything in it", "a=%2e%2e%2f&b=/../&c=;&d=%00"),
    _query("a query that looks like another target", "http://evil.io/"),
    _host("Host: gw/#@x", "gw/#@x"),
    _host("Host: evil.io", "evil.io"),
    _host("Host with our name and a port", "chat.example.com:99999", own=True),
    _host("Host empty", "", own=True),
    row("Host", "two Hosts", lambda world: bearer(world.token(), "Host: evil.io"), REQUEST),
    row("Host", "no Host", lambda world: bearer(world.token()).replace(b"Host: chat.example.com\r\n", b""), REQUEST),
    _absolute("http://evil.io/chatkit"),
    _absolute("http://user:secret@evil.io/chatkit", own=True),
    _absolute("https://chat.example.com/chatkit"),
    _method("TRACE"),
    _method("GET", own=True),
    _method("PUT", own=True),
    _method("DELETE", own=True),
    _method("PROPFIND", own=True),
    row("TRACE CONNECT Upgrade", "a method nobody knows", lambda world: ask(method=EVIL.upper()), REQUEST, own=True),
    Trial(threat="TRACE CONNECT Upgrade", name="CONNECT", wanted="no tunnel", trial=_no_tunnel),
    _upgrade("Upgrade: websocket", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    _upgrade(
        "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ", own=True
    ),
    row("TRACE CONNECT Upgrade", "HTTP/2 preface", _http2, REQUEST, own=True),
]
