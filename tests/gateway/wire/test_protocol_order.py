"""One request at a time, and nothing into an answer under way: pipelining, trailers, early answers, stuck clients."""

import contextlib
import gc
import socket
import struct
import time
from dataclasses import replace

import pytest

from gateway.wire.exchange import Exchange
from gateway.wire.protocol import ClientProtocol
from tests.support.edge import LIMITS, EdgeApp, count_alive, count_reachable, serving, wait_for
from tests.support.raw import connected, request

CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("behind", "status"),
    [
        pytest.param(b"\x00\x01garbage\r\n\r\n", 400, id="garbage"),
        pytest.param(request("/" + "a" * 900, *["A: b"] * 10), 431, id="large head"),
        pytest.param(request("/echo"), 200, id="request"),
        pytest.param(request("/echo", CHUNKED, "Content-Length: 1"), 400, id="smuggled"),
    ],
)
def test_nothing_behind_a_running_request_gets_into_its_answer(behind: bytes, status: int) -> None:
    """The answer comes out whole; only then is looked at what was behind it."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(request("/stream"))
        client.read_until(b"begun\n\r\n")
        client.send(behind)
        time.sleep(0.1)
        seen = list(app.seen)
        app.release.set()
        rest = client.read_until(b"\r\n0\r\n\r\n")
        answer = client.read_answer()

    assert (seen, rest, answer.status) == (["GET /stream"], b"6\r\nended\n\r\n0\r\n\r\n", status)


def test_only_so_much_may_wait_behind_an_answer() -> None:
    """Above max_head nothing more is kept, and the answer under way is the connection's last."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(request("/stream"))
        client.read_until(b"begun\n\r\n")
        for _ in range(100):
            client.send(request("/echo") * 10)
        time.sleep(0.1)
        app.release.set()
        rest = client.read_to_end()

    assert (rest, app.seen, app.left) == (b"6\r\nended\n\r\n0\r\n\r\n", ["GET /stream"], [])


def test_a_pipelined_request_in_the_same_read_is_not_served() -> None:
    """The first is answered, with a note that the connection closes; the client sends the second again elsewhere."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(request("/echo") + request("/second") + b"\x00")
        answer = client.read_answer()
        rest = client.read_to_end()

    assert (answer.status, answer.headers["connection"], rest, app.seen) == (200, "close", b"", ["GET /echo"])


def test_a_client_that_leaves_behind_a_pipelined_request_is_noticed() -> None:
    """A second request must not hide from the first that nobody listens any more."""
    app = EdgeApp()
    with serving(app) as port:
        with connected(port) as client:
            client.send(request("/stream") + request("/echo"))
            client.read_until(b"begun\n")

        assert wait_for(lambda: app.left == ["/stream"])


def test_trailers_never_become_headers() -> None:
    """Whoever filtered the head in front of us has not seen them. RFC 9110 section 6.5.1."""
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(request("/echo", CHUNKED) + b"1\r\na\r\n0\r\nCookie: auth=evil\r\nX-User-Id: root\r\n\r\n")
        answer = client.read_answer()

    assert answer.json()["headers"] == [["host", "gateway"], ["transfer-encoding", "chunked"]]


def test_trailers_are_counted() -> None:
    """Headers and trailers together stay under the limits, so trailers are no way around them."""
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(request("/echo", CHUNKED) + b"1\r\na\r\n0\r\n" + b"A: b\r\n" * 9 + b"\r\n")
        answer = client.read_answer()
        rest = client.read_to_end()

    assert (answer.status, rest) == (431, b"")


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"1 \r\na\r\n", b"2\r\nabX\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"-1\r\n"])
def test_a_bad_chunk_is_refused_and_the_app_told(chunk: bytes) -> None:
    """The request has begun by then: the client gets its 400, and whoever reads the body a disconnect."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(request("/echo", CHUNKED) + b"1\r\na\r\n")
        assert wait_for(lambda: bool(app.seen))
        client.send(chunk)
        answer = client.read_answer()
        rest = client.read_to_end()

        assert (answer.status, answer.json()["code"], rest) == (400, "malformed_request", b"")
        assert wait_for(lambda: app.left == ["/echo"])


def test_an_answer_before_the_end_of_the_body_is_the_last() -> None:
    """The rest of the body is neither another head nor worth a second answer; the first one can be read."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(request("/early", "Content-Length: 500000", method="POST"))
        answer = client.read_answer()
        for _ in range(10):
            client.send(b"GET /echo HTTP/1.1\r\n" * 100)
        rest = client.read_to_end()

    assert (answer.status, rest, app.seen) == (401, b"", ["POST /early"])


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_early_answer_can_be_read_where_the_connection_would_not_be_kept(version: str) -> None:
    """A close while bytes of the body still come would reset the connection, and the answer with it."""
    head = f"POST /early HTTP/{version}\r\nHost: a\r\nConnection: close\r\nContent-Length: 500000\r\n\r\n"
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(head.encode())
        for _ in range(10):
            client.send(bytes(1000))
            time.sleep(0.01)
        answer = client.read_answer()

        assert (answer.status, client.read_to_end()) == (401, b"")


@pytest.mark.parametrize("size", [1_000, 60_000, 100_000, 300_000, 900_000])
@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_is_noticed_whatever_it_sent(size: int, reset: bool) -> None:
    """A large body pauses the socket; it is read again, or nothing would tell of the end."""
    app = EdgeApp()
    with serving(app) as port:
        with connected(port) as client:
            client.send(request("/waiting", method="POST", body=bytes(size)))
            assert wait_for(lambda: app.seen == ["POST /waiting"])
            time.sleep(0.2)
            if reset:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        assert wait_for(lambda: app.left == ["/waiting"])


def test_a_client_that_half_closes_is_told_at_once_also_while_it_takes_nothing() -> None:
    """With bytes untaken the connection itself ends later: when they are taken, or after write_timeout."""
    app = EdgeApp()
    with serving(app, replace(LIMITS, write_timeout=60)) as port, connected(port, receive_buffer=4096) as client:
        client.send(request("/flood"))
        client.read_until(b"\r\n\r\n")
        time.sleep(0.3)
        client.sock.shutdown(socket.SHUT_WR)

        assert wait_for(lambda: app.left == ["/flood"])


def test_a_broken_answer_that_nobody_takes_does_not_hold_its_socket() -> None:
    """Closing waits for what is written to be taken, and that has a time."""
    app = EdgeApp()
    with serving(app) as port, connected(port, receive_buffer=4096) as client:
        client.send(request("/broken?6000000"))

        assert wait_for(lambda: app.seen == ["GET /broken"])
        assert wait_for(lambda: count_reachable(ClientProtocol) == 0)


def test_a_head_goes_out_even_if_nothing_follows() -> None:
    """A connection closed without a status looks like a stale one, and clients send the request again."""
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(request("/broken"))

        assert client.read_to_end().startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("piece", [1_000, 100_000])
def test_a_trailer_without_end_is_refused(piece: int) -> None:
    """The parser tells of it only at its end; the bytes are counted before."""
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(request("/echo", CHUNKED) + b"1\r\na\r\n0\r\nA: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                client.send(b"a" * piece)
        rest = client.read_to_end()

    assert rest.startswith(b"HTTP/1.1 431 ")


def test_a_body_in_tiny_chunks_is_read() -> None:
    """More framing than body, and for longer than a head may be."""
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(request("/echo", CHUNKED))
        for _ in range(500):
            client.send(b"1;extension=1\r\na\r\n")
        client.send(b"0\r\n\r\n")

        assert client.read_answer().json()["body"] == 500


def test_an_early_answer_says_that_the_connection_closes() -> None:
    """Or a client would send its next request into it."""
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(request("/early", "Content-Length: 500000", method="POST"))

        assert client.read_answer().headers["connection"] == "close"


def test_expect_means_nothing_in_http_1_0() -> None:
    """RFC 9110 section 10.1.1: it must be ignored."""
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(b"POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}")

        assert client.read_to_end().startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_refusal_can_be_read_though_more_was_sent() -> None:
    """A close on bytes that were not read would reset the connection, and the refusal with it."""
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(b"GET /echo HTTP/1.1\r\nX-Long: " + b"a" * 1_000_000)
        time.sleep(0.1)

        assert client.read_answer().status == 431


def test_requests_and_connections_leave_nothing_for_the_collector() -> None:
    """It is told to look seldom. Nothing that was done with leads back to itself."""
    gc.collect()
    gc.disable()
    try:
        with serving(EdgeApp()) as port:
            for _ in range(20):
                with connected(port) as client:
                    for _ in range(3):
                        client.send(request("/echo", method="POST", body=b"{}"))
                        client.read_answer()
            assert wait_for(lambda: count_alive(Exchange) == 0)
            assert count_alive(ClientProtocol) == 0
    finally:
        gc.enable()


def test_an_answer_to_http_1_0_has_no_chunks() -> None:
    """It does not know them; the connection's end is the answer's. RFC 9112 section 6.1."""
    app = EdgeApp()
    app.release.set()
    with serving(app) as port, connected(port) as client:
        client.send(b"GET /stream HTTP/1.0\r\n\r\n")
        head = client.read_until(b"\r\n\r\n").lower()
        rest = client.read_to_end()

    assert (b"transfer-encoding" in head, b"connection: close" in head, rest) == (False, True, b"begun\nended\n")


def test_a_body_read_whole_keeps_the_connection() -> None:
    """The common case: an early answer to a request that came in one piece costs nothing."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        statuses = []
        for path in ("/early", "/echo", "/early"):
            client.send(request(path, method="POST", body=b"{}"))
            statuses.append(client.read_answer().status)

    assert statuses == [401, 200, 401]


def test_expect_is_answered_when_the_body_is_wanted() -> None:
    """curl waits for it before it sends a body of more than a megabyte."""
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(request("/echo", "Expect: 100-continue", "Content-Length: 2", method="POST"))
        interim = client.read_until(b"\r\n\r\n")
        client.send(b"{}")
        answer = client.read_answer()

    assert (interim, answer.json()["body"]) == (b"HTTP/1.1 100 Continue\r\n\r\n", 2)


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0"])
def test_an_upgrade_with_a_body_is_refused(upgrade: str) -> None:
    """The parser stops behind such a head: the body would be lost, and the app would see an empty one."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(request("/echo", "Connection: Upgrade", f"Upgrade: {upgrade}", method="POST", body=b"{}"))
        answer = client.read_answer()
        rest = client.read_to_end()

    assert (answer.status, answer.json()["code"], rest, app.seen) == (400, "malformed_request", b"", [])


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0"])
def test_an_upgrade_is_no_tunnel(upgrade: str) -> None:
    """The request is served as what it is otherwise; what follows in the other protocol is not read."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(request("/echo", "Connection: Upgrade", f"Upgrade: {upgrade}", method="POST"))
        client.send(request("/second"))
        answer = client.read_answer()
        rest = client.read_to_end()

    assert (answer.status, answer.headers["connection"], rest) == (200, "close", b"")
    assert app.seen == ["POST /echo"]


def test_a_connect_is_no_tunnel() -> None:
    """Even with a target that reads as a path."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(request("/echo", method="CONNECT") + request("/second"))
        answer = client.read_answer()
        rest = client.read_to_end()

    assert (answer.status, answer.headers["connection"], rest, app.seen) == (200, "close", b"", ["CONNECT /echo"])


def test_a_client_that_stops_reading_is_cut() -> None:
    """After write_timeout; the app learns of it and its work ends."""
    app = EdgeApp()
    with serving(app) as port, connected(port, receive_buffer=4096) as client:
        client.send(request("/flood"))
        client.read_until(b"\r\n\r\n")
        started = time.monotonic()

        assert wait_for(lambda: app.left == ["/flood"])
        assert time.monotonic() - started >= LIMITS.write_timeout - 0.1


def test_a_client_that_reads_steadily_is_not_cut_while_the_kernel_calls_it_full() -> None:
    """A few bytes at a time free no room that would wake us, and are progress all the same."""
    app = EdgeApp()
    with serving(app) as port, connected(port, receive_buffer=4096) as client:
        client.send(request("/flood"))
        end = time.monotonic() + LIMITS.write_timeout * 4
        while time.monotonic() < end:
            assert client.sock.recv(2048)
            time.sleep(0.01)

        assert app.left == []
        assert wait_for(lambda: app.left == ["/flood"])


def test_a_timer_of_one_answer_does_not_cut_the_next() -> None:
    """The client was slow to take the first; the second has its own time."""
    app = EdgeApp()
    with serving(app) as port, connected(port, receive_buffer=4096) as client:
        client.send(request("/echo"))
        client.read_answer()
        time.sleep(LIMITS.write_timeout * 0.8)
        client.send(request("/stream"))
        client.read_until(b"begun\n")
        time.sleep(LIMITS.write_timeout * 0.8)

        assert app.left == []


def test_a_client_that_reads_slowly_is_not_cut() -> None:
    """What counts is that it takes something, not how fast."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(request("/flood"))
        end = time.monotonic() + LIMITS.write_timeout * 2
        while time.monotonic() < end:
            assert client.sock.recv(262144)
            time.sleep(0.02)

        assert app.left == []
