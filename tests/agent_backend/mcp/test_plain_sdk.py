"""What the SDK does by itself with an MCP server, beside what ours does with the same one: why the package is there."""

import contextlib
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import Agent, RunConfig, Runner
from agents.mcp import MCPServer, MCPServerStreamableHttp
from agents.testing import ScriptedModel, assistant_message, function_call

from agent_backend.mcp.choice import CALL_TIMEOUT
from agent_backend.mcp.failures import TokenRefused
from agent_backend.mcp.pool import ConnectionPool
from tests.agent_backend.mcp.world import TOKENS, choice_of, context_of, servers_of, tool_server
from tests.support.mcp_server import ToolServer, running
from tests.support.servers import free_port


@contextlib.asynccontextmanager
async def plain(server: ToolServer, **options: Any) -> AsyncIterator[MCPServer]:
    params: Any = {"url": server.url, "headers": {"Authorization": f"Bearer {TOKENS['alice']}"}}
    async with MCPServerStreamableHttp(params=params, name="orders", **options) as connected:
        yield connected


@contextlib.asynccontextmanager
async def ours(server: ToolServer, **options: Any) -> AsyncIterator[MCPServer]:
    async with servers_of(choice_of(server, **options)) as servers, servers.servers_for(context_of()) as tools:
        yield tools.servers[0]


async def told(server: MCPServer, tool: str) -> str:
    """What a model is given when it calls this tool."""
    model = ScriptedModel([[function_call(tool, {}, call_id="call_1")], [assistant_message("Done.")]])
    agent = Agent[Any](name="a", model=model, mcp_servers=[server])
    await Runner.run(agent, "Go.", run_config=RunConfig(tracing_disabled=True))
    assert model.last_call is not None
    return str(model.last_call.input[-1]["output"])


@pytest.mark.parametrize("tool", ["echo", "fail"])
async def test_a_token_the_server_repeats_reaches_the_model(tool: str) -> None:
    """Plain: word for word, in results and errors, and so into traces and the vendor's logs. Ours: not at all."""
    with tool_server() as server:
        async with plain(server) as connected:
            assert TOKENS["alice"] in await told(connected, tool)
        async with ours(server) as connected:
            given = await told(connected, tool)

    assert TOKENS["alice"] not in given
    assert "[removed]" in given


async def test_what_the_server_lists_goes_before_the_resolvers_identity() -> None:
    """Plain: `_meta` listed with a tool replaces what `tool_meta_resolver` says of the user. Ours: never."""
    with tool_server(guarded=False) as server:
        async with plain(server, tool_meta_resolver=lambda context: {"user_id": "alice"}) as connected:
            assert "mallory" in await told(connected, "marked")
        async with ours(server, identity="meta") as connected:
            assert "alice" in await told(connected, "marked")


async def test_a_refused_token_looks_like_any_failure() -> None:
    """Plain: an error group about a task group. Ours: what it was, and with which status."""
    with tool_server() as server:
        server.tokens = {}
        with pytest.raises(ExceptionGroup, match="unhandled errors in a TaskGroup") as failed:
            async with plain(server):
                pass
        assert "401" not in repr(failed.value)

        pool = ConnectionPool(choice_of(server))
        with pytest.raises(TokenRefused, match="401"):
            await pool.lease(context_of())
        await pool.aclose()


async def test_a_lost_session_stays_lost() -> None:
    """Plain: every further call fails, for as long as the object lives. Ours: connected again."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(ToolServer(tokens={TOKENS["alice"]: "alice"}), port=port))
        async with plain(server) as theirs, ours(server, retry_after=0) as mine:
            stack.close()
            assert [await outcome(theirs), await outcome(mine)] == ["failed", "failed"]
            with running(server, port=port):
                assert [await outcome(theirs), await outcome(mine)] == ["failed", "called"]


async def outcome(server: MCPServer) -> str:
    """Of one call."""
    try:
        await server.call_tool("whoami", {})
    except Exception:
        return "failed"
    return "called"


def test_five_seconds_are_no_time_for_a_tool() -> None:
    """Plain: the default cuts off whatever searches or computes. Ours: a minute, and a setting."""
    default = inspect.signature(MCPServerStreamableHttp).parameters["client_session_timeout_seconds"].default

    assert (default, CALL_TIMEOUT) == (5, 60.0)
