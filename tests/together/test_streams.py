"""What travels through the running gateway while it travels: nothing held back, nothing left behind."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from chatkit.types import ErrorEvent

from tests.support.issuer import Issuer
from tests.support.running import running_gateway
from tests.support.scripted import Exchange, Script, ScriptedBackend, json_answer, scripted_backend
from tests.support.servers import free_port, serve
from tests.support.unlimited import NO_LIMITS
from tests.together.world import ORIGIN, decode, gateway_toml, issuer_app

CREATE = json.dumps({"type": "threads.create", "params": {"input": {"content": []}}}).encode()
PROGRESS = b'data: {"type":"progress_update","text":"1"}\n\n'
LIST = json.dumps({"type": "threads.list", "params": {}}).encode()


class Page:
    """A signed-in page with a streaming client; who ``issuer`` is, it needs for `of` alone."""

    def __init__(self, url: str, token: str, issuer: Issuer) -> None:
        self.url = f"{url}/chatkit"
        self.issuer = issuer
        self.headers = {"cookie": f"auth_token={token}", "origin": ORIGIN, "content-type": "application/json"}
        self.client = httpx.AsyncClient(timeout=10)

    def of(self, subject: str) -> dict[str, str]:
        """The headers of somebody else's page."""
        return {**self.headers, "cookie": f"auth_token={self.issuer.token(subject)}"}

    async def post(self, body: bytes) -> httpx.Response:
        return await self.client.post(self.url, content=body, headers=self.headers)

    def request(self, body: bytes) -> httpx.Request:
        return self.client.build_request("POST", self.url, content=body, headers=self.headers)

    def raw(self, body: bytes) -> bytes:
        """The same request, as bytes on the wire."""
        headers = {**self.headers, "host": "gateway", "content-length": str(len(body))}
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        return "".join(["POST /chatkit HTTP/1.1\r\n", *lines, "\r\n"]).encode() + body

    def stream(self, body: bytes) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        return self.client.stream("POST", self.url, content=body, headers=self.headers)


@contextlib.asynccontextmanager
async def edge(
    folder: Path,
    script: Script,
    *,
    server: str = "",
    backend: str = "",
    route: str = "",
    limits: str = NO_LIMITS,
    exp: float | None = None,
) -> AsyncIterator[tuple[ScriptedBackend, Page]]:
    """The running gateway before a scripted backend; the page's token ends at ``exp``."""
    issuer = Issuer()
    async with scripted_backend(script) as scripted:
        with serve(issuer_app(issuer)) as login:
            url = f"http://127.0.0.1:{scripted.port}/agent"
            toml = gateway_toml(
                issuer, f"{login}/jwks", url, server=server, backend=backend, route=route, limits=limits
            )
            with running_gateway(folder, toml) as url:
                page = Page(url, issuer.token(exp=exp or time.time() + 3600), issuer)
                async with page.client:
                    yield scripted, page


async def until(condition: Callable[[], bool], seconds: float = 1.0) -> bool:
    """Did it become true in time?"""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  # what is waited for has no event: sockets closing
                await asyncio.sleep(0.005)
    return condition()


async def test_each_event_arrives_before_the_next_is_sent(tmp_path: Path) -> None:
    """The backend sends an event only when the client has seen the one before: nothing is held back anywhere."""
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        for number in range(20):
            event = b'data: {"type":"progress_update","text":"%d"}\n\n' % number
            await exchange.send_chunk(event)
            assert await asyncio.wait_for(seen.get(), 5) == event
        await exchange.send_chunk(b"")

    async with edge(tmp_path, script) as (_, page), page.stream(CREATE) as answer:
        async for piece in answer.aiter_raw():
            seen.put_nowait(piece)

    assert answer.status_code == 200
    assert answer.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize("stage", ["before the head", "before the first event", "in mid-stream", "in mid-event"])
async def test_a_client_that_leaves_is_gone_at_the_backend_within_a_second(tmp_path: Path, stage: str) -> None:
    """At whatever point it leaves, the backend's connection is closed."""
    reached, left = asyncio.Event(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if stage != "before the head":
            await exchange.start_stream()
        if stage in ("in mid-stream", "in mid-event"):
            await exchange.send_chunk(b"data: 1\n\n")
        if stage == "in mid-event":
            await exchange.send_chunk(b"data: 2")
        reached.set()
        await exchange.gone()
        left.set()

    async with edge(tmp_path, script) as (_, page):
        request = asyncio.create_task(page.post(CREATE))
        await asyncio.wait_for(reached.wait(), 5)
        await asyncio.sleep(0.05)
        request.cancel()

        await asyncio.wait_for(left.wait(), 1)


async def refuse(exchange: Exchange) -> None:
    exchange.reset()


async def die_in_mid_event(exchange: Exchange) -> None:
    await exchange.start_stream()
    await exchange.send_chunk(b'data: {"type":"progress_update","text":"1"}\n\ndata: {"ty')
    exchange.reset()


@pytest.mark.parametrize(
    ("script", "events"),
    [
        (refuse, ["error"]),
        (die_in_mid_event, ["progress_update", "error"]),
        (json_answer(b"{}"), ["error"]),
        (json_answer(b"{}", status=b"500 Oops"), ["error"]),
        (json_answer(b"{}", status=b"302 Found", headers=b"location: http://evil.test/\r\n"), ["error"]),
    ],
)
async def test_a_streaming_operation_fails_as_an_event_and_is_sent_once(
    tmp_path: Path, script: Script, events: list[str]
) -> None:
    """After authentication never a 5xx or a redirect, which ChatKit would answer by sending it five times again."""
    async with edge(tmp_path, script) as (backend, page):
        answer = await page.post(CREATE)

    decoded = decode(answer.content)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert [event.type for event in decoded] == events
    assert isinstance(decoded[-1], ErrorEvent)
    assert decoded[-1].allow_retry
    assert answer.headers["x-request-id"] in (decoded[-1].message or "")
    assert len(backend.exchanges) == 1


async def test_a_backend_that_is_not_there_is_an_event_or_a_problem(tmp_path: Path) -> None:
    """Streaming operations get the event, JSON operations problem+json; both can be read by the page."""
    issuer = Issuer()
    with serve(issuer_app(issuer)) as login:
        toml = gateway_toml(issuer, f"{login}/jwks", f"http://127.0.0.1:{free_port()}/agent")
        with running_gateway(tmp_path, toml) as url:
            page = Page(url, issuer.token(), issuer)
            async with page.client:
                streaming, json_operation = await page.post(CREATE), await page.post(LIST)

    assert (streaming.status_code, json_operation.status_code) == (200, 502)
    assert [event.type for event in decode(streaming.content)] == ["error"]
    assert json_operation.headers["content-type"] == "application/problem+json"
    assert json_operation.json()["code"] == "backend_unavailable"
    assert json_operation.json()["message"]
    for answer in (streaming, json_operation):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["vary"] == "origin"


async def test_the_backends_own_refusal_comes_through(tmp_path: Path) -> None:
    """Its 4xx in JSON is final for the client, on streaming operations too."""
    async with edge(tmp_path, json_answer(b'{"message":"no such thread"}', status=b"404 Not Found")) as (_, page):
        answer = await page.post(CREATE)

    assert (answer.status_code, answer.json()) == (404, {"message": "no such thread"})


async def test_silence_is_filled_with_heartbeats(tmp_path: Path) -> None:
    """Before the first byte and between events a comment line, alone, keeps proxies from cutting the stream."""

    async def script(exchange: Exchange) -> None:
        await asyncio.sleep(0.2)
        await exchange.start_stream()
        await exchange.send_chunk(b'data: {"type":"progress_update","text":"1"}\n\n')
        await asyncio.sleep(0.2)
        await exchange.send_chunk(b'data: {"type":"progress_update","text":"2"}\n\n')
        await exchange.send_chunk(b"")

    async with edge(tmp_path, script, route="heartbeat = 0.05") as (_, page):
        answer = await page.post(CREATE)

    before, _, after = answer.content.partition(b'data: {"type":"progress_update","text":"1"}\n\n')
    assert before
    assert before.replace(b":\n", b"") == b""
    assert after.startswith(b":\n")
    assert b"\n\n:" not in answer.content.replace(b"\n\n:\n", b"")


class Speaking:
    """A backend that says something at this interval, in seconds.

    Attributes:
        left: Set when it is let go.
    """

    def __init__(self, interval: float, *, events: int = 10_000, says: bytes = PROGRESS) -> None:
        self._interval = interval
        self._says = says
        self._events = events
        self.left = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        gone = asyncio.create_task(exchange.gone())
        with contextlib.suppress(ConnectionError):
            await exchange.start_stream()
            for _ in range(self._events):
                await exchange.send_chunk(self._says)
                if (await asyncio.wait([gone], timeout=self._interval))[0]:
                    break
            else:
                await exchange.send_chunk(b"")
        await gone
        self.left.set()


@pytest.mark.parametrize("interval", [0.005, 30], ids=["lively", "silent"])
async def test_a_stream_ends_with_the_token_that_opened_it(tmp_path: Path, interval: float) -> None:
    """However lively: whole events, then one that says to sign in again; the backend is let go."""
    script = Speaking(interval)
    # Within the 30 s of leeway for another second.
    async with edge(tmp_path, script, route="expiry_grace = 0", exp=time.time() - 29) as (_, page):
        answer = await page.post(CREATE)
        await asyncio.wait_for(script.left.wait(), 1)

    *before, last = decode(answer.content)
    assert answer.status_code == 200
    assert {event.type for event in before} == {"progress_update"}
    assert isinstance(last, ErrorEvent)
    assert (last.message or "").startswith("Your sign-in ended while the answer was being given.")
    assert last.allow_retry


async def test_a_stream_may_outlive_its_token_up_to_a_bound(tmp_path: Path) -> None:
    """An answer takes minutes; within expiry_grace it is given to its end."""
    async with edge(tmp_path, Speaking(0.1, events=20), route="expiry_grace = 300", exp=time.time() - 29) as (_, page):
        answer = await page.post(CREATE)

    assert answer.content == PROGRESS * 20


@pytest.mark.parametrize("interval", [0.005, 30], ids=["lively", "silent"])
async def test_a_whole_stream_has_a_time_of_its_own(tmp_path: Path, interval: float) -> None:
    """One that never ends is cut with an event, and its backend let go."""
    script = Speaking(interval)
    async with edge(tmp_path, script, backend="total_timeout = 0.5") as (_, page):
        answer = await page.post(CREATE)
        await asyncio.wait_for(script.left.wait(), 1)

    *before, last = decode(answer.content)
    assert {event.type for event in before} == {"progress_update"}
    assert isinstance(last, ErrorEvent)
    assert (last.message or "").startswith("The assistant did not answer in time.")


async def test_a_slow_reader_does_not_outlast_the_whole_time(tmp_path: Path) -> None:
    """It takes a little now and then, so that it is never cut for taking nothing; its time is up all the same."""
    script = Speaking(0.0, says=PROGRESS * 5000)
    server, backend = "write_timeout = 1", "total_timeout = 1"
    async with edge(tmp_path, script, server=server, backend=backend) as (_, page):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.closing(sock):
            sock.connect(("127.0.0.1", httpx.URL(page.url).port))
            sock.sendall(page.raw(CREATE))
            taking = asyncio.create_task(asyncio.to_thread(take_slowly, sock))
            await asyncio.wait_for(script.left.wait(), 6)
        await taking


def take_slowly(sock: socket.socket) -> None:
    """2 KB three times a second, until the other side has had enough."""
    with contextlib.suppress(OSError):
        while sock.recv(2048):
            time.sleep(0.3)


async def test_what_a_backend_may_not_say_does_not_come_through(tmp_path: Path) -> None:
    """Cookies, the gateway's own names and cross-origin permission are not a backend's to set."""
    headers = (
        b"set-cookie: auth_token=evil\r\nx-gateway-assertion: evil\r\naccess-control-allow-origin: *\r\n"
        b"x-request-id: evil\r\nconnection: x-private\r\nx-private: 1\r\nx-public: 1\r\n"
    )
    async with edge(tmp_path, json_answer(b"{}", headers=headers)) as (_, page):
        answer = await page.post(LIST)

    assert "set-cookie" not in answer.headers
    assert "x-gateway-assertion" not in answer.headers
    assert "x-private" not in answer.headers
    assert answer.headers["x-request-id"] != "evil"
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["x-public"] == "1"


async def test_what_reaches_a_backend_is_the_allow_list_and_ours(tmp_path: Path) -> None:
    """The cookie never does; forged identity headers in any spelling never do."""
    async with edge(tmp_path, json_answer()) as (backend, page):
        page.headers |= {
            "x-user-id": "root",
            "x_user_id": "root",
            "x.user.id": "root",
            "x-gateway-assertion": "forged",
            "x-forwarded-for": "6.6.6.6",
            "x-forwarded-user": "root",
            "forwarded": "for=6.6.6.6",
            "x-original-url": "/admin",
            "chatkit-frame-instance-id": "frame-1",
            "accept-language": "de-DE",
        }
        await page.post(LIST)

    lines = backend.exchanges[0].head.decode().split("\r\n")
    names = sorted(line.partition(":")[0] for line in lines[1:] if line)
    assert names == [
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "chatkit-frame-instance-id",
        "content-length",
        "content-type",
        "host",
        "traceparent",
        "x-forwarded-for",
        "x-gateway-assertion",
        "x-request-id",
    ]
    assert lines[0] == "POST /agent HTTP/1.1"
    assert "forged" not in str(lines)
    assert "x-forwarded-for: 127.0.0.1" in lines


async def test_connections_to_the_backend_are_kept(tmp_path: Path) -> None:
    """Requests in a row share one."""
    async with edge(tmp_path, json_answer()) as (backend, page):
        for _ in range(5):
            await page.post(LIST)

        assert (len(backend.exchanges), backend.connections) == (5, 1)


async def test_many_streams_at_once_leave_nothing_behind(tmp_path: Path) -> None:
    """A hundred clients leave in mid-stream: every connection to the backend goes."""

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.send_chunk(b'data: {"type":"progress_update","text":"1"}\n\n')
        await exchange.gone()

    async def visit(page: Page) -> None:
        async with page.stream(CREATE) as answer:
            async for _ in answer.aiter_raw():
                return

    async with edge(tmp_path, script) as (backend, page):
        page.client = httpx.AsyncClient(timeout=10, limits=httpx.Limits(max_connections=None))
        await asyncio.gather(*(visit(page) for _ in range(100)))
        await page.client.aclose()

        assert len(backend.exchanges) == 100
        assert await until(lambda: backend.open == 0, 2)
