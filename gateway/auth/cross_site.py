"""May this page use the user's cookie? And may it read the answer?

Rules, for a credential that the browser adds by itself (a cookie), in this order: 1. an `Origin` must be listed;
2. without one, `Sec-Fetch-Site: same-origin` will do; 3. a GET or HEAD with neither is a navigation or a program;
4. everything else is refused. A bearer token is added by the page's own code and needs no such rule. `Host` decides
nothing. Pure. Sources: the Fetch standard, sections on Origin, Sec-Fetch-Site and CORS.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.errors import CrossSiteRequest

Headers = list[tuple[bytes, bytes]]

# Seconds a browser may remember a preflight; Chromium caps it at two hours.
PREFLIGHT_MAX_AGE = 600

# What ChatKit's page code sends beyond the headers that need no leave.
REQUEST_HEADERS = (
    b"accept-language",
    b"authorization",
    b"chatkit-frame-instance-id",
    b"content-type",
    b"traceparent",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginPolicy:
    """The origins that may use a route: those listed, and the gateway's own (`server.public_url`)."""

    allowed: frozenset[bytes]
    methods: tuple[bytes, ...] = (b"POST",)
    request_headers: tuple[bytes, ...] = REQUEST_HEADERS


def check_cross_site(method: str, headers: Iterable[tuple[bytes, bytes]], policy: OriginPolicy) -> None:
    """Refuse a request that another site made with the user's cookie.

    Raises:
        CrossSiteRequest: By the rules at the head of this module.
    """
    origins = []
    sites = []
    for name, value in headers:
        if name == b"origin":
            origins.append(value)
        elif name == b"sec-fetch-site":
            sites.append(value)
    if origins:
        if len(origins) == 1 and origins[0] in policy.allowed:
            return
        raise CrossSiteRequest(f"Origin {b', '.join(origins)!r}, allowed: {sorted(policy.allowed)}")
    if sites == [b"same-origin"]:
        return
    if not sites and method in ("GET", "HEAD"):
        return
    raise CrossSiteRequest(f"{method} without Origin, Sec-Fetch-Site {b', '.join(sites)!r}")


def allowed_origin(headers: Iterable[tuple[bytes, bytes]], policy: OriginPolicy) -> bytes | None:
    """The request's one `Origin` if the policy allows it, else None."""
    origins = [value for name, value in headers if name == b"origin"]
    return origins[0] if len(origins) == 1 and origins[0] in policy.allowed else None


def cors_headers(origin: bytes | None) -> Headers:
    """What lets an allowed page read the answer, errors included; `Vary` whether allowed or not."""
    if origin is None:
        return [(b"vary", b"origin")]
    return [
        (b"vary", b"origin"),
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"x-request-id, retry-after"),
    ]


def is_preflight(method: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """An OPTIONS request that asks leave for another one."""
    return method == "OPTIONS" and any(name == b"access-control-request-method" for name, _ in headers)


def preflight_headers(policy: OriginPolicy) -> Headers:
    """What an allowed origin may send."""
    return [
        (b"access-control-allow-methods", b", ".join(policy.methods)),
        (b"access-control-allow-headers", b", ".join(policy.request_headers)),
        (b"access-control-max-age", b"%d" % PREFLIGHT_MAX_AGE),
    ]
