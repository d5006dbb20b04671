"""Would these settings work? And what are they?"""

import json
import math
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.check import check, show
from gateway.settings import load_settings
from tests.gateway.settings.files import SMALLEST, write
from tests.support.issuer import Issuer
from tests.support.servers import free_port, serve


def settings_text(*, jwks: str, backend: str, more: str = "") -> str:
    text = SMALLEST.replace("https://login.example.com/.well-known/jwks.json", jwks)
    return text.replace("http://127.0.0.1:9000/chatkit", backend) + more


@contextmanager
def neighbours(*, ready_status: int = 200) -> Iterator[str]:
    """An issuer and a backend at one address."""
    issuer = Issuer()

    async def jwks(request: Request) -> Response:
        return JSONResponse(issuer.jwks())

    async def readyz(request: Request) -> Response:
        return PlainTextResponse("", ready_status)

    with serve(Starlette(routes=[Route("/jwks", jwks), Route("/readyz", readyz)])) as url:
        yield url


def test_everything_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each thing tried, then a summary; 0."""
    with neighbours() as url:
        code = check(load_settings(write(tmp_path, settings_text(jwks=f"{url}/jwks", backend=f"{url}/chatkit"))))

    assert (code, capsys.readouterr().out.splitlines()) == (
        0,
        [
            "ok    signing keys",
            "ok    issuer main: keys",
            f"ok    backend support: {url}/chatkit",
            "gateway: settings are good: 1 route(s), 1 backend(s), 1 issuer(s)",
        ],
    )


def test_nothing_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each failure says what and how to go on; the others are tried all the same; 1."""
    port = free_port()
    key = tmp_path / "key.pem"
    key.write_text("no key")
    text = settings_text(jwks=f"http://127.0.0.1:{port}/jwks", backend=f"http://127.0.0.1:{port}/chatkit")
    code = check(load_settings(write(tmp_path, f'{text}\n[trust]\nsigning_keys = ["{key}"]')))
    out, err = capsys.readouterr()
    keys, issuer, backend = out.splitlines()

    assert keys == f"FAIL  signing keys: {key}: not an unencrypted PEM private key"
    assert issuer.startswith("FAIL  issuer main: keys: ")
    assert issuer.endswith("; check the address from this machine")
    assert backend.startswith(f"FAIL  backend support: http://127.0.0.1:{port}/chatkit: ")
    assert backend.endswith(f"; is it started, and is 127.0.0.1:{port} its address from here?")
    assert (code, "3 of the things above do not work" in err) == (1, True)


@pytest.mark.parametrize(("status", "failure"), [(404, ""), (503, ": /readyz answered 503; look at the backend's log")])
def test_a_backends_readiness(tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, failure: str) -> None:
    """Any answer but a 5xx shows that something listens there: not every backend has /readyz."""
    with neighbours(ready_status=status) as url:
        code = check(load_settings(write(tmp_path, settings_text(jwks=f"{url}/jwks", backend=f"{url}/chatkit"))))
    line = capsys.readouterr().out.splitlines()[2]

    word = "FAIL" if failure else "ok  "
    assert (code, line) == (bool(failure), f"{word}  backend support: {url}/chatkit{failure}")


def test_a_ca_file_that_holds_no_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line like the others, not a traceback."""
    ca = tmp_path / "ca.pem"
    ca.write_text("nothing")
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(Issuer().jwks()))
    text = SMALLEST.replace('jwks_url = "https://login.example.com/.well-known/jwks.json"', f'jwks_file = "{jwks}"')
    text = text.replace('url = "http://127.0.0.1:9000/chatkit"', f'url = "https://agent"\nca_file = "{ca}"')
    code = check(load_settings(write(tmp_path, text)))
    line = capsys.readouterr().out.splitlines()[2]

    assert (code, line.startswith(f"FAIL  backend support: https://agent: ca_file {ca}: ")) == (1, True)
    assert line.endswith("; it must hold certificates in PEM")


NASTY = 'a"b\\\\c\\nd\\u007fé😀'


@pytest.mark.parametrize(
    "more",
    [
        "",
        'forward_headers = ["x-app"]\nissuers = ["main"]\noperations = []\nheartbeat = 0.05\n',
        '[issuers.other]\nissuer = "' + NASTY.replace('"', '\\"') + '"\njwks_file = "k"\naudiences = ["a", "é"]\n'
        '[issuers.other.claims]\ntenant = "org.id"\n',
        '[log]\nformat = "console"\n[trust]\nissuer = "x"\nlifetime = 5\n',
    ],
)
def test_what_show_prints_loads_as_the_same_settings(tmp_path: Path, more: str) -> None:
    """It is a settings file: an operator can keep it, or compare two."""
    settings = load_settings(write(tmp_path, SMALLEST + more))
    shown = show(settings)

    assert math.isclose(tomllib.loads(shown)["routes"]["support"]["heartbeat"], settings.routes["support"].heartbeat)
    assert load_settings(write(tmp_path, shown)).model_dump() == settings.model_dump()
