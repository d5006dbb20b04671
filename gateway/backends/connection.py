"""One HTTP/1.1 connection to a backend.

Rules: strict framing (httptools, no leniencies; on top: no transfer coding but a lone `chunked`, no upgrade, no bytes
outside an answer); an answer is complete only when its framing says so. Knows nothing of pools or routes.

Sources: RFC 9112 sections 6 and 9, RFC 9110 section 15.2 (interim answers).
"""

import asyncio
import logging
import select
from collections.abc import Callable
from functools import partial
from typing import Final

import httptools

from gateway.backends.alarm import Alarm
from gateway.backends.answer import HIGH_WATER, Answer, Headers
from gateway.errors import BackendInterrupted, BackendInvalid, GatewayError, InternalError
from gateway.outbox import Outbox

logger = logging.getLogger("gateway.backends")

# Bytes of status line and headers; browsers and proxies take 8 to 64 KB.
MAX_HEAD: Final = 64 * 1024

# What a header line has besides name and value.
_HEADER_REST: Final = len(b": \r\n")

# The other side will send nothing more; a reset is always told. Linux has the word for the first.
_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0)

# A name, and what makes its value when the request goes out: without line ends, which nobody looks for any more.
LateHeader = tuple[bytes, Callable[[], bytes]]

_NO_BODY = frozenset({204, 205, 304})


class Connection(asyncio.Protocol):
    """One socket. Carries one exchange at a time.

    Args:
        on_free: Called when an answer is complete and the connection can carry another exchange.
        on_lost: Called once when the socket is gone.
        outbox: The pool's.
        on_head: Called with the status of each answer as soon as it is there.
    """

    __slots__ = (
        "_alarm",
        "_answer",
        "_chunked",
        "_headers",
        "_loop",
        "_on_free",
        "_on_head",
        "_on_lost",
        "_outbox",
        "_parser",
        "_paused",
        "_pieces",
        "_received",
        "_sending",
        "_trailer_bytes",
        "_transport",
        "_unmade",
        "_unsent",
        "_until_close",
        "_without_body",
        "_writable",
    )

    def __init__(
        self,
        *,
        on_free: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
        outbox: Outbox,
        on_head: Callable[[int], None] | None = None,
    ) -> None:
        # Asked once: to ask is a system call, until Python 3.12.
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._loop)
        self._on_free = on_free
        self._on_lost = on_lost
        self._on_head = on_head
        self._outbox = outbox
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._without_body = False
        self._until_close = False
        self._paused = False
        self._trailer_bytes = 0
        self._received = 0  # bytes since the request was sent
        self._headers: Headers = []
        self._pieces: list[bytes] = []  # of the body, from the read that is being parsed
        # A whole request, until the end of this turn of the loop: what makes it, then itself.
        self._unmade: Callable[[], bytes] | None = None
        self._unsent = b""
        self._sending = False
        self._chunked = False
        self._writable: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def is_hung_up(self) -> bool:
        """Has the backend closed, as far as the system knows? The loop may hear of it a turn later."""
        if self._transport is None:
            return True
        look = select.poll()
        # Not "is there something to read": on TLS that may be a ticket for the next session.
        look.register(self._transport.get_extra_info("socket").fileno(), _HUNG_UP)
        return bool(look.poll(0))

    @property
    def is_sending(self) -> bool:
        """A body that comes in pieces has not ended."""
        return self._sending

    def send(
        self,
        head: bytes,
        body: bytes | None,
        *,
        late: LateHeader | None = None,
        chunked: bool = False,
        without_body: bool = False,
    ) -> Answer:
        """Send a request; the answer fills as it comes.

        Args:
            head: Request line and headers, without the empty line.
            late: One header more.
            body: All of it; or None, and `send_more` and `finish_sending` follow.
            chunked: With None: its length is not known beforehand.
            without_body: The answer has no body whatever its headers say (the request is a HEAD).
        """
        if self._transport is None or self._answer is not None:
            raise RuntimeError("the connection is not free")
        self._answer = answer = Answer(self, self._loop, self._alarm)
        self._without_body, self._until_close = without_body, False
        self._trailer_bytes = self._received = 0
        self._sending, self._chunked = body is None, chunked
        if body is not None and len(body) < HIGH_WATER:
            self._unmade = partial(_finish, head, late, body)
            self._outbox.put(self._loop, self._send_off, self._make)
            return answer
        self._unmade = partial(_finish, head, late, b"")
        self._make()
        self._send_off()
        if body and self.is_open:
            self._transport.write(body)
        return answer

    def _make(self) -> None:
        """What is left to do before the request can go out; if that fails, so does the exchange."""
        unmade, self._unmade = self._unmade, None
        if unmade is None or not self.is_open or self._answer is None or self._answer.failure is not None:
            return
        try:
            self._unsent = unmade()
        except Exception as exc:
            logger.exception("a request could not be made")
            self._break(InternalError(f"{type(exc).__name__}"))

    def _send_off(self) -> None:
        """The request that waits, unless it was broken off meanwhile."""
        request, self._unsent = self._unsent, b""
        if request and self._transport is not None and not self._transport.is_closing():
            self._transport.write(request)

    async def send_more(self, data: bytes) -> None:
        """The next piece of the request's body."""
        if self._writable is not None:
            # Shielded: whoever stops waiting must not cancel the waiting of the next.
            await asyncio.shield(self._writable)
        if self.is_open and self._transport is not None and data:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish_sending(self) -> None:
        self._sending = False
        if self._chunked and self.is_open and self._transport is not None:
            self._transport.write(b"0\r\n\r\n")

    def abort(self) -> None:
        """Drop the socket without ceremony; the backend sees a reset within a round trip."""
        self._answer = None
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream transport is what we asked for

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            # Bytes that nobody asked for would be taken for the next answer.
            self.abort()
            return
        if self._unmade is not None or self._unsent:
            self._break(BackendInvalid("answered before it was asked"))
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break(BackendInvalid("answered with an upgrade"))
        except httptools.HttpParserError as exc:
            self._break(exc.__context__ if isinstance(exc.__context__, GatewayError) else BackendInvalid(f"{exc}"))
        if self._pieces:
            self._hand_over(answer)
        # A head that is not complete yet; of a complete one the headers are counted, for a body may share its read.
        if self._answer is answer and not answer.status and self._received > MAX_HEAD:
            self._break(BackendInvalid(f"headers of more than {MAX_HEAD} bytes"))

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def eof_received(self) -> bool:
        if self._answer is not None and self._until_close and self._answer.status:
            self._complete(reusable=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.resume_writing()
        self._alarm.stop()
        answer, self._answer = self._answer, None
        if answer is not None:
            what = "in the middle of its answer" if answer.status else "before it answered"
            answer.fail(BackendInterrupted(f"the connection ended {what}{f': {exc}' if exc else ''}"))
        self._on_lost(self)

    # the parser's callbacks

    def on_message_begin(self) -> None:
        if self._answer is None:
            raise BackendInvalid("more bytes than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None and self._answer.status:
            # Trailers are not passed on.
            self._trailer_bytes += len(name) + len(value) + _HEADER_REST
            if self._trailer_bytes > MAX_HEAD:
                raise BackendInvalid(f"trailers of more than {MAX_HEAD} bytes")
        else:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        headers, self._headers = self._headers, []
        if self._received > MAX_HEAD:
            _check_size(headers)
        status = self._parser.get_status_code()
        if status < 200 or self._answer is None:
            return
        _check_version(self._parser.get_http_version(), status)
        is_framed = _check_framing(headers)
        self._until_close = not is_framed and status not in _NO_BODY and not self._without_body
        self._answer.put_head(status, headers)
        if self._on_head is not None:
            self._on_head(status)
        # RFC 9110 section 15.3.6: a 205 has no body, but the parser waits for one.
        if self._without_body or (status == 205 and not is_framed):
            self._complete(reusable=False)

    def on_body(self, data: bytes) -> None:
        if self._answer is None:
            return
        if not self._answer.status:
            raise BackendInvalid("an interim answer with a body")
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self._answer is not None and self._answer.status:
            self._complete(reusable=self._parser.should_keep_alive())
        else:
            # Trailers of an interim answer are no headers of the one that follows.
            self._headers = []

    def _complete(self, *, reusable: bool) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            self._hand_over(answer)
            answer.finish(by_close=self._until_close)
        if reusable and self._is_drained():
            # The answer may have paused it, and its reader may never come back.
            self.resume_reading()
            self._on_free(self)
        elif self._transport is not None and self._transport.get_write_buffer_size():
            # Closing would wait for a backend that has stopped reading, and hold the socket for good.
            self._transport.abort()
        elif self._transport is not None:
            self._transport.close()

    def _is_drained(self) -> bool:
        """Is the whole request out? Behind the rest of one the next would wait, or be taken for its body."""
        return (
            self._transport is not None
            and not self._transport.is_closing()
            and not self._sending
            and self._transport.get_write_buffer_size() == 0
        )

    def _break(self, failure: GatewayError) -> None:
        answer = self._answer
        self.abort()
        if answer is not None:
            self._hand_over(answer)
            answer.fail(failure)

    def _hand_over(self, answer: Answer) -> None:
        """All of one read together, however many chunks it came in."""
        pieces, self._pieces = self._pieces, []
        if pieces:
            answer.put(pieces[0] if len(pieces) == 1 else b"".join(pieces))


def _finish(head: bytes, late: LateHeader | None, body: bytes) -> bytes:
    if late is None:
        return b"%b\r\n%b" % (head, body)
    name, make = late
    return b"%b%b: %b\r\n\r\n%b" % (head, name, make(), body)


def _check_size(headers: Headers) -> None:
    if sum(len(name) + len(value) + _HEADER_REST for name, value in headers) > MAX_HEAD:
        raise BackendInvalid(f"headers of more than {MAX_HEAD} bytes")


def _check_version(version: str, status: int) -> None:
    if version not in ("1.0", "1.1"):
        raise BackendInvalid(f"HTTP/{version}, only 1.0 and 1.1 are understood")
    if status > 599:
        raise BackendInvalid(f"status {status}")


def _check_framing(headers: Headers) -> bool:
    """Does the head say where the answer ends?"""
    codings = []
    is_framed = False
    for name, value in headers:
        if name == b"content-length":
            is_framed = True
        elif name == b"transfer-encoding":
            codings.append(value.lower())
            is_framed = True
    if codings and codings != [b"chunked"]:
        raise BackendInvalid(f"transfer-encoding {b', '.join(codings)!r:.80}, only chunked is understood")
    return is_framed
