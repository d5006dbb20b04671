"""Which pages may use the user's cookie, and read the answer."""

import pytest

from gateway.auth.cross_site import (
    OriginPolicy,
    allowed_origin,
    check_cross_site,
    cors_headers,
    is_preflight,
    preflight_headers,
)
from gateway.errors import CrossSiteRequest

POLICY = OriginPolicy(allowed=frozenset({b"https://app.example.com", b"https://chat.example.com"}))

Headers = list[tuple[bytes, bytes]]


def request(*, origin: bytes | None = None, site: bytes | None = None, host: bytes = b"chat.example.com") -> Headers:
    headers = [(b"host", host)]
    if origin is not None:
        headers.append((b"origin", origin))
    if site is not None:
        headers.append((b"sec-fetch-site", site))
    return headers


ALLOWED: dict[str, tuple[str, Headers]] = {
    "listed": ("POST", request(origin=b"https://app.example.com")),
    "listed, although cross-site": ("POST", request(origin=b"https://app.example.com", site=b"cross-site")),
    "our own": ("POST", request(origin=b"https://chat.example.com", site=b"same-origin")),
    "same-origin without Origin": ("POST", request(site=b"same-origin")),
    "GET with neither": ("GET", request()),
    "HEAD with neither": ("HEAD", request()),
}
REFUSED: dict[str, tuple[str, Headers]] = {
    "evil": ("POST", request(origin=b"https://evil.test")),
    "evil, although same-origin": ("POST", request(origin=b"https://evil.test", site=b"same-origin")),
    "evil GET": ("GET", request(origin=b"https://evil.test")),
    "null": ("POST", request(origin=b"null")),
    "empty": ("POST", request(origin=b"")),
    "empty GET": ("GET", request(origin=b"")),
    "sibling": ("POST", request(origin=b"https://other.example.com")),
    "parent": ("POST", request(origin=b"https://example.com")),
    "look-alike behind": ("POST", request(origin=b"https://app.example.com.evil.io")),
    "look-alike before": ("POST", request(origin=b"https://evilapp.example.com")),
    "user part": ("POST", request(origin=b"https://app.example.com@evil.io")),
    "scheme": ("POST", request(origin=b"http://app.example.com")),
    "port": ("POST", request(origin=b"https://app.example.com:8443")),
    "default port written out": ("POST", request(origin=b"https://app.example.com:443")),
    "slash": ("POST", request(origin=b"https://app.example.com/")),
    "upper case": ("POST", request(origin=b"https://APP.example.com")),
    "white space": ("POST", request(origin=b"https://app.example.com ")),
    "two in one": ("POST", request(origin=b"https://app.example.com, https://evil.test")),
    "two headers": ("POST", [(b"origin", b"https://app.example.com"), (b"origin", b"https://app.example.com")]),
    "the Host's own": ("POST", request(origin=b"https://evil.test", host=b"evil.test")),
    "cross-site": ("POST", request(site=b"cross-site")),
    "same-site": ("POST", request(site=b"same-site")),
    "none": ("POST", request(site=b"none")),
    "cross-site GET": ("GET", request(site=b"cross-site")),
    "same-site GET": ("GET", request(site=b"same-site")),
    "site twice": ("POST", [(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")]),
    "POST with neither": ("POST", request()),
    "PUT with neither": ("PUT", request()),
    "OPTIONS with neither": ("OPTIONS", request()),
    "get in lower case": ("get", request()),
}


@pytest.mark.parametrize(("method", "headers"), ALLOWED.values(), ids=ALLOWED.keys())
def test_listed_pages_and_our_own_may_use_the_cookie(method: str, headers: Headers) -> None:
    """By the rules in their order; nothing is raised."""
    check_cross_site(method, headers, POLICY)


@pytest.mark.parametrize(("method", "headers"), REFUSED.values(), ids=REFUSED.keys())
def test_every_other_page_is_refused(method: str, headers: Headers) -> None:
    """Origins are compared to the letter, and `Host` decides nothing."""
    with pytest.raises(CrossSiteRequest) as caught:
        check_cross_site(method, headers, POLICY)

    assert (caught.value.status, caught.value.code) == (403, "cross_site_request")


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        (request(origin=b"https://app.example.com"), b"https://app.example.com"),
        (request(origin=b"https://evil.test"), None),
        (request(origin=b"null"), None),
        (request(), None),
        ([(b"origin", b"https://app.example.com")] * 2, None),
    ],
)
def test_only_an_allowed_page_may_read_the_answer(headers: Headers, origin: bytes | None) -> None:
    """Permission names the one allowed origin, never `*`, and caches keep answers to different pages apart."""
    assert allowed_origin(headers, POLICY) == origin

    answer = cors_headers(origin)

    permission = [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"x-request-id, retry-after"),
    ]
    assert answer == [(b"vary", b"origin"), *(permission if origin else [])]


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("OPTIONS", [(b"access-control-request-method", b"POST")], True),
        ("OPTIONS", [], False),
        ("POST", [(b"access-control-request-method", b"POST")], False),
    ],
)
def test_a_preflight_is_told_by_method_and_header(method: str, headers: Headers, expected: bool) -> None:
    """Other OPTIONS requests are ordinary ones."""
    assert is_preflight(method, headers) is expected


def test_a_preflight_is_told_what_may_be_sent() -> None:
    """Methods and headers of the policy, remembered for ten minutes."""
    policy = OriginPolicy(allowed=frozenset(), methods=(b"GET", b"POST"), request_headers=(b"content-type", b"x-a"))

    assert preflight_headers(policy) == [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"content-type, x-a"),
        (b"access-control-max-age", b"600"),
    ]
