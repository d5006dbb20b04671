"""What is wrong with settings that no single value shows: names that lead nowhere, two things at one place."""

from collections.abc import Collection, Iterable, Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from gateway.settings.model import (
    BackendSettings,
    IssuerSettings,
    RequireSettings,
    RouteSettings,
    ServerSettings,
    Settings,
)


def cross_problems(settings: Settings) -> list[str]:
    """What no single value shows: names that lead nowhere, two things at one place."""
    return [
        *_server_problems(settings.server),
        *_issuer_problems(settings.issuers),
        *_backend_problems(settings.backends),
        *_route_problems(settings),
        *_trust_problems(settings),
        *_watching_problems(settings),
    ]


def _server_problems(server: ServerSettings) -> Iterable[str]:
    if server.tls_key is not None and server.tls_certificate is None:
        yield "server.tls_key: is set without tls_certificate; set both, or neither"


def _issuer_problems(issuers: Mapping[str, IssuerSettings]) -> Iterable[str]:
    seen: dict[str, str] = {}
    for name, issuer in issuers.items():
        given = [key for key in ("jwks_url", "discovery_url", "jwks_file") if getattr(issuer, key) is not None]
        if len(given) != 1:
            yield (
                f"issuers.{name}: has {' and '.join(given) or 'no place for its keys'}; set exactly one of jwks_url, "
                "discovery_url, jwks_file"
            )
        if issuer.issuer in seen:
            yield f"issuers.{name}.issuer: {issuer.issuer!r} is also issuers.{seen[issuer.issuer]}; remove one"
        seen[issuer.issuer] = name


def _backend_problems(backends: Mapping[str, BackendSettings]) -> Iterable[str]:
    for name, backend in backends.items():
        if (backend.url is None) == (not backend.urls):
            yield f"backends.{name}: has {'both' if backend.urls else 'no address'}; set exactly one of url, urls"
        if backend.ca_file is not None and not backend.ca_file.is_file():
            yield f"backends.{name}.ca_file: no file {backend.ca_file}"
        if backend.ca_file is not None and not all(url.startswith("https://") for url in backend.replicas):
            yield f"backends.{name}.ca_file: is set, but url is not https"
        yield from (f"backends.{name}.{problem}" for problem in _replica_problems(backend))


def _replica_problems(backend: BackendSettings) -> Iterable[str]:
    """What does not go together in `urls`. The assertion names one path, and a socket is one place."""
    if backend.socket is not None and backend.urls:
        yield "socket: is one place, and urls are several; use url with it"
    places: set[tuple[str | None, int | None]] = set()
    for url in backend.urls:
        parts, first = urlsplit(url), urlsplit(backend.urls[0])
        if (parts.scheme, parts.path or "/") != (first.scheme, first.path or "/"):
            yield f"urls: {url} and {backend.urls[0]} are not replicas of one backend; only host and port may differ"
        place = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
        if place in places:
            yield f"urls: {url} is there twice; remove one"
        places.add(place)


def _route_problems(settings: Settings) -> Iterable[str]:
    paths: dict[str, str] = {}
    for name, route in settings.routes.items():
        yield from _dangling(name, route.backend, route.issuers or (), settings.backends, settings.issuers)
        if route.credential == "token" and route.cookie is None and not route.bearer:
            yield f"routes.{name}: takes neither a cookie nor a bearer token; set cookie or bearer = true"
        if route.path in paths:
            yield f"routes.{name}.path: {route.path} is also routes.{paths[route.path]}; change one"
        paths[route.path] = name
        yield from (f"routes.{name}.{problem}" for problem in _kind_problems(route))
        if route.credential == "signed_url" and not settings.signed_urls.keys:
            yield f"routes.{name}.credential: signed_url needs [signed_urls] keys; set them, the same as at the backend"


def dangling_names(values: Mapping[str, Any]) -> Iterable[str]:
    """The same of names that lead nowhere, for a file whose values do not fit the model and are reported beside."""
    tables = {key: values.get(key) for key in ("routes", "backends", "issuers")}
    if not all(isinstance(table, dict) for table in tables.values()):
        return
    for name, route in values["routes"].items():
        if isinstance(route, dict) and isinstance(route.get("backend"), str):
            issuers = route.get("issuers", [])
            known = issuers if isinstance(issuers, list) else []
            yield from _dangling(name, route["backend"], known, values["backends"], values["issuers"])


def _dangling(
    name: str, backend: str, issuers: Iterable[object], backends: Collection[str], known: Collection[str]
) -> Iterable[str]:
    if backend not in backends:
        yield f"routes.{name}.backend: no [backends.{backend}]; there are {', '.join(backends)}"
    for issuer in issuers:
        if issuer not in known:
            yield f"routes.{name}.issuers: no [issuers.{issuer}]; there are {', '.join(known)}"


def _kind_problems(route: RouteSettings) -> Iterable[str]:
    """What does not go with a route's kind."""
    if route.kind == "chatkit":
        for name in ("prefix", "methods"):
            if getattr(route, name):
                yield f'{name}: is for kind = "opaque"; remove it'
        if route.credential == "signed_url":
            yield 'credential: signed_url is for kind = "opaque"; ChatKit requests carry a token'
        return
    if not route.methods:
        yield 'methods: an opaque route must list them, such as ["GET", "HEAD"]'
    if route.prefix != route.path.endswith("/"):
        yield f"path: {route.path} must end with / if, and only if, prefix = true"
    if route.credential == "signed_url" and route.require != RequireSettings():
        yield "require: a signed URL names an owner and nothing else; let the backend decide whom it signs for"
    if route.operations is not None or route.rules:
        yield "operations, rules: an opaque route has no ChatKit operations; use methods and require"


def _watching_problems(settings: Settings) -> Iterable[str]:
    if settings.metrics.port == settings.server.port:
        yield f"metrics.port: {settings.metrics.port} is also server.port; metrics have a listener of their own"
    if settings.tracing.endpoint is not None and not has_tracing():
        yield "tracing.endpoint: OpenTelemetry is not installed; pip install chatkit-gateway[tracing]"


def has_tracing() -> bool:
    """Is the extra installed that sends spans?"""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _trust_problems(settings: Settings) -> Iterable[str]:
    for path in settings.trust.signing_keys:
        if not path.is_file():
            yield (
                f"trust.signing_keys: no file {path}; make one with: "
                f"openssl ecparam -name prime256v1 -genkey -noout -out {path}"
            )
