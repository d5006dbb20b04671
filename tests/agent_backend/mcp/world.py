"""What the MCP tests share: users with tokens, and servers as the settings would name them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from mcp.types import TextContent

from agent_backend.context import RequestContext, User
from agent_backend.mcp import McpServers, ServerChoice
from agent_backend.mcp.user_server import UserServer
from tests.support.mcp_server import ToolServer, running

TOKENS = {"alice": "token-of-alice-5f0c9d", "bob": "token-of-bob-77ab31e2"}


@contextmanager
def tool_server(**options: Any) -> Iterator[ToolServer]:
    """A running one that knows Alice and Bob."""
    tokens = {token: user for user, token in TOKENS.items()}
    with running(ToolServer(**{"tokens": tokens, **options})) as server:
        yield server


def context_of(user: str = "alice", *, token: str | None = "", **facts: Any) -> RequestContext:
    """A verified request with the user's token; "" is their own, None is none."""
    known = User(id=user, issuer="https://login.test", email=f"{user}@example.test", **facts)
    return RequestContext(user=known, request_id="req-1", token=TOKENS.get(user) if token == "" else token)


def choice_of(server: ToolServer, **options: Any) -> ServerChoice:
    return ServerChoice(**{"name": "orders", "url": server.url, **options})


@asynccontextmanager
async def servers_of(*choices: ServerChoice) -> AsyncIterator[McpServers]:
    servers = McpServers(choices)
    try:
        yield servers
    finally:
        await servers.aclose()


async def said(server: UserServer, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> str:
    """The text a call comes back with."""
    result = await server.call_tool(tool, arguments, **options)
    return "".join(part.text for part in result.content if isinstance(part, TextContent))


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread or task is about to do; fails after 10 s."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.005)


@contextmanager
def nothing_left() -> Iterator[None]:
    """No task more than before."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before == set()
