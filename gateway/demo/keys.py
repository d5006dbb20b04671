"""The development issuer's signing keys: made, published, rotated.

Rules: one key per algorithm signs; a rotation makes new ones, and the ones before stay published until the next, so
that tokens already handed out keep verifying. Private halves never leave the process. Signs with `cryptography`
directly, because only the verifying side may know the JOSE library. Knows nothing of users or of HTTP.
"""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

# Bytes of one coordinate on P-256. RFC 7518 sections 3.4 and 6.2.1.
P256_SIZE = 32


class SigningKey(Protocol):
    """What the key ring needs of a key."""

    @property
    def kid(self) -> str: ...
    def sign(self, data: bytes) -> bytes: ...
    def jwk(self) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RsaKey:
    """RS256 with 2048 bits, the least the gateway accepts."""

    kid: str
    private: rsa.RSAPrivateKey

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def jwk(self) -> dict[str, str]:
        """The public half. RFC 7518 section 6.3."""
        numbers = self.private.public_key().public_numbers()
        size = (numbers.n.bit_length() + 7) // 8
        return {"kty": "RSA", "n": b64_int(numbers.n, size), "e": b64_int(numbers.e, 3), **common("RS256", self.kid)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EcKey:
    """ES256 on P-256."""

    kid: str
    private: ec.EllipticCurvePrivateKey

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(P256_SIZE, "big") + s.to_bytes(P256_SIZE, "big")

    def jwk(self) -> dict[str, str]:
        """The public half. RFC 7518 section 6.2."""
        point = self.private.public_key().public_numbers()
        x, y = b64_int(point.x, P256_SIZE), b64_int(point.y, P256_SIZE)
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y, **common("ES256", self.kid)}


def new_rsa_key() -> RsaKey:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return RsaKey(kid=f"rs256-{secrets.token_hex(4)}", private=private)


def new_ec_key() -> EcKey:
    return EcKey(kid=f"es256-{secrets.token_hex(4)}", private=ec.generate_private_key(ec.SECP256R1()))


def new_keys() -> Mapping[str, SigningKey]:
    """One fresh key per algorithm, by the algorithm's name."""
    return {"RS256": new_rsa_key(), "ES256": new_ec_key()}


class KeyRing:
    """The keys that sign now, and the ones that signed before the last rotation."""

    def __init__(self) -> None:
        # Newest first. Replaced whole, never changed, so a reader in another thread sees one rotation or the other.
        self._generations: tuple[Mapping[str, SigningKey], ...] = (new_keys(),)

    @property
    def algorithms(self) -> list[str]:
        return list(self._generations[0])

    def rotate(self) -> None:
        self._generations = (new_keys(), self._generations[0])

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Every key a token in use may be signed with. RFC 7517 section 5."""
        return {"keys": [key.jwk() for keys in self._generations for key in keys.values()]}

    def token(self, claims: Mapping[str, Any], algorithm: str) -> str:
        """A signed token with these claims, in compact form.

        Raises:
            KeyError: no key for that algorithm.

        Source: RFC 7515 section 3.1.
        """
        key = self._generations[0][algorithm]
        header = {"alg": algorithm, "kid": key.kid, "typ": "JWT"}
        signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        return f"{signed}.{b64(key.sign(signed.encode()))}"


def common(algorithm: str, kid: str) -> dict[str, str]:
    return {"kid": kid, "alg": algorithm, "use": "sig"}


def b64(data: bytes) -> str:
    """Base64url without padding. RFC 7515 section 2."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64_int(number: int, size: int) -> str:
    return b64(number.to_bytes(size, "big"))
