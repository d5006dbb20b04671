"""From error to answer: one function, used everywhere.

Rules: `application/problem+json`, one fixed sentence per code, never HTML, never a redirect, nothing of the exception's
own text. Knows nothing of ChatKit: for a stream the bytes of the error event are given to it.

Sources: RFC 9457 (problem details), RFC 6750 section 3 (WWW-Authenticate), RFC 9110 section 10.2.3 (Retry-After).
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from gateway.errors import AccessDenied, GatewayError, Limited, MethodNotAllowed
from gateway.wire.asgi import Headers, Send

# Seconds. Long enough for a key fetch or a rolling restart, short enough for a person.
RETRY_AFTER: Final = 5

NO_STORE: Final = (b"cache-control", b"no-store")


async def send_json(
    send: Send, status: int, value: Mapping[str, Any], headers: Headers | None = None, *, media_type: str = "json"
) -> None:
    """A whole JSON answer. Not to be stored unless ``headers`` say otherwise."""
    body = json.dumps(value, separators=(",", ":")).encode()
    fixed = [
        (b"content-type", b"application/" + media_type.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
    ]
    given = headers or []
    if not any(name == b"cache-control" for name, _ in given):
        fixed.append(NO_STORE)
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *given]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_problem(send: Send, error: GatewayError, request_id: str, headers: Headers) -> None:
    """The problem answer for ``error``; ``headers`` are those that every answer of this request carries."""
    problem = {**describe(error), "request_id": request_id}
    if isinstance(error, AccessDenied):
        problem["rule"] = error.rule
    await send_json(send, error.status, problem, [*_error_headers(error), *headers], media_type="problem+json")


def describe(error: GatewayError) -> dict[str, Any]:
    """What every problem answer says of its error, also where there is no request yet. RFC 9457 section 3."""
    return {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "message": error.message,
    }


async def send_stream_error(send: Send, frame: bytes, headers: Headers) -> None:
    """A whole event stream that says one thing: what went wrong.

    ChatKit re-sends a streaming operation up to five times after a 5xx, and each would run the model again.
    """
    await send({"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS, *headers]})
    await send({"type": "http.response.body", "body": frame, "more_body": False})


# `x-accel-buffering` keeps nginx from collecting the stream; `no-transform` keeps CDNs from compressing it.
STREAM_HEADERS: Final[Headers] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


def _error_headers(error: GatewayError) -> Headers:
    headers: Headers = []
    if error.status == 401:
        challenge = b"Bearer" if error.code == "credential_missing" else b'Bearer error="invalid_token"'
        headers.append((b"www-authenticate", challenge))
    if error.status == 503 or isinstance(error, Limited):
        headers.append((b"retry-after", b"%d" % getattr(error, "retry_after", RETRY_AFTER)))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    return headers
