"""The gateway's client: whole bytes out, chunks in one by one, and every way to leave."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

# Seconds. A gateway that neither answers nor closes fails the test instead of hanging it.
TIMEOUT = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Status and headers, names in lower case."""

    status: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer.

    Attributes:
        chunks: As the gateway framed them; a body with a length is one.
        whole: The framing said that this is all; otherwise the connection ended before.
    """

    status: int
    headers: dict[str, str]
    chunks: tuple[bytes, ...]
    whole: bool

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def read_head(self) -> Head:
        async with asyncio.timeout(TIMEOUT):
            head = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Head(status=int(status_line.split()[1]), headers=headers)

    async def read_chunk(self) -> bytes:
        """The next chunk's data; ``b""`` is the end.

        Raises:
            asyncio.IncompleteReadError, ConnectionError: The connection ended instead.
        """
        async with asyncio.timeout(TIMEOUT):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    async def read_answer(self) -> Answer:
        head = await self.read_head()
        if "content-length" in head.headers:
            chunks, whole = await self.read_sized(int(head.headers["content-length"]))
        else:
            chunks, whole = await self.read_chunks()
        return Answer(status=head.status, headers=head.headers, chunks=chunks, whole=whole)

    async def read_chunks(self) -> tuple[tuple[bytes, ...], bool]:
        """The chunks until the end, and whether there was one."""
        chunks = []
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(TIMEOUT):
                while chunk := await self.read_chunk():
                    chunks.append(chunk)
            return tuple(chunks), True
        return tuple(chunks), False

    async def read_sized(self, size: int) -> tuple[tuple[bytes, ...], bool]:
        """A body of ``size`` bytes, and whether all of it came."""
        try:
            async with asyncio.timeout(TIMEOUT):
                return (await self.reader.readexactly(size),), True
        except asyncio.IncompleteReadError as exc:
            return (exc.partial,), False

    async def ask(self, request: bytes) -> Answer:
        self.write(request)
        return await self.read_answer()

    async def gone(self) -> None:
        """Wait until the gateway has closed."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(TIMEOUT):
                while await self.reader.read(65536):
                    pass

    def close(self) -> None:
        """In good order, as far as what has not been read allows."""
        self.writer.transport.abort()

    def reset(self) -> None:
        set_linger(self.writer)
        self.writer.transport.abort()

    def half_close(self) -> None:
        """Say that nothing more will come, and stay."""
        self.writer.write_eof()


def set_linger(writer: asyncio.StreamWriter) -> None:
    """From now on a close is a TCP reset."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.asynccontextmanager
async def connect(port: int, *, receive_buffer: int | None = None) -> AsyncIterator[Client]:
    """A connection to 127.0.0.1, closed at the end.

    Args:
        receive_buffer: Bytes of the kernel's; with a small one, and a small limit of ours, a client that does not read
            takes hardly anything.
    """
    sock = socket.socket()
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=receive_buffer or 2**20)
    except BaseException:
        sock.close()
        raise
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
