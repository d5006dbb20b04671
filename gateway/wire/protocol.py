"""One client connection: uvicorn's HTTP protocol, with limits on what a client may send and how slowly.

Rules: a request's head is bounded in bytes, count and time. One request at a time: a few bytes that come early wait for
the answer under way; more of them, or a second request in one read, and the connection closes after that answer. So it
does after an answer that came before the end of its request. Trailers are counted and dropped, they never become
headers. A path is given on as it came, not decoded. What is refused here is answered in the form of every other error,
once, and never into an answer under way.

Leans on uvicorn 0.54's classes; a contract test holds the names used here.
"""

import asyncio
import contextlib
import enum
import fcntl
import logging
import sys
import termios
from dataclasses import dataclass
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.errors import GatewayError, HeadersTooLarge, MalformedRequest, RequestTimeout
from gateway.wire.framing import build_refusal, check_framing

logger = logging.getLogger("gateway.server")


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


class _Reading(enum.Enum):
    """What the next byte belongs to."""

    HEAD = enum.auto()  # a request's head, or its first byte
    BODY = enum.auto()
    NOTHING = enum.auto()  # the connection closes once the answer is out; bytes are dropped unread


class _Pipelined(Exception):
    """A request behind one that is still running. Browsers and proxies do not do that; RFC 9112 section 9.3.2."""


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with limits."""

    limits: ClassVar[ServerLimits]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading = _Reading.HEAD
        self._early = b""  # of the next request, while an answer is under way
        self._received = 0  # bytes since the request began
        self._parsed = 0  # bytes of the parts of it that the parser has given
        self._parts = 0  # headers and trailers
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._untaken = 0  # bytes that the client had still to take when the timer was armed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm_head_timer()
        self._disarm_write_timer()
        # uvicorn does so only after an orderly end; after a reset the timer would keep all of this in memory.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._reading is _Reading.NOTHING:
            return
        if self._reading is _Reading.HEAD and self._is_answering():
            self._hold(data)
            return
        if self._reading is _Reading.HEAD:
            if self._head_timer is None:
                self._arm_head_timer()
            self._received += len(data)
        super().data_received(data)
        # A head that is not complete yet; one that came in a single read is counted header by header.
        if self._reading is _Reading.HEAD and self._received > self.limits.max_head:
            self._refuse(HeadersTooLarge(f"head of more than {self.limits.max_head} bytes"))

    def on_message_begin(self) -> None:
        if self._is_answering():
            raise _Pipelined
        super().on_message_begin()
        self._disarm_write_timer()
        self._parsed = self._parts = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._parts >= self.limits.max_headers:
            raise HeadersTooLarge(f"more than {self.limits.max_headers} headers")
        self._parts += 1
        self._count(len(name) + len(value) + len(b": \r\n"))
        # Behind the body the parser gives trailers by the same name; uvicorn would add them to the scope's headers,
        # where whoever filtered the head in front of us has not seen them. RFC 9110 section 6.5.1.
        if self._reading is _Reading.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._count(len(self.parser.get_method()) + len(b"  HTTP/1.1\r\n\r\n"))
        check_framing(self.headers, self.parser.get_http_version())
        if self.parser.should_upgrade() and _has_body(self.headers):
            raise MalformedRequest("an upgrade with a body: the parser stops behind the head, and would lose it")
        super().on_headers_complete()
        # uvicorn decodes the path, the task that reads it has not begun. What a proxy in front has filtered is what is
        # matched here, for the gateway's own endpoints as for routes: `/%6Civez` is not `/livez`.
        self.scope["path"] = self.scope["raw_path"].decode("ascii")
        self._reading = _Reading.BODY
        self._received = 0
        self._disarm_head_timer()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._reading = _Reading.HEAD

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._reading is _Reading.BODY and not self.transport.is_closing():
            # Half-closed, so that the client can read the answer: a close on unread bytes would reset it.
            self._reading = _Reading.NOTHING
            self.transport.write_eof()
            self._arm_head_timer()
        if self.transport.get_write_buffer_size():
            self._arm_write_timer()
        if self._early and not self.transport.is_closing():
            early, self._early = self._early, b""
            self.data_received(early)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm_write_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._disarm_write_timer()
        if not self._is_answering():
            # The last of it: nothing more will be written that could fill the buffer again and wake us.
            self._arm_write_timer()

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this inside its handler of a parser error; what we raised ourselves is that error's context."""
        cause = _current_cause()
        if self._is_answering() and self._reading is not _Reading.BODY:
            # Behind a whole request whose answer is under way: the answer stands, and is the last one.
            self._close_after_answer()
        else:
            self._refuse(cause if isinstance(cause, GatewayError) else MalformedRequest(msg))

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade is not done, and the request is served as what it is otherwise. The parser stops behind it."""
        self._close_after_answer()

    def _hold(self, data: bytes) -> None:
        """We go on reading all the same: only that tells us when the client leaves."""
        self._early += data
        if len(self._early) > self.limits.max_head:
            self._close_after_answer()

    def _close_after_answer(self) -> None:
        self._reading, self._early = _Reading.NOTHING, b""
        self.cycle.keep_alive = False

    def _refuse(self, error: GatewayError) -> None:
        if self.transport.is_closing():
            return
        logger.info("request refused", extra={"fields": {"code": error.code, "reason": str(error)}})
        cycle: RequestResponseCycle | None = self.cycle
        answered = cycle is not None and self._reading is _Reading.BODY and cycle.response_started
        if cycle is not None and not cycle.response_complete:
            # Its own body is bad: the app learns that nobody is left to answer.
            cycle.disconnected = True
            cycle.message_event.set()
        self._reading = _Reading.NOTHING
        if not answered:
            self.transport.write(build_refusal(error))
        self.transport.close()
        self._arm_write_timer()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _count(self, size: int) -> None:
        self._parsed += size
        if self._parsed > self.limits.max_head:
            raise HeadersTooLarge(f"head of more than {self.limits.max_head} bytes")

    def _arm_head_timer(self) -> None:
        self._disarm_head_timer()
        self._head_timer = self.loop.call_later(self.limits.head_timeout, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._reading is _Reading.HEAD and self._received:
            self._refuse(RequestTimeout(f"headers not complete within {self.limits.head_timeout:g} s"))
        else:
            self.transport.close()

    def _disarm_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _arm_write_timer(self) -> None:
        self._disarm_write_timer()
        self._untaken = count_untaken(self.transport)
        self._write_timer = self.loop.call_later(self.limits.write_timeout, self._write_is_late)

    def _write_is_late(self) -> None:
        self._write_timer = None
        if not self.transport.get_write_buffer_size():
            return
        if count_untaken(self.transport) < self._untaken:
            self._arm_write_timer()
            return
        logger.info(
            "client cut off",
            extra={"fields": {"reason": f"took nothing for {self.limits.write_timeout:g} s (write_timeout)"}},
        )
        self.transport.abort()

    def _disarm_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def _current_cause() -> BaseException | None:
    error = sys.exc_info()[1]
    return error.__context__ if error is not None else None


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


def _has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")
        for name, value in headers
    )
