"""One `AssistantServer` on a database of its own, and somebody who talks to it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import Agent, Model, ModelResponse, Usage
from agents.items import TResponseOutputItem
from agents.testing import function_call
from chatkit.server import StreamingResult
from chatkit.types import ThreadItem

from agent_backend.actions import ActionTable
from agent_backend.agent import build_agent
from agent_backend.checklist import CHECKLIST_ACTIONS
from agent_backend.choices import Choices
from agent_backend.context import RequestContext
from agent_backend.models import build_run_config
from agent_backend.offline_model import OfflineModel
from agent_backend.server import AssistantServer
from agent_backend.store import SqlStore, build_engine
from agent_backend.store.schema import migrate
from agent_backend.tools import TOOL_NAMES
from tests.agent_backend.world import context_for, events_in, thread_of, user_input

RUN_CONFIG = build_run_config(export_traces=False)


@dataclass(slots=True, kw_only=True)
class Talk:
    """One user at one server. ``thread_id`` is the conversation they are in."""

    server: AssistantServer
    store: SqlStore
    context: RequestContext
    thread_id: str | None = None

    async def ask(self, operation: str, **params: Any) -> Any:
        """The events of a stream, or the JSON of an answer."""
        body = json.dumps({"type": operation, "params": params})
        result = await self.server.process(body, self.context)
        if isinstance(result, StreamingResult):
            return events_in(b"".join([frame async for frame in result]))
        return json.loads(result.json)

    async def here(self, operation: str, **params: Any) -> Any:
        """Something in the conversation they are in."""
        return await self.ask(operation, thread_id=self.thread_id, **params)

    async def say(self, text: str, **changes: Any) -> list[dict[str, Any]]:
        message = user_input(text, **changes)
        events: list[dict[str, Any]]
        if self.thread_id is None:
            events = await self.ask("threads.create", input=message)
            self.thread_id = thread_of(events)
        else:
            events = await self.here("threads.add_user_message", input=message)
        return events

    async def items(self) -> list[ThreadItem]:
        """What is stored of it, oldest first."""
        return (await self.store.load_thread_items(str(self.thread_id), None, 100, "asc", self.context)).data

    def as_user(self, name: str) -> "Talk":
        """Somebody else, who knows the conversation's id."""
        return Talk(server=self.server, store=self.store, context=context_for(name), thread_id=self.thread_id)


@asynccontextmanager
async def talk(
    folder: Path,
    *,
    model: Model | None = None,
    actions: ActionTable = CHECKLIST_ACTIONS,
    choices: Choices | None = None,
    context: RequestContext | None = None,
    **options: Any,
) -> AsyncIterator[Talk]:
    """The default agent as the app puts it together; the offline model unless another is given."""
    engine = build_engine(f"sqlite:///{folder}/agent.sqlite3")
    await migrate(engine)
    store = SqlStore(engine=engine)
    server = AssistantServer(
        **{
            "store": store,
            "build_agent": build_agent,
            "model": model or OfflineModel(word_delay=0),
            "run_config": RUN_CONFIG,
            "actions": actions,
            "choices": choices or Choices(tools=TOOL_NAMES),
            **options,
        }
    )
    try:
        yield Talk(server=server, store=store, context=context or context_for("alice"))
    finally:
        await engine.dispose()


def item_in(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one finished item of that kind."""
    found = [
        event["item"]
        for event in events
        if event["type"] in ("thread.item.done", "thread.item.replaced") and event["item"]["type"] == kind
    ]
    assert len(found) == 1, found
    return dict(found[0])


def kinds_of(events: list[dict[str, Any]]) -> list[str]:
    """What happened, in order, without the words one by one and what every answer has."""
    dull = {"thread.item.updated", "stream_options", "thread.created", "thread.updated"}
    return [
        f"{event['type']} {event['item']['type']}" if "item" in event else event["type"]
        for event in events
        if event["type"] not in dull
    ]


def output(*items: TResponseOutputItem) -> ModelResponse:
    """One answer of a scripted model."""
    return ModelResponse(output=list(items), usage=Usage(), response_id=None)


def calls(name: str, **arguments: Any) -> ModelResponse:
    """A scripted model's call of a tool."""
    return output(function_call(name, json.dumps(arguments), call_id="call_0"))


def agent_with(*tools: Any, **options: Any) -> Any:
    """A function that builds an agent with these tools."""
    return lambda turn: Agent(name="a", model=turn.model, tools=list(tools), **options)
