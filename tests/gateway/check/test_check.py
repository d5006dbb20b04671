"""Would these settings work? Tried on real neighbours."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.__main__ import main
from gateway.check import check
from gateway.check.trials import read_skew
from gateway.settings import load_settings
from tests.gateway.settings.files import SMALLEST, write
from tests.support.issuer import Issuer
from tests.support.servers import free_port, serve
from tests.support.tls import build_server_context


def settings_text(*, jwks: str, backend: str, text: str = SMALLEST) -> str:
    text = text.replace("https://login.example.com/.well-known/jwks.json", jwks)
    return text.replace("http://127.0.0.1:9000/chatkit", backend)


@contextmanager
def neighbours(*, ready_status: int = 200, stranger_status: int = 401, use: str = "sig") -> Iterator[str]:
    """An issuer and a backend at one address; the backend answers strangers with ``stranger_status``."""
    issuer = Issuer()

    async def jwks(request: Request) -> Response:
        keys = [*issuer.jwks()["keys"], {**issuer.jwks()["keys"][0], "kid": "k2", "use": use}]
        return JSONResponse({"keys": keys})

    async def readyz(request: Request) -> Response:
        return PlainTextResponse("", ready_status)

    async def chatkit(request: Request) -> Response:
        assert await request.json() == {"type": "threads.list", "params": {}}
        assert "x-gateway-assertion" not in request.headers
        return PlainTextResponse("", stranger_status)

    routes = [Route("/jwks", jwks), Route("/readyz", readyz), Route("/chatkit", chatkit, methods=["POST"])]
    with serve(Starlette(routes=routes)) as url:
        yield url


def tried(out: str) -> list[str]:
    """The lines about what was tried; what the settings alone show comes before."""
    lines = out.splitlines()
    return lines[next(index for index, line in enumerate(lines) if "signing keys" in line and "trust." not in line) :]


def test_everything_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each thing tried, then a summary; 0."""
    with neighbours() as url:
        code = check(load_settings(write(tmp_path, settings_text(jwks=f"{url}/jwks", backend=f"{url}/chatkit"))))

    assert (code, tried(capsys.readouterr().out)) == (
        0,
        [
            "ok    signing keys",
            "ok    issuer main: keys",
            f"ok    backend support: {url}/chatkit",
            f"ok    backend support: {url}/chatkit: without an assertion, refused with 401",
            "gateway: settings are good: 1 route(s), 1 backend(s), 1 issuer(s); 1 warning(s)",
        ],
    )


@pytest.mark.parametrize(
    ("status", "word", "said"),
    [
        (200, "FAIL", "whoever reaches it may say who they are; let it verify x-gateway-assertion"),
        (404, "FAIL", "no ChatKit server is at /chatkit; set the path in the backend's url"),
        (500, "FAIL", "answered 500; look at the backend's log"),
        (422, "warn", "answered 422, expected 401"),
    ],
)
def test_a_backend_that_answers_strangers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, word: str, said: str
) -> None:
    """A request without an assertion must be refused before it is looked at: the backend may be reached by others."""
    with neighbours(stranger_status=status) as url:
        code = check(load_settings(write(tmp_path, settings_text(jwks=f"{url}/jwks", backend=f"{url}/chatkit"))))
    line = next(line for line in capsys.readouterr().out.splitlines() if "without an assertion" in line)

    assert (code, line[:4]) == (word == "FAIL", word)
    assert said in line


@pytest.mark.parametrize(("ahead", "word"), [(0.0, None), (-25.0, "warn"), (40.0, "FAIL"), (-4000.0, "FAIL")])
def test_clocks_that_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str], ahead: float, word: str | None) -> None:
    """This machine's clock against the issuer's and the backend's, by their answers' dates; leeway is 30 s."""
    text = settings_text(jwks="{url}/jwks", backend="{url}/chatkit")
    with neighbours() as url:
        settings = load_settings(write(tmp_path, text.replace("{url}", url)))
        check(settings, clock=lambda: time.time() + ahead)
    lines = [line for line in capsys.readouterr().out.splitlines() if "clock" in line]
    issuers, backends = ([line for line in lines if line[6:].startswith(who)] for who in ("issuer", "backend"))

    assert [line[:4] for line in issuers] == ([word] if word else [])
    assert [line[:4] for line in backends] == (["warn"] if word else [])
    assert all(("ahead" if ahead > 0 else "behind") in line and "NTP" in line for line in lines)


@pytest.mark.parametrize(
    ("date", "age", "skew"),
    [
        ("Thu, 01 Jan 1970 00:16:40 GMT", None, 0.0),
        ("Thu, 01 Jan 1970 00:15:00 GMT", "100", 0.0),
        ("Thu, 01 Jan 1970 00:15:00 GMT", None, 100.0),
        ("Thu, 01 Jan 1970 00:16:40 GMT", "old", None),
        ("yesterday", None, None),
        (None, None, None),
    ],
)
def test_what_a_date_tells(date: str | None, age: str | None, skew: float | None) -> None:
    """What a cache has kept is as old as it says; what cannot be read tells nothing."""
    assert read_skew(date, age, 1000.0) == skew


def test_a_key_that_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The others serve; the line says which tokens will be refused, and why."""
    with neighbours(use="enc") as url:
        code = check(load_settings(write(tmp_path, settings_text(jwks=f"{url}/jwks", backend=f"{url}/chatkit"))))
    out = capsys.readouterr().out

    assert code == 0
    assert "warn  issuer main: keys: key 1 (kid 'k2'): use is 'enc', not sig; tokens signed with it are refused" in out


@pytest.mark.parametrize(
    ("days", "word", "said"), [(-30, "ok  ", ""), (0, "warn", "in 1 day(s)"), (2, "FAIL", "no browser connects")]
)
def test_a_certificate_near_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], days: int, word: str, said: str
) -> None:
    """This one is good for a day from now."""
    build_server_context(tmp_path)
    text = SMALLEST.replace("port = 8080", f'port = 8080\ntls_certificate = "{tmp_path}/server.pem"')
    text = settings_text(jwks="http://127.0.0.1:1/jwks", backend="http://127.0.0.1:1/chatkit", text=text)
    check(load_settings(write(tmp_path, text)), clock=lambda: time.time() + days * 24 * 3600)
    line = next(line for line in capsys.readouterr().out.splitlines() if "tls_certificate" in line)

    assert (line[:4], said in line) == (word, True)


def test_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The settings alone: for a pipeline that reaches nobody. Not even name servers are asked."""
    text = settings_text(jwks="https://nowhere.invalid/jwks", backend="http://nowhere.invalid/chatkit")

    assert check(load_settings(write(tmp_path, text)), offline=True) == 0
    assert "issuer main" not in capsys.readouterr().out


def test_nothing_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each failure says what and how to go on; the others are tried all the same; 1."""
    port = free_port()
    key = tmp_path / "key.pem"
    key.write_text("no key")
    text = settings_text(jwks=f"http://127.0.0.1:{port}/jwks", backend=f"http://127.0.0.1:{port}/chatkit")
    code = check(load_settings(write(tmp_path, f'{text}\n[trust]\nsigning_keys = ["{key}"]')))
    out, err = capsys.readouterr()
    keys, issuer, backend = tried(out)

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
    line = tried(capsys.readouterr().out)[2]

    word = "FAIL" if failure else "ok  "
    assert (code, line) == (bool(failure), f"{word}  backend support: {url}/chatkit{failure}")


def test_each_replica_is_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of its own for each: one that works hides no other."""
    port = free_port()
    with neighbours() as url:
        text = settings_text(jwks=f"{url}/jwks", backend="")
        text = text.replace('url = ""', f'urls = ["{url}/chatkit", "http://127.0.0.1:{port}/chatkit"]')
        code = check(load_settings(write(tmp_path, text)))
    good, refused, bad = [line for line in capsys.readouterr().out.splitlines() if "backend support: http" in line]

    assert (code, good) == (1, f"ok    backend support: {url}/chatkit")
    assert refused == f"{good}: without an assertion, refused with 401"
    assert bad.startswith(f"FAIL  backend support: http://127.0.0.1:{port}/chatkit: ")
    assert bad.endswith(f"; is it started, and is 127.0.0.1:{port} its address from here?")


def test_a_ca_file_that_holds_no_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line like the others, not a traceback."""
    ca = tmp_path / "ca.pem"
    ca.write_text("nothing")
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(Issuer().jwks()))
    text = SMALLEST.replace('jwks_url = "https://login.example.com/.well-known/jwks.json"', f'jwks_file = "{jwks}"')
    text = text.replace('url = "http://127.0.0.1:9000/chatkit"', f'url = "https://agent"\nca_file = "{ca}"')
    code = check(load_settings(write(tmp_path, text)))
    line = tried(capsys.readouterr().out)[2]

    assert (code, line.startswith(f"FAIL  backend support: https://agent: ca_file {ca}: ")) == (1, True)
    assert line.endswith("; it must hold certificates in PEM")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its options reach what they are for; a file that is not there is a wrong argument, 2, and may be the secret."""
    settings = str(write(tmp_path, SMALLEST))
    cookie = tmp_path / "cookie"
    cookie.write_text("set-cookie: auth_token=a.b.c; HttpOnly; SameSite=Lax; Path=/; Domain=example.com")
    common = ["check", "--settings", settings, "--offline"]
    codes = [
        main(common),
        main([*common, "--set-cookie-file", str(cookie)]),
        main([*common, "--through", "http://127.0.0.1:1/chatkit"]),
        main([*common, "--set-cookie-file", "auth_token=eyJhbGciOiJSUzI1NiJ9.e30.c2ln"]),
    ]
    out, err = capsys.readouterr()

    assert codes == [0, 1, 1, 2]
    assert "FAIL  routes.support.cookie: auth_token: no Secure" in out
    assert "FAIL  stream through http://127.0.0.1:1/chatkit" in out
    assert "gateway: --set-cookie-file: No such file or directory; it takes the name of a file, or -" in err
    assert "eyJ" not in err
