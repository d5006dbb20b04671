"""An issuer's JWKS becomes keys bound to their algorithms; what is not fit for use is left out."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auth.keys import ALGORITHMS, KeySet, VerificationKey, parse_jwks
from gateway.auth.signatures import is_signed
from gateway.errors import TokenInvalid
from tests.support.issuer import SigningKey, b64, b64_int, rsa_key, signing_key

ALL = tuple(ALGORITHMS)
RSA = signing_key("RS256", kid="good").jwk()
EC = signing_key("ES256", kid="ec").jwk()
OKP = signing_key("EdDSA", kid="okp").jwk()


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def without(jwk: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in jwk.items() if name not in names}


def names(keys: KeySet) -> list[tuple[str | None, str]]:
    return [(key.kid, key.algorithm) for key in keys.keys]


@pytest.mark.parametrize("algorithm", ALL)
def test_each_algorithm_verifies_its_own_signature_and_no_other(algorithm: str) -> None:
    """A published key checks what its private half signed, byte for byte."""
    private = signing_key(algorithm, kid="k")
    key = parse_jwks(document(private.jwk()), ALL).select("k", algorithm)

    assert key is not None
    signature = private.sign(b"signed")
    assert is_signed(key.signature_key, b"signed", signature)
    assert not is_signed(key.signature_key, b"signeD", signature)
    for other in (b"", b"\0" * len(signature), signature[:-1], signature + b"\0", signature[::-1]):
        assert not is_signed(key.signature_key, b"signed", other)


@pytest.mark.parametrize(("used", "published"), [("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS512")])
def test_a_key_checks_one_algorithm_only(used: str, published: str) -> None:
    """The same RSA key does not vouch for another padding or digest than its own."""
    private = rsa_key("issuer")
    key = parse_jwks(document(SigningKey(kid="k", algorithm=published, private=private).jwk()), ALL).keys[0]

    assert not is_signed(key.signature_key, b"x", SigningKey(kid="k", algorithm=used, private=private).sign(b"x"))


def test_an_ecdsa_signature_in_der_is_no_signature() -> None:
    """RFC 7518 section 3.4: r and s side by side; a second encoding would be a second token."""
    private = signing_key("ES256", kid="k")
    assert isinstance(private.private, ec.EllipticCurvePrivateKey)
    key = parse_jwks(document(private.jwk()), ALL).keys[0]

    assert not is_signed(key.signature_key, b"x", private.private.sign(b"x", ec.ECDSA(hashes.SHA256())))
    assert not is_signed(key.signature_key, b"x", b"\0" * 64)


SKIPPED: dict[str, tuple[Any, str]] = {
    "private RSA": ({**RSA, "d": "AQAB"}, "it is a private key"),
    "private EC": ({**EC, "d": "AQAB"}, "it is a private key"),
    "private OKP": ({**OKP, "d": "AQAB"}, "it is a private key"),
    "only primes": ({**RSA, "p": "AQAB"}, "it is a private key"),
    "symmetric": ({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, "kty 'oct' is not RSA, EC or OKP"),
    "RSA with a secret": ({**RSA, "k": "c2VjcmV0"}, "it is a private key"),
    "for encryption": ({**RSA, "use": "enc"}, "use is 'enc', not sig"),
    "use null": ({**RSA, "use": None}, "use is None, not sig"),
    "use a list": ({**RSA, "use": ["sig"]}, "use is ['sig'], not sig"),
    "operations": ({**RSA, "key_ops": ["encrypt"]}, "key_ops lacks verify"),
    "operations a string": ({**RSA, "key_ops": "verify"}, "key_ops lacks verify"),
    "operations of objects": ({**RSA, "key_ops": [{}, []]}, "key_ops lacks verify"),
    "1024 bits": (
        SigningKey(kid="k", algorithm="RS256", private=rsa_key("weak", 1024)).jwk(),
        "RSA with 1024 bits, from 2048 to 8192 are accepted",
    ),
    "2047 bits": ({**RSA, "n": b64_int((1 << 2046) + 1)}, "RSA with 2047 bits, from 2048 to 8192 are accepted"),
    "8200 bits": ({**RSA, "n": b64_int((1 << 8199) + 1)}, "RSA with 8200 bits, from 2048 to 8192 are accepted"),
    "exponent 1": ({**RSA, "e": "AQ"}, "RSA with an unsafe public exponent"),
    "exponent even": ({**RSA, "e": b64_int(65536)}, "RSA with an unsafe public exponent"),
    "exponent huge": ({**RSA, "e": RSA["n"]}, "RSA with an unsafe public exponent"),
    "n a number": ({**RSA, "n": 10**12}, "n must be base64url text"),
    "n and e lists": ({**RSA, "n": [1], "e": [1]}, "n and e must be base64url text"),
    "n missing": (without(RSA, "n"), "n must be base64url text"),
    "n not base64url": ({**RSA, "n": "ä" * 400}, "n or e is not base64url"),
    "x a number": ({**EC, "x": 10**12}, "x must be base64url text"),
    "y missing": (without(EC, "y"), "y must be base64url text"),
    "OKP x an object": ({**OKP, "x": {}}, "x must be base64url text"),
    "OKP too short": ({**OKP, "x": b64(b"short")}, "An Ed25519 public key is 32 bytes long"),
    "a point off its curve": ({**EC, "x": EC["y"], "y": EC["x"]}, "not a usable ES256 key"),
    "x not ASCII": ({**EC, "x": "ä\ud800"}, "not a usable ES256 key"),
    "P-384 for ES256": ({**signing_key("ES384").jwk(), "alg": "ES256"}, "EC 'ES256' fits none of"),
    "curve a list": ({**EC, "crv": ["P-256"]}, "EC 'ES256' fits none of"),
    "Ed448": ({**OKP, "crv": "Ed448"}, "OKP 'EdDSA' fits none of"),
    "secp256k1": ({**without(EC, "alg"), "crv": "secp256k1"}, "EC 'secp256k1' fits none of"),
    "algorithm for encryption": ({**RSA, "alg": "RSA-OAEP"}, "RSA 'RSA-OAEP' fits none of"),
    "algorithm a list": ({**RSA, "alg": ["RS256"]}, "RSA ['RS256'] fits none of"),
    "algorithm an object": ({**RSA, "alg": {"a": 1}}, "RSA {'a': 1} fits none of"),
    "RSA that says HS256": ({**RSA, "alg": "HS256"}, "RSA 'HS256' fits none of"),
    "RSA that says none": ({**RSA, "alg": "none"}, "RSA 'none' fits none of"),
    "kty a list": ({**RSA, "kty": ["RSA"]}, "kty ['RSA'] is not RSA, EC or OKP"),
    "kty missing": (without(RSA, "kty"), "kty None is not RSA, EC or OKP"),
    "kid a number": ({**RSA, "kid": 1}, "kid is not a string"),
    "kid a list": ({**RSA, "kid": ["good"]}, "kid is not a string"),
    "kid an object": ({**RSA, "kid": {"a": 1}}, "kid is not a string"),
    "no object": ("key", "not an object"),
    "null": (None, "not an object"),
    "same kid again": ({**RSA, "n": RSA["n"]}, "a second RS256 key with this kid"),
}


@pytest.mark.parametrize(("entry", "reason"), SKIPPED.values(), ids=SKIPPED.keys())
def test_a_key_unfit_for_use_is_left_out_with_a_reason_and_the_others_serve(entry: Any, reason: str) -> None:
    """One bad key costs nobody a sign-in, allows nobody one, and the log says why it was left out."""
    keys = parse_jwks(document(RSA, entry, OKP), ALL)

    assert names(keys) == [("good", "RS256"), ("okp", "EdDSA")]
    assert [text for text in keys.skipped if reason in text] == list(keys.skipped)
    assert len(keys.skipped) == 1
    assert keys.skipped[0].startswith("key 1 (kid ")
    assert len(keys.skipped[0]) < 400


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "expected a value"),
        (b"<html>", "expected a value"),
        (b"[]", "not a JWKS: no list 'keys'"),
        (b"{}", "not a JWKS: no list 'keys'"),
        (b'{"keys":{}}', "not a JWKS: no list 'keys'"),
        (b'{"keys":[],"keys":[]}', "a name stands twice"),
        (b'{"keys":[]}', "no usable key of 0: the list is empty"),
        (document({"kty": "oct", "k": "eA"}), "no usable key of 1: key 0 .kid None.: kty 'oct'"),
        (document(*[RSA] * 65), "65 keys, at most 64 are read"),
        (b"[" * 100_000, "nested deeper than 64 levels"),
    ],
)
def test_a_document_without_a_usable_key_is_refused(data: bytes, reason: str) -> None:
    """So that the last good keys are kept instead."""
    with pytest.raises(ValueError, match=reason):
        parse_jwks(data, ALL)


def test_a_key_without_alg_serves_the_issuers_algorithms_of_its_type_only() -> None:
    """What counts is the settings' list; neither token nor document can widen it."""
    keys = parse_jwks(document(without(RSA, "alg", "use"), EC), ("RS256", "PS256"))

    assert names(keys) == [("good", "RS256"), ("good", "PS256")]


def test_a_key_is_selected_by_kid_and_algorithm_together() -> None:
    """A right `kid` under another algorithm is no key."""
    keys = parse_jwks(document(RSA, EC), ALL)

    assert [keys.select("good", "RS256"), keys.select("ec", "ES256")] == list(keys.keys)
    assert [keys.select("good", "ES256"), keys.select("ec", "RS256"), keys.select("x", "RS256")] == [None] * 3


def test_a_token_without_kid_needs_exactly_one_key_that_fits() -> None:
    """One: it is that one. None: unknown. Several: refused, never tried in turn."""
    keys = parse_jwks(document(RSA, EC, {**RSA, "kid": "second"}), ALL)

    assert keys.select(None, "ES256") == VerificationKey(
        kid="ec", algorithm="ES256", signature_key=keys.keys[1].signature_key
    )
    assert keys.select(None, "EdDSA") is None
    with pytest.raises(TokenInvalid, match="2 RS256 keys to choose from"):
        keys.select(None, "RS256")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
MEMBERS = st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "n", "e", "crv", "x", "y", "d", "x5c"])


@given(st.sampled_from([RSA, EC, OKP]), st.dictionaries(MEMBERS, JSON))
@settings(database=None, deadline=None, max_examples=200)
def test_whatever_json_stands_in_a_key_the_others_serve(jwk: dict[str, str], changes: dict[str, Any]) -> None:
    """No member of any type makes reading fail, or changes the key beside it."""
    good = {**signing_key("ES384", kid="beside").jwk()}

    assert parse_jwks(document({**jwk, **changes}, good), ALL).select("beside", "ES384") is not None
