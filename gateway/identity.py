"""Who calls: what the client presented, and who it is after verification. Frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

ClaimValue = str | bool | int | float | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What the client presented, unverified. The token never appears in a repr.

    Attributes:
        digest: SHA-256 of the token, under which a verified one is remembered.
    """

    token: bytes = field(repr=False)
    source: Literal["cookie", "bearer", "signed_url"]
    digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", sha256(self.token).digest())


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
    # What a hash leaves out counts all the same when two are compared; a hash is made at every request.
    name: str | None = field(default=None, hash=False)
    email: str | None = field(default=None, hash=False)
    roles: tuple[str, ...] = field(default=(), hash=False)
    scopes: tuple[str, ...] = field(default=(), hash=False)
    tenant: str | None = field(default=None, hash=False)
    extra: Mapping[str, ClaimValue] = field(default_factory=dict, hash=False)
    # It tells the tokens of one person apart, who may get a new one at every request.
    expires_at: float
