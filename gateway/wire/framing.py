"""Is it clear where a request ends and whom it is for? And what a request that never became one is answered.

Pure. Sources: RFC 9112 sections 2.3, 3.2, 6.1 and 6.3; RFC 9457 (problem details).
"""

import json
from typing import NamedTuple

from gateway.errors import GatewayError, MalformedRequest
from gateway.wire.answers import describe
from gateway.wire.asgi import Headers

_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
}


class Framing(NamedTuple):
    """What a head says about the body behind it: does it come in chunks, has it a length, and does the client wait for
    leave to send it?"""

    is_chunked: bool
    has_length: bool
    expects_continue: bool


def check_framing(headers: Headers, version: str) -> Framing:
    """Is it clear where this request ends and whom it is for?

    Args:
        headers: Names in lower case, repeats kept.
        version: As the parser says it, such as ``1.1``.

    Raises:
        MalformedRequest: A version that is neither 1.0 nor 1.1, more than one `Host` (or none in HTTP/1.1), a repeated
            or accompanied `Content-Length`, a transfer coding other than one `chunked`, or any in HTTP/1.0.
    """
    if version not in ("1.0", "1.1"):
        raise MalformedRequest(f"HTTP/{version}, only 1.0 and 1.1 are understood")
    hosts = lengths = 0
    codings: list[bytes] = []
    expects_continue = False
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            lengths += 1
        elif name == b"transfer-encoding":
            codings.append(value.strip(b" ").lower())
        elif name == b"expect":
            # RFC 9110 section 10.1.1: ignored in HTTP/1.0.
            expects_continue = version == "1.1" and value.strip(b" \t").lower() == b"100-continue"
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise MalformedRequest(f"{hosts} Host headers, expected one")
    if lengths > 1 or (lengths and codings):
        raise MalformedRequest("more than one statement of the body's length")
    if codings and (codings != [b"chunked"] or version == "1.0"):
        raise MalformedRequest(f"transfer-encoding {b', '.join(codings)!r:.80}, only chunked in HTTP/1.1 is understood")
    return Framing(bool(codings), bool(lengths), expects_continue)


def is_empty(length: bytes) -> bool:
    """Does this `Content-Length`, checked by the parser, say that there is no body? Noughts may be many."""
    return length.strip(b"0") == b""


def build_refusal(error: GatewayError) -> bytes:
    """The answer to a request that never became one, as bytes on the wire."""
    body = json.dumps(describe(error), separators=(",", ":")).encode()
    return b"".join(
        [
            b"HTTP/1.1 %d %s\r\n" % (error.status, _REASONS[error.status]),
            b"content-type: application/problem+json\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n",
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body),
            body,
        ]
    )
