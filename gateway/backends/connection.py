"""One HTTP/1.1 connection to a backend, and the answer that comes over it.

Rules: strict framing (httptools, no leniencies; on top: no transfer coding but a lone `chunked`, no upgrade, no bytes
outside an answer); an answer is complete only when its framing says so; at a high-water mark the socket is no longer
read. Push from the socket, pull by `read`. Knows nothing of pools, routes or event streams.

Sources: RFC 9112 sections 6 and 9, RFC 9110 section 15.2 (interim answers).
"""

import asyncio
from collections.abc import Callable
from typing import Final

import httptools

from gateway.errors import BackendInterrupted, BackendInvalid, GatewayError

Headers = list[tuple[bytes, bytes]]

# Bytes buffered for a slow client before the backend's socket is no longer read: one chunk of a fast model's burst.
HIGH_WATER: Final = 64 * 1024

# Bytes of status line and headers; browsers and proxies take 8 to 64 KB.
MAX_HEAD: Final = 64 * 1024

_NO_BODY = frozenset({204, 205, 304})


class Answer:
    """One answer of a backend: its head, then its body as it comes.

    Attributes:
        status: 0 until the head is there.
        headers: Names in lower case.
        complete: The framing said that this is all.
    """

    __slots__ = (
        "_buffer",
        "_connection",
        "_deadline",
        "_failure",
        "_loop",
        "_size",
        "_timer",
        "_timer_at",
        "_waiter",
        "complete",
        "headers",
        "status",
    )

    def __init__(self, connection: "Connection") -> None:
        self.status = 0
        self.headers: Headers = []
        self.complete = False
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._buffer: list[bytes] = []
        self._size = 0
        self._failure: GatewayError | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0

    async def wait_for_head(self, seconds: float) -> bool:
        """Wait until status and headers are there; False if that takes longer than ``seconds``.

        Raises:
            GatewayError: The exchange failed before.
        """
        while not self.status:
            if self._failure is not None:
                raise self._failure
            if not await self._wait(seconds):
                return False
        return True

    async def read(self, seconds: float) -> bytes | None:
        """What has come since the last call; waits for something if nothing has.

        Returns:
            Body bytes; ``b""`` at the end of the answer; None if nothing came for ``seconds``.

        Raises:
            GatewayError: The answer broke off. Everything that came before has been returned.
        """
        while not self._buffer:
            if self.complete:
                return b""
            if self._failure is not None:
                raise self._failure
            if not await self._wait(seconds):
                return None
        data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        self._buffer.clear()
        if self._size > HIGH_WATER:
            self._connection.resume_reading()
        self._size = 0
        return data

    def fail(self, failure: GatewayError) -> None:
        """Break the exchange off; the reader learns it after what has already come."""
        if not self.complete and self._failure is None:
            self._failure = failure
            self._wake()

    def close(self) -> None:
        """Nobody reads any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def put_head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self._wake()

    def put(self, data: bytes) -> None:
        self._buffer.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER:
            self._connection.pause_reading()
        self._wake()

    def finish(self) -> None:
        self.complete = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    async def _wait(self, seconds: float) -> bool:
        """Sleep until woken, or for ``seconds``.

        The timer is left running between calls and looks at the deadline when it fires: a stream of a thousand events
        a second re-arms it a few times a minute instead of a thousand times a second.
        """
        self._deadline = self._loop.time() + seconds
        if self._timer is not None and self._timer_at > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._arm()
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _arm(self) -> None:
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        # A timer may fire a clock tick early; the difference is not worth another round.
        if self._loop.time() < self._deadline - 0.001:
            self._arm()
        else:
            self._waiter.set_result(False)


class Connection(asyncio.Protocol):
    """One socket. Carries one exchange at a time.

    Args:
        on_free: Called when an answer is complete and the connection can carry another exchange.
        on_lost: Called once when the socket is gone.
    """

    def __init__(self, *, on_free: Callable[["Connection"], None], on_lost: Callable[["Connection"], None]) -> None:
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._without_body = False
        self._until_close = False
        self._paused = False
        self._head_size = 0
        self._headers: Headers = []
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, head: bytes, body: bytes, *, without_body: bool = False) -> Answer:
        """Send a request; the answer fills as it comes.

        Args:
            without_body: The answer has no body whatever its headers say (the request is a HEAD).
        """
        if self._transport is None or self._answer is not None:
            raise RuntimeError("the connection is not free")
        self._answer = answer = Answer(self)
        self._without_body, self._until_close, self._head_size = without_body, False, 0
        self._transport.write(head + body if len(body) < HIGH_WATER else head)
        if len(body) >= HIGH_WATER:
            self._transport.write(body)
        return answer

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
        if self._answer is None:
            # Bytes that nobody asked for would be taken for the next answer.
            self.abort()
            return
        if not self._answer.status:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._break(BackendInvalid(f"headers of more than {MAX_HEAD} bytes"))
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break(BackendInvalid("answered with an upgrade"))
        except httptools.HttpParserError as exc:
            self._break(exc.__context__ if isinstance(exc.__context__, GatewayError) else BackendInvalid(f"{exc}"))

    def eof_received(self) -> bool:
        if self._answer is not None and self._until_close and self._answer.status:
            self._complete(reusable=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
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
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        headers, self._headers = self._headers, []
        status = self._parser.get_status_code()
        if status < 200 or self._answer is None:
            return
        codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise BackendInvalid(f"transfer-encoding {b', '.join(codings)!r:.80}, only chunked is understood")
        has_length = any(name == b"content-length" for name, _ in headers)
        self._until_close = not codings and not has_length and status not in _NO_BODY and not self._without_body
        self._answer.put_head(status, headers)
        if self._without_body:
            self._complete(reusable=False)

    def on_body(self, data: bytes) -> None:
        if self._answer is not None:
            self._answer.put(data)

    def on_message_complete(self) -> None:
        # Trailers land among the headers; they are not passed on.
        self._headers = []
        if self._answer is not None and self._answer.status:
            self._complete(reusable=self._parser.should_keep_alive())

    def _complete(self, *, reusable: bool) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.finish()
        if reusable and self.is_open:
            self._parser = httptools.HttpResponseParser(self)
            self._on_free(self)
        elif self._transport is not None:
            self._transport.close()

    def _break(self, failure: GatewayError) -> None:
        answer = self._answer
        self.abort()
        if answer is not None:
            answer.fail(failure)
