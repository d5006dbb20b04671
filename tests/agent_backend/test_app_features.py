"""Titles, composer and history as the settings say, from an assertion to the endpoint of a model."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agents import Agent

from agent_backend.app import build_app
from agent_backend.turn import ChatContext, Turn
from tests.agent_backend.world import Caller, World, answer_in, running_app, thread_of
from tests.support.model_server import ModelServer, model_server


@asynccontextmanager
async def running(world: World, endpoint: ModelServer | None = None, **tables: Any) -> AsyncIterator[Caller]:
    """A backend whose model is that endpoint, or the offline one; what is under way at the end is finished."""
    model: dict[str, Any] = {"word_delay": 0}
    if endpoint:
        model = {
            "provider": "openai",
            "base_url": endpoint.url,
            "name": "small",
            "retries": 0,
            **tables.pop("model", {}),
        }
    async with running_app(build_app(world.settings(model=model, **tables))) as http:
        yield Caller(gateway=world.gateway, http=http)


async def titles_of(caller: Caller) -> list[str]:
    return [thread["title"] for thread in (await caller.send("threads.list")).json()["data"]]


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
async def test_the_model_names_conversations(world: World, api: str) -> None:
    """By one small request of its own, which has no tools and no history in it."""
    with model_server(aside="A better name") as endpoint:
        async with running(world, endpoint, model={"api": api}) as caller:
            thread_id = thread_of(await caller.say("How much is it?"))
            await caller.say("And now?", thread_id=thread_id)
        async with running(world, endpoint) as caller:
            titles = await titles_of(caller)

    assert titles == ["A better name"]
    assert len(endpoint.asides) == 1
    assert "How much is it?" in str(endpoint.asides[0])
    assert not endpoint.asides[0].get("tools")


@pytest.mark.parametrize(
    ("options", "tables"), [({"aside_faults": ["failed"]}, {}), ({}, {"titles": {"by_model": False}})]
)
async def test_the_first_line_stands_where_the_model_gives_no_name(
    world: World, options: dict[str, Any], tables: dict[str, Any]
) -> None:
    """It fails, or is not to be asked: the answer is whole."""
    with model_server(**options) as endpoint:
        async with running(world, endpoint, **tables) as caller:
            answer = answer_in(await caller.say("How much is it?"))
        async with running(world, endpoint) as caller:
            titles = await titles_of(caller)

    assert answer == "Hello from the socket."
    assert titles == ["How much is it?"]


async def test_a_listed_model_is_asked_by_its_name(world: World) -> None:
    """And one that is not listed is never asked."""
    with model_server() as endpoint:
        async with running(world, endpoint, composer={"models": ["big"]}) as caller:
            await caller.say("Hi", inference_options={"model": "big"})
            await caller.say("Hi")
            body = {"content": [], "attachments": [], "inference_options": {"model": "huge"}}
            refused = await caller.send("threads.create", input=body)

    assert [request["model"] for request in endpoint.requests] == ["big", "small"]
    assert (refused.status_code, refused.json()["code"]) == (400, "model_not_offered")


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({}, 200),
        ({"composer": {"tools": []}}, 400),
        ({"composer": {"tools": ["show_checklist"]}}, 200),
        # Another agent's tools are not known to us.
        ({"agent": "tests.agent_backend.test_app_features:build_other"}, 400),
    ],
)
async def test_the_composers_tools_are_listed(world: World, settings: dict[str, Any], status: int) -> None:
    """By default the default agent's own."""
    body = {"content": [], "attachments": [], "inference_options": {"tool_choice": {"id": "show_checklist"}}}
    async with running(world, **settings) as caller:
        answer = await caller.send("threads.create", input=body)

    assert answer.status_code == status


def build_other(turn: Turn) -> Agent[ChatContext]:
    return Agent(name="other")


async def test_the_history_has_the_budget_of_the_settings(world: World) -> None:
    """What is older than it is not sent to the endpoint."""
    with model_server() as endpoint:
        async with running(world, endpoint, history={"max_tokens": 500}, titles={"by_model": False}) as caller:
            thread_id = thread_of(await caller.say("begin " + "x" * 2000))
            await caller.say("And now?", thread_id=thread_id)

    assert ["begin" in str(request) for request in endpoint.requests] == [True, False]
    assert "And now?" in str(endpoint.requests[1])
