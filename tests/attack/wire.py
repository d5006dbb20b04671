"""Bytes out over a plain socket, answers in: as rude as an attack needs it.

Knows HTTP answers just well enough to tell where one ends; requests are whatever bytes the row made.
"""

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Seconds. Longer than any row may take, so that silence is seen as silence.
PATIENCE = 4.0
# Seconds between the pieces of a request that is sent in pieces.
PAUSE = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: names in lower case, repeats kept."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def one(self, name: str) -> str | None:
        """The header's value; a repeated one fails the row."""
        values = self.all(name)
        assert len(values) < 2, f"{len(values)} {name} headers"
        return values[0] if values else None

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came back on one connection; ``seconds`` until the first whole answer, or until the end."""

    raw: bytes
    answers: tuple[Answer, ...]
    closed: bool
    seconds: float


def exchange(port: int, request: bytes | Sequence[bytes], *, to_end: bool = False, patience: float = PATIENCE) -> Seen:
    """Send ``request`` on a connection of its own and read one answer, or with ``to_end`` until the other side closes.

    Args:
        request: One piece, or several that are sent one by one.
        patience: Seconds to wait for the next byte.
    """
    pieces = [request] if isinstance(request, bytes) else request
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _send(sock, pieces)
        return _read(sock, to_end=to_end)


def _send(sock: socket.socket, pieces: Sequence[bytes]) -> None:
    try:
        for piece in pieces:
            sock.sendall(piece)
            if len(pieces) > 1:
                time.sleep(PAUSE)
    except OSError:
        pass  # closed on us in the middle: the answer may be there all the same


def _read(sock: socket.socket, *, to_end: bool) -> Seen:
    begun = time.monotonic()
    raw, closed, seconds = b"", False, None
    while not closed:
        answers = split_answers(raw, closed=False)
        if answers and seconds is None:
            seconds = time.monotonic() - begun
        if answers and not to_end:
            break
        try:
            data = sock.recv(65536)
        except ConnectionError:
            data = b""
        except TimeoutError:
            break
        raw += data
        closed = not data
    answers = split_answers(raw, closed=closed)
    return Seen(
        raw=raw, answers=answers, closed=closed, seconds=time.monotonic() - begun if seconds is None else seconds
    )


def split_answers(raw: bytes, *, closed: bool) -> tuple[Answer, ...]:
    """The whole answers at the beginning of ``raw``; interim ones (1xx but 101) are skipped."""
    answers = []
    while b"\r\n\r\n" in raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        status = int(status_line.split()[1])
        headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        body, raw, whole = _take_body(status, dict(headers), rest, closed=closed)
        if not whole:
            break
        if status >= 200 or status == 101:
            answers.append(Answer(status=status, headers=headers, body=body))
    return tuple(answers)


def _take_body(status: int, headers: dict[str, str], rest: bytes, *, closed: bool) -> tuple[bytes, bytes, bool]:
    """The body, what follows it, and whether it is all there."""
    if status < 200 or status in (204, 304):
        return b"", rest, True
    if headers.get("transfer-encoding") == "chunked":
        return _take_chunks(rest)
    if "content-length" in headers:
        length = int(headers["content-length"])
        return rest[:length], rest[length:], len(rest) >= length
    return rest, b"", closed


def _take_chunks(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while b"\r\n" in rest:
        size_line, _, after = rest.partition(b"\r\n")
        size = int(size_line, 16)
        if len(after) < size + 2:
            break
        body, rest = body + after[:size], after[size + 2 :]
        if size == 0:
            return body, rest, True
    return body, rest, False
