"""The server process: uvicorn, with the limits, the manners and the exit code that it lacks.

Rules: on SIGTERM the app learns that we drain, and keeps accepting for a while so that balancers see it; then streams
may finish until a deadline; the process exits with 0. SIGINT, from a person, skips the while. A second signal ends it
at once. What one connection may do is `protocol`'s matter.

Leans on uvicorn 0.54's classes; a contract test holds the names used here.
"""

import asyncio
import contextlib
import math
import resource
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Protocol

import uvicorn
from uvicorn.server import ServerState

from gateway.errors import GatewayError
from gateway.outbox import Outbox
from gateway.wire.asgi import App
from gateway.wire.heads import Heads
from gateway.wire.protocol import ClientProtocol, ServerLimits

__all__ = ["DrainTimes", "DrainableApp", "DrainingServer", "ServerLimits", "build_server", "open_socket"]

# Seconds between the word to streams that time is up and the end of their connections, when somebody insists.
LAST_WORD = 0.2

# Seconds that clients have to take that word: whoever takes nothing would hold the process until it is killed.
LAST_TAKE = 1.0

# Connections that may wait at a listener that is not for clients: a collector or two ask there.
OTHER_BACKLOG = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainTimes:
    """Seconds: how long we still accept after the first signal, and how long streams may then go on."""

    delay: float
    timeout: float


class DrainableApp(Protocol):
    """An ASGI app that can be told about the end."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]: ...

    def start_drain(self) -> None: ...

    def end_streams(self) -> None: ...


def raise_file_limit() -> None:
    """Allow as many open sockets as the system lets us: each stream holds two, and 1,024 is the usual start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_socket(host: str, port: int, backlog: int) -> socket.socket:
    """Listen; port 0 takes a free one.

    Raises:
        OSError: The address cannot be had; its text says which and why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=backlog)


def build_server(
    app: DrainableApp,
    *,
    limits: ServerLimits,
    times: DrainTimes,
    on_ready: Callable[[], None],
    on_refused: Callable[[GatewayError], None] = lambda _: None,
    backlog: int = 2048,
    tls: ssl.SSLContext | None = None,
) -> "DrainingServer":
    """A server for ``app``; its `run` takes the sockets, and speaks ``tls`` on them.

    ``on_refused`` is told of what never becomes a request: not HTTP, too large a head, or one that does not end.
    """
    protocols = _Protocols(app, limits, on_refused)
    config = uvicorn.Config(
        app,
        http=protocols,  # type: ignore[arg-type]  # a class to uvicorn, which only calls it
        ws="none",
        loop="auto",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=backlog,
        # Ours comes first and ends streams with a word; uvicorn's is the net below it.
        timeout_graceful_shutdown=_net_below(times),
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    return DrainingServer(
        config,
        protocols=protocols,
        times=times,
        on_drain=app.start_drain,
        on_deadline=app.end_streams,
        on_ready=on_ready,
    )


def _net_below(times: DrainTimes) -> int:
    return math.ceil(times.timeout) + 5


class _Protocols:
    """What uvicorn calls for each connection. Its own configuration of the protocol is not ours."""

    def __init__(
        self, app: App, limits: ServerLimits, on_refused: Callable[[GatewayError], None] = lambda _: None
    ) -> None:
        self.limits = limits
        self.heads = Heads()
        self._outbox = Outbox()
        self._app = app
        self._on_refused = on_refused

    def __call__(
        self,
        *,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: object,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> ClientProtocol:
        return ClientProtocol(
            app=self._app,
            limits=self.limits,
            heads=self.heads,
            outbox=self._outbox,
            state=server_state,
            on_refused=self._on_refused,
            loop=_loop,
        )


class DrainingServer(uvicorn.Server):
    """uvicorn's server, with an end that nobody is surprised by.

    Args:
        config: uvicorn's.
        protocols: What the config has for ``http``.
        times: How long to drain.
        on_drain: Told at the first signal: not ready any more.
        on_deadline: Told when streams have had their time: end them now, with a word to their clients.
        on_ready: Told once the listener stands.

    Attributes:
        on_reload: Told in the loop, at SIGHUP.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        protocols: _Protocols,
        times: DrainTimes,
        on_drain: Callable[[], None],
        on_deadline: Callable[[], None],
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._protocols = protocols
        self._times = times
        self._on_drain = on_drain
        self._on_deadline = on_deadline
        self.on_ready = on_ready
        self.on_reload: Callable[[], None] = lambda: None
        self._others: list[tuple[socket.socket, _Protocols]] = []
        self._signalled: int | None = None
        self._forced = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen_also(self, sock: socket.socket, app: App) -> None:
        """Serve ``app`` at ``sock``, by the same limits and with the same end. For before the start."""
        self._others.append((sock, _Protocols(app, self._protocols.limits)))

    def take(self, *, limits: ServerLimits, times: DrainTimes) -> None:
        """From now on: for new connections, and for the end."""
        for protocols in (self._protocols, *(others for _, others in self._others)):
            protocols.limits = limits
            # They hold what was found out by the settings of before.
            protocols.heads.clear()
        for connection in self.server_state.connections:
            connection.forget_headers()  # type: ignore[union-attr]  # ours, as `_Protocols` makes no others
        self._times = times
        self.config.timeout_graceful_shutdown = _net_below(times)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for sock, protocols in self._others:
            connect = partial(protocols, config=self.config, server_state=self.server_state, app_state=None)
            self.servers.append(await self._loop.create_server(connect, sock=sock, backlog=OTHER_BACKLOG))
        if self.started:
            self.on_ready()

    async def main_loop(self) -> None:
        await super().main_loop()
        # Still accepting: whoever balances over us has until the delay's end to see that we are not ready.
        self._on_drain()
        if self._signalled == signal.SIGTERM:
            await self._sleep(self._times.delay)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(self._times.timeout, self._on_deadline)
        end = loop.call_later(self._times.timeout + LAST_TAKE, self._abort_all)
        insistence = asyncio.create_task(self._end_when_forced())
        try:
            await super().shutdown(sockets)
        finally:
            deadline.cancel()
            end.cancel()
            insistence.cancel()

    def handle_reload(self, sig: int, frame: FrameType | None) -> None:
        """Between two steps of whatever runs: the work itself is the loop's."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.on_reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second ends at once."""
        if self._signalled is not None:
            self._forced = True
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
        # Without a handler it would end the process, which is nobody's wish who sends it to a server.
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self.handle_reload)
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    async def _end_when_forced(self) -> None:
        """Give streams their last word, and a moment for it to go out; then let go of whatever is left."""
        await self._sleep(math.inf)
        self._on_deadline()
        await asyncio.sleep(LAST_WORD)
        self._abort_all()
        await asyncio.sleep(LAST_WORD)
        self.force_exit = True

    def _abort_all(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, in steps, as long as nobody insists."""
        end = asyncio.get_running_loop().time() + seconds
        # A signal handler sets it; it may not touch an asyncio.Event.
        while not (self._forced or self.force_exit) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.05)
