"""A gateway that remembers what it found out from headers, asked again: nobody is taken for anybody else."""

import time
from collections.abc import Mapping
from typing import Any

from tests.attack.judge import read_arrival
from tests.attack.requests import LIST, ask, cookie
from tests.attack.row import Attack, Trial
from tests.attack.world import World
from tests.support.raw import RawClient, connected

THREAT = "heads heard before"
EVIL_PAGE = "https://evil.example.com"
LONGER = LIST.replace(b'"limit":', b'"limit": ')


def _ask(client: RawClient, request: bytes) -> int:
    client.send(request)
    return client.read_answer().status


def _callers(world: World, since: int) -> list[str]:
    """Whom the backend was told of, by the assertions that came."""
    claims: list[Mapping[str, Any]] = [
        read_arrival(world, arrived).claims for arrived in world.backend.exchanges[since:]
    ]
    return [claim["sub"] for claim in claims]


def _one_connection(world: World) -> str:
    """As a proxy uses it: a request of one user behind that of another, and strangers among them."""
    alice, bob = world.token(subject="mark-alice"), world.token(subject="mark-bob")
    since = len(world.backend.exchanges)
    with connected(world.services["gateway"].port) as client:
        statuses = [
            _ask(client, request)
            for request in (
                cookie(alice),
                cookie(alice, body=LONGER),
                ask(f"Origin: {EVIL_PAGE}"),
                cookie(bob),
                cookie(alice, origin=EVIL_PAGE),
                cookie(alice, target="/cookie-only"),
                cookie(alice, target="/host"),
                cookie(alice[:-2] + ("AA" if alice[-2:] != "AA" else "BB")),
                cookie(alice),
            )
        ]
    assert statuses == [200, 200, 401, 200, 403, 200, 401, 401, 200], f"{statuses}"
    callers = _callers(world, since)
    assert callers == [f"mark-{name}" for name in ("alice", "alice", "bob", "alice", "alice")], f"{callers}"
    return "nine requests, each answered for whoever it was from"


def _many_connections(world: World) -> str:
    """The same headers over one connection after another; then with one byte changed."""
    since = len(world.backend.exchanges)
    seen = []
    for request in (
        cookie(world.token(subject="mark-alice")),
        cookie(world.token(subject="mark-bob")),
        cookie(world.token(subject="mark-alice"), origin=EVIL_PAGE),
    ):
        for _ in range(2):
            with connected(world.services["gateway"].port) as client:
                seen.append(_ask(client, request))
    assert seen == [200, 200, 200, 200, 403, 403], f"{seen}"
    callers = _callers(world, since)
    assert callers == ["mark-alice", "mark-alice", "mark-bob", "mark-bob"], f"{callers}"
    return "six connections, each answered for whoever it was from"


def _a_token_that_ends(world: World) -> str:
    """What was good a moment ago is asked about again: the headers are the same, the time is not."""
    leeway = 30
    request = cookie(world.token(exp=int(time.time()) - leeway + 2))
    with connected(world.services["gateway"].port) as client:
        before = _ask(client, request)
        time.sleep(2.2)
        after = _ask(client, request)
    assert (before, after) == (200, 401), f"{before}, then {after}"
    return "200, and 401 when its time was over"


ROWS: list[Attack] = [
    Trial(threat=THREAT, name="one connection, many users", wanted="each their own", trial=_one_connection, own=True),
    Trial(threat=THREAT, name="many connections, one head", wanted="each their own", trial=_many_connections, own=True),
    Trial(
        threat=THREAT, name="a token that ends meanwhile", wanted="200, then 401", trial=_a_token_that_ends, own=True
    ),
]
