"""One request and its answer through a real loop's transport: what neither a client nor `EdgeApp` can bring about."""

import asyncio
import contextlib
import errno
import socket
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

from uvicorn.server import ServerState

from gateway.outbox import Outbox
from gateway.wire.asgi import App, Receive, Scope, Send
from gateway.wire.heads import Heads
from gateway.wire.protocol import ClientProtocol
from tests.faults.backend import until
from tests.support.edge import LIMITS
from tests.support.raw import read_rest

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"


@contextlib.asynccontextmanager
async def connected(app: App, state: ServerState) -> AsyncIterator[tuple[ClientProtocol, socket.socket]]:
    """A connection to ``app``, and the client's end of it."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    protocol = ClientProtocol(app=app, limits=LIMITS, heads=Heads(), outbox=Outbox(), state=state, loop=loop)
    with near:
        await loop.connect_accepted_socket(lambda: protocol, far)
        yield protocol, near


async def test_a_body_in_tiny_chunks_takes_little_more_memory_than_its_bytes() -> None:
    """A client that sends chunks of two bytes must not make us keep fifty for each; what arrives is whole."""
    start = asyncio.Event()
    received: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start.wait()
        more = True
        while more:
            message = await receive()
            received.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    count = 100_000
    body = b"2\r\nab\r\n" * count + b"0\r\n\r\n"
    async with connected(app, ServerState()) as (_, near):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(near, HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        tracemalloc.start()
        try:
            sending = asyncio.create_task(loop.sock_sendall(near, body))
            await asyncio.sleep(0.3)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        start.set()
        await asyncio.wait_for(sending, 5)
        answer = await read_rest(near)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"".join(received) == b"ab" * count
    # Two reads of 256 KiB may be parsed before the socket is left alone: 150 KB of body.
    assert held < 1_000_000


async def test_headers_may_be_any_pairs() -> None:
    """ASGI says that they are iterable; a framework that keeps them as lists is served."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers: Any = [[b"content-length", b"2"], [b"x-kept", b"as list"]]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}", "more_body": False})

    async with connected(app, ServerState()) as (_, near):
        near.send(HEAD + b"\r\n")
        answer = await read_rest(near)

    assert b"x-kept: as list\r\n" in answer


class ResetTransport:
    """A transport whose client has reset the connection a moment ago, as asyncio's tells it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")


async def test_a_client_that_resets_while_its_answer_is_ended_leaves_no_task_behind() -> None:
    """A server that stops waits for all of them."""
    state, answered = ServerState(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answered.set()
        protocol.transport = ResetTransport(protocol.transport)  # type: ignore[assignment]  # as much of one as it needs
        raise RuntimeError("before an answer, and before the body is read")

    async with connected(app, state) as (protocol, near):
        near.send(HEAD + b"Content-Length: 9\r\n\r\n")
        await asyncio.wait_for(answered.wait(), 5)

        assert await until(lambda: not state.tasks)
