"""The client leaves, at every stage and in every way: the backend's connection is closed, and nothing is left."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faults.backend import Visit, happened, listening, until, until_still
from tests.faults.client import Client, connect
from tests.faults.process import NOTHING, GatewayProcess, running

# Seconds until the backend's connection is closed. One is the promise; a busy machine has two more.
SOON = 3.0

WAYS = pytest.mark.parametrize("way", ["close", "reset", "half_close"])
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"type":"progress_update","text":"1"}\n\n'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One for all. No time-out of its own ends anything within a minute: what ends, ends because the client left."""
    with running(
        tmp_path_factory.mktemp("leaving"),
        server="head_timeout = 60\nwrite_timeout = 60",
        backend="keep_alive = 0.2\nconnect_timeout = 60",
        route="body_timeout = 60",
    ) as process:
        yield process


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def visited(client: Client, way: str) -> AsyncIterator[None]:
    """What is inside happens first; then the client leaves, and after a half-close waits for the gateway to do so."""
    yield
    getattr(client, way)()
    if way == "half_close":
        async with asyncio.timeout(SOON):
            await client.gone()


@WAYS
@pytest.mark.parametrize("missing", [1, 60, 10_000], ids=["in the body", "at the body's beginning", "in the head"])
async def test_before_the_request_is_whole(gateway: GatewayProcess, way: str, missing: int) -> None:
    """The backend never hears of it."""

    async def script(visit: Visit) -> None:
        visit.write(HEAD + chunk(EVENT) + chunk(b""))

    async with listening(gateway.backend_port, script) as backend, connect(gateway.port) as client:
        async with visited(client, way):
            request = gateway.request()
            client.write(request[: max(20, len(request) - missing)])
            await asyncio.sleep(0.05)

        assert await gateway.held() == NOTHING
        assert backend.connections == 0


@WAYS
async def test_before_the_backends_connection_stands(gateway: GatewayProcess, way: str) -> None:
    """The attempt is given up with its socket."""
    async with unreachable(gateway.backend_port), connect(gateway.port) as client:
        before = gateway.descriptors()
        async with visited(client, way):
            client.write(gateway.request())
            # The client's socket is one of them, the one that is to become the backend's the other.
            assert await until(lambda: gateway.descriptors() >= before + 1)
            await asyncio.sleep(0.05)

        assert await gateway.held() == NOTHING


@WAYS
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="before the head"),
        pytest.param(HEAD[:30], id="within the head"),
        pytest.param(HEAD, id="before the first event"),
        pytest.param(HEAD + chunk(EVENT), id="between events"),
        pytest.param(HEAD + chunk(EVENT) + chunk(EVENT[:9]), id="within an event"),
        pytest.param(HEAD + chunk(b"data: " + b"a" * 100_000), id="within an event that flows"),
    ],
)
async def test_while_the_backend_answers(gateway: GatewayProcess, way: str, sent: bytes) -> None:
    """It had gone so far, and waits: for the next token of a model, say."""
    reached = asyncio.Event()

    async def script(visit: Visit) -> None:
        visit.write(sent)
        reached.set()
        await visit.gone()

    async with listening(gateway.backend_port, script) as backend, connect(gateway.port) as client:
        async with visited(client, way):
            client.write(gateway.request())
            await happened(reached)
            await asyncio.sleep(0.05)

        assert await until(lambda: backend.open == 0, SOON)
        assert (backend.requests, await gateway.held()) == (1, NOTHING)


@WAYS
async def test_while_it_does_not_read(gateway: GatewayProcess, way: str) -> None:
    """Every buffer on the way is full, and the backend is held up: that hides nobody's leaving."""
    poured = 0

    async def script(visit: Visit) -> None:
        nonlocal poured
        visit.write(HEAD)
        while True:
            await visit.pour(chunk(EVENT * 1000))
            poured += 1

    async with (
        listening(gateway.backend_port, script) as backend,
        connect(gateway.port, receive_buffer=4096) as client,
    ):
        client.write(gateway.request())
        await client.read_head()
        assert await until_still(lambda: poured)
        getattr(client, way)()

        assert await until(lambda: backend.open == 0, SOON)
        client.close()
        assert (backend.requests, await gateway.held()) == (1, NOTHING)


@contextlib.asynccontextmanager
async def unreachable(port: int) -> AsyncIterator[None]:
    """Who connects there waits: the queue of connections to accept is full, and the kernel drops what comes."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        with contextlib.suppress(TimeoutError):
            while True:
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", port)), 0.2)
        yield
