"""One log line per request, and the request id."""

import logging
from typing import Any

import pytest

from gateway.errors import BackendTimeout, ClientDisconnected, GatewayError, TokenInvalid
from gateway.wire.access_log import AccessLog, find_request_id
from gateway.wire.asgi import Message, Receive, Scope, Send
from gateway.wire.record import record_of
from tests.gateway.wire.test_answers import Sent


async def silent() -> Message:
    raise AssertionError("nobody reads here")


def answering(failure: GatewayError | None = None, *, finish: bool = True) -> Any:
    """An app that answers ``hello`` in two pieces."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        record_of(scope).failure = failure
        await send({"type": "http.response.start", "status": 200, "headers": [(b"etag", b"1")]})
        await send({"type": "http.response.body", "body": b"hel", "more_body": True})
        if finish:
            await send({"type": "http.response.body", "body": b"lo"})

    return app


async def run(app: Any, *, path: str = "/chatkit", headers: Any = ()) -> Sent:
    sent = Sent()
    ticks = iter(range(100))
    log = AccessLog(
        app, quiet_paths=frozenset({"/livez"}), clock=lambda: float(next(ticks)), make_id=lambda: "made-here"
    )
    await log({"type": "http", "method": "POST", "path": path, "headers": list(headers)}, silent, sent)
    return sent


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([b"0123abcd-ABCD_.x"], "0123abcd-ABCD_.x"),
        ([b"a" * 64], "a" * 64),
        ([b"a" * 65], None),
        ([b"short"], None),
        ([b"with space"], None),
        ([b"line\nbreak00"], None),
        ([b"12345678\n"], None),
        ([b"<script>alert"], None),
        ([b"first000", b"second00"], None),
        ([], None),
    ],
)
def test_a_request_id_is_kept_only_when_it_is_a_plain_token(values: list[bytes], kept: str | None) -> None:
    """It goes to the log, to the backend and back: nothing that could mean something there."""
    assert find_request_id([(b"x-request-id", value) for value in values]) == kept


@pytest.mark.parametrize(("given", "sent_back"), [(b"from-the-proxy", b"from-the-proxy"), (b"bad id", b"made-here")])
async def test_the_answer_carries_the_request_id(given: bytes, sent_back: bytes) -> None:
    """Kept when well-formed, replaced otherwise; the app's own headers stay."""
    sent = await run(answering(), headers=[(b"x-request-id", given)])

    assert sent[0]["headers"] == [(b"etag", b"1"), (b"x-request-id", sent_back)]


async def test_one_line_with_what_really_went_out(caplog: pytest.LogCaptureFixture) -> None:
    """Status, bytes and times as seen at the outermost place."""
    with caplog.at_level(logging.INFO):
        await run(answering())
    fields: dict[str, Any] = vars(caplog.records[0])["fields"]

    assert len(caplog.records) == 1
    assert {name: fields[name] for name in ("status", "ended_by", "bytes_out", "first_byte_ms", "duration_ms")} == {
        "status": 200,
        "ended_by": "complete",
        "bytes_out": 5,
        "first_byte_ms": 1000.0,
        "duration_ms": 2000.0,
    }


@pytest.mark.parametrize(
    ("failure", "level"),
    [(None, logging.INFO), (TokenInvalid("no"), logging.INFO), (BackendTimeout("slow"), logging.WARNING)],
)
async def test_who_is_at_fault_decides_the_level(
    caplog: pytest.LogCaptureFixture, failure: GatewayError | None, level: int
) -> None:
    """A client cannot fill the operator's warnings."""
    with caplog.at_level(logging.INFO):
        await run(answering(failure))

    assert [entry.levelno for entry in caplog.records] == [level]


async def test_an_unfinished_answer_is_told_from_a_whole_one(caplog: pytest.LogCaptureFixture) -> None:
    """Truncation is visible."""
    with caplog.at_level(logging.INFO):
        await run(answering(finish=False))

    assert vars(caplog.records[0])["fields"]["ended_by"] == "gateway"


@pytest.mark.parametrize(("failure", "lines"), [(None, 0), (TokenInvalid("no"), 1)])
async def test_probes_are_quiet_until_they_fail(
    caplog: pytest.LogCaptureFixture, failure: GatewayError | None, lines: int
) -> None:
    """They ask every few seconds."""
    with caplog.at_level(logging.INFO):
        await run(answering(failure), path="/livez")

    assert len(caplog.records) == lines


async def test_other_scopes_pass(caplog: pytest.LogCaptureFixture) -> None:
    """A lifespan is no request."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    with caplog.at_level(logging.INFO):
        await AccessLog(app)({"type": "lifespan"}, silent, Sent())

    assert (seen, caplog.records) == (["lifespan"], [])


async def test_it_counts_who_ended_what() -> None:
    """Streams apart: a client that leaves in the middle of an answer is counted, like everything else."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        record_of(scope).streaming = scope["path"] == "/stream"
        record_of(scope).failure = ClientDisconnected("left")
        await send({"type": "http.response.start", "status": 200, "headers": []})

    log = AccessLog(app)
    for path in ("/stream", "/stream", "/json"):
        await log({"type": "http", "method": "POST", "path": path, "headers": []}, silent, Sent())

    assert log.ended == {"stream.client": 2, "client": 1}
