"""Keys: which of a JWKS count, for whom, for how long, and what it costs to ask for them."""

import threading
import time
from collections.abc import Callable

from tests.attack.judge import check_refused
from tests.attack.key_server import answer
from tests.attack.processes import service
from tests.attack.requests import bearer, get, hmac_token
from tests.attack.row import Attack, Refused, Trial
from tests.attack.rows.flood import flood_unknown_kids, memory_is_bounded
from tests.attack.rows.tokens import Token, accepted, refused
from tests.attack.settings import KEEP
from tests.attack.wire import Seen, exchange
from tests.attack.world import World
from tests.support.issuer import encode

UNAVAILABLE = Refused(status=503, code="keys_unavailable")


def _ask(world: World, token: str) -> Seen:
    return exchange(world.services["gateway"].port, bearer(token))


def _statuses(world: World, *tokens: str) -> list[int]:
    return [_ask(world, token).answers[0].status for token in tokens]


def _by_bad_key(kid: str) -> Token:
    return lambda world: world.token("mixed", key=world.issuers["mixed"].keys[kid])


def _oct(world: World) -> str:
    return hmac_token(b"mark-secret-7f3a-mark-secret-7f3a", world.claims("mixed"), kid="oct")


def _borrowed(world: World) -> str:
    """Issuer main in the claims, the key of that kid from issuer other."""
    return encode({"alg": "RS256", "kid": "k1"}, world.claims(), world.key("other"))


def _rotation(world: World) -> str:
    """Traffic with the old key goes on while the issuer changes to the new one; then the old one is gone."""
    old, new = (world.token("rotating", key=world.key("rotating", number)) for number in (0, 1))
    late = world.token("rotating", key=world.key("rotating", 0), subject="mark-late")
    assert _statuses(world, old, late) == [200, 200], "before"
    time.sleep(0.6)  # the cooldown of this issuer
    world.keys.publish("/rotating", {"keys": [key.jwk() for key in world.issuers["rotating"].issuer.keys]})
    traffic: list[int] = []
    over = threading.Event()
    worker = threading.Thread(target=lambda: _keep_asking(world, old, traffic, over))
    worker.start()
    during = _statuses(world, *[new] * 20)
    time.sleep(0.6)
    over.set()
    worker.join()
    world.keys.publish("/rotating", {"keys": [world.key("rotating", 1).jwk()]})
    lookup = _statuses(world, world.token("rotating", header={"kid": "another"}))
    after = _statuses(world, old, late, new)
    assert set(during) == set(traffic) == {200}, f"during {set(during)}, {set(traffic)}"
    assert (lookup, after) == ([401], [401, 401, 200]), f"after {lookup} {after}"
    return f"{len(traffic) + 20} x 200 during, then old 401, new 200"


def _keep_asking(world: World, token: str, statuses: list[int], over: threading.Event) -> None:
    while not over.is_set():
        statuses += _statuses(world, token)


def _shares_first_bytes(world: World) -> str:
    token = world.token()
    first, _, signature = token.rpartition(".")
    forged = f"{first}.{signature[:-8]}{signature[-8:][::-1]}"
    statuses = _statuses(world, token, forged, token)
    assert statuses == [200, 401, 200], f"statuses {statuses}"
    return "200, 401, 200"


def _last_good_keys(world: World) -> str:
    """The endpoint fails from now on: known keys go on, unknown ones cannot be told."""
    world.keys.endpoints["/flaky"] = answer(500, b"oops")
    good = _statuses(world, world.token("flaky"))
    time.sleep(0.6)  # its cooldown
    unknown = _ask(world, world.token("flaky", header={"kid": "unknown"}))
    check_refused(unknown, status=503, code="keys_unavailable")
    again = _statuses(world, world.token("flaky", subject="mark-another"))
    assert good == again == [200], f"{good} {again}"
    return "200, unknown kid 503, 200"


def _fading(world: World) -> str:
    """A gateway whose last good keys may serve for KEEP seconds."""
    settings, port = world.fading
    token = world.token("flaky")
    with service("gateway", settings, port=port) as gateway:
        gateway.await_line(" ready on ")
        world.keys.endpoints["/fading"] = answer(500, b"oops")
        ready = exchange(port, get("/readyz")).answers[0].status
        served = exchange(port, bearer(token)).answers[0].status
        time.sleep(KEEP)
        check_refused(exchange(port, bearer(token)), status=503, code="keys_unavailable")
        unready = exchange(port, get("/readyz")).answers[0]
        world.keys.publish("/fading", world.issuers["flaky"].issuer.jwks())
        time.sleep(0.6)  # its cooldown
        recovered = exchange(port, bearer(token)).answers[0].status
    assert (ready, served, unready.status) == (200, 200, 503), f"{ready} {served} {unready.status}"
    assert "https://flaky.test" in str(unready.json()), f"readiness says {unready.json()}"
    assert recovered == 200, f"{recovered} one cooldown after the endpoint works again"
    return "200, then 503 and not ready, then 200"


def _readiness(world: World) -> str:
    seen = exchange(world.services["gateway"].port, get("/readyz")).answers[0]
    text = str(seen.json())
    missing = [name for name, table in world.issuers.items() if not table.usable and table.issuer.issuer not in text]
    assert seen.status == 503, f"{seen.status}"
    assert not missing, f"readiness is silent about {missing}"
    return "503, names each"


def _huge(world: World) -> str:
    # What the sockets' buffers swallow before the stop is felt here: up to 6 MB on the one side, 4 on the other, twice.
    sent = world.keys.sent / max(world.keys.fetches["/huge"], 1) / 2**20
    assert sent < 25, f"{sent:.0f} MB were taken"
    return f"cut after {sent:.1f} MB"


def _no_redirect(world: World) -> str:
    assert world.keys.fetches["/redirect"] > 0
    assert world.tripwire.visits == 0, f"{world.tripwire.visits} visits where it pointed"
    return "not followed"


def _valid_elsewhere(name: str) -> Callable[[World], str]:
    return lambda world: world.token(name)


ROWS: list[Attack] = [
    *(
        refused("keys that nobody may use", f"signed by a {kid} key", _by_bad_key(kid))
        for kid in ("weak", "enc", "private", "p384")
    ),
    refused("keys that nobody may use", "signed with a symmetric key of the JWKS", _oct),
    accepted("keys that nobody may use", "the good key beside them serves", lambda world: world.token("mixed")),
    refused("keys are scoped per issuer", "same kid, the other issuer's key", _borrowed),
    accepted("keys are scoped per issuer", "the other issuer's own token", lambda world: world.token("other")),
    *(
        refused("JWKS endpoint fails", f"endpoint: {name}", _valid_elsewhere(name), UNAVAILABLE)
        for name in ("redirect", "html", "huge", "slow", "empty", "nokeys")
    ),
    Trial(threat="JWKS endpoint fails", name="readiness names each of them", wanted="503", trial=_readiness),
    Trial(threat="JWKS endpoint fails", name="50 MB are not read", wanted="cut off", trial=_huge),
    Trial(threat="JWKS endpoint fails", name="the redirect", wanted="not followed", trial=_no_redirect),
    Trial(threat="500 for an hour", name="500 after a good set", wanted="last good keys serve", trial=_last_good_keys),
    Trial(
        threat="500 for an hour", name="500 beyond the bound, then well again", wanted="200, 503, 200", trial=_fading
    ),
    Trial(
        threat="cached token",
        name="first bytes shared with a cached one",
        wanted="200, 401, 200",
        trial=_shares_first_bytes,
    ),
    Trial(
        threat="cached token", name="key rotation under load", wanted="no gap; old cached token 401", trial=_rotation
    ),
    Trial(
        threat="cache memory",
        name="2,000 tokens of 10 KB, 100 remembered",
        wanted="under 15 MB more",
        trial=memory_is_bounded,
    ),
    Trial(
        threat="10,000 unknown kids",
        name="10,000 unknown kids",
        wanted="at most one fetch per cooldown",
        trial=flood_unknown_kids,
    ),
]
