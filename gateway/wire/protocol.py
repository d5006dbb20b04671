"""One client connection: HTTP/1.1 as this server speaks it, with limits on what a client may send and how slowly.

Rules: a request's head is bounded in bytes, count and time. One request at a time: a few bytes that come early wait for
the answer under way; more of them, or a second request in one read, and the connection closes after that answer. So it
does after an answer that came before the end of its request. Trailers are counted and dropped, they never become
headers. A path is given on as it came, not decoded. What is refused here is answered in the form of every other error,
once, and never into an answer under way.

uvicorn's server makes one of these per connection; its part of the contract (four arguments, the two sets of its
state, `shutdown`) is held by a test.

Sources: RFC 9112 sections 2.2, 3.2, 7.1.2 and 9; RFC 9110 section 6.5.1 (trailers).
"""

import asyncio
import contextlib
import fcntl
import logging
import math
import sys
import termios
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, NamedTuple

import httptools
from uvicorn.server import ServerState

from gateway.errors import GatewayError, HeadersTooLarge, InternalError, MalformedRequest, RequestTimeout
from gateway.outbox import Outbox
from gateway.wire.asgi import App, Headers, Scope, offer_direct, withdraw_direct
from gateway.wire.exchange import Exchange
from gateway.wire.framing import build_refusal
from gateway.wire.heads import Head, Heads

logger = logging.getLogger("gateway.server")

# What a request line has besides method and target, with the empty line that ends the head.
_LINE_REST: Final = len(b"  HTTP/1.1\r\n\r\n")
# What a header line has besides name and value.
_HEADER_REST: Final = len(b": \r\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What one client connection may cost. Bytes, counts and seconds.

    Attributes:
        head_timeout: From the first byte of a request until its headers are complete.
        keep_alive: An idle connection is closed after this.
        write_timeout: A client that takes nothing for this long is cut off.
    """

    max_head: int
    max_headers: int
    head_timeout: float
    keep_alive: float
    write_timeout: float


class _Reading(Enum):
    """What the next byte belongs to."""

    HEAD = auto()  # a request's head, or its first byte
    BODY = auto()
    NOTHING = auto()  # the connection closes once the answer is out; bytes are dropped unread


_HEAD, _BODY, _NOTHING = _Reading


class _Target(NamedTuple):
    """A request's target, and what it was split into."""

    url: bytes
    path: bytes
    query: bytes


class _Pipelined(Exception):
    """A request behind one that is still running. Browsers and proxies do not do that; RFC 9112 section 9.3.2."""


class ClientProtocol(asyncio.Protocol):
    """One client connection.

    Args:
        app: What answers.
        limits: What the connection may cost.
        heads, outbox: The server's.
        state: The server's: `connections` and `tasks`, to which this adds and from which it removes itself.
        on_refused: Told of what is no request that the app could answer, and so never hears of.

    Attributes:
        loop: The event loop that the connection lives in.
        is_full: The client does not keep up: `wait_writable` before more is written.
    """

    __slots__ = (
        "__weakref__",
        "_addresses",
        "_app",
        "_around_body",
        "_data",
        "_deadline",
        "_early",
        "_exchange",
        "_has_body_data",
        "_head",
        "_heads",
        "_is_paused",
        "_last",
        "_limits",
        "_max_head",
        "_max_headers",
        "_on_refused",
        "_outbox",
        "_parser",
        "_parts",
        "_raw",
        "_reading",
        "_received",
        "_state",
        "_target",
        "_timer",
        "_unsent",
        "_untaken",
        "_url",
        "_writable",
        "_write_timer",
        "is_full",
        "loop",
        "transport",
    )

    def __init__(
        self,
        *,
        app: App,
        limits: ServerLimits,
        heads: Heads,
        outbox: Outbox,
        state: ServerState,
        on_refused: Callable[[GatewayError], None] = lambda _: None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.transport: asyncio.Transport
        self.is_full = False
        self._app = app
        self._limits = limits
        self._max_head = limits.max_head
        self._max_headers = limits.max_headers
        self._heads = heads
        self._outbox = outbox
        self._state = state
        self._on_refused = on_refused
        self.loop = loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._addresses: Scope = {}  # what is the same in the scope of each request
        self._exchange: Exchange | None = None
        self._reading = _HEAD
        self._early = b""  # of the next request, while an answer is under way
        self._received = 0  # bytes of a head that is not complete yet
        self._parts = 0  # headers of the request under way
        self._around_body = 0  # bytes of reads that brought nothing of the body they belong to
        self._data = b""  # the read under way
        self._has_body_data = False  # in it
        self._url = b""
        self._raw: Headers = []  # as the parser gives them: of a head, then of trailers
        self._head: Head | None = None  # of the last request
        self._last: weakref.ref[Head] | None = None  # the same, where it may not be kept
        self._target: _Target | None = None
        self._unsent = b""  # a whole answer, until the end of this turn of the loop
        self._is_paused = False
        self._writable: asyncio.Future[None] | None = None
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._untaken = 0  # bytes that the client had still to take when the write timer was armed

    def __repr__(self) -> str:
        return f"<ClientProtocol {self._addresses.get('client')} {self._reading.name.lower()}>"

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream transport is what a server's socket gives
        self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own protocols only
        is_tls = transport.get_extra_info("sslcontext") is not None
        self._addresses = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "root_path": "",
            "scheme": "https" if is_tls else "http",
            "client": _address(transport.get_extra_info("peername")),
            "server": _address(transport.get_extra_info("sockname")),
        }
        self._close_in(self._limits.head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        self._deadline = math.inf
        if self._timer is not None:
            self._timer.cancel()
        self._disarm_write_timer()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.leave()
        self._let_write()
        # They hold us and we them: without this only the collector would free a connection's memory.
        del self._parser

    def eof_received(self) -> None:
        """The client has closed, or half-closed: browsers and proxies do that when they leave. The transport closes."""
        if self._exchange is not None:
            self._exchange.leave()
        self._send_off()
        self._watch_untaken()

    def data_received(self, data: bytes) -> None:
        if self._reading is _NOTHING:
            return
        self._has_body_data = False
        if self._reading is _HEAD:
            if self._is_answering():
                self._hold(data)
                return
            if not self._received and self._read_again(data):
                return
            if len(data) > self._max_head:
                # A head is judged when it is complete: nobody makes us parse more than we would take.
                self.data_received(data[: self._max_head])
                self.data_received(data[self._max_head :])
                return
            self._received += len(data)
        self._data = data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Not done; the request is served as what it is otherwise. The parser has stopped behind it.
            self._close_after_answer()
        except httptools.HttpParserError as exc:
            self._fail(exc)
        self._data = b""
        if self._reading is _HEAD and self._received:
            self._await_rest_of_head(len(data))
        elif self._reading is _BODY:
            self._count_around_body(len(data))

    def pause_writing(self) -> None:
        self.is_full = True
        self._arm_write_timer()

    def resume_writing(self) -> None:
        self._let_write()
        self._disarm_write_timer()
        if not self._is_answering():
            # The last of it: nothing more will be written that could fill the buffer again and wake us.
            self._arm_write_timer()

    # the parser's callbacks

    def on_message_begin(self) -> None:
        if self._is_answering():
            raise _Pipelined
        self._disarm_write_timer()
        self._around_body = 0
        self._url = b""
        self._raw = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._raw.append((name, value))

    def on_headers_complete(self) -> None:
        parser, raw = self._parser, self._raw
        self._raw = []
        method: bytes = parser.get_method()
        version: str = parser.get_http_version()
        self._parts = len(raw)
        if self._parts > self._max_headers or self._received > self._max_head:
            self._check_size(method, raw)
        head = self._head
        if head is None or not head.is_again(raw, version):
            head = self._head = self._heads.find(raw, version, head)
        headers, varying, has_body = head.read(raw)
        if has_body and parser.should_upgrade():
            raise MalformedRequest("an upgrade with a body: the parser stops behind the head, and would lose it")
        is_kept = version != "1.0" and parser.should_keep_alive()
        is_plain = is_kept and len(self._data) == self._received and not parser.should_upgrade()
        expects_continue = has_body and head.framing.expects_continue
        self._begin(head, method, version, headers, varying, is_kept=is_kept, expects_continue=expects_continue)
        if is_plain and head.template is None:
            # Behind everything that may refuse it: what is known again is refused by nobody here.
            head.learn(self._data, raw, method=method, target=self._url)

    def _read_again(self, data: bytes) -> bool:
        """Was this one request with a head that came before? Then it is answered, and the parser need not see it: it
        stands where it would stand behind it."""
        head = self._head or (self._last() if self._last is not None else None)
        template = head.template if head is not None else None
        known = template.read(data) if template is not None and len(data) <= self._max_head else None
        if head is None or template is None or known is None:
            return False
        values, body = known
        if self._write_timer is not None:
            self._disarm_write_timer()
        self._head = head
        self._url = template.target
        headers, varying = head.fill(values)
        exchange = self._begin(head, template.method, "1.1", headers, varying, is_kept=True, expects_continue=False)
        exchange.put_whole(body)
        self._reading = _HEAD
        return True

    def _begin(
        self,
        head: Head,
        method: bytes,
        version: str,
        headers: Headers,
        varying: Headers,
        *,
        is_kept: bool,
        expects_continue: bool,
    ) -> Exchange:
        """A request whose head is complete."""
        target = self._target
        if target is None or target.url != self._url:
            target = self._target = _Target(self._url, *split_target(self._url))
        scope: Scope = {
            **self._addresses,
            "http_version": version,
            "method": method.decode("ascii"),
            # Not decoded: what a proxy in front has filtered is what is matched here. `/%6Civez` is not `/livez`.
            "path": target.path.decode("ascii"),
            "raw_path": target.path,
            "query_string": target.query,
            "headers": headers,
        }
        self._exchange = exchange = Exchange(
            self,
            scope,
            varying=varying,
            memory=head.memory,
            keep_alive=is_kept,
            expects_continue=expects_continue,
        )
        offer_direct(scope, exchange)
        self._reading = _BODY
        self._received = 0
        self._deadline = math.inf
        exchange.task = self.loop.create_task(self._answer(exchange))
        self._state.tasks.add(exchange.task)
        return exchange

    def on_body(self, data: bytes) -> None:
        self._has_body_data = True
        if self._exchange is not None:
            self._exchange.put_body(data)

    def on_message_complete(self) -> None:
        if self._raw:
            self._count_trailers()
        self._reading = _HEAD
        if self._exchange is not None:
            self._exchange.end_body()

    # the exchange's side, and the server's

    def write(self, data: bytes) -> None:
        """Behind what still waits."""
        unsent, self._unsent = self._unsent, b""
        self.transport.write(unsent + data if unsent else data)

    def write_whole(self, answer: bytes) -> None:
        """Together with the other answers of this turn of the loop.

        A client of TLS that closes without a `close_notify` in the same turn does not get it any more; one whose answer
        takes longer than a turn never did.
        """
        self._unsent += answer
        self._outbox.put(self.loop, self._send_off)

    async def wait_writable(self) -> None:
        """Until the client has taken enough, or is gone."""
        if self._writable is None:
            self._writable = self.loop.create_future()
        # Shielded: whoever stops waiting must not cancel the waiting of the next.
        await asyncio.shield(self._writable)

    def pause_reading(self) -> None:
        if not self._is_paused and not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_paused and not self.transport.is_closing():
            self._is_paused = False
            self.transport.resume_reading()

    def on_answered(self) -> None:
        """The answer is out. What is the connection good for now?"""
        self.resume_reading()
        transport = self.transport
        if transport.is_closing():
            return
        self._watch_untaken()
        if self._reading is _BODY:
            self._half_close()
        elif not self._is_kept():
            self._close()
        elif self._early:
            early, self._early = self._early, b""
            self.data_received(early)
        else:
            self._close_in(self._limits.keep_alive)

    def forget_headers(self) -> None:
        self._last = weakref.ref(self._head) if self._head is not None else None
        self._head = None

    def shutdown(self) -> None:
        """The server stops: close now, or after the answer under way."""
        if self._exchange is not None and not (self._exchange.complete or self._exchange.gone):
            self._exchange.keep_alive = False
        else:
            self._close()

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            # Only a server that ends cancels requests, after every deadline: there is nothing left to say.
            self.transport.abort()
        except Exception:
            logger.exception("the app failed")
            if not (exchange.started or exchange.gone):
                self._refuse(InternalError("the app failed"))
        if not (exchange.complete or exchange.gone):
            # Broken off. A length or chunks tell the client so; without either only a reset does.
            exchange.flush_head()
            self._close() if exchange.is_framed else self.transport.abort()
        if exchange.task is not None:
            self._state.tasks.discard(exchange.task)
            exchange.task = None
        # It leads back to the exchange: a request leaves no cycle for the collector.
        withdraw_direct(exchange.scope)

    # limits

    def _is_answering(self) -> bool:
        return self._exchange is not None and not self._exchange.complete

    def _is_kept(self) -> bool:
        return self._exchange is not None and self._exchange.keep_alive and self._reading is _HEAD

    def _hold(self, data: bytes) -> None:
        """We go on reading all the same: only that tells us when the client leaves."""
        self._early += data
        if len(self._early) > self._limits.max_head:
            self._close_after_answer()

    def _close_after_answer(self) -> None:
        self._reading, self._early = _NOTHING, b""
        if self._exchange is not None:
            self._exchange.keep_alive = False
            self._exchange.end_body()

    def _half_close(self) -> None:
        """So that the client can read the answer: a close on bytes that were not read would reset the connection."""
        self._reading = _NOTHING
        self._send_off()
        if self.transport.can_write_eof():
            # The client may have reset the connection a moment ago: asyncio tells us so, uvloop does not.
            with contextlib.suppress(OSError):
                self.transport.write_eof()
        self._close_in(self._limits.head_timeout)

    def _await_rest_of_head(self, size: int) -> None:
        """A head that is not complete yet; one that came in a single read is counted header by header."""
        if self._received > self._limits.max_head:
            self._refuse(HeadersTooLarge(f"head of more than {self._limits.max_head} bytes"))
        elif self._received == size:
            self._close_in(self._limits.head_timeout)

    def _fail(self, exc: httptools.HttpParserError) -> None:
        cause = exc.__context__
        if self._is_answering() and self._reading is not _BODY:
            # Behind a whole request whose answer is under way: the answer stands, and is the last one.
            self._close_after_answer()
        else:
            self._refuse(cause if isinstance(cause, GatewayError) else MalformedRequest(f"{exc}"))

    def _refuse(self, error: GatewayError) -> None:
        if self.transport.is_closing():
            return
        logger.info("request refused", extra={"fields": {"code": error.code, "reason": str(error)}})
        exchange = self._exchange
        is_begun = exchange is not None and not exchange.complete and exchange.started
        if exchange is None or exchange.complete:
            self._on_refused(error)
        else:
            # Its own body is bad: the app learns that nobody is left to answer.
            exchange.leave()
        if exchange is not None and is_begun:
            exchange.flush_head()
            self._reading = _NOTHING
            self._close()
        else:
            self.write(build_refusal(error))
            self._watch_untaken()
            self._half_close()

    def _count_around_body(self, size: int) -> None:
        """What comes with a body and is none: the parser tells of a trailer only when it is complete."""
        self._around_body = 0 if self._has_body_data else self._around_body + size
        if self._around_body > self._max_head:
            self._refuse(HeadersTooLarge(f"trailers of more than {self._max_head} bytes"))

    def _check_size(self, method: bytes, raw: Headers) -> None:
        """For a head that may be too large, unless what came with it is its body."""
        size = len(method) + len(self._url) + _LINE_REST + _size_of(raw)
        if len(raw) > self._max_headers or size > self._max_head:
            raise HeadersTooLarge(f"more than {self._max_headers} headers or a head of {self._max_head} bytes")

    def _count_trailers(self) -> None:
        """They are dropped: whoever filtered the head in front of us has not seen them. Together with the headers they
        may be as many, and by themselves as large."""
        trailers, self._raw = self._raw, []
        if self._parts + len(trailers) > self._max_headers or _size_of(trailers) > self._max_head:
            raise HeadersTooLarge(f"more than {self._max_headers} headers and trailers, or {self._max_head} bytes")

    # time

    def _close_in(self, seconds: float) -> None:
        """One timer for whatever the client has to do next. It is re-armed when it fires, not at every request."""
        self._deadline = self.loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self.loop.call_at(self._deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._deadline == math.inf:
            return
        if self.loop.time() < self._deadline - 0.001:
            self._timer = self.loop.call_at(self._deadline, self._tick)
        elif self._reading is _HEAD and self._received:
            self._refuse(RequestTimeout(f"headers not complete within {self._limits.head_timeout:g} s"))
        else:
            self._close()

    def _close(self) -> None:
        """Close, once the client has taken what is written; it has `write_timeout` for that."""
        self._send_off()
        self.transport.close()
        self._watch_untaken()

    def _send_off(self) -> None:
        """What waits for the end of the turn, if the client is still there."""
        if self._unsent and not self.transport.is_closing():
            self.write(b"")
            if not self._is_answering():
                self._watch_untaken()

    def _watch_untaken(self) -> None:
        if self.transport.get_write_buffer_size():
            self._arm_write_timer()

    def _let_write(self) -> None:
        self.is_full = False
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _arm_write_timer(self) -> None:
        self._disarm_write_timer()
        self._untaken = count_untaken(self.transport)
        self._write_timer = self.loop.call_later(self._limits.write_timeout, self._write_is_late)

    def _write_is_late(self) -> None:
        self._write_timer = None
        if not self.transport.get_write_buffer_size():
            return
        seconds = self._limits.write_timeout
        is_over = self._exchange is not None and self.loop.time() > self._exchange.end_at + seconds
        if count_untaken(self.transport) < self._untaken and not is_over:
            self._arm_write_timer()
            return
        reason = "took too long for its answer" if is_over else f"took nothing for {seconds:g} s (write_timeout)"
        logger.info("client cut off", extra={"fields": {"reason": reason}})
        self.transport.abort()

    def _disarm_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def _size_of(headers: Headers) -> int:
    return sum(len(name) + len(value) + _HEADER_REST for name, value in headers)


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target, in origin form or absolute form. RFC 9112 section 3.2.

    Raises:
        MalformedRequest: There is no path in it, or bytes that are not ASCII.
    """
    if not target.isascii():
        raise MalformedRequest(f"target {target!r:.200} is not ASCII")
    if target.startswith(b"/") and b"#" not in target:
        path, _, query = target.partition(b"?")
        return path, query
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError as exc:
        raise MalformedRequest(f"target {target!r:.200}") from exc
    if not url.path:
        raise MalformedRequest(f"target {target!r:.200} has no path")
    return url.path, url.query or b""


def count_untaken(transport: asyncio.WriteTransport) -> int:
    """Bytes written for the client that it has not acknowledged: in our buffer, and in the kernel's.

    The kernel's part matters: it calls a socket writable only when a good part of a large send buffer is free, and our
    buffer stands still meanwhile, however steadily the client reads. Linux tells it by SIOCOUTQ; elsewhere it is 0.
    """
    waiting = bytearray(4)
    sock = transport.get_extra_info("socket")
    if sock is not None and sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, waiting)
    return transport.get_write_buffer_size() + int.from_bytes(waiting, sys.byteorder)


def _address(name: Any) -> tuple[str, int] | None:
    """Host and port; a Unix socket has neither."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple | list) else None
