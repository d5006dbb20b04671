"""One request and its answer, as ASGI sees them: `receive` and `send` over a client's connection.

Rules: an answer is framed once, from its own headers: by its length, in chunks, or for HTTP/1.0 by the connection's
end; a head with a line end in a value is never written; an answer that breaks off is never completed by the framing.
Knows nothing of limits, of parsing, or of what comes behind the request: that is `protocol`'s.

Sources: the ASGI specification, HTTP 2.3; RFC 9112 sections 6 and 7; RFC 9110 section 10.1.1 (100-continue).
"""

import asyncio
import http
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from gateway.wire.asgi import BODY_FOLLOWS, DONE, Headers, Message, Scope

# Bytes of a body that may wait for the app before the socket is no longer read.
HIGH_WATER: Final = 64 * 1024

# Pieces of it: a client that sends chunks of a byte must not make us keep fifty for each.
MAX_PIECES: Final = 256

_NO_BODY = frozenset({204, 304})
_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else ''}".encode()
    for status in range(200, 600)
}


class Wire(Protocol):
    """What an exchange needs of its connection."""

    is_full: bool

    @property
    def transport(self) -> asyncio.Transport: ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    def write(self, data: bytes) -> None: ...

    def write_whole(self, answer: bytes) -> None: ...

    async def wait_writable(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def on_answered(self) -> None: ...

    def forget_headers(self) -> None: ...


class Exchange:
    """One request and its answer.

    Attributes:
        keep_alive: The connection may carry another request after this one.
        started: The head of the answer is out.
        complete: All of the answer is out.
        gone: The client is, or cannot be answered any more.
        task: What answers.
        varying, memory: As `Direct` has them.
        end_at: When the answer has to be out, in the loop's time; the client gets one `write_timeout` more.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_ended",
        "_expects_continue",
        "_head",
        "_is_old",
        "_is_whole",
        "_left",
        "_news",
        "_on_gone",
        "_size",
        "_wire",
        "_without_body",
        "complete",
        "end_at",
        "gone",
        "keep_alive",
        "memory",
        "scope",
        "started",
        "task",
        "varying",
    )

    def __init__(
        self,
        wire: Wire,
        scope: Scope,
        *,
        varying: Headers,
        memory: dict[Any, Any],
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.scope = scope
        self.varying = varying
        self.memory = memory
        self.keep_alive = keep_alive
        self.started = self.complete = self.gone = False
        self.task: asyncio.Task[None] | None = None
        self.end_at = math.inf
        self._wire = wire
        self._expects_continue = expects_continue
        self._is_old = scope["http_version"] == "1.0"
        self._without_body = scope["method"] == "HEAD"
        self._chunked = False
        self._head = b""  # not out yet
        self._left: int | None = None  # bytes of the answer still to come, where its length was declared
        self._body: list[bytes] = []
        self._size = 0  # of what waits in it
        self._ended = False  # and not told yet
        self._is_whole = False
        self._news: asyncio.Future[None] | None = None
        self._on_gone: Callable[[], None] | None = None

    # ASGI's side

    async def receive(self) -> Message:
        """The next piece of the body, or that the client has gone."""
        if self._expects_continue:
            self._expects_continue = False
            if not self.started and not self.gone:
                self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.gone or self.complete):
            if self._body or self._ended:
                return self._take_body()
            self._wire.resume_reading()
            self._news = self._wire.loop.create_future()
            await self._news
        return {"type": "http.disconnect"}

    def send(self, message: Message) -> Awaitable[None]:
        """The head of the answer, then its body; to be awaited, for a client that does not keep up."""
        if self._wire.is_full and not self.gone:
            return self._send_later(message)
        if self.started and not self.gone:
            self._write_body(message.get("body", b""), more=message.get("more_body", False))
        elif not self.gone:
            self._write_head(message["status"], message.get("headers", ()))
            if BODY_FOLLOWS not in message:
                # With the first piece of the body if that comes in the same turn of the loop, and by itself if not.
                self._wire.loop.call_soon(self.flush_head)
        return DONE

    async def _send_later(self, message: Message) -> None:
        while self._wire.is_full and not self.gone:
            await self._wire.wait_writable()
        await self.send(message)

    # the same, asked directly

    def take_body(self) -> bytes | None:
        if not self._ended or self.gone:
            return None
        self._ended = False
        return self._take_pieces()

    def end_in(self, seconds: float) -> None:
        self.end_at = self._wire.loop.time() + seconds

    def forget_headers(self) -> None:
        self.memory = {}
        self._wire.forget_headers()

    def call_when_gone(self, callback: Callable[[], None] | None) -> None:
        self._on_gone = callback
        if self.gone and callback is not None:
            self._wire.loop.call_soon(callback)

    @property
    def is_framed(self) -> bool:
        """Would the client see that the answer broke off?"""
        return not self.started or self._chunked or self._left is not None

    # the connection's side

    def put_body(self, data: bytes) -> None:
        if self.complete or self.gone:
            return
        self._body.append(data)
        if len(self._body) == MAX_PIECES:
            self._body = [b"".join(self._body)]
        self._size += len(data)
        if self._size > HIGH_WATER:
            self._wire.pause_reading()
        self._wake()

    def put_whole(self, body: bytes) -> None:
        """All of it, before anybody has asked for it."""
        self._body.append(body)
        self._ended = self._is_whole = True

    def end_body(self) -> None:
        self._ended = self._is_whole = True
        # There is nothing left to hold back, and only a socket that is read tells when the client leaves.
        self._wire.resume_reading()
        self._wake()

    def leave(self) -> None:
        """Nobody is left to answer."""
        if self.gone or self.complete:
            return
        self.gone = True
        self._wake()
        if self._on_gone is not None:
            self._on_gone()

    def _take_body(self) -> Message:
        more = not self._ended
        self._ended = False  # said once; after it only a disconnect is news
        return {"type": "http.request", "body": self._take_pieces(), "more_body": more}

    def _take_pieces(self) -> bytes:
        pieces, self._body, self._size = self._body, [], 0
        return b"".join(pieces)

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    def _write_head(self, status: int, headers: Headers) -> None:
        self._without_body = self._without_body or status in _NO_BODY
        # The rest of the request's body will not be read, nor what comes behind it.
        self.keep_alive = self.keep_alive and self._is_whole
        # ASGI promises pairs, not tuples.
        lines = [b"%b: %b" % (name, value) for name, value in headers]
        length = dict(headers).get(b"content-length")
        if length is not None:
            self._left = int(length)
        elif not self._without_body:
            # RFC 9112 section 6.1: never a transfer coding towards HTTP/1.0; there the end of the connection is it.
            self._chunked = not self._is_old
            self.keep_alive = self.keep_alive and self._chunked
        if self._chunked:
            lines.append(b"transfer-encoding: chunked")
        if not self.keep_alive:
            lines.append(b"connection: close")
        # No value smuggles another header in.
        text = b"".join(lines)
        if 10 in text or 13 in text or 0 in text:
            raise ValueError("a header of the answer has a line end or NUL in it")
        self.started = True
        self._head = b"\r\n".join([_STATUS_LINES[status], *lines, b"", b""])

    def flush_head(self) -> None:
        """Send the head now, if it waits for a body that may not come."""
        head, self._head = self._head, b""
        if head and not self.gone:
            self._wire.write(head)

    def _write_body(self, body: bytes, *, more: bool) -> None:
        if self.complete:
            raise RuntimeError("the answer was complete already")
        if self._without_body:
            body = b""
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError(f"the answer is {abs(self._left)} bytes off its content-length")
        head, self._head = self._head, b""
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = piece if more else piece + b"0\r\n\r\n"
        if head and not more:
            self._wire.write_whole(head + body)
        elif head or body:
            self._wire.write(head + body if head else body)
        if not more:
            self.complete = True
            self._on_gone = None
            self._wake()
            self._wire.on_answered()
