"""No fault uses up a place: what max_connections allows is there again when the faults are over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.errors import BackendBusy
from tests.faults.backend import Visit, listening, until
from tests.faults.client import Answer, connect, set_linger
from tests.faults.crowd import each
from tests.faults.process import NOTHING, GatewayProcess, running
from tests.faults.recording import RECORDINGS, STREAM, error_event

PLACES = 8
WIRE = RECORDINGS[0].wire


async def test_faults_leave_every_place_free(tmp_path: Path) -> None:
    """Hundreds, eight at a time; then eight streams go on at once, and a ninth is told that there is no room."""
    faults = [b"", WIRE[:40], WIRE[: len(WIRE) // 2], b"garbage\r\n\r\n"]
    is_full = asyncio.Event()

    async def fail(visit: Visit) -> None:
        visit.write(faults[int(visit.case) % 4])
        visit.end()

    async def stall(visit: Visit) -> None:
        visit.write(WIRE[:-5])
        await visit.gone()

    async def serve(visit: Visit) -> None:
        visit.write(WIRE[:-5])
        await is_full.wait()
        visit.write(WIRE[-5:])

    with running(tmp_path, backend=f"keep_alive = 0.2\nmax_connections = {PLACES}") as gateway:
        await each(gateway, range(100), clients=PLACES)  # nobody listens
        async with resetting(gateway.backend_port):
            await each(gateway, range(100), clients=PLACES)
        async with listening(gateway.backend_port, fail):
            await each(gateway, range(100), clients=PLACES)
        async with listening(gateway.backend_port, stall):
            for _ in range(10):
                await asyncio.gather(*(leave(gateway) for _ in range(PLACES)))
                assert await gateway.held() == NOTHING

        async with listening(gateway.backend_port, serve) as backend:
            streams = [asyncio.create_task(ask(gateway)) for _ in range(PLACES)]
            assert await until(lambda: backend.requests == PLACES)
            refused = await ask(gateway)
            is_full.set()

            assert {answer.body for answer in await asyncio.gather(*streams)} == {STREAM}
            assert refused.body == error_event(BackendBusy, refused.request_id)
        assert await gateway.held() == NOTHING


@contextlib.asynccontextmanager
async def resetting(port: int) -> AsyncIterator[None]:
    """Who connects there is reset at once, before or after the request was sent."""

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        set_linger(writer)
        writer.transport.abort()

    async with await asyncio.start_server(accept, "127.0.0.1", port):
        yield


async def ask(gateway: GatewayProcess) -> Answer:
    async with connect(gateway.port) as client:
        return await client.ask(gateway.request())


async def leave(gateway: GatewayProcess) -> None:
    """Begin a stream and go."""
    async with connect(gateway.port) as client:
        client.write(gateway.request())
        await client.read_head()
