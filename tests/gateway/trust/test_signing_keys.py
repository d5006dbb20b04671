"""The gateway's own keys: EC P-256 from PEM files, public halves published."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.trust.signing_keys import build_signing_key, generate_signing_key, load_signing_key, publish
from tests.support.issuer import b64, rsa_key


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_every_replica_with_the_same_file_names_the_key_alike(tmp_path: Path, form: PrivateFormat) -> None:
    """The id is the thumbprint of RFC 7638, whatever the form of the file."""
    private = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "key.pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, form, NoEncryption()))

    key = load_signing_key(path)

    [jwk] = publish([key])["keys"]
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    thumbprint = b64(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())
    assert (key.kid, jwk["kid"]) == (thumbprint, thumbprint)
    assert key == build_signing_key(key.private)


def test_only_public_halves_are_published_of_all_keys_in_order() -> None:
    """The one that signs first, the one before it for what is still under way."""
    keys = [generate_signing_key(), generate_signing_key()]

    published = publish(keys)["keys"]

    assert [jwk["kid"] for jwk in published] == [key.kid for key in keys]
    for jwk in published:
        assert sorted(jwk) == ["alg", "crv", "kid", "kty", "use", "x", "y"]
        assert (jwk["alg"], jwk["crv"], jwk["kty"], jwk["use"]) == ("ES256", "P-256", "EC", "sig")
        assert (len(jwk["x"]), len(jwk["y"])) == (43, 43)


def test_a_coordinate_that_begins_with_zeros_keeps_its_length() -> None:
    """RFC 7518 section 6.2.1.2: 32 bytes always; one key in 256 would be unreadable otherwise."""
    for scalar in range(1, 400):
        key = build_signing_key(ec.derive_private_key(scalar, ec.SECP256R1()))
        if key.private.public_key().public_numbers().x < 1 << 248:
            break
    else:
        pytest.fail("no such key among the first 400")

    assert len(publish([key])["keys"][0]["x"]) == 43


def test_a_private_key_is_in_no_repr() -> None:
    """A key can be logged by mistake without harm."""
    key = generate_signing_key()

    assert repr(key) == f"SigningKey(kid={key.kid!r})"


P256 = ec.generate_private_key(ec.SECP256R1())
WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not an unencrypted PEM private key"),
    "no PEM": (b"\xff\x00hello", "not an unencrypted PEM private key"),
    "encrypted": (
        P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        "not an unencrypted PEM private key",
    ),
    "public": (
        P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "not an unencrypted PEM private key",
    ),
    "an algorithm nobody knows": (
        b"-----BEGIN PRIVATE KEY-----\nMBACAQAwBwYFKgMEBQYEAgQA\n-----END PRIVATE KEY-----\n",
        "not an unencrypted PEM private key",
    ),
    "P-384": (pem(ec.generate_private_key(ec.SECP384R1())), "not an EC P-256 key"),
    "secp256k1": (pem(ec.generate_private_key(ec.SECP256K1())), "not an EC P-256 key"),
    "RSA": (pem(rsa_key("issuer")), "not an EC P-256 key"),
    "Ed25519": (pem(ed25519.Ed25519PrivateKey.generate()), "not an EC P-256 key"),
}


@pytest.mark.parametrize(("content", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_file_that_holds_no_such_key_is_named_with_the_fix(tmp_path: Path, content: bytes, reason: str) -> None:
    """And nothing of its content is in the message."""
    path = tmp_path / "key.pem"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=reason) as caught:
        load_signing_key(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "directory"])
def test_a_file_that_cannot_be_read_is_named_with_the_command_that_makes_one(tmp_path: Path, make: Any) -> None:
    """Copied, the command makes the right key."""
    path = tmp_path / "key.pem"
    make(path)

    with pytest.raises(ValueError, match=r"key.pem: .*; make one with: openssl ecparam -name prime256v1 -genkey"):
        load_signing_key(path)
