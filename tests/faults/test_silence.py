"""The backend falls silent at every byte: heartbeats between events and nowhere else, and in the end one word about it.

Heartbeats may come at any place between events, for a busy machine is silent where nobody meant to be.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from gateway.errors import BackendTimeout
from tests.faults.backend import Visit, listening
from tests.faults.client import Answer, Client, connect
from tests.faults.crowd import each
from tests.faults.process import NOTHING, GatewayProcess, running
from tests.faults.recording import EVENTS, RECORDINGS, error_event

HEARTBEAT = b":\n"
RECORDING = RECORDINGS[0]

# Longer than what the gateway holds back of an event: it flows as it comes.
TAIL = 1024
LONG_EVENT = b"data: " + b"a" * 3 * TAIL + b"\r\n\r\n"
LONG_STREAM = EVENTS[0] + LONG_EVENT + EVENTS[1]
LONG_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(LONG_STREAM)
IN_LONG_EVENT = range(len(EVENTS[0]) + TAIL + 1, len(EVENTS[0]) + len(LONG_EVENT), 101)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """It waits for a backend as long as it takes."""
    folder = tmp_path_factory.mktemp("patient")
    with running(folder, backend="keep_alive = 0.2", route=f"heartbeat = 0.05\nmax_event_tail = {TAIL}") as process:
        yield process


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A silence of a second is too long for it: what a backend that means to speak never needs."""
    folder = tmp_path_factory.mktemp("hasty")
    times = "keep_alive = 0.2\nfirst_byte_timeout = 1\nidle_timeout = 1"
    with running(folder, backend=times, route=f"heartbeat = 0.25\nmax_event_tail = {TAIL}") as process:
        yield process


def with_heartbeats(*events: bytes) -> re.Pattern[bytes]:
    """These, with heartbeats between them, before and behind."""
    beats = b"(?:%s)*" % HEARTBEAT
    return re.compile(beats + b"".join(re.escape(event) + beats for event in events))


async def test_a_silence_at_any_byte_is_filled_with_heartbeats(patient: GatewayProcess) -> None:
    """The backend goes on when the client has had a heartbeat; every byte arrives, none of them within an event."""
    beaten: dict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def script(visit: Visit) -> None:
        cut = int(visit.case)
        visit.write(RECORDING.wire[:cut])
        await beaten[cut].wait()
        visit.write(RECORDING.wire[cut:])

    async def ask(client: Client, cut: int) -> Answer:
        client.write(patient.request(str(cut)))
        head, chunks = await client.read_head(), []
        missing = sum(map(len, EVENTS[: RECORDING.events(cut)]))
        while chunk := await client.read_chunk():
            chunks.append(chunk)
            missing -= len(chunk) if chunk != HEARTBEAT else 0
            if chunk == HEARTBEAT and missing <= 0:
                beaten[cut].set()
        return Answer(status=head.status, headers=head.headers, chunks=tuple(chunks), whole=True)

    async with listening(patient.backend_port, script):
        answers = await each(patient, range(len(RECORDING.wire)), ask=ask, clients=100)

    pattern = with_heartbeats(*EVENTS)
    assert {cut: answer.body for cut, answer in answers.items() if not pattern.fullmatch(answer.body)} == {}
    assert await patient.held() == NOTHING


async def test_a_silence_at_any_byte_that_is_too_long_is_an_error_event(hasty: GatewayProcess) -> None:
    """Before the head, within an event or between two: the whole events, a heartbeat at least, one error, the end."""

    async def script(visit: Visit) -> None:
        visit.write(RECORDING.wire[: int(visit.case)])
        await visit.gone()

    async with listening(hasty.backend_port, script):
        answers = await each(hasty, range(len(RECORDING.wire)), clients=280)

    wrong = {}
    for cut, answer in answers.items():
        error = error_event(BackendTimeout, answer.request_id)
        pattern = with_heartbeats(*EVENTS[: RECORDING.events(cut)])
        body = answer.body.removesuffix(error)
        if body == answer.body or not body.endswith(HEARTBEAT) or not pattern.fullmatch(body):
            wrong[cut] = answer.body
    assert {(answer.status, answer.headers["content-type"], answer.whole) for answer in answers.values()} == {
        (200, "text/event-stream", True)
    }
    assert wrong == {}
    assert await hasty.held() == NOTHING


async def test_in_an_event_that_flows_there_are_no_heartbeats(patient: GatewayProcess) -> None:
    """What is longer than max_event_tail is out in part when the silence begins: nothing may come before its end."""

    async def script(visit: Visit) -> None:
        visit.write(LONG_HEAD + LONG_STREAM[: int(visit.case)])
        await asyncio.sleep(0.3)
        visit.write(LONG_STREAM[int(visit.case) :])

    async with listening(patient.backend_port, script):
        answers = await each(patient, IN_LONG_EVENT)

    pattern = with_heartbeats(EVENTS[0], LONG_EVENT, EVENTS[1])
    assert {cut: answer.body for cut, answer in answers.items() if not pattern.fullmatch(answer.body)} == {}
    assert await patient.held() == NOTHING


@pytest.mark.parametrize("is_dead", [False, True], ids=["silent", "dead"])
async def test_an_event_that_flows_and_stops_is_left_unfinished(hasty: GatewayProcess, is_dead: bool) -> None:
    """An error event within it could not be read: the answer lacks its end instead, so that nobody takes it for whole.

    The connection is closed, and the backend's too.
    """

    async def script(visit: Visit) -> None:
        visit.write(LONG_HEAD + LONG_STREAM[: int(visit.case)])
        if is_dead:
            visit.end()
        else:
            await visit.gone()

    async def fetch(cut: int) -> Answer:
        async with connect(hasty.port) as client:
            answer = await client.ask(hasty.request(str(cut)))
            await client.gone()
            return answer

    async with listening(hasty.backend_port, script):
        answers = dict(zip(IN_LONG_EVENT, await asyncio.gather(*map(fetch, IN_LONG_EVENT)), strict=True))

    wrong = {}
    for cut, answer in answers.items():
        pattern = with_heartbeats(EVENTS[0], LONG_STREAM[len(EVENTS[0]) : cut])
        if answer.whole or answer.body.endswith(HEARTBEAT) or not pattern.fullmatch(answer.body):
            wrong[cut] = answer
    assert wrong == {}
    assert await hasty.held() == NOTHING


async def test_a_silence_before_an_answer_in_one_piece_is_a_problem(hasty: GatewayProcess) -> None:
    """Nothing is made up to fill it: a client of a JSON operation gets a 504 that it can read."""

    async def script(visit: Visit) -> None:
        await visit.gone()

    async with listening(hasty.backend_port, script), connect(hasty.port) as client:
        answer = await client.ask(hasty.request(operation="threads.list"))

    assert (answer.status, answer.json()["code"]) == (504, "backend_timeout")
    assert await hasty.held() == NOTHING
