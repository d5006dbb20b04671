"""The gateway's assertion opens the door; nothing else does."""

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent_backend.context import PageContext, User
from agent_backend.replay import ReplayMemory
from agent_backend.trust import GatewayTrust, Problem, RequestContext, answer_problem
from tests.agent_backend.world import AUDIENCE, ISSUER, PATH, Gateway
from tests.support.issuer import Issuer, signing_key

JWKS_URL = "http://gateway.test/.well-known/jwks.json"
BODY = b'{"type":"threads.list","params":{},"metadata":{"gateway":{"locale":"de-AT"},"pageContext":{"title":"T"}}}'


def build_trust(gateway: Gateway, **options: Any) -> GatewayTrust:
    async def keys(request: httpx.Request) -> httpx.Response:
        gateway.fetches += 1
        return httpx.Response(200, json=gateway.jwks())

    http = httpx.AsyncClient(transport=httpx.MockTransport(keys))
    return GatewayTrust(jwks_url=JWKS_URL, issuer=ISSUER, audience=AUDIENCE, http=http, **options)


class Backend:
    """Anybody's app: one line of trust, and what it let through."""

    def __init__(self, trust: GatewayTrust) -> None:
        self.let_in: list[RequestContext] = []

        async def chat(request: Request) -> Response:
            self.let_in.append(await trust.authenticate(request))
            return JSONResponse({})

        app = Starlette(
            routes=[Route("/{path:path}", chat, methods=["GET", "POST"])],
            exception_handlers={Problem: answer_problem},
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://agent.test")


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def backend(gateway: Gateway) -> AsyncIterator[Backend]:
    trust = build_trust(gateway)
    yield Backend(trust)
    await trust.aclose()


async def test_a_good_assertion_becomes_a_context(gateway: Gateway, backend: Backend) -> None:
    """Who, from the claims; page and locale, from the body; the token, from its header."""
    headers = gateway.headers(BODY, request_id="r-1", tenant="acme", roles=["a", "b"])

    response = await backend.http.post(PATH, content=BODY, headers={**headers, "authorization": "Bearer user.token"})

    assert response.status_code == 200
    assert backend.let_in == [
        RequestContext(
            user=User(
                id="alice",
                issuer="https://login.test",
                name="Alice",
                email="alice@example.test",
                roles=("a", "b"),
                tenant="acme",
            ),
            request_id="r-1",
            locale="de-AT",
            page=PageContext(title="T"),
            token="user.token",
            body=BODY,
        )
    ]
    assert "user.token" not in repr(backend.let_in)


REFUSED: dict[str, tuple[str, Callable[[Gateway], dict[str, str]]]] = {
    "none": ("assertion_missing", lambda g: {}),
    "empty": ("assertion_malformed", lambda g: {"x-gateway-assertion": ""}),
    "words": ("assertion_malformed", lambda g: {"x-gateway-assertion": "let me in"}),
    "no json": ("assertion_malformed", lambda g: {"x-gateway-assertion": "YQ.YQ.YQ"}),
    "too long": ("assertion_malformed", lambda g: g.headers(BODY, name="x" * 20_000)),
    "typ JWT": ("assertion_wrong_type", lambda g: g.headers(BODY, header={"typ": "JWT"})),
    "typ none": ("assertion_wrong_type", lambda g: g.headers(BODY, header={"typ": None})),
    "alg none": ("assertion_wrong_algorithm", lambda g: g.headers(BODY, header={"alg": "none"})),
    "alg HS256": ("assertion_wrong_algorithm", lambda g: g.headers(BODY, header={"alg": "HS256"})),
    "crit": ("assertion_malformed", lambda g: g.headers(BODY, header={"crit": ["x"]})),
    "kid unknown": ("assertion_unknown_key", lambda g: g.headers(BODY, header={"kid": "other"})),
    "kid a number": ("assertion_malformed", lambda g: g.headers(BODY, header={"kid": 7})),
    "another key": ("assertion_wrong_signature", lambda g: g.headers(BODY, key=signing_key("ES256", kid="g1"))),
    "a longer key": (
        "assertion_wrong_signature",
        lambda g: g.headers(BODY, key=signing_key("ES384", kid="g1")),
    ),
    "cut": ("assertion_wrong_signature", lambda g: {"x-gateway-assertion": g.assertion(BODY)[:-4]}),
    "issuer": ("assertion_wrong_issuer", lambda g: g.headers(BODY, iss="evil")),
    "issuer list": ("assertion_wrong_issuer", lambda g: g.headers(BODY, iss=[ISSUER])),
    "audience": ("assertion_wrong_audience", lambda g: g.headers(BODY, aud="billing")),
    "audience list": ("assertion_wrong_audience", lambda g: g.headers(BODY, aud=[AUDIENCE])),
    "no audience": ("assertion_wrong_audience", lambda g: g.headers(BODY, aud=None)),
    "expired": ("assertion_expired", lambda g: g.headers(BODY, iat=time.time() - 69, exp=time.time() - 10)),
    "from later": ("assertion_not_yet_valid", lambda g: g.headers(BODY, iat=time.time() + 30, exp=time.time() + 60)),
    "61 s": ("assertion_long_lived", lambda g: g.headers(BODY, iat=time.time() - 1, exp=time.time() + 60)),
    "exp before iat": ("assertion_long_lived", lambda g: g.headers(BODY, iat=time.time(), exp=time.time() - 1)),
    "exp a text": ("assertion_malformed", lambda g: g.headers(BODY, exp="9999999999")),
    "exp true": ("assertion_malformed", lambda g: g.headers(BODY, exp=True)),
    "no iat": ("assertion_malformed", lambda g: g.headers(BODY, iat=None)),
    "no jti": ("assertion_malformed", lambda g: g.headers(BODY, jti=None)),
    "no sub": ("assertion_malformed", lambda g: g.headers(BODY, sub=None)),
    "sub empty": ("assertion_malformed", lambda g: g.headers(BODY, sub="")),
    "sub a number": ("assertion_malformed", lambda g: g.headers(BODY, sub=7)),
    "sub two lines": ("assertion_malformed", lambda g: g.headers(BODY, sub="a\nb")),
    "no user_issuer": ("assertion_malformed", lambda g: g.headers(BODY, user_issuer=None)),
    "roles a text": ("assertion_malformed", lambda g: g.headers(BODY, roles="admin")),
    "no req": ("assertion_malformed", lambda g: g.headers(BODY, req=None)),
    "method": (
        "assertion_wrong_method",
        lambda g: g.headers(BODY, req={"method": "GET", "path": PATH, "sha256": digest(BODY)}),
    ),
    "path": ("assertion_wrong_path", lambda g: g.headers(BODY, path="/other")),
    "query": ("assertion_wrong_path", lambda g: g.headers(BODY, path=f"{PATH}?admin=1")),
    "body": ("assertion_wrong_body", lambda g: g.headers(BODY + b" ")),
    "digest in capitals": (
        "assertion_wrong_body",
        lambda g: g.headers(BODY, req={"method": "POST", "path": PATH, "sha256": digest(BODY).upper()}),
    ),
    "no digest": ("assertion_wrong_body", lambda g: g.headers(BODY, req={"method": "POST", "path": PATH})),
    "null digest": (
        "assertion_unbound_body",
        lambda g: g.headers(BODY, req={"method": "POST", "path": PATH, "sha256": None}),
    ),
    "the user's token in its place": (
        "assertion_wrong_type",
        lambda g: {"x-gateway-assertion": Issuer(keys=[g.key]).token()},
    ),
    "as a bearer token": ("assertion_missing", lambda g: {"authorization": f"Bearer {g.assertion(BODY)}"}),
}


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("name", REFUSED)
async def test_anything_else_is_refused(gateway: Gateway, backend: Backend, name: str) -> None:
    """401 with a stable code, as problem+json, and nothing gets in."""
    code, headers = REFUSED[name]

    response = await backend.http.post(PATH, content=BODY, headers=headers(gateway))

    assert (response.status_code, response.json()["code"]) == (401, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert "www-authenticate" in response.headers
    assert backend.let_in == []


async def test_two_assertions_are_refused_even_when_one_is_good(gateway: Gateway, backend: Backend) -> None:
    """Whoever picks one of two may pick the wrong one."""
    good = ("x-gateway-assertion", gateway.assertion(BODY))

    response = await backend.http.post(PATH, content=BODY, headers=[good, good])

    assert response.json()["code"] == "assertion_ambiguous"


async def test_an_assertion_is_good_once(gateway: Gateway, backend: Backend) -> None:
    """The same request again, byte for byte, is refused."""
    headers = gateway.headers(BODY)
    first = await backend.http.post(PATH, content=BODY, headers=headers)

    second = await backend.http.post(PATH, content=BODY, headers=headers)

    assert first.status_code == 200
    assert (second.status_code, second.json()["code"]) == (401, "assertion_replayed")


async def test_a_wrong_body_does_not_use_the_assertion_up(gateway: Gateway, backend: Backend) -> None:
    """Nobody can spoil a request by sending its assertion first, with another body."""
    headers = gateway.headers(BODY)
    await backend.http.post(PATH, content=b"{}", headers=headers)

    response = await backend.http.post(PATH, content=BODY, headers=headers)

    assert response.status_code == 200


async def test_the_path_is_judged_as_it_was_sent(gateway: Gateway, backend: Backend) -> None:
    """Escapes and query included: nothing is decoded before it is compared."""
    target = "/a%2Fb/chatkit?x=%20&y"

    response = await backend.http.post(target, content=BODY, headers=gateway.headers(BODY, path=target))

    assert response.status_code == 200


async def test_an_unbound_body_is_accepted_where_that_was_said(gateway: Gateway) -> None:
    """For uploads, which the gateway streams through without having read them."""
    backend = Backend(build_trust(gateway, allow_unbound_body=True))
    headers = gateway.headers(BODY, req={"method": "POST", "path": PATH, "sha256": None})

    response = await backend.http.post(PATH, content=BODY, headers=headers)

    assert response.status_code == 200


async def test_a_body_too_long_is_not_read_to_its_end(gateway: Gateway) -> None:
    """413, after the limit and not after the body."""
    backend = Backend(build_trust(gateway, max_body=10))

    response = await backend.http.post(PATH, content=BODY, headers=gateway.headers(BODY))

    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_a_full_replay_memory_refuses(gateway: Gateway) -> None:
    """503: forgetting a live assertion to make room would let it in twice."""
    backend = Backend(build_trust(gateway, replays=ReplayMemory(max_entries=1)))
    first = await backend.http.post(PATH, content=BODY, headers=gateway.headers(BODY))

    second = await backend.http.post(PATH, content=BODY, headers=gateway.headers(BODY))

    assert first.status_code == 200
    assert (second.status_code, second.json()["code"]) == (503, "replay_memory_full")


async def test_without_keys_we_cannot_tell() -> None:
    """503, not 401: nothing is known to be wrong with the request."""
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(502)))
    trust = GatewayTrust(jwks_url=JWKS_URL, issuer=ISSUER, audience=AUDIENCE, http=http)

    response = await Backend(trust).http.post(PATH, content=BODY, headers=Gateway().headers(BODY))

    assert (response.status_code, response.json()["code"]) == (503, "keys_unavailable")


async def test_the_same_subject_of_two_issuers_is_two_owners(gateway: Gateway, backend: Backend) -> None:
    """An owner is who vouched, for whom, in which tenant."""
    for changes in ({}, {"user_issuer": "https://other.test"}, {"tenant": "acme"}):
        await backend.http.post(PATH, content=BODY, headers=gateway.headers(BODY, **changes))

    assert len({context.owner for context in backend.let_in}) == 3


async def test_a_body_that_takes_longer_than_its_assertion_is_refused(gateway: Gateway) -> None:
    """A use is remembered no longer than the assertion is good: what arrives later could be used again and again."""
    times = [0.0]
    trust = build_trust(gateway, leeway=1, clock=lambda: time.time() + times[0])
    backend = Backend(trust)

    async def slowly() -> AsyncIterator[bytes]:
        yield BODY[:5]
        times[0] = 62
        yield BODY[5:]

    headers = gateway.headers(BODY)
    answers = [await backend.http.post(PATH, content=slowly(), headers=headers) for _ in range(2)]
    await trust.aclose()

    assert [answer.status_code for answer in answers] == [401, 401]
    assert [answer.json()["code"] for answer in answers] == ["assertion_expired", "assertion_expired"]
    assert backend.let_in == []


async def test_an_upload_may_outlive_its_assertion_and_is_still_good_once(gateway: Gateway) -> None:
    """Where the digest is null the use is noted before the body is read."""
    times = [0.0]
    trust = build_trust(gateway, leeway=1, clock=lambda: time.time() + times[0], allow_unbound_body=True)
    backend = Backend(trust)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"first"
        times[0] += 62
        yield b"second"

    headers = gateway.headers(b"", req={"method": "POST", "path": PATH, "sha256": None})
    first = await backend.http.post(PATH, content=slowly(), headers=headers)
    times[0] = 0
    again = await backend.http.post(PATH, content=b"first", headers=headers)
    await trust.aclose()

    assert (first.status_code, [context.body for context in backend.let_in]) == (200, [b"firstsecond"])
    assert (again.status_code, again.json()["code"]) == (401, "assertion_replayed")
