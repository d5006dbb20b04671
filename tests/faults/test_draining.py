"""The gateway's end, with five hundred streams open: who can finish does, who cannot is told, and nobody is cut."""

import asyncio
import signal
from pathlib import Path

from gateway.errors import Draining
from tests.faults.backend import Visit, listening, until, until_still
from tests.faults.client import Answer, connect
from tests.faults.process import PATIENCE, GatewayProcess, serving
from tests.faults.recording import error_event

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"type":"progress_update","text":"1"}\n\n'
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
END = b"0\r\n\r\n"

# What a stream does, by its case: the backend finishes it, or has got so far and stays there.
SENT = {"soon": HEAD + CHUNK, "late": HEAD + CHUNK, "mute": b"", "begun": HEAD, "idle": HEAD + CHUNK, "torn": HEAD}
SENT["torn"] += CHUNK + b'9\r\ndata: {"t\r\n'
FINISHED = EVENT + EVENT
UNFINISHED = {"mute": b"", "begun": b"", "idle": EVENT, "torn": EVENT}


async def stream(gateway: GatewayProcess, case: str) -> Answer:
    async with connect(gateway.port) as client:
        return await client.ask(gateway.request(case))


async def readiness(port: int) -> int:
    """The status of `/readyz` for somebody new; 0 if nobody listens any more."""
    try:
        async with connect(port) as client:
            return (await client.ask(b"GET /readyz HTTP/1.1\r\nHost: gateway\r\n\r\n")).status
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0


async def await_readiness(port: int, status: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await readiness(port) != status:  # noqa: ASYNC110  # only asking tells
            await asyncio.sleep(0.02)


async def test_five_hundred_streams_are_finished_or_told(tmp_path: Path) -> None:
    """First not ready and still serving, then closed to new ones; at the deadline one error event and a clean end."""
    finish = {"soon": asyncio.Event(), "late": asyncio.Event()}

    async def script(visit: Visit) -> None:
        visit.write(SENT[visit.case])
        if visit.case in finish:
            await finish[visit.case].wait()
            visit.write(CHUNK + END)
        else:
            await visit.gone()

    with serving(tmp_path, server="drain_delay = 2\ndrain_timeout = 2") as gateway:
        async with listening(gateway.backend_port, script) as backend:
            cases = [case for case in SENT for _ in range(83)] + ["idle", "idle"]
            answers = [asyncio.create_task(stream(gateway, case)) for case in cases]
            assert await until(lambda: backend.requests == len(cases) == 500)

            gateway.process.send_signal(signal.SIGTERM)
            await await_readiness(gateway.port, 503)
            cases.append("soon")
            answers.append(asyncio.create_task(stream(gateway, "soon")))
            finish["soon"].set()
            await await_readiness(gateway.port, 0)
            finish["late"].set()
            outcomes = await asyncio.gather(*answers)
            assert await until(lambda: gateway.process.poll() is not None)

    expected = [
        (FINISHED if case in finish else UNFINISHED[case] + error_event(Draining, answer.request_id))
        for case, answer in zip(cases, outcomes, strict=True)
    ]
    assert [answer.body for answer in outcomes] == expected
    assert {(answer.status, answer.whole) for answer in outcomes} == {(200, True)}
    assert gateway.process.returncode == 0


async def test_a_second_signal_ends_streams_at_once(tmp_path: Path) -> None:
    """With minutes to go: a hundred streams get their error event and a clean end, and the process ends with 0.

    One client does not read, and holds up nothing.
    """
    poured = 0

    async def script(visit: Visit) -> None:
        nonlocal poured
        visit.write(SENT.get(visit.case, HEAD))
        while visit.case == "stuck":
            await visit.pour(CHUNK * 1000)
            poured += 1
        await visit.gone()

    with serving(tmp_path, server="drain_delay = 300\ndrain_timeout = 300") as gateway:
        async with (
            listening(gateway.backend_port, script) as backend,
            connect(gateway.port, receive_buffer=4096) as stuck,
        ):
            stuck.write(gateway.request("stuck"))
            assert await until_still(lambda: poured)
            cases = [case for case in UNFINISHED for _ in range(25)]
            answers = [asyncio.create_task(stream(gateway, case)) for case in cases]
            assert await until(lambda: backend.requests == len(cases) + 1)

            gateway.process.send_signal(signal.SIGTERM)
            await await_readiness(gateway.port, 503)
            gateway.process.send_signal(signal.SIGTERM)
            outcomes = await asyncio.gather(*answers)
            assert await until(lambda: gateway.process.poll() is not None)

    assert [answer.body for answer in outcomes] == [
        UNFINISHED[case] + error_event(Draining, answer.request_id)
        for case, answer in zip(cases, outcomes, strict=True)
    ]
    assert {(answer.status, answer.whole) for answer in outcomes} == {(200, True)}
    assert gateway.process.returncode == 0
