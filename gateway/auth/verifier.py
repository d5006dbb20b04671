"""Credential in, identity out: the one place that decides who somebody is.

Rules: the issuer is chosen by exact `iss`, its rules choose the algorithm, the key is matched before the signature is
checked, and claims are judged last. A verified token is remembered under the SHA-256 of the whole token until its own
end, and only as long as its issuer's keys are the ones that verified it. Knows nothing of HTTP or routes.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

from cachetools import LRUCache

from gateway.auth.claim_map import build_identity
from gateway.auth.claims import (
    ClaimRules,
    ParsedToken,
    judge_claims,
    judge_header,
    parse_token,
)
from gateway.auth.key_source import KeySource
from gateway.auth.keys import KeySet
from gateway.auth.signatures import is_signed
from gateway.errors import TokenInvalid
from gateway.identity import Credential, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """One issuer: what its tokens must say, and its keys."""

    rules: ClaimRules
    keys: KeySource


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verified:
    identity: Identity
    until: float
    keys: KeySet


class Verifier:
    """Verifies credentials against a fixed set of issuers.

    Args:
        issuers: Each with a different `iss`.
        cache_size: Verified tokens remembered; the least recently used goes first.
        clock: Wall-clock seconds, as `exp` is.
    """

    def __init__(
        self, *, issuers: Iterable[TrustedIssuer], cache_size: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuers = {issuer.rules.issuer: issuer for issuer in issuers}
        self._clock = clock
        self._cache: LRUCache[bytes, _Verified] = LRUCache(maxsize=cache_size)

    def __repr__(self) -> str:
        return f"<Verifier {len(self._issuers)} issuers, {len(self._cache)} tokens>"

    async def verify(self, credential: Credential, accepted: frozenset[str]) -> Identity:
        """Who presents this credential.

        Args:
            accepted: The `iss` values this route accepts.

        Raises:
            TokenInvalid, TokenExpired: The token is not good here.
            KeysUnavailable: Its issuer's keys cannot be had; nothing is known about the token.
        """
        digest = sha256(credential.token).digest()
        identity = self._recall(digest) or await self._verify(credential.token, digest)
        if identity.issuer not in accepted:
            raise TokenInvalid(f"issuer {identity.issuer!r}, this route accepts {sorted(accepted)}")
        return identity

    def unavailable_issuers(self) -> list[str]:
        """Issuers whose users cannot be verified right now."""
        return [name for name, issuer in self._issuers.items() if issuer.keys.missing()]

    def _recall(self, digest: bytes) -> Identity | None:
        try:
            entry = self._cache[digest]
        except KeyError:
            return None
        if entry.until <= self._clock() or self._issuers[entry.identity.issuer].keys.keys is not entry.keys:
            del self._cache[digest]
            return None
        return entry.identity

    async def _verify(self, token: bytes, digest: bytes) -> Identity:
        parsed = parse_token(token)
        issuer = self._find_issuer(parsed)
        algorithm, kid = judge_header(parsed.header, issuer.rules)
        key = await issuer.keys.find(kid, algorithm)
        keys = issuer.keys.keys
        if not is_signed(key.signature_key, parsed.signed, parsed.signature):
            raise TokenInvalid(f"signature does not fit key {key.kid!r} of issuer {issuer.rules.issuer!r}")
        judge_claims(parsed.claims, issuer.rules, self._clock())
        identity = build_identity(parsed.claims, issuer.rules.issuer, issuer.rules.claim_map)
        until = identity.expires_at + issuer.rules.leeway
        self._cache[digest] = _Verified(identity=identity, until=until, keys=keys)
        return identity

    def _find_issuer(self, parsed: ParsedToken) -> TrustedIssuer:
        named = parsed.claims.get("iss")
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            raise TokenInvalid(f"iss {named!r:.200}, known: {sorted(self._issuers)}")
        return issuer
