"""The relay: what a client sees of a backend's answer."""

import asyncio
import gc
import weakref

import pytest

from gateway.backends.alarm import Alarm
from gateway.backends.answer import Answer, Headers
from gateway.backends.relay import RelayTimes, relay_answer, relay_stream
from gateway.chatkit.frames import ChatKitFraming, error_frame_for
from gateway.errors import (
    BackendBusy,
    BackendFailed,
    BackendInterrupted,
    BackendInvalid,
    BackendRefused,
    BackendTimeout,
    Draining,
    GatewayError,
)
from tests.gateway.backends.test_answer import Wire
from tests.gateway.backends.world import RememberingReply, build_request, world
from tests.support.scripted import Exchange, Script

TIMES = RelayTimes(first_byte=2, idle=2, heartbeat=1)
FRAMING = ChatKitFraming(max_tail=1024, error_frame=lambda error: error_frame_for(error, "r1"))
START = ("start_stream",)


def frame(error: type[GatewayError]) -> bytes:
    text = f'"message":"{error.message} (request r1)","allow_retry":{str(error.retry).lower()}'
    return b'data: {"type":"error","code":"custom",' + text.encode() + b"}\n\n"


async def stream(
    script: Script, times: RelayTimes = TIMES, framing: ChatKitFraming = FRAMING
) -> tuple[RememberingReply, GatewayError | None]:
    reply = RememberingReply()
    async with world(script) as (_, client), client.exchange(build_request()) as answer:
        return reply, await relay_stream(answer, reply, times, framing)


def chunks(*data: bytes, end: bool = True) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        for piece in data:
            await exchange.send_chunk(piece)
        if end:
            await exchange.send_chunk(b"")
        else:
            exchange.writer.close()

    return script


def says(status: bytes, content_type: bytes, body: bytes = b"{}") -> Script:
    async def script(exchange: Exchange) -> None:
        head = b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
        await exchange.send(head % (status, content_type, len(body)) + body)

    return script


async def test_events_go_out_one_by_one_as_they_come() -> None:
    """Each event is out before the next is sent: the backend waits for it."""
    reply = RememberingReply()
    seen = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        for number in range(5):
            seen.clear()
            await exchange.send_chunk(b"data: %d\n\n" % number)
            await asyncio.wait_for(seen.wait(), 2)
        await exchange.send_chunk(b"")

    class Watching(RememberingReply):
        async def write(self, data: bytes) -> None:
            await reply.write(data)
            seen.set()

    async with world(script) as (_, client), client.exchange(build_request()) as answer:
        assert await relay_stream(answer, Watching(), TIMES, FRAMING) is None

    assert reply.calls == [("write", b"data: %d\n\n" % number) for number in range(5)]


async def test_one_read_of_the_backend_is_one_write_to_the_client() -> None:
    """However many chunks and events came in it: a write costs more than an event."""

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        await asyncio.sleep(0.05)
        await exchange.send(b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n4\r\ndata\r\n")
        await asyncio.sleep(0.05)
        await exchange.send(b"5\r\n: 3\n\n\r\n0\r\n\r\n")

    reply, failure = await stream(script)

    assert failure is None
    assert reply.calls == [START, ("write", b"data: 1\n\ndata: 2\n\n"), ("write", b"data: 3\n\n"), ("end", b"")]


async def relaying(reply: RememberingReply) -> tuple[Answer, asyncio.Task[GatewayError | None]]:
    """An answer that no connection fills, and its relay, which waits for the head."""
    loop = asyncio.get_running_loop()
    answer = Answer(Wire(), loop, Alarm(loop))
    task = asyncio.create_task(relay_stream(answer, reply, TIMES, FRAMING))
    await asyncio.sleep(0)
    return answer, task


class Refusing(RememberingReply):
    """A client that cannot be sent the head."""

    async def start_stream(self, headers: Headers) -> None:
        raise ValueError("a line end in it")


STREAM = [(b"content-type", b"text/event-stream")]


async def test_head_and_events_of_one_read_are_out_before_anybody_is_woken() -> None:
    """The first byte does not wait for a turn of the loop, nor do the events that come before the task has run."""
    reply = RememberingReply()
    answer, task = await relaying(reply)
    answer.put_head(200, STREAM)
    answer.put(b"data: 1\n\ndata")
    answer.put(b": 2\n\n")
    at_once = list(reply.calls)
    await asyncio.sleep(0)
    answer.put(b"data: 3\n\n")
    answer.finish()

    assert await task is None
    assert at_once == [START, ("write", b"data: 1\n\n"), ("write", b"data: 2\n\n")]
    assert reply.calls == [*at_once, ("write", b"data: 3\n\n"), ("end", b"")]


@pytest.mark.parametrize("stalled_at", ["head", "event"])
async def test_a_client_that_stalls_at_the_first_byte_gets_everything_in_order(stalled_at: str) -> None:
    """What comes before the task has run waits as well."""
    go_on = asyncio.Event()

    class Slow(RememberingReply):
        async def start_stream(self, headers: Headers) -> None:
            if stalled_at == "head":
                await go_on.wait()
            await RememberingReply.start_stream(self, headers)

        async def write(self, data: bytes) -> None:
            if stalled_at == "event":
                await go_on.wait()
            await RememberingReply.write(self, data)

    reply = Slow()
    answer, task = await relaying(reply)
    answer.put_head(200, STREAM)
    for number in range(3):
        answer.put(b"data: %d\n\n" % number)
        await asyncio.sleep(0)
    before = list(reply.calls)
    answer.finish()
    go_on.set()

    assert await task is None
    assert before == [START] * (stalled_at == "event")
    assert reply.calls[0] == START
    assert reply.body == b"".join(b"data: %d\n\n" % number for number in range(3))
    assert reply.calls[-1][0] == "end"


async def test_a_head_that_cannot_be_sent_fails_the_request_and_not_the_socket() -> None:
    reply = Refusing()
    answer, task = await relaying(reply)
    answer.put_head(200, STREAM)
    answer.put(b"data: 1\n\n")
    with pytest.raises(ValueError, match="a line end in it"):
        await task

    assert reply.calls == []


async def test_a_head_that_cannot_be_sent_leaves_no_cycle() -> None:
    """The error, its traceback and what moves the stream would keep each other, and the request, for the collector."""

    async def fail() -> weakref.ref[RememberingReply]:
        reply = Refusing()
        answer, task = await relaying(reply)
        # By the loop, as a socket's callback: a traceback keeps its callers, and this one knows the task.
        asyncio.get_running_loop().call_soon(answer.put_head, 200, STREAM)
        await asyncio.wait({task})
        assert isinstance(task.exception(), ValueError)
        return weakref.ref(reply)

    gc.disable()
    try:
        assert (await fail())() is None
    finally:
        gc.enable()


async def test_what_comes_behind_a_failure_goes_out_before_it_and_in_order() -> None:
    """In the same turn of the loop, to a client that does not keep up."""
    go_on = asyncio.Event()

    class Slow(RememberingReply):
        async def write(self, data: bytes) -> None:
            if self.calls[1:]:
                await go_on.wait()
            await RememberingReply.write(self, data)

    reply = Slow()
    answer, task = await relaying(reply)
    answer.put_head(200, STREAM)
    await asyncio.sleep(0)
    answer.put(b"data: 1\n\n")
    answer.fail(Draining("time is up"))
    answer.put(b"data: 2\n\n")
    answer.put(b"data: 3\n\n")
    await asyncio.sleep(0)
    go_on.set()

    assert isinstance(await task, Draining)
    assert reply.calls == [
        START,
        ("write", b"data: 1\n\n"),
        ("write", b"data: 2\n\ndata: 3\n\n"),
        ("end", frame(Draining)),
    ]


@pytest.mark.parametrize("is_awaited", [False, True], ids=["with the head", "later"])
async def test_a_failure_behind_a_head_is_told_after_what_came_before_it(is_awaited: bool) -> None:
    reply = RememberingReply()
    answer, task = await relaying(reply)
    answer.put_head(200, STREAM)
    if is_awaited:
        await asyncio.sleep(0)
    answer.put(b"data: 1\n\n")
    answer.fail(Draining("time is up"))
    answer.put(b"data: 2\n\n")

    assert isinstance(await task, Draining)
    assert reply.body == b"data: 1\n\ndata: 2\n\n" + frame(Draining)


async def test_a_stream_whose_client_left_gets_no_event_more() -> None:
    """Cancelled while it waits for one, and not run yet."""
    reply = RememberingReply()
    answer, task = await relaying(reply)
    answer.put_head(200, STREAM)
    await asyncio.sleep(0)
    task.cancel()
    answer.put(b"data: 1\n\n")
    with pytest.raises(asyncio.CancelledError):
        await task

    assert reply.calls == [START]


async def test_a_stream_whose_client_left_before_its_head_is_not_begun() -> None:
    """Cancelled, and not run yet: what comes now is nobody's."""
    reply = RememberingReply()
    answer, task = await relaying(reply)
    task.cancel()
    answer.put_head(200, STREAM)
    answer.put(b"data: 1\n\n")
    with pytest.raises(asyncio.CancelledError):
        await task

    assert reply.calls == []


class Stalling(RememberingReply):
    """A client that takes its third piece only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.stalled, self.go_on = asyncio.Event(), asyncio.Event()

    async def write(self, data: bytes) -> None:
        if len(self.calls) == 3:
            self.stalled.set()
            await self.go_on.wait()
            await asyncio.sleep(0)
        await RememberingReply.write(self, data)


async def test_a_client_that_stalls_gets_everything_in_order() -> None:
    """What came meanwhile waits behind the piece that could not be taken, and goes out after it, together."""
    reply = Stalling()

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        for number in range(6):
            await exchange.send_chunk(b"data: %d\n\n" % number)
            if number == 4:
                await asyncio.wait_for(reply.stalled.wait(), 2)
                await asyncio.sleep(0.05)
                reply.go_on.set()
        await exchange.send_chunk(b"")

    async with world(script) as (_, client), client.exchange(build_request()) as answer:
        assert await relay_stream(answer, reply, TIMES, FRAMING) is None

    assert reply.body == b"".join(b"data: %d\n\n" % number for number in range(6))
    assert reply.calls[-1][0] == "end"


async def test_a_client_that_stalls_does_not_keep_the_relay_from_being_cancelled() -> None:
    """It leaves while a piece is on its way to it: the request ends at once, and so does the backend's connection."""
    reply = Stalling()
    left = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        for number in range(4):
            await exchange.send_chunk(b"data: %d\n\n" % number)
        await exchange.gone()
        left.set()

    async with world(script) as (_, client):

        async def relay() -> None:
            async with client.exchange(build_request()) as answer:
                await relay_stream(answer, reply, TIMES, FRAMING)

        task = asyncio.create_task(relay())
        await asyncio.wait_for(reply.stalled.wait(), 2)
        await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=1)
        await asyncio.wait_for(left.wait(), 1)

    assert (done, task.cancelled()) == ({task}, True)


async def test_what_goes_wrong_in_a_write_is_the_requests_own() -> None:
    """It is raised where the request is answered, not in the callback of the backend's socket."""

    class Failing(RememberingReply):
        async def write(self, data: bytes) -> None:
            raise RuntimeError("no more")

    async with world(chunks(b"data: 1\n\n")) as (_, client), client.exchange(build_request()) as answer:
        with pytest.raises(RuntimeError, match="no more"):
            await relay_stream(answer, Failing(), TIMES, FRAMING)


async def test_an_unfinished_event_is_held_until_it_ends() -> None:
    """Half an event never goes out; whole ones before it do at once."""
    reply, failure = await stream(chunks(b"data: 1\n\ndata: ", b"2\n", b"\ndata: 3\n\n"))

    assert failure is None
    assert reply.calls == [
        START,
        ("write", b"data: 1\n\n"),
        ("write", b"data: 2\n\ndata: 3\n\n"),
        ("end", b""),
    ]


async def test_what_is_left_at_a_clean_end_goes_out_too() -> None:
    """Bytes are the backend's: a last event without its blank line is passed on as it is."""
    reply, failure = await stream(chunks(b"data: 1\n\ndata: 2"))

    assert failure is None
    assert reply.body == b"data: 1\n\ndata: 2"


async def test_a_death_in_mid_event_becomes_one_error_event() -> None:
    """The client gets the last whole event, then why it ends; never the torn one."""
    reply, failure = await stream(chunks(b"data: 1\n\n", b'data: {"ty', end=False))

    assert isinstance(failure, BackendInterrupted)
    assert reply.calls == [START, ("write", b"data: 1\n\n"), ("end", frame(BackendInterrupted))]


@pytest.mark.parametrize(
    ("last", "failure", "end"),
    [(b"data: 2\n\n", None, b""), (b'data: {"ty', BackendInterrupted, None)],
)
async def test_a_stream_without_framing_that_stops_within_an_event_was_cut(
    last: bytes, failure: type[GatewayError] | None, end: bytes | None
) -> None:
    """Where only the connection's end says that this is all, an unfinished event says that it is not."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n", last)
        exchange.writer.close()

    reply, seen = await stream(script)

    assert (type(seen) if seen else None) == failure
    assert reply.calls[-1] == ("end", frame(BackendInterrupted) if end is None else end)


async def test_an_event_larger_than_the_tail_flows_and_a_death_inside_it_says_nothing() -> None:
    """An error event inside an event would be unreadable: the answer is left unfinished instead."""
    reply, failure = await stream(chunks(b"data: " + b"a" * 2000, b"b" * 10, end=False))

    assert isinstance(failure, BackendInterrupted)
    assert reply.body == b"data: " + b"a" * 2000 + b"b" * 10
    assert reply.calls[-1][0] == "write"


async def test_after_a_large_event_the_next_failure_is_an_event_again() -> None:
    """Its end puts the client between events, also when the blank line comes in two pieces."""
    reply, _ = await stream(chunks(b"data: " + b"a" * 2000, b"b\n", b"\n", end=False))

    assert reply.calls[-1] == ("end", frame(BackendInterrupted))


async def test_silence_is_filled_with_heartbeats_between_events() -> None:
    """While the backend thinks the client gets comment lines; a held beginning of an event does not stop them."""

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.send_chunk(b"data: 1\n\nda")
        await asyncio.sleep(0.25)
        await exchange.send_chunk(b"ta: 2\n\n")
        await exchange.send_chunk(b"")

    reply, failure = await stream(script, RelayTimes(first_byte=2, idle=2, heartbeat=0.1))

    assert failure is None
    assert reply.steps == [
        START,
        ("write", b"data: 1\n\n"),
        ("write", b":\n"),
        ("write", b"data: 2\n\n"),
        ("end", b""),
    ]


async def test_no_heartbeat_falls_into_an_event_that_flows() -> None:
    """A comment line inside an event is allowed by the standard and misread by clients; it is not sent."""

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.send_chunk(b"data: " + b"a" * 2000)
        await asyncio.sleep(0.15)
        await exchange.send_chunk(b"\n\n")
        await exchange.send_chunk(b"")

    reply, _ = await stream(script, RelayTimes(first_byte=2, idle=2, heartbeat=0.05))

    assert b"data: " + b"a" * 2000 + b"\n\n" in reply.body


async def test_a_slow_first_byte_gets_heartbeats_and_then_the_stream() -> None:
    """After the first heartbeat the answer is a stream, whatever the backend does."""

    async def script(exchange: Exchange) -> None:
        await asyncio.sleep(0.12)
        await chunks(b"data: 1\n\n")(exchange)

    reply, failure = await stream(script, RelayTimes(first_byte=2, idle=2, heartbeat=0.05))

    assert failure is None
    assert reply.steps == [START, ("write", b":\n"), ("write", b"data: 1\n\n"), ("end", b"")]


@pytest.mark.parametrize(
    ("status", "content_type", "error"),
    [
        (b"500 Oops", b"text/html", BackendFailed),
        (b"404 Not Found", b"application/json", BackendRefused),
        (b"302 Found", b"text/html", BackendInvalid),
    ],
)
async def test_after_the_first_heartbeat_every_failure_is_an_event(
    status: bytes, content_type: bytes, error: type[GatewayError]
) -> None:
    """A 4xx too: the client has been told 200 already."""

    async def script(exchange: Exchange) -> None:
        await asyncio.sleep(0.1)
        await says(status, content_type)(exchange)

    reply, failure = await stream(script, RelayTimes(first_byte=2, idle=2, heartbeat=0.05))

    assert isinstance(failure, error)
    assert reply.steps == [START, ("write", b":\n"), ("end", frame(error))]


async def test_no_first_byte_in_time_is_an_event_after_heartbeats() -> None:
    """first_byte bounds the whole wait."""

    async def script(exchange: Exchange) -> None:
        await exchange.gone()

    reply, failure = await stream(script, RelayTimes(first_byte=0.12, idle=2, heartbeat=0.05))

    assert isinstance(failure, BackendTimeout)
    assert reply.calls[0] == START
    assert reply.calls[-1] == ("end", frame(BackendTimeout))


async def test_silence_in_mid_stream_is_bounded() -> None:
    """idle seconds without a byte end the stream with an event."""

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.send_chunk(b"data: 1\n\n")
        await exchange.gone()

    reply, failure = await stream(script, RelayTimes(first_byte=2, idle=0.12, heartbeat=0.05))

    assert isinstance(failure, BackendTimeout)
    assert reply.calls[-1] == ("end", frame(BackendTimeout))


@pytest.mark.parametrize(
    ("status", "content_type", "error"),
    [
        (b"500 Oops", b"text/html", BackendFailed),
        (b"500 Oops", b"application/json", BackendFailed),
        (b"503 Busy", b"application/json", BackendBusy),
        (b"504 Late", b"application/json", BackendTimeout),
        (b"302 Found", b"text/html", BackendInvalid),
        (b"200 OK", b"application/json", BackendInvalid),
        (b"200 OK", b"text/html", BackendInvalid),
        (b"201 Created", b"text/event-stream", BackendInvalid),
        (b"403 Forbidden", b"text/html", BackendRefused),
    ],
)
async def test_what_is_no_stream_fails_before_anything_is_sent(
    status: bytes, content_type: bytes, error: type[GatewayError]
) -> None:
    """The caller decides what a failure before the start looks like."""
    with pytest.raises(error):
        await stream(says(status, content_type))


@pytest.mark.parametrize("content_type", [b"application/json", b"application/problem+json; charset=utf-8"])
async def test_a_refusal_in_json_is_relayed_as_it_is(content_type: bytes) -> None:
    """The backend's own 4xx is final for the client, and its words are the backend's."""
    reply, failure = await stream(says(b"404 Not Found", content_type, b'{"message":"no such thread"}'))

    assert failure is None
    assert reply.calls == [("start", 404), ("end", b'{"message":"no such thread"}')]


async def test_a_drain_ends_a_stream_with_an_event_that_allows_a_retry() -> None:
    """At the deadline the client is told, and the answer ends cleanly."""
    reply = RememberingReply()

    async def script(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.gone()

    async with world(script) as (_, client), client.exchange(build_request()) as answer:
        running = asyncio.create_task(relay_stream(answer, reply, TIMES, FRAMING))
        await asyncio.sleep(0.05)
        client.end_exchanges(Draining("time is up"))
        assert isinstance(await running, Draining)

    assert reply.calls == [START, ("end", frame(Draining))]
    assert b'"allow_retry":true' in frame(Draining)


@pytest.mark.parametrize(
    ("status", "content_type", "expected"),
    [
        (b"200 OK", b"application/json", 200),
        (b"204 No Content", b"text/plain", 204),
        (b"400 Bad", b"application/json", 400),
        (b"200 OK", b"text/html", BackendInvalid),
        (b"302 Found", b"application/json", BackendInvalid),
        (b"404 Not Found", b"text/html", BackendRefused),
        (b"500 Oops", b"application/json", BackendFailed),
        (b"503 Busy", b"text/html", BackendBusy),
        (b"504 Late", b"text/html", BackendTimeout),
    ],
)
async def test_an_answer_in_one_piece_is_json_or_a_failure(
    status: bytes, content_type: bytes, expected: int | type[GatewayError]
) -> None:
    """No HTML, no redirect and no foreign 5xx reaches a page."""
    reply = RememberingReply()
    body = b"" if expected == 204 else b"{}"
    async with world(says(status, content_type, body)) as (_, client), client.exchange(build_request()) as answer:
        if isinstance(expected, int):
            assert await relay_answer(answer, reply, TIMES) is None
            assert reply.calls[0] == ("start", expected)
            assert reply.body == body
        else:
            with pytest.raises(expected):
                await relay_answer(answer, reply, TIMES)
            assert reply.calls == []


async def test_a_broken_answer_in_one_piece_is_left_unfinished() -> None:
    """Truncation is visible: the reply is never ended."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
        exchange.writer.close()

    reply = RememberingReply()
    async with world(script) as (_, client), client.exchange(build_request()) as answer:
        assert isinstance(await relay_answer(answer, reply, TIMES), BackendInterrupted)

    assert [call[0] for call in reply.calls] == ["start", "write"]


async def test_silence_in_an_answer_in_one_piece_is_bounded() -> None:
    """Before the head as an error, behind it as a broken answer."""

    async def script(exchange: Exchange) -> None:
        if exchange.body == b"late":
            await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n")
        await exchange.gone()

    times = RelayTimes(first_byte=0.05, idle=0.05, heartbeat=1)
    async with world(script) as (_, client):
        async with client.exchange(build_request()) as answer:
            with pytest.raises(BackendTimeout):
                await relay_answer(answer, RememberingReply(), times)
        async with client.exchange(build_request(b"late")) as answer:
            assert isinstance(await relay_answer(answer, RememberingReply(), times), BackendTimeout)
