"""A gateway that is watched: with a metrics listener, a second route that is tight, and traffic of every kind."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tests.faults.backend import until
from tests.faults.client import Answer, Client, connect
from tests.faults.operating import Script, scripted
from tests.faults.process import GatewayProcess, reserved_port, serving
from tests.support.scrape import Scrape, scrape

# A route where the second request in a row is one too many.
TIGHT = """
[routes.tight]
path = "/tight"
backend = "support"
limits = {reads_per_minute = 1}
"""


@contextlib.contextmanager
def watched(folder: Path, *, server: str = "", backend: str = "") -> Iterator[tuple[GatewayProcess, int]]:
    """The gateway, and the port of its metrics."""
    with reserved_port() as port:
        server = f"drain_delay = 0\n{server}\n[metrics]\nport = {port}\n"
        with serving(folder, server=server, backend=backend, route=TIGHT) as gateway:
            yield gateway, port


async def ask(gateway: GatewayProcess, request: bytes) -> Answer:
    async with connect(gateway.port) as client:
        return await client.ask(request)


async def make_traffic(gateway: GatewayProcess, script: Script, metrics: int) -> None:
    """One of each: JSON, a whole stream, one that its client leaves, an unknown path, no token, a limit."""
    listing = gateway.request("json", operation="threads.list")
    await ask(gateway, listing)
    async with streaming(gateway):
        pass
    await settled(metrics, 1, ended_by="client")
    async with streaming(gateway) as client:
        script.finish.set()
        await client.read_chunks()
    await ask(gateway, b"GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n")
    head, _, rest = listing.partition(b"Authorization: ")
    await ask(gateway, head + rest.partition(b"\r\n")[2])
    for _ in range(2):
        await ask(gateway, listing.replace(b"/chatkit?", b"/tight?"))


@contextlib.asynccontextmanager
async def streaming(gateway: GatewayProcess) -> AsyncIterator[Client]:
    """A client whose stream has begun."""
    async with connect(gateway.port) as client:
        client.write(gateway.request("stream"))
        await client.read_head()
        await client.read_chunk()
        yield client


async def settled(metrics: int, count: int, **labels: str) -> Scrape:
    """A scrape that has so many requests of this kind."""
    assert await until(lambda: scrape(metrics).value("gateway_requests_total", **labels) >= count)
    return scrape(metrics)


__all__ = ["ask", "make_traffic", "scrape", "scripted", "settled", "streaming", "watched"]
