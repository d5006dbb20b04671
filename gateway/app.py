"""The composition root: settings in, ASGI app out. It reads as a list; nothing is decided here."""

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import AsyncIterator, Container, Sequence

import httpx
from starlette.routing import BaseRoute, Router
from starlette.routing import Route as AppRoute

from gateway.auth.verifier import Verifier
from gateway.chatkit.frames import error_frame_for
from gateway.compile import build_backend, build_issuers, build_route_table, build_routes, build_signing_keys
from gateway.endpoints import Liveness, PublishedKeys, Readiness, Session
from gateway.errors import Draining
from gateway.limits import Limiter
from gateway.proxy import Proxy
from gateway.settings import Settings
from gateway.trust.assertions import AssertionMint
from gateway.trust.signing_keys import publish
from gateway.wire.access_log import AccessLog
from gateway.wire.asgi import Receive, Scope, Send
from gateway.wire.guard import DrainGuard
from gateway.wire.rescue import Rescue
from gateway.wire.server import (
    DrainingServer,
    DrainTimes,
    ServerLimits,
    build_server,
    open_socket,
    raise_file_limit,
)

logger = logging.getLogger("gateway.app")

# Seconds that start-up waits for the first keys: ready under a second with keys reachable, and up in any case.
FIRST_KEYS_TIMEOUT = 1.0


# Seconds for streams to write their last event before requests that have none are ended.
LAST_WORDS = 0.1


class Gateway:
    """The ASGI app, and what the server must be able to tell it."""

    def __init__(self, settings: Settings, *, extra_routes: Sequence[BaseRoute] = ()) -> None:
        self._client = httpx.AsyncClient(headers={"accept": "application/json"})
        self.issuers = build_issuers(settings, self._client)
        self.backends = {name: build_backend(name, table) for name, table in settings.backends.items()}
        self._is_draining = False
        verifier = Verifier(issuers=self.issuers, cache_size=settings.server.verified_tokens)
        signing_keys = build_signing_keys(settings)
        mint = AssertionMint(
            issuer=settings.trust.issuer or settings.public_url, key=signing_keys[0], lifetime=settings.trust.lifetime
        )
        routes = build_routes(settings, self.backends)
        table = build_route_table(routes)
        limiter = Limiter(max_streams=settings.server.max_streams)
        proxy = Proxy(routes=table, verifier=verifier, mint=mint, limiter=limiter)
        router = Router(
            routes=[
                AppRoute("/livez", Liveness()),
                AppRoute("/readyz", Readiness(verifier=verifier, is_draining=lambda: self._is_draining)),
                AppRoute("/.well-known/jwks.json", PublishedKeys(publish(signing_keys))),
                AppRoute("/session", Session(routes=routes, verifier=verifier)),
                *extra_routes,
            ],
            default=proxy,
            redirect_slashes=False,
            lifespan=self._lifespan,
        )
        self._guard = DrainGuard(ShortWay(proxy, router, paths=table.paths))
        rescue = Rescue(self._guard, stream_error=error_frame_for)
        self._log = AccessLog(rescue, quiet_paths=frozenset({"/livez", "/readyz"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._log(scope, receive, send)

    def start_drain(self) -> None:
        """Not ready any more; requests are still served."""
        self._is_draining = True

    def end_streams(self) -> None:
        """Time is up: every stream gets its last event now, and whoever is still sending an answer."""
        for backend in self.backends.values():
            backend.end_exchanges(Draining("the gateway is shutting down"))
        asyncio.get_running_loop().call_later(LAST_WORDS, self._guard.end_all)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: object) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(issuer.keys.run()) for issuer in self.issuers]
        await self._await_first_keys()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for backend in self.backends.values():
                backend.close()
            await self._client.aclose()
            logger.info("stopped", extra={"fields": {"ended": dict(self._log.ended)}})

    async def _await_first_keys(self) -> None:
        """Join the first fetches. An issuer that is down does not keep the others' users waiting."""
        fetches = [asyncio.create_task(issuer.keys.refresh()) for issuer in self.issuers]
        _, late = await asyncio.wait(fetches, timeout=FIRST_KEYS_TIMEOUT)
        for fetch in late:
            fetch.cancel()
        await asyncio.gather(*late, return_exceptions=True)


class ShortWay:
    """A path of a route goes straight to ``proxy``: no path of a route is also one of the gateway's own."""

    def __init__(self, proxy: Proxy, router: Router, *, paths: Container[str]) -> None:
        self._proxy = proxy
        self._router = router
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._proxy if scope.get("path") in self._paths else self._router
        await app(scope, receive, send)


def build_app(settings: Settings, *, extra_routes: Sequence[BaseRoute] = ()) -> Gateway:
    """The gateway for these settings; ``extra_routes`` come before its routes to backends."""
    return Gateway(settings, extra_routes=extra_routes)


def serve(settings: Settings, *, extra_routes: Sequence[BaseRoute] = ()) -> int:
    """Serve until a signal. Prints one line when ready.

    Returns:
        The exit code: 0 after a drain.

    Raises:
        OSError: The port is taken, or may not be opened.
    """
    server, sock = open_server(settings, extra_routes=extra_routes)
    # What start-up made stays. The collector then looks at what requests make, and seldom: they leave hardly a cycle.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    server.run([sock])
    return 0


def open_server(settings: Settings, *, extra_routes: Sequence[BaseRoute] = ()) -> tuple[DrainingServer, socket.socket]:
    """Listen, and build the server that will serve there. The port is known from here on, also where it was 0."""
    table = settings.server
    raise_file_limit()
    sock = open_socket(table.host, table.port, table.backlog)
    port = sock.getsockname()[1]
    if port != table.port:
        settings = settings.model_copy(update={"server": table.model_copy(update={"port": port})})
    address = f"http://[{table.host}]:{port}" if ":" in table.host else f"http://{table.host}:{port}"
    routes = ", ".join(f"{route.path} to {route.backend}" for route in settings.routes.values())
    server = build_server(
        build_app(settings, extra_routes=extra_routes),
        limits=ServerLimits(
            max_head=table.max_head,
            max_headers=table.max_headers,
            head_timeout=table.head_timeout,
            keep_alive=table.keep_alive,
            write_timeout=table.write_timeout,
        ),
        times=DrainTimes(delay=table.drain_delay, timeout=table.drain_timeout),
        on_ready=lambda: print(f"gateway ready on {address} ({routes})", flush=True),
        backlog=table.backlog,
    )
    return server, sock
