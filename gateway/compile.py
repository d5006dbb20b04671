"""Settings in, runtime objects out: issuers, backends, routes, keys. What the request path works with, made once.

Nothing is decided here and nothing is contacted; a file that cannot be read is a ValueError or OSError that names it.
"""

import logging
import ssl
from collections.abc import Mapping, Set
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from gateway.auth.access import AccessRule
from gateway.auth.claim_map import ClaimMap
from gateway.auth.claims import ClaimRules
from gateway.auth.credentials import CredentialRule
from gateway.auth.cross_site import REQUEST_HEADERS, OriginPolicy
from gateway.auth.key_fetch import FetchKeys, build_discovery_fetch, build_file_fetch, build_url_fetch
from gateway.auth.key_source import KeySource, KeyTimes
from gateway.auth.signed_urls import UrlSigner
from gateway.auth.verifier import TrustedIssuer
from gateway.backends.client import Address, BackendClient, BackendLimits, ReplicaRules
from gateway.backends.relay import RelayTimes
from gateway.backends.routes import RouteTable
from gateway.chatkit.operations import OPERATIONS
from gateway.entrance import Route
from gateway.limits import Allowance
from gateway.settings import Settings
from gateway.settings.model import BackendSettings, IssuerSettings, LimitSettings, RequireSettings, RouteSettings
from gateway.trust.signing_keys import SigningKey, generate_signing_key, load_signing_key
from gateway.wire.asgi import VARYING
from gateway.wire.headers import FORWARDED, FORWARDED_OPAQUE

logger = logging.getLogger("gateway.compile")


def build_routes(settings: Settings, backends: Mapping[str, BackendClient]) -> Mapping[str, Route]:
    """Every route by its name, in the settings' order."""
    return {name: _build_route(name, table, settings, backends) for name, table in settings.routes.items()}


def build_route_table(routes: Mapping[str, Route]) -> RouteTable[Route]:
    """The same by path."""
    return RouteTable(
        {route.path: route for route in routes.values() if not route.prefix},
        {route.path: route for route in routes.values() if route.prefix},
    )


def _build_route(name: str, table: RouteSettings, settings: Settings, backends: Mapping[str, BackendClient]) -> Route:
    backend = settings.backends[table.backend]
    issuers = table.issuers if table.issuers is not None else list(settings.issuers)
    extra = tuple(header.encode() for header in table.forward_headers)
    origins = frozenset(origin.encode() for origin in (*table.allowed_origins, settings.public_url))
    is_opaque = table.kind == "opaque"
    forwarded = (FORWARDED_OPAQUE if is_opaque else FORWARDED) | frozenset(extra)
    methods = tuple(table.methods) if is_opaque else ("POST",)
    return Route(
        name=name,
        kind=table.kind,
        path=table.path.encode(),
        prefix=table.prefix,
        methods=methods,
        credential=CredentialRule(
            cookie=table.cookie.encode() if table.cookie else None, bearer=table.bearer, max_token=table.max_token
        ),
        signer=_build_signer(settings) if table.credential == "signed_url" else None,
        origins=OriginPolicy(
            allowed=origins,
            methods=tuple(method.encode() for method in methods),
            request_headers=(*REQUEST_HEADERS, *extra),
        ),
        issuers=frozenset(settings.issuers[issuer].issuer for issuer in issuers),
        access=_build_rule(f"routes.{name}.require", table.require),
        operation_access={
            operation: _build_rule(f"routes.{name}.rules.{operation}", rule) for operation, rule in table.rules.items()
        },
        allowance=_build_allowance(table.limits),
        operations=frozenset(OPERATIONS if table.operations is None else table.operations),
        backend=backends[table.backend],
        audience=backend.audience or table.backend,
        forward_token=table.forward_token,
        forwarded=forwarded - VARYING,
        forwarded_varying=forwarded & VARYING,
        times=RelayTimes(
            first_byte=backend.first_byte_timeout,
            idle=backend.idle_timeout,
            heartbeat=table.heartbeat,
        ),
        total_timeout=backend.total_timeout,
        expiry_grace={
            settings.issuers[issuer].issuer: settings.issuers[issuer].leeway + table.expiry_grace for issuer in issuers
        },
        body_timeout=table.body_timeout,
        max_body=table.max_body,
        max_answer=table.max_answer,
        max_metadata=table.max_metadata,
        max_depth=table.max_depth,
        max_event_tail=table.max_event_tail,
    )


def _build_rule(name: str, table: RequireSettings) -> AccessRule:
    return AccessRule(
        name=name,
        scopes=frozenset(table.scopes),
        roles=frozenset(table.roles),
        claims={claim: frozenset(values) for claim, values in table.claims.items()},
    )


def _build_allowance(table: LimitSettings) -> Allowance:
    return Allowance(
        per_minute={
            "answer": table.answers_per_minute,
            "read": table.reads_per_minute,
            "write": table.writes_per_minute,
        },
        open_streams=table.open_streams,
    )


def _build_signer(settings: Settings) -> UrlSigner:
    table = settings.signed_urls
    return UrlSigner(keys=[key.get_secret_value() for key in table.keys], max_minutes=table.max_minutes)


def build_issuers(settings: Settings, client: httpx.AsyncClient) -> Mapping[str, TrustedIssuer]:
    """Every issuer by its table's name, keeping the claims that some rule looks at."""
    looked_at = {
        claim
        for route in settings.routes.values()
        for rule in (route.require, *route.rules.values())
        for claim in rule.claims
    }
    return {name: build_issuer(table, client, looked_at) for name, table in settings.issuers.items()}


def build_issuer(table: IssuerSettings, client: httpx.AsyncClient, kept: Set[str] = frozenset()) -> TrustedIssuer:
    """An issuer whose keys are fetched through ``client``; ``kept`` names claims to keep besides its own."""
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
                scopes=claims.scopes,
                tenant=claims.tenant,
                extra=tuple(sorted(kept | set(claims.extra))),
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
    """The client of one backend, for all of its replicas."""
    tls = None
    if table.replicas[0].startswith("https://"):
        tls = ssl.create_default_context(cafile=str(table.ca_file) if table.ca_file else None)
        tls.set_alpn_protocols(["http/1.1"])
    return BackendClient(
        name=name,
        addresses=[_build_address(replica, tls, table.socket) for replica in table.replicas],
        limits=BackendLimits(
            connect_timeout=table.connect_timeout, keep_alive=table.keep_alive, max_connections=table.max_connections
        ),
        rules=ReplicaRules(
            eject_after=table.eject_after, eject_for=table.eject_for, by_thread=table.sticky == "thread"
        ),
    )


def _build_address(replica: str, tls: ssl.SSLContext | None, unix_socket: Path | None) -> Address:
    url = urlsplit(replica)
    return Address(
        host=url.hostname or "",
        port=url.port or (443 if tls else 80),
        authority=url.netloc.encode(),
        path=(url.path or "/").encode(),
        tls=tls,
        socket=str(unix_socket) if unix_socket else None,
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
