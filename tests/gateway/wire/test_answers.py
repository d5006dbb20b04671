"""From error to answer."""

import json
from typing import Any

import pytest

from gateway.errors import AccessDenied, GatewayError, Limited
from gateway.wire.answers import STREAM_HEADERS, send_json, send_problem, send_stream_error
from gateway.wire.asgi import Message
from tests.gateway.test_errors import build, leaves

CORS = [(b"vary", b"origin"), (b"access-control-allow-origin", b"https://app.test")]


class Sent(list[Message]):
    """Collects what is sent."""

    async def __call__(self, message: Message) -> None:
        self.append(message)

    def head(self) -> dict[bytes, bytes]:
        return dict(self[0]["headers"])

    def json(self) -> Any:
        return json.loads(b"".join(message["body"] for message in self[1:]))


def extra_headers(error: GatewayError) -> dict[bytes, bytes]:
    """What the status demands."""
    if error.status == 401:
        challenge = b"Bearer" if error.code == "credential_missing" else b'Bearer error="invalid_token"'
        return {b"www-authenticate": challenge}
    if isinstance(error, Limited):
        return {b"retry-after": b"7"}
    demanded = {503: (b"retry-after", b"5")}
    demanded[405] = (b"allow", b"GET, HEAD")
    return dict([demanded[error.status]]) if error.status in demanded else {}


@pytest.mark.parametrize("kind", leaves())
async def test_every_error_has_its_answer(kind: type[GatewayError]) -> None:
    """Problem JSON with a fixed sentence, the headers its status demands, the request's own; nothing of the reason."""
    error = build(kind, "eyJ-secret-token")
    sent = Sent()
    await send_problem(sent, error, "req-12345678", CORS)
    body = sent[1]["body"]

    assert (len(sent), sent[0]["status"], sent[1]["more_body"]) == (2, error.status, False)
    assert sent.json() == {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "message": error.message,
        "request_id": "req-12345678",
        **({"rule": error.rule} if isinstance(error, AccessDenied) else {}),
    }
    assert sent.head() == {
        b"content-type": b"application/problem+json",
        b"content-length": str(len(body)).encode(),
        b"x-content-type-options": b"nosniff",
        b"cache-control": b"no-store",
        **extra_headers(error),
        **dict(CORS),
    }
    assert b"eyJ" not in body


async def test_json_may_be_cached_where_it_says_so() -> None:
    """Only where the caller says so."""
    sent = Sent()
    await send_json(sent, 200, {"a": 1}, [(b"cache-control", b"public")])

    assert [value for name, value in sent[0]["headers"] if name == b"cache-control"] == [b"public"]


async def test_a_stream_error_is_a_whole_stream() -> None:
    """Status 200, one frame, the end: ChatKit would send the operation again after a 5xx."""
    sent = Sent()
    await send_stream_error(sent, b"data: {}\n\n", CORS)

    assert sent == [
        {"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS, *CORS]},
        {"type": "http.response.body", "body": b"data: {}\n\n", "more_body": False},
    ]
