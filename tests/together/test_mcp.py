"""From a cookie to a tool: the gateway verifies the token and forwards it, the backend calls the MCP server with it."""

from pathlib import Path
from typing import Any

import pytest
from agents import Agent
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call

from agent_backend.turn import ChatContext, Turn
from tests.support.mcp_server import ToolServer, running
from tests.together.world import answer_text, world


def plain(turn: Turn) -> Agent[ChatContext]:
    """An agent with the MCP servers' tools and no others."""
    return Agent(name="Plain", model=turn.model, mcp_servers=list(turn.mcp_servers))


def answer(call: ModelCall) -> list[Any]:
    """A model that asks the server who the user is, then says so."""
    outputs = [item["output"] for item in call.input if item.get("type") == "function_call_output"]
    if not call.tools:
        return [assistant_message("There are no tools.")]
    return [assistant_message(f"It is {outputs[-1]}.") if outputs else function_call("whoami", {}, call_id="call_1")]


@pytest.mark.parametrize(("route", "expected"), [("", "alice"), ("forward_token = false", "There are no tools.")])
def test_the_tool_sees_the_user_who_is_signed_in(tmp_path: Path, route: str, expected: str) -> None:
    """With nothing but the cookie in the browser; where the gateway keeps the token, the answer goes on without."""
    model = ScriptedModel([ModelStep.respond(answer)] * 2)
    with running(ToolServer(tokens={})) as mcp_server:
        tables = {"agent": f"{__name__}:plain", "mcp": {"orders": {"url": mcp_server.url}}}
        with world(tmp_path, model=model, route=route, **tables) as here:
            browser = here.browser("alice")
            mcp_server.tokens[browser.token] = "alice"
            events = browser.say("Who am I?")

    assert expected in answer_text(events)
    assert browser.token not in repr([(call.input, call.system_instructions) for call in model.calls])
    assert browser.token not in repr(events)
