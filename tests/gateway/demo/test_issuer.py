"""The development issuer over a socket, as a browser and a gateway see it."""

from collections.abc import Iterator
from http.cookies import SimpleCookie

import httpx
import pytest
from jose import jwt

from gateway.demo.issuer import DemoIssuer, build_issuer
from gateway.demo.keys import KeyRing
from tests.support.servers import serve

# What the tokens name as issuer; the socket's own port is known only afterwards.
URL = "http://127.0.0.1:8081"
GATEWAY = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def keys() -> KeyRing:
    return KeyRing()


@pytest.fixture
def client(keys: KeyRing) -> Iterator[httpx.Client]:
    issuer = DemoIssuer(url=URL, gateway_url=GATEWAY, keys=keys)
    with serve(build_issuer(issuer)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def sign_in(client: httpx.Client, **form: str) -> httpx.Response:
    return client.post("/login", data={"user": "alice", **form})


def cookie_of(answer: httpx.Response) -> str:
    return SimpleCookie(answer.headers["set-cookie"])["auth_token"].value


def verify(client: httpx.Client, token: str) -> dict[str, object]:
    published = {key["kid"]: key for key in client.get("/.well-known/jwks.json").json()["keys"]}
    key = published[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, object] = jwt.decode(token, key, key["alg"], audience="chat", issuer=URL)
    return claims


def test_signing_in_gives_a_token_that_verifies_against_the_published_keys(client: httpx.Client) -> None:
    """The whole point: what the cookie holds is a good token about the chosen person."""
    claims = verify(client, cookie_of(sign_in(client, user="carol")))

    assert (claims["sub"], claims["name"], claims["roles"]) == ("carol", "Carol Admin", ["user", "admin"])


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(client: httpx.Client) -> None:
    """HttpOnly, SameSite=Lax, every path, an hour, no domain; and the browser goes back to where it came from."""
    answer = sign_in(client, return_to=f"{GATEWAY}/orders")
    attributes = {part.strip() for part in answer.headers["set-cookie"].split(";")[1:]}

    assert (answer.status_code, answer.headers["location"]) == (303, f"{GATEWAY}/orders")
    assert attributes == {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=3600"}


def test_a_session_can_be_made_short(client: httpx.Client) -> None:
    """Token and cookie end together: for who wants to see what a page does then."""
    answer = sign_in(client, lifetime="5")
    claims = jwt.get_unverified_claims(cookie_of(answer))

    assert claims["exp"] - claims["iat"] == 5
    assert "Max-Age=5;" in answer.headers["set-cookie"]


@pytest.mark.parametrize("asked", [{"path": "/login?alg=ES256"}, {"alg": "ES256"}])
def test_the_algorithm_can_be_chosen(client: httpx.Client, asked: dict[str, str]) -> None:
    """By a field or by the query; RS256 signs unless asked otherwise."""
    fields = {name: value for name, value in asked.items() if name != "path"}
    token = cookie_of(client.post(asked.get("path", "/login"), data={"user": "bob", **fields}))

    assert jwt.get_unverified_header(token)["alg"] == "ES256"
    assert verify(client, token)["sub"] == "bob"
    assert jwt.get_unverified_header(cookie_of(sign_in(client)))["alg"] == "RS256"


@pytest.mark.parametrize(
    "form",
    [
        {"return_to": "https://evil.test/"},
        {"return_to": "//evil.test"},
        {"user": "mallory"},
        {"user": ""},
        {"alg": "none"},
        {"lifetime": "0"},
        {"lifetime": "3601"},
        {"lifetime": "-1"},
        {"lifetime": "1e3"},
        {"lifetime": "٣"},
    ],
)
def test_what_is_not_on_offer_is_refused(client: httpx.Client, form: dict[str, str]) -> None:
    """No open redirect, unknown person or algorithm, no session that is longer than usual: 400, and no cookie."""
    answer = sign_in(client, **form)

    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers


def test_the_login_page_refuses_a_foreign_return_address(client: httpx.Client) -> None:
    """The page does not even show itself with a return address it would refuse later."""
    assert client.get("/login", params={"return_to": "https://evil.test/"}).status_code == 400


def test_the_login_page_remembers_where_people_came_from(client: httpx.Client) -> None:
    """It runs no script, is kept by no cache, and carries the return address through the form."""
    answer = client.get("/login", params={"return_to": f"{GATEWAY}/orders", "alg": "ES256"})

    assert answer.status_code == 200
    assert f'name="return_to" value="{GATEWAY}/orders"' in answer.text
    assert "<option selected>ES256</option>" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("origin", ["http://evil.test", "null", GATEWAY])
def test_another_site_cannot_sign_anybody_in(client: httpx.Client, origin: str) -> None:
    """A form posted from elsewhere is refused by its Origin, the gateway's own page included."""
    answer = client.post("/login", data={"user": "bob"}, headers={"origin": origin})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_signing_out_clears_the_cookie(client: httpx.Client) -> None:
    """From the issuer's or the gateway's page, but from no other site."""
    answer = client.post("/logout", data={"return_to": f"{GATEWAY}/"}, headers={"origin": GATEWAY})

    assert (answer.status_code, answer.headers["location"]) == (303, f"{GATEWAY}/")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert client.post("/logout", headers={"origin": "http://evil.test"}).status_code == 403


def test_rotation_signs_with_new_keys_and_lets_old_tokens_live(client: httpx.Client) -> None:
    """A gateway that follows the key set sees no interruption."""
    old = cookie_of(sign_in(client))
    kids = client.post("/rotate").json()["kids"]
    new = cookie_of(sign_in(client))

    assert len(kids) == 4
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    assert verify(client, old)["sub"] == verify(client, new)["sub"] == "alice"


def test_discovery_claims_only_what_is_true(client: httpx.Client) -> None:
    """The issuer and its keys; no endpoint that does not exist."""
    assert client.get("/.well-known/openid-configuration").json() == {
        "issuer": URL,
        "jwks_uri": f"{URL}/.well-known/jwks.json",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
    }


def test_a_form_of_megabytes_is_refused(client: httpx.Client) -> None:
    """The three fields are short; more than that is not read."""
    assert client.post("/login", data={"user": "x" * 100_000}).status_code == 413


def test_it_says_that_it_lives(client: httpx.Client) -> None:
    """The supervisor waits for this."""
    assert client.get("/livez").status_code == 200
