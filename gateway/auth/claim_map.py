"""Whom do these claims name? One issuer's claims, mapped to an `Identity`.

Rules: a name, address, role or scope that is no usable text is left out; what tells owners apart (subject, and tenant
where one is configured) is never guessed but refused. Every size is bounded, because all of it travels on in a header.
Judges nothing about the token itself: `claims` has done that. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import TokenInvalid
from gateway.identity import ClaimValue, Identity

# Characters. OpenID Connect Core section 2 allows 255 for `sub`; some issuers put a distinguished name there.
MAX_SUBJECT: Final = 512

# Characters of a name, an address (RFC 5321: 254), a role.
MAX_TEXT: Final = 256

# Characters of all roles together, of all scopes together: a header must hold them. Users of large directories are in
# hundreds of groups; those beyond are left out, which can take a permission away and never give one.
MAX_LIST: Final = 4096

# What no name or role holds, and what breaks stores and parsers further on: controls (PostgreSQL refuses NUL), and
# halves of surrogate pairs, which JSON can spell and UTF-8 cannot.
_unfit = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMap:
    """Which claim holds what. A name is looked up as it stands, then as a dotted path (``realm_access.roles``).

    Attributes:
        extra: Further claims to keep, for rules and for backends.
    """

    subject: str = "sub"
    name: str = "name"
    email: str = "email"
    roles: str = "roles"
    scopes: str = "scope"
    tenant: str | None = None
    extra: tuple[str, ...] = ()


def build_identity(claims: Mapping[str, Any], issuer: str, names: ClaimMap) -> Identity:
    """The user that judged claims name.

    Raises:
        TokenInvalid: The subject, or the tenant where there must be one, is missing or no printable string.
    """
    extra = {name: _value(_look_up(claims, name)) for name in names.extra}
    return Identity(
        issuer=issuer,
        subject=_owner(claims, names.subject),
        name=_string(_look_up(claims, names.name)),
        email=_string(_look_up(claims, names.email)),
        roles=_strings(_look_up(claims, names.roles)),
        scopes=_strings(_look_up(claims, names.scopes)),
        tenant=_owner(claims, names.tenant) if names.tenant else None,
        extra={name: value for name, value in extra.items() if value is not None},
        expires_at=float(claims["exp"]),
    )


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
        raise TokenInvalid(f"claim {name!r} is no printable string of 1 to {MAX_SUBJECT} characters", about="owner")
    return value


def _value(value: Any) -> ClaimValue | None:
    """A claim of any kind that can be compared and passed on: text, number, truth, or a list of texts."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        # Beyond 2^53 readers disagree about the digits. RFC 7493 section 2.2.
        return value if abs(value) < 2**53 else None
    return _string(value) if isinstance(value, str) else _strings(value) or None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and not _unfit.search(value) else None


def _strings(value: Any) -> tuple[str, ...]:
    """Roles come as a list, or as one string of words (like `scope`, RFC 8693 section 4.2)."""
    items = value.split() if isinstance(value, str) else value if isinstance(value, list) else ()
    kept: list[str] = []
    size = 0
    for item in items:
        text = _string(item)
        if text is None:
            continue
        size += len(text)
        if size > MAX_LIST:
            break
        kept.append(text)
    return tuple(kept)
