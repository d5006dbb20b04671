"""The server process: uvicorn, with the limits, the manners and the exit code that it lacks.

Rules: a request's head is bounded in bytes, count and time, has one `Host`, and never both a length and a transfer
coding; what is refused here is answered in the form of every other error. On the first signal the app learns that we
drain, and keeps accepting for a while so that balancers see it; then streams may finish until a deadline; the process
exits with 0. A second signal ends it at once.

Leans on uvicorn 0.54's classes; a contract test holds the names used here.
"""

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, ClassVar, Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.errors import GatewayError, HeadersTooLarge, MalformedRequest, RequestTimeout

logger = logging.getLogger("gateway.server")

_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainTimes:
    """Seconds: how long we still accept after the first signal, and how long streams may then go on."""

    delay: float
    timeout: float


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with limits on what a client may send and how slowly."""

    limits: ClassVar[ServerLimits]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_size = 0  # bytes received since the request began
        self._counted = 0  # bytes of its parsed parts
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            if self._head_timer is None:
                self._arm_head_timer()
            self._head_size += len(data)
        super().data_received(data)
        # A head that is not complete yet; one that came in a single read is counted header by header.
        if self._in_head and self._head_size > self.limits.max_head and not self.transport.is_closing():
            self._refuse(HeadersTooLarge(f"head of more than {self.limits.max_head} bytes"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._counted = True, 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= self.limits.max_headers:
            raise HeadersTooLarge(f"more than {self.limits.max_headers} headers")
        self._count(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._head_size = False, 0
        self._disarm_head_timer()
        check_framing(self.headers, self.parser.get_http_version())
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._in_head = True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.limits.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this inside its handler of a parser error; what we raised ourselves is that error's context."""
        cause = _current_cause()
        self._refuse(cause if isinstance(cause, GatewayError) else MalformedRequest(msg))

    def _refuse(self, error: GatewayError) -> None:
        logger.info("request refused", extra={"fields": {"code": error.code, "reason": str(error)}})
        self._disarm()
        # Behind an answer that is still under way another one would be taken for its continuation.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(build_refusal(error))
        self.transport.close()

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > self.limits.max_head:
            raise HeadersTooLarge(f"head of more than {self.limits.max_head} bytes")

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade is not done, and the request is served as what it is otherwise; no news."""

    def _arm_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_timeout, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._head_size:
            self._refuse(RequestTimeout(f"headers not complete within {self.limits.head_timeout:.0f} s"))
        elif not self.transport.is_closing():
            self.transport.close()

    def _disarm_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _disarm(self) -> None:
        self._disarm_head_timer()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


class DrainableApp(Protocol):
    """An ASGI app that can be told about the end."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def start_drain(self) -> None: ...

    def end_streams(self) -> None: ...


def open_socket(host: str, port: int, backlog: int) -> socket.socket:
    """Listen; port 0 takes a free one.

    Raises:
        OSError: The address cannot be had; its text says which and why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=backlog)


def serve(
    app: DrainableApp, sock: socket.socket, *, limits: ServerLimits, times: DrainTimes, on_ready: Callable[[], None]
) -> int:
    """Serve ``app`` on ``sock`` until a signal; returns the process's exit code."""
    protocol = type("BoundProtocol", (LimitedProtocol,), {"limits": limits})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="auto",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(limits.keep_alive),
        # Ours comes first and ends streams with a word; uvicorn's is the net below it.
        timeout_graceful_shutdown=int(times.timeout) + 5,
    )
    server = DrainingServer(
        config, times=times, on_drain=app.start_drain, on_deadline=app.end_streams, on_ready=on_ready
    )
    server.run([sock])
    return 0


def check_framing(headers: list[tuple[bytes, bytes]], version: str) -> None:
    """Is it clear where this request ends and whom it is for?

    Raises:
        MalformedRequest: More than one `Host` (or none in HTTP/1.1), a repeated or accompanied `Content-Length`, a
            transfer coding other than one `chunked`. RFC 9112 sections 3.2 and 6.1.
    """
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise MalformedRequest(f"{hosts} Host headers, expected one")
    lengths = names.count(b"content-length")
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if lengths > 1 or (lengths and codings):
        raise MalformedRequest("more than one statement of the body's length")
    if codings not in ([], [b"chunked"]):
        raise MalformedRequest(f"transfer-encoding {b', '.join(codings)!r:.80}, only chunked is understood")


def build_refusal(error: GatewayError) -> bytes:
    """The answer to a request that never became one, as bytes on the wire."""
    problem = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "message": error.message,
    }
    body = json.dumps(problem, separators=(",", ":")).encode()
    return b"".join(
        [
            b"HTTP/1.1 %d %s\r\n" % (error.status, _REASONS[error.status]),
            b"content-type: application/problem+json\r\ncache-control: no-store\r\n",
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body),
            body,
        ]
    )


def _current_cause() -> BaseException | None:
    error = sys.exc_info()[1]
    return error.__context__ if error is not None else None


class DrainingServer(uvicorn.Server):
    """uvicorn's server, with an end that nobody is surprised by.

    Args:
        config: uvicorn's.
        times: How long to drain.
        on_drain: Told at the first signal: not ready any more.
        on_deadline: Told when streams have had their time: end them now, with a word to their clients.
        on_ready: Told once the listener stands.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        times: DrainTimes,
        on_drain: Callable[[], None],
        on_deadline: Callable[[], None],
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._times = times
        self._on_drain = on_drain
        self._on_deadline = on_deadline
        self._on_ready = on_ready
        self._signalled: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def main_loop(self) -> None:
        await super().main_loop()
        # Still accepting: whoever balances over us has until the delay's end to see that we are not ready.
        self._on_drain()
        if self._signalled == signal.SIGTERM:
            await self._sleep(self._times.delay)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(self._times.timeout, self._on_deadline)
        if self.force_exit:
            self._on_deadline()
        try:
            await super().shutdown(sockets)
        finally:
            deadline.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second ends at once."""
        if self._signalled is not None:
            self.force_exit = True
        self._signalled = self._signalled or sig
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Like uvicorn's, without raising the signal again at the end: a drained process ends with 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {sig: signal.signal(sig, self.handle_exit) for sig in signals}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, in steps, as long as nobody insists."""
        end = asyncio.get_running_loop().time() + seconds
        # A signal handler sets `force_exit`; it may not touch an asyncio.Event.
        while not self.force_exit and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.05)
