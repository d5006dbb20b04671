"""A backend that does exactly what a test tells it, byte by byte, on a real socket."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Exchange:
    """One request as it arrived, and the means to answer it."""

    head: bytes
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *pieces: bytes) -> None:
        """Write each piece and let it go out by itself."""
        for piece in pieces:
            if self.writer.is_closing():
                raise ConnectionResetError("the other side has gone")  # uvloop raises a RuntimeError of its own
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.002)

    async def start_stream(self) -> None:
        await self.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    async def send_chunk(self, data: bytes) -> None:
        """One HTTP chunk; an empty one ends the answer."""
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self) -> None:
        """Close with a TCP reset instead of an orderly end."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Exchange], Awaitable[None]]


@dataclass(slots=True)
class ScriptedBackend:
    """Runs a script for every request.

    Attributes:
        exchanges: What arrived, in order.
        connections: Sockets accepted so far.
        open: Sockets open now.
    """

    script: Script
    port: int = 0
    read_bodies: bool = True
    exchanges: list[Exchange] = field(default_factory=list)
    connections: int = 0
    open: int = 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while not writer.is_closing():
                exchange = await _read_request(reader, writer, read_body=self.read_bodies)
                self.exchanges.append(exchange)
                await self.script(exchange)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side has gone, or the test is over
        finally:
            self.open -= 1
            writer.close()


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, read_body: bool) -> Exchange:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return Exchange(head, await reader.readexactly(length if read_body else 0), reader, writer)


@contextlib.asynccontextmanager
async def scripted_backend(
    script: Script, *, path: str | None = None, tls: ssl.SSLContext | None = None, read_bodies: bool = True
) -> AsyncIterator[ScriptedBackend]:
    """Listen on a free port of 127.0.0.1, with TLS if given, or on the Unix socket ``path``.

    With ``read_bodies`` False the script reads a request's body itself, from the exchange's reader.
    """
    backend = ScriptedBackend(script, read_bodies=read_bodies)
    if path is not None:
        server = await asyncio.start_unix_server(backend._accept, path)
    else:
        server = await asyncio.start_server(backend._accept, "127.0.0.1", 0, ssl=tls)
        backend.port = server.sockets[0].getsockname()[1]
    try:
        yield backend
    finally:
        server.close()
        for exchange in backend.exchanges:
            exchange.writer.close()


def json_answer(body: bytes = b"{}", *, status: bytes = b"200 OK", headers: bytes = b"") -> Script:
    """A script that answers every request with this JSON."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n%s"
            % (status, len(body), headers, body)
        )

    return script
