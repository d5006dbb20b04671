"""Whom do judged claims name? By the issuer's claim map."""

from typing import Any

import pytest

from gateway.auth.claim_map import MAX_LIST, MAX_SUBJECT, ClaimMap, build_identity
from gateway.errors import TokenInvalid
from gateway.identity import Identity


def build(claims: dict[str, Any], **names: Any) -> Identity:
    return build_identity(claims, "https://login.test", ClaimMap(**names))


def identity(**changes: Any) -> Identity:
    return Identity(**{"issuer": "https://login.test", "subject": "alice", "expires_at": 9.0, **changes})


MAPPED: list[tuple[dict[str, Any], dict[str, Any], Identity]] = [
    ({}, {}, identity()),
    (
        {},
        {"name": "Ann Bo", "email": "a@b.test", "roles": ["user", "admin"]},
        identity(name="Ann Bo", email="a@b.test", roles=("user", "admin")),
    ),
    ({"roles": "groups"}, {"groups": "read  write"}, identity(roles=("read", "write"))),
    ({}, {"scope": "read  write"}, identity(scopes=("read", "write"))),
    ({"scopes": "scp"}, {"scp": ["read"], "scope": "write"}, identity(scopes=("read",))),
    (
        {"extra": ("plan", "org.level", "beta", "tags", "gone", "odd", "huge")},
        {"plan": "pro", "org": {"level": 3}, "beta": True, "tags": ["a", 1], "odd": {}, "huge": 2**60},
        identity(extra={"plan": "pro", "org.level": 3, "beta": True, "tags": ("a",)}),
    ),
    ({}, {"plan": "pro"}, identity()),
    ({"roles": "realm.roles"}, {"realm": {"roles": ["x"]}}, identity(roles=("x",))),
    ({"roles": "https://x.test/roles"}, {"https://x.test/roles": ["x"]}, identity(roles=("x",))),
    ({"roles": "a.b"}, {"a.b": ["as it stands"], "a": {"b": ["deep"]}}, identity(roles=("as it stands",))),
    ({"roles": "a.b.c"}, {"a": {"b": [1]}}, identity()),
    ({"roles": "a.b"}, {"a": "b"}, identity()),
    ({"subject": "oid"}, {"oid": "o-1", "sub": "other"}, identity(subject="o-1")),
    ({"tenant": "tid"}, {"tid": "t-1"}, identity(tenant="t-1")),
    ({}, {"tid": "t-1", "tenant": "t-1"}, identity()),
    (
        {},
        {"name": "O'Brien \U0001f600 \u0645\u06cc\u200c\u062e"},
        identity(name="O'Brien \U0001f600 \u0645\u06cc\u200c\u062e"),
    ),
    ({}, {"name": "", "email": "", "roles": ""}, identity()),
    ({}, {"name": ["a"], "email": 1, "roles": {"admin": True}}, identity()),
    ({}, {"name": None, "email": True, "roles": None}, identity()),
    ({}, {"roles": ["user", 1, None, ["admin"], {"a": 1}, "", "two words"]}, identity(roles=("user", "two words"))),
    ({}, {"name": "a\r\nx-evil: 1", "email": "a\x00b", "roles": ["a\nb", "ok"]}, identity(roles=("ok",))),
    ({}, {"name": "\ud800", "email": "\udfff@b.test", "roles": ["\ud83d", "ok"]}, identity(roles=("ok",))),
    ({}, {"roles": "ok \ud83d"}, identity(roles=("ok",))),
    ({}, {"name": "n" * 256, "email": "e" * 257, "roles": ["r" * 257]}, identity(name="n" * 256)),
]


@pytest.mark.parametrize(("names", "claims", "expected"), MAPPED, ids=[repr(claims)[:40] for _, claims, _ in MAPPED])
def test_claims_are_mapped_and_what_is_no_usable_text_is_left_out(
    names: dict[str, Any], claims: dict[str, Any], expected: Identity
) -> None:
    """Names as they stand, then as dotted paths; controls and half surrogate pairs never travel on."""
    assert build({"sub": "alice", "exp": 9, **claims}, **names) == expected


UNUSABLE = [None, "", 0, 1, True, [], ["alice"], {"sub": "alice"}, "a\nb", "a\x00", "\ud800", "a\u2028b", "a\u202eb"]


@pytest.mark.parametrize("value", [*UNUSABLE, "x" * 1025], ids=ascii)
def test_who_owns_things_is_never_guessed(value: Any) -> None:
    """Subject, and tenant where one is configured, are printable strings, or the token is refused."""
    with pytest.raises(TokenInvalid, match="'sub' is no printable string"):
        build({"sub": value, "exp": 9})
    with pytest.raises(TokenInvalid, match="'tid' is no printable string"):
        build({"sub": "alice", "tid": value, "exp": 9}, tenant="tid")


def test_a_missing_tenant_is_not_a_tenant() -> None:
    """Users without the configured claim would otherwise share one nameless tenant."""
    with pytest.raises(TokenInvalid, match="'tid'"):
        build({"sub": "alice", "exp": 9}, tenant="tid")


def test_the_longest_subject_passes() -> None:
    """1,024 characters, whatever the letters."""
    assert build({"sub": "ä" * MAX_SUBJECT, "exp": 9}).subject == "ä" * MAX_SUBJECT


def test_roles_beyond_what_a_header_holds_are_left_out() -> None:
    """The first ones stay; what is lost can only take a permission away."""
    roles = [f"{number:0100d}" for number in range(100)]

    assert build({"sub": "alice", "exp": 9, "roles": roles}).roles == tuple(roles[: MAX_LIST // 100])
