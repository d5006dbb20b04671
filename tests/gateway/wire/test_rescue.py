"""Where every exception ends."""

import asyncio
import json
import logging
from collections.abc import Sequence

import pytest

from gateway.errors import (
    BackendUnavailable,
    BodyTooLarge,
    ClientDisconnected,
    Draining,
    GatewayError,
    InternalError,
    TokenInvalid,
)
from gateway.wire.asgi import Message, Receive, Scope, Send
from gateway.wire.record import RequestRecord, attach
from gateway.wire.rescue import Rescue
from tests.gateway.wire.test_answers import Sent

CORS = [(b"access-control-allow-origin", b"https://app.test")]


def frame(error: GatewayError, request_id: str) -> bytes:
    return f"data: {error.code} {request_id}\n\n".encode()


async def silent() -> Message:
    raise AssertionError("nobody reads here")


async def run(
    error: BaseException, *, streaming: bool = False, begun: Sequence[Message] = ()
) -> tuple[Sent, RequestRecord]:
    """A request whose app sends ``begun`` and then raises."""
    sent = Sent()
    record = RequestRecord(request_id="req-12345678", started=0, method="POST", streaming=streaming)
    record.answer_headers = CORS
    scope: Scope = {"type": "http"}
    attach(scope, record)

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in begun:
            record.status = message.get("status", record.status)
            await send(message)
        raise error

    await Rescue(app, stream_error=frame)(scope, silent, sent)
    return sent, record


async def test_a_known_error_gives_its_own_answer() -> None:
    """Readable by the route's pages, and noted for the log."""
    error = TokenInvalid("secret")
    sent, record = await run(error)

    assert (sent[0]["status"], sent.json()["code"], record.failure) == (401, "token_invalid", error)
    assert sent.head()[b"access-control-allow-origin"] == b"https://app.test"


async def test_anything_else_is_a_bug_and_answered_as_one(caplog: pytest.LogCaptureFixture) -> None:
    """The traceback is logged; the answer says nothing of it."""
    with caplog.at_level(logging.ERROR):
        sent, record = await run(ZeroDivisionError("secret"))

    assert (sent[0]["status"], sent.json()["code"]) == (500, "internal_error")
    assert "secret" not in json.dumps(sent.json())
    assert isinstance(record.failure, InternalError)
    assert [(entry.message, entry.exc_info is not None) for entry in caplog.records] == [("unexpected error", True)]


@pytest.mark.parametrize("error", [BackendUnavailable("refused"), ZeroDivisionError()])
async def test_a_streaming_operation_is_never_answered_with_a_5xx(error: Exception) -> None:
    """ChatKit would send it again, up to five times, and run the model each time."""
    sent, record = await run(error, streaming=True)
    code = record.failure.code if record.failure else None

    assert (sent[0]["status"], len(sent)) == (200, 2)
    assert sent.head()[b"content-type"] == b"text/event-stream"
    assert sent.head()[b"access-control-allow-origin"] == b"https://app.test"
    assert sent[1] == {
        "type": "http.response.body",
        "body": f"data: {code} req-12345678\n\n".encode(),
        "more_body": False,
    }


async def test_a_streaming_operations_4xx_stays_one() -> None:
    """ChatKit does not send those again."""
    sent, _ = await run(BodyTooLarge("much"), streaming=True)

    assert (sent[0]["status"], sent.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_answer_that_has_begun_is_left_alone(streaming: bool) -> None:
    """It cannot be taken back: unfinished, it tells the server to close."""
    begun: list[Message] = [{"type": "http.response.start", "status": 200, "headers": []}]
    sent, record = await run(BackendUnavailable("late"), streaming=streaming, begun=begun)

    assert (sent, record.failure is not None) == (begun, True)


async def test_nobody_is_answered_who_left() -> None:
    """Not even with an error."""
    sent, record = await run(ClientDisconnected("left"))

    assert (sent, isinstance(record.failure, ClientDisconnected)) == ([], True)


async def test_other_scopes_pass() -> None:
    """A lifespan has no answer; its errors are the server's."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await Rescue(app, stream_error=frame)({"type": "lifespan"}, silent, Sent())

    assert seen == ["lifespan"]


class Waiting:
    """Requests that wait for ever, under one `Rescue`."""

    def __init__(self) -> None:
        self.rescue = Rescue(self._wait, stream_error=frame)
        self.sent = Sent()
        self.record = RequestRecord(request_id="req-12345678", started=0, method="POST")

    async def start(self) -> asyncio.Task[None]:
        scope: Scope = {"type": "http"}
        attach(scope, self.record)
        running = asyncio.create_task(self.rescue(scope, silent, self.sent))
        await asyncio.sleep(0)
        return running

    @staticmethod
    async def _wait(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()


async def test_a_request_that_has_had_its_time_is_told_so() -> None:
    """Its cancellation becomes an answer like every other error's."""
    waiting = Waiting()
    running = await waiting.start()
    waiting.rescue.end_all()
    await running

    assert (waiting.sent[0]["status"], waiting.sent.json()["code"]) == (503, "draining")
    assert isinstance(waiting.record.failure, Draining)


@pytest.mark.parametrize("together", [False, True])
async def test_a_cancellation_of_somebody_else_stays_one(together: bool) -> None:
    """The server's own deadline, by itself or together with ours."""
    waiting = Waiting()
    running = await waiting.start()
    running.cancel()
    if together:
        waiting.rescue.end_all()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert waiting.sent == []


async def test_what_has_ended_is_forgotten() -> None:
    """Ending all afterwards cancels nobody: one task may carry many requests."""
    record = RequestRecord(request_id="req-12345678", started=0, method="POST")
    scope: Scope = {"type": "http"}
    attach(scope, record)

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.sleep(0)

    rescue = Rescue(app, stream_error=frame)
    await rescue(scope, silent, Sent())
    rescue.end_all()
    await asyncio.sleep(0)

    assert record.failure is None
