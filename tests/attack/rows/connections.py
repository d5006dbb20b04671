"""Connections: smuggled requests, odd versions, slow clients; and what is unusual and right."""

import socket
import time
from collections.abc import Callable

from tests.attack.judge import check_refused
from tests.attack.requests import LIST, ask, bearer
from tests.attack.row import Attack, Row, Served, Trial, row
from tests.attack.rows.framing import REQUEST, THREAT, ZERO
from tests.attack.settings import HEAD_TIMEOUT
from tests.attack.wire import exchange
from tests.attack.world import World

SMUGGLED = b"POST /chatkit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def _chunks(data: bytes, size: int = 10) -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _served(name: str, build: Callable[[World], bytes | list[bytes]], *, closed: bool = False, own: bool = True) -> Row:
    return row("controls of framing", name, build, Served(closed=closed), own=own)


def _smuggle(world: World, *headers: str, body: bytes) -> str:
    """Whatever it is answered: one request at the backend at most, and nobody goes on reading behind it."""
    before = len(world.backend.exchanges)
    seen = exchange(
        world.services["gateway"].port,
        bearer(world.token(), *headers, body=body, length=False),
        to_end=True,
        patience=1.0,
    )
    arrived = len(world.backend.exchanges) - before
    assert arrived <= 1, f"{arrived} requests at the backend"
    assert len(seen.answers) <= 1, f"{len(seen.answers)} answers"
    assert seen.closed, "the connection stays open"
    return f"{seen.answers[0].status}, {arrived} at the backend, closed"


def _smuggling(name: str, *headers: str, body: Callable[[bytes], bytes]) -> Trial:
    """Behind the first request stands a second, with a good token of its own."""

    def trial(world: World) -> str:
        second = SMUGGLED + f"Authorization: Bearer {world.token(subject='mark-b')}\r\n".encode()
        return _smuggle(world, *headers, body=body(second + b"Content-Length: %d\r\n\r\n%s" % (len(LIST), LIST)))

    return Trial(threat=THREAT, name=f"smuggling: {name}", wanted="at most one request, closed", trial=trial)


def _slow_head(world: World) -> str:
    """A head that never ends is answered when its time is over."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", world.services["gateway"].port), timeout=4) as sock:
        sock.sendall(b"POST /chatkit HTTP/1.1\r\nHost: x\r\n")
        for _ in range(6):
            sock.sendall(b"X-A: b\r\n")
            time.sleep(0.1)
        answer = b""
        while data := sock.recv(4096):
            answer += data
    seconds = time.monotonic() - begun
    assert b" 408 " in answer, f"{answer[:80]!r}"
    assert seconds < HEAD_TIMEOUT + 0.5, f"after {seconds:.1f} s"
    return f"408 after {seconds:.1f} s"


def _slow_body(world: World) -> str:
    request = bearer(world.token(), "Content-Length: 100", target="/hurried", body=b"{", length=False)
    check_refused(exchange(world.services["gateway"].port, request), status=408, code="request_timeout")
    return "408"


def _expect_flood(world: World) -> str:
    """Nobody is told to go on before we know who it is."""
    port = world.services["gateway"].port
    for _ in range(200):
        seen = exchange(port, ask("Expect: 100-continue", "Content-Length: 100", body=b"", length=False))
        assert b"100 Continue" not in seen.raw
        assert seen.answers[0].status == 401, f"{seen.answers[0].status}"
    return "200 x 401, no 100"


def _old(version: str, head: bytes) -> Row:
    return row("versions of HTTP", version, lambda world: head, REQUEST, own=True)


ROWS: list[Attack] = [
    _smuggling("CL.TE", "Content-Length: 6", "Transfer-Encoding: chunked", body=lambda second: ZERO + second),
    _smuggling(
        "TE.CL",
        "Transfer-Encoding: chunked",
        "Content-Length: 4",
        body=lambda second: b"%x\r\n%s\r\n" % (len(second), second) + ZERO,
    ),
    _smuggling("TE.TE", "Transfer-Encoding: chunked", "Transfer-Encoding: x", body=lambda second: ZERO + second),
    _smuggling("CL.CL", "Content-Length: 0", f"Content-Length: {len(LIST)}", body=lambda second: second),
    _smuggling("CL.0", "Content-Length: 0", "Connection: close", body=lambda second: second),
    _smuggling("behind a bad chunk", "Transfer-Encoding: chunked", body=lambda second: b"zz\r\n" + second),
    _smuggling(
        "behind a trailer",
        "Transfer-Encoding: chunked",
        "Connection: close",
        body=lambda second: _chunks(LIST)[:-2] + b"Content-Length: 0\r\n\r\n" + second,
    ),
    _smuggling(
        "behind an upgrade",
        f"Content-Length: {len(LIST)}",
        "Connection: Upgrade",
        "Upgrade: h2c",
        body=lambda second: LIST + second,
    ),
    _served(
        "chunks of ten bytes",
        lambda world: bearer(world.token(), "Transfer-Encoding: chunked", body=_chunks(LIST), length=False),
    ),
    _served(
        "Chunked in upper case",
        lambda world: bearer(world.token(), "Transfer-Encoding: CHUNKED", body=_chunks(LIST), length=False),
    ),
    _served(
        "chunk extensions",
        lambda world: bearer(
            world.token(),
            "Transfer-Encoding: chunked",
            body=b'%x;a="b;c"\r\n%s\r\n' % (len(LIST), LIST) + ZERO,
            length=False,
        ),
    ),
    _served(
        "trailers that name a user",
        lambda world: bearer(
            world.token(),
            "Transfer-Encoding: chunked",
            "Trailer: X-User-Id",
            body=_chunks(LIST)[:-2] + b"X-User-Id: mark-evil-7f3a\r\nX-Gateway-Assertion: mark-evil-7f3a\r\n\r\n",
            length=False,
        ),
    ),
    _served(
        "a byte at a time",
        lambda world: [bytes([byte]) for byte in bearer(world.token("main", key=world.key(number=1)))],
    ),
    _served("HTTP/1.0", lambda world: bearer(world.token()).replace(b"HTTP/1.1", b"HTTP/1.0"), closed=True),
    _old("HTTP/0.9", b"GET /session\r\n\r\n"),
    _old("HTTP/1.2", ask().replace(b"HTTP/1.1", b"HTTP/1.2")),
    _old("HTTP/2.0 on a plain connection", ask().replace(b"HTTP/1.1", b"HTTP/2.0")),
    _old(
        "chunked in HTTP/1.0",
        ask("Transfer-Encoding: chunked", body=ZERO, length=False).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ),
    _old("HTTP/1.1 in lower case", ask().replace(b"HTTP/1.1", b"http/1.1")),
    _old("bare LF as line end", ask().replace(b"\r\n", b"\n")),
    _old("TLS on the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),
    _old("a blank in front", b" " + ask()),
    Trial(
        threat="slow requests",
        name="a head that never ends",
        wanted="408 when its time is over",
        trial=_slow_head,
        own=True,
    ),
    Trial(threat="slow requests", name="a body that never ends", wanted="408", trial=_slow_body, own=True),
    Trial(
        threat="Expect",
        name="200 requests that wait for 100 Continue",
        wanted="401, no 100",
        trial=_expect_flood,
        own=True,
    ),
]
