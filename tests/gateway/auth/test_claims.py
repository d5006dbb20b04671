"""Judging header and claims: a table per promise."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auth.claim_map import ClaimMap, build_identity
from gateway.auth.claims import (
    LATEST,
    ClaimRules,
    judge_claims,
    judge_header,
    parse_token,
)
from gateway.errors import GatewayError, TokenExpired, TokenInvalid
from gateway.identity import Identity
from tests.support.issuer import b64

NOW = 1_800_000_000.0
ISSUER = "https://login.test"
RULES = ClaimRules(
    issuer=ISSUER,
    audiences=frozenset({"chat", "chat-2"}),
    algorithms=frozenset({"RS256", "ES256"}),
    leeway=30.0,
    claim_map=ClaimMap(),
)
GOOD: dict[str, Any] = {"iss": ISSUER, "aud": "chat", "sub": "alice", "iat": NOW, "exp": NOW + 600}


def token(header: bytes = b'{"alg":"RS256"}', claims: bytes = b'{"sub":"a"}', signature: bytes = b"sig") -> bytes:
    return ".".join((b64(header), b64(claims), b64(signature))).encode()


def test_a_token_is_taken_apart() -> None:
    """Header and claims as values, and the bytes that were signed."""
    parsed = parse_token(token())

    assert parsed.header == {"alg": "RS256"}
    assert parsed.claims == {"sub": "a"}
    assert parsed.signed + b"." + b64(parsed.signature).encode() == token()
    assert parsed.signature == b"sig"


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "one part": b"e30",
    "two parts": b"e30.e30",
    "empty signature": b"e30.e30.",
    "empty claims": b"e30..c2ln",
    "empty header": b".e30.c2ln",
    "four parts": b"e30.e30.e30.c2ln",
    "padding": b"e30=.e30.c2ln",
    "padding that is due": token(b'{"a":1}').replace(b".", b"=.", 1),
    "alphabet of base64": b"e30.e30.+/+/",
    "white space": b"e30.e30 .c2ln",
    "line feed": b"e30.e30.c2ln\n",
    "stray bits": b"e30.e30.c2lo" + b"B",
    "stray bits in two characters": b"e31.e30.c2ln",
    "a length that no bytes have": b"e30.e30.c2lnc",
    "non-ASCII": b"e30.e30.\xc3\xa4",
    "duplicate name in the header": token(header=b'{"alg":"none","alg":"RS256"}'),
    "duplicate name in the claims": token(claims=b'{"sub":"a","sub":"b"}'),
    "duplicate name, escaped": token(claims=b'{"sub":"a","\\u0073ub":"b"}'),
    "duplicate name, deep": token(claims=b'{"realm":{"roles":[],"roles":["admin"]}}'),
    "header is a list": token(header=b"[]"),
    "claims are a string": token(claims=b'"sub"'),
    "claims are null": token(claims=b"null"),
    "claims with NaN": token(claims=b'{"exp":NaN}'),
    "claims with 1e999": token(claims=b'{"exp":1e999}'),
    "claims with a byte order mark": token(claims=b"\xef\xbb\xbf{}"),
    "claims not UTF-8": token(claims=b'{"sub":"\xff"}'),
    "claims with trailing data": token(claims=b"{}{}"),
    "claims of 100 levels": token(claims=b'{"a":' * 100 + b"1" + b"}" * 100),
    "claims of 10,000 levels": token(claims=b"[" * 10_000),
    "an integer of 5,000 digits": token(claims=b'{"exp":' + b"9" * 5000 + b"}"),
    "compressed claims": token(claims=b"x\x9c\xab\x56\x2a\x2e\x4d\x52\xb2\x52\x4a"),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_canonical_token_of_strict_json_is_refused(data: bytes) -> None:
    """One spelling per token: whatever two parsers could read differently is invalid."""
    with pytest.raises(TokenInvalid):
        parse_token(data)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"alg": "RS256"}, ("RS256", None)),
        ({"alg": "ES256", "kid": "k1", "typ": "JWT"}, ("ES256", "k1")),
        ({"alg": "RS256", "kid": "../../etc/passwd"}, ("RS256", "../../etc/passwd")),
        ({"alg": "RS256", "kid": "k" * 256, "typ": "at+jwt"}, ("RS256", "k" * 256)),
        ({"alg": "RS256", "typ": "application/AT+JWT"}, ("RS256", None)),
        ({"alg": "RS256", "typ": "application/okta-internal-at+jwt"}, ("RS256", None)),
        ({"alg": "RS256", "jwk": {"kty": "oct"}, "jku": "http://evil.test", "x5u": 1, "x5c": []}, ("RS256", None)),
        ({"alg": "RS256", "zip": "DEF", "p2c": 2**31}, ("RS256", None)),
    ],
)
def test_a_header_says_algorithm_and_key_and_nothing_else(header: dict[str, Any], expected: tuple[str, str]) -> None:
    """Keys, addresses of keys and parameters of other formats are not looked at."""
    assert judge_header(header, RULES) == expected


BAD_HEADERS: list[dict[str, Any]] = [
    {},
    *({"alg": name} for name in ("none", "None", "NONE", "nOnE", "", "rs256", "RS256 ", "HS256", "RS512", "PS256")),
    *({"alg": value} for value in (None, 0, True, ["RS256"], {"RS256": 1}, 10**400)),
    *({"alg": "RS256", "kid": value} for value in (None, 1, True, [], ["k1"], {"k1": 1}, "", "k" * 257, "k" * 10**6)),
    *({"alg": "RS256", "crit": value} for value in ([], ["exp"], None, "exp")),
    {"alg": "RS256", "b64": False},
    {"alg": "RS256", "b64": True},
    *({"alg": "RS256", "typ": value} for value in (1, None, ["JWT"], "logout+jwt", "dpop+jwt", "secevent+jwt")),
    {"alg": "ES256", "typ": "gateway-assertion+jwt"},
]


@pytest.mark.parametrize("header", BAD_HEADERS, ids=[repr(header)[:40] for header in BAD_HEADERS])
def test_a_header_outside_the_issuers_rules_is_refused(header: dict[str, Any]) -> None:
    """Algorithms are the issuer's; critical extensions, odd key ids and other kinds of token are refused."""
    with pytest.raises(TokenInvalid):
        judge_header(header, RULES)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": ["other", "chat-2"]},
        {"aud": ["chat"] * 1000},
        {"exp": NOW - 29.999},
        {"exp": LATEST},
        {"exp": NOW + 0.5},
        {"iat": NOW + 30, "nbf": NOW + 30},
        {"nbf": 0, "iat": 0},
    ],
    ids=repr,
)
def test_good_claims_pass_up_to_the_last_instant_of_the_leeway(changes: dict[str, Any]) -> None:
    """Valid while ``now < exp + leeway``, and from ``nbf - leeway`` and ``iat - leeway`` on."""
    judge_claims({**GOOD, **changes}, RULES, NOW)


TIMES: list[Any] = [None, "1900000000", "", True, False, [], {}, 1e300, float("inf"), float("nan"), 10**400, -(10**400)]
TIMES += [-1, -0.5, LATEST + 1]
BAD_CLAIMS: list[tuple[dict[str, Any], type[GatewayError]]] = [
    *(({"exp": value}, TokenInvalid) for value in TIMES),
    *(({"iat": value}, TokenInvalid) for value in TIMES),
    *(({"nbf": value}, TokenInvalid) for value in TIMES),
    ({"exp": NOW - 30}, TokenExpired),
    ({"exp": NOW - 600}, TokenExpired),
    ({"exp": 0}, TokenExpired),
    ({"iat": NOW + 30.001}, TokenInvalid),
    ({"nbf": NOW + 30.001}, TokenInvalid),
    *(
        ({"iss": value}, TokenInvalid)
        for value in (f"{ISSUER}/", ISSUER[:-1], f"{ISSUER} ", ISSUER.upper(), [ISSUER], {ISSUER: 1}, None, "", 1)
    ),
    *(
        ({"aud": value}, TokenInvalid)
        for value in ("", "cha", "chat ", "Chat", "chat chat-2", None, 1, True, [], ["x"], [["chat"]], {"chat": 1})
    ),
    ({"aud": ["chat", 1]}, TokenInvalid),
    ({"aud": ["chat", None]}, TokenInvalid),
]


@pytest.mark.parametrize(("changes", "error"), BAD_CLAIMS, ids=[repr(change)[:50] for change, _ in BAD_CLAIMS])
def test_claims_that_do_not_hold_are_refused(changes: dict[str, Any], error: type[GatewayError]) -> None:
    """Issuer and audience to the letter, times that are numbers within the calendar, expiry as its own error."""
    with pytest.raises(error) as caught:
        judge_claims({**GOOD, **changes}, RULES, NOW)

    assert type(caught.value) is error


@pytest.mark.parametrize("name", ["iss", "aud", "exp"])
def test_a_claim_that_must_be_there_is_missed(name: str) -> None:
    """Issuer, audience and expiry are not optional."""
    with pytest.raises(TokenInvalid):
        judge_claims({key: value for key, value in GOOD.items() if key != name}, RULES, NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ["iss", "aud", "exp", "nbf", "iat", "sub", "name", "email", "roles", "alg", "kid", "typ", "crit"]
)


@given(st.dictionaries(NAMES, JSON))
@settings(database=None, deadline=None, max_examples=300)
def test_whatever_json_stands_in_a_token_the_answer_is_a_verdict(members: dict[str, Any]) -> None:
    """Judging raises TokenInvalid or TokenExpired and nothing else; what it accepts can be sent on as UTF-8."""
    with contextlib.suppress(TokenInvalid):
        judge_header({"alg": "RS256", **members}, RULES)
    claims = {**GOOD, **members}
    try:
        judge_claims(claims, RULES, NOW)
        identity = build_identity(claims, ISSUER, RULES.claim_map)
    except (TokenInvalid, TokenExpired):
        return
    assert isinstance(identity, Identity)
    json.dumps([identity.subject, identity.name, identity.email, identity.roles], ensure_ascii=False).encode()


@given(st.binary() | st.lists(st.sampled_from([b"e30", b".", b"eyJhIjoxfQ", b"=", b"-", b"\xff"])).map(b"".join))
@settings(database=None, deadline=None, max_examples=300)
def test_any_bytes_are_a_token_or_invalid(data: bytes) -> None:
    """Taking apart raises nothing but TokenInvalid, and loses nothing of what it accepts."""
    try:
        parsed = parse_token(data)
    except TokenInvalid:
        return
    assert parsed.signed + b"." + b64(parsed.signature).encode() == data
