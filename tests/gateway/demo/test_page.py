"""The demo page's routes."""

from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette

from gateway.demo.page import FILES, STATIC, build_page_routes
from tests.support.servers import serve

GATEWAY = "http://127.0.0.1:8080"
ISSUER = "http://127.0.0.1:8081"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    app = Starlette(routes=build_page_routes(gateway_url=GATEWAY, issuer_url=ISSUER))
    with serve(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("path", [*FILES, "/demo/config.json"])
def test_everything_comes_with_a_strict_policy(client: httpx.Client, path: str) -> None:
    """No inline script, no external host; forms go to the issuer and back; no frames."""
    answer = client.get(path)

    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        f"form-action {GATEWAY} {ISSUER}; base-uri 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_keeps_to_its_own_policy() -> None:
    """Nothing inline, no handler attribute, nothing from another host."""
    page = (STATIC / "index.html").read_text()

    assert "<script>" not in page
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert "://" not in page


def test_the_script_puts_text_on_the_page_and_never_markup() -> None:
    """What an assistant says cannot become an element."""
    script = (STATIC / "chat.js").read_text()

    assert "innerHTML" not in script
    assert "insertAdjacentHTML" not in script


def test_the_page_learns_where_to_sign_in(client: httpx.Client) -> None:
    """The issuer's address is data, not part of the script."""
    assert client.get("/demo/config.json").json() == {
        "origin": GATEWAY,
        "login_url": f"{ISSUER}/login",
        "logout_url": f"{ISSUER}/logout",
    }


def test_files_have_the_types_browsers_insist_on(client: httpx.Client) -> None:
    """With nosniff, a script or style of the wrong type is not used."""
    types = [client.get(path).headers["content-type"] for path in FILES]

    assert types == ["text/html; charset=utf-8", "text/javascript; charset=utf-8", "text/css; charset=utf-8"]
