"""What is wrong with settings that are valid: the classic mistakes, each with its fix. Nothing is contacted.

Rules: what cannot work, or keeps nobody out, is a failure; what works until it meets a browser, a proxy or a bad day is
a warning. Production is where browsers come by https. Pure.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Final

from gateway.check.findings import Finding, fail, warn
from gateway.check.sites import host_of, is_inner, is_loopback, is_same_site
from gateway.settings import Settings
from gateway.settings.model import BackendSettings, IssuerSettings, RouteSettings

# Seconds. Load balancers and reverse proxies cut, or reuse, idle connections at this age by default: ALB, nginx.
COMMON_IDLE: Final = 60

# An audience that an identity provider puts into every token it makes, whatever for: Keycloak.
_COMMON_AUDIENCE: Final = "account"


def review(settings: Settings) -> Iterator[Finding]:
    """Everything that the settings alone show."""
    yield from _review_server(settings)
    for name, issuer in settings.issuers.items():
        yield from _review_issuer(f"issuers.{name}", issuer, is_production=_is_production(settings))
    for name, backend in settings.backends.items():
        yield from _review_backend(f"backends.{name}", backend, settings.trust.lifetime)
        if settings.server.max_streams > backend.max_connections * len(backend.replicas):
            yield warn(
                f"backends.{name}.max_connections",
                f"{backend.max_connections} to each of {len(backend.replicas)} replica(s): streams beyond are refused "
                f"before server.max_streams ({settings.server.max_streams}) is reached; raise this, or lower that",
            )
    for name, route in settings.routes.items():
        yield from _review_pages(f"routes.{name}", route, settings.public_url)
        yield from _review_times(f"routes.{name}", route, settings.backends[route.backend])


def _is_production(settings: Settings) -> bool:
    return settings.public_url.startswith("https://")


def _review_server(settings: Settings) -> Iterable[Finding]:
    server, public = settings.server, host_of(settings.public_url)
    if server.public_url is None and server.host in ("0.0.0.0", "::"):  # noqa: S104  # looked for, not listened on
        yield fail(
            "server.public_url",
            f"is not set, and comes to {settings.public_url}, which no browser sends as its Origin; set what browsers "
            "see, such as https://chat.example.com",
        )
    elif not _is_production(settings) and not is_loopback(public):
        yield warn(
            "server.public_url",
            f"{settings.public_url}: by http no cookie with Secure is sent, and anybody on the way reads the others; "
            "serve by https, and say so here",
        )
    if server.keep_alive <= COMMON_IDLE and _is_production(settings):
        yield warn(
            "server.keep_alive",
            f"{server.keep_alive:g} s: load balancers keep a connection for {COMMON_IDLE} s and then meet one that was "
            "just closed (a 502 now and then); set it above theirs",
        )
    for network in server.trusted_proxies:
        if ip_network(network).prefixlen == 0:
            yield fail(
                "server.trusted_proxies",
                f"{network} is everybody: any client may then say from which address it comes; list the proxies' own",
            )
    if not settings.trust.signing_keys and _is_production(settings):
        yield warn(
            "trust.signing_keys",
            "none: the key is made anew at each start, and backends refuse everybody until they have fetched it; set a "
            "file (openssl ecparam -name prime256v1 -genkey -noout), the same for all replicas",
        )


def _review_issuer(where: str, issuer: IssuerSettings, *, is_production: bool) -> Iterable[Finding]:
    for key in ("jwks_url", "discovery_url"):
        url = getattr(issuer, key)
        if is_production and url is not None and url.startswith("http://") and not is_loopback(host_of(url)):
            text = f"{url}: whoever stands on the way can hand out keys and be anybody; use https, or jwks_file"
            yield warn(f"{where}.{key}", text) if is_inner(host_of(url)) else fail(f"{where}.{key}", text)
    if is_production and issuer.issuer.startswith("http://") and not is_loopback(host_of(issuer.issuer)):
        yield warn(
            f"{where}.issuer",
            f"{issuer.issuer}: a login by http, in production; give the issuer an https address and take over its iss",
        )
    yield from _review_audiences(where, issuer.audiences)
    if issuer.keep < issuer.refresh:
        yield warn(
            f"{where}.keep",
            f"{issuer.keep:g} s is less than refresh ({issuer.refresh:g} s): one fetch that fails signs everybody out; "
            "set keep to hours",
        )


def _review_audiences(where: str, audiences: Iterable[str]) -> Iterable[Finding]:
    for audience in audiences:
        if audience in ("", "*") or audience != audience.strip():
            yield fail(
                f"{where}.audiences",
                f"{audience!r} is compared to the letter and no wildcard: write the aud of your tokens (gateway "
                "explain shows it)",
            )
        elif audience == _COMMON_AUDIENCE:
            yield warn(
                f"{where}.audiences",
                f"{audience!r} is in every token of the realm, whichever application it was made for; give the chat an "
                "audience of its own (in Keycloak an audience mapper)",
            )


def _review_backend(where: str, backend: BackendSettings, lifetime: int) -> Iterable[Finding]:
    for name in ("first_byte_timeout", "idle_timeout"):
        if getattr(backend, name) > backend.total_timeout:
            yield warn(
                f"{where}.{name}",
                f"{getattr(backend, name):g} s is never reached: total_timeout cuts at {backend.total_timeout:g} s; "
                "raise that, or lower this",
            )
    if backend.connect_timeout >= lifetime:
        yield warn(
            f"{where}.connect_timeout",
            f"{backend.connect_timeout:g} s: an assertion lives {lifetime} s (trust.lifetime), and one that waited for "
            "its connection would be refused as expired; keep it well below",
        )
    for url in backend.replicas:
        if url.startswith("http://") and backend.socket is None and not is_inner(host_of(url)):
            yield warn(
                f"{where}.url",
                f"{url}: tokens and conversations go over a public network in the clear; use https, or a private one",
            )


def _review_times(where: str, route: RouteSettings, backend: BackendSettings) -> Iterable[Finding]:
    for name in ("first_byte_timeout", "idle_timeout"):
        if route.kind == "chatkit" and route.heartbeat >= getattr(backend, name):
            yield warn(
                f"{where}.heartbeat",
                f"{route.heartbeat:g} s is never reached: backends.{route.backend}.{name} cuts at "
                f"{getattr(backend, name):g} s; a heartbeat should come several times in that",
            )
    if route.body_timeout > backend.total_timeout:
        yield warn(
            f"{where}.body_timeout",
            f"{route.body_timeout:g} s is never reached: backends.{route.backend}.total_timeout cuts at "
            f"{backend.total_timeout:g} s",
        )


def _review_pages(where: str, route: RouteSettings, public_url: str) -> Iterable[Finding]:
    """Will browsers send this route's cookie from these pages?"""
    if route.cookie is None:
        return
    host = host_of(public_url)
    is_plain = public_url.startswith("http://") and not is_loopback(host)
    if is_plain and route.cookie.startswith(("__Host-", "__Secure-")):
        yield fail(
            f"{where}.cookie",
            f"{route.cookie}: browsers keep cookies of such a name by https alone, and server.public_url is "
            f"{public_url}; serve by https",
        )
    for origin in route.allowed_origins:
        page = host_of(origin)
        if is_loopback(page) and is_loopback(host) and page != host:
            yield warn(
                f"{where}.allowed_origins",
                f"{origin}: to a browser {page} and {host} are two sites, whose cookies do not meet; use one name for "
                "both",
            )
        elif not is_same_site(origin, public_url):
            yield _judge_foreign_page(where, origin, public_url, is_plain=is_plain)


def _judge_foreign_page(where: str, origin: str, public_url: str, *, is_plain: bool) -> Finding:
    what = f"{where}.allowed_origins"
    if is_plain:
        return fail(
            what,
            f"{origin} is another site than {public_url}: its requests bring only a cookie with SameSite=None and "
            "Secure, and that is not sent by http; serve by https on the page's site",
        )
    return warn(
        what,
        f"{origin} is another site than {public_url}: its requests bring the cookie only with SameSite=None; Secure, "
        "and not at all where browsers block such cookies; put a proxy for the gateway on the page's own site",
    )
