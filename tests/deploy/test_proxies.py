"""The files for a proxy in front: understood by its parser, fitting the settings, and run where it is installed."""

import asyncio
import contextlib
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import crossplane  # type: ignore[import-untyped]  # it has no marker
import pytest

from gateway.settings.model import BackendSettings, RouteSettings, ServerSettings
from tests.deploy.files import PROXIES, Json, document, seconds
from tests.deploy.fronts import NAME, caddy, nginx, nginx_files
from tests.support.issuer import Issuer
from tests.support.running import running_gateway
from tests.support.scripted import Exchange, ScriptedBackend, scripted_backend
from tests.support.servers import serve
from tests.together.world import ORIGIN, gateway_toml, issuer_app

EVENT = b'data: {"type":"progress_update","text":"%d"}\n\n'
BODY = b'{"type":"threads.create","params":{"input":{"content":[]}}}'

FRONTS = [
    pytest.param(
        front,
        marks=pytest.mark.skipif(
            shutil.which(name) is None and "CI" not in os.environ, reason=f"{name} is not installed here"
        ),
    )
    for name, front in (("nginx", nginx), ("caddy", caddy))
]
Front = Callable[[Path, int], AbstractContextManager[int]]


def default(table: Any, name: str) -> float:
    return float(table.model_fields[name].default)


# Seconds within which a gateway has answered, or begun to say why it cannot.
ANSWER = max(default(BackendSettings, "first_byte_timeout"), default(BackendSettings, "idle_timeout"))
KEEP_ALIVE = default(ServerSettings, "keep_alive")


def nginx_directives() -> dict[str, list[str]]:
    """The snippet's directives with their arguments; none of these is there twice, but for headers."""
    parsed = crossplane.parse(str(PROXIES / "nginx.conf"), check_ctx=False)

    def walk(block: list[Json]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for directive in block:
            found[directive["directive"]] = directive["args"]
            found |= walk(directive.get("block", []))
        return found

    return walk(parsed["config"][0]["parsed"])


def envoy_bootstrap() -> tuple[Json, Json]:
    """The connection manager and the cluster."""
    resources = document(PROXIES / "envoy.yaml")["static_resources"]
    (filters,) = [chain["filters"] for chain in resources["listeners"][0]["filter_chains"]]
    return filters[0]["typed_config"], resources["clusters"][0]


def caddy_values() -> dict[str, str]:
    """Options of one word, by name."""
    lines = (line.split() for line in (PROXIES / "Caddyfile").read_text().splitlines())
    return {words[0]: words[1] for words in lines if len(words) == 2 and words[0].islower()}


def test_nginx_knows_every_directive(tmp_path: Path) -> None:
    """By nginx's own list of them: names, places and numbers of arguments."""
    path = nginx_files(tmp_path, port=8443, gateway=8080)
    parsed = crossplane.parse(str(path), strict=True, check_ctx=True, check_args=True)

    assert parsed["errors"] == []


def test_nothing_is_held_back() -> None:
    """Buffers are off where they are on by default; Caddy flushes event streams by itself, Envoy has no buffer."""
    directives = nginx_directives()

    assert [directives[name] for name in ("proxy_buffering", "proxy_request_buffering", "gzip")] == [["off"]] * 3
    assert directives["proxy_http_version"] == ["1.1"]
    assert "flush_interval" not in caddy_values()
    assert caddy_values()["compression"] == "off"
    assert [entry["name"] for entry in envoy_bootstrap()[0]["http_filters"]] == ["envoy.filters.http.router"]


def test_the_gateway_gives_up_before_the_proxy_does() -> None:
    """Its answer is one that ChatKit can read; the proxy's is a page. A heartbeat comes long before either."""
    manager, _ = envoy_bootstrap()
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    silences = [
        nginx_directives()["proxy_read_timeout"][0],
        caddy_values()["read_timeout"],
        caddy_values()["response_header_timeout"],
        manager["stream_idle_timeout"],
    ]

    assert [text for text in silences if seconds(text) <= ANSWER] == []
    assert default(RouteSettings, "heartbeat") < ANSWER
    assert route["route"]["timeout"] == "0s"


def test_the_proxy_lets_go_of_idle_connections_first() -> None:
    """Or it would send a request into one that the gateway is just closing."""
    _, cluster = envoy_bootstrap()
    (options,) = cluster["typed_extension_protocol_options"].values()
    kept = [
        nginx_directives()["keepalive_timeout"][0],
        caddy_values()["keepalive"],
        options["common_http_protocol_options"]["idle_timeout"],
    ]

    assert [text for text in kept if seconds(text) >= KEEP_ALIVE] == []


def test_no_message_is_sent_twice() -> None:
    """Envoy tries another gateway only where nothing was sent; nginx's default is the same for POST."""
    (route,) = envoy_bootstrap()[0]["route_config"]["virtual_hosts"][0]["routes"]

    assert route["route"]["retry_policy"]["retry_on"] == "connect-failure"
    assert "proxy_next_upstream" not in nginx_directives()


def test_a_long_cookie_fits() -> None:
    """What the gateway accepts, the proxy accepts."""
    count, size = nginx_directives()["large_client_header_buffers"]

    assert int(count) * int(size.removesuffix("k")) * 1024 >= default(ServerSettings, "max_head")
    assert envoy_bootstrap()[0]["max_request_headers_kb"] * 1024 >= default(ServerSettings, "max_head")


def test_envoy_sees_a_gateway_that_is_leaving() -> None:
    """While it still accepts: unready is known before the listener is gone."""
    _, cluster = envoy_bootstrap()
    (check,) = cluster["health_checks"]
    longest = check["unhealthy_threshold"] * (seconds(check["interval"]) + seconds(check["timeout"]))

    assert check["http_health_check"]["path"] == "/readyz"
    assert longest < default(ServerSettings, "drain_delay")


@contextlib.asynccontextmanager
async def world(folder: Path, front: Front) -> AsyncIterator[tuple[ScriptedBackend, asyncio.Event, "Wire"]]:
    """A backend that sends its second event when the test says so; gateway and proxy before it."""
    issuer, second = Issuer(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.send_chunk(EVENT % 1)
        await second.wait()
        await exchange.send_chunk(EVENT % 2)
        await exchange.send_chunk(b"")

    async with scripted_backend(script) as backend:
        with serve(issuer_app(issuer)) as login:
            toml = gateway_toml(issuer, f"{login}/jwks", f"http://127.0.0.1:{backend.port}/agent")
            with running_gateway(folder, toml) as url, front(folder, urlsplit(url).port or 0) as port:
                trusted = ssl.create_default_context(cafile=str(folder / "ca.pem"))
                streams = await asyncio.open_connection("127.0.0.1", port, ssl=trusted, server_hostname=NAME)
                yield backend, second, Wire(*streams, token=issuer.token(padding="x" * 7000))


class Wire:
    """One connection of a browser's, by its bytes; the cookie is as long as they get."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, token: str) -> None:
        self.reader = reader
        self.writer = writer
        middle = len(token) // 2
        cookie = f"auth_token.0={token[:middle]}; auth_token.1={token[middle:]}"
        head = (
            f"POST /chatkit HTTP/1.1\r\nHost: {NAME}\r\nCookie: {cookie}\r\nOrigin: {ORIGIN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        self.writer.write(head.encode() + BODY)

    async def read_until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readuntil(mark)


@pytest.mark.parametrize("front", FRONTS)
async def test_an_event_passes_before_the_next_is_sent(front: Front, tmp_path: Path) -> None:
    """Through the proxy, too; and with a cookie of 10 KB in two parts."""
    async with world(tmp_path, front) as (_, second, wire):
        first = await wire.read_until(EVENT % 1)
        second.set()
        rest = await wire.read_until(EVENT % 2)
        wire.writer.close()

    assert re.match(rb"HTTP/1\.1 200 ", first)
    assert b"text/event-stream" in first
    assert EVENT % 1 not in rest


@pytest.mark.parametrize("front", FRONTS)
async def test_a_client_that_leaves_is_gone_at_the_backend(front: Front, tmp_path: Path) -> None:
    """The agent does not work for nobody because a proxy holds on."""
    async with world(tmp_path, front) as (backend, second, wire):
        await wire.read_until(EVENT % 1)
        wire.writer.transport.abort()
        async with asyncio.timeout(10):
            await backend.exchanges[0].gone()
        second.set()
