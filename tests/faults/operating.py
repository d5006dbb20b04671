"""A gateway under an operator's hands: a backend that finishes its streams when told, a load that notices every fault,
and the log as the operator reads it."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.faults.backend import Backend, Visit, listening, until
from tests.faults.client import Client, connect
from tests.faults.process import GatewayProcess

EVENT = b'data: {"type":"progress_update","text":"1"}\n\n'
_CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Script:
    """Answers JSON with its own name, and begins streams, which end when it is told."""

    def __init__(self, name: str) -> None:
        self.finish = asyncio.Event()
        self.held = 0
        body = json.dumps({"from": name}).encode()
        self._json = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            len(body),
            body,
        )

    async def __call__(self, visit: Visit) -> None:
        if visit.case == "json":
            visit.write(self._json)
            return
        visit.write(_HEAD + _CHUNK)
        self.held += 1
        await self.finish.wait()
        visit.write(_CHUNK + b"0\r\n\r\n")


@contextlib.asynccontextmanager
async def scripted(port: int, name: str) -> AsyncIterator[tuple[Script, Backend]]:
    script = Script(name)
    async with listening(port, script) as backend:
        yield script, backend


class Load:
    """Clients that ask one JSON request after the other until they are told to stop.

    Attributes:
        answers: How often each backend answered.
        faults: Whatever was no good answer.
    """

    def __init__(self, gateway: GatewayProcess, *, clients: int = 8) -> None:
        self.answers: Counter[str] = Counter()
        self.faults: list[object] = []
        self._request = gateway.request("json", operation="threads.list")
        self._port = gateway.port
        self._stop = asyncio.Event()
        self._clients = clients

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _work(self) -> None:
        while not self._stop.is_set():
            try:
                async with connect(self._port) as client:
                    # A connection for some requests, then a new one: both kinds meet what happens meanwhile.
                    for _ in range(20):
                        answer = await client.ask(self._request)
                        if answer.status != 200 or not answer.whole:
                            self.faults.append(answer)
                            return
                        self.answers[answer.json()["from"]] += 1
                        await asyncio.sleep(0.002)
            except (ConnectionError, asyncio.IncompleteReadError) as exc:
                self.faults.append(exc)


@contextlib.asynccontextmanager
async def open_streams(gateway: GatewayProcess, count: int) -> AsyncIterator[list[Client]]:
    """So many clients, each with the head of its stream."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(gateway.port)) for _ in range(count)]
        for client in clients:
            client.write(gateway.request("stream"))
            await client.read_head()
        yield clients


def log_lines(path: Path, event: str) -> list[dict[str, Any]]:
    """What the gateway said of this event, so far."""
    lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("}\n")]
    return [line for line in lines if line["event"] == event]


async def said(gateway: GatewayProcess, event: str, times: int = 1) -> dict[str, Any]:
    """The last of so many lines of this event, once they are there."""
    assert await until(lambda: len(log_lines(gateway.log, event)) >= times), gateway.log.read_text()
    return log_lines(gateway.log, event)[-1]
