"""Is this assertion from our gateway, for us, now, and about this very request?

Rules: pure; no clock, no keys, no I/O. The token is taken apart here and judged here; only its signature is checked
elsewhere (`trust`). A JOSE library's own ideas about claims are not asked: they differ from ours in a dozen places.

    typ, alg, kid         exactly what the contract says
    iss, aud              equal to the two names we were given
    iat, exp              now, within the leeway; never longer than 60 s apart
    req                   method, raw path with query and SHA-256 of the body as sent
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent_backend.context import User
from agent_backend.problems import AssertionRefused

TYPE = "gateway-assertion+jwt"
ALGORITHM = "ES256"
# Seconds between iat and exp. The contract's own limit: an assertion is for one request, made just now.
MAX_LIFETIME = 60
# Characters. A JWT with a long name, e-mail and forty roles has 3 KB; a server's header limit is 16 KB or more.
MAX_LENGTH = 16_384
# Characters of one claim. OpenID Connect Core section 2: `sub` has at most 255.
MAX_CLAIM = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One token, taken apart and not yet believed."""

    kid: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an assertion must say. ``leeway`` in seconds: how far two clocks may be apart."""

    issuer: str
    audience: str
    leeway: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The request as it arrived: method, raw path with ``?query``."""

    method: str
    target: str


def parse_assertion(token: str) -> Assertion:
    """Take a compact JWS apart and judge its header. RFC 7515 section 7.1."""
    parts = token.split(".")
    if len(token) > MAX_LENGTH or len(parts) != 3:
        raise AssertionRefused("assertion_malformed", f"{len(token)} characters in {len(parts)} parts")
    header, claims = (read_object(part) for part in parts[:2])
    if header.get("typ") != TYPE:
        raise AssertionRefused("assertion_wrong_type", f"typ {header.get('typ')!r}, expected {TYPE!r}")
    if header.get("alg") != ALGORITHM:
        raise AssertionRefused("assertion_wrong_algorithm", f"alg {header.get('alg')!r}, expected {ALGORITHM!r}")
    if "crit" in header:  # RFC 7515 section 4.1.11: what we do not understand, we must refuse.
        raise AssertionRefused("assertion_malformed", "crit in the header")
    kid = text(header, "kid")
    signed = token.rpartition(".")[0].encode()
    return Assertion(kid=kid, claims=claims, signed=signed, signature=decode(parts[2]))


def judge_claims(claims: Mapping[str, Any], rules: Rules, *, now: float) -> None:
    """Refuse another gateway's, another backend's, an old or a long-lived assertion."""
    if claims.get("iss") != rules.issuer:
        raise AssertionRefused("assertion_wrong_issuer", f"iss {claims.get('iss')!r}, expected {rules.issuer!r}")
    if claims.get("aud") != rules.audience:
        raise AssertionRefused("assertion_wrong_audience", f"aud {claims.get('aud')!r}, expected {rules.audience!r}")
    issued, expires = seconds(claims, "iat"), seconds(claims, "exp")
    if not 0 <= expires - issued <= MAX_LIFETIME:
        raise AssertionRefused("assertion_long_lived", f"lives {expires - issued} s")
    if issued > now + rules.leeway:
        raise AssertionRefused("assertion_not_yet_valid", f"iat is {issued - now:.0f} s ahead")
    if now >= expires + rules.leeway:
        raise AssertionRefused("assertion_expired", f"exp was {now - expires:.0f} s ago")
    text(claims, "jti")


def judge_request(claims: Mapping[str, Any], sent: Sent) -> None:
    """Refuse an assertion about another method or path."""
    about = claims.get("req")
    if not isinstance(about, Mapping):
        raise AssertionRefused("assertion_malformed", "no req")
    if about.get("method") != sent.method:
        raise AssertionRefused("assertion_wrong_method", f"req.method {about.get('method')!r}, got {sent.method!r}")
    if about.get("path") != sent.target:
        raise AssertionRefused("assertion_wrong_path", f"req.path {about.get('path')!r}, got {sent.target!r}")


def judge_body(claims: Mapping[str, Any], body: bytes, *, allow_unbound: bool) -> None:
    """Refuse an assertion about another body; one about no body at all too, unless that was allowed."""
    digest = claims["req"].get("sha256", "")
    if digest is None and allow_unbound:
        return
    if digest is None:
        raise AssertionRefused("assertion_unbound_body", "sha256 is null")
    actual = hashlib.sha256(body).hexdigest()
    if not isinstance(digest, str) or not hmac.compare_digest(digest.encode(), actual.encode()):
        raise AssertionRefused("assertion_wrong_body", "sha256 differs")


def read_user(claims: Mapping[str, Any]) -> User:
    """The user the claims name. A claim of the wrong type is refused, not skipped."""
    roles = claims.get("roles") or []
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise AssertionRefused("assertion_malformed", "roles is no list of texts")
    return User(
        id=text(claims, "sub"),
        issuer=text(claims, "user_issuer"),
        name=optional_text(claims, "name"),
        email=optional_text(claims, "email"),
        roles=tuple(roles),
        tenant=optional_text(claims, "tenant"),
    )


def text(members: Mapping[str, Any], name: str) -> str:
    """A required claim: text, not empty, no control characters (a database or a log would trip over them)."""
    value = members.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_CLAIM or not is_plain(value):
        raise AssertionRefused("assertion_malformed", f"{name} is missing or not plain text")
    return value


def is_plain(value: str) -> bool:
    return all(" " <= char != "\x7f" and not "\ud800" <= char <= "\udfff" for char in value)


def optional_text(claims: Mapping[str, Any], name: str) -> str | None:
    return None if claims.get(name) in (None, "") else text(claims, name)


def seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AssertionRefused("assertion_malformed", f"{name} is no number")
    return value


def read_object(part: str) -> Mapping[str, Any]:
    try:
        value = json.loads(decode(part))
    except (ValueError, RecursionError) as exc:
        raise AssertionRefused("assertion_malformed", "header or claims are not JSON") from exc
    if not isinstance(value, dict):
        raise AssertionRefused("assertion_malformed", "header or claims are no JSON object")
    return value


def decode(part: str) -> bytes:
    """Base64url without padding, and nothing else. RFC 7515 section 2."""
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as exc:
        raise AssertionRefused("assertion_malformed", "not base64url") from exc
