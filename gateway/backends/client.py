"""The HTTP client of the data path: one backend's address, its pool of connections, one exchange.

Rules: a request is sent once and never again by itself, because a POST may have been heard; idle connections are taken
newest first and dropped before the backend would drop them; an exchange that is left early takes its connection with
it. Knows nothing of what the requests mean.
"""

import asyncio
import ssl
import time
from collections import deque
from dataclasses import dataclass

from gateway.backends.answer import Answer, Headers
from gateway.backends.connection import Connection
from gateway.errors import BackendBusy, BackendTimeout, BackendUnavailable, Draining, GatewayError


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a backend listens.

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
    """Times in seconds, counts of connections.

    Attributes:
        connect_timeout: Until the connection stands, TLS included.
        keep_alive: An idle connection is dropped after this; below the backend's own limit.
        max_connections: Open at once; a request beyond is refused at once.
    """

    connect_timeout: float
    keep_alive: float
    max_connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRequest:
    """One request, ready to be sent; `host` and the framing are added from what is sent.

    Attributes:
        body: All of it, or None if `Answer.send` brings it in pieces.
        length: With None: its bytes, if known beforehand.
    """

    method: str
    path: bytes
    headers: Headers
    body: bytes | None
    length: int | None = None


class BackendClient:
    """Exchanges requests for answers with one backend."""

    def __init__(self, *, name: str, address: Address, limits: BackendLimits) -> None:
        self.name = name
        self.address = address
        self._limits = limits
        self._idle: deque[tuple[Connection, float]] = deque()
        self._open: set[Connection] = set()
        self._connecting = 0
        self._answers: set[Answer] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Backend {self.name} {self.address} {len(self._answers)} active, {len(self._idle)} idle>"

    def exchange(self, request: BackendRequest) -> "Exchange":
        """Send ``request``; the answer is good inside the context, and its connection is dropped if it was not read
        to its end.

        Raises:
            BackendUnavailable, BackendTimeout: The backend cannot be connected to.
            BackendBusy: All connections are taken.
        """
        return Exchange(self, request)

    async def begin(self, request: BackendRequest) -> tuple[Connection, Answer]:
        """What `exchange` does first; whoever calls it must call `end`."""
        head = self._head(request)
        connection = self._take_idle() or await self._connect()
        chunked = request.body is None and request.length is None
        answer = connection.send(head, request.body, chunked=chunked, without_body=request.method == "HEAD")
        self._answers.add(answer)
        return connection, answer

    def end(self, connection: Connection, answer: Answer) -> None:
        """What `exchange` does last."""
        self._answers.discard(answer)
        answer.close()
        if not answer.complete:
            connection.abort()

    def end_exchanges(self, failure: GatewayError) -> None:
        """Break off every exchange under way; their readers get ``failure``."""
        for answer in list(self._answers):
            answer.fail(failure)

    def close(self) -> None:
        """Drop every connection; exchanges under way end as `Draining`."""
        self.end_exchanges(Draining(f"backend {self.name!r} is being closed"))
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._open):
            connection.abort()

    def _head(self, request: BackendRequest) -> bytes:
        lines = [f"{request.method} ".encode() + request.path + b" HTTP/1.1", b"host: " + self.address.authority]
        lines += [name + b": " + value for name, value in request.headers]
        length = request.length if request.body is None else len(request.body)
        lines += [b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length, b"", b""]
        head = b"\r\n".join(lines)
        # One line end per line: no value smuggled another header in.
        if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
            raise ValueError("a header towards the backend has a line end or NUL in it")
        return head

    def _take_idle(self) -> Connection | None:
        now = time.monotonic()
        while self._idle:
            connection, since = self._idle.pop()
            if connection.is_open and now - since < self._limits.keep_alive:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        limits = self._limits
        if len(self._open) + self._connecting >= limits.max_connections:
            raise BackendBusy(f"backend {self.name!r}: all {limits.max_connections} connections are taken")
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
        return Connection(on_free=self._put_idle, on_lost=self._forget)

    def _put_idle(self, connection: Connection) -> None:
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

    def _forget(self, connection: Connection) -> None:
        """The socket is gone. A stale entry in the idle queue is skipped when it is next looked at."""
        self._open.discard(connection)


class Exchange:
    """One request sent to a backend; its answer, while it is used as a context."""

    __slots__ = ("_answer", "_client", "_connection", "_request")

    def __init__(self, client: BackendClient, request: BackendRequest) -> None:
        self._client = client
        self._request: BackendRequest | None = request

    async def __aenter__(self) -> Answer:
        request, self._request = self._request, None
        if request is None:
            raise RuntimeError("a request is sent once")
        self._connection, self._answer = await self._client.begin(request)
        return self._answer

    async def __aexit__(self, *_: object) -> None:
        self._client.end(self._connection, self._answer)
