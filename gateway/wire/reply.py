"""The client's side of one answer: head, pieces, end.

Rules: every answer carries the request's own headers (cross-origin permission); of the backend's headers only what
`headers.select_answer_headers` lets through; a stream says that nobody on the way may collect or change it.
"""

from collections.abc import Awaitable

from gateway.wire.answers import STREAM_HEADERS
from gateway.wire.asgi import BODY_FOLLOWS, DONE, Headers, Send
from gateway.wire.headers import keep_private, select_answer_headers

# Whatever an opaque route hands out runs nowhere: it is served from the gateway's origin, next to the user's cookie.
INERT: Headers = [(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"sandbox; default-src 'none'")]

# Of a stream these are ours: its length is not known, and its caching is settled.
_SET_ON_STREAMS = frozenset({b"content-type", b"content-length", b"cache-control", b"x-accel-buffering", b"etag"})


class ClientReply:
    """Sends one answer over ASGI.

    Args:
        send: The request's.
        headers: Go on this answer whatever it is: `Vary`, beside the backend's, and others that no backend may send.
        fixed: Take the place of the backend's of these names.
    """

    __slots__ = ("_fixed", "_headers", "_send")

    def __init__(self, send: Send, headers: Headers, fixed: Headers | None = None) -> None:
        self._send = send
        self._headers = headers
        self._fixed = fixed

    def start(self, status: int, headers: Headers) -> Awaitable[None]:
        """The head of an answer in one piece. What one user may see no shared cache may keep."""
        return self._send(
            {"type": "http.response.start", "status": status, "headers": self._one_piece(status, headers)}
        )

    def answer(self, status: int, headers: Headers, body: bytes) -> Awaitable[None]:
        """A whole answer, out in one write."""
        kept = self._one_piece(status, headers)
        head = self._send({"type": "http.response.start", "status": status, "headers": kept, BODY_FOLLOWS: True})
        return self.end(body) if head is DONE else self._end_after(head, body)

    async def _end_after(self, head: Awaitable[None], body: bytes) -> None:
        await head
        await self.end(body)

    def start_stream(self, headers: Headers) -> Awaitable[None]:
        """The head of an event stream."""
        kept = [pair for pair in select_answer_headers(headers) if pair[0] not in _SET_ON_STREAMS]
        return self._send(
            {"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS + kept + self._headers}
        )

    def write(self, data: bytes) -> Awaitable[None]:
        """A piece of the body, out at once; waits while the client does not keep up."""
        return self._send({"type": "http.response.body", "body": data, "more_body": True})

    def end(self, data: bytes = b"") -> Awaitable[None]:
        """The last piece."""
        return self._send({"type": "http.response.body", "body": data, "more_body": False})

    def _one_piece(self, status: int, headers: Headers) -> Headers:
        kept = keep_private(select_answer_headers(headers))
        if status in (204, 304):
            # Their length, if they name one, is that of a body which does not come. RFC 9110 section 8.6.
            kept = [pair for pair in kept if pair[0] != b"content-length"]
        if self._fixed:
            names = {name for name, _ in self._fixed}
            kept = [pair for pair in kept if pair[0] not in names] + self._fixed
        return kept + self._headers
