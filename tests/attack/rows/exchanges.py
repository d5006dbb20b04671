"""What a backend gets and what comes back: the credential, the request id, the answer that speaks for itself alone."""

from tests.attack.judge import Arrival, check_refused
from tests.attack.marks import EVIL
from tests.attack.requests import CREATE, bearer, cookie
from tests.attack.row import Attack, Row, Served, Trial, row
from tests.attack.rows.headers import Check, one_of, token_goes_on
from tests.attack.wire import Answer, exchange
from tests.attack.world import World


def _plain_answer(world: World, arrival: Arrival, answer: Answer) -> None:
    """Nothing of the backend's that speaks for the gateway."""
    text = str(answer.headers)
    assert "evil" not in text, text
    allowed = answer.all("access-control-allow-origin")
    assert allowed in ([], ["https://app.example.com"]), f"allow-origin {allowed}"
    for name in ("set-cookie", "set-cookie2", "x-hop", "clear-site-data", "server"):
        assert not answer.all(name), f"{name} came back"
    assert answer.all("x-plain") == ["kept"]
    assert len(answer.all("x-request-id")) == 1


def _redirect(world: World) -> str:
    before = world.tripwire.visits
    request = bearer(world.token(), target=f"/chatkit?answer=redirect&to={world.tripwire.url}/")
    answer = exchange(world.services["gateway"].port, request).answers[0]
    assert world.tripwire.visits == before, "followed"
    # A fetch that is redirected loses its body: the gateway's word about it is an error.
    assert answer.status == 502, f"{answer.status}"
    assert not answer.all("location"), "location came back"
    return "502, not followed"


def _long_failure(world: World) -> str:
    """A backend's long error page is not handed on, and whoever asks next is not made to wait for it."""
    port = world.services["gateway"].port
    failed = exchange(port, bearer(world.token(), target="/chatkit?answer=failure"))
    check_refused(failed, status=502, code="backend_failed")
    after = exchange(port, bearer(world.token()), patience=2.0)
    assert [answer.status for answer in after.answers] == [200], f"the next request: {after.raw[:80]!r} within 2 s"
    return "502, then 200"


def _request_id(value: str, keep: bool) -> Check:
    def check(world: World, arrival: Arrival, answer: Answer) -> None:
        kept = arrival.all("x-request-id") == [value]
        assert kept == keep, f"x-request-id {arrival.all('x-request-id')}"
        assert arrival.all("x-request-id") == answer.all("x-request-id") == [arrival.claims["request_id"]]

    return check


def _id_row(name: str, *values: str, keep: bool = False) -> Row:
    return Row(
        threat="X-Request-Id",
        name=f"X-Request-Id {name}",
        attack=lambda world: bearer(world.token(), *(f"X-Request-Id: {value}" for value in values)),
        expected=Served(check=_request_id(values[0], keep), note="kept" if keep else "replaced"),
        own=True,
    )


ROWS: list[Attack] = [
    row(
        "credential to the backend",
        "forward_token off: the token stays here",
        lambda world: bearer(world.token(), target="/private"),
        Served(check=one_of("authorization", None), note="no authorization"),
        own=True,
    ),
    row(
        "credential to the backend",
        "cookie in, bearer out",
        lambda world: cookie(world.token()),
        Served(check=token_goes_on, note="one authorization"),
    ),
    row(
        "one Content-Length",
        "four digests of the body as it was",
        lambda world: bearer(
            world.token(),
            *(f"{name}: {EVIL}" for name in ("Content-Digest", "Repr-Digest", "Digest", "Content-MD5")),
            body=CREATE,
        ),
        Served(note="all gone"),
    ),
    row(
        "credential to the backend",
        "Basic beside the cookie",
        lambda world: cookie(world.token(), f"Authorization: Basic {EVIL}"),
        Served(check=token_goes_on, note="one authorization"),
        own=True,
    ),
    row(
        "the backend's answer",
        "a backend that speaks for the gateway",
        lambda world: cookie(world.token(), target="/chatkit?answer=cookies"),
        Served(check=_plain_answer, note="nothing of it comes back"),
    ),
    Trial(
        threat="the backend's answer",
        name="an error page of 200 KB, then another request",
        wanted="502, then 200",
        trial=_long_failure,
        own=True,
    ),
    Trial(threat="backend redirects", name="a backend's redirect", wanted="not followed", trial=_redirect),
    _id_row("well-formed", "0123456789abcdef", keep=True),
    _id_row("with a comma", "01234567,89abcdef"),
    _id_row("twice", "0123456789abcdef", "fedcba9876543210"),
    _id_row("of 4 KB", "a" * 4096),
    _id_row("in Latin-1", "0123456789\xe9\xe9"),
]
