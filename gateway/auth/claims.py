"""Is this token's content acceptable? Pure judging of header and registered claims.

Rules: what a signature library might let pass is decided here, by exact comparison: algorithm from the issuer's list,
no critical extensions, `iss` and `aud` to the letter, times that are finite numbers. Knows no clock and no keys.

Sources: RFC 7515 section 4.1, RFC 7519 section 4.1, RFC 8725.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway import strict_json
from gateway.auth.claim_map import ClaimMap
from gateway.errors import TokenExpired, TokenInvalid

# Seconds: 9999-12-31. What lies beyond is a mistake, and breaks date arithmetic elsewhere.
LATEST: Final = 253_402_300_799

# A kid is a hash or a UUID; a header is a few of those.
MAX_KID: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """What one issuer's tokens must say.

    Attributes:
        leeway: Seconds of clock difference forgiven; at most 60.
    """

    issuer: str
    audiences: frozenset[str]
    algorithms: frozenset[str]
    leeway: float
    claim_map: ClaimMap


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedToken:
    """A token's parts, decoded and not yet believed."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def parse_token(token: bytes) -> ParsedToken:
    """Take a compact JWS apart.

    Raises:
        TokenInvalid: Not three parts of canonical base64url, or header or claims are no strict JSON object.
    """
    signed, _, last = token.rpartition(b".")
    first, _, middle = signed.partition(b".")
    return ParsedToken(
        header=_decode_object(first, "header"),
        claims=_decode_object(middle, "claims"),
        signed=signed,
        signature=_decode(last, "signature"),
    )


def judge_header(header: Mapping[str, Any], rules: ClaimRules) -> tuple[str, str | None]:
    """The token's algorithm and key id.

    Keys or addresses of keys in the header (`jwk`, `jku`, `x5u`, `x5c`) are not looked at.

    Raises:
        TokenInvalid: Algorithm not allowed for the issuer, an extension we do not know, a `kid` that is no string, or
            a `typ` that says it is another kind of token.
    """
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        raise TokenInvalid(
            f"alg {algorithm!r:.40}, issuer {rules.issuer!r} allows {sorted(rules.algorithms)}", about="alg"
        )
    # RFC 7515 section 4.1.11: an extension marked critical that is not understood must fail the token.
    if "crit" in header or "b64" in header:
        raise TokenInvalid("header has crit or b64, which no accepted token needs", about="crit")
    kid = header.get("kid")
    if "kid" in header and (not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID):
        raise TokenInvalid(f"kid is no string of 1 to {MAX_KID} characters", about="kid")
    _judge_type(header)
    return algorithm, kid


def judge_claims(claims: Mapping[str, Any], rules: ClaimRules, now: float) -> None:
    """Do the registered claims hold at ``now`` (seconds since the epoch)?

    Raises:
        TokenExpired: `exp` has passed; the token is valid while ``now < exp + leeway``.
        TokenInvalid: Anything else that does not hold.
    """
    if claims.get("iss") != rules.issuer:
        raise TokenInvalid(f"iss {claims.get('iss')!r:.200}, expected {rules.issuer!r}", about="iss")
    _judge_audience(claims.get("aud"), rules)
    exp = _time(claims, "exp")
    if exp is None:
        raise TokenInvalid("no exp", about="exp")
    if now >= exp + rules.leeway:
        raise TokenExpired(f"exp {exp:.0f} passed {now - exp:.0f} s ago, leeway is {rules.leeway:.0f} s")
    for name in ("nbf", "iat"):
        start = _time(claims, name)
        if start is not None and start > now + rules.leeway:
            raise TokenInvalid(f"{name} {start:.0f} lies {start - now:.0f} s ahead; is a clock wrong?", about="clock")


def _judge_type(header: Mapping[str, Any]) -> None:
    """RFC 8725 section 3.11: a token explicitly typed as something else (logout, secevent, DPoP) proves no sign-in.

    Access tokens are `at+jwt` (RFC 9068), with a prefix at some issuers; others say `JWT`, or nothing.
    """
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str):
        raise TokenInvalid("typ is no string", about="typ")
    if kind.lower().endswith("+jwt") and not kind.lower().endswith("at+jwt"):
        raise TokenInvalid(f"typ {kind!r:.80} is no access or ID token", about="typ")


def _judge_audience(aud: Any, rules: ClaimRules) -> None:
    audiences = [aud] if isinstance(aud, str) else aud
    if not isinstance(audiences, list) or not all(isinstance(item, str) for item in audiences):
        raise TokenInvalid("aud is missing, or neither a string nor a list of strings", about="aud")
    if rules.audiences.isdisjoint(audiences):
        raise TokenInvalid(f"aud {audiences!r:.200}, expected one of {sorted(rules.audiences)}", about="aud")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate. RFC 7519 section 2; booleans are no numbers here."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid(f"{name} is no number", about="exp")
    # Compared before anything is converted: an integer of 400 digits fits no float, and NaN fails every comparison.
    if not 0 <= value <= LATEST:
        raise TokenInvalid(f"{name} lies outside the calendar", about="exp")
    return float(value)


def _decode_object(part: bytes, what: str) -> Mapping[str, Any]:
    data = _decode(part, what)
    try:
        value = strict_json.parse(data)
    except ValueError as exc:
        raise TokenInvalid(f"{what}: {exc}") from exc
    if not isinstance(value, dict):
        raise TokenInvalid(f"{what} is no JSON object")
    return value


def _decode(part: bytes, what: str) -> bytes:
    """Base64url, canonical: no padding, no other alphabet, no stray bits. RFC 7515 section 2."""
    try:
        data = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error as exc:
        raise TokenInvalid(f"{what} is not base64url: {exc}") from exc
    if not data or base64.urlsafe_b64encode(data).rstrip(b"=") != part:
        raise TokenInvalid(f"{what} is empty or not canonical base64url")
    return data
