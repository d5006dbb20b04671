"""Getting a JWKS document: every way it can fail is one error that names the address."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from gateway.auth.key_fetch import (
    MAX_DOCUMENT,
    KeyDocument,
    build_discovery_fetch,
    build_file_fetch,
    build_url_fetch,
    read_max_age,
)
from gateway.errors import KeysUnavailable
from tests.support.servers import free_port, serve

URL = "https://login.test/jwks"
META = "https://login.test/.well-known/openid-configuration"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@respx.mock
async def test_a_document_comes_with_how_long_it_may_be_kept(client: httpx.AsyncClient) -> None:
    """The bytes as they are, asked for without compression."""
    route = respx.get(URL).respond(content=b'{"keys":[]}', headers={"cache-control": "public, max-age=600"})

    document = await build_url_fetch(client, URL, timeout=5.0)()

    assert document == KeyDocument(content=b'{"keys":[]}', max_age=600.0)
    assert route.calls.last.request.headers["accept-encoding"] == "identity"


BOMB = gzip.compress(b" " * 10_000_000)
FAILURES: dict[str, tuple[Any, str]] = {
    "redirect": (
        httpx.Response(302, headers={"location": "http://evil.test/"}),
        "answered 302 to 'http://evil.test/', expected 200",
    ),
    "500": (httpx.Response(500), "answered 500, expected 200"),
    "204": (httpx.Response(204), "answered 204, expected 200"),
    "too large": (httpx.Response(200, content=b" " * (MAX_DOCUMENT + 1)), "more than 524288 bytes, that is no JWKS"),
    "a bomb": (
        httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(BOMB)),
        "answered with content-encoding 'gzip', asked for none",
    ),
    "refused": (httpx.ConnectError("refused"), "ConnectError: refused"),
    "too slow": (httpx.ReadTimeout("slow"), "ReadTimeout: slow"),
    "broken off": (httpx.RemoteProtocolError("gone"), "RemoteProtocolError: gone"),
}


@pytest.mark.parametrize(("answer", "reason"), FAILURES.values(), ids=FAILURES.keys())
@respx.mock
async def test_anything_but_a_plain_200_is_a_failure(client: httpx.AsyncClient, answer: Any, reason: str) -> None:
    """No redirect is followed, no bomb unpacked, no error gets out untranslated."""
    respx.get(URL).mock(
        side_effect=answer if isinstance(answer, Exception) else None,
        return_value=answer if isinstance(answer, httpx.Response) else None,
    )

    with pytest.raises(KeysUnavailable) as caught:
        await build_url_fetch(client, URL, timeout=5.0)()

    assert str(caught.value) == f"{URL}: {reason}"
    assert len(respx.calls) == 1


@respx.mock
async def test_the_largest_document_passes(client: httpx.AsyncClient) -> None:
    """512 KiB to the byte."""
    respx.get(URL).respond(content=b" " * MAX_DOCUMENT)

    assert len((await build_url_fetch(client, URL, timeout=5.0)()).content) == MAX_DOCUMENT


@respx.mock
async def test_discovery_leads_to_the_keys_that_the_issuer_names(client: httpx.AsyncClient) -> None:
    """Metadata first, then the document; the age is the document's."""
    respx.get(META).respond(json={"issuer": "https://login.test", "jwks_uri": "https://keys.test/k"})
    respx.get("https://keys.test/k").respond(content=b"{}", headers={"cache-control": "max-age=60"})

    fetch = build_discovery_fetch(client, META, "https://login.test", timeout=5.0)

    assert await fetch() == KeyDocument(content=b"{}", max_age=60.0)


METADATA: dict[str, tuple[bytes, str]] = {
    "another issuer": (json.dumps({"issuer": "https://evil.test"}).encode(), "names issuer 'https://evil.test'"),
    "a slash more": (json.dumps({"issuer": "https://login.test/"}).encode(), "names issuer 'https://login.test/'"),
    "a list": (b"[]", "names issuer None"),
    "HTML": (b"<html>", "no discovery document"),
    "two issuers": (b'{"issuer":"https://evil.test","issuer":"https://login.test"}', "a name stands twice"),
    "no address": (b'{"issuer":"https://login.test"}', "has no usable jwks_uri"),
    "an address that is none": (b'{"issuer":"https://login.test","jwks_uri":["x"]}', "has no usable jwks_uri"),
    "a file": (b'{"issuer":"https://login.test","jwks_uri":"file:///etc/keys"}', "has no usable jwks_uri"),
    "out of https": (b'{"issuer":"https://login.test","jwks_uri":"http://login.test/k"}', "leaves https"),
    "a host that is none": (b'{"issuer":"https://login.test","jwks_uri":"https://a:b/"}', "InvalidURL"),
}


@pytest.mark.parametrize(("content", "reason"), METADATA.values(), ids=METADATA.keys())
@respx.mock
async def test_metadata_that_vouches_for_somebody_else_is_refused(
    client: httpx.AsyncClient, content: bytes, reason: str
) -> None:
    """Nothing is fetched from where it points."""
    respx.get(META).respond(content=content)

    with pytest.raises(KeysUnavailable, match=reason):
        await build_discovery_fetch(client, META, "https://login.test", timeout=5.0)()
    assert len(respx.calls) == 1


async def test_a_file_is_read_again_each_time(tmp_path: Path) -> None:
    """Replacing it rotates the keys; a missing or a huge one is a failure that names it."""
    path = tmp_path / "jwks.json"
    fetch = build_file_fetch(path)

    with pytest.raises(KeysUnavailable, match=r"jwks\.json: No such file"):
        await fetch()
    for content in (b"one", b"two", b" " * MAX_DOCUMENT):
        path.write_bytes(content)
        assert await fetch() == KeyDocument(content=content, max_age=None)
    path.write_bytes(b" " * (MAX_DOCUMENT + 1))
    with pytest.raises(KeysUnavailable, match="more than 524288 bytes"):
        await fetch()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ("max-age=60", 60.0),
        ("public, MAX-AGE=60", 60.0),
        ('max-age="60"', 60.0),
        ("public,max-age=0,must-revalidate", 0.0),
        ("s-maxage=60", None),
        ("x-max-age=60", None),
        ("max-age=-1", None),
        ("max-age=soon", None),
        ("max-age=" + "9" * 5000, None),
    ],
)
def test_max_age_is_read_or_there_is_none(value: str, expected: float | None) -> None:
    """Only `max-age` itself, and only a number of seconds that makes sense."""
    assert read_max_age(value) == expected


async def test_a_real_server_that_dribbles_is_given_up(client: httpx.AsyncClient) -> None:
    """The time bounds the whole exchange, however lively each byte of it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(0.02)

    with serve(app, lifespan="off") as url, pytest.raises(KeysUnavailable, match="no complete answer within"):
        await build_url_fetch(client, url, timeout=0.2)()


async def test_a_real_socket_gives_the_bytes_and_a_closed_one_an_error(client: httpx.AsyncClient) -> None:
    """As in production: a document over HTTP, and nobody listening."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=5")]})
        await send({"type": "http.response.body", "body": b'{"keys":[]}'})

    with serve(app, lifespan="off") as url:
        assert await build_url_fetch(client, url, timeout=5.0)() == KeyDocument(content=b'{"keys":[]}', max_age=5.0)
    with pytest.raises(KeysUnavailable, match="ConnectError"):
        await build_url_fetch(client, f"http://127.0.0.1:{free_port()}/", timeout=5.0)()
