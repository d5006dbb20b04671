"""Rules over scopes, roles and claims."""

from typing import Any

import pytest

from gateway.auth.access import AccessRule, check_access
from gateway.errors import AccessDenied
from gateway.identity import Identity


def identity(**changes: Any) -> Identity:
    return Identity(**{"issuer": "https://login.test", "subject": "alice", "expires_at": 9.0, **changes})


def rule(**parts: Any) -> AccessRule:
    return AccessRule(name="routes.support.require", **parts)


ALLOWED: list[tuple[AccessRule, Identity]] = [
    (rule(), identity()),
    (rule(scopes=frozenset({"a", "b"})), identity(scopes=("c", "b", "a"))),
    (rule(roles=frozenset({"a", "b"})), identity(roles=("b",))),
    (rule(claims={"plan": frozenset({"pro", "team"})}), identity(extra={"plan": "team"})),
    (rule(claims={"plan": frozenset({"pro"})}), identity(extra={"plan": ("free", "pro")})),
    (rule(claims={"beta": frozenset({"true"})}), identity(extra={"beta": True})),
    (rule(claims={"level": frozenset({"3"})}), identity(extra={"level": 3})),
]
DENIED: list[tuple[AccessRule, Identity, str]] = [
    (rule(scopes=frozenset({"a", "b"})), identity(scopes=("a",)), "scopes"),
    (rule(scopes=frozenset({"a"})), identity(roles=("a",)), "scopes"),
    (rule(scopes=frozenset({"read"})), identity(scopes=("read:all", "READ")), "scopes"),
    (rule(roles=frozenset({"admin"})), identity(), "roles"),
    (rule(roles=frozenset({"admin"})), identity(roles=("Admin", "administrator", "admin ")), "roles"),
    (rule(claims={"plan": frozenset({"pro"})}), identity(), "claims.plan"),
    (rule(claims={"plan": frozenset({"pro"})}), identity(extra={"plan": "free"}), "claims.plan"),
    (rule(claims={"beta": frozenset({"1"})}), identity(extra={"beta": True}), "claims.beta"),
    (rule(claims={"beta": frozenset({"True"})}), identity(extra={"beta": True}), "claims.beta"),
    (rule(scopes=frozenset({"a"}), roles=frozenset({"b"})), identity(scopes=("a",)), "roles"),
]


@pytest.mark.parametrize(("rule", "identity"), ALLOWED)
def test_who_has_what_the_rule_asks_for_may(rule: AccessRule, identity: Identity) -> None:
    """All scopes, one of the roles, of each claim one of the values."""
    check_access(identity, rule)


@pytest.mark.parametrize(("rule", "identity", "part"), DENIED)
def test_who_lacks_something_may_not_and_learns_which_rule(rule: AccessRule, identity: Identity, part: str) -> None:
    """Compared to the letter; the first part that does not hold is named."""
    with pytest.raises(AccessDenied) as caught:
        check_access(identity, rule)

    assert caught.value.rule == f"routes.support.require.{part}"
    assert caught.value.rule in str(caught.value)


@pytest.mark.parametrize("part", ["scopes", "roles", "claims"])
def test_the_log_has_what_the_rule_looked_at_and_nothing_else(part: str) -> None:
    """Whoever reads it at night sees asked and had; name, address and subject are nobody's business there."""
    asked: Any = {"plan": frozenset({"asked"})} if part == "claims" else frozenset({"asked"})
    user = identity(
        subject="private", name="private", email="private", scopes=("had",), roles=("had",), extra={"plan": "had"}
    )
    with pytest.raises(AccessDenied) as caught:
        check_access(user, rule(**{part: asked}))

    assert "['asked']" in str(caught.value)
    assert "['had']" in str(caught.value)
    assert "private" not in str(caught.value)
