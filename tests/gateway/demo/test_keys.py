"""The development issuer's keys."""

import json

from jose import jws

from gateway.demo.keys import KeyRing


def test_every_algorithm_signs_what_its_published_key_verifies() -> None:
    """A token of either algorithm verifies against the public half under its `kid`."""
    keys = KeyRing()
    published = {key["kid"]: key for key in keys.jwks()["keys"]}

    for algorithm in keys.algorithms:
        token = keys.token({"sub": "alice"}, algorithm)
        key = published[jws.get_unverified_header(token)["kid"]]

        assert json.loads(jws.verify(token, key, algorithm)) == {"sub": "alice"}


def test_published_keys_are_public_halves_for_signatures_only() -> None:
    """No private member is ever published, and each key names what it is for."""
    keys = KeyRing().jwks()["keys"]

    assert [sorted(key) for key in keys] == [
        ["alg", "e", "kid", "kty", "n", "use"],
        ["alg", "crv", "kid", "kty", "use", "x", "y"],
    ]
    assert {key["use"] for key in keys} == {"sig"}


def test_rotation_keeps_the_keys_before_and_forgets_the_ones_before_those() -> None:
    """Tokens in use outlive one rotation; after two, their keys are gone."""
    keys = KeyRing()
    first = {key["kid"] for key in keys.jwks()["keys"]}
    keys.rotate()
    second = {key["kid"] for key in keys.jwks()["keys"]}
    keys.rotate()
    third = {key["kid"] for key in keys.jwks()["keys"]}

    assert first < second
    assert len(second) == 4
    assert not first & third
    assert jws.get_unverified_header(keys.token({}, "ES256"))["kid"] not in first | second
