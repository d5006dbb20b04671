"""What one version of the settings is made into: issuers, backends, routes and the app that uses them.

Rules: what the last version had and this one has unchanged is taken over as it is: an issuer's keys, a backend's
connections, the key that signs when no file names one. So a new version costs nobody anything that it does not change.
A request keeps the version that it began with. Nothing is contacted here.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import httpx
from starlette.routing import BaseRoute, Router
from starlette.routing import Route as AppRoute

from gateway.auth.verifier import TrustedIssuer, Verifier
from gateway.backends.client import BackendClient
from gateway.compile import build_backend, build_issuers, build_route_table, build_routes, build_signing_keys
from gateway.endpoints import Liveness, PublishedKeys, Readiness, Session
from gateway.kit.endpoint import build_kit_routes
from gateway.limits import Limiter
from gateway.pace import Pace
from gateway.proxy import Proxy
from gateway.settings import Settings
from gateway.trust.assertions import AssertionMint
from gateway.trust.signing_keys import SigningKey, publish
from gateway.wire.asgi import App
from gateway.wire.forwarded import Network
from gateway.wire.turns import Lull


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What outlives every version.

    Attributes:
        reasons: Why the process wants no new requests right now.
        verifications: Counted by result.
        extra_routes: Come before the routes to backends.
        lull: For work that can wait until a request is on its way.
    """

    client: httpx.AsyncClient
    limiter: Limiter
    reasons: Callable[[], Sequence[str]]
    extra_routes: Sequence[BaseRoute] = ()
    verifications: Counter[str] = field(default_factory=Counter)
    lull: Lull = field(default_factory=Lull)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One version, ready to answer.

    Attributes:
        trusted_proxies: Who may say who the client is.
        proxy: Answers the exact ``paths``; ``router`` everything else.
    """

    settings: Settings
    issuers: Mapping[str, TrustedIssuer]
    backends: Mapping[str, BackendClient]
    signing_keys: Sequence[SigningKey]
    verifier: Verifier
    trusted_proxies: Sequence[Network]
    proxy: App
    router: App
    paths: frozenset[str]


def build_runtime(
    settings: Settings,
    around: Surroundings,
    *,
    last: Runtime | None = None,
    signing_keys: Sequence[SigningKey] | None = None,
) -> Runtime:
    """The version for ``settings``, with whatever ``last`` has that they leave as it was.

    Args:
        signing_keys: Made by whoever started this process, for all of its siblings; else from the settings.

    Raises:
        ValueError, OSError: A file that the settings name cannot be used; its text says which and why.
    """
    issuers = _take_over_issuers(build_issuers(settings, around.client), settings, last)
    backends = {
        name: last.backends[name] if last and last.settings.backends.get(name) == table else build_backend(name, table)
        for name, table in settings.backends.items()
    }
    if signing_keys is None:
        is_kept = last is not None and not settings.trust.signing_keys and not last.settings.trust.signing_keys
        signing_keys = last.signing_keys if last is not None and is_kept else build_signing_keys(settings)
    verifier = Verifier(
        issuers=issuers.values(), cache_size=settings.server.verified_tokens, results=around.verifications
    )
    mint = AssertionMint(
        issuer=settings.trust.issuer or settings.public_url, key=signing_keys[0], lifetime=settings.trust.lifetime
    )
    routes = build_routes(settings, backends)
    table = build_route_table(routes)
    proxy = Proxy(routes=table, verifier=verifier, mint=mint, limiter=around.limiter, lull=around.lull)
    router = Router(
        routes=[
            AppRoute("/livez", Liveness()),
            AppRoute("/readyz", Readiness(reasons=around.reasons)),
            AppRoute("/.well-known/jwks.json", PublishedKeys(publish(signing_keys))),
            AppRoute("/session", Session(routes=routes, verifier=verifier)),
            *(build_kit_routes() if settings.server.kit else ()),
            *around.extra_routes,
        ],
        default=proxy,
        redirect_slashes=False,
    )
    return Runtime(
        settings=settings,
        issuers=issuers,
        backends=backends,
        signing_keys=signing_keys,
        verifier=verifier,
        trusted_proxies=[ipaddress.ip_network(network) for network in settings.server.trusted_proxies],
        proxy=Pace(proxy),
        router=router,
        paths=table.paths,
    )


def _take_over_issuers(
    built: Mapping[str, TrustedIssuer], settings: Settings, last: Runtime | None
) -> Mapping[str, TrustedIssuer]:
    """With the keys that are there already. Which claims are kept may have changed all the same."""
    if last is None:
        return built
    before = last.settings.issuers
    for name in built.keys() & last.issuers.keys():
        built[name].keys.fetches = last.issuers[name].keys.fetches
    return {
        name: replace(issuer, keys=last.issuers[name].keys) if before.get(name) == settings.issuers[name] else issuer
        for name, issuer in built.items()
    }
