"""A backend that is not one, or not a good one: one error event, and its connection serves nobody else."""

import asyncio
import contextlib
import gzip
import socket
from collections.abc import Iterator

import pytest

from gateway.errors import BackendInterrupted, BackendInvalid, BackendTimeout, BackendUnavailable, GatewayError
from tests.faults.backend import Visit, happened, listening
from tests.faults.client import Answer, connect
from tests.faults.crowd import each
from tests.faults.process import NOTHING, GatewayProcess, running
from tests.faults.recording import RECORDINGS, STREAM, error_event

EVENT = b'data: {"type":"progress_update","text":"1"}\n\n'
OK = b"HTTP/1.1 200 OK\r\n"
HEAD = OK + b"Content-Type: text/event-stream\r\n"
SIZED = HEAD + b"Content-Length: %d\r\n\r\n" % len(EVENT)
CHUNK = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(EVENT), EVENT)
ZIPPED = gzip.compress(EVENT)

# Bytes of a request. Linux takes three to five million for a backend that does not read.
LARGE = pytest.mark.parametrize("size", [800_000, 8_000_000], ids=["the kernel takes it", "the kernel is full"])


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One for all: what one backend said must not matter to the next."""
    times = "keep_alive = 0.2\nfirst_byte_timeout = 2"
    with running(tmp_path_factory.mktemp("garbage"), backend=times, route="max_body = 10_000_000") as process:
        yield process


def told(answer: Answer, error: type[GatewayError], events: bytes = b"") -> tuple[int, str, bytes, bool]:
    """Status, content type, body and a clean end of a stream that says what went wrong."""
    return 200, "text/event-stream", events + error_event(error, answer.request_id), True


def seen(answer: Answer) -> tuple[int, str, bytes, bool]:
    return answer.status, answer.headers["content-type"], answer.body, answer.whole


@pytest.mark.parametrize(
    ("garbage", "events"),
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", b"", id="another protocol"),
        pytest.param(b"<html><body>It works!</body></html>", b"", id="a page without a head"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", b"", id="a TLS alert"),
        pytest.param(b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64\0\4\0\0\xff\xff", b"", id="HTTP/2 frames"),
        pytest.param(CHUNK + b"zz\r\n", EVENT, id="a chunk size that is no number"),
        pytest.param(CHUNK + b"-1\r\n", EVENT, id="a chunk size below nothing"),
        pytest.param(CHUNK + b"f" * 17 + b"\r\n", EVENT, id="a chunk size beyond 64 bits"),
        pytest.param(CHUNK + b"5\r\ndata:??", EVENT, id="a chunk longer than it says"),
        pytest.param(HEAD + b"X: " + b"a" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n", b"", id="a header of 100 KB"),
        pytest.param(HEAD + b"X: y\r\n" * 17_000 + b"Content-Length: 0\r\n\r\n", b"", id="headers of 100 KB"),
        pytest.param(HEAD + b"X: " + b"a" * 100_000, b"", id="100 KB of an endless header"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, b"", id="100 KB of interim answers"),
        pytest.param(HEAD + b"Content-Length: 9\r\nContent-Length: 8\r\n\r\ndata: 1\n\n", b"", id="two lengths"),
        pytest.param(HEAD + b"Content-Length: 9\r\nContent-Length: 9\r\n\r\ndata: 1\n\n", b"", id="one length twice"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n" + SIZED[len(HEAD) :], b"", id="a length and chunks"),
        pytest.param(SIZED.replace(b"HTTP/1.1", b"HTTP/2.0"), b"", id="another version"),
        pytest.param(SIZED.replace(b" 200 ", b" 999 "), b"", id="status 999"),
        pytest.param(SIZED.replace(b" 200 ", b" 20 "), b"", id="status 20"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
            b"",
            id="an upgrade",
        ),
    ],
)
async def test_garbage_is_one_error_event(gateway: GatewayProcess, garbage: bytes, events: bytes) -> None:
    """Behind the whole events, if there were any; then the connection is closed, and the next answer is whole."""

    async def script(visit: Visit) -> None:
        visit.write(garbage if visit.case == "garbage" else RECORDINGS[0].wire)

    async with listening(gateway.backend_port, script) as backend, connect(gateway.port) as client:
        answer = await client.ask(gateway.request("garbage"))
        after = await client.ask(gateway.request("good"))

        assert seen(answer) == told(answer, BackendInvalid, events)
        assert (after.body, backend.connections) == (STREAM, 2)
    assert await gateway.held() == NOTHING


async def test_a_compressed_stream_is_no_stream(gateway: GatewayProcess) -> None:
    """Nobody asked for it, its events cannot be told apart, and no heartbeat or error could be read within it."""
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZIPPED)

    async def script(visit: Visit) -> None:
        visit.write(head + ZIPPED)

    async with listening(gateway.backend_port, script), connect(gateway.port) as client:
        answer = await client.ask(gateway.request())

    assert seen(answer) == told(answer, BackendInvalid)
    assert "content-encoding" not in answer.headers
    assert await gateway.held() == NOTHING


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"\0garbage", id="garbage"),
        pytest.param(b"\r\n" + SIZED + EVENT.replace(b"1", b"2"), id="another answer"),
    ],
)
@pytest.mark.parametrize("is_late", [False, True], ids=["at once", "later"])
async def test_bytes_behind_an_answer_are_nobodys(gateway: GatewayProcess, behind: bytes, is_late: bool) -> None:
    """The answer is whole, and whoever asks next does not get them."""

    said = asyncio.Event()

    async def script(visit: Visit) -> None:
        if visit.case == "good":
            visit.write(RECORDINGS[0].wire)
            return
        visit.write(SIZED + EVENT + (b"" if is_late else behind))
        if is_late:
            await asyncio.sleep(0.02)
            visit.write(behind)
        said.set()

    async with listening(gateway.backend_port, script) as backend, connect(gateway.port) as client:
        first = await client.ask(gateway.request("bad"))
        await happened(said)
        await asyncio.sleep(0.05)
        second = await client.ask(gateway.request("good"))

        assert (seen(first), second.body) == ((200, "text/event-stream", EVENT, True), STREAM)
        assert backend.connections == 2
    assert await gateway.held() == NOTHING


async def test_a_backend_that_refuses_leaves_nothing(gateway: GatewayProcess) -> None:
    """A hundred streams to a port where nobody listens: each is told so."""
    answers = await each(gateway, range(100))

    assert {seen(answer) == told(answer, BackendUnavailable) for answer in answers.values()} == {True}
    assert await gateway.held() == NOTHING


@contextlib.contextmanager
def nobody_accepts(port: int) -> Iterator[socket.socket]:
    """Connections stand, by the kernel's grace; nobody takes them, and nobody reads."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What has been accepted inherits it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind(("127.0.0.1", port))
        sock.listen(16)
        sock.setblocking(False)
        yield sock


async def test_a_backend_that_closes_before_it_accepts(gateway: GatewayProcess) -> None:
    """Its listener goes while the connection waits in the queue, or is being made: the client is told at once."""
    with nobody_accepts(gateway.backend_port) as sock:
        arrived = asyncio.Event()
        asyncio.get_running_loop().add_reader(sock, arrived.set)
        async with connect(gateway.port) as client:
            client.write(gateway.request())
            await happened(arrived)
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
            answer = await client.read_answer()

    assert seen(answer) in (told(answer, BackendInterrupted), told(answer, BackendUnavailable))
    assert await gateway.held() == NOTHING


@LARGE
async def test_a_backend_that_never_reads(gateway: GatewayProcess, size: int) -> None:
    """The client is told in time, and the socket is not held for what has not gone out."""
    with nobody_accepts(gateway.backend_port):
        async with connect(gateway.port) as client:
            answer = await client.ask(gateway.request(text="a" * size))

        assert seen(answer) == told(answer, BackendTimeout)
        assert await gateway.held() == NOTHING


@LARGE
async def test_a_backend_that_answers_before_it_has_read(gateway: GatewayProcess, size: int) -> None:
    """Its answer is good, and its connection is not held for the rest of the request."""

    async def script(visit: Visit) -> None:
        visit.write(RECORDINGS[0].wire)
        await asyncio.Event().wait()  # not another byte is read

    async with listening(gateway.backend_port, script, read_bodies=False) as backend:
        async with connect(gateway.port) as client:
            answer = await client.ask(gateway.request(text="a" * size))

        assert seen(answer) == (200, "text/event-stream", STREAM, True)
        assert await gateway.held() == NOTHING
        assert backend.requests == 1
