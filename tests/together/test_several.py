"""Several backends and several issuers behind one gateway."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from agent_backend.app import build_app as build_backend
from tests.support.issuer import Issuer, signing_key
from tests.support.running import running_gateway
from tests.support.servers import free_port, serve
from tests.together.world import ORIGIN, Browser, answer_text, backend_settings, issuer_app, thread_id

STAFF = Issuer(issuer="https://staff.test", audience="staff-chat", keys=[signing_key("ES256", kid="k1")])
SHOP = Issuer(issuer="https://shop.test", audience="shop-chat", keys=[signing_key("RS256", kid="k1")])


def toml(staff_url: str, shop_url: str, ports: tuple[int, int]) -> str:
    return f"""
[server]
port = 0
drain_delay = 0

[issuers.staff]
issuer = "{STAFF.issuer}"
jwks_url = "{staff_url}/jwks"
audiences = ["{STAFF.audience}"]
claims = {{ name = "preferred_username", roles = "realm_access.roles" }}

[issuers.shop]
issuer = "{SHOP.issuer}"
jwks_url = "{shop_url}/jwks"
audiences = ["{SHOP.audience}"]

[backends.support]
url = "http://127.0.0.1:{ports[0]}/chatkit"

[backends.sales]
url = "http://127.0.0.1:{ports[1]}/chatkit"

[routes.support]
path = "/support"
backend = "support"
cookie = "auth_token"
allowed_origins = ["{ORIGIN}"]

[routes.sales]
path = "/sales"
backend = "sales"
cookie = "shop_token"
issuers = ["shop"]
allowed_origins = ["{ORIGIN}"]
"""


@contextlib.contextmanager
def two_of_each(folder: Path) -> Iterator[str]:
    ports = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        staff, shop = (stack.enter_context(serve(issuer_app(issuer))) for issuer in (STAFF, SHOP))
        url = stack.enter_context(running_gateway(folder, toml(staff, shop, ports)))
        for audience, port in zip(("support", "sales"), ports, strict=True):
            stack.enter_context(serve(build_backend(backend_settings(folder, url, audience)), port=port))
        yield url


def test_the_same_subject_at_two_issuers_is_two_people(tmp_path: Path) -> None:
    """Each has their own threads; the other's do not exist."""
    with two_of_each(tmp_path) as url:
        staff = Browser(url=url, path="/support", token=STAFF.token("alice"))
        shop = Browser(url=url, path="/support", token=SHOP.token("alice"))
        thread = thread_id(staff.say("Between colleagues."))
        answers = [shop.send("threads.get_by_id", thread_id=thread), staff.send("threads.get_by_id", thread_id=thread)]

    assert [answer.status_code for answer in answers] == [404, 200]


def test_claims_are_mapped_by_the_issuers_own_rules(tmp_path: Path) -> None:
    """Name and roles come from where this issuer keeps them."""
    changes: dict[str, Any] = {
        "preferred_username": "Alice of Staff",
        "realm_access": {"roles": ["agent"]},
        "roles": ["ignored"],
    }
    with two_of_each(tmp_path) as url:
        user = Browser(url=url, path="/support", token=STAFF.token("alice", **changes)).session().json()["user"]

    assert (user["name"], user["roles"]) == ("Alice of Staff", ["agent"])


def test_two_backends_each_believe_only_what_is_meant_for_them(tmp_path: Path) -> None:
    """Different audiences, different stores: the route decides which backend sees what."""
    with two_of_each(tmp_path) as url:
        support = Browser(url=url, path="/support", token=SHOP.token("bob"))
        sales = Browser(
            url=url,
            path="/sales",
            token="",
            headers={"cookie": f"shop_token={SHOP.token('bob')}"},
        )
        thread = thread_id(support.say("I asked support."))
        answers = [sales.send("threads.get_by_id", thread_id=thread), sales.send("threads.list")]
        said = answer_text(sales.say("Hello sales."))

    assert [answer.status_code for answer in answers] == [404, 200]
    assert answers[1].json()["data"] == []
    assert "Bob" in said


def test_a_route_takes_only_the_issuers_it_names(tmp_path: Path) -> None:
    """A good token of another issuer is a 401 there, and good elsewhere."""
    token = STAFF.token("alice")
    with two_of_each(tmp_path) as url:
        sales = Browser(url=url, path="/sales", token="", headers={"cookie": f"shop_token={token}"})
        support = Browser(url=url, path="/support", token=token)
        answers = [sales.send("threads.list"), support.send("threads.list")]

    assert [answer.status_code for answer in answers] == [401, 200]
    assert answers[0].json()["code"] == "token_invalid"


def test_a_key_of_one_issuer_vouches_for_no_user_of_another(tmp_path: Path) -> None:
    """Keys are scoped: the same kid at two issuers is two keys."""
    forged = SHOP.token("alice", key=STAFF.keys[0])
    with two_of_each(tmp_path) as url:
        answer = Browser(url=url, path="/support", token=forged).send("threads.list")

    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


def test_session_answers_for_the_route_that_is_asked_for(tmp_path: Path) -> None:
    """Routes with different cookies each have their session."""
    with two_of_each(tmp_path) as url:
        shop = Browser(url=url, token="", headers={"cookie": f"shop_token={SHOP.token('carol')}"})
        first = shop.session()
        asked = httpx.get(f"{url}/session?route=sales", headers=shop.all_headers())

    assert first.status_code == 401
    assert asked.json()["user"]["id"] == "carol"
