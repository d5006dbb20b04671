"""Whole requests and whole answers of one turn of the loop go out together, and nothing of them is lost on the way."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from uvicorn.server import ServerState

from gateway.backends.connection import Connection
from gateway.errors import BackendInterrupted, BackendInvalid, Draining, InternalError
from gateway.outbox import Outbox
from gateway.wire.asgi import Receive, Scope, Send
from gateway.wire.heads import Heads
from gateway.wire.protocol import ClientProtocol
from tests.support.edge import LIMITS
from tests.support.raw import read_rest

HEAD = b"POST /chatkit HTTP/1.1\r\nhost: a\r\n"


async def test_the_first_goes_out_at_once_and_the_others_when_the_turn_ends() -> None:
    loop, outbox = asyncio.get_running_loop(), Outbox()
    written: list[str] = []

    for turn in ("first turn", "second turn"):
        for number in range(3):
            outbox.put(loop, lambda said=f"{turn} {number}": written.append(said))  # type: ignore[misc]  # a lambda has no types
        assert written == [f"{turn} 0"]

        await asyncio.sleep(0)
        assert written == [f"{turn} 0", f"{turn} 1", f"{turn} 2"]
        written.clear()


async def test_what_fails_at_the_end_of_a_turn_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Other people's requests and answers wait behind it."""
    loop, outbox = asyncio.get_running_loop(), Outbox()
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("broken")

    for make, write in ((fail, fail), (fail, fail), (lambda: done.append("make"), lambda: done.append("write"))):
        with contextlib.suppress(RuntimeError):  # the first is called at once
            outbox.put(loop, write, make)
    await asyncio.sleep(0)

    assert done == ["make", "write"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_a_loop_that_ended_leaves_nothing_waiting() -> None:
    """Whoever writes is told; in the next loop things go out again."""
    outbox = Outbox()
    ended = asyncio.new_event_loop()
    ended.close()
    with pytest.raises(RuntimeError):
        outbox.put(ended, lambda: None)
    written: list[int] = []

    async def write() -> None:
        for number in range(2):
            outbox.put(asyncio.get_running_loop(), lambda said=number: written.append(said))  # type: ignore[misc]  # a lambda has no types
        await asyncio.sleep(0)

    asyncio.run(write())

    assert written == [0, 1]


def look(sock: socket.socket) -> bytes | None:
    """What is there now; None if nothing is."""
    with contextlib.suppress(BlockingIOError):
        return sock.recv(65536)
    return None


# The client's side


@pytest.mark.parametrize(
    ("lines", "waits"),
    [
        pytest.param([b"GET / HTTP/1.1", b"Host: a"], True, id="kept alive"),
        pytest.param([b"GET / HTTP/1.1", b"Host: a", b"Connection: close"], False, id="closed behind it"),
        pytest.param([b"GET / HTTP/1.0", b"Host: a"], False, id="closed behind it, as HTTP/1.0"),
        pytest.param([b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 9"], False, id="before the request's end"),
    ],
)
async def test_an_answer_waits_only_where_the_connection_does_not(lines: list[bytes], waits: bool) -> None:
    """It comes out whole, and before the connection is closed or half closed."""
    loop, outbox = asyncio.get_running_loop(), Outbox()
    near, far = socket.socketpair()
    near.setblocking(False)
    at_once: list[bytes | None] = []
    answered = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        outbox.put(loop, lambda: None)  # somebody else's
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}", "more_body": False})
        at_once.append(look(near))
        answered.set()

    protocol = ClientProtocol(app=app, limits=LIMITS, heads=Heads(), outbox=outbox, state=ServerState(), loop=loop)
    with near:
        await loop.connect_accepted_socket(lambda: protocol, far)
        near.send(b"\r\n".join([*lines, b"", b""]))
        await asyncio.wait_for(answered.wait(), 5)
        await asyncio.sleep(0)
        protocol.shutdown()
        answer = (at_once[0] or b"") + await read_rest(near)

    assert (at_once[0] is None) is waits
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize("behind", [b"", b"\x00garbage\r\n\r\n"], ids=["leaves", "sends garbage"])
async def test_an_answer_that_waits_is_not_overtaken(behind: bytes) -> None:
    """By the end of a client that has shut its side down, nor by the refusal of what it sent next."""
    loop, outbox = asyncio.get_running_loop(), Outbox()
    near, far = socket.socketpair()
    near.setblocking(False)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        outbox.put(loop, lambda: None)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}", "more_body": False})
        # As the loop would, in the same turn.
        if behind:
            protocol.data_received(behind)
        else:
            protocol.eof_received()
            protocol.transport.close()

    protocol = ClientProtocol(app=app, limits=LIMITS, heads=Heads(), outbox=outbox, state=ServerState(), loop=loop)
    with near:
        await loop.connect_accepted_socket(lambda: protocol, far)
        near.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await read_rest(near)

    first, _, second = answer.partition(b"{}")
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert second.startswith(b"HTTP/1.1 400 ") if behind else second == b""


# The backend's side


@contextlib.asynccontextmanager
async def connected(outbox: Outbox) -> AsyncIterator[tuple[Connection, socket.socket]]:
    """A connection, and the other end of it."""
    near, far = socket.socketpair()
    far.setblocking(False)
    connection = Connection(on_free=lambda _: None, on_lost=lambda _: None, outbox=outbox)
    await asyncio.get_running_loop().create_connection(lambda: connection, sock=near)
    with far:
        yield connection, far
        connection.abort()
        await asyncio.sleep(0.01)


async def test_requests_of_one_turn_go_out_together() -> None:
    outbox = Outbox()
    async with connected(outbox) as (one, at_one), connected(outbox) as (other, at_other):
        one.send(HEAD, b"{}")
        other.send(HEAD, b"{}")
        at_once = look(at_one), look(at_other)
        await asyncio.sleep(0.01)

        assert at_once == (HEAD + b"\r\n{}", None)
        assert look(at_other) == HEAD + b"\r\n{}"


async def test_what_signs_requests_is_called_when_they_go_out() -> None:
    """All of it before the first is written."""
    outbox, seen = Outbox(), list[bytes | None]()

    def sign(number: int, far: socket.socket) -> bytes:
        seen.append(look(far))
        return b"signature %d" % number

    outbox.put(asyncio.get_running_loop(), lambda: None)
    async with connected(outbox) as (one, at_one), connected(outbox) as (other, at_other):
        outbox.put(asyncio.get_running_loop(), lambda: None)
        one.send(HEAD, b"{}", late=(b"signed", lambda: sign(1, at_one)))
        other.send(HEAD, b"{}", late=(b"signed", lambda: sign(2, at_one)))
        assert seen == []
        await asyncio.sleep(0.01)

        assert seen == [None, None]
        assert look(at_one) == HEAD + b"signed: signature 1\r\n\r\n{}"
        assert look(at_other) == HEAD + b"signed: signature 2\r\n\r\n{}"


async def test_a_request_that_cannot_be_signed_fails_alone() -> None:
    """Those of others that wait for the same end of a turn go out."""
    outbox = Outbox()
    async with connected(outbox) as (one, at_one), connected(outbox) as (other, at_other):
        outbox.put(asyncio.get_running_loop(), lambda: None)
        answer = one.send(HEAD, b"{}", late=(b"signed", lambda: b"%d" % (1 // 0)))
        other.send(HEAD, b"{}")
        await asyncio.sleep(0.01)

        assert (answer.status, type(answer.failure)) == (0, InternalError)
        assert await read_rest(at_one) == b""
        assert look(at_other) == HEAD + b"\r\n{}"


async def test_a_request_with_a_large_body_waits_for_nobody() -> None:
    outbox = Outbox()
    async with connected(outbox) as (connection, far):
        outbox.put(asyncio.get_running_loop(), lambda: None)
        connection.send(HEAD, b"x" * 65536, late=(b"signed", lambda: b"signature"))

        assert (look(far) or b"").startswith(HEAD + b"signed: signature\r\n\r\nx")


async def test_a_request_whose_exchange_failed_is_neither_signed_nor_sent() -> None:
    """As when the gateway drains, in the very turn it was to go out."""
    outbox = Outbox()
    signed: list[bytes] = []

    def sign() -> bytes:
        signed.append(b"signature")
        return b"signature"

    async with connected(outbox) as (connection, far):
        outbox.put(asyncio.get_running_loop(), lambda: None)
        answer = connection.send(HEAD, b"{}", late=(b"signed", sign))
        answer.fail(Draining("backend 'a' is being closed"))
        await asyncio.sleep(0.01)

        assert (signed, look(far)) == ([], None)


async def test_a_request_broken_off_before_the_end_of_its_turn_is_never_sent() -> None:
    outbox = Outbox()
    outbox.put(asyncio.get_running_loop(), lambda: None)
    async with connected(outbox) as (connection, far):
        outbox.put(asyncio.get_running_loop(), lambda: None)
        connection.send(HEAD, b"{}")
        connection.abort()

        assert await read_rest(far) == b""


async def test_an_answer_to_a_request_that_was_not_sent_yet_is_none() -> None:
    """Bytes that a backend left on the connection would be taken for this user's answer."""
    outbox = Outbox()
    async with connected(outbox) as (connection, far):
        outbox.put(asyncio.get_running_loop(), lambda: None)
        answer = connection.send(HEAD, b"{}")
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

        assert (answer.status, type(answer.failure)) == (0, BackendInvalid)
        assert await read_rest(far) == b""


async def test_a_backend_that_closes_before_the_request_is_sent() -> None:
    outbox = Outbox()
    async with connected(outbox) as (connection, _):
        outbox.put(asyncio.get_running_loop(), lambda: None)
        answer = connection.send(HEAD, b"{}")
        connection.connection_lost(None)
        await asyncio.sleep(0)

        assert (answer.status, type(answer.failure)) == (0, BackendInterrupted)
