"""Where is the token? In a cookie, in a cookie split over parts, or in an Authorization header.

Rules: exactly one credential, never "first wins"; a cookie is parsed from bytes, no unquoting, no white-space
tolerance beyond RFC 6265's separator; nothing here looks inside the token beyond counting its parts. Pure.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.errors import CredentialAmbiguous, CredentialEncrypted, CredentialMissing, TokenInvalid
from gateway.identity import Credential

# A browser stores at most 4 KB per cookie, and libraries split above it; ten parts hold every token we would verify.
MAX_PARTS = 10

# Characters of a compact JWS or JWE. RFC 7515 section 7.1.
TOKEN = re.compile(rb"[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)+\Z")
_PART = re.compile(rb"\.(0|[1-9][0-9]?)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRule:
    """Where a route looks for the token.

    Attributes:
        cookie: The cookie's name, or None if the route takes no cookie.
        bearer: Accept ``Authorization: Bearer`` too.
        max_token: Bytes; a longer token is refused before anything is decoded.
    """

    cookie: bytes | None
    bearer: bool
    max_token: int


def find_credential(headers: Iterable[tuple[bytes, bytes]], rule: CredentialRule) -> Credential:
    """The one credential of a request.

    A cookie and a bearer token side by side are accepted only if they are the same token; it then counts as the
    cookie, so that the cross-site rule applies.

    Raises:
        CredentialMissing: Neither a cookie of that name nor, where allowed, a bearer token.
        CredentialAmbiguous: More than one, and they differ; or one of them is repeated.
        CredentialEncrypted: The token has five parts (JWE, RFC 7516 section 7.1).
        TokenInvalid: Too long, or not in the characters of a token.
    """
    authorizations: list[bytes] = []
    cookies: list[bytes] = []
    for name, value in headers:
        if name == b"cookie":
            cookies.append(value)
        elif name == b"authorization":
            authorizations.append(value)
    bearer = _find_bearer(authorizations) if authorizations and rule.bearer else None
    cookie = _find_cookie(cookies, rule.cookie) if cookies and rule.cookie else None
    if bearer is not None and cookie is not None and bearer != cookie:
        raise CredentialAmbiguous("a cookie and a different bearer token")
    token = cookie if cookie is not None else bearer
    if token is None:
        where = f"cookie {rule.cookie.decode()!r}" if rule.cookie else "no cookie"
        raise CredentialMissing(f"looked for: {where}{', bearer token' if rule.bearer else ''}")
    _check_token(token, rule.max_token)
    return Credential(token=token, source="cookie" if cookie is not None else "bearer")


def _check_token(token: bytes, max_token: int) -> None:
    if len(token) > max_token:
        raise TokenInvalid(f"token of {len(token)} bytes, max_token is {max_token}", about="size")
    if not TOKEN.match(token):
        raise TokenInvalid("token has characters outside base64url and '.', or no '.'")
    parts = token.count(b".") + 1
    if parts == 5:
        raise CredentialEncrypted("token of five parts: an encrypted JWE")
    if parts != 3:
        raise TokenInvalid(f"token of {parts} parts, expected 3")


def _find_bearer(values: list[bytes]) -> bytes | None:
    if len(values) > 1:
        raise CredentialAmbiguous(f"{len(values)} Authorization headers")
    scheme, _, token = values[0].partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    if b"," in token:
        raise CredentialAmbiguous("a list in the Authorization header")
    return token.lstrip(b" ")


def _find_cookie(headers: list[bytes], name: bytes) -> bytes | None:
    whole: list[bytes] = []
    parts: list[tuple[bytes, bytes]] = []
    for header in headers:
        _collect(header, name, whole, parts)
    if len(whole) > 1:
        raise CredentialAmbiguous(f"{len(whole)} cookies named {name.decode()!r}")
    if whole and parts:
        raise CredentialAmbiguous(f"cookie {name.decode()!r} beside numbered parts of it")
    if whole:
        return whole[0]
    return _join_parts(parts, name) if parts else None


def _collect(header: bytes, name: bytes, whole: list[bytes], parts: list[tuple[bytes, bytes]]) -> None:
    """Sort the cookies of one header: those named ``name``, those named ``name`` and a number. RFC 6265 section 4.2."""
    if name not in header:
        return
    for pair in header.split(b";"):
        key, equals, value = pair.lstrip(b" ").partition(b"=")
        if not equals:
            continue  # a cookie without a name: what stands here is its value, and any sibling site can set it
        if key == name:
            whole.append(value)
        elif key.startswith(name + b".") and key[len(name) + 1 :].isdigit():
            parts.append((key[len(name) :], value))


def _join_parts(parts: list[tuple[bytes, bytes]], name: bytes) -> bytes:
    values: dict[int, bytes] = {}
    for suffix, value in parts:
        match = _PART.match(suffix)
        if match is None or int(match[1]) >= MAX_PARTS:
            raise TokenInvalid(f"cookie part {(name + suffix)!r}, expected .0 to .{MAX_PARTS - 1}", about="parts")
        if int(match[1]) in values:
            raise CredentialAmbiguous(f"cookie part {(name + suffix)!r} twice")
        values[int(match[1])] = value
    missing = set(range(len(values))) - values.keys()
    if missing:
        raise TokenInvalid(f"cookie {name.decode()!r} lacks part {min(missing)} of {max(values) + 1}", about="parts")
    return b"".join(values[index] for index in range(len(values)))
