"""The HTTP client of the data path, against a scripted backend on a real socket."""

import asyncio
import ssl
from pathlib import Path

import pytest

from gateway.backends.alarm import Alarm
from gateway.backends.answer import HIGH_WATER, Answer
from gateway.backends.client import BackendClient, BackendRequest
from gateway.errors import BackendBusy, BackendInterrupted, BackendInvalid, BackendTimeout, BackendUnavailable, Draining
from tests.gateway.backends.world import build_client, build_request, until, world
from tests.support.scripted import Exchange, Script, json_answer, scripted_backend
from tests.support.servers import free_port
from tests.support.tls import build_server_context


async def fetch(client: BackendClient, request: BackendRequest | None = None) -> tuple[int, bytes]:
    """Status and whole body."""
    async with client.exchange(request or build_request()) as answer:
        assert await answer.wait_for_head(2)
        body = b""
        while data := await answer.read(2):
            body += data
        assert data == b""
        return answer.status, body


def says(*pieces: bytes, close: bool = False) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.send(*pieces)
        if close:
            exchange.writer.close()

    return script


async def test_a_slow_reader_of_one_answer_holds_up_no_other() -> None:
    """The end of a large answer leaves the connection readable, whether its reader ever comes back or not."""
    sizes = [HIGH_WATER - 1, HIGH_WATER + 1, 3 * HIGH_WATER, 5 * HIGH_WATER + 7]
    pending = iter(sizes * 2)

    async def script(exchange: Exchange) -> None:
        size = next(pending) if exchange.body == b"large" else 2
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))

    async with world(script) as (_, client):
        for _ in sizes:
            async with client.exchange(build_request(b"large")) as slow:
                await asyncio.sleep(0.05)
                if slow.complete:
                    assert await asyncio.wait_for(fetch(client), 1) == (200, bytes(2))
            assert await asyncio.wait_for(fetch(client), 1) == (200, bytes(2))


async def test_an_old_reader_does_not_touch_the_next_answer() -> None:
    """A complete answer no longer owns its connection: reading it late resumes nothing."""
    connection = PausedWire()
    answer = Answer(connection, loop := asyncio.get_running_loop(), Alarm(loop))
    answer.put_head(200, [])
    answer.put(bytes(HIGH_WATER + 1))
    answer.finish()

    assert len(await answer.read(1) or b"") == HIGH_WATER + 1
    assert connection.calls == ["pause"]


class PausedWire:
    """A connection that remembers."""

    is_sending = False

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    async def send_more(self, data: bytes) -> None:
        self.calls.append("send")

    def finish_sending(self) -> None:
        self.calls.append("finish")


async def test_a_connection_with_an_unsent_request_is_not_used_again() -> None:
    """A backend that answers at the head and keeps the connection open: the rest of the body is still in the way."""

    async def script(exchange: Exchange) -> None:
        await json_answer(status=b"400 Bad")(exchange)
        await asyncio.sleep(5)

    async with scripted_backend(script, read_bodies=False) as backend:
        client = build_client(backend.port)
        assert (await fetch(client, build_request(bytes(32 * 1024 * 1024))))[0] == 400
        assert (await fetch(client))[0] == 400
        client.close()

    assert backend.connections == 2


async def test_a_request_arrives_exactly_as_it_was_made() -> None:
    """Method, path, headers in order, one host, one content-length, body byte for byte."""
    async with world(json_answer()) as (backend, client):
        await fetch(client, build_request(b"\x00{}", headers=[(b"b", b"2"), (b"a", b"1")]))

    assert backend.exchanges[0].head == (
        b"POST /chatkit HTTP/1.1\r\nhost: agent.test\r\nb: 2\r\na: 1\r\ncontent-length: 3\r\n\r\n"
    )
    assert backend.exchanges[0].body == b"\x00{}"


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\ny: z", b"a\rb", b"a\0b"])
async def test_no_header_value_can_become_another_header(value: bytes) -> None:
    """A line end or NUL in a value is refused before anything is sent."""
    async with world(json_answer()) as (backend, client):
        with pytest.raises(ValueError, match="line end or NUL"):
            await fetch(client, build_request(headers=[(b"x", value)]))

    assert backend.connections == 0


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"], b"hello"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe", b"llo"], b"hello"),
        (
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n", b"3;x=y\r\nllo\r\n0\r\nt: 1\r\n\r\n"],
            b"hello",
        ),
        ([b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], b""),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
        ([b"H", b"TTP/1.1 200 OK\r\ncontent-len", b"gth: 2\r\n\r", b"\nok"], b"ok"),
    ],
)
async def test_framed_answers_are_read_to_their_end_and_the_connection_is_used_again(
    pieces: list[bytes], body: bytes
) -> None:
    """Content-length, chunked with extensions and trailers, interim answers, no content: two requests, one socket."""
    async with world(says(*pieces)) as (backend, client):
        assert (await fetch(client))[1] == body
        assert (await fetch(client))[1] == body

        assert (len(backend.exchanges), backend.connections) == (2, 1)


async def test_an_answer_without_framing_ends_with_the_connection() -> None:
    """Close-delimited bodies of old servers are read whole."""
    async with world(says(b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo", close=True)) as (backend, client):
        assert await fetch(client) == (200, b"hello")
        assert await fetch(client) == (200, b"hello")

        assert backend.connections == 2


async def test_an_answer_to_head_has_no_body_whatever_it_claims() -> None:
    """HEAD with a content-length does not wait for bytes that never come."""
    async with world(says(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")) as (_, client):
        assert await fetch(client, build_request(b"", method="HEAD")) == (200, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 150 Odd\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000 + b"\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 35_000 + b"\r\n",
    ],
)
async def test_ambiguous_framing_is_refused(answer: bytes) -> None:
    """What two readers might end at different bytes is no answer, and its connection is not used again."""
    async with world(says(answer)) as (backend, client):
        for _ in range(2):
            with pytest.raises(BackendInvalid):
                await fetch(client)

        assert backend.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
async def test_an_answer_that_breaks_off_is_never_taken_for_whole(answer: bytes) -> None:
    """Every byte that came is delivered, then the failure; the request is not sent again."""
    async with world(says(answer, close=True)) as (backend, client):
        with pytest.raises(BackendInterrupted):
            await fetch(client)

        assert len(backend.exchanges) == 1


async def test_bytes_behind_an_answer_poison_the_connection() -> None:
    """A second answer that nobody asked for must not meet the next user's request."""
    smuggled = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n2"
    async with world(says(smuggled)) as (backend, client):
        assert await fetch(client) == (200, b"1")
        assert await fetch(client) == (200, b"1")

        assert backend.connections == 2


async def test_bytes_on_an_idle_connection_poison_it_too() -> None:
    """The same, when the extra bytes come late."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1")
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n2")

    async with world(script) as (backend, client):
        assert await fetch(client) == (200, b"1")
        await asyncio.sleep(0.05)
        assert await fetch(client) == (200, b"1")

        assert backend.connections == 2


async def test_an_exchange_left_early_takes_its_connection_with_it() -> None:
    """Leaving before the end closes the backend's socket at once, and leaves nothing behind."""

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.gone()
        exchange.writer.close()

    async with world(script) as (backend, client):
        async with client.exchange(build_request()) as answer:
            assert await answer.wait_for_head(2)
        await until(lambda: backend.open == 0)

        assert repr(client) == "<Backend support http://agent.test 0 active, 0 idle>"


async def test_idle_connections_are_dropped_before_the_backend_would() -> None:
    """After keep_alive seconds an idle connection is closed and a new request gets a new one."""
    async with world(json_answer(), keep_alive=0.05) as (backend, client):
        await fetch(client)
        await until(lambda: backend.open == 0)
        await fetch(client)
        assert backend.connections == 2


async def test_the_newest_idle_connection_is_taken_first() -> None:
    """LIFO: what is not needed ages out."""
    async with world(json_answer()) as (backend, client):
        async with client.exchange(build_request()) as first, client.exchange(build_request()) as second:
            for answer in (first, second):
                assert await answer.wait_for_head(2)
                while await answer.read(2):
                    pass
        await fetch(client)

        assert backend.exchanges[2].writer is backend.exchanges[1].writer


async def test_connections_are_bounded() -> None:
    """One more than max_connections is refused at once, and there is room again afterwards."""

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.gone()

    async with world(script, max_connections=1) as (_, client):
        async with client.exchange(build_request()) as answer:
            assert await answer.wait_for_head(2)
            with pytest.raises(BackendBusy, match="all 1 connections"):
                await fetch(client)
        await asyncio.sleep(0.02)
        async with client.exchange(build_request()) as answer:
            assert await answer.wait_for_head(2)


async def test_a_refused_connection_is_unavailable() -> None:
    """The error names the address."""
    client = build_client(free_port())

    with pytest.raises(BackendUnavailable, match=r"http://agent\.test"):
        await fetch(client)


async def test_a_connection_that_does_not_stand_in_time_is_a_timeout() -> None:
    """A full backlog, a dropped SYN: bounded by connect_timeout."""
    client = build_client(free_port(), connect_timeout=1e-9)

    with pytest.raises(BackendTimeout, match="no connection within"):
        await fetch(client)


async def test_a_reset_content_answer_ends_with_its_head() -> None:
    """A 205 has no body and often no framing."""
    async with world(says(b"HTTP/1.1 205 Reset Content\r\n\r\n")) as (_, client):
        assert await fetch(client) == (205, b"")
        assert await fetch(client) == (205, b"")


async def test_a_backend_that_answers_and_stops_reading_holds_no_connection() -> None:
    """Its whole answer is there; the rest of the request is not waited for."""
    stop = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await json_answer(status=b"413 Too Large")(exchange)
        await stop.wait()

    async with scripted_backend(script, read_bodies=False) as backend:
        client = build_client(backend.port, max_connections=1)
        for _ in range(3):
            assert (await fetch(client, build_request(bytes(32 * 1024 * 1024))))[0] == 413
            await asyncio.sleep(0.02)
        stop.set()
        client.close()


async def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    """The sidecar's way."""
    path = str(tmp_path / "s")
    async with scripted_backend(json_answer(b"[]"), path=path):
        client = build_client(1, socket=path)
        assert await fetch(client) == (200, b"[]")
        client.close()


async def test_https_is_spoken_to_a_backend_whose_certificate_holds(tmp_path: Path) -> None:
    """With the backend's own authority; the whole exchange is the same."""
    tls = build_server_context(tmp_path)
    async with scripted_backend(json_answer(b"[]"), tls=tls) as backend:
        client = build_client(backend.port, tls=ssl.create_default_context(cafile=str(tmp_path / "ca.pem")))
        assert await fetch(client) == (200, b"[]")
        assert await fetch(client) == (200, b"[]")
        assert backend.connections == 1
        client.close()


@pytest.mark.parametrize(("names", "trusted"), [(("127.0.0.1",), False), (("other.test",), True)])
async def test_a_certificate_that_does_not_hold_is_refused(
    tmp_path: Path, names: tuple[str, ...], trusted: bool
) -> None:
    """Unknown authority or another name: nothing is sent."""
    tls = build_server_context(tmp_path, names=names)
    async with scripted_backend(json_answer(), tls=tls) as backend:
        ours = ssl.create_default_context(cafile=str(tmp_path / "ca.pem") if trusted else None)
        with pytest.raises(BackendUnavailable, match="certificate"):
            await fetch(build_client(backend.port, tls=ours))

    assert backend.exchanges == []


async def test_waiting_is_bounded_and_can_go_on() -> None:
    """wait_for_head and read say when nothing came, and take what comes later."""

    async def script(exchange: Exchange) -> None:
        await asyncio.sleep(0.1)
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
        await asyncio.sleep(0.1)
        await exchange.send(b"k")

    async with world(script) as (_, client), client.exchange(build_request()) as answer:
        assert not await answer.wait_for_head(0.02)
        assert await answer.wait_for_head(2)
        assert await answer.read(2) == b"o"
        assert await answer.read(0.02) is None
        assert await answer.read(2) == b"k"
        assert await answer.read(2) == b""


async def test_a_reader_that_stops_stops_the_backend() -> None:
    """Memory is bounded: past the high-water mark the socket is no longer read, and goes on when there is room."""
    sent = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 33554432\r\n\r\n")
        for _ in range(32):
            exchange.writer.write(bytes(1024 * 1024))
            await exchange.writer.drain()
            sent += 1

    async with world(script) as (_, client), client.exchange(build_request()) as answer:
        assert await answer.wait_for_head(2)
        await asyncio.sleep(0.2)
        stalled = sent
        total = 0
        while data := await answer.read(2):
            total += len(data)

        assert stalled < 32
        assert total == 32 * 1024 * 1024


async def test_every_exchange_can_be_ended_from_outside() -> None:
    """At the end of a drain each reader gets the reason, after what has already come."""

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.send_chunk(b"data: 1\n\n")
        await exchange.gone()

    async with world(script) as (_, client), client.exchange(build_request()) as answer:
        assert await answer.wait_for_head(2)
        await asyncio.sleep(0.05)
        client.end_exchanges(Draining("time is up"))

        assert await answer.read(1) == b"data: 1\n\n"
        with pytest.raises(Draining):
            await answer.read(1)


@pytest.mark.parametrize("size", [60_000, 70_000, 3_000_000])
async def test_a_large_answer_is_no_large_head(size: int) -> None:
    """However much of the body comes in one read with the headers."""
    async with world(json_answer(bytes(size))) as (_, client):
        for _ in range(3):
            assert await fetch(client) == (200, bytes(size))


async def test_a_large_body_is_sent_whole() -> None:
    """Larger than the socket's buffer."""
    body = bytes(range(256)) * 8192
    async with world(json_answer()) as (backend, client):
        await fetch(client, build_request(body))

    assert backend.exchanges[0].body == body


async def send_forever(answer: Answer) -> None:
    while True:
        await answer.send(bytes(1024 * 1024))
        await asyncio.sleep(0)


async def test_a_body_can_be_sent_in_pieces() -> None:
    """With a length known beforehand as it is, without one in chunks; the connection serves again."""

    async def script(exchange: Exchange) -> None:
        if b"chunked" in exchange.head:
            assert await exchange.reader.readuntil(b"0\r\n\r\n") == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        else:
            assert await exchange.reader.readexactly(3) == b"abc"
        await json_answer()(exchange)

    async with scripted_backend(script, read_bodies=False) as backend:
        client = build_client(backend.port)
        for length in (3, None):
            request = BackendRequest(method="PUT", path=b"/x", headers=[], body=None, length=length)
            async with client.exchange(request) as answer:
                await answer.send(b"ab")
                await answer.send(b"c")
                answer.finish_sending()
                assert await answer.wait_for_head(2)
                assert [await answer.read(2), await answer.read(2)] == [b"{}", b""]
        client.close()

    assert backend.connections == 1


async def test_an_answer_before_the_whole_request_leaves_no_connection_behind() -> None:
    """The rest of the body would be taken for the next request."""

    async def script(exchange: Exchange) -> None:
        await json_answer(status=b"413 Too Large")(exchange)
        await exchange.gone()

    async with scripted_backend(script, read_bodies=False) as backend:
        client = build_client(backend.port)
        request = BackendRequest(method="PUT", path=b"/x", headers=[], body=None, length=10)
        async with client.exchange(request) as answer:
            await answer.send(b"ab")
            assert await answer.wait_for_head(2)
            while await answer.read(2):
                pass
        await until(lambda: backend.open == 0)

        assert answer.status == 413


async def test_a_backend_that_does_not_read_holds_the_sender_up() -> None:
    """Sending waits instead of filling memory, and fails when the backend goes."""
    stop = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await stop.wait()
        exchange.reset()

    async with scripted_backend(script, read_bodies=False) as backend:
        client = build_client(backend.port)
        request = BackendRequest(method="PUT", path=b"/x", headers=[], body=None)
        async with client.exchange(request) as answer:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(send_forever(answer), 0.3)
            stop.set()
            with pytest.raises(BackendInterrupted):
                await asyncio.wait_for(send_forever(answer), 2)


@pytest.mark.parametrize("trailer", [b"x-late: 1", b"transfer-encoding: chunked"])
async def test_trailers_of_an_interim_answer_are_not_headers_of_the_next(trailer: bytes) -> None:
    """They are dropped like any others, and say nothing of where the answer ends."""
    interim = b"HTTP/1.1 110 Soon\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + trailer + b"\r\n\r\n"
    async with world(says(interim, b"HTTP/1.1 200 OK\r\nx-own: 1\r\n\r\nhello", close=True)) as (_, client):
        async with client.exchange(build_request()) as answer:
            assert await answer.wait_for_head(2)
            headers = answer.headers
        assert headers == [(b"x-own", b"1")]
        assert await fetch(client) == (200, b"hello")
