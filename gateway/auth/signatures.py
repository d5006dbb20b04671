"""Does this key's signature stand under these bytes? The one module that knows the JOSE library.

Rules: a key is built once, for one algorithm, from a JWK that `keys` has already matched to it; nothing is read from a
token here. python-jose has RSASSA-PKCS1-v1_5 and ECDSA; RSASSA-PSS and Ed25519 are added through its own registration.

Sources: RFC 7518 section 3, RFC 8037 section 3.1.
"""

import base64
from collections.abc import Mapping
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from jose import jwk
from jose.backends.base import Key
from jose.exceptions import JOSEError


class SignatureKey(Protocol):
    """A public key bound to one algorithm."""

    def verify(self, msg: bytes, sig: bytes) -> bool: ...


def build_key(members: Mapping[str, Any], algorithm: str) -> SignatureKey:
    """The key of a JWK, bound to ``algorithm``.

    Raises:
        ValueError: The library cannot make a key of these members.
    """
    try:
        key: SignatureKey = jwk.construct(dict(members), algorithm)
    except (JOSEError, ValueError, TypeError, KeyError) as exc:
        raise ValueError(f"not a usable {algorithm} key: {exc}") from exc
    return key


def is_signed(key: SignatureKey, signed: bytes, signature: bytes) -> bool:
    """Is ``signature`` this key's signature of ``signed``? Any failure to tell is a no."""
    try:
        return key.verify(signed, signature) is True
    except (JOSEError, ValueError, TypeError):
        return False


def _unsigned(value: str) -> int:
    return int.from_bytes(_decode(value), "big")


def _decode(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


class PssKey(Key):
    """RSASSA-PSS, which python-jose lacks. RFC 7518 section 3.5: salt as long as the digest, MGF1 with the same."""

    digests: Mapping[str, type[hashes.HashAlgorithm]] = {
        "PS256": hashes.SHA256,
        "PS384": hashes.SHA384,
        "PS512": hashes.SHA512,
    }

    def __init__(self, key: Mapping[str, str], algorithm: str) -> None:
        digest = self.digests[algorithm]()
        self._digest = digest
        self._padding = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
        self._key = rsa.RSAPublicNumbers(_unsigned(key["e"]), _unsigned(key["n"])).public_key()

    def verify(self, msg: bytes, sig: bytes) -> bool:
        try:
            self._key.verify(sig, msg, self._padding, self._digest)
        except InvalidSignature:
            return False
        return True


class Ed25519Key(Key):
    """EdDSA with Ed25519, which python-jose lacks. RFC 8037 section 3.1."""

    def __init__(self, key: Mapping[str, str], algorithm: str) -> None:
        self._key = ed25519.Ed25519PublicKey.from_public_bytes(_decode(key["x"]))

    def verify(self, msg: bytes, sig: bytes) -> bool:
        try:
            self._key.verify(sig, msg)
        except InvalidSignature:
            return False
        return True


for _algorithm in PssKey.digests:
    jwk.register_key(_algorithm, PssKey)
jwk.register_key("EdDSA", Ed25519Key)
