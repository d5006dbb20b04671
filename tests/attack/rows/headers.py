"""A client's own headers: what says who it is, or where it comes from, decides nothing and goes nowhere."""

from collections.abc import Callable

from tests.attack.judge import Arrival
from tests.attack.marks import EVIL, SUBJECT
from tests.attack.requests import CREATE, bearer, cookie, get
from tests.attack.row import Attack, Refused, Row, Served, row
from tests.attack.wire import Answer
from tests.attack.world import World

Check = Callable[[World, Arrival, Answer], None]
MALFORMED = Refused(status=400, code="malformed_request", closed=True)
# Spellings of identity and of our own names that some framework between here and a database would fold into one.
SPOOFED = (
    "X-User-Id", "x_user_id", "X.User.Id", "X-USER-ID", "X-Gateway-Assertion", "X_Gateway_Assertion",
    "X-Gateway-User", "X-Forwarded-User", "X-Auth-Request-User", "Remote-User", "X-Remote-User", "REMOTE_USER",
    "X-Authenticated-Userid", "X-Amzn-Oidc-Identity", "X-Goog-Authenticated-User-Email", "Cf-Access-Jwt-Assertion",
    "X-MS-CLIENT-PRINCIPAL", "X-Webauth-User", "SSL_CLIENT_S_DN", "X-Client-Cert", "Proxy-Authorization",
    "X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host",
    "X-Forwarded-Proto", "X-Forwarded-Prefix", "True-Client-IP", "CF-Connecting-IP", "Forwarded", "Via", "Digest",
    "Content-Digest", "Repr-Digest", "Content-MD5", "Signature", "Signature-Input", "Tracestate", "Baggage",
)  # fmt: skip


def dropped(threat: str, header: str, check: Check | None = None, *, own: bool = False) -> Row:
    """A header that must not arrive; every served request is held to the allow-list."""
    return Row(
        threat=threat,
        name=f"{header[:48]!r}",
        attack=lambda world: bearer(world.token(), header),
        expected=Served(check=check, note="dropped"),
        own=own,
    )


def _everything_at_once(world: World) -> bytes:
    return bearer(world.token(), *(f"{name}: {EVIL}" for name in SPOOFED), body=CREATE)


def one_of(name: str, value: str | None) -> Check:
    def check(world: World, arrival: Arrival, answer: Answer) -> None:
        wanted = [] if value is None else [value]
        assert arrival.all(name) == wanted, f"{name} at the backend: {arrival.all(name)}"

    return check


def _ours(world: World, arrival: Arrival, answer: Answer) -> None:
    assert arrival.claims["sub"] == SUBJECT


def token_goes_on(world: World, arrival: Arrival, answer: Answer) -> None:
    values = arrival.all("authorization")
    assert len(values) == 1
    assert values[0].startswith("Bearer eyJ")


ROWS: list[Attack] = [
    Row(
        threat="identity headers",
        name=f"{len(SPOOFED)} spoofed headers at once",
        attack=_everything_at_once,
        expected=Served(check=_ours, note="all gone"),
    ),
    dropped("identity headers", f"x_user_id: {EVIL}"),
    dropped("identity headers", f"X.User.Id: {EVIL}"),
    dropped("identity headers", f"X-Gateway-Assertion: {EVIL}"),
    dropped("identity headers", f"x_gateway_assertion: {EVIL}", own=True),
    row(
        "identity headers",
        "'X-Gateway-Assertion : x', space before the colon",
        lambda world: bearer(world.token(), f"X-Gateway-Assertion : {EVIL}"),
        MALFORMED,
    ),
    row(
        "identity headers",
        "'X-User-Id\\t: x', tab before the colon",
        lambda world: bearer(world.token(), f"X-User-Id\t: {EVIL}"),
        MALFORMED,
        own=True,
    ),
    row(
        "identity headers",
        "NUL in a name",
        lambda world: bearer(world.token(), f"X-User\0-Id: {EVIL}"),
        MALFORMED,
        own=True,
    ),
    row("identity headers", "NUL in a value", lambda world: bearer(world.token(), "X-Page: a\0b"), MALFORMED, own=True),
    row(
        "identity headers",
        "bare CR in a value",
        lambda world: bearer(world.token(), f"Accept: a\rX-User-Id: {EVIL}"),
        MALFORMED,
        own=True,
    ),
    row(
        "identity headers",
        "continuation line",
        lambda world: bearer(world.token(), f"Accept: a\r\n X-User-Id: {EVIL}"),
        MALFORMED,
        own=True,
    ),
    row(
        "identity headers",
        "header without colon",
        lambda world: bearer(world.token(), "X-User-Id"),
        MALFORMED,
        own=True,
    ),
    row(
        "identity headers",
        "header with an empty name",
        lambda world: bearer(world.token(), f": {EVIL}"),
        MALFORMED,
        own=True,
    ),
    dropped("listed in Connection", "Connection: x-gateway-assertion", _ours),
    dropped(
        "listed in Connection", "Connection: close, x-gateway-assertion, content-type, content-length", _ours, own=True
    ),
    dropped("listed in Connection", "Connection: keep-alive, authorization, x-request-id", token_goes_on, own=True),
    dropped("listed in Connection", "Keep-Alive: timeout=1000", own=True),
    dropped("listed in Connection", "Proxy-Connection: keep-alive", own=True),
    dropped("listed in Connection", "TE: trailers", own=True),
    dropped("X-Forwarded", "X-Forwarded-For: 10.0.0.1, 127.0.0.1", one_of("x-forwarded-for", "127.0.0.1")),
    dropped("X-Forwarded", 'Forwarded: for=10.0.0.1;host="evil.io";proto=https', one_of("forwarded", None)),
    dropped("X-Forwarded", "X-Real-IP: 10.0.0.1", one_of("x-real-ip", None)),
    dropped("X-Forwarded", "X-Original-URL: /private", one_of("x-original-url", None)),
    dropped("X-Forwarded", "X-Forwarded-Host: evil.io"),
    row(
        "X-Forwarded",
        "X-Forwarded-Proto and Host make no origin",
        lambda world: cookie(
            world.token(),
            "X-Forwarded-Host: evil.io",
            "X-Forwarded-Proto: https",
            "Forwarded: host=evil.io",
            origin="https://evil.io",
        ),
        Refused(status=403, code="cross_site_request"),
    ),
    dropped("Expect", "Expect: 100-continue", own=True),
    row(
        "Everything not on the allow-list",
        "a header that a route forwards",
        lambda world: bearer(world.token(), "X-Page: /pricing", target="/extra"),
        Served(check=one_of("x-page", "/pricing"), note="arrives"),
    ),
    row(
        "Everything not on the allow-list",
        "its twin with an underscore",
        lambda world: bearer(world.token(), f"X_Page: {EVIL}", target="/extra"),
        Served(check=one_of("x-page", None), note="dropped"),
        own=True,
    ),
    row(
        "Everything not on the allow-list",
        "Content-Type twice",
        lambda world: bearer(world.token(), "Content-Type: text/plain"),
        Refused(status=400, code="malformed_request"),
        own=True,
    ),
    row(
        "Everything not on the allow-list",
        "101 headers",
        lambda world: bearer(world.token(), *(f"X-{n}: 1" for n in range(101))),
        Refused(status=431, code="headers_too_large", closed=True),
        own=True,
    ),
    row(
        "Everything not on the allow-list",
        "/session says no header's name",
        lambda world: get("/session", f"X-User-Id: {EVIL}"),
        Refused(status=401, code="credential_missing"),
        own=True,
    ),
]
