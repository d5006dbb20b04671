"""The model path: a compatible endpoint over a socket, and the offline model."""

from typing import Any

import pytest
from agents import Agent, Runner
from agents.tracing import get_trace_provider

from agent_backend.app import build_app
from agent_backend.models import ModelChoice, build_model, build_run_config
from agent_backend.offline_answer import compose_answer
from tests.agent_backend.world import Caller, World, answer_in, thread_of
from tests.agent_backend.world import running_app as running
from tests.support.model_server import model_server

APIS = ["responses", "chat_completions"]


def texts_of(request: dict[str, Any]) -> str:
    """Everything the model was sent, as one text."""
    return str(request.get("input") or request.get("messages")) + str(request.get("instructions"))


@pytest.mark.parametrize("api", APIS)
async def test_a_compatible_endpoint_answers(world: World, api: str) -> None:
    """Both protocols, over a socket: the words come through, and the history goes out."""
    with model_server() as server:
        model = {"provider": "openai", "base_url": server.url, "name": "test-model", "api": api, "api_key": "k-1"}
        async with running(build_app(world.settings(model=model))) as http:
            caller = Caller(gateway=world.gateway, http=http, metadata={"pageContext": {"title": "Pricing"}})
            first = await caller.say("First question.")
            second = await caller.say("Second question.", thread_id=thread_of(first), quoted_text="a quote")

    assert answer_in(first) == answer_in(second) == "Hello from the socket."
    assert server.authorizations == ["Bearer k-1"] * 2
    sent = texts_of(server.requests[1])
    for expected in ("First question.", "Hello from the socket.", "Second question.", "a quote", "Pricing", "Alice"):
        assert expected in sent


@pytest.mark.parametrize("api", APIS)
async def test_two_answers_are_two_items(world: World, api: str) -> None:
    """Models repeat their ids (`__fake_id__`, `msg_model`); the second answer never replaces the first."""
    with model_server() as server:
        model = {"provider": "openai", "base_url": server.url, "name": "test-model", "api": api}
        async with running(build_app(world.settings(model=model))) as http:
            caller = Caller(gateway=world.gateway, http=http)
            thread_id = thread_of(await caller.say("One."))
            await caller.say("Two.", thread_id=thread_id)
            items = (await caller.send("items.list", thread_id=thread_id, order="asc")).json()["data"]

    assert [item["type"] for item in items] == ["user_message", "assistant_message"] * 2
    assert len({item["id"] for item in items}) == 4
    assert all(item["id"].startswith("msg_0") for item in items)


@pytest.mark.parametrize("api", APIS)
async def test_a_model_that_refuses_is_one_error_event(world: World, api: str) -> None:
    """The stream ends with exactly one error, and the thread can be asked again."""
    with model_server(status=400) as server:
        model = {"provider": "openai", "base_url": server.url, "name": "test-model", "api": api}
        async with running(build_app(world.settings(model=model))) as http:
            caller = Caller(gateway=world.gateway, http=http)
            failed = await caller.say("One.")
            server.status = 200
            again = await caller.say("Two.", thread_id=thread_of(failed))

    assert [event["type"] for event in failed].count("error") == 1
    assert next(event for event in failed if event["type"] == "error")["allow_retry"] is True
    assert answer_in(again) == "Hello from the socket."


async def test_nothing_is_traced_unless_asked() -> None:
    """With tracing off, a run makes no trace that an exporter could send."""
    made: list[object] = []

    class Witness:
        def on_trace_start(self, trace: object) -> None:
            made.append(trace)

        def __getattr__(self, name: str) -> Any:
            return lambda *ignored, **also: None

    provider = get_trace_provider()
    provider.register_processor(Witness())  # type: ignore[arg-type]  # a processor of one method
    agent = Agent(name="a", model=build_model(ModelChoice(word_delay=0)).model)

    result = await Runner.run(agent, "Hello", run_config=build_run_config(export_traces=False))

    assert "offline" in result.final_output
    assert made == []


def test_the_offline_model_says_what_it_was_not_told() -> None:
    """Without facts it makes none up."""
    assert compose_answer("", "Hello?") == (
        "I am the offline model: no language model is connected, so I can only tell you what I was given. "
        "I was not told who you are. I was not told which page you are on. This is your first message here."
    )


def test_a_choice_hides_its_key() -> None:
    """The key of a model is in no log."""
    assert "k-1" not in repr(ModelChoice(provider="openai", api_key="k-1", name="m"))
