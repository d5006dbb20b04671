"""The JOSE library behind two functions: nothing it raises gets out as anything but ValueError or a no."""

from typing import Any

import pytest
from jose.exceptions import JWKError

from gateway.auth.signatures import build_key, is_signed
from tests.support.issuer import signing_key


@pytest.mark.parametrize(
    ("members", "algorithm"),
    [
        ({}, "RS256"),
        ({}, "ES256"),
        ({}, "PS256"),
        ({}, "EdDSA"),
        ({"kty": "RSA", "n": "AQAB", "e": "AQAB"}, "XX256"),
        ({"kty": "RSA", "n": "", "e": ""}, "PS512"),
        ({"kty": "EC", "crv": "P-999", "x": "AQ", "y": "AQ"}, "ES256"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "AQ"}, "EdDSA"),
    ],
)
def test_members_that_make_no_key_are_a_value_error(members: dict[str, Any], algorithm: str) -> None:
    """The library's own errors stay inside."""
    with pytest.raises(ValueError, match=f"not a usable {algorithm} key"):
        build_key(members, algorithm)


@pytest.mark.parametrize("algorithm", ["RS384", "PS384", "ES512", "EdDSA"])
def test_a_built_key_knows_its_private_halfs_signature(algorithm: str) -> None:
    """Those of the library and those added to it alike."""
    private = signing_key(algorithm)
    key = build_key(private.jwk(), algorithm)

    assert is_signed(key, b"x", private.sign(b"x"))
    assert not is_signed(key, b"x", signing_key(algorithm, name="other").sign(b"x"))


@pytest.mark.parametrize("answer", [JWKError("x"), ValueError("x"), TypeError("x"), 1, None, "yes"])
def test_any_failure_to_tell_is_a_no(answer: Any) -> None:
    """Only True is a yes."""

    class Key:
        def verify(self, msg: bytes, sig: bytes) -> bool:
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[no-any-return]  # a library may answer anything

    assert is_signed(Key(), b"x", b"y") is False
