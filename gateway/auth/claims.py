"""Is this token's content acceptable, and whom does it name? Pure judging of header and claims.

Rules: what a signature library might let pass is decided here, by exact comparison: algorithm from the issuer's list,
no critical extensions, `iss` and `aud` to the letter, times that are finite numbers. Knows no clock and no keys.

Sources: RFC 7515 section 4.1, RFC 7519 section 4.1, RFC 8725.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway import strict_json
from gateway.errors import TokenExpired, TokenInvalid
from gateway.identity import Identity

# Seconds: 9999-12-31. What lies beyond is a mistake, and breaks date arithmetic elsewhere.
LATEST: Final = 253_402_300_799

# Characters. OpenID Connect Core section 2 allows 255 for `sub`; some issuers put a distinguished name there.
MAX_SUBJECT: Final = 1024

# A kid is a hash or a UUID; a header is a few of those.
MAX_KID: Final = 256

# Characters of a name, an address (RFC 5321: 254) or a role. Each may become twelve bytes of the assertion's header.
MAX_TEXT: Final = 256

# What no name or role holds, and what breaks stores and parsers further on: controls (PostgreSQL refuses NUL), and
# halves of surrogate pairs, which JSON can spell and UTF-8 cannot.
_unfit = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMap:
    """Which claim holds what. A name is looked up as it stands, then as a dotted path (``realm_access.roles``)."""

    subject: str = "sub"
    name: str = "name"
    email: str = "email"
    roles: str = "roles"
    tenant: str | None = None


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
        raise TokenInvalid(f"alg {algorithm!r:.40}, issuer {rules.issuer!r} allows {sorted(rules.algorithms)}")
    # RFC 7515 section 4.1.11: an extension marked critical that is not understood must fail the token.
    if "crit" in header or "b64" in header:
        raise TokenInvalid("header has crit or b64, which no accepted token needs")
    kid = header.get("kid")
    if "kid" in header and (not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID):
        raise TokenInvalid(f"kid is no string of 1 to {MAX_KID} characters")
    _judge_type(header)
    return algorithm, kid


def judge_claims(claims: Mapping[str, Any], rules: ClaimRules, now: float) -> None:
    """Do the registered claims hold at ``now`` (seconds since the epoch)?

    Raises:
        TokenExpired: `exp` has passed; the token is valid while ``now < exp + leeway``.
        TokenInvalid: Anything else that does not hold.
    """
    if claims.get("iss") != rules.issuer:
        raise TokenInvalid(f"iss {claims.get('iss')!r:.200}, expected {rules.issuer!r}")
    _judge_audience(claims.get("aud"), rules)
    exp = _time(claims, "exp")
    if exp is None:
        raise TokenInvalid("no exp")
    if now >= exp + rules.leeway:
        raise TokenExpired(f"exp {exp:.0f} passed {now - exp:.0f} s ago, leeway is {rules.leeway:.0f} s")
    for name in ("nbf", "iat"):
        start = _time(claims, name)
        if start is not None and start > now + rules.leeway:
            raise TokenInvalid(f"{name} {start:.0f} lies {start - now:.0f} s ahead; is a clock wrong?")


def build_identity(claims: Mapping[str, Any], rules: ClaimRules) -> Identity:
    """The user that judged claims name, by the issuer's claim map.

    A name, address or role that is no usable text is left out. What tells owners apart is never guessed: a tenant, if
    the issuer has one configured, is as necessary as the subject.

    Raises:
        TokenInvalid: The subject, or the tenant where there must be one, is missing or no printable string.
    """
    names = rules.claim_map
    return Identity(
        issuer=rules.issuer,
        subject=_owner(claims, names.subject),
        name=_string(_look_up(claims, names.name)),
        email=_string(_look_up(claims, names.email)),
        roles=_strings(_look_up(claims, names.roles)),
        tenant=_owner(claims, names.tenant) if names.tenant else None,
        expires_at=float(claims["exp"]),
    )


def _judge_type(header: Mapping[str, Any]) -> None:
    """RFC 8725 section 3.11: a token explicitly typed as something else (logout, secevent, DPoP) proves no sign-in.

    Access tokens are `at+jwt` (RFC 9068), with a prefix at some issuers; others say `JWT`, or nothing.
    """
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str):
        raise TokenInvalid("typ is no string")
    if kind.lower().endswith("+jwt") and not kind.lower().endswith("at+jwt"):
        raise TokenInvalid(f"typ {kind!r:.80} is no access or ID token")


def _judge_audience(aud: Any, rules: ClaimRules) -> None:
    audiences = [aud] if isinstance(aud, str) else aud
    if not isinstance(audiences, list) or not all(isinstance(item, str) for item in audiences):
        raise TokenInvalid("aud is missing, or neither a string nor a list of strings")
    if rules.audiences.isdisjoint(audiences):
        raise TokenInvalid(f"aud {audiences!r:.200}, expected one of {sorted(rules.audiences)}")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate. RFC 7519 section 2; booleans are no numbers here."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid(f"{name} is no number")
    # Compared before anything is converted: an integer of 400 digits fits no float, and NaN fails every comparison.
    if not 0 <= value <= LATEST:
        raise TokenInvalid(f"{name} lies outside the calendar")
    return float(value)


def _look_up(claims: Mapping[str, Any], path: str) -> Any:
    if path in claims:
        return claims[path]
    value: Any = claims
    for step in path.split("."):
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value


def _owner(claims: Mapping[str, Any], name: str) -> str:
    value = _look_up(claims, name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SUBJECT or not value.isprintable():
        raise TokenInvalid(f"claim {name!r} is no printable string of 1 to {MAX_SUBJECT} characters")
    return value


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and not _unfit.search(value) else None


def _strings(value: Any) -> tuple[str, ...]:
    """Roles come as a list, or as one string of words (like `scope`, RFC 8693 section 4.2)."""
    items = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(role for role in map(_string, items) if role is not None)


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
