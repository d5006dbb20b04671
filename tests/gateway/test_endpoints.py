"""What the gateway answers itself."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from gateway.endpoints import Readiness
from tests.gateway.settings.files import SMALLEST
from tests.gateway.wire.test_answers import Sent
from tests.support.issuer import Issuer
from tests.support.running import running_gateway

PAGE = "https://app.example.com"
EXTRA = """
[issuers.other]
issuer = "https://other.test"
jwks_file = "{folder}/none.json"
audiences = ["chat"]

[routes.second]
path = "/second"
backend = "support"
cookie = "second_token"
issuers = ["main"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running gateway whose first issuer has keys; the second has none."""

    client: httpx.Client
    issuer: Issuer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("endpoints")
    issuer = Issuer(issuer="https://login.example.com")
    (folder / "jwks.json").write_text(json.dumps(issuer.jwks()))
    text = SMALLEST.replace(
        'jwks_url = "https://login.example.com/.well-known/jwks.json"', f'jwks_file = "{folder}/jwks.json"'
    )
    text = text.replace("port = 8080", "port = 0\ndrain_delay = 0") + EXTRA.format(folder=folder)
    with running_gateway(folder, text) as url, httpx.Client(base_url=url) as client:
        yield World(client=client, issuer=issuer)


def test_liveness(world: World) -> None:
    """The process turns its loop; HEAD will do; nothing else is accepted."""
    answers = [world.client.request(method, "/livez") for method in ("GET", "HEAD", "POST")]

    assert [answer.status_code for answer in answers] == [200, 200, 405]
    assert (answers[0].json(), answers[1].content) == ({"status": "alive"}, b"")
    assert (answers[2].json()["code"], answers[2].headers["allow"]) == ("method_not_allowed", "GET, HEAD")


def test_readiness_names_the_issuer_without_keys(world: World) -> None:
    """Its users would be refused here, and perhaps not by another replica."""
    answer = world.client.get("/readyz")

    assert (answer.status_code, answer.json()) == (
        503,
        {"status": "not ready", "reasons": ["no keys of issuer https://other.test"]},
    )
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("draining", "status", "answer"),
    [
        (False, 200, {"status": "ready"}),
        (True, 503, {"status": "not ready", "reasons": ["draining"]}),
    ],
)
async def test_readiness_while_draining(draining: bool, status: int, answer: dict[str, object]) -> None:
    """Balancers stop sending before we stop accepting."""
    sent = Sent()
    endpoint = Readiness(reasons=lambda: ["draining"] if draining else [])

    async def receive() -> dict[str, object]:
        raise AssertionError("read")

    await endpoint({"type": "http", "method": "GET", "path": "/readyz"}, receive, sent)

    assert (sent[0]["status"], sent.json()) == (status, answer)


def test_published_keys_are_public_halves(world: World) -> None:
    """Cacheable for a minute: a new key is published well before it signs."""
    answer = world.client.get("/.well-known/jwks.json")
    (key,) = answer.json()["keys"]

    assert sorted(key) == ["alg", "crv", "kid", "kty", "use", "x", "y"]
    assert answer.headers["cache-control"] == "public, max-age=60"


def test_session_says_who_is_signed_in(world: World) -> None:
    """Never with what; readable by the route's page, stored nowhere."""
    token = world.issuer.token("alice", exp=4_000_000_000)
    answer = world.client.get("/session", headers={"cookie": f"auth_token={token}", "origin": PAGE})

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "authenticated": True,
            "user": {"id": "alice", "name": "Alice", "email": "alice@example.test", "roles": ["user"]},
            "issuer": "https://login.example.com",
            "expires_at": "2096-10-02T07:06:40+00:00",
        },
    )
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert (answer.headers["vary"], answer.headers["cache-control"]) == ("origin", "no-store")


def test_session_of_a_named_route(world: World) -> None:
    """Each route has its own cookie; a route that is not there is said so."""
    cookie = {"cookie": f"second_token={world.issuer.token('bob')}"}
    answers = [world.client.get(f"/session{query}", headers=cookie) for query in ("?route=second", "", "?route=third")]

    assert [(answer.status_code, answer.json().get("code")) for answer in answers] == [
        (200, None),
        (401, "credential_missing"),
        (404, "route_not_found"),
    ]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "credential_missing"),
        ({"origin": "https://evil.test"}, 403, "cross_site_request"),
        ({"sec-fetch-site": "cross-site"}, 403, "cross_site_request"),
    ],
)
def test_session_refuses(world: World, headers: dict[str, str], status: int, code: str) -> None:
    """A stranger, and another site with the user's cookie; the answer cannot be read from there."""
    cookie = {"cookie": f"auth_token={world.issuer.token()}"} if headers else {}
    answer = world.client.get("/session", headers={**headers, **cookie})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "access-control-allow-origin" not in answer.headers


def test_a_token_that_never_ends_is_no_fault_of_ours(world: World) -> None:
    """A date beyond the calendar's end must not break the answer."""
    token = world.issuer.token(exp=10**12)
    answer = world.client.get("/session", headers={"authorization": f"Bearer {token}"})

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


@pytest.mark.parametrize(("origin", "status"), [(PAGE, 204), ("https://evil.test", 403)])
def test_a_page_with_a_bearer_token_may_ask_first(world: World, origin: str, status: int) -> None:
    """A preflight is answered for the route's pages, and only for them."""
    headers = {
        "origin": origin,
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization",
    }
    answer = world.client.options("/session", headers=headers)
    allowed = answer.headers.get("access-control-allow-headers", "").split(", ")

    assert (answer.status_code, "authorization" in allowed) == (status, status == 204)
    assert answer.headers.get("access-control-allow-origin") == (origin if status == 204 else None)
