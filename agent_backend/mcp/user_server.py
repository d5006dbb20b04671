"""One MCP server as one user's turn sees it: the SDK's `MCPServer`, with the identity added behind the model's back.

Rules: whatever the model asks for, the identity that travels is this turn's user's. What comes back is scrubbed of the
token before the SDK, a trace or the model sees it. A session that was lost before a call is replaced once; a call that
may have been carried out is never made twice. Connecting and closing is the pool's.

The SDK's own `tool_meta_resolver` is not used for `_meta`: there, what the server listed with a tool goes before what
we say.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Any

from agents import RunContextWrapper
from agents.agent import AgentBase
from agents.mcp import MCPServer
from mcp.types import CallToolResult, GetPromptResult, ListPromptsResult, Tool

from agent_backend.mcp.choice import facts_of, named_facts
from agent_backend.mcp.failures import ServerUnavailable, SessionLost, TokenRefused, ToolFailed, tell_model
from agent_backend.mcp.parameters import HiddenParameters, hide_parameters
from agent_backend.mcp.pool import ConnectionPool, Lease
from agent_backend.mcp.secrets import Scrubber

# What OpenAI's protocols take as a function's name; MCP allows more.
MAX_TOOL_NAME = 64
ODD_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]")


class UserServer(MCPServer):
    """Good for one turn; made from a lease and the tools its connection knows."""

    def __init__(self, *, pool: ConnectionPool, lease: Lease, tools: Iterable[Tool]) -> None:
        super().__init__(failure_error_function=tell_model)
        self._pool = pool
        self._choice = pool.choice
        self._lease = lease
        self._facts = facts_of(lease.context)
        self._scrubber = Scrubber(lease.context.token)
        self._renewing = asyncio.Lock()
        self._tools: dict[str, Tool] = {}
        self._hidden: dict[str, HiddenParameters] = {}
        self._own_names: dict[str, str] = {}
        for tool in tools:
            if self._choice.tools is None or tool.name in self._choice.tools:
                self._offer(tool)

    def __repr__(self) -> str:
        return f"<UserServer {self.name} {len(self._tools)} tools>"

    @property
    def name(self) -> str:
        return self._choice.name

    @property
    def tool_names(self) -> frozenset[str]:
        """As the model knows them."""
        return frozenset(self._tools)

    def leave_out(self, names: Iterable[str]) -> None:
        """Offer these no more: another server has tools of the same name."""
        for name in names:
            self._tools.pop(name, None)

    async def list_tools(
        self, run_context: RunContextWrapper[Any] | None = None, agent: AgentBase[Any] | None = None
    ) -> list[Tool]:
        return [tool.model_copy(deep=True) for tool in self._tools.values()]

    async def call_tool(
        self, tool_name: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None = None
    ) -> CallToolResult:
        """Raises `ToolFailed`, and nothing else but a cancellation."""
        if tool_name not in self._tools:
            raise ToolFailed(f"There is no tool {tool_name}.")
        own_name = self._own_names[tool_name]
        try:
            result = await self._call(own_name, self._filled(tool_name, arguments), self._with_identity(meta))
        except ToolFailed as exc:
            failure = ToolFailed(self._scrubber.text(str(exc)))
        except TokenRefused:
            failure = ToolFailed(
                f"{self._choice.shown_name} does not accept the user's sign-in. They must sign in again."
            )
        except (ServerUnavailable, SessionLost):
            failure = ToolFailed(f"{self._choice.shown_name} cannot be reached right now.")
        else:
            return self._scrubbed(result)
        raise failure

    async def connect(self) -> None:
        """Nothing: it was connected before the turn had it."""

    async def cleanup(self) -> None:
        """Nothing: the pool closes it."""

    async def list_prompts(self) -> ListPromptsResult:
        return ListPromptsResult(prompts=[])

    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None) -> GetPromptResult:
        raise ToolFailed(f"{self._choice.shown_name} offers tools only.")

    def _offer(self, tool: Tool) -> None:
        name = ODD_CHARACTERS.sub("_", self._choice.prefix + tool.name)[:MAX_TOOL_NAME]
        described = self._scrubber.value(tool.model_dump(mode="json", by_alias=True, exclude_unset=True))
        shown = Tool.model_validate({**described, "name": name})
        if self._choice.identity == "arguments":
            self._hidden[name] = hide_parameters(shown.input_schema, self._choice.arguments)
            shown = shown.model_copy(update={"input_schema": self._hidden[name].schema})
        self._tools[name] = shown
        self._own_names[name] = tool.name

    def _filled(self, name: str, arguments: dict[str, Any] | None) -> dict[str, Any] | None:
        hidden = self._hidden.get(name)
        return hidden.fill(arguments, self._facts) if hidden else arguments

    def _with_identity(self, meta: dict[str, Any] | None) -> dict[str, Any] | None:
        if self._choice.identity != "meta":
            return meta
        return {**(meta or {}), **named_facts(self._choice.meta, self._facts)}

    async def _call(self, tool: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None) -> CallToolResult:
        connection = self._lease.connection
        try:
            return await connection.call(tool, arguments or {}, meta)
        except SessionLost:
            pass  # it was not carried out: once more, on another
        async with self._renewing:
            # Of several calls at once, the first to notice brings the new connection.
            if self._lease.connection is connection:
                await self._pool.renew(self._lease)
        return await self._lease.connection.call(tool, arguments or {}, meta)

    def _scrubbed(self, result: CallToolResult) -> CallToolResult:
        said = result.model_dump(mode="json", by_alias=True, exclude_unset=True)
        clean = self._scrubber.value(said)
        return result if clean == said else CallToolResult.model_validate(clean)
