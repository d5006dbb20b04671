"""Opaque routes through the running gateway: uploads in, downloads out, signed URLs, rules."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.auth.signed_urls import SignedObject, UrlSigner
from tests.support.issuer import Issuer
from tests.support.running import running_gateway
from tests.support.scripted import Exchange, Script, ScriptedBackend, json_answer, scripted_backend
from tests.support.servers import serve
from tests.together.world import ORIGIN, issuer_app

KEY = "a-secret-of-at-least-32-characters"
ISSUER = Issuer()

TOML = """
[server]
port = 0
drain_delay = 0
[issuers.main]
issuer = "{issuer}"
jwks_url = "{jwks}/jwks"
audiences = ["chat"]
[signed_urls]
keys = ["{key}"]
[backends.files]
url = "http://127.0.0.1:{port}/store"
[routes.files]
path = "/files/"
kind = "opaque"
prefix = true
methods = ["GET", "HEAD", "PUT", "POST"]
backend = "files"
cookie = "auth_token"
forward_token = false
allowed_origins = ["{origin}"]
max_body = 1048576
max_answer = 1048576
[routes.upload]
path = "/signed/"
kind = "opaque"
prefix = true
methods = ["GET", "PUT"]
credential = "signed_url"
backend = "files"
allowed_origins = ["{origin}"]
[routes.admin]
path = "/admin"
kind = "opaque"
methods = ["POST"]
backend = "files"
[routes.admin.require]
roles = ["admin"]
scopes = ["files:write"]
claims = {{ plan = ["pro"] }}
"""


@contextlib.asynccontextmanager
async def edge(
    folder: Path, script: Script, *, read_bodies: bool = True
) -> AsyncIterator[tuple[ScriptedBackend, httpx.AsyncClient]]:
    async with scripted_backend(script, read_bodies=read_bodies) as backend:
        with serve(issuer_app(ISSUER)) as jwks:
            toml = TOML.format(issuer=ISSUER.issuer, jwks=jwks, key=KEY, port=backend.port, origin=ORIGIN)
            with running_gateway(folder, toml) as url:
                async with httpx.AsyncClient(base_url=url, timeout=10) as client:
                    yield backend, client


def cookie(**more: str) -> dict[str, str]:
    return {"cookie": f"auth_token={ISSUER.token()}", "origin": ORIGIN, **more}


def assertion_of(exchange: Exchange) -> dict[str, Any]:
    line = next(line for line in exchange.head.split(b"\r\n") if line.startswith(b"x-gateway-assertion: "))
    part = line.partition(b": ")[2].split(b".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    return claims


async def test_an_upload_is_streamed_in_while_it_is_being_sent(tmp_path: Path) -> None:
    """The backend has the first piece before the client sends the second; not a byte is changed."""
    got: list[bytes] = []
    arrived = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        for _ in range(2):
            size = int(await exchange.reader.readuntil(b"\r\n"), 16)
            got.append(await exchange.reader.readexactly(size))
            await exchange.reader.readexactly(2)
            arrived.set()
        assert await exchange.reader.readuntil(b"\r\n\r\n") == b"0\r\n\r\n"
        await json_answer(b'{"id":"atc_1"}')(exchange)

    async def body() -> AsyncIterator[bytes]:
        yield b"\x00first\xff"
        await asyncio.wait_for(arrived.wait(), 5)
        yield b"second"

    async with edge(tmp_path, script, read_bodies=False) as (backend, client):
        answer = await client.put("/files/a%20b?x=1", content=body(), headers=cookie())

    assert (answer.status_code, answer.json()) == (200, {"id": "atc_1"})
    assert got == [b"\x00first\xff", b"second"]
    assert backend.exchanges[0].head.startswith(b"PUT /store/a%20b?x=1 HTTP/1.1\r\n")
    claims = assertion_of(backend.exchanges[0])
    assert claims["req"] == {"method": "PUT", "path": "/store/a%20b?x=1", "sha256": None}
    assert b"authorization" not in backend.exchanges[0].head


async def test_a_declared_length_is_kept(tmp_path: Path) -> None:
    """Multipart as browsers send it; content-type goes on, the cookie does not."""
    async with edge(tmp_path, json_answer()) as (backend, client):
        await client.post("/files/", content=b"x", headers=cookie())
        answer = await client.post(
            "/files/new", content=b"--b\r\n", headers=cookie(**{"content-type": "multipart/form-data; boundary=b"})
        )

    assert answer.status_code == 200
    head = backend.exchanges[-1].head
    assert b"content-length: 5\r\n" in head
    assert b"multipart/form-data; boundary=b" in head
    assert b"cookie" not in head
    assert backend.exchanges[-1].body == b"--b\r\n"
    assert len(backend.exchanges) == 1


async def test_a_download_comes_through_as_it_is_and_can_do_nothing(tmp_path: Path) -> None:
    """Any type and status, ranges too; the answer is inert on the gateway's origin."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 206 Partial Content\r\ncontent-type: text/html\r\ncontent-range: bytes 0-3/9\r\n"
            b"content-security-policy: default-src *\r\nset-cookie: a=b\r\ncontent-length: 4\r\n\r\n<\xff\x00>"
        )

    async with edge(tmp_path, script) as (backend, client):
        answer = await client.get("/files/page.html", headers=cookie(range="bytes=0-3"))

    assert (answer.status_code, answer.content) == (206, b"<\xff\x00>")
    assert answer.headers["content-range"] == "bytes 0-3/9"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert "set-cookie" not in answer.headers
    assert b"range: bytes=0-3\r\n" in backend.exchanges[0].head


@pytest.mark.parametrize("status", [b"302 Found", b"404 Not Found", b"500 Oops"])
async def test_a_backends_word_is_handed_through(tmp_path: Path, status: bytes) -> None:
    """Redirects are not followed; refusals and failures are the backend's own."""
    script = json_answer(b"{}", status=status, headers=b"location: http://127.0.0.1:1/\r\n")
    async with edge(tmp_path, script) as (_, client):
        answer = await client.get("/files/a", headers=cookie())

    assert answer.status_code == int(status[:3])


@pytest.mark.parametrize(("size", "status"), [(1048576, 200), (1048577, 413)])
@pytest.mark.parametrize("declared", [True, False])
async def test_an_upload_has_a_cap(tmp_path: Path, size: int, status: int, declared: bool) -> None:
    """At both sides of the edge, whether the length is declared or turns out."""

    async def script(exchange: Exchange) -> None:
        if declared:
            await exchange.reader.readexactly(size)
        else:
            end = b""
            while not end.endswith(b"\r\n0\r\n\r\n"):
                piece = await exchange.reader.read(65536)
                if not piece:
                    return
                end = (end + piece)[-7:]
        await json_answer()(exchange)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 65536):
            yield bytes(min(65536, size - start))

    async with edge(tmp_path, script, read_bodies=False) as (backend, client):
        content = bytes(size) if declared else pieces()
        answer = await client.put("/files/a", content=content, headers=cookie())

    assert answer.status_code == status
    if status == 413:
        assert answer.json()["code"] == "body_too_large"
        if declared:
            assert backend.exchanges == []


@pytest.mark.parametrize(("size", "is_whole"), [(1048576, True), (1048577, False)])
async def test_a_download_has_a_cap(tmp_path: Path, size: int, is_whole: bool) -> None:
    """Declared beyond it: an error; turned out beyond it: broken off, never passed for whole."""

    async def script(exchange: Exchange) -> None:
        if b"/declared" in exchange.head:
            await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))
            return
        await exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await exchange.send_chunk(bytes(size))
        await exchange.send_chunk(b"")

    async with edge(tmp_path, script) as (_, client):
        declared = await client.get("/files/declared", headers=cookie())
        if is_whole:
            turned_out = await client.get("/files/chunked", headers=cookie())
            assert (len(declared.content), len(turned_out.content)) == (size, size)
        else:
            assert (declared.status_code, declared.json()["code"]) == (502, "backend_invalid")
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/files/chunked", headers=cookie())


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "TRACE"])
async def test_a_method_that_is_not_listed_is_refused(tmp_path: Path, method: str) -> None:
    """With the list of those that are."""
    async with edge(tmp_path, json_answer()) as (backend, client):
        answer = await client.request(method, "/files/a", headers=cookie())

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, PUT, POST, OPTIONS")
    assert backend.exchanges == []


@pytest.mark.parametrize(
    "path", ["/files", "/files/", "/files//a", "/files/../admin", "/files/%2e%2e/admin", "/files/a%2fb"]
)
async def test_a_prefix_leads_nowhere_else(tmp_path: Path, path: str) -> None:
    """Only canonical paths below it."""
    async with edge(tmp_path, json_answer()) as (backend, client):
        request = client.build_request("GET", "/files/x", headers=cookie())
        request.extensions["target"] = path.encode()
        answer = await client.send(request)

    assert answer.status_code in (400, 404)
    assert backend.exchanges == []


async def test_an_early_answer_ends_an_upload(tmp_path: Path) -> None:
    """The backend refuses at the head, the client waits for it in the middle of its body: it gets the refusal."""

    async def script(exchange: Exchange) -> None:
        await json_answer(b'{"message":"too large"}', status=b"413 Too Large")(exchange)
        await exchange.gone()

    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.wait_for(answered.wait(), 5)

    async with edge(tmp_path, script, read_bodies=False) as (backend, client):
        upload = asyncio.create_task(client.put("/files/a", content=body(), headers=cookie()))
        await asyncio.sleep(0.3)
        answered.set()
        answer = await upload

    assert (answer.status_code, answer.json()) == (413, {"message": "too large"})
    assert len(backend.exchanges) == 1


async def test_a_good_answer_that_begins_early_does_not_cut_an_upload(tmp_path: Path) -> None:
    """The backend says 200 and reads on: it gets every byte, described as the client described them."""
    got = b""

    async def script(exchange: Exchange) -> None:
        nonlocal got
        await exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        got = await exchange.reader.readexactly(300_000)
        await exchange.send_chunk(b"done")
        await exchange.send_chunk(b"")

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(100_000)
            await asyncio.sleep(0.05)

    described = {"content-encoding": "gzip", "content-range": "bytes 0-299999/300000", "if-match": '"v1"'}
    async with edge(tmp_path, script, read_bodies=False) as (backend, client):
        headers = cookie(**{"content-length": "300000", **described})
        answer = await client.put("/files/a", content=body(), headers=headers)

    assert (answer.status_code, answer.content, len(got)) == (200, b"done", 300_000)
    for name, value in described.items():
        assert f"{name}: {value}\r\n".encode() in backend.exchanges[0].head


async def test_a_download_by_cookie_is_kept_by_no_shared_cache(tmp_path: Path) -> None:
    """Where the backend leaves it open, or open to all."""
    public = json_answer(headers=b"cache-control: public, max-age=600\r\n")
    async with edge(tmp_path, public) as (_, client):
        answer = await client.get("/files/a", headers=cookie())

    assert answer.headers["cache-control"] == "private, no-cache"


async def test_a_client_that_leaves_in_mid_upload_is_gone_at_the_backend(tmp_path: Path) -> None:
    """The backend's connection closes, and the half upload is never finished."""
    started, left = asyncio.Event(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        started.set()
        await exchange.gone()
        left.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(30)

    async with edge(tmp_path, script, read_bodies=False) as (_, client):
        upload = asyncio.create_task(client.put("/files/a", content=body(), headers=cookie()))
        await asyncio.wait_for(started.wait(), 5)
        upload.cancel()
        await asyncio.wait_for(left.wait(), 1)


def signed(path: str, *, method: str = "GET", key: str = KEY, **changes: Any) -> str:
    given = {"issuer": ISSUER.issuer, "subject": "alice", "method": method, "path": path, "minutes": 60, **changes}
    return f"{path}?signature={UrlSigner(keys=[key], max_minutes=60).sign(SignedObject(**given))}"


async def test_a_signed_url_needs_no_cookie_and_names_its_owner(tmp_path: Path) -> None:
    """From any page, with no Origin rule: nothing is sent that the browser adds by itself."""
    async with edge(tmp_path, json_answer()) as (backend, client):
        answers = [
            await client.get(signed("/signed/a"), headers={"sec-fetch-site": "cross-site"}),
            await client.put(signed("/signed/a", method="PUT"), content=b"x", headers={"origin": ORIGIN}),
        ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["access-control-allow-origin"] == ORIGIN
    claims = assertion_of(backend.exchanges[0])
    assert (claims["sub"], claims["user_issuer"], claims["roles"]) == ("alice", ISSUER.issuer, [])


@pytest.mark.parametrize(
    ("url", "method", "code"),
    [
        ("/signed/a", "GET", "credential_missing"),
        (signed("/signed/a", method="PUT"), "GET", "token_invalid"),
        (signed("/signed/b").replace("/signed/b", "/signed/a"), "GET", "token_invalid"),
        (signed("/signed/a", key="another-secret-of-32-characters!!"), "GET", "token_invalid"),
        (signed("/signed/a", issuer="https://other.test"), "GET", "token_invalid"),
        (signed("/signed/a", minutes=61), "GET", "token_invalid"),
        (signed("/signed/a") + "&signature=x", "GET", "credential_ambiguous"),
    ],
)
async def test_a_url_that_was_not_signed_for_this_never_reaches_a_backend(
    tmp_path: Path, url: str, method: str, code: str
) -> None:
    """Another method, path, key or issuer's user, too long, twice, none; a cookie does not help."""
    async with edge(tmp_path, json_answer()) as (backend, client):
        answer = await client.request(method, url, headers=cookie())

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert backend.exchanges == []


@pytest.mark.parametrize(
    ("claims", "rule"),
    [
        ({"roles": ["user"], "scope": "files:write", "plan": "pro"}, "routes.admin.require.roles"),
        ({"roles": ["admin"], "scope": "files:read", "plan": "pro"}, "routes.admin.require.scopes"),
        ({"roles": ["admin"], "scope": "files:write", "plan": "free"}, "routes.admin.require.claims.plan"),
        ({"roles": ["admin"], "scope": "a files:write", "plan": "pro"}, None),
    ],
)
async def test_a_rule_lets_in_who_has_what_it_asks_for(
    tmp_path: Path, claims: dict[str, Any], rule: str | None
) -> None:
    """403 names the rule; `/session` says the same beforehand."""
    headers = {"authorization": f"Bearer {ISSUER.token(**claims)}"}
    async with edge(tmp_path, json_answer()) as (backend, client):
        answer = await client.post("/admin", headers=headers)
        session = await client.get("/session?route=admin", headers=headers)

    if rule is None:
        assert (answer.status_code, session.status_code) == (200, 200)
        assert assertion_of(backend.exchanges[0])["claims"] == {"plan": "pro"}
    else:
        assert (answer.status_code, answer.json()["rule"], session.status_code) == (403, rule, 403)
        assert backend.exchanges == []
