"""Signed URLs: one path, one method, one owner, for minutes."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

from itsdangerous import URLSafeTimedSerializer

from gateway.auth.signed_urls import SignedObject, UrlSigner
from tests.attack.marks import EVIL, SUBJECT
from tests.attack.requests import get
from tests.attack.row import Attack, Refused, Trial, row
from tests.attack.rows.opaque import MISSING, SIGNED, passed
from tests.attack.settings import MAX_MINUTES, OLD_URL_KEY, URL_KEY
from tests.attack.world import World

INVALID = Refused(status=401, code="token_invalid")
EXPIRED = Refused(status=401, code="token_expired")
AMBIGUOUS = Refused(status=401, code="credential_ambiguous")


def signature(*, key: str = URL_KEY, ago: float = 0, **changes: Any) -> str:
    """A signature for GET /signed/a, good for five minutes, or one changed."""
    good: dict[str, Any] = {
        "issuer": "https://main.test",
        "subject": SUBJECT,
        "method": "GET",
        "path": "/signed/a",
        "minutes": 5,
    }
    signer = UrlSigner(keys=[key], max_minutes=10**6, clock=lambda: time.time() - ago)
    return signer.sign(SignedObject(**{**good, **changes}))


def _signed(
    name: str, expected: Refused, sign: Callable[[], str], *, target: str = "/signed/a", own: bool = True
) -> Attack:
    return row(SIGNED, name, lambda world: get(f"{target}?signature={sign()}"), expected, own=own)


def _owner(world: World) -> str:
    """A cookie or bearer of somebody else beside it changes nothing: the signature's owner is asserted."""
    query = f"signature={signature()}"
    extra = (f"Cookie: auth_token={world.token(subject='mark-b')}", f"X-User-Id: {EVIL}", "Sec-Fetch-Site: cross-site")
    answer = passed(world, get(f"/signed/a?{query}", *extra), path=f"/store/a?{query}")
    assert answer.status == 200, f"{answer.status}"
    return "200, the owner's"


def _rotated(world: World) -> str:
    query = f"signature={signature(key=OLD_URL_KEY)}"
    assert passed(world, get(f"/signed/a?{query}"), path=f"/store/a?{query}").status == 200
    return "200"


def _other_owner() -> str:
    """Somebody else's payload under a good time and signature."""
    payload, (_, moment, mac) = signature(subject="mark-b").rsplit(".", 2)[0], signature().rsplit(".", 2)
    return f"{payload}.{moment}.{mac}"


def _unsalted(world: World) -> bytes:
    """Signed with the right key for another purpose."""
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    payload = {"issuer": "https://main.test", "subject": SUBJECT, "method": "GET", "path": "/signed/a", "minutes": 5}
    signer = URLSafeTimedSerializer([URL_KEY], salt="session", signer_kwargs=options)
    return get(f"/signed/a?signature={signer.dumps(payload)}")


ROWS: list[Attack] = [
    Trial(
        threat=SIGNED, name="a good one, somebody else's cookie beside it", wanted="the owner's", trial=_owner, own=True
    ),
    Trial(threat=SIGNED, name="signed with the key before", wanted="200", trial=_rotated, own=True),
    row(SIGNED, "none", lambda world: get("/signed/a"), MISSING, own=True),
    row(
        SIGNED,
        "none, but a good bearer",
        lambda world: get("/signed/a", f"Authorization: Bearer {world.token()}"),
        MISSING,
        own=True,
    ),
    row(
        SIGNED,
        "none, but a good cookie",
        lambda world: get("/signed/a", f"Cookie: auth_token={world.token()}"),
        MISSING,
        own=True,
    ),
    row(
        SIGNED,
        "a user's token in its place",
        lambda world: get(f"/signed/a?signature={world.token()}"),
        INVALID,
        own=True,
    ),
    row(SIGNED, "signed for another purpose", _unsalted, INVALID, own=True),
    row(
        SIGNED,
        "signed for GET, used for PUT",
        lambda world: get(f"/signed/a?signature={signature()}").replace(b"GET", b"PUT", 1),
        INVALID,
        own=True,
    ),
    row(
        SIGNED,
        "two, the first good",
        lambda world: get(f"/signed/a?signature={signature()}&signature=x"),
        AMBIGUOUS,
        own=True,
    ),
    row(
        SIGNED, "its name percent-encoded", lambda world: get(f"/signed/a?%73ignature={signature()}"), MISSING, own=True
    ),
    row(SIGNED, "in a header", lambda world: get("/signed/a", f"Signature: {signature()}"), MISSING, own=True),
    row(
        SIGNED,
        "on a route that wants a token",
        lambda world: get(f"/files/a?signature={signature(path='/files/a')}"),
        MISSING,
        own=True,
    ),
    _signed("signed for PUT, used for GET", INVALID, lambda: signature(method="PUT")),
    _signed("method in lower case", INVALID, lambda: signature(method="get")),
    _signed("another path", INVALID, lambda: signature(path="/signed/b")),
    _signed("a path below", INVALID, signature, target="/signed/a/b"),
    _signed("its beginning", INVALID, lambda: signature(path="/signed/"), target="/signed/a"),
    _signed("another key", INVALID, lambda: signature(key="mark-another-secret-of-32-characters")),
    _signed("another owner in the payload", INVALID, _other_owner),
    _signed("an issuer the route does not take", INVALID, lambda: signature(issuer="https://other.test")),
    _signed("an issuer nobody knows", INVALID, lambda: signature(issuer="https://evil.io")),
    _signed("expired", EXPIRED, lambda: signature(ago=301)),
    _signed("for longer than allowed", INVALID, lambda: signature(minutes=MAX_MINUTES + 1)),
    _signed("for no time", INVALID, lambda: signature(minutes=0)),
    _signed("from the future", INVALID, lambda: signature(ago=-3600)),
    _signed("cut off", INVALID, lambda: signature()[:-3]),
    _signed("empty", INVALID, str),
    _signed("a bomb of zeros, packed", INVALID, lambda: "." + "A" * 4000),
    _signed("of 5 KB", INVALID, lambda: "A" * 5000),
]
