"""Straight to the agent backend, past the gateway: every assertion but the right one is refused."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

from tests.attack.marks import EVIL
from tests.attack.requests import LIST, PUBLIC_URL, ask, bearer
from tests.attack.row import Attack, Refused, Row, row
from tests.attack.rows.assertion import mint, straight
from tests.attack.world import World
from tests.support.issuer import signing_key


def _about(body: bytes = LIST, **changes: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/chatkit", "sha256": hashlib.sha256(body).hexdigest(), **changes}


def _code(code: str) -> Refused:
    return Refused(status=401, code=f"assertion_{code}")


def _refused(
    name: str, code: str, build: Callable[[World], bytes], *, threat: str = "straight to a backend", own: bool = False
) -> Row:
    """Straight to the agent backend, past the gateway."""
    return row(threat, name, build, _code(code), to="agent", own=own)


def _minted(name: str, code: str, *, threat: str, own: bool = False, **changes: Any) -> Row:
    return _refused(name, code, lambda world: straight(mint(world, **changes)), threat=threat, own=own)


def _times(name: str, code: str, *, iat: float, exp: float, own: bool = False) -> Row:
    def build(world: World) -> bytes:
        now = time.time()
        return straight(mint(world, iat=int(now + iat), exp=int(now + exp)))

    return _refused(name, code, build, threat="expired", own=own)


KEY = signing_key("ES256", kid="mine")
WITHOUT = "called without the gateway"


ROWS: list[Attack] = [
    _minted("audience of nobody", "wrong_audience", threat="straight to a backend", aud=""),
    _minted("audience of another backend", "wrong_audience", threat="wrong audience", aud="plain"),
    _minted("audience as a list with ours", "wrong_audience", threat="wrong audience", own=True, aud=["agent"]),
    _minted("ours as a part of the audience", "wrong_audience", threat="wrong audience", own=True, aud="agents"),
    _minted("issuer of another gateway", "wrong_issuer", threat="wrong audience", own=True, iss=f"{PUBLIC_URL}/"),
    _times("expired", "expired", iat=-60, exp=-10),
    _times("lives a day", "long_lived", iat=0, exp=86_400, own=True),
    _times("ends before it begins", "long_lived", iat=0, exp=-1, own=True),
    _times("from the future", "not_yet_valid", iat=60, exp=90, own=True),
    _minted("exp as text", "malformed", threat="expired", own=True, exp="9999999999"),
    _minted("exp NaN", "long_lived", threat="expired", own=True, exp=float("nan")),
    _refused(
        "altered body",
        "wrong_body",
        lambda world: straight(mint(world), body=LIST + b" "),
        threat="altered body path or query",
    ),
    _refused(
        "altered path",
        "wrong_path",
        lambda world: straight(mint(world, path="/other")),
        threat="altered body path or query",
    ),
    _refused(
        "altered query",
        "wrong_path",
        lambda world: straight(mint(world), target="/chatkit?admin=1"),
        threat="altered body path or query",
    ),
    _refused(
        "query left out",
        "wrong_path",
        lambda world: straight(mint(world, path="/chatkit?a=1")),
        threat="altered body path or query",
        own=True,
    ),
    _refused(
        "encoded path",
        "wrong_path",
        lambda world: straight(mint(world), target="/%63hatkit"),
        threat="altered body path or query",
        own=True,
    ),
    _minted("altered method", "wrong_method", threat="altered body path or query", own=True, req=_about(method="GET")),
    _minted("about nothing", "malformed", threat="altered body path or query", own=True, req=[]),
    _minted("signed by another key", "unknown_key", threat="signed by another key", key=KEY),
    _refused(
        "another key under the gateway's kid",
        "wrong_signature",
        lambda world: straight(mint(world, key=KEY, header={"kid": world.signing.key.kid})),
        threat="signed by another key",
    ),
    _minted(
        "its own jwk in the header",
        "unknown_key",
        threat="signed by another key",
        own=True,
        key=KEY,
        header={"jwk": KEY.jwk()},
    ),
    _minted("alg none", "wrong_algorithm", threat="signed by another key", own=True, header={"alg": "none"}),
    _minted("alg HS256", "wrong_algorithm", threat="signed by another key", own=True, header={"alg": "HS256"}),
    _minted("crit", "malformed", threat="signed by another key", own=True, header={"crit": ["exp"]}),
    _refused(
        "signature cut off",
        "wrong_signature",
        lambda world: straight(mint(world).rpartition(".")[0] + "."),
        threat="signed by another key",
        own=True,
    ),
    _minted("null digest", "unbound_body", threat="null digest", req=_about(sha256=None)),
    _minted(
        "no digest at all", "wrong_body", threat="null digest", own=True, req={"method": "POST", "path": "/chatkit"}
    ),
    _minted("digest true", "wrong_body", threat="null digest", own=True, req=_about(sha256=True)),
    _refused(
        "the user's own token in its place",
        "wrong_type",
        lambda world: straight(world.token()),
        threat="the user's own token",
    ),
    _refused(
        "a token of the gateway's key, typ JWT",
        "wrong_type",
        lambda world: straight(world.token("own")),
        threat="the user's own token",
        own=True,
    ),
    _refused("nothing at all", "missing", lambda world: ask(), threat=WITHOUT),
    _refused("a good bearer", "missing", lambda world: bearer(world.token()), threat=WITHOUT),
    _refused(
        "identity headers",
        "missing",
        lambda world: bearer(
            world.token(), f"X-User-Id: {EVIL}", f"X-Gateway-User: {EVIL}", "X-Forwarded-For: 127.0.0.1"
        ),
        threat=WITHOUT,
    ),
    _refused(
        "identity in the body",
        "missing",
        lambda world: ask(body=b'{"type":"threads.list","params":{},"metadata":{"userId":"mark-evil-7f3a"}}'),
        threat=WITHOUT,
    ),
    _refused(
        "two assertions",
        "ambiguous",
        lambda world: straight(mint(world), f"X-Gateway-Assertion: {mint(world)}"),
        threat=WITHOUT,
        own=True,
    ),
    _refused(
        "an underscore in its name",
        "missing",
        lambda world: ask(f"X_Gateway_Assertion: {mint(world)}"),
        threat=WITHOUT,
        own=True,
    ),
    _minted("no sub", "malformed", threat=WITHOUT, own=True, sub=None),
    _minted("sub with a line break", "malformed", threat=WITHOUT, own=True, sub="mark-a\nb"),
    _minted("no user_issuer", "malformed", threat=WITHOUT, own=True, user_issuer=None),
    _minted("no jti", "malformed", threat=WITHOUT, own=True, jti=None),
]
