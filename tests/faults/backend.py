"""The gateway's backend: it reads whole requests, and what it does then is the test's."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from tests.faults.client import set_linger
from tests.faults.process import PATIENCE


class Visit:
    """One request as it came, and the bare connection to answer on.

    Attributes:
        case: What the test's request has in its query.
    """

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.reader = reader
        self.writer = writer
        self.case = head.partition(b" HTTP/1.1\r\n")[0].partition(b"?")[2].decode()

    def write(self, data: bytes) -> None:
        """Raises ConnectionError if the gateway has gone."""
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)

    def end(self) -> None:
        """Die in good order: what was written arrives, then the end."""
        self.writer.close()

    def reset(self) -> None:
        """Die at once."""
        set_linger(self.writer)
        self.writer.transport.abort()

    async def pour(self, data: bytes) -> None:
        """Write, and wait while the gateway does not keep up."""
        self.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the gateway has closed."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Visit], Awaitable[None]]


class Backend:
    """Runs a script for every request.

    Attributes:
        requests: Arrived so far.
        connections: Accepted so far.
        open: Of these, those that stand.
    """

    def __init__(self, script: Script, *, read_bodies: bool = True) -> None:
        self._script = script
        self._read_bodies = read_bodies
        self._writers: set[asyncio.StreamWriter] = set()
        self.requests = self.connections = 0

    @property
    def open(self) -> int:
        return len(self._writers)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while not writer.is_closing():
                visit = await self._read(reader, writer)
                self.requests += 1
                await self._script(visit)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the gateway has gone, or the test is over
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Visit:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
        if self._read_bodies and length is not None:
            await reader.readexactly(int(length[1]))
        return Visit(head, reader, writer)

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def listening(port: int, script: Script, *, read_bodies: bool = True) -> AsyncIterator[Backend]:
    """A backend on 127.0.0.1; with ``read_bodies`` False it has read nothing but the head when its script runs."""
    backend = Backend(script, read_bodies=read_bodies)
    server = await asyncio.start_server(backend.accept, "127.0.0.1", port, backlog=1024)
    try:
        yield backend
    finally:
        server.close()
        backend.close()


async def happened(event: asyncio.Event) -> None:
    """Wait for it, and fail if it takes too long."""
    async with asyncio.timeout(PATIENCE):
        await event.wait()


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Did it become true in time?"""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110  # sockets and processes have no event
        await asyncio.sleep(0.002)
    return condition()


async def until_still(count: Callable[[], int]) -> bool:
    """Has it grown, and then not for a second, in time?"""
    deadline = time.monotonic() + PATIENCE
    before, since = 0, deadline
    while time.monotonic() < min(since + 1, deadline):
        if count() != before:
            before, since = count(), time.monotonic()
        await asyncio.sleep(0.05)
    return since < deadline and count() == before
