"""Which key may check this token? An issuer's JWKS, read once into keys bound to their algorithms.

Rules: the issuer's settings say which algorithms count, never a token; a key that is weak, private, symmetric or meant
for something else is left out with a reason and the others serve. Pure: fetching is `key_source`'s.

Sources: RFC 7517, RFC 7518 section 6, RFC 8037 section 2.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway import strict_json
from gateway.auth.signatures import SignatureKey, build_key
from gateway.errors import TokenInvalid

# NIST SP 800-131A: under 2,048 bits an RSA signature is not acceptable. Over 8,192 checking one is a burden.
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192

# A provider publishes two or three keys, large multi-tenant ones a dozen.
MAX_KEYS: Final = 64

# Key type and curve each algorithm takes. RFC 7518 section 3.1; RFC 8037 section 3.1.
ALGORITHMS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}

# What a public key of each type consists of. RFC 7518 section 6; RFC 8037 section 2.
_NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One public key for one algorithm."""

    kid: str | None
    algorithm: str
    signature_key: SignatureKey = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """An issuer's usable keys, and why the others were left out."""

    keys: tuple[VerificationKey, ...]
    skipped: tuple[str, ...]

    def select(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """The key for a token's header, or None if there is none with that ``kid``.

        A token without ``kid`` is accepted when exactly one key fits its algorithm.

        Raises:
            TokenInvalid: No ``kid`` and several keys fit.
        """
        fitting = [key for key in self.keys if key.algorithm == algorithm]
        if kid is not None:
            return next((key for key in fitting if key.kid == kid), None)
        if len(fitting) > 1:
            raise TokenInvalid(f"token without kid, and {len(fitting)} {algorithm} keys to choose from", about="kid")
        return fitting[0] if fitting else None


def parse_jwks(document: bytes, algorithms: Sequence[str]) -> KeySet:
    """Read a JWKS document.

    Args:
        document: The JSON text.
        algorithms: What the issuer's settings allow; names of `ALGORITHMS`.

    Raises:
        ValueError: Not a JWKS, or none of its keys can be used; the message says why.
    """
    parsed = strict_json.parse(document)
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWKS: no list 'keys'")
    if len(entries) > MAX_KEYS:
        raise ValueError(f"{len(entries)} keys, at most {MAX_KEYS} are read")
    keys: dict[tuple[str | None, str], VerificationKey] = {}
    skipped: list[str] = []
    for index, entry in enumerate(entries):
        _add_key(index, entry, algorithms, keys, skipped)
    if not keys:
        raise ValueError(f"no usable key of {len(entries)}: {'; '.join(skipped) or 'the list is empty'}")
    return KeySet(keys=tuple(keys.values()), skipped=tuple(skipped))


def _add_key(
    index: int,
    entry: Any,
    algorithms: Sequence[str],
    keys: dict[tuple[str | None, str], VerificationKey],
    skipped: list[str],
) -> None:
    kid = entry.get("kid") if isinstance(entry, dict) else None
    label = f"key {index} (kid {kid!r:.80})"
    reason = _reason_to_skip(entry)
    if reason:
        skipped.append(f"{label}: {reason}")
        return
    fitting = [name for name in algorithms if _fits(entry, name)]
    if not fitting:
        named = entry.get("alg") or entry.get("crv") or "without alg"
        skipped.append(f"{label}: {entry['kty']} {named!r:.40} fits none of {list(algorithms)}")
    for name in fitting:
        if (kid, name) in keys:
            skipped.append(f"{label}: a second {name} key with this kid")
            continue
        try:
            keys[kid, name] = VerificationKey(kid=kid, algorithm=name, signature_key=build_key(entry, name))
        except ValueError as exc:
            skipped.append(f"{label}: {exc}")


def _reason_to_skip(entry: Any) -> str | None:
    """Why a JWK cannot be used whatever the algorithm, or None."""
    if not isinstance(entry, dict):
        return "not an object"
    if not isinstance(entry.get("kid"), str | None):
        return "kid is not a string"
    if entry.get("kty") not in tuple(_NUMBERS):
        return f"kty {entry.get('kty')!r:.40} is not RSA, EC or OKP"
    if _PRIVATE_MEMBERS & entry.keys():
        return "it is a private key: it must never be published; replace it at the issuer"
    if entry.get("use", "sig") != "sig":
        return f"use is {entry['use']!r:.40}, not sig"
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return "key_ops lacks verify"
    # The library below takes a number here for a count of bytes to allocate.
    numbers = [name for name in _NUMBERS[entry["kty"]] if not isinstance(entry.get(name), str)]
    if numbers:
        return f"{' and '.join(numbers)} must be base64url text"
    return _weakness(entry) if entry["kty"] == "RSA" else None


def _weakness(entry: Mapping[str, Any]) -> str | None:
    try:
        modulus, exponent = _bits(entry["n"]), int.from_bytes(_decode(entry["e"]), "big")
    except ValueError:
        return "n or e is not base64url"
    if not MIN_RSA_BITS <= modulus <= MAX_RSA_BITS:
        return f"RSA with {modulus} bits, from {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted"
    # FIPS 186-5 section A.1.1: the public exponent is odd and over 2^16; e = 3 stays in use at older issuers.
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 64:
        return "RSA with an unsafe public exponent"
    return None


def _bits(value: str) -> int:
    return int.from_bytes(_decode(value), "big").bit_length()


def _decode(value: str) -> bytes:
    return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)


def _fits(entry: Mapping[str, Any], algorithm: str) -> bool:
    kty, curve = ALGORITHMS[algorithm]
    return (
        entry["kty"] == kty
        and (curve is None or entry.get("crv") == curve)
        and (entry.get("alg") is None or entry["alg"] == algorithm)
    )
