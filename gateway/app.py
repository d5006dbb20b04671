"""The composition root: settings in, ASGI app out. It reads as a list; nothing is decided here."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
from starlette.routing import BaseRoute, Router
from starlette.routing import Route as AppRoute

from gateway.auth.claims import ClaimMap, ClaimRules
from gateway.auth.credentials import CredentialRule
from gateway.auth.cross_site import REQUEST_HEADERS, OriginPolicy
from gateway.auth.key_fetch import FetchKeys, build_discovery_fetch, build_file_fetch, build_url_fetch
from gateway.auth.key_source import KeySource, KeyTimes
from gateway.auth.verifier import TrustedIssuer, Verifier
from gateway.backends.client import Address, BackendClient, BackendLimits
from gateway.backends.relay import RelayTimes
from gateway.backends.routes import RouteTable
from gateway.chatkit.frames import error_frame_for
from gateway.chatkit.operations import OPERATIONS
from gateway.endpoints import Liveness, PublishedKeys, Readiness, Session
from gateway.errors import Draining
from gateway.proxy import Proxy, Route
from gateway.settings import Settings
from gateway.settings.model import BackendSettings, IssuerSettings, RouteSettings
from gateway.trust.assertions import AssertionMint
from gateway.trust.signing_keys import SigningKey, generate_signing_key, load_signing_key, publish
from gateway.wire.access_log import AccessLog
from gateway.wire.asgi import Receive, Scope, Send
from gateway.wire.headers import FORWARDED
from gateway.wire.rescue import Rescue
from gateway.wire.server import DrainingServer, DrainTimes, ServerLimits, build_server, open_socket

logger = logging.getLogger("gateway.app")

# Seconds that start-up waits for the first keys: ready under a second with keys reachable, and up in any case.
FIRST_KEYS_TIMEOUT = 1.0


@dataclass(slots=True)
class Drain:
    """Whether the process is on its way out."""

    begun: bool = field(default=False)


class Gateway:
    """The ASGI app, and what the server must be able to tell it."""

    def __init__(self, settings: Settings, *, extra_routes: Sequence[BaseRoute] = ()) -> None:
        self._client = httpx.AsyncClient(headers={"accept": "application/json"})
        self.issuers = {name: build_issuer(table, self._client) for name, table in settings.issuers.items()}
        self.backends = {name: build_backend(name, table) for name, table in settings.backends.items()}
        self._drain = Drain()
        verifier = Verifier(issuers=self.issuers.values(), cache_size=settings.server.verified_tokens)
        signing_keys = build_signing_keys(settings)
        mint = AssertionMint(
            issuer=settings.trust.issuer or settings.public_url, key=signing_keys[0], lifetime=settings.trust.lifetime
        )
        routes = {name: self._build_route(name, table, settings) for name, table in settings.routes.items()}
        paths = {table.path.encode(): routes[name] for name, table in settings.routes.items()}
        router = Router(
            routes=[
                AppRoute("/livez", Liveness()),
                AppRoute("/readyz", Readiness(verifier=verifier, is_draining=lambda: self._drain.begun)),
                AppRoute("/.well-known/jwks.json", PublishedKeys(publish(signing_keys))),
                AppRoute("/session", Session(routes=routes, verifier=verifier)),
                *extra_routes,
            ],
            default=Proxy(routes=RouteTable(paths), verifier=verifier, mint=mint),
            redirect_slashes=False,
            lifespan=self._lifespan,
        )
        rescue = Rescue(router, stream_error=error_frame_for)
        self._app = AccessLog(rescue, quiet_paths=frozenset({"/livez", "/readyz"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def start_drain(self) -> None:
        """Not ready any more; requests are still served."""
        self._drain.begun = True

    def end_streams(self) -> None:
        """Time is up: every stream gets its last event now."""
        for backend in self.backends.values():
            backend.end_exchanges(Draining("the gateway is shutting down"))

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: object) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(issuer.keys.run()) for issuer in self.issuers.values()]
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

    async def _await_first_keys(self) -> None:
        """Join the first fetches. An issuer that is down does not keep the others' users waiting."""
        fetches = [asyncio.create_task(issuer.keys.refresh()) for issuer in self.issuers.values()]
        _, late = await asyncio.wait(fetches, timeout=FIRST_KEYS_TIMEOUT)
        for fetch in late:
            fetch.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _build_route(self, name: str, table: RouteSettings, settings: Settings) -> Route:
        backend = settings.backends[table.backend]
        issuers = table.issuers if table.issuers is not None else list(settings.issuers)
        extra = tuple(header.encode() for header in table.forward_headers)
        origins = frozenset(origin.encode() for origin in (*table.allowed_origins, settings.public_url))
        return Route(
            name=name,
            credential=CredentialRule(
                cookie=table.cookie.encode() if table.cookie else None, bearer=table.bearer, max_token=table.max_token
            ),
            origins=OriginPolicy(allowed=origins, request_headers=(*REQUEST_HEADERS, *extra)),
            issuers=frozenset(settings.issuers[issuer].issuer for issuer in issuers),
            operations=frozenset(OPERATIONS if table.operations is None else table.operations),
            backend=self.backends[table.backend],
            audience=backend.audience or table.backend,
            forward_token=table.forward_token,
            forwarded=FORWARDED | set(extra),
            times=RelayTimes(
                first_byte=backend.first_byte_timeout, idle=backend.idle_timeout, heartbeat=table.heartbeat
            ),
            body_timeout=table.body_timeout,
            max_body=table.max_body,
            max_metadata=table.max_metadata,
            max_event_tail=table.max_event_tail,
        )


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
    server.run([sock])
    return 0


def open_server(settings: Settings, *, extra_routes: Sequence[BaseRoute] = ()) -> tuple[DrainingServer, socket.socket]:
    """Listen, and build the server that will serve there. The port is known from here on, also where it was 0."""
    table = settings.server
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


def build_issuer(table: IssuerSettings, client: httpx.AsyncClient) -> TrustedIssuer:
    """An issuer whose keys are fetched through ``client``."""
    claims = table.claims
    return TrustedIssuer(
        rules=ClaimRules(
            issuer=table.issuer,
            audiences=frozenset(table.audiences),
            algorithms=frozenset(table.algorithms),
            leeway=table.leeway,
            claim_map=ClaimMap(
                subject=claims.subject,
                name=claims.name,
                email=claims.email,
                roles=claims.roles,
                tenant=claims.tenant,
            ),
        ),
        keys=KeySource(
            issuer=table.issuer,
            fetch=_build_fetch(table, client),
            algorithms=tuple(table.algorithms),
            times=KeyTimes(refresh=table.refresh, keep=table.keep, cooldown=table.cooldown),
        ),
    )


def _build_fetch(table: IssuerSettings, client: httpx.AsyncClient) -> FetchKeys:
    if table.jwks_url is not None:
        return build_url_fetch(client, table.jwks_url, timeout=table.fetch_timeout)
    if table.discovery_url is not None:
        return build_discovery_fetch(client, table.discovery_url, table.issuer, timeout=table.fetch_timeout)
    if table.jwks_file is not None:
        return build_file_fetch(table.jwks_file)
    raise ValueError(f"issuer {table.issuer!r} has no place for its keys")


def build_backend(name: str, table: BackendSettings) -> BackendClient:
    """The client of one backend."""
    url = urlsplit(table.url)
    tls = None
    if url.scheme == "https":
        tls = ssl.create_default_context(cafile=str(table.ca_file) if table.ca_file else None)
        tls.set_alpn_protocols(["http/1.1"])
    return BackendClient(
        name=name,
        address=Address(
            host=url.hostname or "",
            port=url.port or (443 if tls else 80),
            authority=url.netloc.encode(),
            path=(url.path or "/").encode(),
            tls=tls,
            socket=str(table.socket) if table.socket else None,
        ),
        limits=BackendLimits(
            connect_timeout=table.connect_timeout, keep_alive=table.keep_alive, max_connections=table.max_connections
        ),
    )


def build_signing_keys(settings: Settings) -> list[SigningKey]:
    """The keys from the settings' files, or one that lives as long as this process."""
    if settings.trust.signing_keys:
        return [load_signing_key(path) for path in settings.trust.signing_keys]
    logger.warning(
        "assertions are signed with a key of this process alone",
        extra={"fields": {"fix": "set trust.signing_keys where gateways are replicated or restarted under load"}},
    )
    return [generate_signing_key()]
