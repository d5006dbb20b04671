"""A rolling restart: two gateways behind a balancer that asks `/readyz`, two hundred people who talk all the time."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.errors import Draining
from tests.faults.backend import Visit, listening, until
from tests.faults.client import Answer, connect
from tests.faults.process import GatewayProcess, serving
from tests.faults.recording import error_event
from tests.faults.test_draining import await_readiness, readiness
from tests.support.issuer import Issuer, signing_key

# Seconds between two probes of the balancer; a gateway goes on accepting for longer than two of them.
PROBE = 0.1
TIMES = "drain_delay = 1\ndrain_timeout = 2"

EVENT = b'data: {"type":"progress_update","text":"1"}\n\n'
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
# How long a stream speaks, in events a tenth of a second apart: most end by themselves, some outlast every drain.
LENGTHS = {"short": 5, "long": 10_000}
SHORT, LONG = 180, 20


class Balancer:
    """New connections go to whoever is ready, in turn; bytes go through as they come.

    Attributes:
        gateways: Ports, with whether the last probe found them ready.
    """

    def __init__(self) -> None:
        self.port = 0
        self.gateways: dict[int, bool] = {}
        self._turn = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ready = [port for port, is_ready in self.gateways.items() if is_ready]
        self._turn += 1
        with contextlib.suppress(ConnectionError):
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", ready[self._turn % len(ready)])
            await asyncio.gather(self._pass(reader, inner_writer), self._pass(inner_reader, writer))

    async def probe(self) -> None:
        while True:
            for port in list(self.gateways):
                self.gateways[port] = await readiness(port) == 200
            await asyncio.sleep(PROBE)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def balancer() -> AsyncIterator[Balancer]:
    balancing = Balancer()
    server = await asyncio.start_server(balancing.accept, "127.0.0.1", 0, backlog=512)
    balancing.port = server.sockets[0].getsockname()[1]
    probing = asyncio.create_task(balancing.probe())
    try:
        yield balancing
    finally:
        probing.cancel()
        server.close()


async def speak(visit: Visit) -> None:
    visit.write(HEAD)
    for _ in range(LENGTHS[visit.case]):
        visit.write(CHUNK)
        await asyncio.sleep(0.1)
    visit.write(b"0\r\n\r\n")


async def talk(port: int, gateway: GatewayProcess, case: str, over: asyncio.Event, answers: list[Answer]) -> None:
    """One stream after the other, each on a connection of its own, until the restart is over."""
    while not over.is_set():
        async with connect(port) as client:
            answers.append(await client.ask(gateway.request(case)))


def is_told(answer: Answer, case: str) -> bool:
    """Did it end by itself, or with the event that says why?"""
    if not answer.whole or answer.status != 200:
        return False
    finished = answer.body == EVENT * LENGTHS[case]
    return finished or answer.body.removesuffix(error_event(Draining, answer.request_id)).replace(EVENT, b"") == b""


async def test_nobody_is_cut_unannounced(tmp_path: Path) -> None:
    """One gateway after the other is replaced; new streams always find one, old ones finish or are told."""
    folders = [tmp_path / name for name in ("first", "second", "third", "fourth")]
    for folder in folders:
        folder.mkdir()
    answers: dict[str, list[Answer]] = {case: [] for case in LENGTHS}
    over = asyncio.Event()
    issuer = Issuer(keys=[signing_key("ES256", kid="k1")])
    async with contextlib.AsyncExitStack() as stack, balancer() as balancing:

        async def start(folder: Path) -> GatewayProcess:
            """A gateway whose backend is there before anybody is sent to it."""
            gateway = await asyncio.to_thread(stack.enter_context, serving(folder, server=TIMES, issuer=issuer))
            await stack.enter_async_context(listening(gateway.backend_port, speak))
            await await_readiness(gateway.port, 200)
            balancing.gateways[gateway.port] = True
            return gateway

        old = [await start(folder) for folder in folders[:2]]
        people = [
            asyncio.create_task(talk(balancing.port, old[0], case, over, answers[case]))
            for case in ["short"] * SHORT + ["long"] * LONG
        ]
        assert await until(lambda: len(answers["short"]) > SHORT)
        for gateway, folder in zip(old, folders[2:], strict=True):
            await start(folder)
            gateway.process.send_signal(signal.SIGTERM)
            assert await until(lambda gateway=gateway: gateway.process.poll() is not None)  # type: ignore[misc]
            del balancing.gateways[gateway.port]
        over.set()
        # Whoever is in a long one now is in nobody's way: it is the new gateways' streams that go on.
        await asyncio.wait(people[:SHORT])
        for person in people[SHORT:]:
            person.cancel()
        await asyncio.wait(people)

    assert [gateway.process.returncode for gateway in old] == [0, 0]
    cut = [answer for case in LENGTHS for answer in answers[case] if not is_told(answer, case)]
    assert cut == []
    assert [person.exception() for person in people if not person.cancelled()] == [None] * SHORT
    assert len(answers["long"]) >= LONG
    assert len(answers["short"]) > 5 * SHORT
