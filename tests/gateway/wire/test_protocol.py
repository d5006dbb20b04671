"""One client connection over a raw socket: what is refused, how, and that nothing gets into an answer under way."""

import inspect
import re
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.wire.protocol import ClientProtocol
from gateway.wire.server import ServerLimits
from tests.support.edge import LIMITS, EdgeApp, count_reachable, serving, wait_for
from tests.support.raw import connected, request

CHUNKED = "Transfer-Encoding: chunked"
Edge = tuple[EdgeApp, int]


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    """One server for the tables: each case has its own connection, and leaves nothing behind."""
    app = EdgeApp()
    with serving(app) as port:
        yield app, port


def test_uvicorn_still_asks_of_a_protocol_what_ours_gives() -> None:
    """Its server makes one with these arguments, shuts it down, and waits for the two sets to be empty."""
    startup = inspect.getsource(uvicorn.Server.startup)
    shutdown = inspect.getsource(uvicorn.Server.shutdown) + inspect.getsource(uvicorn.Server._wait_tasks_to_complete)
    state = ServerState()

    assert "config.http_protocol_class(" in startup
    assert re.findall(r"^ +(\w+)=.*,$", startup.partition("http_protocol_class(")[2].partition(")\n")[0], re.M) == [
        "config",
        "server_state",
        "app_state",
        "_loop",
    ]
    assert "connection.shutdown()" in shutdown
    assert "while self.server_state.connections" in shutdown
    assert "while self.server_state.tasks" in shutdown
    assert (state.connections, state.tasks, state.default_headers) == (set(), set(), [])


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        pytest.param(request("/echo", "Host: other"), 400, "malformed_request", id="two Hosts"),
        pytest.param(b"GET /echo HTTP/1.1\r\n\r\n", 400, "malformed_request", id="no Host"),
        pytest.param(
            request("/echo", CHUNKED, "Content-Length: 4") + b"0\r\n\r\n", 400, "malformed_request", id="CL and TE"
        ),
        pytest.param(
            request("/echo", "Content-Length: 1", "Content-Length: 1") + b"a", 400, "malformed_request", id="two CL"
        ),
        pytest.param(request("/echo", "Content-Length: 1, 1") + b"a", 400, "malformed_request", id="CL list"),
        pytest.param(request("/echo", "Content-Length: +1") + b"a", 400, "malformed_request", id="CL sign"),
        pytest.param(request("/echo", CHUNKED, CHUNKED) + b"0\r\n\r\n", 400, "malformed_request", id="two TE"),
        pytest.param(
            request("/echo", "Transfer-Encoding: chunked, identity") + b"0\r\n\r\n", 400, "malformed_request", id="TE"
        ),
        pytest.param(
            b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed_request", id="TE 1.0"
        ),
        pytest.param(b"GET /echo HTTP/2.0\r\nHost: a\r\n\r\n", 400, "malformed_request", id="version"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request", id="HTTP/2 preface"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", 400, "malformed_request", id="TLS hello"),
        pytest.param(b"GET /echo HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400, "malformed_request", id="obs-fold"),
        pytest.param(b"GET /echo HTTP/1.1\nHost: a\n\n", 400, "malformed_request", id="bare LF"),
        pytest.param(b"GET /echo HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n", 400, "malformed_request", id="bare LF in head"),
        pytest.param(b"GET /echo HTTP/1.1\r\nHost: a\rX-A: b\r\n\r\n", 400, "malformed_request", id="bare CR"),
        pytest.param(b"GET /echo HTTP/1.1\r\nHost : a\r\n\r\n", 400, "malformed_request", id="space before colon"),
        pytest.param(b"GET /echo HTTP/1.1\r\nHost: a\x00b\r\n\r\n", 400, "malformed_request", id="NUL"),
        pytest.param(b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n", 400, "malformed_request", id="CONNECT"),
        pytest.param(request("http://evil"), 400, "malformed_request", id="absolute form without path"),
        pytest.param(request("/\xe4"), 400, "malformed_request", id="raw byte in path"),
        pytest.param(request("/echo", *["A: b"] * 10), 431, "headers_too_large", id="11 headers"),
        pytest.param(request("/" + "a" * 1024), 431, "headers_too_large", id="long path"),
        pytest.param(request("/echo", "X-Long: " + "a" * 1024), 431, "headers_too_large", id="long header"),
        pytest.param(b"GET /echo HTTP/1.1\r\nX-Long: " + b"a" * 1024, 431, "headers_too_large", id="endless header"),
        pytest.param(b"\r\n" * 513, 431, "headers_too_large", id="endless line breaks"),
    ],
)
def test_refused_with_a_problem_and_closed(edge: Edge, data: bytes, status: int, code: str) -> None:
    """The app never sees it, whoever counts does, the client gets our JSON, and the connection is gone."""
    app, port = edge
    before = list(app.seen)
    app.refused.clear()
    with connected(port) as client:
        client.send(data)
        answer = client.read_answer()
        rest = client.read_to_end()

    assert (answer.status, answer.json()["code"], answer.headers["connection"]) == (status, code, "close")
    assert (rest, app.seen, app.refused) == (b"", before, [code])


def test_what_the_app_has_heard_of_is_its_own_to_count(edge: Edge) -> None:
    """A request whose body turns out to be bad; but not what comes on a connection behind an answer."""
    app, port = edge
    app.refused.clear()
    with connected(port) as client:
        client.send(request("/echo", CHUNKED) + b"no size\r\n")
        answer = client.read_answer()
    counted = list(app.refused)
    with connected(port) as client:
        client.send(request("/echo"))
        client.read_answer()
        client.send(b"no request\r\n\r\n")
        client.read_answer()

    assert (answer.status, counted, app.refused) == (400, [], ["malformed_request"])


@pytest.mark.parametrize("piece", [1, 7, 100_000])
@pytest.mark.parametrize(("filler", "status"), [(0, 200), (1, 431)])
def test_head_bytes_are_counted_to_the_byte(edge: Edge, piece: int, filler: int, status: int) -> None:
    """Both sides of the edge, whether the head arrives at once or byte by byte."""
    data = request("/echo", "X-Fill: " + "a" * (LIMITS.max_head - len(request("/echo", "X-Fill: ")) + filler))
    with connected(edge[1]) as client:
        for start in range(0, len(data), piece):
            client.send(data[start : start + piece])
            time.sleep(0.00005 if piece < len(data) else 0)
        answer = client.read_answer()

    assert answer.status == status


@pytest.mark.parametrize(("count", "status"), [(10, 200), (11, 431)])
def test_headers_are_counted(edge: Edge, count: int, status: int) -> None:
    """Both sides of the edge; Host counts."""
    with connected(edge[1]) as client:
        client.send(request("/echo", *["A: b"] * (count - 1)))
        answer = client.read_answer()

    assert answer.status == status


@pytest.mark.parametrize("begun", [b"GET /echo HTTP/1.1\r\nHost: ", b"G", b"\r\n"])
def test_a_slow_head_is_timed_out(begun: bytes) -> None:
    """Also when bytes keep trickling in: the time is for the whole head."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(begun)
        time.sleep(LIMITS.head_timeout / 2)
        client.send(b"\r\n" if begun == b"\r\n" else b"E" if begun == b"G" else b"a")
        started = time.monotonic()
        answer = client.read_answer()
        took = time.monotonic() - started

    assert (answer.status, answer.json()["code"]) == (408, "request_timeout")
    assert took < LIMITS.head_timeout
    assert app.seen == []


def test_a_silent_connection_is_closed_without_a_word() -> None:
    """Browsers open connections ahead of need; an unasked 408 would answer their next request."""
    with serving(EdgeApp()) as port, connected(port) as client:
        assert client.read_to_end() == b""


def test_the_head_time_starts_anew_on_a_kept_connection() -> None:
    """A second request has its own time; an idle pause before it does not count."""
    with serving(EdgeApp()) as port, connected(port) as client:
        client.send(request())
        first = client.read_answer()
        time.sleep(LIMITS.head_timeout + 0.2)
        client.send(request("/again"))
        second = client.read_answer()
        client.send(b"GET /")
        third = client.read_answer()

    assert [first.status, second.status, third.status] == [200, 200, 408]


def test_an_idle_kept_connection_is_closed() -> None:
    """Silently, after keep_alive."""
    limits = ServerLimits(max_head=1024, max_headers=10, head_timeout=5, keep_alive=0.5, write_timeout=5)
    with serving(EdgeApp(), limits) as port, connected(port) as client:
        client.send(request())
        first = client.read_answer()
        started = time.monotonic()

        assert (first.status, client.read_to_end()) == (200, b"")
        assert 0.4 < time.monotonic() - started < 2


def test_what_only_looks_odd_is_served() -> None:
    """TRACE, an absolute target and a foreign Host are requests like others: the app decides on the path alone."""
    app = EdgeApp()
    with serving(app) as port, connected(port) as client:
        client.send(request("/echo", method="TRACE"))
        trace = client.read_answer()
        client.send(b"GET http://evil/echo?x HTTP/1.1\r\nHost: evil/#@x\r\n\r\n")
        absolute = client.read_answer()

    assert [trace.json()["method"], absolute.json()["path"]] == ["TRACE", "/echo"]
    assert wait_for(lambda: len(app.seen) == 2)


def test_a_head_may_come_in_pieces() -> None:
    """A head cut anywhere, even inside a name, is one head."""
    with serving(EdgeApp()) as port, connected(port) as client:
        for part in (b"GE", b"T /ec", b"ho HTT", b"P/1.1\r", b"\nHo", b"st: a\r\n", b"\r", b"\n"):
            client.send(part)
            time.sleep(0.01)

        assert client.read_answer().json()["headers"] == [["host", "a"]]


def test_a_path_is_given_on_as_it_came(edge: Edge) -> None:
    """Not decoded: `/%65cho` is another path than `/echo`, for the gateway's own endpoints as for routes."""
    app, port = edge
    with connected(port) as client:
        client.send(request("/%65cho"))
        client.read_answer()

    assert app.seen[-1] == "GET /%65cho"


def test_a_reset_connection_leaves_nothing_in_memory() -> None:
    """Neither an orderly end nor a reset keeps a connection's state until some timer fires."""
    limits = replace(LIMITS, keep_alive=600)
    with serving(EdgeApp(), limits) as port:
        for linger in (b"", struct.pack("ii", 1, 0)):
            for _ in range(20):
                with connected(port) as client:
                    client.send(request("/echo"))
                    client.read_answer()
                    if linger:
                        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        assert wait_for(lambda: count_reachable(ClientProtocol) == 0)
