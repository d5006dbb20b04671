"""May this user do this? Rules over scopes, roles and claims.

Rules of the rules: all scopes, one of the roles, and of each claim one of the values. A rule names itself as the
settings do; the client learns that name, the log also what was asked and what the user had of it, because that is what
mends a refusal at night. Nothing else about the user. Pure; knows nothing of routes or requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.errors import AccessDenied
from gateway.identity import ClaimValue, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """What a user must have.

    Attributes:
        name: Where it stands in the settings, such as ``routes.support.require``.
        scopes: All of them.
        roles: One of them.
        claims: Of each claim one of these values; numbers and truths as JSON writes them.
    """

    name: str
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, frozenset[str]] = field(default_factory=dict)


def check_access(identity: Identity, rule: AccessRule) -> None:
    """Refuse a user who lacks something.

    Raises:
        AccessDenied: Names the part of the rule that does not hold.
    """
    missing = rule.scopes.difference(identity.scopes)
    if missing:
        raise _denied(f"{rule.name}.scopes", f"lacks {sorted(missing)}, has {_shown(identity.scopes)}")
    if rule.roles and rule.roles.isdisjoint(identity.roles):
        raise _denied(f"{rule.name}.roles", f"needs one of {sorted(rule.roles)}, has {_shown(identity.roles)}")
    for name, values in rule.claims.items():
        given = _texts(identity.extra.get(name))
        if values.isdisjoint(given):
            raise _denied(f"{rule.name}.claims.{name}", f"must be one of {sorted(values)}, is {_shown(given)}")


def _denied(rule: str, reason: str) -> AccessDenied:
    return AccessDenied(f"{rule}: {reason}", rule=rule)


def _shown(given: tuple[str, ...]) -> str:
    return f"{list(given)!r:.200}" if given else "none"


def _texts(value: ClaimValue | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, tuple):
        return value
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return (str(value),)
