"""What the gateway tells a backend, checked with two libraries that know nothing of it."""

import hashlib
import json
import tracemalloc
from dataclasses import replace
from typing import Any

import jwt
import pytest
from jose import jws
from jose.exceptions import JWSError

from gateway.identity import Identity
from gateway.trust.assertions import HEADER, TYPE, AssertionMint
from gateway.trust.signing_keys import SigningKey, generate_signing_key, publish
from tests.support.issuer import b64

NOW = 1_800_000_000.9
KEY = generate_signing_key()
ALICE = Identity(issuer="https://login.test", subject="alice", roles=("user", "admin"), expires_at=9.0)
BODY = b'{"type":"threads.list"}'


def mint_of(key: SigningKey = KEY) -> AssertionMint:
    return AssertionMint(
        issuer="https://chat.test", key=key, lifetime=30, clock=lambda: NOW, make_id=iter(["j-1", "j-2"]).__next__
    )


def mint(identity: Identity = ALICE, *, path: bytes = b"/chatkit?a=1", body: bytes | None = BODY) -> bytes:
    return mint_of().mint(identity, audience="support", request_id="r-1", method="POST", path=path, body=body)


def claims_of(assertion: bytes) -> Any:
    return json.loads(jws.verify(assertion.decode(), publish([KEY])["keys"][0], ["ES256"]))


def test_an_assertion_says_who_calls_and_exactly_what_they_asked() -> None:
    """Audience, person, issuer of the person, lifetime, and the digest of method, path and body."""
    assertion = mint()

    assert jws.get_unverified_header(assertion.decode()) == {"alg": "ES256", "kid": KEY.kid, "typ": TYPE}
    assert claims_of(assertion) == {
        "iss": "https://chat.test",
        "aud": "support",
        "sub": "alice",
        "user_issuer": "https://login.test",
        "iat": 1_800_000_000,
        "exp": 1_800_000_030,
        "jti": "j-1",
        "request_id": "r-1",
        "roles": ["user", "admin"],
        "req": {"method": "POST", "path": "/chatkit?a=1", "sha256": hashlib.sha256(BODY).hexdigest()},
    }


def test_another_library_agrees_and_holds_it_to_audience_issuer_and_time() -> None:
    """PyJWT, from the published JWKS, as a backend in any language would."""
    key = jwt.PyJWKSet.from_dict(publish([KEY])).keys[0]
    assertion = mint()
    options: Any = {"verify_exp": False, "verify_iat": False}

    assert (
        jwt.decode(assertion, key, ["ES256"], audience="support", issuer="https://chat.test", options=options)["sub"]
        == "alice"
    )
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(assertion, key, ["ES256"], audience="billing", options=options)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(assertion, generate_signing_key().private.public_key(), ["ES256"], audience="support")


def test_any_changed_character_breaks_the_signature() -> None:
    """Header, claims or signature."""
    assertion = mint().decode()
    key = publish([KEY])["keys"][0]

    for position in range(0, len(assertion) - 1, 7):
        if assertion[position] == ".":
            continue
        changed = "A" if assertion[position] != "A" else "B"
        with pytest.raises(JWSError):
            jws.verify(assertion[:position] + changed + assertion[position + 1 :], key, ["ES256"])


def test_claims_cannot_be_exchanged_for_others() -> None:
    """A signature under alice's claims is none under root's."""
    header, _, signature = mint().decode().split(".")
    forged = b64(json.dumps({**claims_of(mint()), "sub": "root"}).encode())

    with pytest.raises(JWSError):
        jws.verify(f"{header}.{forged}.{signature}", publish([KEY])["keys"][0], ["ES256"])


def test_a_streamed_body_has_no_digest_and_an_empty_one_has() -> None:
    """`null` is not the digest of nothing."""
    assert claims_of(mint(body=None))["req"]["sha256"] is None
    assert claims_of(mint(body=b""))["req"]["sha256"] == hashlib.sha256(b"").hexdigest()


def test_the_same_subject_of_two_issuers_is_told_apart() -> None:
    """By `user_issuer`; and by tenant where there is one."""
    people = [
        ALICE,
        Identity(issuer="https://b", subject="alice", expires_at=9.0),
        Identity(issuer="https://b", subject="alice", tenant="t", expires_at=9.0),
    ]

    owners = [
        (claims["user_issuer"], claims["sub"], claims.get("tenant")) for claims in map(claims_of, map(mint, people))
    ]
    assert owners == [("https://login.test", "alice", None), ("https://b", "alice", None), ("https://b", "alice", "t")]


def test_odd_text_is_encoded_safely_and_the_header_stays_one_line() -> None:
    """CR, LF, NUL, non-Latin letters, ten kilobytes: a header value of plain ASCII."""
    odd = Identity(
        issuer="https://b",
        subject="a\r\nx-evil: 1\x00",
        name="Ж😀" * 5000,
        email="\u2028@b.test",
        roles=("ü",),
        expires_at=9.0,
    )

    assertion = mint(odd, path=b"/x?q=\xff%00")

    assert set(assertion) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    claims = claims_of(assertion)
    assert (claims["sub"], claims["name"], claims["email"]) == (odd.subject, odd.name, odd.email)
    assert claims["req"]["path"].encode("latin-1") == b"/x?q=\xff%00"


def test_each_assertion_has_an_id_of_its_own_that_nobody_can_guess() -> None:
    """128 bits from the system's randomness, when nothing else is given."""
    mint = AssertionMint(issuer="i", key=KEY, lifetime=30)
    ids = {
        claims_of(mint.mint(ALICE, audience="a", request_id="r", method="POST", path=b"/", body=b""))["jti"]
        for _ in range(50)
    }

    assert len(ids) == 50
    assert {len(jti) for jti in ids} == {32}


def test_it_travels_in_the_gateways_own_header() -> None:
    """Lower case, as ASGI gives names; under the prefix that is stripped from clients."""
    assert HEADER == b"x-gateway-assertion"


def test_a_long_target_is_not_remembered() -> None:
    """The query is the client's: 4,096 of 30 KB each would be a quarter of a gigabyte."""
    maker = AssertionMint(issuer="https://chat.test", key=KEY, lifetime=30)
    tracemalloc.start()
    try:
        for number in range(100):
            path = b"/chatkit?%d" % number + b"x" * 30_000
            maker.mint(ALICE, audience="support", request_id="r-1", method="POST", path=path, body=BODY)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 1_000_000


def test_claims_that_compare_equal_are_not_taken_for_each_other() -> None:
    """To Python 1 is True; to a backend it is another claim."""
    maker = mint_of()
    claims = []
    for level in (1, True):
        alice = replace(ALICE, extra={"level": level})
        signed = maker.mint(alice, audience="support", request_id="r-1", method="POST", path=b"/", body=BODY)
        claims.append(claims_of(signed)["claims"]["level"])

    assert [type(level) for level in claims] == [int, bool]


def test_a_person_with_many_tokens_is_served_as_fast_as_one_with_few() -> None:
    """A page may get a new token for every request: they must not all land in one slot of what is remembered."""
    tokens = [replace(ALICE, expires_at=float(number)) for number in range(4096)]

    assert len({hash(token) for token in tokens}) > 4000
