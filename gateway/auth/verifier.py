"""Credential in, identity out: the one place that decides who somebody is.

Rules: the issuer is chosen by exact `iss`, its rules choose the algorithm, the key is matched before the signature is
checked, and claims are judged last. A verified token is remembered under the SHA-256 of the whole token until its own
end, and only as long as its issuer's keys are the ones that verified it. Knows nothing of HTTP or routes.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
from gateway.auth.keys import KeySet, VerificationKey
from gateway.auth.signatures import is_signed
from gateway.errors import GatewayError, TokenInvalid
from gateway.identity import Credential, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """One issuer: what its tokens must say, and its keys."""

    rules: ClaimRules
    keys: KeySource


@dataclass(slots=True, kw_only=True)
class Examination:
    """How far a token came. Filled from top to bottom; what is None or False was not reached.

    Attributes:
        algorithm, kid: What the header asks for, once that is allowed.
        keys: The issuer's, among which ``key`` was found.
        is_judged: The registered claims hold.
    """

    parsed: ParsedToken | None = None
    issuer: TrustedIssuer | None = None
    algorithm: str | None = None
    kid: str | None = None
    key: VerificationKey | None = None
    keys: KeySet | None = None
    is_signed: bool = False
    is_judged: bool = False


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
        results: Where each verification is counted: ``verified``, ``remembered``, or the error's code.
        clock: Wall-clock seconds, as `exp` is.
    """

    def __init__(
        self,
        *,
        issuers: Iterable[TrustedIssuer],
        cache_size: int,
        results: Counter[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._results = Counter() if results is None else results
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
        identity = self.recall(credential, accepted)
        if identity is None:
            identity = await self._verify(credential.token, credential.digest)
            check_issuer(identity, accepted)
        return identity

    def recall(self, credential: Credential, accepted: frozenset[str]) -> Identity | None:
        """The same for a token that was verified before; None for one that was not, or is not good any more.

        Raises:
            TokenInvalid: It is good elsewhere.
        """
        try:
            entry = self._cache[credential.digest]
        except KeyError:
            return None
        identity = entry.identity
        if entry.until <= self._clock() or self._issuers[identity.issuer].keys.keys is not entry.keys:
            del self._cache[credential.digest]
            return None
        self._results["remembered"] += 1
        check_issuer(identity, accepted)
        return identity

    @property
    def remembered(self) -> int:
        """Tokens in memory."""
        return len(self._cache)

    @property
    def capacity(self) -> int:
        """Tokens that memory holds, at most."""
        return int(self._cache.maxsize)

    def unavailable_issuers(self) -> list[str]:
        """Issuers whose users cannot be verified right now."""
        return [name for name, issuer in self._issuers.items() if issuer.keys.missing()]

    async def examine(self, token: bytes, seen: Examination) -> Identity:
        """Whom a token names. Nothing is remembered; ``seen`` learns how far the token came.

        Raises:
            As `verify`.
        """
        parsed = seen.parsed = parse_token(token)
        issuer = seen.issuer = self._find_issuer(parsed)
        algorithm, kid = judge_header(parsed.header, issuer.rules)
        seen.algorithm, seen.kid = algorithm, kid
        key = seen.key = await issuer.keys.find(kid, algorithm)
        seen.keys = issuer.keys.keys
        if not is_signed(key.signature_key, parsed.signed, parsed.signature):
            reason = f"signature does not fit key {key.kid!r} of issuer {issuer.rules.issuer!r}"
            raise TokenInvalid(reason, about="signature")
        seen.is_signed = True
        judge_claims(parsed.claims, issuer.rules, self._clock())
        seen.is_judged = True
        return build_identity(parsed.claims, issuer.rules.issuer, issuer.rules.claim_map)

    async def _verify(self, token: bytes, digest: bytes) -> Identity:
        seen = Examination()
        try:
            identity = await self.examine(token, seen)
        except GatewayError as exc:
            self._results[exc.code] += 1
            exc.issuer = seen.issuer.rules.issuer if seen.issuer else None
            raise
        self._results["verified"] += 1
        if seen.issuer is not None and seen.keys is not None:
            until = identity.expires_at + seen.issuer.rules.leeway
            self._cache[digest] = _Verified(identity=identity, until=until, keys=seen.keys)
        return identity

    def _find_issuer(self, parsed: ParsedToken) -> TrustedIssuer:
        named = parsed.claims.get("iss")
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            raise TokenInvalid(f"iss {named!r:.200}, known: {sorted(self._issuers)}", about="iss")
        return issuer


def check_issuer(identity: Identity, accepted: frozenset[str]) -> None:
    """Raises TokenInvalid for a user of an issuer that is not among those a route accepts."""
    if identity.issuer not in accepted:
        raise TokenInvalid(f"issuer {identity.issuer!r}, this route accepts {sorted(accepted)}", about="route")
