"""Time limits and repeats, against an endpoint that fails at every stage, over real sockets and in both protocols."""

import asyncio
import json
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, Runner
from agents.testing import ScriptedModel, assistant_message
from chatkit.server import StreamingResult

from agent_backend.agent import build_agent
from agent_backend.context import RequestContext
from agent_backend.model_failures import (
    ModelBusy,
    ModelFailure,
    ModelInputTooLong,
    ModelInterrupted,
    ModelMisconfigured,
    ModelRefused,
    ModelRejected,
    ModelTimedOut,
    ModelUnavailable,
    ModelUnreadable,
)
from agent_backend.models import ModelChoice, build_model, build_run_config
from agent_backend.patient_model import Patience, PatientModel, wait_before
from agent_backend.server import AssistantServer
from agent_backend.store import SqlStore, build_engine
from agent_backend.store.schema import migrate
from tests.agent_backend.world import answer_in, context_for, events_in, thread_of, user_input
from tests.support.model_server import LEAK, ModelServer, model_server
from tests.support.servers import free_port

APIS = ["responses", "chat_completions"]
# Short enough to run out in a test, long enough for a busy machine to answer well in.
PATIENCE = Patience(first_token_timeout=1.0, token_timeout=0.5, answer_timeout=2.0, retry_wait=0.01)
WHOLE = "Hello from the socket."

# The faults of the requests in turn -> the failure, or None for a whole answer; how many requests there were.
STAGES: dict[str, tuple[list[str], type[ModelFailure] | None, int]] = {
    "429, then well": (["busy"], None, 2),
    "503, then well": (["overloaded"], None, 2),
    "500 twice, then well": (["failed", "failed"], None, 3),
    "dies before the first token, then well": (["dies_before"], None, 2),
    "garbage before the first token, then well": (["garbage_before"], None, 2),
    "an error before the first token, then well": (["error_before"], None, 2),
    "an empty stream, then well": (["empty"], None, 2),
    "a page of HTML, then well": (["page"], None, 2),
    "500 for good": (["failed"] * 3, ModelUnavailable, 3),
    "429 for good": (["busy"] * 3, ModelBusy, 3),
    "HTML for good": (["page"] * 3, ModelUnreadable, 3),
    "429 for an hour": (["busy_for_long"], ModelBusy, 1),
    "no money left": (["no_money"], ModelMisconfigured, 1),
    "401": (["wrong_key"], ModelMisconfigured, 1),
    "404": (["wrong_name"], ModelMisconfigured, 1),
    "400, too long": (["too_long"], ModelInputTooLong, 1),
    "400, too long, in words": (["too_long_in_words"], ModelInputTooLong, 1),
    "400, policy": (["policy"], ModelRefused, 1),
    "400": (["rejected"], ModelRejected, 1),
    "stalls before the first token": (["stalls_before"], ModelTimedOut, 1),
    "stalls between tokens": (["stalls_after"], ModelTimedOut, 1),
    "dies after the first token": (["dies_after"], ModelInterrupted, 1),
    "garbage after the first token": (["garbage_after"], ModelInterrupted, 1),
    "an error after the first token": (["error_after"], ModelInterrupted, 1),
    "never ends": (["never_ends"], ModelTimedOut, 1),
}

Build = Callable[..., AssistantServer]


@pytest.fixture(scope="module")
def shared_endpoint() -> Iterator[ModelServer]:
    with model_server() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(shared_endpoint: ModelServer) -> ModelServer:
    """The endpoint, as if new."""
    shared_endpoint.faults, shared_endpoint.requests, shared_endpoint.sent = [], [], 0
    return shared_endpoint


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, to be copied."""

    async def make() -> None:
        engine = build_engine(f"sqlite:///{file}")
        await migrate(engine)
        await engine.dispose()

    file = tmp_path_factory.mktemp("schema") / "agent.sqlite3"
    asyncio.run(make())
    return file


@pytest.fixture
async def build(tmp_path: Path, schema: Path) -> AsyncIterator[Build]:
    """Makes a server that asks the model at a URL."""
    shutil.copy(schema, tmp_path / "agent.sqlite3")
    engine = build_engine(f"sqlite:///{tmp_path}/agent.sqlite3")
    connections = []

    def build_server(url: str, api: Any, patience: Patience = PATIENCE) -> AssistantServer:
        choice = ModelChoice(provider="openai", base_url=url, api_key="sk-secret", name="m", api=api, patience=patience)
        connection = build_model(choice)
        connections.append(connection)
        config = build_run_config(export_traces=False, provider=connection.provider, include_usage=True)
        return AssistantServer(
            store=SqlStore(engine=engine), build_agent=build_agent, model=connection.model, run_config=config
        )

    yield build_server
    for connection in connections:
        await connection.aclose()
    await engine.dispose()


async def say(server: AssistantServer, text: str, context: RequestContext, **params: Any) -> list[dict[str, Any]]:
    kind = "threads.add_user_message" if params else "threads.create"
    body = json.dumps({"type": kind, "params": {"input": user_input(text), **params}})
    result = await server.process(body, context)
    assert isinstance(result, StreamingResult)
    return events_in(b"".join([frame async for frame in result]))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stage", STAGES)
async def test_whatever_fails_is_repeated_before_the_first_token_or_told_once(
    build: Build, endpoint: ModelServer, stage: str, api: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole answer, or exactly one error with its own message; never a second request after a token."""
    faults, failure, requests = STAGES[stage]
    caplog.set_level(logging.INFO)
    endpoint.faults = list(faults)
    server = build(endpoint.url, api)
    context = context_for()
    events = await say(server, "PROMPT-SECRET", context)
    asked = len(endpoint.requests)
    again = await say(server, "Again.", context_for(), thread_id=thread_of(events))

    errors = [event for event in events if event["type"] == "error"]
    assert asked == requests
    if failure is None:
        assert (errors, answer_in(events)) == ([], WHOLE)
    else:
        assert [(error["message"], error["allow_retry"]) for error in errors] == [
            (failure.message, failure.allow_retry)
        ]
        assert context.notes["code"] == failure.code
        assert context.notes["usage"] == "partial"
    assert answer_in(again) == WHOLE
    logged = caplog.text + str(context.notes)
    assert not any(secret in logged for secret in ("sk-secret", "PROMPT-SECRET", "LEAKED", LEAK))


@pytest.mark.parametrize("api", APIS)
async def test_an_endpoint_that_is_not_there_is_unavailable(build: Build, api: str) -> None:
    """Connection refused, again and again."""
    context = context_for()
    events = await say(build(f"http://127.0.0.1:{free_port()}/v1", api), "Hello", context)

    assert [event["message"] for event in events if event["type"] == "error"] == [ModelUnavailable.message]
    assert "base_url" in str(context.notes["reason"])


@pytest.mark.parametrize("api", APIS)
async def test_a_warm_connection_is_no_token(build: Build, endpoint: ModelServer, api: str) -> None:
    """It says nothing before the first token, but keeps the connection warm: the time is limited all the same."""
    endpoint.faults = ["stalls_before"]
    patience = Patience(first_token_timeout=0.2, retry_wait=0.01)
    context = context_for()
    events = await say(build(endpoint.url, api, patience), "Hello", context)

    assert [event["message"] for event in events if event["type"] == "error"] == [ModelTimedOut.message]
    assert "first_token_timeout" in str(context.notes["reason"])


@pytest.mark.parametrize("api", APIS)
async def test_repeats_end_with_the_time_a_user_waits(build: Build, endpoint: ModelServer, api: str) -> None:
    """A wait that does not fit into the time until the first token is not begun."""
    patience = Patience(first_token_timeout=1.0, retry_wait=60.0, max_retry_wait=60.0, retries=5)
    endpoint.faults = ["failed"] * 6
    events = await say(build(endpoint.url, api, patience), "Hello", context_for())
    assert len(endpoint.requests) == 1

    assert [event["message"] for event in events if event["type"] == "error"] == [ModelUnavailable.message]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stage", ["before the first token", "in the middle"])
async def test_who_leaves_closes_the_connection_to_the_model(
    build: Build, endpoint: ModelServer, stage: str, api: str
) -> None:
    """Within a token's time, seen by the endpoint: it is sending nothing any more, and knows it."""
    fault = "stalls_before" if stage == "before the first token" else "never_ends"
    patience = Patience(first_token_timeout=30, token_timeout=30, answer_timeout=30)
    endpoint.faults = [fault]
    server = build(endpoint.url, api, patience)
    reading = asyncio.create_task(say(server, "Hello", context_for()))
    await until(lambda: endpoint.open == 1 and (fault == "stalls_before" or endpoint.sent > 3))
    reading.cancel()
    await asyncio.wait([reading])
    await until(lambda: endpoint.open == 0)
    sent = endpoint.sent
    await asyncio.sleep(0.05)

    assert endpoint.sent == sent
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("api", APIS)
async def test_a_whole_answer_is_repeated_like_a_streamed_one(endpoint: ModelServer, api: str) -> None:
    """An agent used as a tool, or a title, is asked without a stream: the same rules."""
    endpoint.aside_faults, endpoint.asides = ["busy", "wrong_key"], []
    choice = ModelChoice(provider="openai", base_url=endpoint.url, name="m", api=api, patience=PATIENCE)  # type: ignore[arg-type]
    connection = build_model(choice)
    config = build_run_config(export_traces=False)
    with pytest.raises(ModelMisconfigured):
        await Runner.run(Agent(name="a", model=connection.model), "Hello", run_config=config)
    await connection.aclose()

    assert len(endpoint.asides) == 2


@pytest.mark.parametrize(("named", "asked"), [("other", "other"), (None, "m")])
async def test_a_model_named_as_text_is_asked_at_the_same_endpoint(
    endpoint: ModelServer, named: str | None, asked: str
) -> None:
    """With the same patience; an agent that names none, such as one that is handed over to, gets the settings'."""
    endpoint.faults = ["busy"]
    choice = ModelChoice(provider="openai", base_url=endpoint.url, name="m", patience=PATIENCE)
    connection = build_model(choice)
    config = build_run_config(export_traces=False, provider=connection.provider)
    result = Runner.run_streamed(Agent(name="a", model=named), "Hello", run_config=config)
    async for _ in result.stream_events():
        pass
    await connection.aclose()

    assert result.final_output == WHOLE
    assert [request["model"] for request in endpoint.requests] == [asked, asked]


@pytest.mark.parametrize(
    ("failure", "waits"),
    [
        (ModelUnavailable(), [0.75, 1.5, 3.0, 3.75, None]),
        (ModelBusy(retry_after=4.0), [4.0, 4.0, 4.0, 4.0, None]),
        (ModelBusy(retry_after=5.1), [None] * 5),
        (ModelMisconfigured(), [None] * 5),
        (ModelInterrupted(), [None] * 5),
    ],
)
def test_waits_double_up_to_a_bound_or_are_what_was_asked_for(failure: ModelFailure, waits: list[float | None]) -> None:
    """A Retry-After beyond the bound is not shortened: who comes back sooner is refused again."""
    patience = Patience(retries=4, retry_wait=1.0, max_retry_wait=5.0)

    assert [wait_before(attempt, failure, patience, jitter=lambda: 0.5) for attempt in range(5)] == waits


async def test_a_fault_of_our_own_is_not_the_models() -> None:
    """A bug is not repeated, and keeps its name."""
    broken = ScriptedModel([KeyError("bug"), [assistant_message("Not asked for.")]])
    agent = Agent(name="a", model=PatientModel(broken, patience=PATIENCE))
    result = Runner.run_streamed(agent, "Hi", run_config=build_run_config(export_traces=False))
    with pytest.raises(KeyError):
        async for _ in result.stream_events():
            pass

    assert len(broken.calls) == 1


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  it happens in the endpoint's own thread
            await asyncio.sleep(0.005)
