"""Whole turns: the agent calls tools as the user who asks, and the token ends with the server it is meant for."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from agents import RunConfig, Span, Trace, TracingProcessor, set_trace_processors
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from sqlalchemy import MetaData, select
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.agent import build_agent
from agent_backend.app import build_app
from agent_backend.context import RequestContext
from agent_backend.mcp import McpServers
from agent_backend.models import build_run_config
from agent_backend.server import AssistantServer
from agent_backend.store import SqlStore
from agent_backend.store.schema import migrate
from agent_backend.stream import DrivenStream
from tests.agent_backend.mcp.world import TOKENS, choice_of, context_of, servers_of, tool_server, until
from tests.agent_backend.world import Caller, World, answer_in, events_in, running_app, thread_of, user_input

# As long as real ones, so that a library may cut it.
CANARY = "eyJhbGciOiJFUzI1NiJ9.canary-of-alice-1c6e0f0b9a7d4e2f8b3a5c9d7e1f2a4b.c2lnbmF0dXJl"


class Watch(TracingProcessor):
    """Every trace and span as it would be exported."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_trace_start(self, trace: Trace) -> None:
        self.seen.append(json.dumps(trace.export(), default=str))

    def on_trace_end(self, trace: Trace) -> None: ...

    def on_span_start(self, span: Span[Any]) -> None: ...

    def on_span_end(self, span: Span[Any]) -> None:
        self.seen.append(json.dumps(span.export(), default=str) + repr(vars(span.span_data)))

    def shutdown(self) -> None: ...

    def force_flush(self) -> None: ...


@pytest.fixture
def traces() -> Iterator[Watch]:
    """What is traced, and nothing exported."""
    watch = Watch()
    set_trace_processors([watch])
    yield watch
    set_trace_processors([])


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Every line of this thread, at every level, with all that came with it. The MCP server logs in its own thread."""
    lines: list[str] = []
    here = threading.get_ident()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == here:
                lines.append(f"{logging.Formatter().format(record)} {record.__dict__!r}")

    handler = Keep(logging.DEBUG)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


async def rows(engine: AsyncEngine) -> str:
    """Everything the database holds."""
    async with engine.connect() as connection:
        tables = MetaData()
        await connection.run_sync(tables.reflect)
        return "\n".join(
            [str(tuple(row)) for table in tables.sorted_tables for row in await connection.execute(select(table))]
        )


def build_server(engine: AsyncEngine, model: ScriptedModel, mcp: McpServers, **options: Any) -> AssistantServer:
    options = {"run_config": build_run_config(export_traces=False), **options}
    return AssistantServer(store=SqlStore(engine=engine), build_agent=build_agent, model=model, mcp=mcp, **options)


async def stream(server: AssistantServer, context: RequestContext, text: str, thread_id: str | None = None) -> bytes:
    params: dict[str, Any] = {"input": user_input(text)}
    kind = "threads.create"
    if thread_id:
        kind, params["thread_id"] = "threads.add_user_message", thread_id
    result = await server.process(json.dumps({"type": kind, "params": params}), context)
    return b"".join([frame async for frame in result])  # type: ignore[union-attr]


def calls(*tools: str, arguments: Mapping[str, Any] | None = None) -> list[Any]:
    """Steps of a model that calls these, one after the other, and says that it is done."""
    steps = [[function_call(name, arguments or {}, call_id=f"call_{place}")] for place, name in enumerate(tools)]
    return [*steps, [assistant_message("Done.")]]


def outputs(model: ScriptedModel) -> list[str]:
    """What the tools gave the model, in its latest call."""
    assert model.last_call is not None
    return [str(item["output"]) for item in model.last_call.input if item.get("type") == "function_call_output"]


@pytest.mark.parametrize("identity", ["header", "meta", "arguments", "prompt"])
async def test_the_token_is_in_no_input_item_trace_or_log(
    identity: str,
    engine: AsyncEngine,
    traces: Watch,
    log: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With everything that could be logged and traced turned on, tools that repeat it, and calls that fail.

    ``prompt`` is the exception that its settings say aloud: there the model is given the token; the rest holds.
    """
    await migrate(engine)
    if identity != "prompt":
        monkeypatch.setattr("agents._debug.DONT_LOG_TOOL_DATA", False)
        monkeypatch.setattr("agents._debug.DONT_LOG_MODEL_DATA", False)
    run_config = RunConfig(tracing_disabled=False, trace_include_sensitive_data=identity != "prompt")
    model = ScriptedModel(
        [*calls("echo", "fail", "orders", "slow", "whoami", arguments={"status": "open"}), *calls("whoami")],
        emit_traces=True,
    )
    alice = context_of("alice", token=CANARY)
    with tool_server(guarded=identity == "header") as mcp_server:
        mcp_server.tokens[CANARY] = "alice"
        choice = choice_of(mcp_server, identity=identity, call_timeout=2.0)
        async with servers_of(choice) as mcp:
            server = build_server(engine, model, mcp, run_config=run_config)
            first = await stream(server, alice, "Do it all.")
            given = outputs(model)
            mcp_server.tokens = {}
            second = await stream(server, alice, "And again.", thread_of(events_in(first)))

    assert [call.tool for call in mcp_server.calls][:2] == ["echo", "fail"]
    assert answer_in(events_in(first)) == answer_in(events_in(second)) == "Done."
    assert len(given) == 5
    assert "did not answer within" in given[3]
    model_calls = repr([(call.input, call.system_instructions, call.tools, call.prompt) for call in model.calls])
    places = {
        "what tools gave the model": " ".join(given),
        "model input": "" if identity == "prompt" else model_calls,
        "stream": (first + second).decode(),
        "database": await rows(engine),
        "traces": "\n".join(traces.seen),
        "log": "\n".join(log),
    }
    assert {name for name, text in places.items() if CANARY in text or CANARY[25:60] in text} == set()
    assert [name for name in ("stream", "database", "traces", "log") if not places[name]] == []
    if identity == "prompt":
        assert CANARY in model_calls


def say_who(call: ModelCall) -> list[Any]:
    """A model that asks the server who the user is, and then says so."""
    said = [item["output"] for item in call.input if item.get("type") == "function_call_output"]
    if not said:
        return [function_call("whoami", {}, call_id="call_1")]
    return [assistant_message(f"You are {text_in(said[-1])}.")]


def text_in(output: Any) -> str:
    """The SDK gives one text as an object, or as a list of one."""
    part = output[0] if isinstance(output, list) else output
    return str(part["text"] if isinstance(part, dict) else part)


async def test_each_user_calls_as_themselves_at_the_same_time(engine: AsyncEngine) -> None:
    """Twelve answers at once, for two users: no call is made in another's name."""
    await migrate(engine)
    names = ["alice", "bob"] * 6
    model = ScriptedModel([ModelStep.respond(say_who)] * 24)
    with tool_server() as mcp_server:
        async with servers_of(choice_of(mcp_server)) as mcp:
            server = build_server(engine, model, mcp)
            streams = await asyncio.gather(*[stream(server, context_of(name), "Who am I?") for name in names])

    assert [answer_in(events_in(one)) for one in streams] == [f"You are {name}." for name in names]


async def test_a_stopped_answer_stops_its_tool(engine: AsyncEngine) -> None:
    """The client leaves in mid-call: the server is told, and the connection is closed; the thread can go on."""
    await migrate(engine)
    model = ScriptedModel([*calls("slow"), *calls("whoami")])
    with tool_server() as mcp_server:
        async with servers_of(choice_of(mcp_server)) as mcp:
            server = build_server(engine, model, mcp)
            body = json.dumps({"type": "threads.create", "params": {"input": user_input("Wait for it.")}})
            answer = await server.process(body, context_of())
            assert isinstance(answer, DrivenStream)
            answer.start()
            await asyncio.to_thread(mcp_server.begun.wait, 10)
            await answer.aclose()

            await until(lambda: (mcp_server.cut, mcp_server.sockets) == (1, 0))
            assert repr(mcp) == "<McpServers [<ConnectionPool orders 0 busy, 0 idle>]>"
            assert answer_in(events_in(await stream(server, context_of(), "Again."))) == "Done."


@pytest.mark.parametrize(
    ("token", "message", "allow_retry"),
    [
        ("", "Orders cannot be reached right now. Please try again.", True),
        ("expired", "Orders does not accept your sign-in. Please sign in again.", False),
    ],
)
async def test_without_a_required_server_one_error_is_what_the_user_reads(
    engine: AsyncEngine, token: str, message: str, allow_retry: bool
) -> None:
    """The model is not asked; when the server is back, the same thread goes on."""
    await migrate(engine)
    model = ScriptedModel(calls("whoami"))
    with tool_server() as mcp_server:
        mcp_server.refuse_with = 0 if token else 503
        choice = choice_of(mcp_server, title="Orders", required=True, retry_after=0)
        async with servers_of(choice) as mcp:
            server = build_server(engine, model, mcp)
            events = events_in(await stream(server, context_of(token=token), "My orders?"))
            assert model.calls == ()
            mcp_server.refuse_with = 0
            again = events_in(await stream(server, context_of(), "And now?", thread_of(events)))

    errors = [event for event in events if event["type"] == "error"]
    assert errors == [{"type": "error", "code": "custom", "message": message, "allow_retry": allow_retry}]
    assert answer_in(again) == "Done."


@dataclass(slots=True, kw_only=True)
class TokenCaller(Caller):
    """A caller whose gateway forwards the user's token."""

    token: str

    def headers(self, body: bytes) -> dict[str, str]:
        return {**self.gateway.headers(body, user=self.user), "authorization": f"Bearer {self.token}"}


async def test_the_backend_connects_with_what_its_settings_and_its_gateway_say(world: World) -> None:
    """From a table of the settings file to a call in the user's name; closed when the backend stops."""
    with tool_server() as mcp_server:
        table = {"url": mcp_server.url, "tools": ["whoami"]}
        app = build_app(world.settings(mcp={"orders": table}), model=ScriptedModel([ModelStep.respond(say_who)] * 4))
        async with running_app(app) as http:
            for name, token in TOKENS.items():
                caller = TokenCaller(gateway=world.gateway, http=http, user=name, token=token)
                assert answer_in(await caller.say("Who am I?")) == f"You are {name}."
            assert mcp_server.sockets == 2
        await until(lambda: mcp_server.sockets == 0)


async def test_a_backend_that_puts_credentials_in_prompts_says_so_at_start(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, in its log."""
    table = {"url": "https://orders.test/mcp", "identity": "prompt", "allow_prompt_credentials": True}
    async with running_app(build_app(world.settings(mcp={"orders": table}))):
        pass

    assert [line.__dict__["server"] for line in caplog.records if "credentials in prompts" in line.message] == [
        "orders"
    ]
