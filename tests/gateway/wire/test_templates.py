"""Heads that are known again by their bytes: nothing is read otherwise than the parser would read it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from gateway.outbox import Outbox
from gateway.wire.asgi import Headers, Receive, Scope, Send
from gateway.wire.heads import Head, Heads
from gateway.wire.protocol import ClientProtocol
from gateway.wire.templates import Template, learn
from tests.support.edge import LIMITS


class Parsed:
    """What the parser says of one request."""

    def __init__(self, data: bytes) -> None:
        self.headers: Headers = []
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def request(*lines: bytes, body: bytes = b"{}", start: bytes = b"POST /chatkit HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: a", *lines, b"", body])


def template_of(data: bytes) -> Template | None:
    """As `Head` asks for it."""
    raw = Parsed(data).headers
    varying = [at for at, (name, _) in enumerate(raw) if name.lower() in (b"content-length", b"x-request-id")]
    length = next((at for at in varying if raw[at][0].lower() == b"content-length"), None)
    return learn(data, raw, varying, length, method=b"POST", target=b"/chatkit")


KNOWN = request(b"X-Request-ID: one", b"Cookie: a=b", b"Content-Length:  2", b"Accept: */*")


@pytest.mark.parametrize(
    ("data", "values", "body"),
    [
        (KNOWN, [b"one", b"2"], b"{}"),
        (KNOWN.replace(b"one", b"4~!").replace(b"  2", b"  0").replace(b"{}", b""), [b"4~!", b"0"], b""),
        (KNOWN.replace(b"  2", b"  012").replace(b"{}", b'{"a":"\r\n\r\n"}'), [b"one", b"012"], b'{"a":"\r\n\r\n"}'),
    ],
)
def test_what_differs_in_what_varies_is_known_again(data: bytes, values: list[bytes], body: bytes) -> None:
    template = template_of(KNOWN)

    assert template is not None
    assert (template.read(data), template.method, template.target) == ((values, body), b"POST", b"/chatkit")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(KNOWN[:-1], id="body shorter"),
        pytest.param(KNOWN + b"x", id="body longer"),
        pytest.param(KNOWN + b"\r\n", id="an empty line behind it"),
        pytest.param(b"\r\n" + KNOWN, id="an empty line before it"),
        pytest.param(KNOWN + KNOWN, id="twice"),
        pytest.param(KNOWN[:40], id="the beginning of it"),
        pytest.param(b"", id="nothing"),
        pytest.param(KNOWN.replace(b"POST", b"HEAD"), id="method"),
        pytest.param(KNOWN.replace(b"/chatkit", b"/chatkit?"), id="target"),
        pytest.param(KNOWN.replace(b"HTTP/1.1", b"HTTP/1.0"), id="version"),
        pytest.param(KNOWN.replace(b"Cookie: a=b", b"Cookie: a=c"), id="value"),
        pytest.param(KNOWN.replace(b"Cookie", b"cookie"), id="name"),
        pytest.param(KNOWN.replace(b"Accept", b"A: b\r\nAccept"), id="one header more"),
        pytest.param(KNOWN.replace(b"\r\nAccept: */*", b""), id="one header less"),
        pytest.param(KNOWN.replace(b"one", b""), id="empty id"),
        pytest.param(KNOWN.replace(b"one", b"a b"), id="a space in the id"),
        pytest.param(KNOWN.replace(b"one", b"one "), id="a space behind the id"),
        pytest.param(KNOWN.replace(b"one", b"a\x00"), id="NUL in the id"),
        pytest.param(KNOWN.replace(b"one", b"\xe9"), id="not ASCII"),
        pytest.param(KNOWN.replace(b"one", b"a" * 513), id="long id"),
        pytest.param(KNOWN.replace(b"one\r\n", b"one\n"), id="bare LF"),
        pytest.param(KNOWN.replace(b"one\r\n", b"one\r\n more\r\n"), id="folded"),
        pytest.param(KNOWN.replace(b"  2", b"  +2"), id="length with a sign"),
        pytest.param(KNOWN.replace(b"  2", b"  2_0"), id="length with an underscore"),
        pytest.param(KNOWN.replace(b"  2", "  ²".encode()), id="length in other digits"),
        pytest.param(KNOWN.replace(b"  2", b"  0000000002"), id="long length"),
        pytest.param(KNOWN.replace(b"one", b"one\r\nTransfer-Encoding: chunked"), id="chunked"),
        pytest.param(KNOWN.replace(b"one", b"one\r\nContent-Length: 2"), id="two lengths"),
    ],
)
def test_anything_else_is_the_parsers(data: bytes) -> None:
    template = template_of(KNOWN)

    assert template is not None
    assert template.read(data) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(KNOWN + b"\r\n", id="more than one request"),
        pytest.param(b"\r\n" + KNOWN, id="an empty line before it"),
        pytest.param(KNOWN.replace(b"one", b"a b"), id="a space in the id"),
        pytest.param(KNOWN.replace(b"one", b"one "), id="a space behind the id"),
        pytest.param(KNOWN.replace(b"X-Request-ID: ", b"X-Request-ID:\t"), id="a tab before the id"),
        pytest.param(KNOWN.replace(b"one", b"one\r\nX-Request-ID: two"), id="two ids"),
        pytest.param(KNOWN.replace(b"one", b""), id="empty id"),
    ],
)
def test_an_unusual_head_is_not_learned(data: bytes) -> None:
    assert template_of(data) is None


@pytest.mark.parametrize(
    ("target", "head"),
    [
        pytest.param(b"/chatkit?signature=abc", KNOWN, id="a query"),
        pytest.param(b"/" + b"a" * 256, KNOWN, id="a long target"),
        pytest.param(b"/chatkit", KNOWN.replace(b"a=b", b"a=" + b"b" * 8192), id="a long head"),
        pytest.param(b"/chatkit", KNOWN.replace(b"  2", b"  " + b"0" * 5000 + b"2"), id="a long length"),
    ],
)
def test_what_is_long_or_may_be_secret_is_not_kept(target: bytes, head: bytes) -> None:
    """A thousand heads are kept, of strangers too."""
    data = head.replace(b"/chatkit", target)
    raw = Parsed(data).headers

    assert learn(data, raw, [1, 3], 3, method=b"POST", target=target) is None


@pytest.mark.parametrize("target", [b"http://a", b"http://h:?x"])
async def test_a_request_that_is_refused_is_refused_again(target: bytes) -> None:
    """Behind another with the same headers, too, that was known again."""
    refused = request(b"Cookie: a=b", body=b"", start=b"GET %b HTTP/1.1" % target)
    good = request(b"Cookie: a=b", body=b"", start=b"GET / HTTP/1.1")
    heads = Heads()
    for reads in ([refused], [refused], [refused], [good, refused], [good, good, good, refused]):
        _, written, _ = await talk(ClientProtocol, reads, heads)

        assert (written.count(b"HTTP/1.1 200 "), written.count(b"HTTP/1.1 400 ")) == (len(reads) - 1, 1)


def test_a_head_without_a_body_is_known_by_all_of_it() -> None:
    data = request(b"Cookie: a=b", body=b"", start=b"GET /files/1 HTTP/1.1")
    template = template_of(data)

    assert template is not None
    assert template.read(data) == ([], b"")
    assert template.read(data + b"x") is None


# With a connection around it


class Seen(NamedTuple):
    """A request, as the app was given it."""

    method: str
    path: bytes
    version: str
    headers: Headers
    body: bytes


class Record(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self._is_closed = b"", False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self._is_closed

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self._is_closed = True

    abort = close


class Parsing(ClientProtocol):
    """One that learns nothing and knows nothing again: what `ClientProtocol` has to agree with."""

    _data = property(lambda _: b"", lambda _, __: None)  # nothing to learn from

    def _read_again(self, data: bytes) -> bool:
        return False


async def talk(
    kind: type[ClientProtocol],
    reads: Sequence[bytes],
    heads: Heads,
    spy: Callable[[ClientProtocol], None] | None = None,
    turns: Sequence[int] = (),
) -> tuple[list[Seen], bytes, bool]:
    """What the app sees of these reads, what is answered, and whether the connection is closed then.

    Args:
        turns: Of the loop, behind each read.
    """
    seen: list[Seen] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        seen.append(Seen(scope["method"], scope["raw_path"], scope["http_version"], scope["headers"], body))
        if scope["raw_path"] == b"/stream":
            scope["gateway.direct"].forget_headers()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}", "more_body": False})

    loop, transport = asyncio.get_running_loop(), Record()
    limits = replace(LIMITS, max_head=16384)
    protocol = kind(app=app, limits=limits, heads=heads, outbox=Outbox(), state=ServerState(), loop=loop)
    protocol.connection_made(transport)
    if spy is not None:
        spy(protocol)
    for data, pauses in zip(reads, turns or [4] * len(reads), strict=True):
        if not transport.is_closing():
            protocol.data_received(data)
            for _ in range(pauses):
                await asyncio.sleep(0)
    for _ in range(4):
        await asyncio.sleep(0)
    is_closed = transport.is_closing()
    protocol.connection_lost(None)
    return seen, transport.written, is_closed


class CountingParser:
    """Counts what it is fed."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self.fed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> None:
        self.fed += 1
        self._parser.feed_data(data)


@pytest.mark.parametrize("start", [b"POST /chatkit HTTP/1.1", b"POST /stream HTTP/1.1"])
async def test_from_the_third_time_on_a_head_is_not_parsed(start: bytes) -> None:
    """Nor is it behind a stream, for whose time nothing of the head is kept."""
    parsers: list[CountingParser] = []

    def spy(protocol: ClientProtocol) -> None:
        parsers.append(CountingParser(protocol._parser))
        protocol._parser = parsers[0]  # type: ignore[assignment]  # as much of one as it needs

    reads = [
        request(b"Cookie: a=b", b"Content-Length: %d" % size, body=b"x" * size, start=start)
        for size in (2, 3, 0, 10, 200)
    ]
    seen, written, _ = await talk(ClientProtocol, reads, heads := Heads(), spy)

    assert [len(one.body) for one in seen] == [2, 3, 0, 10, 200]
    assert [dict(one.headers)[b"content-length"] for one in seen] == [b"2", b"3", b"0", b"10", b"200"]
    assert written.count(b"HTTP/1.1 200 OK") == 5
    assert (parsers[0].fed, len(heads)) == (2, 1)


def test_a_head_is_learned_from_one_of_its_first_requests_or_not_at_all() -> None:
    """A head that cannot be costs no attempt at each of its requests."""
    split, whole = KNOWN[:-2], KNOWN
    raw = Parsed(KNOWN).headers
    heads = []
    for lesson in (2, 9, 10):
        head = Head(raw, "1.1")
        for time in range(1, 12):
            head.read(raw)
            head.learn(whole if time == lesson else split, raw, method=b"POST", target=b"/chatkit")
            if head.template is not None:
                break
        heads.append(head.template is not None)

    assert heads == [True, True, False]


PARTS = st.sampled_from(
    [
        b"X-Request-ID: 1",
        b"X-Request-ID: 22",
        b"X-Request-ID: a b",
        b"x-request-id:\t1",
        b"X-Request-ID:",
        b"Cookie: a=b",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Expect: 100-continue",
        b"Upgrade: h2c\r\nConnection: upgrade",
        b"Transfer-Encoding: chunked",
        b"Content-Length: 1",
        b"A: b\r\n c",
        b"A: b\nB: c",
    ]
)
STARTS = st.sampled_from(
    [
        b"POST /chatkit HTTP/1.1",
        b"POST /stream HTTP/1.1",
        b"GET / HTTP/1.1",
        b"POST /chatkit HTTP/1.0",
        b"GET /a?b=c HTTP/1.1",
        b"GET http://a HTTP/1.1",
        b"POST http://h:?x HTTP/1.1",
        b"GET http://a/b HTTP/1.1",
    ]
)
BODIES = st.sampled_from(
    [b"", b"{}", b"{ }", b"\r\n\r\n", b"1\r\na\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"]
)


@st.composite
def connections(draw: st.DrawFn) -> list[bytes]:
    """Reads of a connection: requests that resemble each other, some of them damaged or cut in two."""
    lines, start = draw(st.lists(PARTS, max_size=3)), draw(STARTS)
    reads: list[bytes] = []
    for _ in range(draw(st.integers(3, 7))):
        body = draw(BODIES)
        zeros = b"0" * draw(st.sampled_from([0] * 8 + [3, 8, 5000]))
        length = [b"Content-Length: %b%d" % (zeros, draw(st.sampled_from([len(body)] * 6 + [0, 2, len(body) + 1])))]
        line = draw(st.sampled_from([start] * 6 + [b"GET / HTTP/1.1", b"GET http://a HTTP/1.1"]))
        some = [*lines, *(length if draw(st.integers(0, 9)) else []), *draw(st.sampled_from([[]] * 6 + [[b"B: c"]]))]
        data = request(*some, body=body, start=line)
        match draw(st.sampled_from(["whole"] * 6 + ["cut", "changed", "more"])):
            case "cut":
                at = draw(st.integers(1, len(data) - 1))
                reads += [data[:at], data[at:]]
            case "changed":
                at = draw(st.integers(0, len(data) - 1))
                reads.append(
                    data[:at]
                    + draw(st.sampled_from([b"", b" ", b"\r", b"\n", b"\x00", b"\xff", b"0", b":"]))
                    + data[at + 1 :]
                )
            case "more":
                reads.append(data + draw(st.sampled_from([b"\r\n", b"x", data])))
            case _:
                reads.append(data)
    return reads


@settings(max_examples=300, deadline=None)
@given(reads=connections(), turns=st.lists(st.sampled_from([0, 1, 4, 4]), min_size=20, max_size=20))
def test_nothing_is_read_otherwise_than_by_the_parser(reads: list[bytes], turns: list[int]) -> None:
    """The same requests, the same answers, the same end, whatever came before on this connection and on another."""
    heads = Heads()

    async def compare() -> None:
        for _ in range(2):
            expected = await talk(Parsing, reads, Heads(), turns=turns[: len(reads)])
            assert await talk(ClientProtocol, reads, heads, turns=turns[: len(reads)]) == expected

    asyncio.run(compare())
