"""The endpoint over a real socket: who leaves is noticed, and what was said is kept."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from agent_backend.app import build_app
from tests.agent_backend.world import PATH, Caller, World, user_input
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
    """Within a second of the client's leaving the model speaks its last word; what it said so far is kept."""
    words = [f"word{number} " for number in range(400)]
    with model_server(words=words, delay=0.02) as server:
        model = {"provider": "openai", "base_url": server.url, "name": "m", "api": api}
        with serve(build_app(world.settings(model=model))) as url:
            async with httpx.AsyncClient(base_url=url) as http:
                caller = Caller(gateway=world.gateway, http=http)
                thread_id = await leave_in_mid_answer(caller, after="word5 ")
                await asyncio.sleep(1.0)
                spoken = server.sent
                await asyncio.sleep(0.5)
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
    with serve(build_app(world.settings(model={"word_delay": 0.05}))) as url:
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
