"""Which headers go on, and which come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.headers import (
    FORWARDED,
    HOP_BY_HOP,
    NEVER_FORWARDED,
    is_forwardable,
    keep_private,
    only_value,
    select_answer_headers,
    select_request_headers,
)

IDENTITY = [b"x-user-id", b"x_user_id", b"x.user.id", b"x-gateway-assertion", b"x_gateway_assertion", b"remote-user"]
OTHERS = [b"set-cookie", b"server", b"date", b"x-custom", b"etag", b"access-control-allow-origin", b"x-gateway-any"]
OTHERS += [b"clear-site-data", b"x-request-id", b"set-cookie2"]
NAMES = st.sampled_from([*sorted(FORWARDED), *sorted(NEVER_FORWARDED), *IDENTITY, *OTHERS])
VALUES = st.one_of(st.binary(max_size=12), NAMES, st.lists(NAMES, max_size=3).map(b", ".join))
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


@given(headers=HEADERS)
def test_only_the_allow_list_survives_in_order(headers: list[tuple[bytes, bytes]]) -> None:
    """Nothing else gets to a backend; order and repeats are kept; the argument is untouched."""
    before = list(headers)
    out = select_request_headers(headers, FORWARDED)

    assert out == [pair for pair in before if pair[0] in FORWARDED]
    assert headers == before


@given(headers=HEADERS)
def test_an_answer_loses_what_is_not_the_backends_to_say(headers: list[tuple[bytes, bytes]]) -> None:
    """No cookie, no connection-level header, nothing named by Connection, nothing in our name or about origins."""
    out = select_answer_headers(headers)
    names = {name for name, _ in out}
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}

    assert not names & (HOP_BY_HOP | named | {b"set-cookie", b"date", b"server", b"x-request-id", b"clear-site-data"})
    assert not [name for name in names if name.startswith((b"x-gateway-", b"access-control-"))]
    assert out == [pair for pair in headers if pair[0] in names]


@pytest.mark.parametrize("name", IDENTITY)
def test_identity_headers_from_the_client_never_survive(name: bytes) -> None:
    """A client cannot name itself, in whatever spelling, also not by listing the name in Connection."""
    headers = [(name, b"root"), (b"connection", name), (b"accept", b"*/*"), (name, b"root")]

    assert select_request_headers(headers, FORWARDED) == [(b"accept", b"*/*")]


def test_what_connection_names_is_dropped_from_an_answer() -> None:
    """In any case, with spaces, from several Connection headers; an empty element names nothing."""
    headers = [
        (b"connection", b"X-Private , close"),
        (b"connection", b",, ETag"),
        (b"x-private", b"1"),
        (b"etag", b"2"),
        (b"content-type", b"text/plain"),
    ]

    assert select_answer_headers(headers) == [(b"content-type", b"text/plain")]


@pytest.mark.parametrize(
    "name", [*sorted(NEVER_FORWARDED), b"x-gateway-assertion", b"x-forwarded-for", b"sec-fetch-site"]
)
def test_some_names_are_never_forwardable(name: bytes) -> None:
    """They decide who the caller is, or how the message is framed."""
    assert not is_forwardable(name)


@pytest.mark.parametrize(
    ("name", "forwardable"), [(b"x-app-version", True), (b"baggage", True), (b"x_app", False), (b"proxy-x", False)]
)
def test_others_are(name: bytes, forwardable: bool) -> None:
    """An underscore is a dash to many a backend, so it is no way around the list."""
    assert is_forwardable(name) is forwardable


def test_only_value() -> None:
    """A header that may appear once: its value, nothing, or an error."""
    headers = [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]

    assert (only_value(headers, b"a"), only_value(headers, b"c")) == (b"1", None)
    with pytest.raises(ValueError, match="2 b headers, expected one"):
        only_value(headers, b"b")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], [b"private, no-cache"]),
        ([b"private, max-age=60"], [b"private, max-age=60"]),
        ([b"no-store"], [b"no-store"]),
        ([b"public, max-age=60"], [b"private, no-cache"]),
        ([b"PUBLIC"], [b"private, no-cache"]),
        ([b"max-age=1", b"s-maxage=60"], [b"private, no-cache"]),
        ([b"max-age=3600"], [b"private, no-cache"]),
        ([b"must-revalidate"], [b"private, no-cache"]),
        ([b'private="x-a", max-age=60'], [b"private, no-cache"]),
        ([b"private, public"], [b"private, no-cache"]),
        ([b"Private", b"max-age=60"], [b"Private", b"max-age=60"]),
    ],
)
def test_no_shared_cache_keeps_what_one_user_may_see(given: list[bytes], expected: list[bytes]) -> None:
    """A cookie does not keep caches off, so we do; what the backend keeps private itself stays as it is."""
    kept = keep_private([(b"etag", b"1"), *((b"cache-control", value) for value in given)])

    assert [value for name, value in kept if name == b"cache-control"] == expected
    assert kept[0] == (b"etag", b"1")


def test_no_header_overrides_what_caches_are_told() -> None:
    """RFC 9213 lets a CDN prefer its own header to Cache-Control."""
    given = [(b"cdn-cache-control", b"max-age=9"), (b"surrogate-control", b"max-age=9"), (b"cache-control", b"private")]

    assert select_answer_headers(given) == [(b"cache-control", b"private")]
