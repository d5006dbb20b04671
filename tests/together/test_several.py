"""Several backends and several issuers behind one gateway: the example of `deploy/examples/several`, running."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_backend.app import build_app as build_backend
from agent_backend.settings_file import load_settings as load_backend_settings
from gateway.settings import load_settings
from tests.support.issuer import Issuer, signing_key
from tests.support.running import running_gateway
from tests.support.servers import free_port, serve
from tests.together.world import Browser, answer_text, backend_settings, issuer_app, thread_id

EXAMPLE = Path(__file__).parents[2] / "deploy/examples/several"
STAFF = Issuer(issuer="https://staff.example.com", audience="staff-chat", keys=[signing_key("ES256", kid="k1")])
SHOP = Issuer(issuer="https://shop.example.com", audience="shop-chat", keys=[signing_key("RS256", kid="k1")])


def example(staff_url: str, shop_url: str, ports: tuple[int, int]) -> str:
    """The example's settings file, with this test's addresses in it."""
    replacements = {
        "port = 8080\npublic_url": "port = 0\ndrain_delay = 0\n# public_url",
        "http://127.0.0.1:8081": staff_url,
        "http://127.0.0.1:8082": shop_url,
        "http://127.0.0.1:9001": f"http://127.0.0.1:{ports[0]}",
        "http://127.0.0.1:9002": f"http://127.0.0.1:{ports[1]}",
    }
    toml = (EXAMPLE / "gateway.toml").read_text()
    for old, new in replacements.items():
        assert old in toml
        toml = toml.replace(old, new)
    return toml


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One gateway before two backends, with two issuers."""
    folder = tmp_path_factory.mktemp("several")
    ports = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        staff, shop = (stack.enter_context(serve(issuer_app(issuer))) for issuer in (STAFF, SHOP))
        url = stack.enter_context(running_gateway(folder, example(staff, shop, ports)))
        for audience, port in zip(("support", "sales"), ports, strict=True):
            stack.enter_context(serve(build_backend(backend_settings(folder, url, audience)), port=port))
        yield url


def test_the_same_subject_at_two_issuers_is_two_people(url: str) -> None:
    """Each has their own threads; the other's do not exist."""
    staff = Browser(url=url, path="/support/chatkit", token=STAFF.token("alice"))
    shop = Browser(url=url, path="/support/chatkit", token=SHOP.token("alice"))
    thread = thread_id(staff.say("Between colleagues."))
    answers = [shop.send("threads.get_by_id", thread_id=thread), staff.send("threads.get_by_id", thread_id=thread)]

    assert [answer.status_code for answer in answers] == [404, 200]


def test_claims_are_mapped_by_the_issuers_own_rules(url: str) -> None:
    """Name and roles come from where this issuer keeps them."""
    changes: dict[str, Any] = {
        "preferred_username": "Alice of Staff",
        "realm_access": {"roles": ["agent"]},
        "roles": ["ignored"],
    }
    user = Browser(url=url, path="/support/chatkit", token=STAFF.token("alice", **changes)).session().json()["user"]

    assert (user["name"], user["roles"]) == ("Alice of Staff", ["agent"])


def test_two_backends_each_believe_only_what_is_meant_for_them(url: str) -> None:
    """Different audiences, different stores: the route decides which backend sees what."""
    support = Browser(url=url, path="/support/chatkit", token=SHOP.token("bob"))
    sales = Browser(
        url=url,
        path="/sales/chatkit",
        token="",
        headers={"cookie": f"shop_token={SHOP.token('bob')}"},
    )
    thread = thread_id(support.say("I asked support."))
    answers = [sales.send("threads.get_by_id", thread_id=thread), sales.send("threads.list")]
    said = answer_text(sales.say("Hello sales."))

    assert [answer.status_code for answer in answers] == [404, 200]
    assert answers[1].json()["data"] == []
    assert "Bob" in said


def test_a_route_takes_only_the_issuers_it_names(url: str) -> None:
    """A good token of another issuer is a 401 there, and good elsewhere."""
    token = STAFF.token("alice")
    sales = Browser(url=url, path="/sales/chatkit", token="", headers={"cookie": f"shop_token={token}"})
    support = Browser(url=url, path="/support/chatkit", token=token)
    answers = [sales.send("threads.list"), support.send("threads.list")]

    assert [answer.status_code for answer in answers] == [401, 200]
    assert answers[0].json()["code"] == "token_invalid"


def test_a_key_of_one_issuer_vouches_for_no_user_of_another(url: str) -> None:
    """Keys are scoped: the same kid at two issuers is two keys."""
    forged = SHOP.token("alice", key=STAFF.keys[0])
    answer = Browser(url=url, path="/support/chatkit", token=forged).send("threads.list")

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


def test_the_examples_backends_trust_the_examples_gateway() -> None:
    """The three files fit together: names, addresses, audiences."""
    gateway = load_settings(EXAMPLE / "gateway.toml")
    for name, table in gateway.backends.items():
        backend = load_backend_settings(EXAMPLE / f"{name}.toml")
        assert table.url == f"http://127.0.0.1:{backend.server.port}{backend.server.path}"
        assert (backend.gateway.issuer, backend.gateway.audience) == (gateway.public_url, name)
        assert str(backend.gateway.jwks_url) == f"{gateway.public_url}/.well-known/jwks.json"


def test_session_answers_for_the_route_that_is_asked_for(url: str) -> None:
    """Routes with different cookies each have their session."""
    shop = Browser(url=url, token="", headers={"cookie": f"shop_token={SHOP.token('carol')}"})
    first = shop.session()
    asked = httpx.get(f"{url}/session?route=sales", headers=shop.all_headers())

    assert first.status_code == 401
    assert asked.json()["user"]["id"] == "carol"
