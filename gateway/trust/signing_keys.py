"""The gateway's own keys: read from PEM files, one signs, all are published.

Rules: EC P-256 only, for ES256; a key's id is its thumbprint, so that every replica with the same file names it alike;
the first signs, the others stay published for what was signed before a rotation. Knows nothing of requests.

Sources: RFC 7517, RFC 7638 (thumbprint).
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One EC P-256 key pair and its id."""

    kid: str
    private: ec.EllipticCurvePrivateKey = field(repr=False)


def load_signing_key(path: Path) -> SigningKey:
    """Read a private key from an unencrypted PEM file.

    Raises:
        ValueError: No such file, not PEM, or not EC P-256; the message names the file and the fix.
    """
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as exc:
        raise ValueError(
            f"{path}: {exc.strerror}; make one with: openssl ecparam -name prime256v1 -genkey -noout -out {path}"
        ) from exc
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise ValueError(f"{path}: not an unencrypted PEM private key") from exc
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise ValueError(f"{path}: not an EC P-256 key; openssl ecparam -name prime256v1 -genkey -noout makes one")
    return build_signing_key(private)


def generate_signing_key() -> SigningKey:
    """A key that lives as long as this process: for one gateway alone."""
    return build_signing_key(ec.generate_private_key(ec.SECP256R1()))


def build_signing_key(private: ec.EllipticCurvePrivateKey) -> SigningKey:
    """Name a private key by the thumbprint of its public half."""
    public = _public_members(private)
    canonical = json.dumps(public, separators=(",", ":"), sort_keys=True).encode()
    return SigningKey(kid=_b64(hashlib.sha256(canonical).digest()), private=private)


def publish(keys: Sequence[SigningKey]) -> dict[str, Any]:
    """The JWKS document: public halves only."""
    return {"keys": [{**_public_members(key.private), "kid": key.kid, "alg": "ES256", "use": "sig"} for key in keys]}


def _public_members(private: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    point = private.public_key().public_numbers()
    return {"crv": "P-256", "kty": "EC", "x": _b64(point.x.to_bytes(32, "big")), "y": _b64(point.y.to_bytes(32, "big"))}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
