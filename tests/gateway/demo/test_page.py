"""The demo pages' routes, and what holds for every file behind them."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from gateway.demo.page import CHATKIT, FILES, OFFICIAL, PAGES, STATIC, build_page_routes
from gateway.kit.files import SCRIPT, kit_path
from tests.support.servers import serve

GATEWAY = "http://127.0.0.1:8080"
ISSUER = "http://127.0.0.1:8081"
SCRIPTS = [name for name in FILES.values() if name.endswith(".js")]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    app = Starlette(routes=build_page_routes(gateway_url=GATEWAY, issuer_url=ISSUER))
    with serve(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("path", [*FILES, "/demo/config.json"])
def test_everything_comes_with_a_strict_policy(client: httpx.Client, path: str) -> None:
    """No inline script or style; forms go to the issuer and back; nothing frames it. One page may load the official
    script, and its frame, from the one place where they are.
    """
    answer = client.get(path)
    scripts, frames = ("'self'", "'none'") if path != OFFICIAL else (f"'self' {CHATKIT}", CHATKIT)

    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; script-src {scripts}; frame-src {frames}; style-src 'self'; connect-src 'self'; "
        f"img-src 'self' data:; form-action {GATEWAY} {ISSUER}; base-uri 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("page", PAGES.values())
def test_the_pages_keep_to_their_own_policy(page: str) -> None:
    """Nothing inline, no handler attribute, nothing from another host."""
    text = (STATIC / page).read_text()

    assert "<script>" not in text
    assert "<style" not in text
    assert " style=" not in text
    assert " onclick=" not in text
    assert "://" not in text


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_put_text_on_the_page_and_never_markup(script: str) -> None:
    """What an assistant says cannot become an element."""
    text = (STATIC / script).read_text()

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|new Function", text)


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_the_scripts_import_is_there(script: str) -> None:
    """From beside them, or the kit of this version at the path where the gateway serves it."""
    text = (STATIC / script).read_text()
    imported = re.findall(r'from "([^"]+)"', text)

    for name in imported:
        known = name == kit_path(SCRIPT) or (name.startswith("./") and (STATIC / name).is_file())
        assert known, f"{script} imports {name}"
    assert len(imported) == len(re.findall(r"^import\b", text, re.MULTILINE))


def test_the_page_learns_where_to_sign_in(client: httpx.Client) -> None:
    """The issuer's address is data, not part of the script."""
    assert client.get("/demo/config.json").json() == {
        "origin": GATEWAY,
        "login_url": f"{ISSUER}/login",
        "logout_url": f"{ISSUER}/logout",
    }


def test_files_have_the_types_browsers_insist_on(client: httpx.Client) -> None:
    """With nosniff, a script or style of the wrong type is not used."""
    types = {name: client.get(path).headers["content-type"] for path, name in FILES.items()}
    expected = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

    assert types == {name: f"{expected[Path(name).suffix]}; charset=utf-8" for name in FILES.values()}
    assert {path.name for path in STATIC.iterdir()} == set(FILES.values())
