"""However the backend's bytes are cut on their way, the client gets the same ones, and whole events at a time."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import accumulate

import pytest

from tests.faults.backend import Visit, listening, until
from tests.faults.client import Answer, Client, connect
from tests.faults.crowd import each
from tests.faults.process import NOTHING, GatewayProcess, running
from tests.faults.recording import ENDS, EVENTS, RECORDINGS, STREAM, Recording

FRAMINGS = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.framing)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One for all: no case leaves anything for the next."""
    with running(tmp_path_factory.mktemp("delivery"), backend="keep_alive = 0.2") as process:
        yield process


@FRAMINGS
async def test_byte_by_byte_each_event_goes_out_when_it_ends(gateway: GatewayProcess, recording: Recording) -> None:
    """The backend does not send the byte behind an event before the client has the event: one chunk for each."""
    seen = 0

    def has_seen(events: int) -> bool:
        return seen >= events

    async def script(visit: Visit) -> None:
        for cut, byte in enumerate(recording.wire):
            assert await until(partial(has_seen, recording.events(cut)))
            visit.write(bytes([byte]))
            await asyncio.sleep(0.0005)
        if recording.framing == "until close":
            visit.end()

    async with listening(gateway.backend_port, script), connect(gateway.port) as client:
        client.write(gateway.request())
        await client.read_head()
        chunks = []
        while chunk := await client.read_chunk():
            chunks.append(chunk)
            seen += 1

    assert tuple(chunks) == EVENTS
    assert await gateway.held() == NOTHING


@FRAMINGS
async def test_in_two_pieces_cut_anywhere(gateway: GatewayProcess, recording: Recording) -> None:
    """The whole events of the first piece are at the client before the second is sent; no chunk ends within one."""
    seen: dict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def script(visit: Visit) -> None:
        cut = int(visit.case)
        visit.write(recording.wire[:cut])
        await seen[cut].wait()
        visit.write(recording.wire[cut:])
        if recording.framing == "until close":
            visit.end()

    async def ask(client: Client, cut: int) -> Answer:
        client.write(gateway.request(str(cut)))
        if cut < recording.head or recording.events(cut) == 0:
            # Nothing tells that the first piece has been read; long enough that it usually has.
            asyncio.get_running_loop().call_later(0.02, seen[cut].set)
        head, chunks = await client.read_head(), []
        while chunk := await client.read_chunk():
            chunks.append(chunk)
            if sum(map(len, chunks)) >= sum(map(len, EVENTS[: recording.events(cut)])):
                seen[cut].set()
        return Answer(status=head.status, headers=head.headers, chunks=tuple(chunks), whole=True)

    async with listening(gateway.backend_port, script):
        answers = await each(gateway, range(1, len(recording.wire)), ask=ask)
        # While the backend would go on: what is idle goes by itself.
        assert await gateway.held() == NOTHING

    assert {answer.body for answer in answers.values()} == {STREAM}
    assert [cut for cut, answer in answers.items() if not ENDS.issuperset(ends_of(answer))] == []


def ends_of(answer: Answer) -> set[int]:
    """Where in the stream its chunks end."""
    return set(accumulate(len(chunk) for chunk in answer.chunks))
