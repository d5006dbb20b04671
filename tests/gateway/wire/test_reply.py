"""The client's side of one answer."""

import asyncio
from collections.abc import Awaitable

import pytest

from gateway.wire.asgi import DONE, Message
from gateway.wire.reply import ClientReply
from tests.gateway.wire.test_answers import Sent

CORS = [(b"vary", b"origin"), (b"access-control-allow-origin", b"https://app.test")]


PRIVATE = (b"cache-control", b"private, no-cache")


async def test_an_answer_in_one_piece() -> None:
    """The backend's harmless headers, then the request's own, which win by name; of `Vary` both stay."""
    sent = Sent()
    reply = ClientReply(sent, CORS)
    await reply.start(201, [(b"etag", b"1"), (b"set-cookie", b"a=b"), (b"vary", b"*"), (b"content-length", b"3")])
    await reply.write(b"ab")
    await reply.end(b"c")

    assert sent == [
        {
            "type": "http.response.start",
            "status": 201,
            "headers": [(b"etag", b"1"), (b"vary", b"*"), (b"content-length", b"3"), PRIVATE, *CORS],
        },
        {"type": "http.response.body", "body": b"ab", "more_body": True},
        {"type": "http.response.body", "body": b"c", "more_body": False},
    ]


@pytest.mark.parametrize("keeps_up", [True, False])
async def test_a_whole_answer(keeps_up: bool) -> None:
    """Head and body, one behind the other; for a client that does not keep up the body waits for the head."""
    sent, took = Sent(), asyncio.Event()

    def send(message: Message) -> Awaitable[None]:
        if not keeps_up:
            return send_later(message)
        sent.append(message)
        return DONE

    async def send_later(message: Message) -> None:
        await took.wait()
        sent.append(message)

    async def answer() -> None:
        await ClientReply(send, CORS).answer(200, [(b"content-length", b"2")], b"ab")

    answering = asyncio.create_task(answer())
    await asyncio.sleep(0)
    before = len(sent)
    took.set()
    await answering

    assert before == (2 if keeps_up else 0)
    assert [(message["type"], message.get("body")) for message in sent] == [
        ("http.response.start", None),
        ("http.response.body", b"ab"),
    ]


async def test_a_stream_is_not_to_be_collected_or_changed() -> None:
    """Its type, caching and buffering are ours; a length would be wrong once we add a word."""
    sent = Sent()
    reply = ClientReply(sent, CORS)
    await reply.start_stream(
        [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"content-length", b"10"),
            (b"cache-control", b"max-age=60"),
            (b"x-accel-buffering", b"yes"),
            (b"etag", b"1"),
            (b"openai-version", b"1"),
        ]
    )
    await reply.end()

    assert sent == [
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/event-stream"),
                (b"cache-control", b"no-store, no-transform"),
                (b"x-accel-buffering", b"no"),
                (b"openai-version", b"1"),
                *CORS,
            ],
        },
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_no_length(status: int) -> None:
    """A 304 may name the length of what the client has; a server that counts bytes must not wait for it."""
    sent = Sent()
    await ClientReply(sent, []).start(status, [(b"content-length", b"99"), (b"cache-control", b"private")])

    assert sent[0]["headers"] == [(b"cache-control", b"private")]
