"""The endpoint over a real socket: who leaves is noticed, and what was said is kept."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator
from itertools import count
from typing import Any

import httpx
import pytest
from starlette.types import Message

from agent_backend.access_log import Notes
from agent_backend.app import build_app
from agent_backend.endpoint import EventStream
from agent_backend.stream import MAX_UNREAD, DrivenStream
from tests.agent_backend.world import PATH, Caller, World, running_app, user_input
from tests.support.model_server import model_server
from tests.support.servers import serve


async def leave_in_mid_answer(caller: Caller, *, after: str) -> str:
    """Read an answer until ``after`` was in it, then close the connection. Gives the thread's id."""
    body = caller.body("threads.create", input=user_input("Tell me everything."))
    seen = b""
    async with caller.http.stream("POST", PATH, content=body, headers=caller.headers(body)) as response:
        async for data in response.aiter_raw():
            seen += data
            if after.encode() in seen:
                break
    return seen.split(b'"id":"')[1].split(b'"')[0].decode()


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
async def test_a_client_who_leaves_stops_the_model(world: World, api: str) -> None:
    """The model speaks no further word, long before its last; what it said so far is kept."""
    words = [f"word{number} " for number in range(400)]
    with model_server(words=words, delay=0.02) as server:
        model = {"provider": "openai", "base_url": server.url, "name": "m", "api": api}
        with serve(build_app(world.settings(model=model))) as url:
            async with httpx.AsyncClient(base_url=url) as http:
                caller = Caller(gateway=world.gateway, http=http)
                thread_id = await leave_in_mid_answer(caller, after="word5 ")
                async with asyncio.timeout(10):
                    while server.open:  # noqa: ASYNC110  it happens in the endpoint's own thread
                        await asyncio.sleep(0.005)
                spoken = server.sent
                # Ten words' time.
                await asyncio.sleep(0.2)
                response = await caller.send("items.list", thread_id=thread_id, order="asc")

    assert server.sent == spoken < 100
    items: list[dict[str, Any]] = response.json()["data"]
    assert [item["type"] for item in items] == ["user_message", "assistant_message"]
    assert items[1]["content"][0]["text"].startswith("word0 word1 word2 word3 word4 word5 ")
    assert len({item["id"] for item in items}) == 2


async def test_nothing_is_left_running_behind_an_answer(world: World) -> None:
    """After a finished, a failed and an abandoned answer, the loop has no task more than before."""
    counts: list[int] = []
    app = build_app(world.settings(model={"word_delay": 0.02}))

    async def count(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/tasks":
            counts.append(len(asyncio.all_tasks()))
        await app(scope, receive, send)

    with serve(count) as url:
        async with httpx.AsyncClient(base_url=url) as http:
            caller = Caller(gateway=world.gateway, http=http)
            await http.get("/tasks")
            await caller.say("Hello.")
            await leave_in_mid_answer(caller, after="offline")
            await asyncio.sleep(0.5)
            await http.get("/tasks")

    assert counts[1] <= counts[0] + 1  # the other one is the connection that was opened after the one abandoned


async def test_the_answer_is_a_stream_that_nobody_may_hold(world: World) -> None:
    """The headers that proxies need to pass every event on at once; and the words come one by one."""
    with serve(build_app(world.settings(model={"word_delay": 0.02}))) as url:
        async with httpx.AsyncClient(base_url=url) as http:
            caller = Caller(gateway=world.gateway, http=http)
            body = caller.body("threads.create", input=user_input("Hello."))
            async with http.stream("POST", PATH, content=body, headers=caller.headers(body)) as response:
                arrivals = [time.monotonic() async for _ in response.aiter_raw()]

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-length" not in response.headers
    assert len(arrivals) > 10
    assert arrivals[-1] - arrivals[0] > 0.5


async def test_a_backend_called_without_the_gateway_answers_nobody(world: World) -> None:
    """401 over the socket, whatever else is sent."""
    with serve(build_app(world.settings())) as url:
        async with httpx.AsyncClient(base_url=url) as http:
            headers = {"x-user-id": "root", "authorization": "Bearer x", "x-request-id": "r-7"}
            response = await http.post(PATH, json={"type": "threads.list", "params": {}}, headers=headers)

    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "title": "This backend answers its gateway only.",
        "status": 401,
        "code": "assertion_missing",
        "message": "This backend answers its gateway only.",
        "request_id": "r-7",
    }


async def test_a_reader_who_stops_reading_costs_a_bounded_amount() -> None:
    """The model is stopped when the answer is too far ahead, and the reader is told at the end."""
    made: list[int] = []
    sent: list[bytes] = []
    reading = asyncio.Event()
    notes: Notes = {}

    async def endless() -> AsyncGenerator[bytes, None]:
        for number in count():
            made.append(number)
            await asyncio.sleep(0)
            yield b"x" * (MAX_UNREAD // 4)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nobody leaves here")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await reading.wait()
        sent.append(message.get("body", b""))

    answer = EventStream(DrivenStream(endless()), notes=notes, streams=set())
    asyncio.get_running_loop().call_later(0.2, reading.set)
    await answer({"type": "http"}, receive, send)

    assert notes == {"ended_by": "unread"}
    assert len(made) < 8
    assert b"interrupted" in sent[-2]


async def test_a_stream_that_is_cancelled_from_within_ends_with_an_error() -> None:
    """Some library below us cancels its own task: the reader still gets an end they can act on."""
    sent: list[bytes] = []
    notes: Notes = {}

    async def cancelled() -> AsyncGenerator[bytes, None]:
        yield b"data: {}\n\n"
        raise asyncio.CancelledError

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nobody leaves here")

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    await EventStream(DrivenStream(cancelled()), notes=notes, streams=set())({"type": "http"}, receive, send)

    assert notes == {"ended_by": "error"}
    assert b"interrupted" in sent[-2]


async def test_a_failure_of_ours_is_a_problem_too(world: World) -> None:
    """A database that is gone in mid-flight is a 500 as JSON, with the request's id and no detail."""
    app = build_app(world.settings())
    async with running_app(app) as http:
        caller = Caller(gateway=world.gateway, http=http, claims={"request_id": "r-9"})
        connection = sqlite3.connect(world.folder / "agent.sqlite3")
        connection.execute("DROP TABLE threads")
        connection.close()
        response = await caller.send("threads.list")

    assert response.status_code == 500
    assert (response.json()["code"], response.json()["request_id"]) == ("internal_error", "r-9")
    assert "threads" not in response.text
