"""Many requests at once: what they cost us, and that others do not notice."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.attack.issuers import FLOOD_COOLDOWN
from tests.attack.requests import bearer, get, unsigned_token
from tests.attack.wire import exchange
from tests.attack.world import World
from tests.support.raw import connected

# Connections that a flood comes over.
CONNECTIONS = 4
COUNT = 10_000


def ask_many(port: int, requests: list[bytes]) -> list[int]:
    """Each request in turn over one connection; the statuses."""
    statuses = []
    with connected(port) as client:
        for request in requests:
            client.send(request)
            statuses.append(client.read_answer().status)
    return statuses


def _side_by_side(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def good_traffic(world: World, token: str, statuses: list[int], waits: list[float]) -> Iterator[None]:
    """Somebody else's requests, one after the other, until the flood is over."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            begun = time.monotonic()
            statuses.append(exchange(world.services["gateway"].port, bearer(token)).answers[0].status)
            waits.append(time.monotonic() - begun)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def flood_unknown_kids(world: World) -> str:
    """Tokens of an issuer, each with a kid of its own."""
    port = world.services["gateway"].port
    claims = world.claims("flooded")
    # Its own bearer requests to /session: nothing but the token is looked at.
    requests = [
        get("/session", f"Authorization: Bearer {unsigned_token({'alg': 'ES256', 'kid': f'u{n}'}, claims, b'x' * 64)}")
        for n in range(COUNT)
    ]
    before = world.keys.fetches["/flooded"]
    statuses: list[int] = []
    good: list[int] = []
    waits: list[float] = []
    begun = time.monotonic()
    with good_traffic(world, world.token("flooded"), good, waits):
        _side_by_side(lambda number: statuses.extend(ask_many(port, requests[number::CONNECTIONS])), CONNECTIONS)
    seconds = time.monotonic() - begun
    fetches = world.keys.fetches["/flooded"] - before
    assert len(statuses) == COUNT
    assert set(statuses) == {401}, f"statuses {set(statuses)}"
    assert 1 <= fetches <= seconds / FLOOD_COOLDOWN + 1, f"{fetches} fetches in {seconds:.1f} s"
    assert set(good) == {200}, f"valid traffic saw {set(good)}"
    assert max(waits) < 1.0, f"valid traffic waited {max(waits):.2f} s"
    return f"{fetches} fetches in {seconds:.1f} s; {len(good)} good requests, slowest {max(waits) * 1000:.0f} ms"


def memory_is_bounded(world: World) -> str:
    """Good tokens with large identities, twenty times as many as are remembered."""
    service = world.services["gateway"]
    key = world.key(number=1)
    requests = [
        get(
            "/session",
            "Authorization: Bearer " + world.token(key=key, subject=f"mark-{n}", roles=[f"{n:x<200}"] * 40),
        )
        for n in range(2_000)
    ]
    ask_many(service.port, requests[:200])
    before = _resident(service.process.pid)
    statuses = ask_many(service.port, requests)
    grown = (_resident(service.process.pid) - before) / 2**20
    assert set(statuses) == {200}, f"statuses {set(statuses)}"
    assert grown < 15, f"{grown:.0f} MB more"
    return f"{grown:.1f} MB more"


def _resident(pid: int) -> int:
    """Bytes of memory. Linux."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
