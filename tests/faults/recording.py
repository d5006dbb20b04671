"""An answer of a backend, byte by byte, and the oracle: what may a client have of its first N bytes?

The events are written down one by one, so nobody has to find out where they end; of every byte on the wire it is
written down whether it is the stream's or the framing's.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from gateway.errors import GatewayError

Framing = Literal["chunked", "sized", "until close"]

# Each ends with its blank line: LF, CRLF, or one of each. A stream is their concatenation.
EVENTS: Final = (
    b": recorded\n\n",
    'data: {"type":"thread.created","thread":{"id":"thr_1","title":"Grüße 😀"}}\n\n'.encode(),
    b'event: message\r\nid: 7\r\ndata: {"type":"thread.item.added",\r\ndata: "item":{"id":"msg_1"}}\r\n\r\n',
    'data: {"type":"thread.item.updated","delta":"日本語 \\n\\n"}\n\n'.encode(),
    b":\ndata: {\r\ndata:\ndata: }\n\r\n",
    b": comment within\r\nretry: 3000\r\n\r\n",
    b"data\n\n",
    'data: {"type":"progress_update","text":"naïve"}\r\n\n'.encode(),
    b'data: {"type":"thread.item.updated","delta":"' + "ß".encode() * 90 + b'"}\r\n\r\n',
    b'data: {"type":"thread.item.done","item":{"id":"msg_1"}}\n\n',
)
STREAM: Final = b"".join(EVENTS)

# Where an event ends; the beginning is such a place too.
ENDS: Final = frozenset(accumulate((len(event) for event in EVENTS), initial=0))

# Bytes of the chunks in turn: events are cut, whole, and together.
_CHUNKS: Final = (5, 8, 90, 1, 40, 200, 33)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One answer on the wire.

    Attributes:
        pieces: Bytes, and whether they are the stream's.
    """

    framing: Framing
    pieces: tuple[tuple[bytes, bool], ...]

    @property
    def wire(self) -> bytes:
        return b"".join(data for data, _ in self.pieces)

    @property
    def head(self) -> int:
        """Bytes of status line and headers."""
        return len(self.pieces[0][0])

    def arrived(self, cut: int) -> int:
        """How many bytes of the stream are among the first ``cut`` on the wire."""
        count = 0
        for data, is_stream in self.pieces:
            count += min(cut, len(data)) if is_stream else 0
            cut = max(0, cut - len(data))
        return count

    def events(self, cut: int) -> int:
        """How many events are whole there."""
        return sum(end <= self.arrived(cut) for end in ENDS) - 1

    def is_whole(self, cut: int) -> bool:
        """Can nobody tell that something is missing, when the connection ends in good order there?"""
        if self.framing == "until close":
            return cut >= self.head and self.arrived(cut) in ENDS
        return cut == len(self.wire)


def record(framing: Framing) -> Recording:
    """The stream, framed."""
    how = {
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "sized": b"Content-Length: %d\r\n" % len(STREAM),
        "until close": b"",
    }
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n" + how[framing] + b"\r\n"
    body = tuple(_chunks()) if framing == "chunked" else ((STREAM, True),)
    return Recording(framing=framing, pieces=((head, False), *body))


def _chunks() -> Iterator[tuple[bytes, bool]]:
    rest, turn = STREAM, 0
    while rest:
        data, rest = rest[: _CHUNKS[turn % len(_CHUNKS)]], rest[_CHUNKS[turn % len(_CHUNKS)] :]
        yield b"%x%s\r\n" % (len(data), b";a=b" if turn == 2 else b""), False
        yield data, True
        yield b"\r\n", False
        turn += 1
    yield b"0\r\n\r\n", False


RECORDINGS: Final = tuple(record(framing) for framing in ("chunked", "sized", "until close"))


def error_event(error: type[GatewayError], request_id: str) -> bytes:
    """The one event that a client is told of ``error`` by, as ChatKit writes it."""
    event = {
        "type": "error",
        "code": "custom",
        "message": f"{error.message} (request {request_id})",
        "allow_retry": True,
    }
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
