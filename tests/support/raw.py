"""A client without manners: bytes out over a plain socket, bytes in until the other side closes."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Seconds. A server that neither answers nor closes fails the test instead of hanging it.
TIMEOUT = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """One answer off the wire: status, headers by lower-case name (the last one), body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._held = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read_until(self, mark: bytes) -> bytes:
        """What comes up to and with ``mark``."""
        while mark not in self._held:
            self._held += self._receive()
        head, _, self._held = self._held.partition(mark)
        return head + mark

    def read_answer(self) -> RawAnswer:
        """One whole answer, by its Content-Length or its chunks."""
        head = self.read_until(b"\r\n\r\n").decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body = self._read_chunks()
        else:
            body = self._read_exactly(int(headers["content-length"]))
        return RawAnswer(status=int(status_line.split()[1]), headers=headers, body=body)

    def read_to_end(self) -> bytes:
        """Everything until the server closes; a reset counts as a close."""
        while True:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                rest, self._held = self._held, b""
                return rest
            self._held += data

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.read_until(b"\r\n"), 16):
            body += self._read_exactly(size)
            self._read_exactly(2)
        self._read_exactly(2)
        return body

    def _read_exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._held += self._receive()
        data, self._held = self._held[:size], self._held[size:]
        return data

    def _receive(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(f"closed after {self._held!r:.200}")
        return data


@contextmanager
def connected(port: int, *, receive_buffer: int | None = None) -> Iterator[RawClient]:
    """A connection to 127.0.0.1; a small ``receive_buffer`` (bytes) makes a client that soon takes nothing more."""
    with socket.socket() as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(TIMEOUT)
        sock.connect(("127.0.0.1", port))
        yield RawClient(sock)


def request(target: str = "/echo", *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    """A plain request with one Host; a body brings its Content-Length."""
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", *headers, *length]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def read_rest(sock: socket.socket) -> bytes:
    """All that comes until the other side closes; for a socket that does not block."""
    data = b""
    async with asyncio.timeout(TIMEOUT):
        while piece := await asyncio.get_running_loop().sock_recv(sock, 65536):
            data += piece
    return data
