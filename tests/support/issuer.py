"""An identity provider for tests: keys, JWKS and tokens in one call."""

import base64
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

CURVES: Mapping[str, tuple[type[ec.EllipticCurve], str, int]] = {
    "ES256": (ec.SECP256R1, "P-256", 32),
    "ES384": (ec.SECP384R1, "P-384", 48),
    "ES512": (ec.SECP521R1, "P-521", 66),
}
HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


def b64(data: bytes) -> str:
    """Base64url without padding. RFC 7515 section 2."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64_int(number: int, length: int | None = None) -> str:
    return b64(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key per name, made once per test run: RSA keys are slow to make."""
    return rsa.generate_private_key(65537, bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One private key of an issuer, with the algorithm it signs with."""

    kid: str
    algorithm: str
    private: PrivateKey

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        digest = HASHES[self.algorithm[2:]]()
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            size = CURVES[self.algorithm][2]
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if self.algorithm.startswith("PS"):
            pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
            return self.private.sign(data, pss, digest)
        return self.private.sign(data, padding.PKCS1v15(), digest)

    def jwk(self) -> dict[str, str]:
        """The public half. RFC 7517, RFC 7518 section 6, RFC 8037."""
        common = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        if isinstance(self.private, rsa.RSAPrivateKey):
            numbers = self.private.public_key().public_numbers()
            return {**common, "kty": "RSA", "n": b64_int(numbers.n), "e": b64_int(numbers.e)}
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            point = self.private.public_key().public_numbers()
            _, curve, size = CURVES[self.algorithm]
            return {**common, "kty": "EC", "crv": curve, "x": b64_int(point.x, size), "y": b64_int(point.y, size)}
        return {**common, "kty": "OKP", "crv": "Ed25519", "x": b64(self.private.public_key().public_bytes_raw())}


def signing_key(algorithm: str = "RS256", kid: str = "", name: str = "issuer") -> SigningKey:
    private: PrivateKey
    if algorithm in CURVES:
        private = ec.generate_private_key(CURVES[algorithm][0]())
    elif algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        private = rsa_key(name)
    return SigningKey(kid=kid or f"{algorithm}-{secrets.token_hex(4)}", algorithm=algorithm, private=private)


def encode(header: Mapping[str, Any], claims: Any, key: SigningKey) -> str:
    """A signed token with exactly this header and these claims."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


@dataclass(slots=True, kw_only=True)
class Issuer:
    """Who signs the users' tokens. ``issuer`` is the `iss` claim; ``keys[0]`` signs unless told otherwise."""

    issuer: str = "https://login.test"
    audience: str = "chat"
    keys: list[SigningKey] = field(default_factory=lambda: [signing_key("RS256", kid="k1")])

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.jwk() for key in self.keys]}

    def claims(self, subject: str = "alice", **changes: Any) -> dict[str, Any]:
        """Claims of a good token; a change to None removes the claim."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "name": subject.capitalize(),
            "email": f"{subject}@example.test",
            "roles": ["user"],
            "iat": now,
            "exp": now + 600,
        }
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def token(
        self,
        subject: str = "alice",
        *,
        key: SigningKey | None = None,
        header: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """A token for ``subject``; keyword arguments change claims, ``header`` changes header members."""
        key = key or self.keys[0]
        full = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT", **(header or {})}
        members = {name: value for name, value in full.items() if value is not None}
        return encode(members, self.claims(subject, **changes), key)
