"""The whole backend, from an assertion to a stream, in one process."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.app import build_app
from agent_backend.store.schema import migrate
from tests.agent_backend.world import PATH, Caller, World, answer_in, thread_of
from tests.agent_backend.world import running_app as running

PAGE = {"title": "Pricing", "url": "https://shop.test/pricing"}


@pytest.fixture
async def caller(world: World) -> AsyncIterator[Caller]:
    async with running(build_app(world.settings())) as http:
        yield Caller(gateway=world.gateway, http=http)


async def test_the_answer_names_the_user_and_the_page(caller: Caller) -> None:
    """What the gateway verified and what the page said reach the model, and its answer shows it."""
    caller.metadata = {"pageContext": PAGE}

    events = await caller.say("What is my name, and which page am I on?")

    assert [event["type"] for event in events[:3]] == ["thread.created", "thread.item.done", "stream_options"]
    answer = answer_in(events)
    assert "Alice" in answer
    assert "Pricing" in answer
    assert "https://shop.test/pricing" in answer
    assert "offline" in answer


async def test_the_third_turn_remembers_the_first_two(caller: Caller) -> None:
    """Each turn is given what was said before it."""
    thread_id = thread_of(await caller.say("One."))
    await caller.say("Two.", thread_id=thread_id)

    answer = answer_in(await caller.say("Three.", thread_id=thread_id))

    assert "2 earlier messages" in answer
    assert "Before this you said: “Two.”" in answer


async def test_a_thread_survives_a_restart(world: World) -> None:
    """Another process on the same database file shows the same thread."""
    async with running(build_app(world.settings())) as http:
        thread_id = thread_of(await Caller(gateway=world.gateway, http=http).say("Remember me."))

    async with running(build_app(world.settings())) as http:
        response = await Caller(gateway=world.gateway, http=http).send("threads.get_by_id", thread_id=thread_id)

    items = response.json()["items"]["data"]
    assert [item["type"] for item in items] == ["user_message", "assistant_message"]
    assert items[0]["content"][0]["text"] == "Remember me."


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_replicas_share_one_postgresql(world: World, engine: AsyncEngine, postgres_url: str) -> None:
    """What one replica stored, the other shows; what one let in, the other does not let in again."""
    await migrate(engine)
    settings = world.settings(database={"url": postgres_url})
    async with running(build_app(settings)) as one, running(build_app(settings)) as other:
        first, second = (Caller(gateway=world.gateway, http=http) for http in (one, other))
        thread_id = thread_of(await first.say("Remember me."))
        shown = await second.send("threads.get_by_id", thread_id=thread_id)
        body = first.body("threads.list")
        headers = first.headers(body)
        used = [await http.post(PATH, content=body, headers=headers) for http in (one, other)]

    assert [item["type"] for item in shown.json()["items"]["data"]] == ["user_message", "assistant_message"]
    assert [response.status_code for response in used] == [200, 401]
    assert used[0].headers["cache-control"] == "no-store"
    assert used[1].json()["code"] == "assertion_replayed"


async def test_health_says_what_is_missing(world: World) -> None:
    """Alive in any case; ready only with a database and the gateway's keys."""
    nowhere = {"jwks_url": "http://127.0.0.1:1/jwks.json", "issuer": "g", "audience": "a"}
    async with running(build_app(world.settings())) as http:
        ready = await http.get("/readyz")
        alive = await http.get("/livez")
        lost = await http.get("/nowhere")
        wrong = await http.get(PATH)
    async with running(build_app(world.settings(gateway=nowhere))) as http:
        unready = await http.get("/readyz")

    assert (ready.status_code, alive.status_code) == (200, 200)
    assert ready.json() == {"status": "ready", "checks": {"database": "ok", "schema": "ok", "gateway_keys": "ok"}}
    assert unready.status_code == 503
    assert unready.json()["checks"] == {"database": "ok", "schema": "ok", "gateway_keys": "unavailable"}
    assert [(answer.status_code, answer.json()["code"]) for answer in (lost, wrong)] == [
        (404, "no_such_path"),
        (405, "method_not_allowed"),
    ]


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("threads.get_by_id", {}),
        ("threads.update", {"title": "Mine now"}),
        ("threads.delete", {}),
        ("items.list", {}),
        ("items.feedback", {"item_ids": [], "kind": "positive"}),
        ("threads.retry_after_item", {"item_id": "msg_1"}),
        ("threads.add_client_tool_output", {"result": 1}),
        ("threads.custom_action", {"action": {"type": "x", "payload": {}}}),
    ],
)
async def test_somebody_elses_thread_is_not_found(caller: Caller, operation: str, params: dict[str, Any]) -> None:
    """Every operation on another user's thread is 404, as JSON, before any stream."""
    thread_id = thread_of(await caller.say("Secret."))
    caller.user = "mallory"

    response = await caller.send(operation, thread_id=thread_id, **params)

    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


async def test_times_leave_with_their_offset(caller: Caller) -> None:
    """Every time on the wire is UTC and says so."""
    events = await caller.say("What time is it?")
    thread_id = thread_of(events)
    shown = (await caller.send("threads.get_by_id", thread_id=thread_id)).json()

    times = [event["item"]["created_at"] for event in events if "item" in event]
    times += [event["thread"]["created_at"] for event in events if "thread" in event]
    times += [shown["created_at"], *(item["created_at"] for item in shown["items"]["data"])]
    assert len(times) > 6
    assert all(moment.endswith(("Z", "+00:00")) for moment in times)
