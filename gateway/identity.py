"""Who calls: what the client presented, and who it is after verification. Frozen values, no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ClaimValue = str | bool | int | float | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What the client presented, unverified. The token never appears in a repr."""

    token: bytes = field(repr=False)
    source: Literal["cookie", "bearer", "signed_url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A verified user. The person is (`issuer`, `subject`): one subject at two issuers is two people.

    Attributes:
        issuer: The `iss` claim, exactly as configured.
        subject: The mapped subject claim, usually `sub`.
        roles: In the token's order.
        extra: Further claims that the issuer's settings keep, by name.
        tenant: From the mapped tenant claim, if the issuer has one configured.
        expires_at: The token's `exp`: seconds since the epoch, wall clock.
    """

    issuer: str
    subject: str
    name: str | None = None
    email: str | None = None
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    tenant: str | None = None
    extra: Mapping[str, ClaimValue] = field(default_factory=dict, hash=False)
    expires_at: float
