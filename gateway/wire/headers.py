"""Which headers go on to a backend, and which come back.

Rules: in is never changed, out is new. Towards the backend only an allow-list survives; towards the client everything
but connection-level headers, cookies and names that are the gateway's own. Knows nothing of routes or identities.
"""

from collections.abc import Iterable
from functools import lru_cache

from gateway.wire.asgi import Headers

# What a ChatKit backend needs to read a body and to speak the user's language; nothing here says who the user is.
# `traceparent` is checked, or made, and sent as one of ours.
FORWARDED = frozenset({b"content-type", b"accept", b"accept-language", b"chatkit-frame-instance-id"})

# What uploads and downloads need besides: conditions and parts. RFC 9110 sections 8.4, 13 and 14; RFC 9530.
FORWARDED_OPAQUE = FORWARDED | {
    b"range",
    b"if-range",
    b"if-match",
    b"if-none-match",
    b"if-modified-since",
    b"if-unmodified-since",
    # What an upload's bytes are: they go on as they came, so what describes them does too.
    b"content-encoding",
    b"content-range",
    b"content-disposition",
    b"content-digest",
    b"repr-digest",
}

# RFC 9110 section 7.6.1, and the older names still seen.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# Names a route may never forward: they decide who the caller is, or how the message or its answer is framed (a
# compressed stream cannot be read on the way).
NEVER_FORWARDED = HOP_BY_HOP | {
    b"accept-encoding",
    b"authorization",
    b"content-length",
    b"content-encoding",
    b"content-digest",
    b"repr-digest",
    b"digest",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"origin",
    b"traceparent",
    b"x-real-ip",
    b"x-request-id",
}
_NEVER_FORWARDED_PREFIXES = (b"x-gateway-", b"x-forwarded-", b"sec-", b"proxy-", b"x-original-")

# A backend sets no cookies for the gateway's host and does not speak for the gateway.
_NOT_RETURNED = HOP_BY_HOP | {b"set-cookie", b"set-cookie2", b"date", b"server", b"x-request-id", b"clear-site-data"}
_NOT_RETURNED_PREFIXES = (b"x-gateway-", b"access-control-")

# They would tell caches on the way something else than Cache-Control does. RFC 9213.
_CACHE_OVERRIDES = (b"-cache-control", b"surrogate-control")


def is_forwardable(name: bytes) -> bool:
    """May a route's ``forward_headers`` list this (lower-case) name?"""
    return name not in NEVER_FORWARDED and not name.startswith(_NEVER_FORWARDED_PREFIXES) and b"_" not in name


def select_request_headers(headers: Iterable[tuple[bytes, bytes]], allowed: frozenset[bytes]) -> Headers:
    """The client's headers that go on: exactly the names in ``allowed``, in order, repeats kept.

    Names are compared as ASGI gives them, in lower case and to the letter, so no spelling variant gets by.
    """
    return [(name, value) for name, value in headers if name in allowed]


def select_answer_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The backend's headers that go back to the client, in order, repeats kept.

    What `Connection` names is dropped too. Source: RFC 9110 section 7.6.1.
    """
    kept = []
    named: set[bytes] = set()
    for pair in headers:
        if _is_returned(pair[0]):
            kept.append(pair)
        elif pair[0] == b"connection":
            named.update(token.strip().lower() for token in pair[1].split(b","))
    return [pair for pair in kept if pair[0] not in named] if named else kept


@lru_cache(maxsize=1024)
def _is_returned(name: bytes) -> bool:
    """Remembered: a backend says the same few names at every answer."""
    return (
        name not in _NOT_RETURNED
        and not name.startswith(_NOT_RETURNED_PREFIXES)
        and not name.endswith(_CACHE_OVERRIDES)
    )


def keep_private(headers: Headers) -> Headers:
    """The same headers, with caching settled where the backend left it open or to everybody.

    Shared caches refuse answers to `Authorization` by themselves, but not answers to a cookie. RFC 9111 section 3.5.
    """
    given = [value for name, value in headers if name == b"cache-control"]
    if given and _is_private(b",".join(given)):
        return headers
    kept = [pair for pair in headers if pair[0] != b"cache-control"] if given else headers
    return [*kept, (b"cache-control", b"private, no-cache")]


@lru_cache(maxsize=256)
def _is_private(cache_control: bytes) -> bool:
    directives = {part.strip() for part in cache_control.lower().split(b",")}
    is_shared = any(part == b"public" or part.startswith(b"s-maxage") for part in directives)
    # Unqualified: `private="x"` hides one header and leaves the answer to everybody.
    return not is_shared and not directives.isdisjoint({b"private", b"no-store"})


def only_value(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The value of a header that may appear once.

    Returns:
        The value; None when the header is missing.

    Raises:
        ValueError: The header is repeated.
    """
    values = [value for key, value in headers if key == name]
    if len(values) > 1:
        raise ValueError(f"{len(values)} {name.decode('latin-1')} headers, expected one")
    return values[0] if values else None
