"""Where the token is: exactly one, or none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auth.credentials import CredentialRule, find_credential
from gateway.errors import (
    ClientError,
    CredentialAmbiguous,
    CredentialEncrypted,
    CredentialMissing,
    GatewayError,
    TokenInvalid,
)
from gateway.identity import Credential

RULE = CredentialRule(cookie=b"auth_token", bearer=True, max_token=64)

Headers = list[tuple[bytes, bytes]]


def cookies(*values: bytes) -> Headers:
    return [(b"cookie", value) for value in values]


def bearer(*values: bytes) -> Headers:
    return [(b"authorization", value) for value in values]


FOUND: dict[str, tuple[Headers, Credential]] = {
    "cookie": (cookies(b"auth_token=a.b.c"), Credential(token=b"a.b.c", source="cookie")),
    "among others": (cookies(b"x=1; auth_token=a.b.c; y=2"), Credential(token=b"a.b.c", source="cookie")),
    "in a second header": (cookies(b"x=1", b"auth_token=a.b.c"), Credential(token=b"a.b.c", source="cookie")),
    "no space between": (cookies(b"x=1;auth_token=a.b.c"), Credential(token=b"a.b.c", source="cookie")),
    "names that begin alike": (
        cookies(b"auth_token_old=x.y.z; auth_tokens=x.y.z; auth=x.y.z; xauth_token=x.y.z; auth_token=a.b.c"),
        Credential(token=b"a.b.c", source="cookie"),
    ),
    "parts that are none": (
        cookies(b"auth_token.x=1; auth_token.=2; auth_token.-1=3; auth_token=a.b.c"),
        Credential(token=b"a.b.c", source="cookie"),
    ),
    "name in another case": (
        cookies(b"Auth_Token=x.y.z; auth_token=a.b.c"),
        Credential(token=b"a.b.c", source="cookie"),
    ),
    "raw \\xa0 before a name": (
        cookies(b"\xa0auth_token=x.y.z; auth_token=a.b.c"),
        Credential(token=b"a.b.c", source="cookie"),
    ),
    "tab before a name": (
        cookies(b"\tauth_token=x.y.z; auth_token=a.b.c"),
        Credential(token=b"a.b.c", source="cookie"),
    ),
    "nameless cookie with our name as value": (
        cookies(b"auth_token; auth_token=a.b.c; =auth_token"),
        Credential(token=b"a.b.c", source="cookie"),
    ),
    "our name inside another's value": (
        cookies(b"x=auth_token=x.y.z; auth_token=a.b.c"),
        Credential(token=b"a.b.c", source="cookie"),
    ),
    "split": (
        cookies(b"auth_token.1=bbb.c; auth_token.0=aaa.b"),
        Credential(token=b"aaa.bbbb.c", source="cookie"),
    ),
    "split over ten": (
        cookies(*(b"auth_token.%d=a%s" % (number, b"." if number in (1, 5) else b"") for number in range(10))),
        Credential(token=b"aa.aaaa.aaaa", source="cookie"),
    ),
    "bearer": (bearer(b"Bearer a.b.c"), Credential(token=b"a.b.c", source="bearer")),
    "bearer in another case, two spaces": (bearer(b"bEARER  a.b.c"), Credential(token=b"a.b.c", source="bearer")),
    "both, the same: a cookie": (
        [*bearer(b"Bearer a.b.c"), *cookies(b"auth_token=a.b.c")],
        Credential(token=b"a.b.c", source="cookie"),
    ),
    "another scheme beside": (
        [*bearer(b"Basic eDp5"), *cookies(b"auth_token=a.b.c")],
        Credential(token=b"a.b.c", source="cookie"),
    ),
    "499 others": (
        cookies(b"; ".join([*(b"c%d=x" % number for number in range(499)), b"auth_token=a.b.c"])),
        Credential(token=b"a.b.c", source="cookie"),
    ),
    "64 bytes": (bearer(b"Bearer a.b." + b"c" * 60), Credential(token=b"a.b." + b"c" * 60, source="bearer")),
}


@pytest.mark.parametrize(("headers", "credential"), FOUND.values(), ids=FOUND.keys())
def test_the_one_credential_is_found(headers: Headers, credential: Credential) -> None:
    """A cookie of exactly that name, its parts, or a bearer token."""
    assert find_credential(headers, RULE) == credential


REFUSED: dict[str, tuple[Headers, type[GatewayError]]] = {
    "nothing": ([], CredentialMissing),
    "no cookie of that name": (cookies(b"x=1; auth_tokens=a.b.c"), CredentialMissing),
    "only a nameless cookie": (cookies(b"auth_token"), CredentialMissing),
    "name with \\xa0": (cookies(b"\xa0auth_token=a.b.c"), CredentialMissing),
    "another scheme": (bearer(b"Basic eDp5"), CredentialMissing),
    "tab after the scheme": (bearer(b"Bearer\ta.b.c"), CredentialMissing),
    "two cookies": (cookies(b"auth_token=a.b.c; auth_token=x.y.z"), CredentialAmbiguous),
    "two cookies, the same": (cookies(b"auth_token=a.b.c; auth_token=a.b.c"), CredentialAmbiguous),
    "two cookies in two headers": (cookies(b"auth_token=a.b.c", b"auth_token=x.y.z"), CredentialAmbiguous),
    "an empty second cookie": (cookies(b"auth_token=a.b.c; auth_token="), CredentialAmbiguous),
    "two Authorization headers": (bearer(b"Bearer a.b.c", b"Bearer a.b.c"), CredentialAmbiguous),
    "two Authorization headers, other schemes": (bearer(b"Basic x", b"Bearer a.b.c"), CredentialAmbiguous),
    "a list of bearers": (bearer(b"Bearer a.b.c, Bearer x.y.z"), CredentialAmbiguous),
    "a cookie and another bearer": (
        [*cookies(b"auth_token=a.b.c"), *bearer(b"Bearer x.y.z")],
        CredentialAmbiguous,
    ),
    "a cookie and an empty bearer": ([*cookies(b"auth_token=a.b.c"), *bearer(b"Bearer ")], CredentialAmbiguous),
    "whole and parts": (cookies(b"auth_token=a.b.c; auth_token.0=a.b.c"), CredentialAmbiguous),
    "a part twice": (cookies(b"auth_token.0=a.b; auth_token.0=x.y; auth_token.1=.c"), CredentialAmbiguous),
    "a part missing": (cookies(b"auth_token.0=a.b; auth_token.2=.c"), TokenInvalid),
    "the first part missing": (cookies(b"auth_token.1=a.b.c"), TokenInvalid),
    "an eleventh part": (cookies(b"auth_token.10=a.b.c"), TokenInvalid),
    "a part with a leading zero": (cookies(b"auth_token.00=a.b.c"), TokenInvalid),
    "a huge part number": (cookies(b"auth_token.0=a.b.c; auth_token." + b"9" * 5000 + b"=x"), TokenInvalid),
    "empty cookie": (cookies(b"auth_token="), TokenInvalid),
    "empty bearer": (bearer(b"Bearer"), TokenInvalid),
    "quoted": (cookies(b'auth_token="a.b.c"'), TokenInvalid),
    "octal": (cookies(b'auth_token="a.b\\056c"'), TokenInvalid),
    "percent": (cookies(b"auth_token=a%2Eb.c.d"), TokenInvalid),
    "padding": (cookies(b"auth_token=YQ==.b.c"), TokenInvalid),
    "plus and slash": (bearer(b"Bearer a+/.b.c"), TokenInvalid),
    "space behind": (bearer(b"Bearer a.b.c "), TokenInvalid),
    "line feed behind": (bearer(b"Bearer a.b.c\n"), TokenInvalid),
    "NUL": (bearer(b"Bearer a.b.c\x00"), TokenInvalid),
    "non-ASCII": (bearer("Bearer a.b.č".encode()), TokenInvalid),
    "one part": (bearer(b"Bearer opaque"), TokenInvalid),
    "two parts": (bearer(b"Bearer a.b"), TokenInvalid),
    "four parts": (bearer(b"Bearer a.b.c.d"), TokenInvalid),
    "JWE": (bearer(b"Bearer a..b.c.d"), CredentialEncrypted),
    "six parts": (bearer(b"Bearer a.b.c.d.e.f"), TokenInvalid),
    "65 bytes": (bearer(b"Bearer a.b." + b"c" * 61), TokenInvalid),
    "65 bytes in parts": (cookies(b"auth_token.0=a.b." + b"c" * 60 + b"; auth_token.1=c"), TokenInvalid),
    "a JWE too long to look at": (bearer(b"Bearer a.b.c.d." + b"e" * 100_000), TokenInvalid),
}


@pytest.mark.parametrize(("headers", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_anything_but_one_well_formed_credential_is_refused(headers: Headers, error: type[GatewayError]) -> None:
    """Never "first wins": two are refused, and so is what only a lenient parser would read."""
    with pytest.raises(error) as caught:
        find_credential(headers, RULE)

    assert (type(caught.value), caught.value.status) == (error, 401)


def test_a_route_takes_only_what_it_is_told_to() -> None:
    """Without `bearer` an Authorization header counts for nothing; without a cookie name no cookie does."""
    headers = [*cookies(b"auth_token=a.b.c"), *bearer(b"Bearer x.y.z")]
    only_cookie = CredentialRule(cookie=b"auth_token", bearer=False, max_token=64)
    only_bearer = CredentialRule(cookie=None, bearer=True, max_token=64)

    assert find_credential(headers, only_cookie) == Credential(token=b"a.b.c", source="cookie")
    assert find_credential(headers, only_bearer) == Credential(token=b"x.y.z", source="bearer")
    with pytest.raises(CredentialMissing, match="looked for: no cookie, bearer token"):
        find_credential(cookies(b"auth_token=a.b.c"), only_bearer)


def test_the_token_is_in_no_repr() -> None:
    """A credential can be logged by mistake without harm."""
    assert repr(find_credential(bearer(b"Bearer a.b.c"), RULE)) == "Credential(source='bearer')"


PIECES = [
    b"auth_token",
    b"auth_token.0",
    b"auth_token.1",
    b"=",
    b";",
    b" ",
    b"a.b.c",
    b".",
    b'"',
    b"\xa0",
    b"\xff",
    b",",
]
VALUES = st.lists(st.sampled_from(PIECES)).map(b"".join) | st.binary()


@given(st.lists(st.tuples(st.sampled_from([b"cookie", b"authorization", b"x"]), VALUES), max_size=4))
@settings(database=None, deadline=None, max_examples=300)
def test_any_headers_give_a_token_of_three_parts_or_a_client_error(headers: Headers) -> None:
    """Whatever bytes come, nothing else is raised, and what is found is a token of known shape that was sent."""
    try:
        credential = find_credential(headers, RULE)
    except ClientError:
        return
    assert credential.token.count(b".") == 2
    assert len(credential.token) <= RULE.max_token
