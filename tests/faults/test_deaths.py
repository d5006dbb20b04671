"""The backend dies at every byte of its answer, in good order or at once: whole events, then one word about it."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator

import pytest

from gateway.errors import BackendInterrupted
from tests.faults.backend import Visit, listening
from tests.faults.client import Answer, Client, connect
from tests.faults.crowd import each
from tests.faults.process import NOTHING, GatewayProcess, running
from tests.faults.recording import EVENTS, RECORDINGS, STREAM, Recording, error_event

FRAMINGS = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.framing)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One for all: every death has a connection to the backend of its own."""
    with running(tmp_path_factory.mktemp("deaths"), backend="keep_alive = 0.2") as process:
        yield process


def told(answer: Answer, events: int) -> bytes:
    """What a client gets that is told of a death behind so many whole events."""
    return b"".join(EVENTS[:events]) + error_event(BackendInterrupted, answer.request_id)


def allowed(recording: Recording, cut: int, answer: Answer) -> list[bytes]:
    """What a client may get of an answer that was reset there."""
    whole = [STREAM] if cut == len(recording.wire) and recording.framing != "until close" else []
    return whole + [told(answer, events) for events in range(recording.events(cut) + 1)]


def check_streams(answers: dict[int, Answer]) -> None:
    heads = {(answer.status, answer.headers["content-type"], answer.whole) for answer in answers.values()}
    assert heads == {(200, "text/event-stream", True)}


@FRAMINGS
async def test_an_orderly_death_at_any_byte(gateway: GatewayProcess, recording: Recording) -> None:
    """Every whole event that had arrived, byte for byte, one error event unless nothing can be missing, a clean end."""

    async def script(visit: Visit) -> None:
        visit.write(recording.wire[: int(visit.case)])
        visit.end()

    async with listening(gateway.backend_port, script) as backend:
        answers = await each(gateway, range(len(recording.wire) + 1))

    expected = {
        cut: STREAM[: recording.arrived(cut)] if recording.is_whole(cut) else told(answer, recording.events(cut))
        for cut, answer in answers.items()
    }
    check_streams(answers)
    assert {cut: answer.body for cut, answer in answers.items()} == expected
    assert backend.requests == len(answers)
    assert await gateway.held() == NOTHING


@FRAMINGS
async def test_a_reset_at_any_byte(gateway: GatewayProcess, recording: Recording) -> None:
    """The same; the reset may overtake what was sent before it, but a part of an event never comes out.

    Without framing a reset is never taken for the end, not even behind the last byte.
    """

    async def script(visit: Visit) -> None:
        visit.write(recording.wire[: int(visit.case)])
        visit.reset()

    async with listening(gateway.backend_port, script) as backend:
        answers = await each(gateway, range(len(recording.wire) + 1))

    wrong = {cut: answer.body for cut, answer in answers.items() if answer.body not in allowed(recording, cut, answer)}
    check_streams(answers)
    assert wrong == {}
    assert backend.requests == len(answers)
    assert await gateway.held() == NOTHING


@FRAMINGS
async def test_a_reset_once_the_events_are_there(gateway: GatewayProcess, recording: Recording) -> None:
    """The backend waits until its whole events are at the client, and resets: exactly these, and the word about it."""
    seen: dict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def script(visit: Visit) -> None:
        cut = int(visit.case)
        visit.write(recording.wire[:cut])
        if cut >= recording.head:
            await seen[cut].wait()
        visit.reset()

    async def ask(client: Client, cut: int) -> Answer:
        client.write(gateway.request(str(cut)))
        head, chunks = await client.read_head(), []
        missing = sum(map(len, EVENTS[: recording.events(cut)]))
        while missing > 0:
            chunks.append(await client.read_chunk())
            missing -= len(chunks[-1])
        seen[cut].set()
        rest, whole = await client.read_chunks()
        return Answer(status=head.status, headers=head.headers, chunks=(*chunks, *rest), whole=whole)

    async with listening(gateway.backend_port, script):
        answers = await each(gateway, range(len(recording.wire)), ask=ask)

    check_streams(answers)
    assert {cut: answer.body for cut, answer in answers.items()} == {
        cut: told(answer, recording.events(cut)) for cut, answer in answers.items()
    }
    assert await gateway.held() == NOTHING


@pytest.mark.parametrize("framing", ["chunked", "sized"])
async def test_a_death_in_an_answer_of_one_piece_is_a_problem_or_shows(gateway: GatewayProcess, framing: str) -> None:
    """Before the head is whole a problem; behind it an answer that lacks its end. A part never passes for the whole."""
    body = json.dumps({"data": ["Grüße 😀"] * 4, "has_more": False}).encode()
    fields = b"Content-Length: %d" % len(body) if framing == "sized" else b"Transfer-Encoding: chunked"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%s\r\n\r\n" % fields
    framed = (
        body if framing == "sized" else b"10\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (body[:16], len(body) - 16, body[16:])
    )
    wire = head + framed

    async def script(visit: Visit) -> None:
        visit.write(wire[: int(visit.case)])
        visit.end()

    async def fetch(cut: int) -> tuple[int, str, bool]:
        async with connect(gateway.port) as client:
            client.write(gateway.request(str(cut), operation="threads.list"))
            answer = await client.read_answer()
        if answer.status == 200:
            return 200, "", answer.whole and answer.body == body
        return answer.status, answer.json()["code"], answer.whole

    async with listening(gateway.backend_port, script):
        outcomes = [await fetch(cut) for cut in range(len(wire) + 1)]

    assert outcomes == [
        *[(502, "backend_interrupted", True)] * len(head),
        *[(200, "", False)] * len(framed),
        (200, "", True),
    ]
    assert await gateway.held() == NOTHING
