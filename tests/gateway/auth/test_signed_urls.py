"""Signed URLs: good once signed, for one path, one method, some minutes, one owner."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from gateway.auth.signed_urls import SALT, SignedObject, UrlSigner
from gateway.errors import CredentialAmbiguous, CredentialMissing, GatewayError, TokenExpired, TokenInvalid
from gateway.identity import Identity

NOW = 1_800_000_000.0
OLD, NEW = "old-" * 10, "new-" * 10
ACCEPTED = frozenset({"https://login.test"})
OBJECT = SignedObject(
    issuer="https://login.test", subject="alice", tenant="t1", method="GET", path="/files/a%20b", minutes=10
)


def signer(*keys: str, now: float = NOW, max_minutes: int = 60) -> UrlSigner:
    return UrlSigner(keys=keys or (OLD, NEW), max_minutes=max_minutes, clock=lambda: now)


def read(
    signature: str, *, by: UrlSigner, method: str = "GET", path: bytes = b"/files/a%20b", query: bytes = b""
) -> Identity:
    return by.read(method, path, query + b"signature=" + signature.encode(), ACCEPTED)


def test_a_signature_names_the_owner_until_its_minutes_are_over() -> None:
    """Issuer, subject and tenant of the one who signed for; the end is the signing plus the minutes."""
    identity = read(signer().sign(OBJECT), by=signer())

    assert identity == Identity(issuer="https://login.test", subject="alice", tenant="t1", expires_at=NOW + 600)


def test_what_else_stands_in_the_query_is_signed_with_the_path() -> None:
    """A size of a preview, for one; the signature may stand anywhere among it."""
    signature = signer().sign(replace(OBJECT, path="/files/a%20b?w=200&h=100"))
    query = b"w=200&signature=" + signature.encode() + b"&h=100"

    assert signer().read("GET", b"/files/a%20b", query, ACCEPTED).subject == "alice"


def test_head_goes_where_get_may() -> None:
    """A browser may look before it loads."""
    assert read(signer().sign(OBJECT), by=signer(), method="HEAD").subject == "alice"


@pytest.mark.parametrize(("age", "error"), [(0, None), (599, None), (600, TokenExpired), (10**6, TokenExpired)])
def test_the_minutes_are_exact(age: int, error: type[Exception] | None) -> None:
    """Valid while now < signing + minutes."""
    signature = signer().sign(OBJECT)
    if error is None:
        assert read(signature, by=signer(now=NOW + age)).subject == "alice"
    else:
        with pytest.raises(error):
            read(signature, by=signer(now=NOW + age))


@pytest.mark.parametrize(("ahead", "good"), [(30, True), (31, False)])
def test_a_signature_from_the_future_is_refused(ahead: int, good: bool) -> None:
    """Beyond the clocks' difference it was not made by a backend of ours."""
    signature = signer(now=NOW + ahead).sign(OBJECT)
    if good:
        assert read(signature, by=signer()).subject == "alice"
    else:
        with pytest.raises(TokenInvalid, match="ahead"):
            read(signature, by=signer())


def test_keys_rotate() -> None:
    """The last key signs, all are accepted; a key that is gone is gone."""
    before, during, after = signer(OLD), signer(OLD, NEW), signer(NEW)

    assert read(before.sign(OBJECT), by=during).subject == "alice"
    assert read(during.sign(OBJECT), by=after).subject == "alice"
    with pytest.raises(TokenInvalid, match="BadTimeSignature"):
        read(before.sign(OBJECT), by=after)


@pytest.mark.parametrize(
    ("changed", "use"),
    [
        (replace(OBJECT, method="PUT"), {}),
        (OBJECT, {"method": "PUT"}),
        (OBJECT, {"method": "DELETE"}),
        (OBJECT, {"path": b"/files/a b"}),
        (OBJECT, {"query": b"version=2&"}),
        (replace(OBJECT, path="/files/a%20b?version=1"), {}),
        (replace(OBJECT, path="/files/a%20b?version=1"), {"query": b"version=2&"}),
        (replace(OBJECT, path="/files/a%20b?version=1"), {"query": b"version=1&%73ignature=x&"}),
        (OBJECT, {"path": b"/files/a%20b/"}),
        (OBJECT, {"path": b"/files/A%20b"}),
        (replace(OBJECT, path="/files/"), {}),
        (replace(OBJECT, minutes=61), {}),
        (replace(OBJECT, minutes=0), {}),
        (replace(OBJECT, minutes=-5), {}),
        (replace(OBJECT, issuer="https://other.test"), {}),
        (replace(OBJECT, subject=""), {}),
        (replace(OBJECT, subject="a\nb"), {}),
        (replace(OBJECT, tenant=""), {}),
    ],
)
def test_what_was_not_signed_for_is_refused(changed: SignedObject, use: dict[str, object]) -> None:
    """Another method, another path, too long, another issuer's user, no usable owner."""
    with pytest.raises(TokenInvalid):
        read(signer().sign(changed), by=signer(), **use)  # type: ignore[arg-type]  # a table of keyword arguments


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (b"", CredentialMissing),
        (b"signature", TokenInvalid),
        (b"signature=", TokenInvalid),
        (b"Signature=x", CredentialMissing),
        (b"signature=a&signature=b", CredentialAmbiguous),
        (b"signature=" + b"a" * 4097, TokenInvalid),
        (b"signature=a.b.c", TokenInvalid),
        (b"signature=%2e%2e", TokenInvalid),
        (b"signature=\xff\x00", TokenInvalid),
    ],
)
def test_one_signature_and_nothing_else_will_do(query: bytes, error: type[Exception]) -> None:
    """None, several, too long, garbage."""
    with pytest.raises(error):
        signer().read("GET", b"/files/a", query, ACCEPTED)


def test_a_changed_signature_is_no_signature() -> None:
    """Any byte of it."""
    good = signer().sign(OBJECT)
    for index in range(len(good)):
        changed = good[:index] + ("A" if good[index] != "A" else "B") + good[index + 1 :]
        with pytest.raises(GatewayError):
            read(changed, by=signer())


@pytest.mark.parametrize("payload", [[], "text", 1, None, {"minutes": True}, {"minutes": 10, "method": "GET"}])
def test_a_payload_of_another_shape_is_refused(payload: object) -> None:
    """Whoever has the key may still be wrong."""
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    value = URLSafeTimedSerializer(NEW, salt=SALT, signer_kwargs=options).dumps(payload)
    with pytest.raises(GatewayError):
        UrlSigner(keys=[NEW], max_minutes=60).read(
            "GET", b"/files/a%20b", b"signature=" + str(value).encode(), ACCEPTED
        )


def test_the_same_key_used_for_something_else_signs_no_url() -> None:
    """The salt keeps purposes apart."""
    value = str(URLSafeTimedSerializer(NEW, salt="session").dumps({"minutes": 10}))
    with pytest.raises(TokenInvalid):
        read(value, by=signer(NEW))


@given(st.binary(max_size=200))
def test_no_query_breaks_the_reader(query: bytes) -> None:
    """Nothing but its own errors."""
    with pytest.raises(GatewayError):
        signer().read("GET", b"/files/a", query, ACCEPTED)
