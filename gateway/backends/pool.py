"""The connections to one address: opened when needed, kept while idle, dropped in time.

Rules: idle connections are taken newest first and dropped before the backend would drop them; an exchange that is left
early takes its connection with it; whatever fails before a connection stands has sent nothing. Knows nothing of other
replicas, nor of what the requests mean.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.backends.answer import Answer, Headers
from gateway.backends.connection import Connection, LateHeader
from gateway.errors import BackendBusy, BackendTimeout, BackendUnavailable, Draining, GatewayError
from gateway.outbox import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a backend, or one replica of it, listens.

    Attributes:
        host: Also what its certificate must name.
        authority: The Host header's value.
        path: The raw path that requests go to.
        tls: How to speak TLS, or None for plain HTTP.
        socket: A Unix socket to connect to instead of host and port.
    """

    host: str
    port: int
    authority: bytes
    path: bytes
    tls: ssl.SSLContext | None = None
    socket: str | None = None

    def __str__(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.authority.decode()}{f' at {self.socket}' if self.socket else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendLimits:
    """Times in seconds, counts of connections; of each replica.

    Attributes:
        connect_timeout: Until the connection stands, TLS included.
        keep_alive: An idle connection is dropped after this; below the backend's own limit.
        max_connections: Open at once; a request beyond is refused at once.
    """

    connect_timeout: float
    keep_alive: float
    max_connections: int


class BackendRequest(NamedTuple):
    """One request, ready to be sent; `host` and the framing are added from what is sent.

    Attributes:
        lines: More headers, as `write_lines` writes them.
        body: All of it, or None if `Answer.send` brings it in pieces.
        length: With None: its bytes, if known beforehand.
        late: One header more, whose value takes time to make.
        affinity: What should always meet the same replica, a thread's id for one; None is at home anywhere.
    """

    method: str
    path: bytes
    headers: Headers
    body: bytes | None
    length: int | None = None
    affinity: str | None = None
    lines: bytes = b""
    late: LateHeader | None = None


def write_lines(headers: Headers) -> bytes:
    """Headers as they go out, each with its line end.

    Raises:
        ValueError: A line end or NUL in one of them would smuggle another header in.
    """
    lines = [b"%b: %b" % header for header in headers]
    _check_lines(lines)
    return b"\r\n".join([*lines, b""])


def _check_lines(lines: list[bytes]) -> None:
    text = b"".join(lines)
    # By their numbers: to look for a byte is quicker than to look for bytes.
    if 10 in text or 13 in text or 0 in text:
        raise ValueError("a header or path towards the backend has a line end or NUL in it")


class Pool:
    """Exchanges requests for answers at one address.

    Args:
        name: The backend's, for errors.
        on_head: Told the status of each answer as soon as it is there.
        looks_before_use: Ask the system whether an idle connection still stands. A backend that stops closes them all,
            and a busy loop may be a turn behind; the question (1 µs) is worth it where there is another place to go.
    """

    def __init__(
        self,
        *,
        name: str,
        address: Address,
        limits: BackendLimits,
        on_head: Callable[[int], None] | None = None,
        looks_before_use: bool = False,
    ) -> None:
        self.address = address
        self._name = name
        self._limits = limits
        self._on_head = on_head
        self._looks = looks_before_use
        self._outbox = Outbox()
        self._idle: deque[tuple[Connection, float]] = deque()
        self._open: set[Connection] = set()
        self._connecting = 0
        self._answers: set[Answer] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_retired = False

    def __repr__(self) -> str:
        return f"{self.address} {len(self._answers)} active, {self.idle} idle"

    @property
    def open(self) -> int:
        """Connections that stand."""
        return len(self._open)

    @property
    def idle(self) -> int:
        """Of these, those that wait for a request."""
        return sum(connection.is_open for connection, _ in self._idle)

    @property
    def outstanding(self) -> int:
        """Exchanges under way, those that still connect included."""
        return len(self._answers) + self._connecting

    async def begin(self, request: BackendRequest) -> tuple[Connection, Answer]:
        """Send ``request``; whoever calls this must call `end`.

        Raises:
            BackendUnavailable, BackendTimeout, BackendBusy: There is no connection to be had; nothing was sent.
        """
        head = self._head(request)
        connection = self._take_idle() or await self._connect()
        chunked = request.body is None and request.length is None
        answer = connection.send(
            head, request.body, late=request.late, chunked=chunked, without_body=request.method == "HEAD"
        )
        self._answers.add(answer)
        return connection, answer

    def end(self, connection: Connection, answer: Answer, reason: BaseException | None) -> None:
        """The exchange is over, because of ``reason`` if there was one."""
        self._answers.discard(answer)
        answer.close()
        if not answer.complete:
            connection.abort()

    def end_exchanges(self, failure: GatewayError) -> None:
        """Break off every exchange under way; their readers get ``failure``."""
        for answer in list(self._answers):
            answer.fail(failure)

    def retire(self) -> None:
        """Keep no connection any more. Exchanges under way finish, and so does one that still begins."""
        self._is_retired = True
        self._drop_idle()

    def close(self) -> None:
        """Drop every connection; exchanges under way end as `Draining`."""
        self.end_exchanges(Draining(f"backend {self._name!r} is being closed"))
        self._drop_idle()
        for connection in list(self._open):
            connection.abort()

    def _head(self, request: BackendRequest) -> bytes:
        length = request.length if request.body is None else len(request.body)
        framing = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length)
        lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.path)]
        lines += [b"%b: %b" % header for header in ((b"host", self.address.authority), *request.headers, framing)]
        _check_lines(lines)
        return b"\r\n".join([*lines, request.lines])

    def _take_idle(self) -> Connection | None:
        now = time.monotonic()
        while self._idle:
            connection, since = self._idle.pop()
            if connection.is_open and now - since < self._limits.keep_alive and self._stands(connection):
                return connection
            connection.abort()
        return None

    def _stands(self, connection: Connection) -> bool:
        return not (self._looks and connection.is_hung_up())

    async def _connect(self) -> Connection:
        limits = self._limits
        if len(self._open) + self._connecting >= limits.max_connections:
            raise BackendBusy(f"backend {self._name!r}: all {limits.max_connections} connections are taken")
        self._connecting += 1
        try:
            async with asyncio.timeout(limits.connect_timeout):
                connection = await self._open_connection()
        except TimeoutError as exc:
            raise BackendTimeout(f"{self.address}: no connection within {limits.connect_timeout:.0f} s") from exc
        except OSError as exc:
            raise BackendUnavailable(f"{self.address}: {exc}") from exc
        finally:
            self._connecting -= 1
        if not connection.is_open or connection.is_hung_up():
            connection.abort()
            # Told now, while nothing has been sent: it may be tried elsewhere.
            raise BackendUnavailable(f"{self.address}: closed as soon as it stood")
        self._open.add(connection)
        return connection

    async def _open_connection(self) -> Connection:
        loop = asyncio.get_running_loop()
        address = self.address
        hostname = address.host if address.tls else None
        if address.socket is not None:
            _, connection = await loop.create_unix_connection(
                self._build_connection, address.socket, ssl=address.tls, server_hostname=hostname
            )
        else:
            _, connection = await loop.create_connection(
                self._build_connection, address.host, address.port, ssl=address.tls, server_hostname=hostname
            )
        return connection

    def _build_connection(self) -> Connection:
        return Connection(on_free=self._put_idle, on_lost=self._forget, outbox=self._outbox, on_head=self._on_head)

    def _put_idle(self, connection: Connection) -> None:
        if self._is_retired:
            connection.abort()
            return
        self._idle.append((connection, time.monotonic()))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._limits.keep_alive, self._drop_stale)

    def _drop_stale(self) -> None:
        """Oldest first; runs only while there are idle connections."""
        self._sweep = None
        now = time.monotonic()
        while self._idle and now - self._idle[0][1] >= self._limits.keep_alive:
            self._idle.popleft()[0].abort()
        if self._idle:
            wait = self._limits.keep_alive - (now - self._idle[0][1])
            self._sweep = asyncio.get_running_loop().call_later(max(wait, 0.01), self._drop_stale)

    def _drop_idle(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.pop()[0].abort()

    def _forget(self, connection: Connection) -> None:
        """The socket is gone. A stale entry in the idle queue is skipped when it is next looked at."""
        self._open.discard(connection)
