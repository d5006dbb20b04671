"""Ten thousand streams, whole, broken off and abandoned: the gateway is as large afterwards as it was before them."""

import asyncio
from collections import deque
from pathlib import Path

from tests.faults.backend import Visit, listening
from tests.faults.client import connect
from tests.faults.process import NOTHING, GatewayProcess, running
from tests.faults.recording import RECORDINGS, STREAM

WARM_UP, STREAMS, CLIENTS = 5_000, 10_000, 80

# Of Python's allocator: one for ten streams, where one small thing forgotten of each is more. Measured: 13 to 41.
MAX_BLOCKS = STREAMS // 10

# A thousand a stream: a forgotten connection is more. Measured: two to six million, in arenas of one that stay.
MAX_BYTES = 10_000_000

# The last digit of a stream's number says what happens to it.
LEFT_IN_MID_STREAM, LEFT_AT_ONCE, CUT_BY_THE_BACKEND = "3", "4", "5"


async def test_memory_is_flat_over_ten_thousand_streams(tmp_path: Path) -> None:
    """Of ten streams two are abandoned by their clients, in mid-stream and at once, and one is cut by its backend."""
    wire = RECORDINGS[0].wire
    half = len(wire) // 2

    async def script(visit: Visit) -> None:
        fate = visit.case[-1]
        visit.write(wire if fate not in (LEFT_IN_MID_STREAM, LEFT_AT_ONCE, CUT_BY_THE_BACKEND) else wire[:half])
        if fate in (LEFT_IN_MID_STREAM, LEFT_AT_ONCE):
            await visit.gone()
        elif fate == CUT_BY_THE_BACKEND:
            visit.end()

    with running(tmp_path, backend="keep_alive = 0.2") as gateway:
        async with listening(gateway.backend_port, script):
            await serve(gateway, WARM_UP)
            assert await gateway.held() == NOTHING
            before = gateway.memory()
            await serve(gateway, STREAMS)
            assert await gateway.held() == NOTHING
            after = gateway.memory()

    assert after.blocks - before.blocks < MAX_BLOCKS
    assert after.bytes - before.bytes < MAX_BYTES


async def serve(gateway: GatewayProcess, streams: int) -> None:
    """So many streams, over eighty connections at a time."""
    waiting = deque(range(streams))

    async def work() -> None:
        while waiting:
            await use_connection(gateway, waiting)

    await asyncio.gather(*(work() for _ in range(CLIENTS)))


async def use_connection(gateway: GatewayProcess, waiting: deque[int]) -> None:
    """One stream after the other, until one is abandoned."""
    async with connect(gateway.port) as client:
        while waiting:
            case = str(waiting.popleft())
            client.write(gateway.request(case))
            if case[-1] == LEFT_AT_ONCE:
                client.reset()
                return
            await client.read_head()
            if case[-1] == LEFT_IN_MID_STREAM:
                await client.read_chunk()
                return
            chunks, is_whole = await client.read_chunks()
            assert is_whole
            assert case[-1] == CUT_BY_THE_BACKEND or b"".join(chunks) == STREAM
